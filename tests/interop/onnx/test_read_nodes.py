"""The other nodes, read and run, against ONNX Runtime on the same graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import ort
import pytest

from lstmcore.errors import SpecError, UnsupportedFileError
from lstmcore.interop.onnx import read
from lstmcore.interop.onnx.readers import READERS

H = onnx.helper
FLOAT = onnx.TensorProto.FLOAT
X = np.random.default_rng(3).normal(size=(2, 5, 4)).astype("float32")
SEEN: set[str] = set()


def graph(nodes: list[Any], constants: dict[str, Any], shape: list[Any], opset: int = 17) -> Any:
    """Nodes from ``x`` to ``y``."""
    arrays = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ends = [H.make_tensor_value_info("x", FLOAT, shape)], [H.make_tensor_value_info("y", FLOAT, None)]
    SEEN.update(node.op_type for node in nodes)
    made = H.make_graph(nodes, "g", *ends, arrays)
    return H.make_model(made, opset_imports=[H.make_opsetid("", opset)], ir_version=8)


def check(nodes: list[Any], constants: dict[str, Any], shape: list[Any], path: Path, opset: int = 17) -> Any:
    model = graph(nodes, constants, shape, opset)
    x = (
        X.reshape([n if isinstance(n, int) else m for n, m in zip(shape, X.shape, strict=True)])
        if len(shape) == 3
        else X
    )
    if len(shape) != 3:
        x = np.resize(X, [n if isinstance(n, int) else 3 for n in shape])
    path.write_bytes(model.SerializeToString())
    expected = ort.run(model, {"x": x})["y"]
    found = read(path)
    ort.agree(found.predict(x), expected)
    return found


def one(kind: str, *more: str, **attributes: Any) -> list[Any]:
    return [H.make_node(kind, ["x", *more], ["y"], **attributes)]


F = np.random.default_rng(4)
CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    **{
        kind: (one(kind), {}) for kind in ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "Abs", "Cos")
    },
    **{kind: (one(kind), {}) for kind in ("Exp", "Neg", "Reciprocal", "Sin", "Identity", "LeakyRelu", "Elu", "Selu")},
    **{kind: (one(kind), {}) for kind in ("Celu", "ThresholdedRelu", "HardSigmoid", "Dropout")},
    "hard_other": (one("HardSigmoid", alpha=0.3, beta=0.1), {}),
    "selu_other": (one("Selu", alpha=1.2, gamma=0.9), {}),
    "softmax": (one("Softmax", axis=-1), {}),
    "softmax_time": (one("Softmax", axis=1), {}),
    "LogSoftmax": (one("LogSoftmax"), {}),
    "clip": (one("Clip", "a", "b"), {"a": np.float32(-0.5), "b": np.float32(0.25)}),
    "clip_6": (one("Clip", "a", "b"), {"a": np.float32(0), "b": np.float32(6)}),
    "PRelu": (one("PRelu", "a"), {"a": F.normal(size=(4,)).astype("float32")}),
    "log_sqrt": (
        [H.make_node("Abs", ["x"], ["a"]), H.make_node("Sqrt", ["a"], ["b"]), H.make_node("Log", ["b"], ["y"])],
        {},
    ),
    **{
        k: (one(k, "a"), {"a": F.uniform(0.5, 1, (5, 4)).astype("float32")})
        for k in ("Add", "Sub", "Mul", "Div", "Max", "Min")
    },
    "sum_mean": (
        [H.make_node("Mean", ["x", "x", "a"], ["m"]), H.make_node("Sum", ["m", "x"], ["y"])],
        {"a": np.float32([2])},
    ),
    "pow_2": (one("Pow", "a"), {"a": np.float32(2)}),
    "pow_3": (one("Pow", "a"), {"a": np.float32(3)}),
    "where": (
        [
            *(H.make_node(kind, ["x", "a"], [kind]) for kind in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual")),
            H.make_node("Or", ["Less", "Greater"], ["o"]),
            H.make_node("And", ["LessOrEqual", "o"], ["p"]),
            H.make_node("Not", ["p"], ["q"]),
            H.make_node("Equal", ["x", "a"], ["e"]),
            H.make_node("Or", ["q", "e"], ["s"]),
            H.make_node("And", ["s", "GreaterOrEqual"], ["r"]),
            H.make_node("Where", ["r", "x", "a"], ["y"]),
        ],
        {"a": np.float32(0.1)},
    ),
    **{
        kind: ([H.make_node(kind, ["x", "a"], ["l"]), H.make_node("Cast", ["l"], ["y"], to=1)], {"a": np.float32(0.3)})
        for kind in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual")
    },
    "cast": ([H.make_node("Less", ["x", "a"], ["l"]), H.make_node("Cast", ["l"], ["y"], to=1)], {"a": np.float32(0)}),
    "MatMul": (one("MatMul", "w"), {"w": F.normal(size=(4, 3)).astype("float32")}),
    "matmul_self": (
        [H.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), H.make_node("MatMul", ["x", "t"], ["y"])],
        {},
    ),
    "Einsum": (one("Einsum", "w", equation="bij,jk->bki"), {"w": F.normal(size=(4, 3)).astype("float32")}),
    "transposes": (
        [H.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1]), H.make_node("Transpose", ["t"], ["y"])],
        {},
    ),
    "reshape": (one("Reshape", "s"), {"s": np.int64([0, 2, -1])}),
    "reshape_batch": (one("Reshape", "s"), {"s": np.int64([-1, 10, 2])}),
    "Flatten": (one("Flatten"), {}),
    "unsqueeze": (
        [H.make_node("Unsqueeze", ["x", "a"], ["u"]), H.make_node("Squeeze", ["u", "b"], ["y"])],
        {"a": np.int64([1, 3]), "b": np.int64([1])},
    ),
    "Concat": (one("Concat", "x", axis=1), {}),
    "concat_last": (one("Concat", "x", axis=-1), {}),
    "slices": (
        one("Slice", "a", "b", "c", "d"),
        {"a": np.int64([1, -1]), "b": np.int64([4, -99]), "c": np.int64([1, 2]), "d": np.int64([2, -1])},
    ),
    "reverse": (
        one("Slice", "a", "b", "c", "d"),
        {"a": np.int64([-1]), "b": np.int64([-(2**62)]), "c": np.int64([1]), "d": np.int64([-1])},
    ),
    "gather_last": (one("Gather", "a", axis=1), {"a": np.int64(-1)}),
    "gather_some": (one("Gather", "a", axis=2), {"a": np.int64([2, 0, 1, -1])}),
    "gather_grid": (one("Gather", "a", axis=2), {"a": np.int64([[2, 0], [1, 3]])}),
    "split": (
        [
            H.make_node("Split", ["x", "s"], ["a", "b"], axis=2),
            H.make_node("Sub", ["a", "b"], ["c"]),
            H.make_node("Neg", ["c"], ["y"]),
        ],
        {"s": np.int64([2, 2])},
    ),
    "Erf": (one("Erf"), {}),
    "one_hot": (
        [
            H.make_node("Shape", ["x"], ["s"]),
            H.make_node("Gather", ["s", "two"], ["n"], axis=0),
            H.make_node("Mod", ["n", "three"], ["id"]),
            H.make_node("OneHot", ["id", "four", "values"], ["h"]),
            H.make_node("Cast", ["h"], ["f"], to=1),
            H.make_node("Mul", ["x", "f"], ["y"]),
        ],
        {"two": np.int64([2]), "three": np.int64(3), "four": np.int64(4), "values": np.int64([0, 1])},
    ),
    "float_of_length": (
        [
            H.make_node("Shape", ["x"], ["s"]),
            H.make_node("Slice", ["s", "one", "two"], ["t"]),
            H.make_node("ReduceProd", ["t"], ["n"], keepdims=0),
            H.make_node("Cast", ["n"], ["f"], to=1),
            H.make_node("Div", ["f", "half"], ["q"]),
            H.make_node("Mul", ["q", "x"], ["y"]),
        ],
        {"one": np.int64([1]), "two": np.int64([2]), "half": np.float32(2)},
    ),
    "cum_sum": (
        [
            H.make_node("ReduceMax", ["x"], ["m"], axes=[2], keepdims=0),
            H.make_node("CumSum", ["m", "axis"], ["c"]),
            H.make_node("Unsqueeze", ["c", "two"], ["u"]),
            H.make_node("Add", ["x", "u"], ["y"]),
        ],
        {"axis": np.int64(1), "two": np.int64([2])},
    ),
    "gather_elements": (
        [
            H.make_node("Less", ["x", "a"], ["l"]),
            H.make_node("Cast", ["l"], ["c"], to=7),
            H.make_node("ReduceSum", ["c", "axis"], ["n"]),
            H.make_node("Sub", ["n", "one"], ["i"]),
            H.make_node("GatherElements", ["x", "i"], ["y"], axis=1),
        ],
        {"a": np.float32(0.3), "axis": np.int64([1]), "one": np.int64(1)},
    ),
    "reverse_sequence": (
        [
            H.make_node("Shape", ["x"], ["s"]),
            H.make_node("Slice", ["s", "zero", "one"], ["batch"]),
            H.make_node("Gather", ["s", "at"], ["time"]),
            H.make_node("Expand", ["time", "batch"], ["n"]),
            H.make_node("ReverseSequence", ["x", "n"], ["y"], batch_axis=0, time_axis=1),
        ],
        {"zero": np.int64([0]), "one": np.int64([1]), "at": np.int64(1)},
    ),
    "scan": (
        [
            H.make_node("ReduceSum", ["x", "axis"], ["h"], keepdims=0),
            H.make_node(
                "Scan",
                ["h", "h", "x", "x"],
                ["a", "b", "p", "q"],
                num_scan_inputs=2,
                scan_input_axes=[1, 1],
                scan_input_directions=[0, 1],
                scan_output_axes=[1, 0],
                scan_output_directions=[0, 1],
                body=H.make_graph(
                    [
                        H.make_node("Sigmoid", ["u"], ["gate"]),
                        H.make_node("Mul", ["gate", "g"], ["kept"]),
                        H.make_node("Add", ["kept", "v"], ["g_after"]),
                        H.make_node("Add", ["h", "k"], ["h_after"]),
                        H.make_node("Sub", ["g_after", "h_after"], ["first"]),
                        H.make_node("Identity", ["kept"], ["second"]),
                    ],
                    "step",
                    [H.make_tensor_value_info(name, FLOAT, None) for name in ("g", "k", "u", "v")],
                    [H.make_tensor_value_info(name, FLOAT, None) for name in ("g_after", "h_after", "first", "second")],
                ),
            ),
            H.make_node("Transpose", ["q"], ["t"], perm=[1, 0, 2]),
            H.make_node("Add", ["t", "p"], ["s"]),
            H.make_node("Add", ["a", "b"], ["c"]),
            H.make_node("Unsqueeze", ["c", "axis"], ["d"]),
            H.make_node("Add", ["s", "d"], ["y"]),
        ],
        {"axis": np.int64([1])},
    ),
    "pad": (one("Pad", "p"), {"p": np.int64([0, 1, 0, 0, 2, 3])}),
    "pad_cut": (one("Pad", "p"), {"p": np.int64([0, -1, 0, 0, 2, -1])}),
    "pad_mirror": (one("Pad", "p", mode="reflect"), {"p": np.int64([0, 2, 0, 0, 3, 1])}),
    "tile": (one("Tile", "r"), {"r": np.int64([1, 2, 3])}),
    "expand": (
        [H.make_node("Unsqueeze", ["x", "a"], ["u"]), H.make_node("Expand", ["u", "s"], ["y"])],
        {"a": np.int64([2]), "s": np.int64([1, 1, 3, 1])},
    ),
    "reduce": (
        [H.make_node("ReduceSum", ["x", "a"], ["s"], keepdims=0), H.make_node("ReduceMax", ["s"], ["y"], axes=[1])],
        {"a": np.int64([1])},
    ),
    **{k: (one(k, axes=[2]), {}) for k in ("ReduceMean", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")},
    "GlobalAveragePool": (one("GlobalAveragePool"), {}),
    "GlobalMaxPool": (one("GlobalMaxPool"), {}),
    "BatchNormalization": (
        one("BatchNormalization", "g", "b", "m", "v"),
        {n: F.uniform(0.5, 1, 5).astype("float32") for n in "gbmv"},
    ),
    "LayerNormalization": (one("LayerNormalization", "g", "b"), {n: F.normal(size=4).astype("float32") for n in "gb"}),
    "InstanceNormalization": (
        one("InstanceNormalization", "g", "b"),
        {n: F.normal(size=5).astype("float32") for n in "gb"},
    ),
    "conv": (
        one("Conv", "w", "b", pads=[1, 2], strides=[2]),
        {"w": F.normal(size=(6, 5, 2)).astype("float32"), "b": F.normal(size=6).astype("float32")},
    ),
    "conv_groups": (one("Conv", "w", group=5, dilations=[2]), {"w": F.normal(size=(10, 1, 2)).astype("float32")}),
    "conv_same": (
        one("Conv", "w", auto_pad="SAME_UPPER", strides=[2]),
        {"w": F.normal(size=(6, 5, 3)).astype("float32")},
    ),
    "conv_lower": (one("Conv", "w", auto_pad="SAME_LOWER"), {"w": F.normal(size=(6, 5, 2)).astype("float32")}),
    "conv_back": (
        one("ConvTranspose", "w", "b", strides=[2], pads=[1, 0], output_padding=[1]),
        {"w": F.normal(size=(5, 6, 3)).astype("float32"), "b": F.normal(size=6).astype("float32")},
    ),
    "pool": (one("MaxPool", kernel_shape=[2], strides=[2]), {}),
    "pool_mean": (one("AveragePool", kernel_shape=[3], strides=[1], pads=[1, 1]), {}),
    "pool_max_padded": (one("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 1]), {}),
    "pool_mean_padded": (one("AveragePool", kernel_shape=[3], strides=[2], pads=[1, 1]), {}),
    "pool_ceiled": (one("MaxPool", kernel_shape=[3], strides=[2], ceil_mode=1), {}),
    "pool_mean_ceiled": (
        one("AveragePool", kernel_shape=[3], strides=[3], ceil_mode=1, pads=[1, 0], count_include_pad=1),
        {},
    ),
    "pool_padded": (one("AveragePool", kernel_shape=[2], strides=[2], pads=[1, 1], count_include_pad=1), {}),
    "constants": (
        [
            H.make_node("Constant", [], ["k"], value_float=0.5),
            H.make_node("Shape", ["x"], ["s"]),
            H.make_node("Gather", ["s", "one"], ["n"]),
            H.make_node("Range", ["zero", "n", "one"], ["r"]),
            H.make_node("Cast", ["r"], ["f"], to=1),
            H.make_node("Unsqueeze", ["f", "axis"], ["u"]),
            H.make_node("Mul", ["u", "k"], ["w"]),
            H.make_node("Size", ["w"], ["size"]),
            H.make_node("Add", ["x", "w"], ["y"]),
        ],
        {"zero": np.int64(0), "one": np.int64(1), "axis": np.int64([1])},
    ),
    "zeros_like": (
        [
            H.make_node("Shape", ["x"], ["s"]),
            H.make_node("ConstantOfShape", ["s"], ["z"], value=onnx.numpy_helper.from_array(np.float32([1.5]))),
            H.make_node("Concat", ["x", "z"], ["y"], axis=2),
        ],
        {},
    ),
    "if": (
        [
            H.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True))),
            H.make_node(
                "If",
                ["c"],
                ["y"],
                then_branch=H.make_graph(
                    [H.make_node("Neg", ["x"], ["t"])], "t", [], [H.make_tensor_value_info("t", FLOAT, None)]
                ),
                else_branch=H.make_graph(
                    [H.make_node("Abs", ["x"], ["e"])], "e", [], [H.make_tensor_value_info("e", FLOAT, None)]
                ),
            ),
        ],
        {},
    ),
    "scatter": (
        one("ScatterND", "at", "new"),
        {
            "at": np.stack(np.meshgrid([0, 1], [1, 2], indexing="ij"), -1),
            "new": F.normal(size=(2, 2, 4)).astype("float32"),
        },
    ),
}
# What only runs where all lengths are known: the batch is an axis like any other in these.
FIXED = {"scatter"}
# The time axis must be known, or it is what they change.
KNOWN_TIME = {
    "Flatten",
    "pool_mean_ceiled",
    "reshape",
    "reshape_batch",
    "conv",
    "conv_groups",
    "conv_same",
    "conv_lower",
    "conv_back",
    "BatchNormalization",
    "InstanceNormalization",
    "slices",
    "pad_mirror",
    "constants",
    "zeros_like",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Max",
    "Min",
}
# Recorded by the tests of recurrent nodes, of older opsets, and of ids.
ELSEWHERE = {"LSTM", "GRU", "RNN", "Gemm", "Gelu", "Mish", "Loop"}


@pytest.mark.parametrize("batch", ["batch", 2], ids=["tracked", "fixed"])
@pytest.mark.parametrize("name", CASES)
def test_a_node(name: str, batch: str | int, tmp_path: Path) -> None:
    if name in FIXED and batch == "batch":
        return
    nodes, constants = CASES[name]
    model = check(nodes, constants, [batch, 5, 4], tmp_path / "m.onnx")
    assert set(model.batch_axes.values()) == ({None} if batch == 2 else set(model.batch_axes.values()) - {None})


@pytest.mark.parametrize("name", [name for name in CASES if name not in KNOWN_TIME | FIXED])
def test_a_node_over_an_open_time(name: str, tmp_path: Path) -> None:
    nodes, constants = CASES[name]
    check(nodes, constants, ["batch", "time", 4], tmp_path / "m.onnx")


def test_gemm(tmp_path: Path) -> None:
    constants = {"w": F.normal(size=(3, 4)).astype("float32"), "b": F.normal(size=3).astype("float32")}
    check(one("Gemm", "w", "b", transB=1), constants, ["batch", 4], tmp_path / "m.onnx")
    check(one("Gemm", "w", "b", transB=1, alpha=0.5, beta=2.0), constants, ["batch", 4], tmp_path / "m.onnx")


def test_gelu_and_mish(tmp_path: Path) -> None:
    nodes = [
        H.make_node("Gelu", ["x"], ["g"]),
        H.make_node("Gelu", ["g"], ["t"], approximate="tanh"),
        H.make_node("Mish", ["t"], ["y"]),
    ]
    check(nodes, {}, ["batch", 5, 4], tmp_path / "m.onnx", opset=20)


@pytest.mark.parametrize("size", [(3, 2), (2, 1)])
def test_convolutions_along_two_axes(size: tuple[int, int], tmp_path: Path) -> None:
    nodes = [
        H.make_node("Conv", ["x", "w", "b"], ["c"], strides=[2, 1], pads=[1, 0, 1, 2], dilations=[1, 2], group=2),
        H.make_node("ConvTranspose", ["c", "v"], ["y"], strides=[1, 2], pads=[0, 0, 1, 0], group=2),
    ]
    constants = {"w": F.normal(size=(6, 2, *size)), "b": F.normal(size=6), "v": F.normal(size=(6, 2, *size))}
    for batch in ("batch", 3):
        floats = {k: v.astype("float32") for k, v in constants.items()}
        check(nodes, floats, [batch, 4, 7, 6], tmp_path / "m.onnx")


def test_attributes_of_older_opsets(tmp_path: Path) -> None:
    nodes = [
        H.make_node("Unsqueeze", ["x"], ["u"], axes=[1]),
        H.make_node("Squeeze", ["u"], ["s"], axes=[1]),
        H.make_node("Slice", ["s"], ["l"], starts=[1], ends=[4], axes=[1]),
        H.make_node("Clip", ["l"], ["c"], min=-1.0, max=1.0),
        H.make_node("Pad", ["c"], ["p"], pads=[0, 1, 0, 0, 1, 0], mode="constant", value=0.0),
        H.make_node("ReduceSum", ["p"], ["r"], axes=[1], keepdims=1),
        H.make_node("Softmax", ["r"], ["y"], axis=2),
    ]
    check(nodes, {}, ["batch", 5, 4], tmp_path / "m.onnx", opset=9)


def test_ids_and_embeddings(tmp_path: Path) -> None:
    table = F.normal(size=(9, 3)).astype("float32")
    nodes = [H.make_node("Cast", ["x"], ["i"], to=7), H.make_node("Gather", ["t", "i"], ["y"])]
    made = H.make_graph(
        nodes,
        "g",
        [H.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["batch", "time"])],
        [H.make_tensor_value_info("y", FLOAT, None)],
        [onnx.numpy_helper.from_array(table, "t")],
    )
    (tmp_path / "m.onnx").write_bytes(H.make_model(made, opset_imports=[H.make_opsetid("", 17)]).SerializeToString())
    ids = F.integers(0, 9, (2, 5)).astype("uint8")
    model = read(tmp_path / "m.onnx")
    np.testing.assert_array_equal(model.predict(ids), table[ids])
    assert model.weights["t"].tobytes() == table.tobytes()
    assert model.program.limits == {"x": 9}


def test_a_batch_that_is_not_first(tmp_path: Path) -> None:
    """The data keep the shapes of the file."""
    path = tmp_path / "m.onnx"
    weights = {"w": F.normal(size=(4, 3)).astype("float32"), "b": F.normal(size=(5, 1, 3)).astype("float32")}
    nodes = [H.make_node("MatMul", ["x", "w"], ["m"]), H.make_node("Add", ["m", "b"], ["y"])]
    model = graph(nodes, weights, [5, "batch", 4])
    path.write_bytes(model.SerializeToString())
    x = X.transpose(1, 0, 2)
    found = read(path)
    assert found.batch_axes == {"x": 1, "y": 1}
    ort.agree(found.predict(x), ort.run(model, {"x": np.ascontiguousarray(x)})["y"])
    ort.agree(found.predict(x, batch_size=1), ort.run(model, {"x": np.ascontiguousarray(x)})["y"])


def test_every_reader_is_tested() -> None:
    for nodes, _ in CASES.values():
        SEEN.update(node.op_type for node in nodes)
    assert set(READERS) - SEEN == ELSEWHERE - SEEN


def test_lengths_and_batch_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(graph(one("Flatten"), {}, ["rows", "steps", 4]).SerializeToString())
    with pytest.raises(SpecError, match="not an open length"):
        read(path, batch="columns")
    assert read(path, lengths={"steps": 5}).input_shape == (None, 5, 4)
    with pytest.raises(SpecError, match="no lengths called"):
        read(path, lengths={"columns": 5})
    assert read(path, lengths={"steps": 5, "rows": 2}).batch_axes == {"x": None, "y": None}


ACROSS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "sum": (one("ReduceSum", "a"), {"a": np.int64([0])}),
    "softmax": (one("Softmax", axis=0), {}),
    "reshape": (one("Reshape", "s"), {"s": np.int64([4, -1])}),
    "rows": (one("Reshape", "s"), {"s": np.int64([-1, 2])}),
}


@pytest.mark.parametrize("name", ACROSS)
def test_what_goes_across_samples_runs_as_one_call(name: str, tmp_path: Path) -> None:
    nodes, constants = ACROSS[name]
    assert set(check(nodes, constants, ["batch", 5, 4], tmp_path / "m.onnx").batch_axes.values()) == {None}


def test_one_hot_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    arrays = [
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in (("n", np.int64(6)), ("v", np.float32([0, 1])))
    ]
    ends = [H.make_tensor_value_info("x", onnx.TensorProto.INT64, ["batch", "time"])]
    made = H.make_graph(one("OneHot", "n", "v"), "g", ends, [H.make_tensor_value_info("y", FLOAT, None)], arrays)
    path.write_bytes(H.make_model(made, opset_imports=[H.make_opsetid("", 17)], ir_version=8).SerializeToString())
    ids = F.integers(0, 6, (2, 5))
    np.testing.assert_array_equal(read(path).predict(ids), ort.run(path, {"x": ids})["y"])


REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "unknown": (one("NonZero"), {}, "NonZero, is not read"),
    "edge": (one("Pad", "p", mode="edge"), {"p": np.int64([0, 1, 0, 0, 0, 0])}, "mode 'edge'"),
    "argmax": (one("ArgMax", axis=2), {}, "ArgMax, is not read"),
    "ints": (
        [H.make_node("Less", ["x", "a"], ["l"]), H.make_node("Cast", ["l"], ["y"], to=7)],
        {"a": np.float32(0)},
        "of whole numbers, for which there is no op",
    ),
    "counts": (
        [
            H.make_node("Less", ["x", "a"], ["l"]),
            H.make_node("Cast", ["l"], ["c"], to=7),
            H.make_node("Div", ["c", "two"], ["d"]),
            H.make_node("Cast", ["d"], ["y"], to=1),
        ],
        {"a": np.float32(0), "two": np.int64(2)},
        "whole numbers that the model computes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named(name: str, tmp_path: Path) -> None:
    nodes, constants, told = REFUSED[name]
    (tmp_path / "m.onnx").write_bytes(graph(nodes, constants, ["batch", 5, 4]).SerializeToString())
    with pytest.raises(UnsupportedFileError, match=told):
        read(tmp_path / "m.onnx")
