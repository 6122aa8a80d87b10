"""SavedModel folders and TFLite files, told from their headers, as TensorFlow itself sees them; without TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import lstmcore as lc
from lstmcore.errors import DamagedFileError, FileError, ForeignFileError, UnsafeFileError
from lstmcore.interop.proof import prove
from lstmcore.layers import GRU, LSTM, Dense, Input
from lstmcore.models import Sequential

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
import tensorflow as tf
from lstmcore_tensorflow.files.graphs import parsed
from lstmcore_tensorflow.listing import saved_model, tflite
from lstmcore_tensorflow.listing.schema import DTYPES, OPS
from tensorflow.lite.python import schema_py_generated as schema


def small() -> Sequential:
    layers = [Input((None, 3), name="x"), LSTM(4, return_sequences=True), GRU(3), Dense(2, name="out")]
    return Sequential(layers, name="small")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    lc.export_model(small(), folder / "m.tflite", streaming=True)
    lc.export_model(small(), folder / "m", format="saved_model")
    return folder


def test_the_numbers_of_the_schema_have_their_names() -> None:
    ops = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    dtypes = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
    assert [ops[code] for code in range(len(OPS))] == list(OPS)
    assert [dtypes[code] for code in range(len(DTYPES))] == list(DTYPES)


def test_a_tflite_file_as_tensorflow_reads_it(written: Path) -> None:
    found = tflite.lists(written / "m.tflite")
    data = (written / "m.tflite").read_bytes()
    truth = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    held = [
        (tensor.name.decode(), tuple(tensor.shape) if tensor.shape is not None else (), DTYPES[tensor.type])
        for graph in truth.subgraphs
        for tensor in graph.tensors
        if truth.buffers[tensor.buffer].data is not None and len(truth.buffers[tensor.buffer].data)
    ]
    assert [(a.name, a.shape, a.dtype) for a in found.arrays] == held
    codes = [OPS[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in truth.operatorCodes]
    ops = Counter(codes[op.opcodeIndex] for graph in truth.subgraphs for op in graph.operators)
    assert found.about["ops"] == dict(sorted(ops.items())) and ops["WHILE"] == 2
    assert found.about["written by"] == f"lstmcore {lc.__version__}" and found.about["model"] == "small"
    assert found.about["streaming"] is True
    ends = {end["name"]: (end["dtype"], end["shape"]) for end in found.about["inputs"]}
    assert ends["x"] == ("float32", [1, None, 3]) and set(ends) == {"x", "lstm_h", "lstm_c", "gru_h"}
    assert {end["name"] for end in found.about["outputs"]} == {"out", "lstm_h_next", "lstm_c_next", "gru_h_next"}
    json.dumps(found.about)


def test_a_folder_as_tensorflow_reads_it(written: Path) -> None:
    found = saved_model.lists(written / "m")
    truth = {
        name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").replace(".S", "/"): tuple(shape)
        for name, shape in tf.train.list_variables(str(written / "m" / "variables" / "variables"))
    }
    del truth["_CHECKPOINTABLE_OBJECT_GRAPH"]
    assert {a.name: a.shape for a in found.arrays} == truth
    ours = {f"weights/{name}" for name in small().weights}
    assert {a.name for a in found.arrays if a.dtype == "float32"} == ours
    graph = parsed(str(written / "m" / "saved_model.pb"), "m").meta_graphs[0].graph_def
    ops = Counter([n.op for n in graph.node] + [n.op for f in graph.library.function for n in f.node_def])
    assert found.about["ops"] == dict(sorted(ops.items()))
    assert found.about["inputs"] == [{"name": "x", "dtype": "float32", "shape": [None, None, 3]}]
    assert found.about["outputs"] == [{"name": "out", "dtype": "float32", "shape": [None, 2]}]
    assert found.about["model"] == "small" and found.about["streaming"] is False
    assert found.about["TensorFlow"] == tf.__version__
    json.dumps(found.about)


def test_files_of_others(tmp_path: Path) -> None:
    class Sum(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]], name="w")
            self.steps = tf.Variable(3, dtype=tf.int64)

        @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="given")])  # type: ignore[misc]
        def serve(self, given: Any) -> dict[str, Any]:
            return {"made": given @ self.w}

    module = Sum()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": module.serve})
    found = saved_model.lists(tmp_path / "m")
    assert [(a.name, a.shape, a.dtype) for a in found.arrays] == [("steps", (), "int64"), ("w", (3, 2), "float32")]
    assert found.about["inputs"] == [{"name": "given", "dtype": "float32", "shape": [None, 3]}]
    assert "streaming" not in found.about and found.about["ops"]["MatMul"] == 1
    (tmp_path / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m")).convert())
    found = tflite.lists(tmp_path / "m.tflite")
    assert "streaming" not in found.about and [a.shape for a in found.arrays] == [(2, 3)]
    assert found.about["outputs"] == [{"name": "made", "dtype": "float32", "shape": [None, 2]}]


def test_no_tensorflow_is_loaded(written: Path) -> None:
    script = (
        "import sys; from lstmcore.interop import formats\n"
        "sys.modules['tensorflow'] = None\n"
        "for path in sys.argv[1:]:\n"
        "    row = formats.row_of(path); print(row.name, len(formats.function(row.lists)(path).arrays))"
    )
    paths = [str(written / "m"), str(written / "m.tflite")]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    folder, file = done.stdout.split("\n")[:2]
    assert folder.startswith("saved_model ") and file.startswith("tflite ")


@pytest.mark.parametrize("inner", ["m.tflite", "m/saved_model.pb", "m/variables/variables.index"])
@pytest.mark.parametrize("damage", ["bits", "cut"])
def test_a_damaged_one_is_one_error(written: Path, tmp_path: Path, inner: str, damage: str) -> None:
    shutil.copytree(written, tmp_path / "c")
    data, target = (written / inner).read_bytes(), tmp_path / "c" / inner
    lists, path = (tflite.lists, target) if inner == "m.tflite" else (saved_model.lists, tmp_path / "c" / "m")
    draws = random.Random(7)
    refused = 0
    for k in range(60):
        bad = bytearray(data)
        if damage == "bits":
            for _ in range(20):
                bad[draws.randrange(len(bad))] ^= 1 << draws.randrange(8)
        else:
            del bad[len(bad) * k // 60 :]
        target.write_bytes(bad)
        with contextlib.suppress(FileError):
            lists(path)
            continue
        refused += 1
    assert refused > (30 if damage == "cut" and inner != "m.tflite" else 0)


def flat(tables: int, letters: int) -> bytes:
    """A file whose op codes are one table many times over, with a name of so many letters."""
    model_fields, code_fields = struct.pack("<4H", 8, 12, 4, 8), struct.pack("<4H", 8, 8, 0, 4)
    root = 8 + len(model_fields) + len(code_fields)
    start = root + 16
    code = start + 4 * tables
    body = struct.pack("<I", root) + b"TFL3" + model_fields + code_fields
    body += struct.pack("<iIII", root - 8, 3, 4, tables)  # version 3; the list begins behind this field
    body += b"".join(struct.pack("<I", code - start - 4 * k) for k in range(tables))
    return body + struct.pack("<iII", code - 16, 4, letters) + b"a" * letters


def test_a_small_file_that_says_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(flat(3, 5))
    with pytest.raises(DamagedFileError, match="no graph"):
        tflite.lists(path)
    path.write_bytes(flat(1 << 19, 5))
    with pytest.raises(UnsafeFileError, match="entries"):
        tflite.lists(path)
    path.write_bytes(flat(5000, 60_000))
    monkeypatch.setattr(tflite, "_CUSTOM", 0)  # whose names are texts; these codes are 0
    with pytest.raises(UnsafeFileError, match="60000 bytes"):
        tflite.lists(path)


def test_links_and_what_is_none_of_them(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "m", tmp_path / "m")
    os.symlink("/etc/passwd", tmp_path / "m" / "assets.extra" / "link")
    with pytest.raises(UnsafeFileError, match="link"):
        saved_model.lists(tmp_path / "m")
    for data in (b"", b"\0\0\0\0TFL3", b"\xff" * 64, b"\0" * 64):
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(FileError):
            tflite.lists(tmp_path / "f")
    with pytest.raises(ForeignFileError):
        saved_model.lists(tmp_path / "f")
    os.unlink(tmp_path / "m" / "assets.extra" / "link")
    os.unlink(tmp_path / "m" / "saved_model.pb")
    with pytest.raises(DamagedFileError, match=r"saved_model\.pb"):
        saved_model.lists(tmp_path / "m")


@pytest.mark.parametrize("name", ["s/", "s.tflite"])
def test_what_is_streamed_is_proved_by_tensorflow(name: str, tmp_path: Path) -> None:
    """Its states go in and come out in the order of their names, which is another than that of the layers."""
    model = small()
    lc.export_model(model, f"{tmp_path}/{name}", streaming=True)
    proof = prove(model, tmp_path / name.rstrip("/"), streaming=True)
    (engine,) = (row for row in proof.rows if row.engine != "lstmcore")
    assert proof.ok and proof.proved and engine.ok and engine.error is not None
