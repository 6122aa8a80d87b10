"""`import_model` and `export_model`: the row of a file, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import FileError, ForeignFileError, SpecError, UnsupportedFileError
from lstmcore.interop import formats
from lstmcore.layers import LSTM, Dense, Input
from lstmcore.models import Sequential

X = np.random.default_rng(4).normal(size=(3, 5, 2)).astype("float32")


def model() -> Sequential:
    return Sequential([Input((None, 2)), LSTM(4), Dense(2)])


def test_a_model_goes_out_and_comes_back(tmp_path: Path) -> None:
    made = model()
    lc.export_model(made, tmp_path / "m.onnx")
    lc.export_model(made, tmp_path / "m.bin", format="onnx")
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "m.bin").read_bytes()
    again = lc.import_model(tmp_path / "m.onnx")
    for name, array in made.weights.items():
        assert array.tobytes() == again.weights[name].tobytes()
    np.testing.assert_array_equal(made.predict(X), again.predict(X))


def test_what_is_not_written_or_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFileError, match=r"suffix is written; expected one of \.safetensors, \.keras"):
        lc.export_model(model(), tmp_path / "m.xls")
    with pytest.raises(UnsupportedFileError, match="'onx'"):
        lc.export_model(model(), tmp_path / "m.onnx", format="onx")
    lc.export_model(model(), tmp_path / "m.onnx")
    with pytest.raises(SpecError, match="onnx files have no option 'streming'"):
        lc.export_model(model(), tmp_path / "m.onnx", streming=True)
    with pytest.raises(SpecError, match="onnx files have no option 'streaming'"):
        lc.import_model(tmp_path / "m.onnx", streaming=True)
    with pytest.raises(UnsupportedFileError, match="spec= is given"):
        lc.import_model(tmp_path / "m.onnx", spec=model())
    (tmp_path / "m.xyz").write_bytes(b"\x00\x01\x02\x03" * 9)
    with pytest.raises(FileError, match="of no format that is read here"):
        lc.import_model(tmp_path / "m.xyz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.xyz"]


def test_a_folder_given_as_a_path_is_told_of(tmp_path: Path) -> None:
    """`pathlib` drops the slash that says that it is one."""
    with pytest.raises(UnsupportedFileError, match="For a folder, say which format: format='saved_model'"):
        lc.export_model(model(), tmp_path / "folder/")


def test_a_text_is_told_by_its_suffix_unless_it_is_json(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import lstmcore as lc\n")
    with pytest.raises(ForeignFileError, match="it looks like a text file"):
        formats.row_of(tmp_path / "m.py")
    model = Sequential([Input((None, 2)), LSTM(3)])
    (tmp_path / "m.txt").write_text(f"\n {model.to_json()}")
    assert formats.row_of(tmp_path / "m.txt").name == "json"
    (tmp_path / "m.json").write_text("[1, 2]")
    assert formats.row_of(tmp_path / "m.json").name == "json"
