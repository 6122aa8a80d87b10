"""Small ONNX files that would take much memory or time, and those that only look so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from reader import Reader, harmless, refused

H, N = onnx.helper, onnx.helper.make_node
FLOAT = onnx.TensorProto.FLOAT
NEG = N("Neg", ["x"], ["y"])


def held(name: str, value: Any) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(value), name)


def c(name: str, value: Any) -> Any:
    """A constant by a node."""
    return N("Constant", [], [name], value=held(name, value))


def ints(name: str, *values: int) -> Any:
    return c(name, np.array(values, "i8"))


def model(*nodes: Any, x: Any = ("batch", 4), weights: Any = (), more: Any = (), ends: int = 1) -> bytes:
    inputs = [H.make_tensor_value_info("x", FLOAT, list(x)), *more]
    outputs = [H.make_tensor_value_info("y", FLOAT, None)] * ends
    graph = H.make_graph(list(nodes), "g", inputs, outputs, list(weights))
    made = H.make_model(graph, opset_imports=[H.make_opsetid("", 17)])
    return bytes(made.SerializeToString())


def kernel(*shape: int) -> Any:
    return held("k", np.ones(shape, "f4"))


def filled(name: str, *shape: int) -> list[Any]:
    return [ints(f"{name}_shape", *shape), N("ConstantOfShape", [f"{name}_shape"], [name])]


def each(kind: str, count: int, **attributes: Any) -> list[Any]:
    """Nodes that each take what the one before made, twice."""
    return [N(kind, [f"z{k}"] * 2, [f"z{k + 1}"], **attributes) for k in range(count)]


W, R = held("W", np.ones((1, 9, 4), "f4")), held("R", np.ones((1, 9, 3), "f4"))
COUNTS = [H.make_tensor_value_info("l", onnx.TensorProto.INT32, ["batch"])]
MANY = 1 << 23
UNSQUEEZED = [ints("a", 1), N("Unsqueeze", ["x", "a"], ["u"])]
STRIDED = [ints("a", 0), ints("b", 1 << 60), ints("c", 1), ints("d", 2)]
EVERY = N("Slice", ["x", "a", "b", "c", "d"], ["y"])
GATHERED = ints("i", *range(0, 8000, 2))

BOMBS: Mapping[str, bytes] = {
    "a filled array": model(*filled("z", 2**20, 2**20), N("Add", ["x", "z"], ["y"])),
    "twenty filled arrays": model(*[node for k in range(20) for node in filled(f"z{k}", MANY)], NEG),
    "a range": model(c("a", 0), c("b", 2**60), c("c", 1), N("Range", ["a", "b", "c"], ["z"]), NEG),
    "twenty ranges": model(
        c("a", 0), c("b", MANY), c("c", 1), *[N("Range", ["a", "b", "c"], [f"z{k}"]) for k in range(20)], NEG
    ),
    "joined with itself again and again": model(c("z0", np.ones(1024, "f4")), *each("Concat", 20, axis=0), NEG),
    "gathered again and again": model(
        c("d", np.ones((1, 2**12), "f4")), c("i", np.zeros(2**14, "i8")), N("Gather", ["d", "i"], ["g"]), NEG
    ),
    "broadcast by Where": model(
        c("a", np.ones((2**14, 1), "f4")),
        c("b", np.ones((1, 2**14), "f4")),
        c("t", np.ones((1, 1), "?")),
        N("Where", ["t", "a", "b"], ["g"]),
        NEG,
    ),
    "broadcast by Add": model(
        c("a", np.ones((2**14, 1), "f4")), c("b", np.ones((1, 2**14), "f4")), N("Add", ["a", "b"], ["g"]), NEG
    ),
    "cast again and again": model(
        *filled("z", 2**19), *[N("Cast", ["z"], [f"w{k}"], to=onnx.TensorProto.DOUBLE) for k in range(99)], NEG
    ),
    "products": model(
        c("z0", np.ones((700, 700), "f4")), *each("MatMul", 40), N("MatMul", ["x", "z40"], ["y"]), x=("batch", 700)
    ),
    "an outer product": model(
        c("a", np.ones((4096, 1), "f4")), c("b", np.ones((1, 4096), "f4")), N("MatMul", ["a", "b"], ["g"]), NEG
    ),
    "tiled": model(ints("t", 1, 2**40), N("Tile", ["x", "t"], ["y"])),
    "tiled less": model(ints("t", 1, 10**7), N("Tile", ["x", "t"], ["y"])),
    "numbers tiled": model(c("d", np.ones(9, "f4")), ints("t", 2**40), N("Tile", ["d", "t"], ["z"]), NEG),
    "expanded": model(c("d", np.ones(1, "f4")), ints("t", 2**40), N("Expand", ["d", "t"], ["z"]), NEG),
    "every other step of many": model(*STRIDED, EVERY, x=("batch", 2**30)),
    "every other row of many": model(
        N("Conv", ["x", "k"], ["y"], strides=[2, 2]), x=("batch", 1, 2**30, 2**30), weights=[kernel(1, 1, 3, 3)]
    ),
    "4,000 places, ten times": model(
        GATHERED, *[N("Gather", ["x", "i"], [f"y{k}"], axis=1) for k in range(10)], NEG, x=("batch", 8000)
    ),
    "a million parts": model(c("s", np.ones(10**6, "i8")), N("Split", ["x", "s"], ["y"], axis=1)),
    "places far from each other": model(
        c("i", np.array([[0, 0], [2**40, 1]])),
        N("ScatterND", ["x", "i", "u"], ["y"]),
        x=(2, 4),
        more=[H.make_tensor_value_info("u", FLOAT, [2])],
    ),
    "20,000 outputs of one name": model(NEG, ends=20_000),
    "20,000 inputs": model(NEG, more=[H.make_tensor_value_info(f"i{k}", FLOAT, ["batch", 4]) for k in range(20_000)]),
    "60,000 nodes": model(*[N("Neg", ["x"], [f"v{k}"]) for k in range(60_000)], NEG),
    "a loop without end": model(c("t", 2**60), N("Loop", ["t", "", "x"], ["y"], body=H.make_graph([], "b", [], []))),
    "an equation of 40,000 letters": model(
        N("Einsum", ["x", "k"], ["y"], equation="ab,bc->" + "ac" * 20_000), weights=[kernel(4, 3)]
    ),
    "100,000 axes": model(N("ReduceSum", ["x", "a"], ["y"]), weights=[held("a", np.ones(10**5, "i8"))]),
    "names that draw": model(N("Evil\n\x1b[2J", ["x"], ["y"], name="a\n\x1b[31m")),
    "a name of a megabyte": model(N("Evil", ["x"], ["y"], name="a" * 2**20)),
}
LARGE: Mapping[str, bytes] = {
    "50,000 axes": model(NEG, x=("batch", *[1] * 50_000)),
    "2^30 steps": model(N("GRU", ["x", "W", "R"], ["y"], hidden_size=3), x=(2**30, "batch", 4), weights=[W, R]),
    "counts of 2^26 steps": model(
        N("GRU", ["x", "W", "R", "", "l"], ["y"], hidden_size=3), x=(2**26, "batch", 4), weights=[W, R], more=COUNTS
    ),
    "zeros around it": model(ints("p", 0, 2**30, 0, 2**30), N("Pad", ["x", "p"], ["y"])),
    "a long axis": model(*UNSQUEEZED, ints("t", 1, 2**30, 4), N("Expand", ["u", "t"], ["y"])),
    "far windows": model(
        N("Conv", ["x", "k"], ["y"], dilations=[2**20], pads=[2**21, 0]),
        x=("batch", 1, 2**24),
        weights=[kernel(1, 1, 3)],
    ),
    "4,000 places": model(GATHERED, N("Gather", ["x", "i"], ["y"], axis=1), x=("batch", 8000)),
    "a filled array of a model's size": model(*filled("z", 500, 500), N("MatMul", ["x", "z"], ["y"]), x=("batch", 500)),
}
"""Lengths that only say how much there will be."""


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_take_much(name: str, ask: Reader, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(BOMBS[name])
    refused(tmp_path / "m.onnx", ask, tmp_path)
    harmless(ask({"path": str(tmp_path / "m.onnx"), "use": "lists"}))


@pytest.mark.parametrize("name", LARGE)
def test_what_only_looks_so(name: str, ask: Reader, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(LARGE[name])
    answer = ask(tmp_path / "m.onnx")
    assert answer["result"] == "model", answer
    harmless(answer)
