"""Every known mistake, planted in a second model by means of its own, is named at the layer where it was planted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstmcore import layers as kl
from lstmcore import ops
from lstmcore.interop.proof import compare_models
from lstmcore.interop.proof.mistakes import MISTAKES, TOGETHER
from lstmcore.layers import GRU, LSTM, Bidirectional, Dense, Input, SimpleRNN
from lstmcore.models import Model, Sequential
from lstmcore.models.base import BaseModel
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Node, Program
from lstmcore.random import Stream

Array = NDArray[Any]
Weights = dict[str, Array]


def same(weights: Weights) -> Weights:
    return weights


@dataclass(frozen=True)
class Planted:
    """A right model and a wrong one; ``change`` makes the wrong one's weights from the right one's."""

    words: str
    layer: str
    right: Callable[[], BaseModel]
    wrong: Callable[[], BaseModel]
    change: Callable[[Weights], Weights] = same


def drawn(model: BaseModel) -> BaseModel:
    """Weights that no symmetry hides anything of."""
    made = {}
    for name, array in model.weights.items():
        stream = Stream(11).child(name)
        positive = "moving" in name
        values = 0.05 + stream.uniform(array.shape) if positive else 0.7 * stream.normal(array.shape)
        made[name] = values.astype(array.dtype)
    model.replace_weights(made)
    return model


def chain(*layers: Any, shape: tuple[int | None, ...] = (None, 4), **options: Any) -> Callable[[], BaseModel]:
    return lambda: Sequential([Input(shape, **options), *[layer() for layer in layers]])


def one(kind: Any, *arguments: Any, shape: tuple[int | None, ...] = (None, 4), **options: Any) -> Any:
    """A model of one layer, called ``it``, between two that are right."""
    return chain(lambda: kind(*arguments, name="it", **options), lambda: Dense(3, name="after"), shape=shape)


def weights(**changes: Callable[[Weights], Array]) -> Callable[[Weights], Weights]:
    """Changes weights of the layer ``it``, by their last name."""
    return lambda given: {
        **given,
        **{
            f"it/{name}": change({k.rpartition("/")[2]: v for k, v in given.items() if k.startswith("it/")})
            for name, change in changes.items()
        },
    }


def gates(order: str, read_as: str) -> Callable[[Weights], Weights]:
    """Blocks that stand in ``order``, read by one who believes that they stand in ``read_as``."""

    def change(given: Weights) -> Weights:
        found = dict(given)
        for name in [name for name in given if name.startswith("it/")]:
            width = given[name].shape[-1] // len(order)
            blocks = {gate: given[name][..., k * width : (k + 1) * width] for k, gate in enumerate(read_as)}
            found[name] = np.concatenate([blocks[gate] for gate in order], -1)
        return found

    return change


def orders(kind: Any, order: str, **options: Any) -> Iterator[Planted]:
    for other in map("".join, itertools.permutations(order)):
        moved = [a for a, b in zip(order, other, strict=True) if a != b]
        if not moved:
            continue
        words = f"the gates are read in the order {' '.join(other)}"
        if len(moved) == 2:
            words = f"gates {moved[0]} and {moved[1]} are swapped"
        model = one(kind, 5, return_sequences=True, **options)
        yield Planted(words, "it", model, model, gates(order, other))


def by_gate(array: Array, count: int, change: Callable[[Array], Array]) -> Array:
    units = array.shape[1] // count
    return np.concatenate([change(array[:, k * units : (k + 1) * units]) for k in range(count)], 1)


FUNCTIONS: Mapping[str, tuple[Any, Any]] = {  # words -> (the wrong function, the right one)
    "hard_sigmoid of Keras 2, 0.2 x + 0.5": ("hard_sigmoid_0_2", "hard_sigmoid"),
    "hard_sigmoid of Keras 3, x/6 + 0.5": ("hard_sigmoid", "hard_sigmoid_0_2"),
    "sigmoid": ("sigmoid", "hard_sigmoid_0_2"),
    "tanh": ("tanh", "relu"),
    "relu": ("relu", "tanh"),
    "linear": ("linear", "tanh"),
    "gelu": ("gelu", "tanh"),
    "elu": ("elu", "tanh"),
    "silu": ("silu", "tanh"),
}


def functions() -> Iterator[Planted]:
    for words, (wrong, right) in FUNCTIONS.items():
        for kind, key in ((LSTM, "recurrent_activation"), (SimpleRNN, "activation"), (Dense, "activation")):
            sequences = {} if kind is Dense else {"return_sequences": True}
            models = [one(kind, 4, **sequences, **{key: name}) for name in (right, wrong)]
            yield Planted(f"{key} is {words}", "it", *models)


def rarer_functions() -> Iterator[Planted]:
    """Those that only an object says, or that a program's op says."""
    from lstmcore.activations import Function

    rows = {
        "gelu with tanh": Function("gelu", (("approximate", True),)),
        "leaky_relu with slope 0.3, as in Keras 2": Function("leaky_relu", (("negative_slope", 0.3),)),
        "leaky_relu with slope 0.2": Function("leaky_relu", (("negative_slope", 0.2),)),
        "leaky_relu with slope 0.01, as in PyTorch": Function("leaky_relu", (("negative_slope", 0.01),)),
        "softmax over axis 1": Function("softmax", (("axis", 1),)),
    }
    for words, function in rows.items():
        for kind, key, option in (
            (LSTM, "recurrent_activation", "recurrent_activation"),
            (SimpleRNN, "activation", "activation"),
            (Dense, "activation", "function"),
        ):
            right = one(kind, 4, **({"activation": "tanh"} if kind is Dense else {"return_sequences": True}))
            wrong = edited(right, option_of("it", **{option: function}))
            yield Planted(f"{key} is {words}", "it", right, wrong)


# Programs that are edited: what no layer says.


def edited(right: Callable[[], BaseModel], edit: Callable[[Program], Program]) -> Callable[[], BaseModel]:
    def make() -> BaseModel:
        model = drawn(right())
        return ProgramModel(edit(model.program), model.every_path(), output_names=model.output_names)

    return make


def option_of(layer: str, **options: Any) -> Callable[[Program], Program]:
    def edit(program: Program) -> Program:
        def changed(node: Node) -> Node:
            mine = node.name.split("/")[0] == layer and all(hasattr(node.op, key) for key in options)
            return replace(node, op=replace(node.op, **options)) if mine else node  # type: ignore[type-var]

        return replace(program, nodes=tuple(map(changed, program.nodes)))

    return edit


def inserted(place: str, *steps: ops.Op) -> Callable[[Program], Program]:
    """Further ops after the node of that name; what read its output reads theirs."""

    def edit(program: Program) -> Program:
        nodes: list[Node] = []
        for node in program.nodes:
            if node.name != place:
                nodes.append(node)
                continue
            out = node.outputs[0]
            names = [f"{out}-{k}" for k in range(len(steps))] + [out]
            nodes.append(replace(node, outputs=(names[0], *node.outputs[1:])))
            nodes += [Node(f"{place}-{k}", op, (names[k],), (names[k + 1],)) for k, op in enumerate(steps)]
        values = dict(program.values)
        for node in nodes:
            for name in node.outputs:
                values.setdefault(name, replace(program.values[name.partition("-")[0]], name=name))
        return replace(program, nodes=tuple(nodes), values=values)

    return edit


def with_states(order: str) -> Callable[[], BaseModel]:
    """An LSTM that is given h and c: "hc", or what is made of them: "ch", and "0" for zeros."""

    def make() -> BaseModel:
        x, h, c = Input((None, 4), name="x"), Input((5,), name="h"), Input((5,), name="c")
        zero = kl.Subtract(name="zero")([h, h])
        given = {"h": h, "c": c, "0": zero}
        y = LSTM(5, name="it", return_sequences=True)(x, initial_state=[given[order[0]], given[order[1]]])
        return Model([x, h, c], Dense(3, name="after")(y))

    return make


def merged(kind: Any, reverse: bool = False) -> Callable[[], BaseModel]:
    def make() -> BaseModel:
        x = Input((None, 4), name="x")
        a, b = Dense(5, name="a")(x), Dense(5, name="b")(x)
        return Model(x, Dense(3, name="after")(kind(name="it")([b, a] if reverse else [a, b])))

    return make


def two_ways(**options: Any) -> Callable[[], BaseModel]:
    return chain(
        lambda: Bidirectional(LSTM(5, return_sequences=True), name="it", **options), lambda: Dense(3, name="after")
    )


def swapped_ways(given: Weights, forward: str = "backward", backward: str = "forward") -> Weights:
    taken = {"forward": forward, "backward": backward}
    found = dict(given)
    for name in given:
        if name.startswith("it/"):
            _, way, weight = name.split("/")
            found[name] = given[f"it/{taken[way]}/{weight}"]
    return found


def masked(mask: bool, **options: Any) -> Callable[[], BaseModel]:
    first = (lambda: kl.Masking(name="first")) if mask else (lambda: kl.Activation("linear", name="first"))
    return chain(first, lambda: LSTM(5, name="it", return_sequences=True, **options), lambda: Dense(3, name="after"))


RECURRENT = one(LSTM, 4, return_sequences=True)
GATED = one(GRU, 4, return_sequences=True)
ONE_BIAS = one(GRU, 4, return_sequences=True, reset_after=False)
BATCH = one(kl.BatchNormalization)
CONV = one(kl.Conv1D, 4, 3, padding="causal")
IDS = chain(lambda: kl.Embedding(9, 4, name="it"), lambda: Dense(3, name="after"), shape=(None,), dtype="int32")
LAST = one(LSTM, 4)


def plain() -> Iterator[Planted]:
    bias = {
        "the bias is missing": lambda w: 0 * w["bias"],
        "the bias is halved": lambda w: w["bias"] / 2,
        "the bias is added twice": lambda w: w["bias"] + w["bias"],
    }
    for words, change in bias.items():
        yield Planted(words, "it", RECURRENT, RECURRENT, weights(bias=change))
        yield Planted(words, "it", CONV, CONV, weights(bias=change))
    yield Planted(
        "reset_after=True", "it", ONE_BIAS, GATED, weights(bias=lambda w: np.stack([w["bias"], 0 * w["bias"]]))
    )
    yield Planted("reset_after=False", "it", GATED, ONE_BIAS, weights(bias=lambda w: w["bias"][0] + w["bias"][1]))
    rows = {
        "the second bias is dropped": lambda b: np.stack([b[0], 0 * b[1]]),
        "the first bias is dropped": lambda b: np.stack([0 * b[0], b[1]]),
        "the two biases are swapped": lambda b: np.stack([b[1], b[0]]),
    }
    for words, row in rows.items():
        yield Planted(words, "it", GATED, GATED, weights(bias=lambda w, row=row: row(w["bias"])))
    forget = np.repeat([0.0, 1.0, 0.0, 0.0], 4).astype(np.float32)
    yield Planted(
        "1 is added to the forget bias", "it", RECURRENT, RECURRENT, weights(bias=lambda w: w["bias"] + forget)
    )
    for model, count in ((RECURRENT, 4), (GATED, 3)):
        for port, called in (("recurrent_kernel", "the recurrent kernel"), ("kernel", "the kernel")):
            end = ", gate by gate" if port != "kernel" else ""
            yield Planted(
                f"{called} is transposed{end}",
                "it",
                model,
                model,
                weights(**{port: lambda w, p=port, n=count: by_gate(w[p], n, np.transpose)}),
            )
            yield Planted(
                f"{called} is reshaped, not transposed",
                "it",
                model,
                model,
                weights(**{port: lambda w, p=port: np.ascontiguousarray(w[p].T).reshape(w[p].shape)}),
            )
    square = one(Dense, 4)
    yield Planted("the kernel is transposed", "it", square, square, weights(kernel=lambda w: w["kernel"].T))
    yield Planted(
        "the kernel and the recurrent kernel are swapped",
        "it",
        RECURRENT,
        RECURRENT,
        weights(kernel=lambda w: w["recurrent_kernel"], recurrent_kernel=lambda w: w["kernel"]),
    )
    inverted = np.repeat([-1.0, 1.0, 1.0], 4).astype(np.float32)
    yield Planted(
        "the update gate is inverted, (1 - z) h + z g",
        "it",
        GATED,
        GATED,
        weights(**{port: lambda w, p=port: w[p] * inverted for port in ("kernel", "recurrent_kernel", "bias")}),
    )


def over_time() -> Iterator[Planted]:
    yield Planted("the mask is ignored", "it", masked(True), masked(False))
    zero, repeat = masked(True, zero_output_for_mask=True), masked(True)
    yield Planted("masked outputs are zero", "it", repeat, zero)
    yield Planted("masked outputs repeat the one before", "it", zero, repeat)
    yield Planted("the initial states are not passed", "it", with_states("hc"), with_states("00"))
    yield Planted("the initial h is not passed", "it", with_states("hc"), with_states("0c"))
    yield Planted("the initial c is not passed", "it", with_states("hc"), with_states("h0"))
    yield Planted("the initial h and c are swapped", "it", with_states("hc"), with_states("ch"))
    backwards = one(LSTM, 4, return_sequences=True, go_backwards=True)
    yield Planted("the steps are not reversed", "it", backwards, RECURRENT)
    yield Planted(
        "the outputs stand in reversed time", "it", RECURRENT, edited(RECURRENT, inserted("it", ops.Reverse()))
    )
    yield Planted("the first step is taken, not the last", "it", LAST, edited(LAST, inserted("it", ops.Reverse())))
    yield Planted("forward and backward are swapped", "it", two_ways(), two_ways(), swapped_ways)
    yield Planted(
        "backward has the weights of forward",
        "it",
        two_ways(),
        two_ways(),
        lambda given: swapped_ways(given, "forward", "forward"),
    )
    yield Planted(
        "forward has the weights of backward",
        "it",
        two_ways(),
        two_ways(),
        lambda given: swapped_ways(given, "backward", "backward"),
    )


def others() -> Iterator[Planted]:
    yield Planted("the kernel is flipped", "it", CONV, CONV, weights(kernel=lambda w: w["kernel"][::-1]))
    wide = one(kl.Conv1D, 4, 3, padding="causal", dilation_rate=2)
    yield Planted("the dilation is ignored", "it", wide, CONV)
    same_padding = one(kl.Conv1D, 4, 3, padding="same")
    yield Planted("padding='same'", "it", CONV, same_padding)
    yield Planted("padding='causal'", "it", same_padding, CONV)
    yield Planted(
        "the ids are one too large", "it", IDS, IDS, weights(embeddings=lambda w: shifted(w["embeddings"], 1))
    )
    yield Planted(
        "the ids are one too small", "it", IDS, IDS, weights(embeddings=lambda w: shifted(w["embeddings"], -1))
    )
    for number in (1e-3, 1e-5, 1e-6, 1e-7):
        for kind in (kl.BatchNormalization, kl.LayerNormalization):
            yield Planted(f"epsilon is {number:g}", "it", one(kind, epsilon=0.04), one(kind, epsilon=number))
    yield Planted("epsilon is 0", "it", BATCH, edited(BATCH, option_of("it", epsilon=0.0)))
    layer_norm = one(kl.LayerNormalization)
    for model in (BATCH, layer_norm):
        swap = weights(gamma=lambda w: w["beta"], beta=lambda w: w["gamma"])
        yield Planted("gamma and beta are swapped", "it", model, model, swap)
        yield Planted("gamma is ignored", "it", model, model, weights(gamma=lambda w: 0 * w["gamma"] + 1))
        yield Planted("beta is ignored", "it", model, model, weights(beta=lambda w: 0 * w["beta"]))
    moments = {"moving_mean": lambda w: w["moving_variance"], "moving_variance": lambda w: w["moving_mean"]}
    positive = chain(lambda: kl.BatchNormalization(name="it"), lambda: Dense(3, name="after"))
    yield Planted("mean and variance are swapped", "it", positive, positive, weights(**moments))
    yield Planted(
        "the variance is squared", "it", BATCH, BATCH, weights(moving_variance=lambda w: w["moving_variance"] ** 2)
    )
    yield Planted(
        "the variance is a square root",
        "it",
        BATCH,
        BATCH,
        weights(moving_variance=lambda w: w["moving_variance"] ** 0.5),
    )
    for kind, word in ((kl.Add, "add"), (kl.Subtract, "subtract"), (kl.Multiply, "mul"), (kl.Maximum, "max")):
        yield Planted(
            f"they are merged by {word}", "it", merged(kl.Add if kind is not kl.Add else kl.Multiply), merged(kind)
        )
    yield Planted("they are merged by average", "it", two_ways(merge_mode="sum"), two_ways(merge_mode="ave"))
    yield Planted("they are added, not averaged", "it", two_ways(merge_mode="ave"), two_ways(merge_mode="sum"))
    yield Planted("the operands are swapped", "it", merged(kl.Subtract), merged(kl.Subtract, reverse=True))
    yield Planted(
        "the parts are put together in reverse", "it", merged(kl.Concatenate), merged(kl.Concatenate, reverse=True)
    )
    mean, most = one(kl.AveragePooling1D, 2), one(kl.MaxPooling1D, 2)
    yield Planted("the pooling takes the max", "it", mean, most)
    yield Planted("the pooling takes the mean", "it", most, mean)
    whole = one(kl.GlobalAveragePooling1D)
    yield Planted("the pooling takes the sum", "it", whole, edited(whole, option_of("it", function="sum")))


def shifted(table: Array, by: int) -> Array:
    return table[(np.arange(len(table)) + by) % len(table)]


PLANTED = [
    *orders(LSTM, "ifco"),
    *orders(GRU, "zrh"),
    *orders(GRU, "zrh", reset_after=False),
    *functions(),
    *rarer_functions(),
    *plain(),
    *over_time(),
    *others(),
]


def proof_of(planted: Planted, folder: Path) -> Any:
    right, wrong = drawn(planted.right()), planted.wrong()
    if not isinstance(wrong, ProgramModel):
        wrong.replace_weights({k: v.astype(np.float32) for k, v in planted.change(dict(right.weights)).items()})
    files = folder / "right.safetensors", folder / "wrong.safetensors"
    right.save(files[0])
    wrong.save(files[1])
    return compare_models(right, wrong, files)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.words.replace(" ", "_"))
def test_a_planted_mistake_is_named(planted: Planted, tmp_path: Path) -> None:
    proof = proof_of(planted, tmp_path)
    (row,) = proof.rows
    assert not proof.ok and row.status == "DIFFERS"
    if row.first == "after":  # the layer's right output is there too, but another one goes on
        assert f"matches if in it, {planted.words}" in row.diagnosis, row.diagnosis
    else:
        assert f"matches if {planted.words}" in row.diagnosis, row.diagnosis
        assert row.first.split(":")[0] == planted.layer


def test_every_mistake_is_planted() -> None:
    known = {mistake.words for mistake in MISTAKES} | {words for words, _ in TOGETHER}
    assert {planted.words for planted in PLANTED} == known


@pytest.mark.parametrize(
    "right", [RECURRENT, GATED, CONV, IDS, LAST, BATCH, two_ways(), masked(True), with_states("hc")]
)
def test_what_is_right_has_no_diagnosis(right: Callable[[], BaseModel], tmp_path: Path) -> None:
    proof = proof_of(Planted("", "it", right, right), tmp_path)
    assert proof.ok and not proof.rows[0].diagnosis and not proof.rows[0].first


def test_two_mistakes_at_once(tmp_path: Path) -> None:
    both = lambda given: weights(bias=lambda w: w["bias"] / 2)(gates("ifco", "fico")(given))  # noqa: E731
    proof = proof_of(Planted("", "it", RECURRENT, RECURRENT, both), tmp_path)
    assert proof.rows[0].diagnosis == ("matches if gates i and f are swapped and the bias is halved",)


def test_what_no_mistake_explains_is_not_explained(tmp_path: Path) -> None:
    noise = weights(kernel=lambda w: w["kernel"] + 0.1 * Stream(3).normal(w["kernel"].shape).astype(np.float32))
    proof = proof_of(Planted("", "it", RECURRENT, RECURRENT, noise), tmp_path)
    assert proof.rows[0].diagnosis == () and proof.rows[0].first == "it"
    assert "no known mistake" in str(proof)
