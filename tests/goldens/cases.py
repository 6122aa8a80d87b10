"""Calls of layers that are recorded: the layer, its options, what it is called on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from pool import MASKS, cover, mask, numbers
from serialized import layer_object

X = numbers((4, 6, 5))
NO_YES = (False, True)


class Call(NamedTuple):
    """``mask`` is what the layer is told of its first argument, ``masks`` of each by name (MultiHeadAttention).

    ``valid`` marks the positions (batch, query) whose values mean something.
    """

    kind: str
    options: dict[str, Any]
    args: list[Any]
    kwargs: Mapping[str, Any] = MappingProxyType({})
    mask: Any = None
    masks: Mapping[str, Any] = MappingProxyType({})
    valid: Any = None


def states(*units: int) -> list[np.ndarray]:
    return [numbers((4, n), 50 + k) / 2 for k, n in enumerate(units)]


def starting(row: dict[str, Any], initial: Any) -> dict[str, Any]:
    return {"initial_state": initial} if row.pop("initial") else {}


def possible(row: dict[str, Any], zeros: bool, backwards: bool = True) -> dict[str, Any]:
    """The row, rolled where Keras' unrolled loop zeroes the outputs of ``go_backwards`` by the mask not reversed."""
    wrong = row["mask"] != "none" and zeros and backwards
    return {**row, "unroll": row["unroll"] and not wrong}


FLAGS = dict.fromkeys(("return_sequences", "return_state", "go_backwards", "unroll", "zero_output_for_mask"), NO_YES)
RECURRENT: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "LSTM": ({"units": 3}, states(3, 3)),
    "GRU": ({"units": 3}, states(3)),
    "SimpleRNN": ({"units": 3}, states(3)),
}
CELLS: list[tuple[Any, list[Any]]] = [
    (layer_object("LSTMCell", units=3), states(3, 3)),
    (layer_object("GRUCell", units=3), states(3)),
    (layer_object("GRUCell", units=3, reset_after=False, use_bias=False), states(3)),
    (layer_object("SimpleRNNCell", units=3, activation="relu"), states(3)),
    ([layer_object("LSTMCell", units=3), layer_object("GRUCell", units=2)], [states(3, 3), states(2)]),
    (
        [layer_object("SimpleRNNCell", units=4, name="a"), layer_object("LSTMCell", units=3),
         layer_object("SimpleRNNCell", units=2, name="b")],
        [states(4), states(3, 3), states(2)],
    ),
]  # fmt: skip


def recurrent() -> Iterator[Call]:
    for row in cover(3, kind=list(RECURRENT), mask=MASKS, initial=NO_YES, **FLAGS):
        row = possible(row, row["zero_output_for_mask"], row["go_backwards"])
        kind, pattern = row.pop("kind"), row.pop("mask")
        options, initial = RECURRENT[kind]
        start = starting(row, initial)
        yield Call(kind, {**options, **row}, [X], start, mask(pattern))
    for row in cover(3, cell=range(len(CELLS)), mask=MASKS, initial=NO_YES, **FLAGS):
        row = possible(row, row["zero_output_for_mask"], row["go_backwards"])
        cell, initial = CELLS[row.pop("cell")]
        pattern = row.pop("mask")
        start = starting(row, initial)
        yield Call("RNN", {"cell": cell, **row}, [X], start, mask(pattern))
    both = layer_object("StackedRNNCells", cells=CELLS[4][0])
    yield Call("RNN", {"cell": both, "return_sequences": True}, [X], {}, mask("holes"))


def backward(kind: str, flags: dict[str, Any]) -> list[Any]:
    return [
        None,
        layer_object(kind, units=3, activation="sigmoid", go_backwards=True, name="other", **flags),
        layer_object(kind, units=3, go_backwards=True, use_bias=False, name="other", **flags),
    ]


def bidirectional() -> Iterator[Call]:
    table = {"return_sequences": NO_YES, "return_state": NO_YES, "unroll": NO_YES}
    modes = ("concat", "sum", "ave", "mul", None)
    rows = cover(3, kind=list(RECURRENT), merge=modes, mask=MASKS, initial=NO_YES, other=range(3), **table)
    for row in rows:
        row = possible(row, row["return_sequences"])  # Bidirectional sets zero_output_for_mask so
        kind, merge, pattern, other = (row.pop(key) for key in ("kind", "merge", "mask", "other"))
        _, initial = RECURRENT[kind]
        start = starting(row, initial + [numbers(a.shape, 70 + k) for k, a in enumerate(initial)])
        options = {"layer": layer_object(kind, units=3, **row), "merge_mode": merge}
        behind = backward(kind, row)[other]
        options |= {"backward_layer": behind} if behind else {}
        yield Call("Bidirectional", options, [X], start, mask(pattern))
    uneven = {"layer": layer_object("GRU", units=3), "backward_layer": layer_object("LSTM", units=2, go_backwards=True)}
    yield Call("Bidirectional", uneven, [X], {}, mask("left"))
    cells = layer_object("RNN", cell=CELLS[4][0], return_sequences=True)
    stacked = {**cells, "config": {**cells["config"], "cell": layer_object("StackedRNNCells", cells=CELLS[4][0])}}
    yield Call("Bidirectional", {"layer": stacked}, [X], {}, mask("holes"))
    turned = layer_object("LSTM", units=3, go_backwards=True, return_sequences=True)
    for pattern in MASKS:
        back = layer_object("LSTM", units=3, return_sequences=True, name="other")
        yield Call("Bidirectional", {"layer": turned, "backward_layer": back}, [X], {}, mask(pattern))


def time_distributed() -> Iterator[Call]:
    clips = numbers((4, 6, 3, 5))
    inner: list[tuple[dict[str, Any], np.ndarray]] = [
        (layer_object("Dense", units=3, activation="relu"), X),
        (layer_object("Dense", units=3), clips),
        (layer_object("Activation", activation="tanh"), X),
        (layer_object("Dropout", rate=0.5), X),
        (layer_object("Flatten"), clips),
        (layer_object("Reshape", target_shape=[5, 3]), clips),
        (layer_object("Conv1D", filters=4, kernel_size=2), clips),
        (layer_object("GlobalMaxPooling1D"), clips),
        (layer_object("LayerNormalization", epsilon=0.25), X),
        (layer_object("BatchNormalization", epsilon=0.25), X),
        (layer_object("TimeDistributed", layer=layer_object("Dense", units=3)), clips),
    ]
    for layer, x in inner:
        for pattern in ("none", "right", "holes", "full"):
            if pattern == "none" or layer["class_name"] != "TimeDistributed":  # whose mask would have no time left
                yield Call("TimeDistributed", {"layer": layer}, [x], {}, mask(pattern))
    steps = (np.arange(4 * 6 * 3).reshape(4, 6, 3) * 5 % 7 % 3) > 0
    for kind, flags, deep in itertools.product(RECURRENT, ({}, {"return_sequences": True}), (None, steps)):
        yield Call("TimeDistributed", {"layer": layer_object(kind, units=3, **flags)}, [clips], {}, deep)
    both = layer_object("Bidirectional", layer=layer_object("GRU", units=3))
    yield Call("TimeDistributed", {"layer": both}, [clips])


def merges() -> Iterator[Call]:
    shapes = [
        [(4, 6, 5)] * 2, [(4, 6, 5)] * 3, [(4, 5)] * 2, [(4, 6, 5), (4, 1, 5)], [(4, 6, 1), (4, 1, 5)],
        [(4, 6, 5), (4, 5)], [(4, 5), (4, 6, 5)], [(4, 2, 6, 5), (4, 6, 5)], [(4, 6, 5), (4, 1)],
    ]  # fmt: skip
    masks = [[None, None], *([mask(a), mask(b)] for a, b in itertools.product(MASKS, MASKS) if (a, b) != ("none",) * 2)]
    for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"):
        for some in shapes:
            if kind != "Subtract" or len(some) == 2:
                yield Call(kind, {}, [[numbers(shape, k) for k, shape in enumerate(some)]])
        pair = [X, numbers(X.shape, 1)]
        for two in masks[:: 1 if kind == "Add" else 9]:
            yield Call(kind, {}, [pair], {}, two)
    three = [mask("right"), mask("left"), mask("holes")]
    yield Call("Add", {}, [[numbers(X.shape, k) for k in range(3)]], {}, three)
    yield Call("Average", {}, [[numbers(X.shape, k) for k in range(3)]], {}, [*three[:2], None])
    yield Call("Add", {}, [[X, numbers((4, 1, 5))]], {}, [mask("holes"), mask("full", 4, 1)])
    yield Call("Multiply", {}, [[X, numbers((4, 5))]], {}, [mask("holes"), None])
    yield from concatenates(masks)
    yield from dots()


def concatenates(masks: list[Any]) -> Iterator[Call]:
    joins = [
        (-1, [(4, 6, 5), (4, 6, 2)]), (2, [(4, 6, 5), (4, 6, 2), (4, 6, 1)]), (1, [(4, 6, 5), (4, 3, 5)]),
        (-2, [(4, 6, 5), (4, 3, 5)]), (-1, [(4, 5), (4, 2)]), (1, [(4, 5), (4, 2)]),
        (-1, [(4, 2, 6, 5), (4, 2, 6, 1)]), (2, [(4, 2, 6, 5), (4, 2, 1, 5)]), (1, [(4, 2, 6, 5), (4, 3, 6, 5)]),
    ]  # fmt: skip
    for axis, shapes in joins:
        yield Call("Concatenate", {"axis": axis}, [[numbers(shape, k) for k, shape in enumerate(shapes)]])
    for two in masks[1::3]:
        yield Call("Concatenate", {}, [[X, numbers((4, 6, 2))]], {}, two)
        yield Call("Concatenate", {"axis": 1}, [[X, numbers(X.shape, 1)]], {}, two)
    later = [mask("left"), mask("right", 4, 3)]
    yield Call("Concatenate", {"axis": 1}, [[X, numbers((4, 3, 5))]], {}, later)
    yield Call("Concatenate", {"axis": -2}, [[X, numbers((4, 3, 5))]], {}, [None, later[1]])


def dots() -> Iterator[Call]:
    sides: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = [
        (1, (4, 5), (4, 5)), (-1, (4, 5), (4, 5)), ([1, 1], (4, 5), (4, 5)),
        (1, (4, 6, 5), (4, 6, 3)), (2, (4, 6, 5), (4, 3, 5)), (-1, (4, 6, 5), (4, 3, 5)),
        ([2, 1], (4, 6, 5), (4, 5, 3)), ([1, 2], (4, 6, 5), (4, 3, 6)), ([-1, -2], (4, 6, 5), (4, 5, 3)),
        ([2, 1], (4, 6, 5), (4, 5)), ([1, 2], (4, 5), (4, 6, 5)), (1, (4, 6, 5), (4, 6)),
        ([3, 1], (4, 2, 6, 5), (4, 5, 3)), ([3, 2], (4, 2, 6, 5), (4, 3, 5)), ([1, 2], (4, 3, 6, 5), (4, 2, 3)),
    ]  # fmt: skip
    for (axes, a, b), flag in itertools.product(sides, NO_YES):
        yield Call("Dot", {"axes": axes, "normalize": flag}, [[numbers(a), numbers(b, 1)]])
    yield Call("Dot", {"axes": 2}, [[X, numbers(X.shape, 1)]], {}, [mask("right"), mask("left")])


def pointwise() -> Iterator[Call]:
    gaps = X * mask("holes")[..., None]  # type: ignore[index]
    gaps[0, 5, :3] = 0  # not the whole step
    yield Call("Masking", {}, [gaps])
    yield Call("Masking", {"mask_value": -0.25}, [np.where(gaps == 0, np.float16(-0.25), gaps)])
    yield Call("Masking", {}, [gaps], {}, mask("left"))
    yield Call("Masking", {}, [numbers((4, 2, 6, 5)) * (np.arange(6) % 4 > 0)[:, None]])
    yield Call("Masking", {}, [numbers((4, 5)) * np.array([[1], [0], [1], [0]], np.float16)])
    for shape, axes in (((4, 5), None), ((4, 6, 5), None), ((4, 6, 5), [1]), ((4, 6, 5), [1, 2]), ((4, 6, 5), [2])):
        yield Call("PReLU", {"shared_axes": axes}, [numbers(shape)])
    yield Call("PReLU", {}, [X], {}, mask("right"))
    each = {"scale": [0.5, 0.25, 1, 2, 4], "offset": [1, 2, 3, 4, 5]}
    rescalings: list[dict[str, Any]] = [{"scale": 0.25}, {"scale": 2, "offset": -1.5}, each]
    for options, pattern in itertools.product(rescalings, ("none", "right")):
        yield Call("Rescaling", options, [X], {}, mask(pattern))
    for axis in (-1, 1, 2, [1, 2]):
        yield Call("Softmax", {"axis": axis}, [X])
        yield Call("Softmax", {"axis": axis}, [X], {}, numbers(X.shape, 9) > -0.5)
    for pattern in MASKS[1:]:
        yield Call("Softmax", {}, [numbers((4, 6))], {}, mask(pattern))
        yield Call("Softmax", {}, [numbers((4, 3, 6))], {}, mask(pattern)[:, None])  # type: ignore[index]
    others: list[tuple[str, dict[str, Any]]] = [
        ("Dense", {"units": 3}), ("Activation", {"activation": "tanh"}), ("Dropout", {"rate": 0.5}), ("Flatten", {}),
        ("Reshape", {"target_shape": [3, 10]}), ("Permute", {"dims": [2, 1]}), ("ReLU", {}), ("ELU", {}),
        ("LeakyReLU", {"negative_slope": 0.25}), ("SpatialDropout1D", {"rate": 0.5}),
        ("GaussianNoise", {"stddev": 0.5}), ("GaussianDropout", {"rate": 0.5}),
    ]  # fmt: skip
    for kind, options in others:
        yield Call(kind, options, [X], {}, mask("holes"))


def around() -> Iterator[Call]:
    yield Call("RepeatVector", {"n": 3}, [numbers((4, 5))])
    switches = {"center": NO_YES, "scale": NO_YES, "epsilon": (0.25, 0.001)}
    for row in cover(2, axis=(-1, 1, 2), mask=("none", "holes", "full"), **switches):
        pattern = row.pop("mask")
        yield Call("BatchNormalization", row, [X], {}, mask(pattern))
    for shape, axis in (((4, 5), -1), ((4, 2, 6, 5), -1), ((4, 2, 6, 5), 1), ((4, 2, 6, 5), 2)):
        yield Call("BatchNormalization", {"axis": axis}, [numbers(shape)])
    axes = (-1, 1, 2, [1, 2], [-1, -2])
    for row in cover(2, axis=axes, mask=("none", "holes"), **switches):
        pattern = row.pop("mask")
        yield Call("LayerNormalization", row, [X], {}, mask(pattern))
    for shape, axis in (((4, 5), -1), ((4, 2, 6, 5), -1), ((4, 2, 6, 5), [1, 3])):
        yield Call("LayerNormalization", {"axis": axis}, [numbers(shape)])
    yield from convolutions()
    yield from pools()


def convolutions() -> Iterator[Call]:
    long = numbers((4, 11, 6))
    rows = cover(
        2, padding=("valid", "same", "causal"), strides=(1, 2, 3), dilation_rate=(1, 2, 3), groups=(1, 2, 3),
        kernel_size=(1, 2, 3, 4), activation=(None, "relu", "tanh"), use_bias=NO_YES, mask=("none", "right"),
    )  # fmt: skip
    for row in rows:
        pattern = row.pop("mask")
        if row["strides"] > 1 and row["dilation_rate"] > 1:  # Keras takes one of them
            for key in ("strides", "dilation_rate"):
                yield Call("Conv1D", {"filters": 6, **row, key: 1}, [long], {}, mask(pattern, 4, 11))
        else:
            yield Call("Conv1D", {"filters": 6, **row}, [long], {}, mask(pattern, 4, 11))
    for time, strides, padding in itertools.product((4, 5, 6, 7), (1, 2, 3), ("valid", "same", "causal")):
        options = {"filters": 2, "kernel_size": 4, "strides": strides, "padding": padding}
        yield Call("Conv1D", options, [numbers((4, time, 3))])


def pools() -> Iterator[Call]:
    for kind in ("MaxPooling1D", "AveragePooling1D"):
        for row in cover(2, pool_size=(1, 2, 3, 4), strides=(None, 1, 2, 3), padding=("valid", "same"), time=(6, 7)):
            time = row.pop("time")
            yield Call(kind, row, [numbers((4, time, 5))])
        yield Call(kind, {"pool_size": 2}, [X], {}, mask("right"))
    for flag, pattern in itertools.product(NO_YES, MASKS[:-1]):
        yield Call("GlobalAveragePooling1D", {"keepdims": flag}, [X], {}, mask(pattern))
    for flag, pattern in itertools.product(NO_YES, ("none", "right")):
        yield Call("GlobalMaxPooling1D", {"keepdims": flag}, [X], {}, mask(pattern))
    for padding in (1, 2, [1, 3], [0, 2]):
        yield Call("ZeroPadding1D", {"padding": padding}, [X])
    for cropping in (1, 2, [0, 3], [2, 1]):
        yield Call("Cropping1D", {"cropping": cropping}, [X])
    for size in (1, 2, 3):
        yield Call("UpSampling1D", {"size": size}, [X])
    for kind, options in (("ZeroPadding1D", {}), ("Cropping1D", {}), ("UpSampling1D", {})):
        yield Call(kind, options, [X], {}, mask("right"))


def attended(value: Any, causal: bool, queries: int, keys: int) -> np.ndarray:
    """(batch, query): at least one key may be looked at."""
    allowed = np.ones((4, queries, keys), bool) if value is None else np.repeat(value[:, None], queries, 1)
    return (allowed & np.tri(queries, keys, dtype=bool) if causal else allowed).any(-1)


def attention() -> Iterator[Call]:
    q, v, k = numbers((4, 6, 4)), numbers((4, 7, 4), 1), numbers((4, 7, 4), 2)
    patterns = ("none", "right", "left", "holes", "full")
    table = {"inputs": (2, 3), "causal": NO_YES, "scores": NO_YES, "query": patterns, "value": patterns}
    kinds = [("Attention", {"use_scale": a, "score_mode": b}) for a in NO_YES for b in ("dot", "concat")]
    kinds += [("AdditiveAttention", {"use_scale": a}) for a in NO_YES]
    for row in cover(2, kind=range(len(kinds)), **table):
        kind, options = kinds[row["kind"]]
        masks = [mask(row["query"], 4, 6), mask(row["value"], 4, 7)]
        kwargs = {"return_attention_scores": row["scores"], "use_causal_mask": row["causal"]}
        valid = attended(masks[1], row["causal"], 6, 7)
        told = None if all(one is None for one in masks) else masks
        yield Call(kind, options, [[q, v, k][: row["inputs"]]], kwargs, told, {}, valid)
    yield Call("Attention", {}, [[q, numbers((4, 7, 3), 1), k]])


def heads() -> Iterator[Call]:
    q, v, k = numbers((4, 6, 5)), numbers((4, 7, 3), 1), numbers((4, 7, 4), 2)
    table = {
        "value_dim": (None, 3), "output_shape": (None, 7), "use_bias": (True, False), "num_heads": (1, 2, 3),
        "key": NO_YES, "causal": NO_YES, "scores": NO_YES, "attention": NO_YES,
        "query": ("none", "right", "holes"), "value": ("none", "right", "left", "holes"), "keys": ("none", "right"),
    }  # fmt: skip
    for row in cover(2, **table):
        options = {"key_dim": 4, **{key: row[key] for key in ("value_dim", "output_shape", "use_bias", "num_heads")}}
        kwargs: dict[str, Any] = {"return_attention_scores": row["scores"], "use_causal_mask": row["causal"]}
        masks = {"query": mask(row["query"]), "value": mask(row["value"], 4, 7)}
        valid = np.ones((4, 6, 7), bool)
        if row["key"]:
            kwargs["key"], masks["key"] = k, mask(row["keys"], 4, 7)
        if row["attention"]:
            kwargs["attention_mask"] = numbers((4, 6, 7), 5) > -0.75
            valid &= kwargs["attention_mask"]
        valid &= np.tri(6, 7, dtype=bool) if row["causal"] else valid
        for name, one in masks.items():
            if one is not None:
                valid &= one[:, :, None] if name == "query" else one[:, None]
        masks = {name: one for name, one in masks.items() if one is not None}
        yield Call("MultiHeadAttention", options, [q, v], kwargs, None, masks, valid.any(-1))
    yield Call("MultiHeadAttention", {"num_heads": 2, "key_dim": 4}, [X, X], {"use_causal_mask": True})
    wide = numbers((4, 2, 6, 5))
    for axes in ([2], [1, 2], [1]):
        yield Call("MultiHeadAttention", {"num_heads": 2, "key_dim": 4, "attention_axes": axes}, [wide, wide])


def every() -> Iterator[Call]:
    families = (recurrent, bidirectional, time_distributed, merges, pointwise, around, attention, heads)
    return itertools.chain.from_iterable(family() for family in families)
