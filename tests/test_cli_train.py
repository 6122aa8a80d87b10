"""``lstmcore train``: a described model and arrays in, a trained one out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import lstmcore as lc
from lstmcore.cli import cli
from lstmcore.layers import LSTM, Concatenate, Dense, Embedding, Input
from lstmcore.models import Model, Sequential

DRAW = np.random.default_rng(3)
X = DRAW.normal(size=(48, 6, 3)).astype("float32")
Y = (X[:, :, 0].sum(1) > 0).astype(int)


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["train", *arguments], catch_exceptions=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and its data, to be in."""
    monkeypatch.chdir(tmp_path)
    Path("m.json").write_text(Sequential([Input((6, 3)), LSTM(4), Dense(2, "softmax")]).to_json())
    np.savez("d.npz", x_train=X, y_train=Y, x_test=X[:16], y_test=Y[:16])
    return tmp_path


def test_it_trains_what_fit_trains(place: Path) -> None:
    done = run(place, "m.json", "--data", "d.npz", "--epochs", "2", "--seed", "5", "--metric", "accuracy",
               "--output", "t.safetensors", "--log", "l.csv", "--plot", "p.png", "--backend", "numpy")  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    assert "138 weights, 48 samples" in done.stdout and done.stdout.count("\nEpoch ") == 2
    lc.set_random_seed(5)
    model: Any = lc.models.model_from_json(Path("m.json").read_text())
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, Y, epochs=2, validation_data=(X[:16], Y[:16]), verbose=0, backend="numpy")
    for name, array in lc.load_model("t.safetensors").weights.items():
        assert array.tobytes() == model.weights[name].tobytes(), name
    rows = list(csv.DictReader(Path("l.csv").read_text().splitlines()))
    assert [float(row["val_loss"]) for row in rows] == pytest.approx(history.history["val_loss"])
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_it_goes_on_from_weights_and_from_checkpoints_on_another_engine(place: Path) -> None:
    common = ("m.json", "--data", "d.npz", "--seed", "5", "--batch-size", "16", "--json")
    whole = json.loads(run(place, *common, "--epochs", "3", "--backend", "numpy").stdout)
    for epochs, engine in (("1", "numpy"), ("2", "torch"), ("3", "numpy")):
        parts = json.loads(
            run(place, *common, "--epochs", epochs, "--checkpoint", "run", "--save-every", "2", "--backend", engine,
                "--output", "t.safetensors").stdout
        )  # fmt: skip
        assert (parts["backend"], parts["output"]) == (engine, "t.safetensors")
    assert parts["epochs"] == [0, 1, 2]
    assert parts["history"]["val_loss"] == pytest.approx(whole["history"]["val_loss"], rel=1e-5)
    further = json.loads(run(place, "t.safetensors", "--data", "d.npz", "--json").stdout)
    assert further["history"]["loss"][0] < whole["history"]["loss"][0]


@pytest.mark.parametrize(
    ("activation", "units", "y", "loss"),
    [
        ("softmax", 2, Y, "sparse_categorical_crossentropy"),
        ("softmax", 2, np.eye(2)[Y], "categorical_crossentropy"),
        ("sigmoid", 1, Y[:, None], "binary_crossentropy"),
        (None, 1, X[:, :1, 0], "mse"),
    ],
)
def test_the_loss_goes_with_the_last_activation(place: Path, activation: Any, units: int, y: Any, loss: str) -> None:
    Path("n.json").write_text(Sequential([Input((6, 3)), LSTM(4), Dense(units, activation)]).to_json())
    np.savez("e.npz", x=X, y=y)
    assert json.loads(run(place, "n.json", "--data", "e.npz", "--json").stdout)["loss"] == loss


def test_several_inputs_are_found_by_name(place: Path) -> None:
    ids, x = Input((4,), dtype="int32", name="ids"), Input((6, 3), name="series")
    y = Dense(1, "sigmoid")(Concatenate()([LSTM(3)(Embedding(7, 2)(ids)), LSTM(3)(x)]))
    Path("two.json").write_text(Model([ids, x], y).to_json())
    np.savez("two.npz", ids=DRAW.integers(7, size=(48, 4)), series=X, y=Y[:, None])
    done = run(place, "two.json", "--data", "two.npz", "--validation-split", "0.25", "--patience", "1", "--json")
    assert set(json.loads(done.stdout)["history"]) == {"loss", "val_loss"}


def test_bytes_are_divided_only_if_it_is_said(place: Path) -> None:
    np.savez("b.npz", x=(X * 20 + 128).clip(0, 255).astype("uint8"), y=Y)
    refused = run(place, "m.json", "--data", "b.npz")
    assert refused.exit_code == 2 and "--divide 255" in refused.stderr
    assert run(place, "m.json", "--data", "b.npz", "--divide", "255").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("m.json", "--data", "none.npz"), 2, "none.npz"),
        (("m.json", "--data", "m.json"), 1, "not a .npz file"),
        (("m.json", "--data", "odd.npz"), 1, "expected x_train and y_train, or x and y"),
        (("m.json", "--data", "d.npz", "--output", "m.txt"), 2, ".safetensors"),
        (("m.json", "--data", "d.npz", "--optimizer", "adamm"), 1, "adamm"),
        (("m.json", "--data", "d.npz", "--loss", "msee"), 1, "msee"),
        (("m.json", "--data", "d.npz", "--metric", "acuracy"), 1, "acuracy"),
        (("m.json", "--data", "d.npz", "--backend", "trch"), 2, "trch"),
        (("m.json", "--data", "d.npz", "--divide", "0"), 2, "--divide 0"),
        (("odd.npz", "--data", "d.npz"), 1, "odd.npz"),
    ],
)
def test_what_does_not_fit_is_said(place: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    np.savez("odd.npz", a=X)
    done = run(place, *arguments)
    assert done.exit_code == code and words in done.stderr
    assert "Traceback" not in done.stderr
