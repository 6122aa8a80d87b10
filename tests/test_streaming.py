"""Streaming: any pieces give the numbers of the whole sequence, or the model is refused by the layer's name."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcore import plugins
from lstmcore.errors import FileError, InputError, SpecError
from lstmcore.layers import (
    ELU,
    GRU,
    LSTM,
    RNN,
    Activation,
    Add,
    Average,
    AveragePooling1D,
    BatchNormalization,
    Bidirectional,
    Cell,
    Concatenate,
    Conv1D,
    Cropping1D,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    GRUCell,
    Input,
    LayerNormalization,
    LSTMCell,
    Masking,
    Maximum,
    MaxPooling1D,
    MultiHeadAttention,
    Multiply,
    Permute,
    PReLU,
    RepeatVector,
    Rescaling,
    Reshape,
    SimpleRNN,
    SimpleRNNCell,
    Softmax,
    SpatialDropout1D,
    Subtract,
    TimeDistributed,
    UpSampling1D,
    Weight,
    ZeroPadding1D,
)
from lstmcore.models import Model, Sequential
from lstmcore.models.base import BaseModel
from lstmcore.runtime.stream import Stream

BACKENDS = ("numpy", "torch", "tensorflow")
RNG = np.random.default_rng(11)


def data(*shape: int, zeros: float = 0.0) -> np.ndarray:
    """Normal numbers; a share of the steps is all zeros, for Masking."""
    x = RNG.normal(size=shape)
    x[RNG.random(shape[:2]) < zeros] = 0
    return x.astype(np.float32)


def ids(batch: int, steps: int, tokens: int = 5) -> np.ndarray:
    return RNG.integers(0, tokens, (batch, steps))


def listed(y: Any) -> list[Any]:
    return y if isinstance(y, list) else [y]


def push_all(
    stream: Stream, arrays: Sequence[np.ndarray], cuts: Sequence[int], single: bool = False
) -> list[list[Any]]:
    """What each push gives; with ``single`` a piece of one step comes without its axis of time."""
    program = stream._session.program
    steps = [stream._roles[name] == "steps" for name in program.inputs]
    made, start = [], 0
    for end in cuts:
        alone = single and end - start == 1
        pieces = [x if not s else x[:, start] if alone else x[:, start:end] for x, s in zip(arrays, steps, strict=True)]
        outputs = listed(stream.push(pieces if len(pieces) > 1 else pieces[0]))
        if alone:
            timed = zip(outputs, program.outputs, strict=True)
            outputs = [y[:, None] if stream._roles[name] == "steps" else y for y, name in timed]
        made.append(outputs)
        start = end
    return made


def check(
    model: BaseModel, arrays: Sequence[np.ndarray], cuts: Sequence[int], single: bool = False, backend: str = "numpy"
) -> Stream:
    """Streams and compares with ``predict`` on the whole; what comes as of the newest step, also on what was so far."""
    batch = arrays[0].shape[0]
    stream = model.stream(batch, backend)
    program = stream._session.program
    made = push_all(stream, arrays, cuts, single)

    def predicted(end: int) -> list[Any]:
        timed = zip(arrays, program.inputs, strict=True)
        part = [x[:, :end] if stream._roles[name] == "steps" else x for x, name in timed]
        return listed(model.predict(part if len(part) > 1 else part[0], batch_size=batch, backend="numpy"))

    opened = all(model.program.values[n].shape[1] is None for n in program.inputs if stream._roles[n] == "steps")
    for k, name in enumerate(program.outputs):
        if stream._roles[name] == "steps":
            got = np.concatenate([outputs[k] for outputs in made], 1)
            close(got, predicted(cuts[-1])[k])
            continue
        for end, outputs in zip(cuts, made, strict=True):
            if opened or end == cuts[-1]:
                close(outputs[k], predicted(end)[k])
    return stream


def close(got: Any, expected: Any) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)


# What streams


class Leaky(Cell):
    units: int

    @property
    def state_size(self) -> list[int]:
        return [self.units, 2]

    def declare(self, features: int) -> dict[str, Weight]:
        return {"kernel": Weight((features, self.units)), "second": Weight((features, 2))}

    def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        h, s = states
        h = ops.tanh(inputs @ w["kernel"] + 0.5 * h + ops.sum(s, keepdims=True))
        s = 0.5 * s + inputs @ w["second"]
        return ops.concatenate([h, s]), [h, s]


def multi_input() -> Model:
    x, tokens, still = Input((None, 3)), Input((None,), dtype="int32"), Input((2,))
    embedded = Embedding(5, 3, mask_zero=True)(tokens)
    both = Concatenate()([Masking()(x), embedded])
    y = LSTM(4, return_sequences=True)(Add()([Dense(2)(both), Reshape((1, 2))(still)]))
    return Model([x, tokens, still], [y, GRU(2)(embedded), Dense(1)(still)])


def stack(*layers: Any, shape: tuple[int | None, ...] = (None, 3), **kwargs: Any) -> Callable[[], Sequential]:
    """Layers are made anew at each call, from their configs."""
    return lambda: Sequential([Input(shape, **kwargs), *(type(one).from_config(one.get_config()) for one in layers)])


STREAMS: dict[str, Callable[[], BaseModel]] = {
    "lstm": stack(LSTM(4, return_sequences=True)),
    "last only": stack(LSTM(4)),
    "states": stack(LSTM(4, return_state=True, return_sequences=True)),
    "stacked": stack(LSTM(4, return_sequences=True), GRU(3, return_sequences=True), SimpleRNN(2), Dense(2)),
    "gru before": stack(GRU(4, reset_after=False, return_sequences=True)),
    "masking": stack(Masking(), LSTM(4, return_sequences=True), GRU(3, return_sequences=True), Dense(2)),
    "masking, last": stack(Masking(), GRU(4)),
    "masking, zero": stack(Masking(), SimpleRNN(4, return_sequences=True, zero_output_for_mask=True)),
    "embedding": stack(
        Embedding(5, 3, mask_zero=True), LSTM(4, return_sequences=True), SimpleRNN(2), shape=(None,), dtype="int32"
    ),
    "conv": stack(Conv1D(4, 3, padding="causal"), Conv1D(2, 2, padding="causal", dilation_rate=3, groups=2)),
    "conv of one": stack(Conv1D(4, 1), Conv1D(2, 1, padding="same"), LSTM(2)),
    "conv and rnn": stack(Masking(), LSTM(4, return_sequences=True), Conv1D(2, 2, padding="causal"), GRU(2)),
    "normalized": stack(BatchNormalization(), LayerNormalization(), LSTM(3, return_sequences=True), Dropout(0.5)),
    "cells": stack(RNN([LSTMCell(3), Leaky(2), SimpleRNNCell(2)], return_sequences=True), RNN(GRUCell(2))),
    "masked cells": stack(Masking(), RNN(Leaky(3), return_sequences=True), RNN(LSTMCell(2), return_state=True)),
    "masked cells, zero": stack(Masking(), RNN(Leaky(3), return_sequences=True, zero_output_for_mask=True)),
    "steps apart": stack(TimeDistributed(Dense(2)), Reshape((-1, 2, 1)), TimeDistributed(LSTM(2)), Softmax()),
    "features moved": stack(Reshape((-1, 3, 1)), Permute((1, 3, 2)), TimeDistributed(Flatten()), GRU(2)),
    "inputs": multi_input,
}


def arrays_for(model: BaseModel, batch: int = 2, steps: int = 6) -> list[np.ndarray]:
    found = []
    for name in model.program.inputs:
        value = model.program.values[name]
        shape = tuple(batch if k == 0 else n or steps for k, n in enumerate(value.shape))
        found.append(ids(*shape) if value.kind == "int" else data(*shape, zeros=0.4))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", STREAMS)
def test_pieces_equal_the_whole(kind: str, backend: str) -> None:
    model = STREAMS[kind]()
    arrays = arrays_for(model, batch=3)
    arrays[0][0, :3] = 0  # the first steps are masked where zeros are
    for cuts, single in (([1, 2, 3, 4, 5, 6], True), ([2, 3, 6], False), ([6], False)):
        check(model, arrays, cuts, single, backend)


@settings(derandomize=True, max_examples=120, deadline=None)
@given(st.data())
def test_random_chains_in_random_pieces(draws: st.DataObject) -> None:
    draw = draws.draw
    flag = st.booleans()
    tokens = draw(flag)
    layers: list[Any] = [Input((None,), dtype="int32"), Embedding(5, 3, mask_zero=draw(flag))] if tokens else []
    layers = layers or [Input((None, 3)), *([Masking()] if draw(flag) else [])]
    for _ in range(draw(st.integers(0, 3))):
        more = {"return_sequences": True, "zero_output_for_mask": draw(flag)}
        makers: list[Callable[[], Any]] = [
            lambda more=more: LSTM(3, **more),
            lambda more=more: GRU(2, reset_after=draw(flag), **more),
            lambda more=more: SimpleRNN(3, unroll=True, **more),
            lambda more=more: RNN([LSTMCell(2), Leaky(2)], **more),
            lambda: Conv1D(2, draw(st.integers(1, 4)), padding="causal", dilation_rate=draw(st.integers(1, 3))),
            lambda: Dense(3, activation="tanh"),
            lambda: LayerNormalization(),
            lambda: TimeDistributed(Dense(2)),
        ]
        layers.append(draw(st.sampled_from(makers))())
    if draw(flag):
        layers.append(GRU(2, return_state=True))
    if len(layers) == 1:
        layers.append(Dense(2))
    model = Sequential(layers)
    steps = draw(st.integers(1, 7))
    cuts = sorted(draw(st.sets(st.integers(1, steps))) | {steps})
    check(model, arrays_for(model, draw(st.integers(1, 3)), steps), cuts, draw(flag))


# Random graphs: refused, or equal. A model that streams and gives other numbers would be the worst fault.

Tensor = Any


def recurrent(r: random.Random, units: int, **options: Any) -> Any:
    options.setdefault("return_sequences", r.random() < 0.7)
    options |= {"zero_output_for_mask": r.random() < 0.3, "go_backwards": r.random() < 0.08}
    kind = r.choice([LSTM, GRU, SimpleRNN, lambda n, **o: RNN([LSTMCell(n), Leaky(n)], **o)])
    return kind(units, **options)


def apart(r: random.Random, units: int) -> Any:
    inner = [
        lambda: Dense(units),
        lambda: recurrent(r, units),
        lambda: Conv1D(units, 2, padding=r.choice(["same", "causal"])),
        lambda: Flatten(),
        lambda: GlobalAveragePooling1D(),
        lambda: Sequential([recurrent(r, units, return_sequences=False)]),
        lambda: TimeDistributed(Dense(units)),
        lambda: TimeDistributed(Reshape((-1, 1))),
        lambda: Permute((2, 1)),
        lambda: RepeatVector(2),
        lambda: Bidirectional(recurrent(r, units)),
    ]
    return TimeDistributed(r.choice(inner)())


def nested(r: random.Random, x: Tensor, y: Tensor, steps: int) -> Model:
    inside, beside = Input(x.shape[1:], dtype=x.dtype), Input(y.shape[1:], dtype=y.dtype)
    z = inside
    for _ in range(4):
        try:
            z = listed(grown(r, z, beside, [], steps))[0]
        except (SpecError, InputError):
            continue
    return Model([inside, beside], [z, Activation("tanh")(beside)])


LAYERS: list[Callable[[random.Random, int, int], Any]] = [
    *[lambda r, u, t: recurrent(r, u, return_state=r.random() < 0.2)] * 5,
    lambda r, u, t: Embedding(5, u, mask_zero=r.random() < 0.6),
    lambda r, u, t: Masking(),
    lambda r, u, t: Dense(u),
    lambda r, u, t: Conv1D(u, r.choice([1, 2, 3]), padding="causal", dilation_rate=r.choice([1, 2])),
    lambda r, u, t: Conv1D(
        u, r.choice([1, 2]), padding=r.choice(["valid", "same", "causal"]), strides=r.choice([1, 2])
    ),
    *[lambda r, u, t: apart(r, u)] * 3,
    lambda r, u, t: Bidirectional(recurrent(r, u)),
    lambda r, u, t: Permute(r.choice([(1,), (2, 1), (1, 3, 2), (2, 1, 3)])),
    lambda r, u, t: Reshape(r.choice([(-1, u), (t, -1), (-1, 1), (-1,), (u, -1), (1, -1), (t, 2, -1), (-1, 1, u)])),
    lambda r, u, t: GlobalAveragePooling1D(r.choice(["channels_last", "channels_first"]), keepdims=r.random() < 0.5),
    lambda r, u, t: GlobalMaxPooling1D(r.choice(["channels_last", "channels_first"]), keepdims=r.random() < 0.5),
    lambda r, u, t: UpSampling1D(r.choice([1, 2])),
    lambda r, u, t: Cropping1D(r.choice([(0, 1), (1, 0), (0, 0)])),
    lambda r, u, t: ZeroPadding1D(r.choice([(0, 1), (0, 0)]), r.choice(["channels_last", "channels_first"])),
    lambda r, u, t: r.choice([MaxPooling1D, AveragePooling1D])(r.choice([1, 2]), r.choice([1, 2]), "same"),
    lambda r, u, t: RepeatVector(r.choice([1, 2, t])),
    lambda r, u, t: Flatten(r.choice(["channels_last", "channels_first"])),
    lambda r, u, t: BatchNormalization(axis=r.choice([-1, 1])),
    lambda r, u, t: LayerNormalization(axis=r.choice([-1, -1, 1, [-2, -1]])),
    lambda r, u, t: Softmax(axis=r.choice([-1, 1, -2])),
    lambda r, u, t: r.choice([ELU(), Dropout(0.5), SpatialDropout1D(0.5)]),
    lambda r, u, t: PReLU(shared_axes=r.choice([None, [1], [2]])),
    lambda r, u, t: Rescaling(r.choice([2.0, [[float(k + 1)] for k in range(t)], [[2.0]]])),
]
MERGES: list[Callable[[random.Random], Any]] = [
    *[lambda r: Concatenate(axis=r.choice([-1, -1, 1, 2]))] * 2,
    *[lambda r: r.choice([Add, Multiply, Maximum, Average, Subtract])()] * 2,
    lambda r: Dot(axes=r.choice([1, 2, (1, 2), (2, 1), -1]), normalize=r.random() < 0.3),
]


def grown(r: random.Random, x: Tensor, y: Tensor, shared: list[Any], steps: int) -> Any:
    """What one more layer, or a model used as one, makes of x, perhaps with y."""
    units, kind = r.choice([2, 3, steps]), r.random()
    if kind < 0.2:
        return r.choice(MERGES)(r)([x, y])
    if kind < 0.3 and shared is not None:
        if not shared or r.random() < 0.5:
            inside = [Dense(units), Conv1D(units, 2, padding="causal"), recurrent(r, units)]
            shared.append(r.choice([*inside, Sequential(inside)]))
        return r.choice(shared)(x)
    if kind < 0.4:
        return nested(r, x, y, steps)([x, y])
    if kind < 0.45 and y.kind == "bool":
        return recurrent(r, units)(x, mask=y)
    return r.choice(LAYERS)(r, units, steps)(x)


def random_graph(r: random.Random, steps: int) -> tuple[Model, list[np.ndarray]]:
    length = r.choice([None, steps])
    features = r.choice([2, 3, steps])
    batch = r.choice([1, 2, 3])
    inputs: list[tuple[Tensor, np.ndarray]] = []
    for _ in range(r.choice([1, 1, 2, 3])):
        made = {
            "floats": lambda: (Input((length, features)), data(batch, steps, features, zeros=0.3)),
            "ids": lambda: (Input((length,), dtype="int32"), ids(batch, steps)),
            "deep": lambda: (Input((length, features, 2)), data(batch, steps, features, 2)),
            "still": lambda: (Input((features,)), data(batch, features)),
            "mask": lambda: (Input((length,), dtype="bool"), ids(batch, steps) > 1),
        }
        inputs.append(
            made[r.choice(["floats", "floats", "ids", "deep", "still", "mask"] if inputs else ["floats", "ids"])]()
        )
    pool = [x for x, _ in inputs]
    shared: list[Any] = []
    for _ in range(r.randint(2, 12)):
        try:
            pool += [
                x for x in listed(grown(r, r.choice(pool[-4:]), r.choice(pool), shared, steps)) if hasattr(x, "call")
            ]
        except (SpecError, InputError):
            continue
    outputs = [pool[-1], *(x for x in pool[len(inputs) : -1] if r.random() < 0.2)]
    return Model([x for x, _ in inputs], outputs), [array for _, array in inputs]


@pytest.mark.parametrize("block", range(12))
def test_random_graphs_are_refused_or_equal(block: int) -> None:
    streamed = refused = 0
    for seed in range(100 * block, 100 * (block + 1)):
        r = random.Random(seed)
        steps = r.choice([1, 3, 4, 5])
        try:
            model, arrays = random_graph(r, steps)
        except SpecError as error:  # one input taken as ids and as numbers
            assert "one as ids" in str(error), seed
            continue
        cuts = sorted({*r.choices(range(1, steps + 1), k=r.randint(0, steps)), steps})
        try:
            model.stream(arrays[0].shape[0], "numpy")
        except SpecError as refusal:
            assert "cannot stream" in str(refusal), seed
            refused += 1
            continue
        try:
            model.predict(arrays if len(arrays) > 1 else arrays[0])
        except InputError:  # a sequence too short for the model
            continue
        try:
            check(model, arrays, cuts, r.random() < 0.5)
        except Exception as failure:
            raise AssertionError(
                f"seed {seed}, cuts {cuts}, layers {[layer.called() for layer in model.layers]}"
            ) from failure
        streamed += 1
    assert streamed > 20 and refused > 10


# Refusals


def functional(make: Callable[..., Any], *shapes: tuple[int | None, ...]) -> Model:
    inputs = [Input(shape) for shape in shapes]
    return Model(inputs, make(*inputs))


REFUSED: dict[str, tuple[Callable[[], BaseModel], str]] = {
    "bidirectional": (stack(Bidirectional(LSTM(2), name="it")), "runs backwards"),
    "backwards": (stack(GRU(2, go_backwards=True, name="it")), "runs backwards"),
    "attention": (
        lambda: functional(lambda x: MultiHeadAttention(1, 2, name="it")(x, x), (None, 3)),
        "the whole sequence at once, as attention does",
    ),
    "causal attention": (
        lambda: functional(lambda x: MultiHeadAttention(1, 2, name="it")(x, x, use_causal_mask=True), (None, 3)),
        "as attention does",
    ),
    "pool": (stack(MaxPooling1D(2, name="it")), "pools over time"),
    "global pool": (stack(GlobalAveragePooling1D(name="it")), "sums up the whole sequence"),
    "flatten": (stack(Flatten(name="it"), shape=(4, 3)), "across the steps"),
    "repeat": (stack(LSTM(2), RepeatVector(3), LSTM(2, name="it")), "made of the whole input"),
    "state": (
        lambda: functional(lambda x, h: GRU(2, name="it")(x, initial_state=h), (None, 3), (2,)),
        "starts from states that the model computes",
    ),
    "softmax over time": (stack(Softmax(axis=1, name="it")), "normalizes over all steps"),
    "activation over time": (stack(Permute((1, 2)), Softmax(axis=-2, name="it")), "normalizes over all steps"),
    "same conv": (stack(Conv1D(2, 2, padding="same", name="it")), "has padding 'same'"),
    "valid conv": (stack(Conv1D(2, 2, name="it")), "has padding 'valid'"),
    "strides": (stack(Conv1D(2, 2, padding="causal", strides=2, name="it")), "strides 2"),
    "upsampling": (stack(UpSampling1D(2, name="it")), "repeats steps"),
    "cropping": (stack(Cropping1D((1, 0), name="it")), "cuts steps off"),
    "padding": (stack(ZeroPadding1D(1, name="it")), "adds steps"),
    "end to end": (
        lambda: functional(lambda x, y: Concatenate(axis=1, name="it")([x, y]), (None, 3), (None, 3)),
        "joins sequences end to end",
    ),
    "transposed": (stack(Permute((2, 1), name="it"), shape=(4, 3)), "another axis in the place of time"),
    "a weight for each step": (stack(PReLU(name="it"), shape=(4, 3)), "something of its own to each of 4 steps"),
    "a number for each step": (stack(Rescaling([[1.0], [2.0]], name="it"), shape=(2, 3)), "each of 2 steps"),
    "repeated beside": (
        lambda: functional(lambda x, c: Concatenate(name="it")([x, RepeatVector(4)(c)]), (4, 3), (2,)),
        "of its own beside each step",
    ),
    "newest with each": (
        lambda: functional(lambda x: Add(name="it")([x, Reshape((1, 3))(LSTM(3)(x))]), (None, 3)),
        "the newest step together with every step",
    ),
    "stateful used twice": (
        lambda: _twice(SimpleRNN(3, stateful=True, return_sequences=True, name="it")),
        "not from its own",
    ),
}  # fmt: skip


def _twice(layer: Any) -> Model:
    x = Input(batch_shape=(2, None, 3))
    return Model(x, layer(layer(x)))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_must_see_the_whole_sequence_is_refused_by_name(kind: str) -> None:
    make, told = REFUSED[kind]
    model = make()
    with pytest.raises(SpecError, match=f"cannot stream: layer 'it' .*{told}"):
        model.stream(2)


def test_inside_another_model_the_place_is_told() -> None:
    inner = Sequential([Input((None, 3)), Bidirectional(LSTM(2), name="deep")], name="inner")
    with pytest.raises(SpecError, match="layer 'inner' runs backwards"):
        Sequential([Input((None, 3)), inner]).stream(1)


def test_models_without_time_are_refused() -> None:
    with pytest.raises(SpecError, match="no time axis"):
        Sequential([Input((3,)), Dense(2)]).stream(1)
    with pytest.raises(SpecError, match="does not know its input's shape"):
        Sequential([LSTM(2)]).stream(1)


@pytest.mark.parametrize("size", [0, -1, 1.0, "2", None, True])
def test_batch_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(SpecError, match="batch_size"):
        STREAMS["lstm"]().stream(size)


def test_a_fixed_batch_size_must_be_the_same() -> None:
    model = Sequential([Input(batch_shape=(2, None, 3)), LSTM(2, stateful=True)])
    with pytest.raises(SpecError, match="built for batches of 2; asked to stream 3"):
        model.stream(3)
    assert model.stream(2).push(data(2, 1, 3)).shape == (2, 2)


# What a layer inside TimeDistributed looks back on is its own step, not the stream's (once wrong).


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "inner",
    [
        lambda: Conv1D(2, 3, padding="causal"),
        lambda: Conv1D(2, 3, padding="same"),
        lambda: Sequential([Masking(), LSTM(2, return_sequences=True)]),
        lambda: Sequential([Masking(), RNN(Leaky(2), return_sequences=True)]),
    ],
)
def test_layers_that_look_back_within_a_step(inner: Any, backend: str) -> None:
    model = Sequential([Input((None, 4, 3)), TimeDistributed(inner()), TimeDistributed(Flatten()), LSTM(2)])
    x = data(2, 5, 4, 3)
    x[:, :, 0] = 0
    check(model, [x], [1, 2, 4, 5], True, backend)


def test_a_mask_of_the_ids_within_a_step() -> None:
    x = Input((None, 4), dtype="int32")
    model = Model(x, TimeDistributed(LSTM(2, return_sequences=True))(Embedding(5, 3, mask_zero=True)(x)))
    check(model, [RNG.integers(0, 5, (2, 5, 4))], [1, 2, 4, 5], True)


def test_a_convolution_of_the_newest_features() -> None:
    x, still = Input((None, 3)), Input((4,))
    newest = Conv1D(2, 3, padding="causal")(Reshape((4, 1))(LSTM(4)(x)))
    beside = Conv1D(2, 3, padding="same")(Reshape((4, 1))(still))
    check(Model([x, still], [newest, beside]), [data(2, 5, 3), data(2, 4)], [1, 3, 5])


def test_steps_apart_within_steps_apart() -> None:
    inner = TimeDistributed(TimeDistributed(Dense(2)))
    model = Sequential([Input((None, 3, 2)), inner, GlobalAveragePooling1DOverAll()])
    with pytest.raises(SpecError, match=r"sums up|across"):
        model.stream(1)
    check(
        Sequential([Input((None, 3, 2)), TimeDistributed(TimeDistributed(Dense(2)))]), [data(2, 4, 3, 2)], [1, 4], True
    )


def GlobalAveragePooling1DOverAll() -> Sequential:  # noqa: N802
    return Sequential([Reshape((-1, 2)), GlobalAveragePooling1D()])


# The state


@pytest.mark.parametrize("kind", ["stacked", "masking", "conv and rnn", "masked cells", "embedding"])
def test_the_state_moves_to_another_engine_in_mid_sequence(kind: str) -> None:
    model = STREAMS[kind]()
    (x,) = arrays_for(model, steps=6)
    whole = push_all(model.stream(2, "numpy"), [x], [6])[0]
    for first, second in (("numpy", "torch"), ("torch", "tensorflow"), ("tensorflow", "numpy")):
        one, other = model.stream(2, first), model.stream(2, second)
        before = push_all(one, [x[:, :4]], [1, 4])
        other.state = one.state
        after = push_all(other, [x[:, 4:]], [1, 2])
        last = after[-1]
        for k, y in enumerate(whole):
            timed = one._roles[one._session.program.outputs[k]] == "steps"
            close(np.concatenate([o[k] for o in (*before, *after)], 1) if timed else last[k], y)


@pytest.mark.parametrize("kind", ["masking", "conv", "masked cells"])
def test_the_state_is_a_file(kind: str, tmp_path: Path) -> None:
    model = STREAMS[kind]()
    x = data(2, 6, 3, zeros=0.3)
    stream = model.stream(2, "numpy")
    stream.push(x[:, :3])
    stream.save_state(tmp_path / "state.safetensors")
    expected = stream.push(x[:, 3:])
    again = model.stream(2, "numpy")
    again.load_state(tmp_path / "state.safetensors")
    assert again.steps == 3
    assert all(np.array_equal(a, b) for a, b in zip(listed(again.push(x[:, 3:])), listed(expected), strict=True))


def test_a_state_of_another_model_or_batch_size_is_no_state(tmp_path: Path) -> None:
    model = STREAMS["lstm"]()
    model.stream(2).save_state(tmp_path / "state.safetensors")
    for other in (model.stream(3), STREAMS["gru before"]().stream(2)):
        with pytest.raises(FileError):
            other.load_state(tmp_path / "state.safetensors")
        assert not any(array.any() for array in other.state.values())
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(FileError):
        model.stream(2).load_state(tmp_path / "model.safetensors")


def test_the_state_is_a_copy() -> None:
    stream = STREAMS["lstm"]().stream(1)
    stream.push(data(1, 2, 3))
    state = stream.state
    for array in state.values():
        array[:] = 0
    assert all(array.any() for array in stream.state.values())
    stream.state = (kept := stream.state)
    next(iter(kept.values()))[:] = 7
    assert not any((array == 7).all() for array in stream.state.values())


BAD_STATES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda s: None, "holds NoneType"),
    (lambda s: [1, 2], "holds list"),
    (lambda s: {}, r"holds \[\]; expected \['lstm/c', 'lstm/h'\]"),
    (lambda s: {**s, "more": 1}, "more"),
    (lambda s: {"lstm/h": s["lstm/h"]}, "expected"),
    (lambda s: {key: value[:, :1] for key, value in s.items()}, r"shape \(2, 1\); expected .* shape \(2, 4\)"),
    (lambda s: {key: value[0] for key, value in s.items()}, "shape"),
    (lambda s: {key: value.astype(int) for key, value in s.items()}, "int64"),
    (lambda s: {key: value.astype(complex) for key, value in s.items()}, "complex128"),
    (lambda s: dict.fromkeys(s, "abc"), "state"),
    (lambda s: dict.fromkeys(s), "state"),
    (lambda s: {key: [[1.0], [2.0, 3.0]] for key in s}, "different lengths"),
]


@pytest.mark.parametrize(("change", "told"), BAD_STATES)
def test_states_of_the_wrong_structure(change: Any, told: str) -> None:
    stream = STREAMS["lstm"]().stream(2)
    stream.push(data(2, 2, 3))
    before = stream.state
    with pytest.raises(InputError, match=told):
        stream.state = change(stream.state)
    assert all(np.array_equal(before[key], stream.state[key]) for key in before)


def test_reset_begins_anew() -> None:
    stream = STREAMS["masking"]().stream(2)
    x = data(2, 3, 3)
    first = stream.push(x)
    assert not np.array_equal(stream.push(x), first)
    stream.reset()
    assert stream.steps == 0 and np.array_equal(stream.push(x), first)


def test_weights_changed_in_mid_stream_count_from_then_on() -> None:
    model = STREAMS["stacked"]()
    x = data(1, 4, 3)
    stream = model.stream(1)
    stream.push(x[:, :2])
    state = stream.state
    model.set_weights([2 * w for w in model.get_weights()])
    fresh = model.stream(1)
    fresh.state = state
    assert np.array_equal(stream.push(x[:, 2:]), fresh.push(x[:, 2:]))
    model.get_layer("dense").set_weights([np.zeros((2, 2)), np.ones(2)])
    assert np.array_equal(stream.push(x[:, :1]), [[1, 1]])


def test_a_model_that_was_changed_needs_another_stream() -> None:
    model = Sequential([Input((None, 3)), LSTM(2, return_sequences=True), Dense(2, name="end")])
    x = data(1, 2, 3)
    stream = model.stream(1)
    stream.push(x)
    model.pop()
    with pytest.raises(SpecError, match="changed after this stream was made"):
        stream.push(x)
    model.add(Dense(2, name="end"))
    stream.reset()
    close(stream.push(x), model.predict(x))


def test_a_stateful_model_and_its_streams_do_not_disturb_each_other() -> None:
    x = data(2, 8, 3)

    def model() -> Sequential:
        layers = [LSTM(3, stateful=True, return_sequences=True), GRU(2, stateful=True)]
        made = Sequential([Input(batch_shape=(2, None, 3)), *layers])
        made.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape) for w in made.get_weights()])
        return made

    alone, both = model(), model()
    expected = [alone.predict(x[:, :4]), alone.predict(x[:, 4:])]
    stream = both.stream(2)
    one = stream.push(x[:, :4])
    assert np.array_equal(both.predict(x[:, :4]), expected[0])
    two = stream.push(x[:, 4:])
    both.stream(2).push(x)
    assert np.array_equal(both.predict(x[:, 4:]), expected[1])
    close(one, expected[0])
    close(two, expected[1])
    both.reset_states()
    assert stream.state["lstm/h"].any()


# What is pushed


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (np.zeros((2, 0, 3), np.float32), "no time steps"),
        (np.zeros((0, 2, 3), np.float32), "no samples"),
        (np.zeros((3, 2, 3), np.float32), "holds 3 sequences; this stream was made for 2"),
        (np.zeros((2, 2, 4), np.float32), "axis 2 must be 3"),
        (np.zeros((2, 4), np.float32), "axis 2 must be 3"),
        (np.zeros(3, np.float32), "axes"),
        (np.zeros((1, 2, 1, 3), np.float32), "axes"),
        (np.zeros((2, 2, 3), int), "holds int64"),
        (3.0, "axes"),
        (None, "NoneType"),
        ("abc", "str"),
        ([[1.0], [2.0, 3.0]], "different lengths"),
        ({"nothing": np.zeros((2, 2, 3), np.float32)}, "1 inputs: input_layer"),
    ],
)
def test_what_does_not_fit_leaves_the_state_as_it_was(x: Any, told: str) -> None:
    stream = STREAMS["lstm"]().stream(2)
    stream.push(data(2, 2, 3))
    before = stream.state
    with pytest.raises(InputError, match=told):
        stream.push(x)
    assert stream.steps == 2
    assert all(np.array_equal(before[key], stream.state[key]) for key in before)


def test_several_inputs_must_go_together() -> None:
    stream = multi_input().stream(2)
    x, tokens, still = data(2, 3, 3), ids(2, 3), data(2, 2)
    with pytest.raises(InputError, match="different numbers of steps"):
        stream.push([x, tokens[:, :2], still])
    with pytest.raises(InputError, match="a push takes 3 inputs"):
        stream.push([x, tokens])
    with pytest.raises(InputError, match="a push takes 3 inputs"):
        stream.push(x)
    with pytest.raises(InputError, match="different numbers of samples"):
        stream.push([x, tokens[:1], still])
    with pytest.raises(InputError, match="the id 9"):
        stream.push([x, tokens + 9 - tokens, still])
    assert len(stream.push([x, tokens, still])) == 3


def test_inputs_come_in_every_form_that_predict_takes() -> None:
    x = Input((None, 3), name="x")
    y = LSTM(2, return_sequences=True)(x)
    array = data(2, 4, 3)
    expected = Model(x, y).predict(array)
    for model, pushed in (
        (Model(x, y), {"x": array}),
        (Model(x, y), [array]),
        (Model(x, y), array.tolist()),
        (Model({"key": x}, y), {"key": array}),
        (Model({"key": x}, y), array),
        (Model([x], y), array),
    ):
        pushed = pushed if not isinstance(pushed, list) or isinstance(pushed[0], np.ndarray) else np.array(pushed)
        close(model.predict(pushed), expected)
        close(model.stream(2).push(pushed), expected)


def test_nested_inputs_and_outputs_keep_their_structure() -> None:
    a, b = Input((None, 3)), Input((None,), dtype="int32")
    y = GRU(2, return_sequences=True)(Add()([a, Embedding(5, 3)(b)]))
    model = Model({"a": [a], "b": b}, {"y": y, "last": [LSTM(2)(y)]})
    pushed = {"a": [data(2, 4, 3)], "b": ids(2, 4)}
    made, whole = model.stream(2).push(pushed), model.predict(pushed)
    close(made["y"], whole["y"])
    close(made["last"][0], whole["last"][0])


def test_one_step_without_its_axis() -> None:
    stream = STREAMS["states"]().stream(2)
    y, h, c = stream.push(data(2, 3))
    assert y.shape == h.shape == c.shape == (2, 4) and stream.steps == 1
    tokens = STREAMS["embedding"]().stream(2)
    assert tokens.push(np.array([1, 2])).shape == (2, 2)
    one = Sequential([Input((None,), dtype="int32"), Embedding(5, 2), LSTM(3, return_sequences=True)]).stream(1)
    assert one.push([3]).shape == (1, 3)


def test_float64() -> None:
    model = Sequential([Input((None, 3)), LSTM(2, dtype="float64", return_sequences=True)])
    x = RNG.normal(size=(1, 5, 3))
    stream = model.stream(1)
    got = np.concatenate([stream.push(x[:, k : k + 1]) for k in range(5)], 1)
    assert got.dtype == np.float64 and all(array.dtype == np.float64 for array in stream.state.values())
    np.testing.assert_allclose(got, model.predict(x), rtol=1e-14)


def test_what_it_says_of_itself() -> None:
    stream = STREAMS["lstm"]().stream(2, "torch")
    stream.push(data(2, 3, 3))
    assert stream.backend == "torch" and plugins.get("torch").name == "torch"
    assert repr(stream) == "<Stream of Sequential 'sequential' on torch: 2 sequences, 3 steps so far>"
