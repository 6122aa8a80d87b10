"""State_dicts that other people trained."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.interop.pytorch import explain
from lstmcore.layers import LSTM, Conv1D, Dense, Input
from lstmcore.models import Model, Sequential

DATA = Path(__file__).parent / "data"
GAS = DATA / "Predicting_Seattle_Gas_Prices_with_ML__lstm.pt"
SILERO = DATA / "silero-vad__silero_vad_16k.safetensors"
LIMIT = 16


def recorded(path: Path) -> tuple[Any, Any, Any, Any]:
    """What PyTorch computed, batch first: x, y, h of the last layer, c."""
    with np.load(f"{path}__torch.npz") as data:
        found = {name.partition("|")[2]: data[name] for name in data}
    return found["x"].swapaxes(0, 1), found["y"].swapaxes(0, 1), found["hn"], found["cn"]


def close(y: Any, expected: Any) -> bool:
    scale = np.finfo(np.float32).eps * np.abs(expected).max()
    return bool(np.abs(np.asarray(y, np.float64) - expected).max() <= LIMIT * scale)


def test_the_files_are_those_of_the_readme() -> None:
    rows = re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{16}) \|$", (DATA / "README.md").read_text(), re.MULTILINE)
    files = [path for path in DATA.iterdir() if path.suffix in (".pt", ".safetensors")]
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files} == dict(rows)


def test_prices_of_gas() -> None:
    first = LSTM(64, return_sequences=True, return_state=True)
    second = LSTM(64, return_sequences=True, return_state=True)
    x = Input((None, 16))
    y, h0, c0 = first(x)
    y, h1, c1 = second(y)
    model = Model(x, [y, h0, h1, c0, c1, Dense(1)(h1)])
    assert lc.import_model(GAS, spec=model) is model
    given, y, h, c = recorded(GAS)
    found = model.predict(given, verbose=0)
    for ours, expected in zip(found, [y, h[0], h[1], c[0], c[1]], strict=False):
        assert close(ours, expected)
    assert model.count_params() == 4 * 64 * (16 + 64 + 64 + 64 + 2) + 65


def test_the_whole_of_a_voice_detector() -> None:
    """Its modules in any order, each alone of its shape."""
    x, z = Input((1, 576)), Input((129, 4))
    spectrum = Conv1D(258, 256, strides=128, use_bias=False, data_format="channels_first", name="spectrum")(x)
    y = z
    for filters, strides in ((128, 1), (64, 2), (64, 2), (128, 1)):
        y = Conv1D(filters, 3, strides=strides, padding="same", data_format="channels_first", activation="relu")(y)
    y = LSTM(128, return_sequences=True)(lc.layers.Permute((2, 1))(y))
    y = Conv1D(1, 1, activation="sigmoid")(y)
    model = Model([x, z], [spectrum, y])
    lc.import_model(SILERO, spec=model)
    shown = str(explain(SILERO, model))
    assert re.search(r"^lstm +<- lstm_cell  \(it alone fits\)$", shown, re.MULTILINE)
    cell = Sequential([Input((None, 128)), LSTM(128, return_sequences=True, return_state=True)])
    cell.set_weights(model.get_layer("lstm").get_weights())
    given, y, h, c = recorded(SILERO)
    for ours, expected in zip(cell.predict(given, verbose=0), [y, h[0], c[0]], strict=True):
        assert close(ours, expected)


def test_a_part_of_a_file_alone() -> None:
    model = Sequential([Input((None, 128)), LSTM(128, return_sequences=True)])
    lc.import_model(SILERO, spec=model, map={"lstm": "lstm_cell"})
    given, y, _, _ = recorded(SILERO)
    assert close(model.predict(given, verbose=0), y)
    assert "left in the file: stft_conv, conv1, conv2" in str(explain(SILERO, model, map={"lstm": "lstm_cell"}))
