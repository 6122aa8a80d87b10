"""Dropout within recurrent layers and cells: one mask for each sequence, where and as often as Keras 3.15 draws one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import contract, ops, plugins
from lstmcore.errors import SpecError
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Add,
    Bidirectional,
    Cell,
    Dense,
    Embedding,
    GRUCell,
    Input,
    LSTMCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
    TimeDistributed,
    Weight,
    cells,
    scanning,
)
from lstmcore.models import Model, Sequential
from lstmcore.program import Builder, Node, Program, Value, from_json, interpret
from lstmcore.random import Stream
from lstmcore.runtime import noise

BACKENDS = ("numpy", "torch", "tensorflow")
STEPS = 5
Keras = tuple[Path, dict[str, list[float]]]
F = {"dtype": "float64"}
DROP = {"dropout": 0.3, "recurrent_dropout": 0.4, **F}

# Real Keras is given our masks: each time that it draws one, it takes the next of ours for that cell. Each draw must
# find one of its shape, and none may be left, so the places where masks are drawn, and how often, agree too.
READER = """
import json, sys
import numpy as np
import keras
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

folder = sys.argv[1]
keras.config.set_floatx("float64")
drawn = DropoutRNNCell._create_dropout_mask

def given(cell, like, rate):
    if rate == 1 or not hasattr(like, "numpy"):
        return drawn(cell, like, rate)
    kind = "dropout" if rate == cell.dropout else "recurrent_dropout"
    masks = [queues[cell.place + "/" + kind].pop(0) for _ in range(getattr(cell, "dropout_mask_count", None) or 1)]
    assert all(mask.shape == like.shape for mask in masks), (cell.place, kind, masks[0].shape, like.shape)
    masks = [keras.ops.convert_to_tensor(mask) for mask in masks]
    return masks if hasattr(cell, "dropout_mask_count") else masks[0]

def place(layer, where):
    if isinstance(layer, keras.layers.Bidirectional):
        place(layer.forward_layer, where + "/forward")
        place(layer.backward_layer, where + "/backward")
    elif isinstance(layer, keras.layers.TimeDistributed):
        place(layer.layer, where)
    elif isinstance(layer, keras.layers.RNN):
        place(layer.cell, where)
    elif isinstance(layer, keras.layers.StackedRNNCells):
        for k, cell in enumerate(layer.cells):
            place(cell, where + f"/cell_{k}")
    elif isinstance(layer, DropoutRNNCell):
        layer.place = where

DropoutRNNCell._create_dropout_mask = given
losses = {}
for name, case in json.load(open(folder + "/cases.json")).items():
    queues = {}
    model = keras.models.model_from_json(case["model"])
    for layer in model.layers:
        place(layer, layer.name)
    data = np.load(folder + f"/{name}.npz")
    model.set_weights([data[f"w{k}"] for k in range(case["weights"])])
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    losses[name] = []
    for step in range(case["steps"]):
        queues = {place: list(data[f"{step}:{place}"]) for place in case["places"]}
        losses[name].append(float(model.train_on_batch(data["x"], data["y"])))
        assert not any(queues.values()), (name, {place: len(queue) for place, queue in queues.items()})
    np.savez(folder + f"/{name}.after.npz", *model.get_weights())
json.dump(losses, open(folder + "/losses.json", "w"))
"""


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape)


def ragged() -> np.ndarray:
    ids = np.random.default_rng(3).integers(1, 7, size=(6, 5))
    ids[1, 3:] = ids[2, 1:] = ids[3, :2] = ids[4, 2] = 0
    return ids


def chain(*layers: Any, shape: tuple[int, ...] = (5, 3)) -> Sequential:
    return Sequential([Input(shape), *layers, Dense(2, **F)])


def masked(*layers: Any) -> Sequential:
    return chain(Embedding(7, 4, mask_zero=True, **F), *layers, shape=(5,))


def translated() -> Model:
    """The states of one layer are the first of another, which runs backwards over a mask given by hand."""
    x = Input((5,), name="x")
    e = Embedding(7, 4, mask_zero=True, name="e", **F)(x)
    states = LSTM(3, return_sequences=True, return_state=True, name="first", **DROP)(e)
    mask = Masking(name="mask", **F)(states[0])
    y = LSTM(3, go_backwards=True, name="second", **DROP)(mask, initial_state=states[1:])
    return Model(x, Dense(2, name="out", **F)(y))


def shared() -> Model:
    x = Input((5, 3), name="x")
    layer, turned = GRU(3, name="shared", **DROP), GRU(3, go_backwards=True, name="turned", **F)
    y = Add(name="add", **F)([layer(x), layer(Dense(3, name="d", **F)(x)), turned(x)])
    return Model(x, Dense(2, name="out", **F)(y))


@dataclass(frozen=True)
class Case:
    """A model, its input, and what of it no config holds."""

    model: Callable[[], Any]
    x: np.ndarray
    hidden: Mapping[str, Any] | None = None
    outer: int = 0  # steps around the layer's own


X, IDS = numbers(6, 5, 3), ragged()
FIRST = {"implementation": 1}
CASES: dict[str, Case] = {
    "LSTM": Case(lambda: chain(LSTM(3, **DROP)), X),
    "LSTM, h alone": Case(lambda: chain(LSTM(3, recurrent_dropout=0.4, **F)), X),
    "LSTM, x alone": Case(lambda: masked(LSTM(3, dropout=0.4, **F)), IDS),
    "LSTM, x by gate": Case(
        lambda: chain(LSTM(3, dropout=0.4, **FIRST, **F)), X, {"LSTM": {**FIRST, "use_cudnn": False}}
    ),
    "LSTM, masked": Case(lambda: masked(LSTM(3, **DROP)), IDS),
    "LSTM, all steps, masked": Case(
        lambda: masked(LSTM(3, return_sequences=True, zero_output_for_mask=True, **DROP), GRU(3, **F)),
        IDS,
        {"LSTM": {"zero_output_for_mask": True}},
    ),
    "LSTM, unrolled": Case(lambda: chain(LSTM(3, unroll=True, use_bias=False, **DROP)), X),
    "LSTM, stateful": Case(
        lambda: Sequential([Input(batch_shape=(6, 5, 3)), LSTM(3, stateful=True, **DROP), Dense(2, **F)]), X
    ),
    "LSTM, rate 1": Case(lambda: chain(LSTM(3, dropout=0.3, recurrent_dropout=1, **F)), X),
    "LSTM, rate 1 of x": Case(lambda: chain(LSTM(3, dropout=1, **F)), X),
    "GRU": Case(lambda: chain(GRU(3, **DROP)), X),
    "GRU, masked": Case(lambda: masked(GRU(3, go_backwards=True, **DROP)), IDS),
    "GRU, x by gate": Case(
        lambda: chain(GRU(3, dropout=0.4, reset_after=False, **FIRST, **F)),
        X,
        {"GRU": {**FIRST, "use_cudnn": False}},
    ),
    "GRU, reset before": Case(lambda: chain(GRU(3, reset_after=False, **DROP)), X),
    "GRU, reset before, masked": Case(lambda: masked(GRU(3, reset_after=False, use_bias=False, **DROP)), IDS),
    "SimpleRNN": Case(lambda: chain(SimpleRNN(3, **DROP)), X),
    "SimpleRNN, masked": Case(lambda: masked(SimpleRNN(3, recurrent_dropout=0.4, **F)), IDS),
    "SimpleRNN, rate 1": Case(lambda: chain(SimpleRNN(3, dropout=0.3, recurrent_dropout=1, **F)), X),
    "cell": Case(lambda: masked(RNN(LSTMCell(3, dropout=0.4, **F), **F)), IDS),
    "cell, x by gate": Case(lambda: chain(RNN(GRUCell(3, dropout=0.4, **FIRST, **F), **F)), X, {"GRUCell": FIRST}),
    "cells": Case(
        lambda: chain(RNN([LSTMCell(3, **DROP), GRUCell(4, dropout=0.2, **F), SimpleRNNCell(2, **DROP)], **F)), X
    ),
    "cells, masked": Case(lambda: masked(RNN([GRUCell(4, **DROP), LSTMCell(3, **DROP)], **F)), IDS),
    "both directions": Case(lambda: masked(Bidirectional(LSTM(3, **DROP), **F)), IDS),
    "both directions, all steps": Case(
        lambda: chain(Bidirectional(RNN(GRUCell(3, **DROP), return_sequences=True, **F), **F), GRU(2, **F)), X
    ),
    "steps apart": Case(
        lambda: chain(TimeDistributed(LSTM(3, **DROP), **F), SimpleRNN(3, **F), shape=(2, 5, 3)),
        numbers(6, 2, 5, 3),
        outer=2,
    ),
    "initial states": Case(translated, IDS),
    "called twice": Case(shared, X),
}


def made(case: Case) -> Any:
    lc.set_random_seed(1997)
    model = case.model()
    model.set_weights([w + 0.1 * numbers(*w.shape) for w in model.get_weights()])
    model.compile(lc.optimizers.SGD(0.1), "mse")
    return model


@contextmanager
def listening() -> Iterator[list[dict[str, np.ndarray]]]:
    """The noise of each training step, as it is drawn."""
    draw, heard = noise.draw, []

    def listen(*args: Any) -> dict[str, np.ndarray]:
        heard.append(draw(*args))
        return heard[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "draw", listen)
        yield heard


def trained(name: str, backend: str) -> tuple[Any, list[float], list[dict[str, np.ndarray]]]:
    """The model after its steps, the losses, and the noise of each step."""
    case = CASES[name]
    model = made(case)
    with listening() as heard:
        losses = [model.train_on_batch(case.x, numbers(6, 2), backend=backend) for _ in range(STEPS)]
    return model, losses, heard


def queues(step: Mapping[str, np.ndarray], outer: int) -> dict[str, np.ndarray]:
    """The masks of each place in the order in which Keras draws them: (masks, batch, units)."""
    found: dict[str, list[np.ndarray]] = {}
    for name, array in step.items():
        if not array.any():  # a rate of 1, which Keras is left to draw
            continue
        place = name.removesuffix("_1")
        array = array[:, None] if array.ndim == 2 else array
        parts = [array[k::outer] for k in range(outer)] if outer else [array]
        found.setdefault(place, []).extend(part[:, k] for part in parts for k in range(part.shape[1]))
    return {place: np.array(masks) for place, masks in found.items()}


def hidden(data: Any, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds options that no config holds to the layers of these classes."""
    entries = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    if isinstance(data, dict) and data.get("class_name") in options:
        data["config"] |= options[data["class_name"]]
    for entry in entries:
        hidden(entry, options)


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Keras:
    """What Keras makes of all cases under our masks: a folder with the weights after, and the losses."""
    folder = tmp_path_factory.mktemp("keras")
    described = {}
    for name, case in CASES.items():
        model = made(case)
        data = json.loads(model.to_json())
        hidden(data, case.hidden or {})
        steps = [queues(step, case.outer) for step in trained(name, "numpy")[2]]
        arrays = {f"w{k}": w for k, w in enumerate(model.get_weights())} | {"x": case.x, "y": numbers(6, 2)}
        arrays |= {f"{k}:{place}": masks for k, step in enumerate(steps) for place, masks in step.items()}
        np.savez(folder / f"{name}.npz", **arrays)
        described[name] = {
            "model": json.dumps(data),
            "weights": len(model.get_weights()),
            "places": list(steps[0]),
            "steps": STEPS,
        }
    (folder / "cases.json").write_text(json.dumps(described), "utf-8")
    environment = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", READER, str(folder)], check=True, env={**os.environ, **environment})
    return folder, json.loads((folder / "losses.json").read_text("utf-8"))


def difference(name: str, backend: str, keras: Keras) -> tuple[float, float]:
    """How far losses (relatively) and weights (of the largest) are from Keras'."""
    folder, losses = keras
    model, own, _ = trained(name, backend)
    with np.load(folder / f"{name}.after.npz") as after:
        expected = [after[key] for key in after.files]
    scale = max(np.abs(w).max() for w in expected)
    worst = max(np.abs(a - b).max() for a, b in zip(model.get_weights(), expected, strict=True))
    return float(np.abs(np.divide(own, losses[name]) - 1).max()), float(worst / scale)


# The cases that differ in what an engine is given to do.
EVERYWHERE = ("LSTM", "LSTM, masked", "GRU, masked", "GRU, reset before, masked", "SimpleRNN, masked", "cells, masked",
              "both directions", "steps apart", "called twice")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in CASES for backend in BACKENDS if backend == "numpy" or name in EVERYWHERE],
)
def test_five_steps_are_those_of_keras_under_the_same_masks(name: str, backend: str, keras: Keras) -> None:
    assert backend in {info.name for info in plugins.backends() if info.status == "available"}
    of_losses, of_weights = difference(name, backend, keras)
    assert of_losses <= 2e-6  # Keras averages losses in float32
    assert of_weights <= 1e-7


# Planted faults: what the comparison must not take.


def masks_by(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[pytest.MonkeyPatch], None]:
    """Every mask within a cell is another."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        draw = noise.draw
        patch.setattr(noise, "draw", lambda *args: {name: change(array) for name, array in draw(*args).items()})

    return plant


def drawn_again(patch: pytest.MonkeyPatch) -> None:
    """The mask of the next step is that of this one turned, so every step has another."""
    body = scanning._body

    def turning(*args: Any) -> tuple[Program, Any]:
        program, drawn = body(*args)
        name = program.outputs[-1]
        turned = replace(program.values[name], name="turned")
        node = Node("turn", ops.Reverse(), (name,), ("turned",))
        values = {**program.values, "turned": turned}
        outputs = (*program.outputs[:-1], "turned")
        return replace(program, nodes=(*program.nodes, node), values=values, outputs=outputs), drawn

    patch.setattr(scanning, "_body", turning)


def on_all_of_h(patch: pytest.MonkeyPatch) -> None:
    """h itself is dropped, and not only the h that the gates take."""

    def step(self: Any, ops: Any, inputs: Any, states: list[Any], w: Any) -> Any:
        return right(self, ops, inputs, [ops.dropout(states[0], 0.4, name="recurrent_dropout")], w)

    right = cells.GRUCell.step
    patch.setattr(cells.GRUCell, "step", step)


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "one mask for all gates": masks_by(lambda m: np.broadcast_to(m[:, :1], m.shape).copy()),
    "gates in another order": masks_by(lambda m: m[:, ::-1].copy()),
    "one mask for all samples": masks_by(lambda m: np.broadcast_to(m[:1], m.shape).copy()),
    "what is kept is not scaled": masks_by(np.sign),
    "drawn again at each step": drawn_again,
    "h itself dropped": on_all_of_h,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault: str, keras: Keras, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[fault](monkeypatch)
    of_losses, of_weights = difference("GRU, masked", "numpy", keras)
    assert of_losses > 1e-3
    assert of_weights > 1e-3


# What is drawn.


def noises(model: Any, steps: int = 1, backend: str = "numpy") -> list[dict[str, np.ndarray]]:
    lc.set_random_seed(11)
    model.compile("sgd", "mse")
    x = numbers(8, *(n or 5 for n in model.input_shape[1:]))
    with listening() as heard:
        for _ in range(steps):
            model.train_on_batch(x, numbers(8, 2), backend=backend)
    return heard


def test_masks_are_the_same_on_every_engine() -> None:
    seen = [noises(chain(Bidirectional(LSTM(3, **DROP), **F)), 2, backend) for backend in BACKENDS]
    for heard in seen[1:]:
        for one, other in zip(seen[0], heard, strict=True):
            assert list(one) == list(other) != []
            assert all(np.array_equal(one[name], other[name]) for name in one)


def test_gates_samples_directions_calls_and_batches_draw_masks_of_their_own() -> None:
    x = Input((5, 3))
    layer, both = LSTM(9, name="one", **DROP), Bidirectional(GRU(9, name="inner", **DROP), name="both", **F)
    y = Add(**F)([layer(x), layer(Dense(3, **F)(x)), Dense(9, **F)(both(x))])
    first, second = noises(Model(x, Dense(2, **F)(y)), steps=2)
    assert {name: array.shape for name, array in first.items()} == {
        "one/dropout": (8, 4, 3),
        "one/recurrent_dropout": (8, 4, 9),
        "one/dropout_1": (8, 4, 3),
        "one/recurrent_dropout_1": (8, 4, 9),
        "both/forward/dropout": (8, 3, 3),
        "both/forward/recurrent_dropout": (8, 3, 9),
        "both/backward/dropout": (8, 3, 3),
        "both/backward/recurrent_dropout": (8, 3, 9),
    }
    whole = [np.ravel(step[name]) for step in (first, second) for name in step]
    gates = [np.ravel(array[:, k]) for array in first.values() for k in range(array.shape[1])]
    samples = [np.ravel(array[k]) for name, array in first.items() if "recurrent" in name for k in range(8)]
    for masks in (whole, gates, samples):
        assert len({mask.tobytes() for mask in masks}) == len(masks)


def test_a_share_is_dropped_and_the_rest_scaled() -> None:
    lc.set_random_seed(11)
    model = chain(LSTM(50, dropout=0.3, recurrent_dropout=0.4, **F))
    model.compile("sgd", "mse")
    with listening() as heard:
        model.train_on_batch(numbers(400, 5, 3), numbers(400, 2))
    for name, rate in (("lstm/dropout", 0.3), ("lstm/recurrent_dropout", 0.4)):
        mask = heard[0][name]
        assert set(np.unique(mask)) == {0, 1 / (1 - rate)}
        deviation = np.sqrt(rate / (1 - rate) / mask[:, 0].size)
        assert np.abs(mask.mean(axis=(0, 2)) - 1).max() < 4 * deviation  # of each gate


def test_input_dropout_alone_keeps_the_fused_op() -> None:
    assert kinds(chain(LSTM(3, dropout=0.3))) == {"Lstm"}
    assert kinds(chain(GRU(3, dropout=0.3))) == {"Gru"}
    assert kinds(chain(LSTM(3, recurrent_dropout=0.3))) == {"Scan"}
    assert kinds(chain(LSTM(3, dropout=0.3, recurrent_dropout=0.3)), training=False) == {"Lstm"}


def lowered(model: Any, training: bool = True, shape: Any = None) -> tuple[Builder, list[Value]]:
    build = Builder()
    build.training = training
    outputs, _ = model.lower_into(build, [shape or model.program.values[name].shape for name in model.program.inputs])
    return build, list(outputs)


def kinds(model: Any, training: bool = True) -> set[str]:
    build, _ = lowered(model, training)
    return {type(node.op).__name__ for node in build.nodes} & {"Lstm", "Gru", "SimpleRnn", "Scan"}


def test_outside_training_nothing_is_dropped() -> None:
    layers = [
        lambda **o: LSTM(4, return_sequences=True, **o),
        lambda **o: GRU(4, return_sequences=True, **o),
        lambda **o: RNN([LSTMCell(3, **o), SimpleRNNCell(2, **o)], return_sequences=True, **F),
    ]
    for layer in layers:
        one, other = (Sequential([Input((None, 3)), layer(**options)]) for options in (DROP, F))
        other.set_weights([w + 0.1 * numbers(*w.shape) for w in other.get_weights()])
        one.set_weights(other.get_weights())
        assert "act in training only" in str(one.explain()) or "acts in training only" in str(one.explain())
        for model in (one, other):
            model.compile("sgd", "mse")
        np.testing.assert_array_equal(one.predict(X), other.predict(X))
        assert one.evaluate(X, one.predict(X) + 1, verbose=0) == pytest.approx(1)
        streams = [model.stream(batch_size=6) for model in (one, other)]
        np.testing.assert_array_equal(*(np.concatenate([s.push(X[:, :2]), s.push(X[:, 2:])], 1) for s in streams))


def test_a_program_that_draws_goes_through_json() -> None:
    build, (y,) = lowered(chain(RNN([LSTMCell(3, **DROP), GRUCell(2, **DROP)], **F)))
    program = build.finish([y.name])
    again = from_json(program.to_json())
    assert again == program
    assert "noise   rnn/cell_0/dropout: float[?, 4, 3], dropout 0.3" in str(again)
    told = program.to_json().replace(f'"like": "{program.noise[0].like}"', '"like": "nothing"')
    with pytest.raises(SpecError, match="like 'nothing', which no node makes"):
        from_json(told)


# Gradients.

GRADIENTS = {
    "LSTM": lambda: LSTM(3, **DROP),
    "GRU": lambda: GRU(3, **DROP),
    "GRU, reset before": lambda: GRU(3, reset_after=False, return_sequences=True, **DROP),
    "SimpleRNN": lambda: SimpleRNN(3, go_backwards=True, **DROP),
    "cells": lambda: RNN([GRUCell(3, **DROP), LSTMCell(2, **DROP)], zero_output_for_mask=True, **F),
    "both directions": lambda: Bidirectional(LSTM(2, **DROP), **F),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_under_fixed_masks_are_central_differences(name: str) -> None:
    lc.set_random_seed(11)
    model = Sequential([Input((5, 3)), Masking(**F), GRADIENTS[name]()])
    x = numbers(4, 5, 3)
    x[1, 3:] = x[2, :2] = 0
    build, (y,) = lowered(model)
    axes = "btu"[: len(y.shape)]
    (loss,) = build.op(ops.Einsum(f"{axes},{axes}->"), y, y)
    program = build.finish([loss.name])
    weights = {path: numbers(*shape) for path, shape in program.weights.items()}
    values = {
        program.inputs[0]: x,
        **noise.draw(program, noise.shapes(program, {program.inputs[0]: x.shape}), Stream(5), "float64"),
    }
    values |= {c.before: np.zeros((4, *program.values[c.before].shape[1:])) for c in program.carries}
    assert program.noise
    backend = plugins.get("numpy")
    run = backend.differentiate(program, contract.choose(backend, program, "float64", True), loss.name, weights)
    _, _, found = run(weights, values)
    scale = max(np.abs(gradient).max() for gradient in found.values())
    rng = np.random.default_rng(1)
    for path, weight in weights.items():
        for _ in range(4):
            at = tuple(rng.integers(n) for n in weight.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = weight.copy()
                moved[at] += step
                ends.append(float(run({**weights, path: moved}, values)[0][loss.name]))
            assert found[path][at] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7 * scale), path


# Cells of one's own.


class Dropping(Cell):
    """Gives what it drops from ones, and sums what it drops from x."""

    rate: float = 0.4

    @property
    def state_size(self) -> int:
        return 3

    @property
    def output_size(self) -> int:
        return 9

    def declare(self, features: int) -> dict[str, Weight]:
        return {"scale": Weight((features,), "ones")}

    def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        (total,) = states
        twice = ops.dropout(ops.ones_like(inputs), self.rate, copies=2)
        total = total + ops.dropout(inputs * w["scale"], self.rate, name="summed")
        return ops.concatenate([total, ops.reshape(twice, (6,))]), [total]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cell_of_ones_own_drops_the_same_at_all_steps(backend: str) -> None:
    lc.set_random_seed(11)
    model = Sequential([Input((5, 3)), RNN(Dropping(**F), return_sequences=True, **F)])
    build, (y,) = lowered(model)
    program = build.finish([y.name])
    x = program.inputs[0]
    drawn = noise.draw(program, noise.shapes(program, {x: X.shape}), Stream(5), "float64")
    assert {name: array.shape for name, array in drawn.items()} == {"rnn/dropout": (6, 2, 3), "rnn/summed": (6, 3)}
    engine = plugins.get(backend)
    runs = [choice.run for choice in contract.choose(engine, program, "float64", True)]
    values = {x: X, **drawn, **{c.before: np.zeros((6, 3)) for c in program.carries}}
    put = {name: engine.tensor(array) for name, array in values.items()}
    outputs, _ = interpret(program, runs, {"rnn/scale": engine.tensor(np.ones(3))}, put)
    found = engine.numpy(outputs[y.name])
    ones = drawn["rnn/dropout"].reshape(6, 1, 6)
    np.testing.assert_array_equal(found[..., 3:], np.broadcast_to(ones, (6, 5, 6)))
    np.testing.assert_allclose(found[..., :3], (X * drawn["rnn/summed"][:, None]).cumsum(1), atol=1e-14)
    still = model.predict(X, backend=backend)
    np.testing.assert_allclose(still[..., 3:], 1)
    np.testing.assert_allclose(still[..., :3], X.cumsum(1), atol=1e-14)
    assert "rnn: dropout acts in training only" in str(model.explain(backend))


def test_a_cell_of_ones_own_trains_alike_on_every_engine() -> None:
    losses = []
    for backend in BACKENDS:
        model = chain(RNN(Dropping(**F), **F))
        losses.append([])
        lc.set_random_seed(4)
        model.set_weights([numbers(*w.shape) for w in model.get_weights()])
        model.compile("sgd", "mse")
        for count in (6, 6, 4):
            losses[-1].append(model.train_on_batch(X[:count], numbers(6, 2)[:count], backend=backend))
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-12)


def test_a_cell_by_itself_draws_too() -> None:
    x, h, c = Input((3,)), Input((4,)), Input((4,))
    y, _ = LSTMCell(4, name="cell", **DROP)(x, [h, c])
    model = Model([x, h, c], Dense(2, **F)(y))
    model.compile("sgd", "mse")
    with listening() as heard:
        model.train_on_batch([numbers(6, 3), numbers(6, 4), numbers(6, 4)], numbers(6, 2))
    assert {name: array.shape for name, array in heard[0].items()} == {
        "cell/dropout": (6, 4, 3),
        "cell/recurrent_dropout": (6, 4, 4),
    }


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (lambda ops, x, w: ops.dropout(x, 1.5), "rate is 1.5; expected a number from 0 to 1"),
        (lambda ops, x, w: ops.dropout(x, True), "rate is True"),
        (lambda ops, x, w: ops.dropout(x, None), "rate is None"),
        (lambda ops, x, w: ops.dropout(x, 0.5, copies=0), "copies is 0; expected None or a positive integer"),
        (lambda ops, x, w: ops.dropout(w["w"], 0.5), "takes numbers of each sample"),
        (lambda ops, x, w: ops.dropout(ops.less(x, 0), 0.5), "takes numbers of each sample"),
        (lambda ops, x, w: ops.dropout(2.0, 0.5), "takes values of the step"),
        (lambda ops, x, w: ops.dropout(x, 0.5, name="a b/"), "name is 'a b/'"),
        (lambda ops, x, w: ops.reshape(x, (2, 2)), "do not fill"),
        (lambda ops, x, w: ops.reshape(x, (-1, -1)), r"shape is \(-1, -1\)"),
    ],
)
def test_wrong_arguments_are_said(step: Any, told: str) -> None:
    def say(self: Any, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        return step(ops, inputs, w), states

    members = {"state_size": 3, "declare": lambda self, features: {"w": Weight((features, 3))}, "step": say}
    with pytest.raises(SpecError, match=told):
        Sequential([Input((5, 3)), RNN(type("Wrong", (Cell,), members)())])


def test_what_has_no_effect_is_noted() -> None:
    build, _ = lowered(chain(LSTM(3, name="a", dropout=1.0), shape=(5, 3)))
    assert any("rate of 1 drops nothing" in note for note in build.notes)
    build, _ = lowered(chain(LSTM(3, name="a", dropout=0.5, implementation=1)))
    assert any("implementation=1 draws a dropout mask for each gate" in note for note in build.notes)
    build, _ = lowered(chain(Bidirectional(RNN(LSTMCell(3, dropout=0.5, implementation=1)))))
    assert {value.shape for name, value in build.values.items() if name.endswith("/dropout")} == {(None, 4, 3)}
