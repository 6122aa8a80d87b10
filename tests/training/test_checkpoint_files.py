"""Checkpoints that do not belong to the training, or are damaged, are refused with the reason; nothing is loaded."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lstmcore.callbacks import CSVLogger, EarlyStopping, LambdaCallback, ModelCheckpoint, ReduceLROnPlateau
from lstmcore.errors import DamagedFileError, FileError, ForeignFileError, InputError, WeightsMismatchError
from lstmcore.layers import GRU, LSTM, Dense, Input
from lstmcore.models import Sequential
from lstmcore.optimizers import SGD, Adam
from lstmcore.optimizers.schedules import ExponentialDecay
from lstmcore.runtime.checkpoint import NAME
from lstmcore.weights import WeightFile, write

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 4, 3))
Y = RNG.random((12, 1))
F = {"dtype": "float64"}


def built(*layers: Any, **compiled: Any) -> Sequential:
    layers = layers or (GRU(2, stateful=True, **F), Dense(1, "sigmoid", **F))
    model = Sequential([Input(batch_shape=(3, 4, 3)), *layers])
    given = {"optimizer": Adam(0.01), "loss": "mse", "metrics": ["mae", "AUC"], **compiled}
    model.compile(**given)
    return model


def callbacks(folder: Path) -> list[Any]:
    return [
        EarlyStopping("loss", patience=9, restore_best_weights=True),
        ReduceLROnPlateau("loss"),
        CSVLogger(folder / "log.csv"),
        ModelCheckpoint(folder / "best.safetensors", save_best_only=True, monitor="loss"),
    ]


def fit(model: Sequential, folder: Path, x: Any = X, y: Any = Y, **more: Any) -> None:
    given = {"epochs": 2, "verbose": 0, "callbacks": callbacks(folder), "checkpoint": folder, "save_every": 1, **more}
    model.fit(x, y, **given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the checkpoint of a run that was interrupted after its sixth step, the second of epoch 2."""
    folder = tmp_path / "run"
    folder.mkdir()
    model = built()

    def stop(batch: int, logs: Any = None) -> None:
        if model._compiled().step == 7:
            raise KeyboardInterrupt

    own = [*callbacks(folder), LambdaCallback(on_train_batch_end=stop)]
    with pytest.raises(KeyboardInterrupt):
        fit(model, folder, callbacks=own)
    return folder


def kept(model: Sequential) -> Any:
    training = model._compiled()
    slots = {path: {slot: a.tobytes() for slot, a in own.items()} for path, own in training.slots.items()}
    weights = {name: array.tobytes() for name, array in model.weights.items()}
    states = {name: array.tobytes() for name, array in model.states.items()}
    rate = training.optimizer.learning_rate
    return weights, slots, states, training.step, training.stopping, training.stream, rate


def refused(folder: Path, error: type[FileError], told: str, model: Sequential | None = None, **more: Any) -> None:
    """It raises, and leaves a model that has trained before, and the callbacks, as they are."""
    model = built() if model is None else model
    given = {"x": X, "y": Y, "callbacks": callbacks(folder), **more}
    if model.dtype == "float64" and len(model.output_names) == 1:
        model.train_on_batch(X[:3], Y[:3])
    before = kept(model)
    own = given["callbacks"]
    states = [copy.deepcopy(vars(one)) for one in own]
    with pytest.raises(error, match=told):
        fit(model, folder, **given)
    assert kept(model) == before
    for one, state in zip(own, states, strict=True):
        assert {k: v for k, v in vars(one).items() if k in state and k not in ("params", "model")} == {
            k: v for k, v in state.items() if k not in ("params", "model")
        }


def test_the_checkpoint_itself_is_good(folder: Path) -> None:
    fit(built(), folder)


OTHERS: dict[str, tuple[Callable[[], Sequential], dict[str, Any], str]] = {
    "units": (lambda: built(GRU(4, stateful=True, **F), Dense(1, "sigmoid", **F)), {}, r"units: 2 in .*, 4 now"),
    "layer": (lambda: built(LSTM(2, stateful=True, **F), Dense(1, "sigmoid", **F)), {}, "'?GRU.*'?LSTM"),
    "one more": (lambda: built(GRU(2, stateful=True, **F), Dense(2, **F), Dense(1, **F)), {}, "layers: a list of 3"),
    "activation": (lambda: built(GRU(2, stateful=True, **F), Dense(1, "tanh", **F)), {}, '"sigmoid" .* "tanh" now'),
    "dtype": (lambda: built(GRU(2, stateful=True), Dense(1, "sigmoid")), {}, "float64.*float32"),
    "trainable": (
        lambda: built(GRU(2, stateful=True, trainable=False, **F), Dense(1, "sigmoid", **F)),
        {},
        "trainable: true in the checkpoint, false now",
    ),
    "rate": (lambda: built(optimizer=Adam(0.02)), {}, "learning_rate: 0.01 in the checkpoint, 0.02 now"),
    "schedule": (lambda: built(optimizer=Adam(ExponentialDecay(0.1, 5, 0.5))), {"callbacks": []}, "learning_rate"),
    "function": (lambda: built(optimizer=Adam(lambda step: 0.1)), {"callbacks": []}, "the function .*lambda"),
    "clip": (lambda: built(optimizer=Adam(0.01, clipnorm=1.0)), {}, "clipnorm: null in the checkpoint, 1.0 now"),
    "optimizer": (lambda: built(optimizer=SGD(0.01)), {}, '"Adam" in the checkpoint, "SGD" now'),
    "loss": (lambda: built(loss="mae"), {}, "losses.*mean_squared_error.*mean_absolute_error"),
    "loss weight": (lambda: built(loss_weights=[2.0]), {}, r"loss_weights\[0\]: 1.0 in the checkpoint, 2.0 now"),
    "metrics": (lambda: built(metrics=["mae"]), {}, r"metrics\[0\]: a list of 2 in the checkpoint, a list of 1 now"),
    "metric": (lambda: built(metrics=["mae", "mse"]), {}, r'metrics\[0\]\[1\]: "AUC" in the checkpoint, "mse" now'),
    "data": (built, {"x": X[:9], "y": Y[:9]}, "fit.samples: 12 in the checkpoint, 9 now"),
    "order": (built, {"shuffle": False}, "fit.shuffle: true in the checkpoint, false now"),
    "steps": (built, {"steps_per_epoch": 3}, "fit.steps_per_epoch: null in the checkpoint, 3 now"),
    "split": (built, {"validation_split": 0.25}, "fit.samples: 12 in the checkpoint, 9 now"),
    "batches": (built, {"x": iter([(X[:3], Y[:3])]), "y": None}, "fit.samples: 12 in the checkpoint, null now"),
}


@pytest.mark.parametrize(("make", "more", "told"), OTHERS.values(), ids=OTHERS)
def test_another_training(folder: Path, make: Callable[[], Sequential], more: Any, told: str) -> None:
    refused(folder, WeightsMismatchError, f"(?s)is of another training:.*{told}", make(), **more)


def test_another_batch_size_and_number_of_batches(tmp_path: Path) -> None:
    class Loader:
        def __init__(self, count: int) -> None:
            self.count = count

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, k: int) -> Any:
            return X[k : k + 3], Y[k : k + 3]

    def model() -> Sequential:
        model = Sequential([Input((4, 3)), GRU(2, **F), Dense(1, **F)])
        model.compile("sgd", "mse")
        return model

    model().fit(X, Y, 4, 1, 0, checkpoint=tmp_path / "arrays")
    with pytest.raises(WeightsMismatchError, match=r"fit\.batch_size: 4 in the checkpoint, 6 now"):
        model().fit(X, Y, 6, 1, 0, checkpoint=tmp_path / "arrays")
    model().fit(Loader(3), verbose=0, checkpoint=tmp_path / "loader")
    with pytest.raises(WeightsMismatchError, match=r"fit\.batches: 3 in the checkpoint, 4 now"):
        model().fit(Loader(4), verbose=0, checkpoint=tmp_path / "loader")


def changed(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any], model: str | None = None) -> None:
    """Writes the checkpoint anew, with good digests, after ``change(told, tensors)``."""
    with WeightFile.open(folder / NAME) as file:
        tensors, metadata, described = file.read(), file.header.metadata, file.model
    told = json.loads(metadata["training"])
    other = change(told, tensors)
    text = json.dumps(told) if other is None else other
    write(folder / NAME, tensors, described if model is None else model, {"holds": "training", "training": text})


def setting(path: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(told: dict[str, Any], tensors: Any) -> None:
        *outer, last = path.split(".")
        for key in outer:
            told = told[key]
        told[last] = value

    return change


def dropping(part: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(told: Any, tensors: dict[str, Any]) -> None:
        gone = [name for name in tensors if name.startswith(part)]
        assert gone
        del tensors[gone[0]]

    return change


def reshaping(part: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(told: Any, tensors: dict[str, Any]) -> None:
        name = next(name for name in tensors if name.startswith(part))
        tensors[name] = np.zeros((2, 7))

    return change


def adding(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda told, tensors: tensors.update({name: np.zeros(3)})


def deep(told: dict[str, Any], tensors: Any) -> str:
    return json.dumps({**told, "callbacks": 0})[:-2] + '{"dict":' * 60_000 + "{}" + "}" * 60_001


HOSTILE: dict[str, tuple[Callable[..., Any], str]] = {
    **{
        f"{path} {value!r:.12}": (setting(path, value), path.rpartition(".")[2])
        for path, values in {
            "step": (-1, 1.0, "1", None, True, 10**400),
            "epoch": (-1, [], 0.5),
            "done": (None, "x", -3),
            "position": ({}, [], 3, {"passes": 0, "offset": 0, "consumed": 0, "validated": 0, "more": 0}),
            "position.offset": (-1, "0", True),
            "stopped": (1, None),
            "learning_rate": ("x", True, -0.1, float("nan"), float("inf"), [0.1]),
        }.items()
        for value in values
    },
    **{
        f"stream {value!r:.12}": (setting("stream", value), NAME)
        for value in ([], "abc", 3, None, [-1], [0, 1.5], [2**64])
    },
    **{f"{name} {value!r}": (setting(name, value), name) for name in ("compiled", "data") for value in (None, [])},
    "no JSON": (lambda told, tensors: "{", "damaged"),
    "a list": (lambda told, tensors: "[]", "damaged"),
    "too deep": (deep, "damaged"),
    **{
        f"callbacks {value!r:.60}": (setting("callbacks", value), NAME)
        for value in (
            None,
            [],
            {"History": 3},
            {"History": {"dict": 3}},
            {"History": {"value": {"epoch": 3}}},
            {"History": {"other": 3}},
            {"History": {}},
            {"History": {"dict": {"epoch": {"array": "nothing", "dtype": "int64"}}}},
            {"History": {"dict": {"epoch": {"array": ["x"], "dtype": "int64"}}}},
            {"CSVLogger": {"dict": {"start": {"value": "0"}}}},
            {"CSVLogger": {"dict": {"start": {"value": -1}, "more": {"value": 0}}}},
        )
    },
    **{
        f"{name} {key} {value!r}": (setting(f"callbacks.{name}.dict.{key}", {"value": value}), NAME)
        for name, key, value in (
            ("EarlyStopping", "wait", "x"),
            ("EarlyStopping", "best", "x"),
            ("EarlyStopping", "best_weights", 3),
            ("EarlyStopping", "stopped_epoch", -1),
            ("ReduceLROnPlateau", "cooldown_counter", 0.5),
            ("ModelCheckpoint", "best", []),
            ("History", "epoch", [0]),
            ("History", "history", {"loss": [0.5]}),
        )
    },
    **{
        f"dtype {dtype!r}": (setting("callbacks.History.dict.epoch.dtype", dtype), NAME)
        for dtype in ("object", "S99999999", "V8", "complex128", "nonsense", 3, {"names": ["a"], "formats": ["f8"]})
    },
    **{
        f"without {part}": (dropping(part), NAME) for part in ("gru/", "optimizer/", "states/", "scores/", "callbacks/")
    },
    **{f"without {part}": (dropping(part), NAME) for part in ("scores/losses", "scores/mae", "scores/AUC")},
    **{
        f"shape of {part}": (reshaping(part), NAME)
        for part in ("gru/", "optimizer/", "states/", "scores/AUC", "scores/l")
    },
    "shape of the best weights": (reshaping("callbacks/EarlyStopping"), "weights of another model"),
    **{
        f"one more, {name}": (adding(name), NAME)
        for name in ("x", "optimizer/x/m", "states/x", "scores/x", "scores/x/y")
    },
    "scores of no batch": (setting("done", 0), "has not begun"),
}


@pytest.mark.parametrize(("change", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_checkpoint_made_on_purpose(folder: Path, change: Callable[..., Any], told: str) -> None:
    changed(folder, change)
    refused(folder, FileError, told)


@pytest.mark.parametrize("model", ["", "{", "null", '{"a": ' * 5000])
def test_a_checkpoint_whose_model_is_none(folder: Path, model: str) -> None:
    changed(folder, lambda told, tensors: None, model)
    refused(folder, FileError, "damaged|another training")


def test_foreign_files(folder: Path) -> None:
    built().save(folder / NAME)
    refused(folder, ForeignFileError, "holds no training, but the weights of a model")
    save_file({"x": np.ones(3)}, folder / NAME)
    refused(folder, ForeignFileError, "not a weight file of lstmcore")
    (folder / NAME).write_bytes(b"PK\3\4" + b"\0" * 40)
    refused(folder, ForeignFileError, "looks like")
    (folder / NAME).unlink()
    (folder / NAME).mkdir()
    refused(folder, FileError, "not a file but a directory")


def test_cut_short_and_altered(folder: Path) -> None:
    content, chance = (folder / NAME).read_bytes(), random.Random(3)
    for length in (0, 7, 100, *chance.sample(range(len(content)), 12), len(content) - 1):
        (folder / NAME).write_bytes(content[:length])
        refused(folder, DamagedFileError, NAME)
    for _ in range(25):
        altered = bytearray(content)
        altered[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (folder / NAME).write_bytes(altered)
        refused(folder, FileError, NAME)


def test_where_no_checkpoint_can_be(tmp_path: Path) -> None:
    built().save(tmp_path / "m.safetensors")
    for given in (tmp_path / "m.safetensors", 5, True):
        with pytest.raises(InputError, match="expected a directory"):
            built().fit(X, Y, verbose=0, checkpoint=given)
    for given in (0, "step", True, 1.5):
        with pytest.raises(InputError, match="save_every"):
            built().fit(X, Y, verbose=0, checkpoint=tmp_path / "run", save_every=given)


def test_other_callbacks_are_told_of(folder: Path) -> None:
    with pytest.warns(UserWarning, match="holds the state of a callback EarlyStopping"):
        fit(built(), folder, callbacks=callbacks(folder)[1:])
