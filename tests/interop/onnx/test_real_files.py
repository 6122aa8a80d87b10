"""Files that others trained and wrote: read, and run to the numbers that ONNX Runtime has for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ort
import pytest

import lstmcore as lc
from lstmcore.interop.onnx import read, verify, write

DATA = Path(__file__).parents[1] / "data"
FILES = sorted(DATA.glob("*.onnx"))


def test_they_are_there() -> None:
    assert len(FILES) == 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_computes_what_it_does_elsewhere(path: Path, tmp_path: Path) -> None:
    arrays = np.load(f"{path}__ort.npz")
    inputs = {name[3:]: arrays[name] for name in arrays if name.startswith("in|")}
    model = read(path)
    found = dict(zip(model.output_names, model.predict(inputs), strict=True))
    expected = {name[4:]: arrays[name] for name in arrays if name.startswith("out|")}
    assert set(found) == set(expected)
    for name, y in expected.items():
        ort.agree(found[name], y)
    model.save(tmp_path / "m.safetensors")
    again = lc.load_model(tmp_path / "m.safetensors").predict(inputs)
    for a, b in zip(again, found.values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_that_was_read_is_written_again(tmp_path: Path) -> None:
    """Its data keep their shapes, without a batch."""
    model = read(DATA / "onnx2tf__LSTM_1layer_fixed.onnx")
    write(model, tmp_path / "m.onnx")
    assert verify(tmp_path / "m.onnx").ok
    again = read(tmp_path / "m.onnx")
    assert all(again.weights[name].tobytes() == array.tobytes() for name, array in model.weights.items())
    arrays = np.load(DATA / "onnx2tf__LSTM_1layer_fixed.onnx__ort.npz")
    inputs = {name[3:]: arrays[name] for name in arrays if name.startswith("in|")}
    for a, b in zip(again.predict(inputs), model.predict(inputs), strict=True):
        np.testing.assert_array_equal(a, b)
