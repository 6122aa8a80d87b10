"""docs/demos/time-major.md: arrays with time first, as in tf.keras."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pages

import lstmcore as lc
from lstmcore.layers import LSTM, Dense, Input
from lstmcore.models import Sequential

FILE = pages.DOCS / "demos" / "files" / "time_major.h5"
X = np.random.default_rng(2).normal(size=(9, 4, 3)).astype("float32")  # (time, batch, features)


def test_it_is_the_model_with_two_axes_changed() -> None:
    model = lc.import_model(FILE)
    plain = Sequential([Input((None, 3)), LSTM(8, return_sequences=True, name="lstm_1"), Dense(1, name="dense_1")])
    plain.set_weights(model.get_weights())
    expected = plain.predict(X.swapaxes(0, 1)).swapaxes(0, 1)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert np.abs(plain.predict(X) - model.predict(X)).max() > 0.1  # time taken for the batch


def test_false_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(FILE.read_bytes())
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["time_major"] = False
        file.attrs["model_config"] = json.dumps(config).encode()
    y = lc.import_model(path).predict(X.swapaxes(0, 1))
    np.testing.assert_array_equal(y.swapaxes(0, 1), lc.import_model(FILE).predict(X))


def test_it_goes_on_with_its_axes(tmp_path: Path) -> None:
    model = lc.import_model(FILE)
    lc.export_model(model, tmp_path / "m.onnx")
    assert np.abs(lc.import_model(tmp_path / "m.onnx").predict(X) - model.predict(X)).max() < 1e-6
