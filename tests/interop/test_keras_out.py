"""What lstmcore writes for Keras: real Keras loads it, has the same bits, and computes the same numbers."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import programs
import pytest

import lstmcore as lc
from lstmcore import losses, metrics, optimizers
from lstmcore.errors import ExportError, SpecError
from lstmcore.interop.layered import layered
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Add,
    BatchNormalization,
    Bidirectional,
    Cell,
    Concatenate,
    Dense,
    Embedding,
    Flatten,
    Input,
    LSTMCell,
    Masking,
    Multiply,
    SimpleRNN,
    StackedRNNCells,
    TimeDistributed,
    Weight,
)
from lstmcore.models import Model, Sequential
from lstmcore.optimizers.schedules import ExponentialDecay

DATA = Path(__file__).parent / "data"
HERE = Path(__file__).parent
LIMIT = 16

needs_keras = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("keras", "tensorflow"))),
    reason="Keras is not installed: pip install 'lstmcore[tensorflow]'",
)


def family() -> Any:
    """`keras_models`, its models made of our layers."""
    fake = SimpleNamespace(layers=lc.layers, Model=Model, Sequential=Sequential)
    spec = importlib.util.spec_from_file_location("keras_models_of_ours", HERE / "keras_models.py")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get("keras")
    sys.modules["keras"] = fake
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["keras"]
        if before is not None:
            sys.modules["keras"] = before
    return module


# Models of what Keras has other words for than we.


def steep() -> Model:
    """The hard_sigmoid of Keras 1 and 2, wherever an activation can be."""
    x = Input((6, 3))
    y = LSTM(4, recurrent_activation="hard_sigmoid_0_2", return_sequences=True)(x)
    y = Bidirectional(GRU(3, recurrent_activation="hard_sigmoid_0_2", return_sequences=True))(y)
    y = RNN(LSTMCell(3, recurrent_activation="hard_sigmoid_0_2"), return_sequences=True)(y)
    return Model(x, Activation("hard_sigmoid_0_2")(TimeDistributed(Dense(2, activation="hard_sigmoid_0_2"))(y)))


def parameters() -> Model:
    """Activations with parameters, which Keras has as layers."""
    x = Input((6, 3))
    y = LSTM(4, activation={"name": "leaky_relu", "negative_slope": 0.3}, return_sequences=True)(x)
    y = Dense(4, activation={"name": "relu", "max_value": 1.5, "negative_slope": 0.1, "threshold": 0.2})(y)
    y = Activation({"name": "softmax", "axis": 1})(y)
    return Model(x, GRU(3, activation={"name": "elu", "alpha": 0.5})(y))


def frozen() -> Sequential:
    """Layers that are not trained, whose weights stand last in a list, on all levels."""
    inner = Sequential([Input((6, 4)), BatchNormalization(), Dense(3)], name="inner", trainable=False)
    both = Sequential([Input((6, 3)), BatchNormalization(trainable=False), LSTM(3, return_sequences=True)], name="both")
    layers = [Input((6, 3)), LSTM(4, return_sequences=True, trainable=False), inner, both, BatchNormalization()]
    return Sequential([*layers, Bidirectional(LSTM(2, name="cell"), name="around"), Dense(2)])


def stacked() -> Model:
    """Cells of one name in a stack; a layer whose name needs care in a file."""
    x = Input((6, 3))
    cells = StackedRNNCells([LSTMCell(3, name="cell"), LSTMCell(2, name="cell")])
    return Model(x, Dense(2, name="out>put.1")(RNN(cells)(x)))


def lifted() -> Model:
    """Layers that were found for a graph."""
    return layered(programs.many())


def beside_states() -> Model:
    """Masks that act beside initial_state, as in Keras 2: one of words, one of numbers, each for two layers."""
    x, z = Input((6,), dtype="int32"), Input((6, 3))
    h = Dense(3)(Flatten()(z))
    e, m = Embedding(9, 4, mask_zero=True)(x), Masking(0.0)(z)
    a = GRU(3, return_sequences=True)(LSTM(4, return_sequences=True)(e), initial_state=h, mask="implied")
    b = SimpleRNN(3, return_sequences=True)(m, initial_state=h, mask="implied")
    c = [GRU(3)(one, initial_state=h, mask="implied") for one in (a, b, e, m)]
    return Model([x, z], Concatenate()(c))


OURS = {made.__name__: made for made in (steep, parameters, frozen, stacked, lifted, beside_states)}
SPECIAL = ("translator", "chain", "stateful", "shared", "nested")
SEEDS = [*OURS, *SPECIAL, *map(str, range(12))]

RULES = {
    "sgd": optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": optimizers.Adam(ExponentialDecay(0.1, 2, 0.5), amsgrad=True, clipnorm=1.0),
    "rmsprop": optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "nadam": optimizers.Nadam(0.01),
    "adadelta": optimizers.Adadelta(1.0, use_ema=True),
    "adamax": optimizers.Adamax(0.01, gradient_accumulation_steps=2),
}
GIVEN: dict[str, dict[str, Any]] = {
    "sgd": {"loss": "mse", "metrics": ["mae", "accuracy"]},
    "adam": {"loss": losses.Huber(0.5), "metrics": [metrics.RootMeanSquaredError()]},
}


def compiled(name: str) -> Sequential:
    model = Sequential([Input((6, 3)), LSTM(4, return_sequences=True), LSTM(3, trainable=False), Dense(2)])
    model.compile(RULES[name], **GIVEN.get(name, {"loss": "mse"}))
    return model


def write(model: Any, base: Path) -> None:
    for form in (".keras", ".h5", ".weights.h5"):
        lc.export_model(model, f"{base}{form}")


@pytest.fixture(scope="module")
def models() -> dict[str, tuple[Any, list[Any]]]:
    """The models by name, and inputs for each."""
    module = family()
    made = {}
    for seed in SEEDS:
        lc.set_random_seed(5)
        rng = np.random.default_rng(int(seed) if seed.isdigit() else len(seed))
        model = {**module.SPECIAL, **OURS}[seed]() if not seed.isdigit() else module.random_model(rng)
        numbers = [rng.normal(0, 0.7, array.shape) for array in model.get_weights()]
        positive = ["variance" in name for name in model.weights]
        model.set_weights([np.abs(a) + 0.5 if wanted else a for a, wanted in zip(numbers, positive, strict=True)])
        made[seed] = (model, module.inputs(model, rng))
    return made


@pytest.fixture(scope="module")
def told(models: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Keras says of them, with the folder under ``""``."""
    folder = tmp_path_factory.mktemp("out")
    for name, (model, inputs) in models.items():
        write(model, folder / name)
        np.savez(folder / f"{name}.npz", **{f"in{k}": array for k, array in enumerate(inputs)})
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(8, 6, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    for name in RULES:
        lc.set_random_seed(3)
        model = compiled(name)
        for _ in range(3):
            model.train_on_batch(x, y)
        with pytest.warns(UserWarning, match=f"trained_{name}.h5 has no place for what its optimizer remembers"):
            write(model, folder / f"trained_{name}")
        logs = model.train_on_batch(x, y, return_dict=True)
        np.savez(folder / f"trained_{name}.npz", x=x, y=y)
        (folder / f"trained_{name}.json").write_text(json.dumps(logs))
        np.savez(folder / f"trained_{name}.ours.npz", *model.get_weights())
    command = [sys.executable, str(HERE / "keras_runs.py"), str(folder), *models, *(f"trained_{r}" for r in RULES)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "tensorflow"})
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "": folder}


def outputs(path: Path, first: str) -> list[Any]:
    with np.load(path) as data:
        return [data[name] for name in sorted(data) if name.startswith(first)]


def error(y: Any, expected: Any) -> float:
    scale = np.finfo(np.float32).eps * max(np.abs(expected).max(), 1e-30)
    return float(np.abs(np.asarray(y, np.float64) - expected).max() / scale)


@needs_keras
@pytest.mark.parametrize("seed", SEEDS)
def test_keras_computes_the_same_from_every_form(seed: str, models: Any, told: Any) -> None:
    model, inputs = models[seed]
    expected = lc.tree.leaves(model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0, backend="numpy"))
    expected = list(expected)
    for form in (".keras", ".h5", ".weights.h5", "live", ".judge"):
        found = outputs(told[""] / f"{seed}{form}.npz", "y")
        assert len(found) == len(expected)
        assert all(error(y, ref) <= LIMIT for y, ref in zip(found, expected, strict=True)), form


@needs_keras
@pytest.mark.parametrize("seed", SEEDS)
def test_keras_has_the_same_bits(seed: str, models: Any, told: Any) -> None:
    wanted = models[seed][0].get_weights()
    for form in (".keras", ".h5", ".weights.h5", "live", ".back"):
        found = outputs(told[""] / f"{seed}{form}.npz", "w")
        assert [array.tobytes() for array in found] == [array.tobytes() for array in wanted], form


def without_what_keras_fills_in(value: Any) -> Any:
    """A name for a cell that has none, the axes of a MultiHeadAttention, masks that are none for a model."""
    if isinstance(value, list):
        return [without_what_keras_fills_in(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    made = {key: without_what_keras_fills_in(entry) for key, entry in value.items()}
    kind = str(value.get("class_name"))
    if set(made.get("kwargs", {}).get("mask") or [0]) == {None}:
        del made["kwargs"]["mask"]
    for key in ("name",) * kind.endswith(("Cell", "Cells")) + ("attention_axes",) * kind.endswith("HeadAttention"):
        made["config"].pop(key)
    return made


@needs_keras
@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed != "frozen"])
def test_a_live_model_comes_back_as_it_was(seed: str, models: Any, told: Any) -> None:
    found, wanted = json.loads(told[seed]["json"]), json.loads(models[seed][0].to_json())
    assert without_what_keras_fills_in(found) == without_what_keras_fills_in(wanted)


@needs_keras
def test_the_judge_tells_what_came_out_of_each_layer(models: Any, told: Any) -> None:
    model, inputs = models["steep"]
    assert set(told["steep"]["layers"]) == set(model.named_layers) - {"input_layer"}
    last = told["steep"]["last"][model.output_names[-1]]
    assert error(last, model.predict(inputs[0], verbose=0)) <= LIMIT


@needs_keras
@pytest.mark.parametrize("name", RULES)
def test_training_goes_on_in_keras(name: str, told: Any) -> None:
    """The next step comes to the same logs and weights; an .h5 takes the rule along, and not what it remembers."""
    found, folder = told[f"trained_{name}"], told[""]
    logs = json.loads((folder / f"trained_{name}.json").read_text())
    assert (found[".keras"]["step"], found[".h5"]["step"]) == (3, 0)
    for form in (".keras", ".h5"):
        assert found[form]["logs"] == pytest.approx(logs, rel=1e-5)
    with np.load(folder / f"trained_{name}.ours.npz") as ours:
        wanted = [ours[key] for key in ours.files]
    for array, expected in zip(outputs(folder / f"trained_{name}.keras.npz", "w"), wanted, strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6)


# Without Keras.


@pytest.mark.parametrize("form", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_written_is_read_back(seed: str, form: str, models: Any, tmp_path: Path) -> None:
    model, _ = models[seed]
    kept = bool(model.states) and form != ".weights.h5"  # by a test before this one
    with pytest.warns(UserWarning, match="no place for the states") if kept else nullcontext():
        lc.export_model(model, tmp_path / f"m{form}")
    if form == ".weights.h5":
        back = lc.import_model(tmp_path / "m.weights.h5", spec=type(model).from_config(model.get_config()))
    else:
        back = lc.import_model(tmp_path / f"m{form}")
    assert seed == "frozen" or json.loads(back.to_json()) == json.loads(model.to_json())
    assert [a.tobytes() for a in back.get_weights()] == [a.tobytes() for a in model.get_weights()]


def test_what_a_model_freezes_stays_frozen(models: Any, tmp_path: Path) -> None:
    model, _ = models["frozen"]
    lc.export_model(model, tmp_path / "m.keras")
    assert lc.import_model(tmp_path / "m.keras").trained_paths() == model.trained_paths()


@pytest.mark.parametrize("form", [".keras", ".h5", ".weights.h5"])
def test_the_same_model_gives_the_same_bytes(form: str, models: Any, tmp_path: Path) -> None:
    for name in "ab":
        lc.export_model(models["translator"][0], tmp_path / f"{name}{form}")
    assert (tmp_path / f"a{form}").read_bytes() == (tmp_path / f"b{form}").read_bytes()


class Leaky(Cell):
    units: int = 3

    @property
    def state_size(self) -> int:
        return self.units

    def declare(self, features: int) -> Any:
        return {"kernel": Weight((features, self.units))}

    def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        h = ops.tanh(inputs @ w["kernel"] + states[0])
        return h, [h]


def implied() -> Model:
    """A model to be used within another, from which its mask comes."""
    x, h = Input((None, 2)), Input((3,))
    return Model([x, h], GRU(3, name="reader")(x, initial_state=h, mask="implied"))


def every() -> Model:
    x, z = Input((None,), dtype="int32"), Input((None,), dtype="int32")
    y = Multiply(name="both")([Embedding(5, 2, mask_zero=True)(x), Embedding(5, 2, mask_zero=True)(z)], mask="every")
    return Model([x, z], GRU(3)(y))


def told_a_mask() -> Model:
    x, mask = Input((6, 3)), Input((6,), dtype="bool")
    return Model([x, mask], Add(name="sum")([x, x], mask=[mask, mask]))


def shared_parts() -> Model:
    x, dense = Input((6, 3)), Dense(3, name="twice")
    return Model(x, Add()([TimeDistributed(dense)(x), TimeDistributed(dense)(x)]))


def with_activation(**activation: Any) -> Sequential:
    return Sequential([Input((6, 3)), LSTM(2), Dense(2, activation=activation)])


REFUSED: dict[str, tuple[Any, str]] = {
    "a cell of one's own": (lambda: Sequential([Input((6, 3)), RNN(Leaky())]), "Leaky is a class of your own"),
    "gelu": (lambda: with_activation(name="gelu", approximate=True), "approximate=True"),
    "celu": (lambda: with_activation(name="celu", alpha=0.5), r"celu\(alpha=0.5\)"),
    "a mask implied from outside": (implied, "'reader'.*implied"),
    "masks joined by and": (every, "'both'.*where all its inputs do"),
    "a mask that Keras does not take": (told_a_mask, "'sum' is called with mask="),
    "a layer in two others": (shared_parts, "'twice' is a part of"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_keras_cannot_say_is_refused_by_name(what: str, tmp_path: Path) -> None:
    make, reason = REFUSED[what]
    path = tmp_path / "m.keras"
    path.write_bytes(b"as it was")
    with pytest.raises(ExportError, match=reason):
        lc.export_model(make(), path)
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_what_does_not_go_along_is_named(tmp_path: Path) -> None:
    model = Sequential([Input(batch_shape=(2, 6, 3)), LSTM(2, stateful=True)])
    for form in (".keras", ".h5"):
        lc.export_model(model, tmp_path / f"m{form}")
    model.predict(np.ones((2, 6, 3)), verbose=0)
    for form in (".keras", ".h5"):
        with pytest.warns(UserWarning, match=f"m{form} has no place for the states"):
            lc.export_model(model, tmp_path / f"m{form}")
    trains = compiled("sgd")
    with pytest.warns(UserWarning, match=r"m.h5 has no place for how it trains"):
        lc.export_model(trains, tmp_path / "m.h5", keras=2)
    lc.export_model(trains, tmp_path / "m.h5", keras=2, compiled=False)


def test_masks_joined_by_and_are_the_rule_of_keras_2(tmp_path: Path) -> None:
    model = every()
    lc.export_model(model, tmp_path / "m.h5", keras=2)
    back = lc.import_model(tmp_path / "m.h5")
    assert [use.arguments.get("mask") for use in back.graph.calls if use.module.name == "both"] == ["every"]
    x, z = np.asarray([[1, 2, 0, 0], [3, 4, 2, 1]]), np.asarray([[1, 0, 2, 0], [1, 2, 3, 4]])
    assert np.array_equal(back.predict([x, z], verbose=0), model.predict([x, z], verbose=0))


def test_a_metric_of_ones_own_is_refused_or_left_out(tmp_path: Path) -> None:
    model = Sequential([Input((6, 3)), LSTM(2)])
    model.compile("adam", "mse", metrics=[lambda y, p: np.abs(y - p)])
    with pytest.raises(ExportError, match="compiled=False"):
        lc.export_model(model, tmp_path / "m.keras")
    lc.export_model(model, tmp_path / "m.keras", compiled=False)
    assert lc.import_model(tmp_path / "m.keras").count_params() == model.count_params()


def test_an_option_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no option 'keras'"):
        lc.export_model(Sequential([Input((6, 3)), LSTM(2)]), tmp_path / "m.keras", keras=2)


# In the words of Keras 2.

RECORDED = ["tf_keras_chain.h5", "tf_keras_translator.h5", "tf_keras_10.h5", "tf_keras_20.h5"]


def described(path: Path) -> Any:
    with h5py.File(path) as file:
        text = file.attrs["model_config"]
    return json.loads(text)


def pairs(ours: Any, theirs: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What we say, beside what tf_keras said there; it says more, such as ``time_major``."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours:
            if key not in ("module", "registered_name", "build_config", "name", "backward_layer", "layer"):
                yield from pairs(ours[key], theirs.get(key, "nothing"), f"{at}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for k, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from pairs(one, other, f"{at}/{k}")
    else:
        yield at, ours, theirs


@pytest.mark.parametrize("name", RECORDED)
def test_the_words_of_keras_2_are_those_of_tf_keras(name: str, tmp_path: Path) -> None:
    """Recorded from tf_keras 2.21, which loads what is written here and computes the same (measured, E = 0)."""
    model = lc.import_model(DATA / name)
    lc.export_model(model, tmp_path / "m.h5", keras=2)
    ours, theirs = described(tmp_path / "m.h5"), described(DATA / name)
    different = [(at, a, b) for at, a, b in pairs(ours["config"], theirs["config"]) if a != b]
    known = ("/trainable", "/build_input_shape", "_initializer", "/zero_output_for_mask", "_shape", "/dtype", "/axis")
    assert [entry for entry in different if not any(key in entry[0] for key in known)] == []
    back = lc.import_model(tmp_path / "m.h5")
    assert json.loads(back.to_json()) == json.loads(model.to_json())
    assert [a.tobytes() for a in back.get_weights()] == [a.tobytes() for a in model.get_weights()]


def beside_a_state() -> Model:
    x, h = Input((None,), dtype="int32"), Input((3,))
    return Model([x, h], GRU(3, name="reader")(Embedding(5, 2, mask_zero=True)(x), initial_state=h))


KERAS_2: dict[str, tuple[Any, str]] = {
    "its hard_sigmoid is another": (lambda: with_activation(name="hard_sigmoid"), "hard_sigmoid is none of Keras 2"),
    "it has no squareplus": (lambda: with_activation(name="squareplus"), "squareplus is none of Keras 2"),
    "masks act beside states": (beside_a_state, "in Keras 2 it would have one"),
    "it keeps no seed of an LSTM": (lambda: Sequential([Input((6, 3)), LSTM(2, seed=3)]), "has a seed"),
}


@pytest.mark.parametrize("what", KERAS_2)
def test_what_keras_2_means_otherwise_is_refused(what: str, tmp_path: Path) -> None:
    make, reason = KERAS_2[what]
    with pytest.raises(ExportError, match=reason):
        lc.export_model(make(), tmp_path / "m.h5", keras=2)
