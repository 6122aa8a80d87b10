"""Hostile ONNX files: numbers 64 to 76 of the checklist. One clear error each, within a second and 64 MiB."""

from __future__ import annotations

import os
import resource
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lstmcore.errors import DamagedFileError, FileError
from lstmcore.interop.onnx import loading, read, wire, write
from lstmcore.interop.onnx.loading import load
from lstmcore.layers import GRU, Dense, Input
from lstmcore.models import Sequential

H = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def model(tensor: Any = None, nodes: list[Any] | None = None, opset: int = 17, domain: str = "") -> Any:
    """x (batch, 4) @ w (4, 3)."""
    weight = tensor or onnx.numpy_helper.from_array(np.ones((4, 3), "float32"), "w")
    made = nodes or [H.make_node("MatMul", ["x", "w"], ["y"], domain=domain)]
    ends = [H.make_tensor_value_info("x", FLOAT, ["batch", 4])], [H.make_tensor_value_info("y", FLOAT, ["batch", 3])]
    return H.make_model(H.make_graph(made, "g", *ends, [weight]), opset_imports=[H.make_opsetid("", opset)])


def tensor(dims: list[int], **fields: Any) -> Any:
    made = onnx.TensorProto(name="w", data_type=FLOAT, dims=dims)
    for key, value in fields.items():
        if key == "raw_data":
            made.raw_data = value
        elif key == "float_data":
            made.float_data.extend(value)
        else:
            setattr(made, key, value)
    return made


def outside(**entries: str) -> Any:
    made = tensor([4, 3], data_location=1)
    for key, value in entries.items():
        entry = made.external_data.add()
        entry.key, entry.value = key, value
    return made


def refused(path: Path, match: str, proto: Any = None) -> None:
    """The file is refused, quickly, and with little memory."""
    if proto is not None:
        path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(FileError, match=match) as caught:
            read(path)
        assert time.process_time() - start < 1
        assert tracemalloc.get_traced_memory()[1] < (64 << 20) + 2 * path.stat().st_size
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < (64 << 10) + 3 * (path.stat().st_size >> 10)
    assert str(path.parent) not in str(caught.value)


BYTES = np.arange(12, dtype="<f4").tobytes()


def test_data_in_the_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "w.bin").write_bytes(b"12345678" + BYTES)
    (tmp_path / "m.onnx").write_bytes(
        model(outside(location="below/w.bin", offset="8", length="48")).SerializeToString()
    )
    np.testing.assert_array_equal(load(tmp_path / "m.onnx").arrays["w"].reshape(-1), np.arange(12))
    (tmp_path / "m.onnx").write_bytes(model(outside(location="./below/w.bin", offset="8")).SerializeToString())
    assert read(tmp_path / "m.onnx").weights["w"].shape == (4, 3)


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "a/../../w.bin",
        "a/../w.bin",
        "/etc/passwd",
        "C:\\w.bin",
        "..\\w.bin",
        "",
        "a\0b",
        "//host/w.bin",
        ".",
    ],
)
def test_data_outside_the_folder_are_not(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(BYTES)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").mkdir()
    refused(tmp_path / "m" / "m.onnx", "not in the folder|no text", model(outside(location=location)))


@pytest.mark.parametrize("kind", ["link", "linked folder", "hard link", "folder", "pipe", "absent"])
def test_data_in_what_is_no_plain_file_are_not(kind: str, tmp_path: Path) -> None:
    folder, away = tmp_path / "m", tmp_path / "away"
    folder.mkdir()
    away.mkdir()
    (away / "w.bin").write_bytes(BYTES)
    make: dict[str, Callable[[], Any]] = {
        "link": lambda: os.symlink(away / "w.bin", folder / "w.bin"),
        "linked folder": lambda: os.symlink(away, folder / "in"),
        "hard link": lambda: os.link(away / "w.bin", folder / "w.bin"),
        "folder": lambda: (folder / "w.bin").mkdir(),
        "pipe": lambda: os.mkfifo(folder / "w.bin"),
        "absent": lambda: None,
    }
    make[kind]()
    location = "in/w.bin" if kind == "linked folder" else "w.bin"
    refused(folder / "m.onnx", "no file in the folder|hard links|not a file", model(outside(location=location)))


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"offset": "4"}, "beyond the end"),
        ({"offset": "-4"}, "whole number"),
        ({"length": "49"}, "its entry says"),
        ({"length": "-1"}, "whole number"),
        ({"offset": "9" * 30}, "whole number"),
        ({"offset": "1e3"}, "whole number"),
    ],
)
def test_data_beyond_their_file(entries: dict[str, str], told: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(BYTES)
    refused(tmp_path / "m.onnx", told, model(outside(location="w.bin", **entries)))


@pytest.mark.parametrize(
    "given",
    [
        tensor([4, 3], raw_data=BYTES[:-1]),
        tensor([4, 3], raw_data=BYTES + b"1"),
        tensor([4, 3]),
        tensor([4, 3], float_data=[1.0] * 11),
        tensor([4, -3], raw_data=BYTES),
        tensor([2**31, 2**31, 2**31], raw_data=BYTES),
        tensor([2**62, 4], raw_data=b""),
        tensor([0, 2**62], raw_data=b""),
        tensor([2**62, 0]),
        tensor([1] * 100, raw_data=BYTES[:4]),
        tensor([4, 3], data_type=8),
        tensor([4, 3], data_type=99, raw_data=BYTES),
    ],
    ids=lambda given: str(list(given.dims))[:20],
)
def test_shapes_that_are_not_those_of_the_numbers(given: Any, tmp_path: Path) -> None:
    refused(tmp_path / "m.onnx", "weight 'w'", model(given))


def test_names_given_twice(tmp_path: Path) -> None:
    twice = model()
    twice.graph.initializer.append(twice.graph.initializer[0])
    refused(tmp_path / "m.onnx", "two weights are called", twice)
    same = model(nodes=[H.make_node("MatMul", ["x", "w"], ["x"]), H.make_node("Neg", ["x"], ["y"])])
    refused(tmp_path / "m.onnx", "exists already", same)


def test_cycles_and_what_nobody_makes(tmp_path: Path) -> None:
    nodes = [
        H.make_node("Add", ["x", "b"], ["a"]),
        H.make_node("Add", ["x", "a"], ["b"]),
        H.make_node("Neg", ["b"], ["y"]),
    ]
    refused(tmp_path / "m.onnx", "nothing before it makes", model(nodes=nodes))
    refused(tmp_path / "m.onnx", "made by no node", model(nodes=[H.make_node("Neg", ["x"], ["z"])]))


def test_other_domains_functions_and_versions(tmp_path: Path) -> None:
    refused(tmp_path / "m.onnx", "domain 'os.system'", model(domain="os.system"))
    functions = model()
    functions.functions.append(
        H.make_function("d", "f", ["a"], ["b"], [H.make_node("f", ["a"], ["b"], domain="d")], [])
    )
    refused(tmp_path / "m.onnx", "functions of its own", functions)
    refused(tmp_path / "m.onnx", "opset 9999", model(opset=9999))
    refused(tmp_path / "m.onnx", "opset 1;", model(opset=1))


def test_graphs_nested_too_deep(tmp_path: Path) -> None:
    inner = H.make_graph([H.make_node("Neg", ["x"], ["y"])], "g", [], [H.make_tensor_value_info("y", FLOAT, None)])
    for _ in range(20):
        node = H.make_node(
            "If", ["x"], ["y"], then_branch=inner, else_branch=inner if _ < 1 else H.make_graph([], "e", [], [])
        )
        inner = H.make_graph([node], "g", [], [H.make_tensor_value_info("y", FLOAT, None)])
    nested = H.make_model(inner, opset_imports=[H.make_opsetid("", 17)])
    refused(tmp_path / "m.onnx", "deep", nested)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x3a" + b"\x80\x80\x40" + b"\x0a\x00" * (1 << 19),  # a million nodes in a megabyte
        b"\x3a" + b"\x80\x80\x40" + b"\x2a\x00" * (1 << 19),  # tensors
        b"\x72\x00" * (1 << 20),  # metadata
    ],
    ids=["nodes", "tensors", "metadata"],
)
def test_messages_that_take_more_memory_than_bytes(bomb: bytes, tmp_path: Path) -> None:
    refused(tmp_path / "m.onnx", "far more memory", bomb)


@pytest.mark.parametrize(("port", "shape"), [(0, (2, 12, 4)), (0, (1, 12)), (1, (1, 12, 4)), (2, (1, 12))], ids=str)
def test_recurrent_weights_of_other_shapes(port: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    shapes = [(1, 9, 4), (1, 9, 3), (1, 18)]
    shapes[port] = shape  # type: ignore[call-overload]
    arrays = [onnx.numpy_helper.from_array(np.zeros(s, "float32"), n) for s, n in zip(shapes, "WRB", strict=True)]
    ends = [H.make_tensor_value_info("x", FLOAT, ["t", "batch", 4])], [H.make_tensor_value_info("y", FLOAT, None)]
    node = H.make_node("GRU", ["x", "W", "R", "B"], ["y"], hidden_size=3)
    made = H.make_model(H.make_graph([node], "g", *ends, arrays), opset_imports=[H.make_opsetid("", 17)])
    refused(tmp_path / "m.onnx", "has shape", made)


def small(path: Path) -> bytes:
    write(Sequential([Input((None, 2)), GRU(2), Dense(1)]), path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["folder", "pipe", "empty"])
def test_what_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "empty": path.touch}[kind]()
    with pytest.raises(FileError):
        read(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"class_name": "Lambda"}', "null", '{"class_name":"Sequential","config":{}}']
)
def test_a_description_that_is_none_is_not_believed(text: str, tmp_path: Path) -> None:
    proto = onnx.load_from_string(small(tmp_path / "m.onnx"))
    next(e for e in proto.metadata_props if e.key == "lstmcore.model").value = text
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert type(read(tmp_path / "m.onnx")).__name__ == "ProgramModel"


def test_a_description_of_a_huge_model_takes_no_memory(tmp_path: Path) -> None:
    proto = onnx.load_from_string(small(tmp_path / "m.onnx"))
    entry = next(e for e in proto.metadata_props if e.key == "lstmcore.model")
    entry.value = entry.value.replace('"units": 2', '"units": 100000')
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    tracemalloc.start()
    try:
        assert type(read(tmp_path / "m.onnx")).__name__ == "ProgramModel"
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_large_numbers_are_not_parsed(tmp_path: Path) -> None:
    big = np.random.default_rng(3).normal(size=(4, 5000)).astype("float32")
    proto = model(onnx.numpy_helper.from_array(big, "w"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(2.0), "small"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5000
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    found = loading.load(path)
    assert found.model.ByteSize() < 1000 and found.arrays["w"].tobytes() == big.tobytes()
    assert found.arrays["small"] == 2 and loading.load(path, whole=True).model == proto
    x = np.random.default_rng(4).normal(size=(2, 4)).astype("float32")
    np.testing.assert_allclose(read(path).predict(x), x @ big, rtol=1e-5, atol=1e-5)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(DamagedFileError):
        read(path)


@pytest.mark.parametrize("where", ["graph", "tensor"])
def test_of_numbers_given_twice_the_later_count(where: str, tmp_path: Path) -> None:
    first, second = (np.full((4, 5000), k, "float32") for k in (1, 2))
    proto = model(onnx.numpy_helper.from_array(first, "w"))
    field = b"\x4a" + wire._varint(second.nbytes) + second.tobytes()  # raw_data of a tensor
    inner = proto.graph.initializer[0].SerializeToString() + (field if where == "tensor" else b"")
    del proto.graph.initializer[:]
    graph = proto.graph.SerializeToString() + b"\x2a" + wire._varint(len(inner)) + inner
    proto.ClearField("graph")
    data = proto.SerializeToString() + b"\x3a" + wire._varint(len(graph)) + graph
    data += b"\x3a\x00" if where == "graph" else b""
    (tmp_path / "m.onnx").write_bytes(data)
    wanted = onnx.numpy_helper.to_array(onnx.load_from_string(data).graph.initializer[0])
    assert loading.load(tmp_path / "m.onnx").arrays["w"].tobytes() == wanted.tobytes()
