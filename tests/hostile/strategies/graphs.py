"""ONNX files: graphs of any nodes, with any attributes, on weights that may say anything of themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from lstmcore.interop.onnx.readers import READERS
from strategies import mutated

H = onnx.helper
KINDS = [*READERS, "Loop", "Scan", "Evil", "LSTM", "GRU", "RNN", "MatMul", "Gather", "Concat", "Tile", "Expand", "If"]
NUMBERS = st.sampled_from([0, 1, 2, 3, 4, -1, -2, 9, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, -(2**62)])
LENGTHS = st.sampled_from(["batch", "time", "", 0, 1, 3, 4, 5, -1, 2**20, 2**31, 2**40, 2**62])
TEXTS = [
    "forward",
    "reverse",
    "bidirectional",
    "Tanh",
    "Relu",
    "SAME_UPPER",
    "reflect",
    "edge",
    "ab,bc->ac",
    "evil",
    "",
]
ATTRIBUTES = ["axis", "axes", "perm", "hidden_size", "direction", "activations", "clip", "layout", "to", "group"]
ATTRIBUTES += [
    "strides",
    "dilations",
    "pads",
    "kernel_shape",
    "auto_pad",
    "keepdims",
    "equation",
    "mode",
    "alpha",
    "beta",
]
ATTRIBUTES += [
    "linear_before_reset",
    "input_forget",
    "value_ints",
    "epsilon",
    "transB",
    "num_outputs",
    "split",
    "starts",
]
VALUES = st.one_of(
    NUMBERS,
    st.lists(NUMBERS, min_size=1, max_size=6),
    st.sampled_from([0.0, 0.5, 1e308, float("nan")]),
    st.sampled_from(TEXTS),
    st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3),
)
INTS = st.lists(NUMBERS, max_size=4).map(lambda found: np.array(found, "i8"))
FLOATS = st.sampled_from(
    [(4, 3), (1, 9, 4), (1, 9, 3), (1, 18), (1, 12, 4), (1, 12, 3), (1, 24), (3,), (), (0, 4), (1, 1, 3)]
)
ARRAYS = FLOATS.map(lambda shape: np.ones(shape, "f4")) | INTS | st.just(np.array(True))


@st.composite
def tensors(draw: st.DrawFn, name: str) -> Any:
    """A weight, sound or with a field that is not."""
    made = onnx.numpy_helper.from_array(draw(ARRAYS), name)
    fault = draw(st.sampled_from(["", "", "", "", "dims", "type", "raw", "both", "outside"]))
    if fault == "dims":
        made.dims.append(draw(NUMBERS))
    elif fault == "type":
        made.data_type = draw(st.integers(0, 30))
    elif fault == "raw":
        made.raw_data = made.raw_data[:-1] + draw(st.binary(max_size=3))
    elif fault == "both":
        made.float_data.extend([1.0] * 3)
    elif fault == "outside":
        made.ClearField("raw_data")
        made.data_location = 1
        for key in ("location", "offset", "length"):
            entry = made.external_data.add()
            entry.key, entry.value = (
                key,
                draw(st.sampled_from(["../w.bin", "/etc/passwd", "w.bin", "0", "9" * 20, "-1"])),
            )
    return made


@st.composite
def nodes(draw: st.DrawFn, known: list[str], name: str, depth: int = 0) -> Any:
    kind = draw(st.sampled_from(KINDS))
    inputs = draw(st.lists(st.sampled_from([*known, *known, "", "nobody"]), max_size=6))
    outputs = [name, *draw(st.lists(st.sampled_from([f"{name}_1", f"{name}_2", ""]), max_size=2))]
    made = H.make_node(
        kind, inputs, outputs, name=draw(st.just(name) | st.sampled_from(["", "a\n\x1b[2J", "n" * 5000]))
    )
    for key in draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=3, unique=True)):
        made.attribute.append(H.make_attribute(key, draw(VALUES)))
    if kind == "Constant":
        made.attribute.append(H.make_attribute("value", draw(tensors("c"))))
    if kind in ("If", "Loop", "Scan"):
        for key in ("then_branch", "else_branch") if kind == "If" else ("body",):
            inner = [draw(nodes(known, "i", depth + 1))] if depth < 3 else []
            ends = [H.make_tensor_value_info("i", 1, None)]
            made.attribute.append(H.make_attribute(key, H.make_graph(inner, "g", [], ends)))
    return made


@st.composite
def models(draw: st.DrawFn) -> bytes:
    known, held, made = ["x"], [], []
    for k in range(draw(st.integers(0, 5))):
        held.append(draw(tensors(f"w{k}")))
        known.append(f"w{k}")
    for k in range(draw(st.integers(1, 6))):
        made.append(draw(nodes(known, f"v{k}")))
        known.append(f"v{k}")
    usual = st.sampled_from([("batch", 4), ("batch", "time", 4), (5, "batch", 4), ("time", "batch", 4)])
    shape = draw(usual | st.lists(LENGTHS, max_size=5))
    inputs = [H.make_tensor_value_info("x", draw(st.sampled_from([1, 1, 1, 6, 7, 11, 16])), list(shape))]
    outputs = [H.make_tensor_value_info(draw(st.sampled_from(known)), 1, None) for _ in range(draw(st.integers(1, 2)))]
    opset = draw(st.sampled_from([7, 11, 13, 17, 17, 17, 21, 26, 9999, -1]))
    graph = H.make_graph(made, "g", inputs, outputs, held)
    return bytes(H.make_model(graph, opset_imports=[H.make_opsetid("", opset)]).SerializeToString())


def files(data: bytes) -> st.SearchStrategy[bytes]:
    """Such models, and a sound one with fields set, removed, doubled."""
    return models() | models() | mutated.any_of("onnx", data)


def outside(data: bytes) -> st.SearchStrategy[bytes]:
    """A model whose numbers lie in a file beside it, with fields set; or those numbers altered."""
    return mutated.any_of("onnx" if b"lstmcore" in data[:64] else "", data)
