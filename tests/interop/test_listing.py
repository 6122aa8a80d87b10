"""What is in a file, from its headers: the numbers are not read, and nothing is believed that is not there."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import lstmcore as lc
from lstmcore.errors import FileError
from lstmcore.interop import formats
from lstmcore.interop.keras.listing import list_archive, list_hdf5, list_json
from lstmcore.interop.listing import Listing
from lstmcore.interop.onnx.listing import list_onnx
from lstmcore.layers import LSTM, Dense, Input
from lstmcore.models import Sequential


def listed(path: Path) -> Listing:
    row = formats.row_of(path)
    assert row.lists is not None
    found: Listing = formats.function(row.lists)(path)
    return found


@pytest.fixture
def written(tmp_path: Path) -> Path:
    model = Sequential([Input((None, 3), name="x"), LSTM(4, name="it"), Dense(2, name="out")], name="small")
    lc.export_model(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_an_onnx_file_as_onnx_itself_reads_it(written: Path) -> None:
    found, truth = listed(written), onnx.load(written)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in truth.graph.initializer}
    assert {a.name: (a.shape, a.dtype) for a in found.arrays} == {n: (a.shape, a.dtype.name) for n, a in arrays.items()}
    about = found.about
    assert about["producer"] == "lstmcore" and about["opset"] == {"ai.onnx": 17} and about["streaming"] is False
    assert about["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", "x_time", 3]}]
    assert about["outputs"] == [{"name": "out", "dtype": "float32", "shape": ["batch", 2]}]
    assert about["ops"]["LSTM"] == 1 and sum(about["ops"].values()) == len(truth.graph.node)
    json.dumps(about)


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def test_dims_in_one_piece_and_arrays_of_every_kind(tmp_path: Path) -> None:
    """A writer may pack the lengths of an array, or not; numbers may be raw bytes, or fields."""
    packed = field(1, bytes([2, 0x80 | 1, 1])) + b"\x10\x01" + field(8, b"packed")  # 2 and 129
    one_by_one = onnx.TensorProto(name="plain", data_type=1, dims=[2, 3], raw_data=bytes(24)).SerializeToString()
    fields = helper.make_tensor("fields", onnx.TensorProto.INT64, [9], list(range(9))).SerializeToString()
    graph = b"".join(field(5, tensor) for tensor in (packed, one_by_one, fields))
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08" + field(7, graph))
    assert [(a.name, a.shape, a.dtype) for a in listed(tmp_path / "m.onnx").arrays] == [
        ("packed", (2, 129), "float32"),
        ("plain", (2, 3), "float32"),
        ("fields", (9,), "int64"),
    ]


@pytest.mark.parametrize("damage", ["bits", "cut"])
def test_a_damaged_onnx_file_is_one_error(written: Path, damage: str) -> None:
    data = written.read_bytes()
    draws = random.Random(4)
    for k in range(300):
        bad = bytearray(data)
        if damage == "bits":
            for _ in range(3):
                bad[draws.randrange(len(bad))] ^= 1 << draws.randrange(8)
        else:
            del bad[len(bad) * k // 300 :]
        written.write_bytes(bad)
        with contextlib.suppress(FileError):
            list_onnx(written)


def keras_file(path: Path, **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for key, value in attributes.items():
            file.attrs[key] = value
        file.create_dataset("model_weights/it/kernel:0", data=np.zeros((3, 16), np.float32))
        file.create_dataset("model_weights/it/steps:0", data=np.zeros(2, np.int64))
    return path


CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "outer",
        "layers": [
            {"class_name": "Bidirectional", "config": {"name": "both", "layer": {"class_name": "LSTM", "config": {}}}},
            {
                "class_name": "Sequential",
                "config": {"name": "inner", "layers": [{"class_name": "Dense", "config": {"name": "d"}}]},
            },
        ],
    },
}


def test_a_keras_h5(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.h5", keras_version="2.3.1", backend="theano", model_config=json.dumps(CONFIG))
    found = listed(path)
    assert [(a.name, a.shape, a.dtype) for a in found.arrays] == [
        ("model_weights/it/kernel:0", (3, 16), "float32"),
        ("model_weights/it/steps:0", (2,), "int64"),
    ]
    assert found.about == {
        "container": "HDF5",
        "generation": "Keras 2",
        "keras_version": "2.3.1",
        "backend": "theano",
        "model": "outer",
        "layers": [
            {"name": "both", "class": "Bidirectional(LSTM)"},
            {"name": "inner", "class": "Sequential"},
            {"name": "inner/d", "class": "Dense"},
        ],
    }
    assert listed(keras_file(tmp_path / "w.h5")).about == {"container": "HDF5", "holds": "weights alone"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_keras_archive(tmp_path: Path, method: int) -> None:
    weights = keras_file(tmp_path / "w.h5").read_bytes()
    with zipfile.ZipFile(tmp_path / "m.keras", "w", method) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.4.1"}')
        archive.writestr("config.json", json.dumps(CONFIG))
        archive.writestr("model.weights.h5", weights)
    found = listed(tmp_path / "m.keras")
    assert found.about["generation"] == "Keras 3" and len(found.about["layers"]) == 3
    assert [a.name for a in found.arrays] == ["model_weights/it/kernel:0", "model_weights/it/steps:0"]


def test_a_description_alone(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({**CONFIG, "keras_version": "1.2.2"}))
    found = listed(tmp_path / "m.json")
    assert not found.arrays and found.about["generation"] == "Keras 1" and found.about["model"] == "outer"


@pytest.mark.parametrize("text", ["[1, 2]", '{"config": 3}', '{"config": null}', "{", '"x"', "[" * 3000])
def test_a_description_of_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(FileError):
        list_json(tmp_path / "m.json")
    with pytest.raises(FileError):
        list_hdf5(keras_file(tmp_path / "m.h5", model_config=text))


@pytest.mark.parametrize("lists", [list_hdf5, list_archive, list_onnx, list_json])
def test_what_is_no_such_file_is_refused(tmp_path: Path, lists: Any) -> None:
    for data in (b"", b"\0" * 100, b"PK\x05\x06" + bytes(18), b"\x89HDF\r\n\x1a\n", os.urandom(4096)):
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(FileError):
            lists(tmp_path / "f")


SPARSE = 1 << 30


def sparse_onnx(path: Path) -> None:
    """A file of 1 GB, of which the disk holds a few bytes: a graph with one large initializer."""

    def field(number: int, length: int) -> bytes:
        return varint(number << 3 | 2) + varint(length)

    def varint(value: int) -> bytes:
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes([*out, value])

    head = onnx.TensorProto(name="large", data_type=1, dims=[SPARSE // 4]).SerializeToString()
    tensor = head + field(9, SPARSE)
    end = helper.make_tensor_value_info("y", 1, [1]).SerializeToString()
    inner = field(5, len(tensor) + SPARSE) + tensor
    graph = inner, field(12, len(end)) + end
    start = b"\x08\x08" + field(7, len(graph[0]) + SPARSE + len(graph[1])) + graph[0]
    with path.open("wb") as file:
        file.write(start)
        file.seek(len(start) + SPARSE)
        file.write(graph[1])


def sparse_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(CONFIG)
        file.create_dataset("model_weights/it/kernel:0", (SPARSE // 4,), np.float32, fillvalue=None)[-1:] = 1


@pytest.mark.parametrize(("make", "name"), [(sparse_onnx, "m.onnx"), (sparse_h5, "m.h5")])
def test_a_file_of_1_gb_takes_no_memory(tmp_path: Path, make: Any, name: str) -> None:
    make(tmp_path / name)
    assert os.path.getsize(tmp_path / name) >= SPARSE
    script = (
        "import resource, sys; from lstmcore.interop import formats; import h5py\n"
        "row = formats.row_of(sys.argv[1]); list_it = formats.function(row.lists)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "(array,) = list_it(sys.argv[1]).arrays\n"
        "print(array.shape[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / name], capture_output=True, text=True, check=True)
    length, kilobytes = map(int, done.stdout.split())
    assert length == SPARSE // 4 and kilobytes < 32 << 10
