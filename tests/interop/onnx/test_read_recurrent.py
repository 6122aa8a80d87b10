"""LSTM, GRU and RNN nodes with every attribute, read and run, against ONNX Runtime on the same file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import ort
import pytest

from lstmcore.errors import UnsupportedFileError
from lstmcore.interop.onnx import read
from lstmcore.ops import Recurrent, Scan

T, B, F, H = 6, 3, 2, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
COUNT = {"LSTM": 3, "GRU": 2, "RNN": 1}
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


def numbers(kind: str, directions: int, given: tuple[str, ...]) -> dict[str, Any]:
    """Numbers for all inputs that are wanted; every gate and direction different."""
    rng = np.random.default_rng(5)
    gates = GATES[kind]
    shapes = {
        "X": (T, B, F),
        "W": (directions, gates * H, F),
        "R": (directions, gates * H, H),
        "B": (directions, 2 * gates * H),
        "initial_h": (directions, B, H),
        "initial_c": (directions, B, H),
        "P": (directions, 3 * H),
    }
    found = {
        name: rng.uniform(-1, 1, shapes[name]).astype("float32") for name in shapes if name in ("X", "W", "R", *given)
    }
    if "sequence_lens" in given:
        found["sequence_lens"] = np.array([4, T, 1], "int32")
    return found


def saved(path: Path, kind: str, given: tuple[str, ...], opened: bool = True, **attributes: Any) -> dict[str, Any]:
    """Writes a file of one such node; the numbers for its inputs. Weights are in the file."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    values = numbers(kind, directions, given)
    constants = {"W", "R", "B", "P"} & set(values)
    helper, types = onnx.helper, onnx.TensorProto
    time, batch = ("time", "batch") if opened else (T, B)
    sizes = {"X": [time, batch, F], "sequence_lens": [batch]}
    sizes |= {state: [directions, batch, H] for state in ("initial_h", "initial_c")}
    inputs = [
        helper.make_tensor_value_info(name, types.INT32 if name == "sequence_lens" else types.FLOAT, sizes[name])
        for name in values
        if name not in constants
    ]
    names = [name if name in values else "" for name in INPUTS[: 8 if kind == "LSTM" else 6]]
    while not names[-1]:
        names.pop()
    made = ["Y", "Y_h", *(["Y_c"] if kind == "LSTM" else [])]
    outputs = [helper.make_tensor_value_info("Y", types.FLOAT, [time, directions, batch, H])]
    outputs += [helper.make_tensor_value_info(name, types.FLOAT, [directions, batch, H]) for name in made[1:]]
    node = helper.make_node(kind, names, made, name="it", hidden_size=H, **attributes)
    arrays = [onnx.numpy_helper.from_array(values[name], name) for name in sorted(constants)]
    path.write_bytes(ort.wrapped(helper.make_graph([node], "g", inputs, outputs, arrays)).SerializeToString())
    return {name: array for name, array in values.items() if name not in constants}


def compared(path: Path, inputs: dict[str, Any]) -> Any:
    """The model read, after it agreed with ONNX Runtime."""
    expected = ort.run(path, inputs)
    model = read(path)
    found = model.predict(inputs if len(inputs) > 1 else next(iter(inputs.values())))
    for name, y in zip(model.output_names, found, strict=True):
        ort.agree(y, expected[name])
    return model


def ops_of(model: Any) -> set[type]:
    return {type(node.op) for node in model.program.nodes}


@pytest.mark.parametrize("opened", [True, False], ids=["open", "fixed"])
@pytest.mark.parametrize("given", [(), ("B",), ("B", "initial_h", "initial_c"), ("B", "sequence_lens")], ids=str)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_directions_states_and_lengths(
    kind: str, direction: str, given: tuple[str, ...], opened: bool, tmp_path: Path
) -> None:
    given = tuple(name for name in given if name != "initial_c" or kind == "LSTM")
    inputs = saved(tmp_path / "m.onnx", kind, given, opened, direction=direction)
    model = compared(tmp_path / "m.onnx", inputs)
    assert any(issubclass(op, Recurrent) for op in ops_of(model))


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("given", [(), ("B", "initial_h")], ids=str)
def test_linear_before_reset(before: int, given: tuple[str, ...], tmp_path: Path) -> None:
    inputs = saved(tmp_path / "m.onnx", "GRU", given, linear_before_reset=before)
    model = compared(tmp_path / "m.onnx", inputs)
    (gru,) = (node.op for node in model.program.nodes if isinstance(node.op, Recurrent))
    assert gru.reset_after is bool(before)


FUNCTIONS = {
    "relu": {"activations": ["Relu"]},
    "hard_0_2": {"activations": ["HardSigmoid"], "activation_alpha": [0.2], "activation_beta": [0.5]},
    "hard_other": {"activations": ["HardSigmoid"], "activation_alpha": [0.3], "activation_beta": [0.4]},
    "leaky": {"activations": ["LeakyRelu"], "activation_alpha": [0.05]},
    "elu": {"activations": ["Elu"], "activation_alpha": [0.5]},
    "softsign": {"activations": ["Softsign"]},
    "softplus": {"activations": ["Softplus"]},
    "affine": {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.1]},
    "scaled": {"activations": ["ScaledTanh"], "activation_alpha": [0.7], "activation_beta": [0.6]},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_their_numbers(name: str, tmp_path: Path) -> None:
    compared(tmp_path / "m.onnx", saved(tmp_path / "m.onnx", "RNN", ("B",), **FUNCTIONS[name]))


def test_numbers_go_to_the_functions_that_take_them_in_order(tmp_path: Path) -> None:
    inputs = saved(
        tmp_path / "m.onnx",
        "LSTM",
        ("B",),
        direction="bidirectional",
        activations=["HardSigmoid", "Tanh", "LeakyRelu", "Sigmoid", "LeakyRelu", "Tanh"],
        activation_alpha=[0.25, 0.3, 0.1],
        activation_beta=[0.4],
    )
    assert Scan in ops_of(compared(tmp_path / "m.onnx", inputs))


@pytest.mark.parametrize(("kind", "clip"), [("LSTM", 1.2), ("GRU", 0.3), ("RNN", 0.3)])
def test_clip(kind: str, clip: float, tmp_path: Path) -> None:
    """The cell of the LSTM stays below its clip: ONNX bounds it before the last function too, its Runtime does not."""
    inputs = saved(tmp_path / "m.onnx", kind, ("B",), clip=clip)
    model = compared(tmp_path / "m.onnx", inputs)
    assert Scan in ops_of(model)
    unclipped = ort.run(bytes_without(tmp_path / "m.onnx", "clip"), inputs)["Y"]
    assert np.abs(model.predict(inputs["X"])[0] - unclipped).max() > 0.001


def bytes_without(path: Path, attribute: str) -> bytes:
    proto = onnx.load(path)
    kept = [entry for entry in proto.graph.node[0].attribute if entry.name != attribute]
    del proto.graph.node[0].attribute[:]
    proto.graph.node[0].attribute.extend(kept)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("given", [("B", "P"), ("P", "initial_h", "initial_c"), ("B", "P", "sequence_lens")], ids=str)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_peepholes(direction: str, given: tuple[str, ...], tmp_path: Path) -> None:
    inputs = saved(tmp_path / "m.onnx", "LSTM", given, direction=direction)
    assert Scan in ops_of(compared(tmp_path / "m.onnx", inputs))


def test_input_forget(tmp_path: Path) -> None:
    inputs = saved(tmp_path / "m.onnx", "LSTM", ("B",), input_forget=1)
    assert Scan in ops_of(compared(tmp_path / "m.onnx", inputs))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_layout_1_is_layout_0_with_the_batch_first(kind: str, tmp_path: Path) -> None:
    """ONNX Runtime refuses layout=1, so the other layout is the judge."""
    inputs = saved(tmp_path / "m.onnx", kind, ("B",), direction="bidirectional")
    expected = ort.run(tmp_path / "m.onnx", inputs)
    proto = onnx.load(tmp_path / "m.onnx")
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("layout", 1))
    for entry, order in ((proto.graph.input[0], (1, 0, 2)), *((o, (2, 0, 1, 3)) for o in proto.graph.output[:1])):
        dims = [
            entry.type.tensor_type.shape.dim[k].dim_param or entry.type.tensor_type.shape.dim[k].dim_value
            for k in order
        ]
        entry.CopyFrom(onnx.helper.make_tensor_value_info(entry.name, onnx.TensorProto.FLOAT, dims))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    y, h, *_ = read(tmp_path / "m.onnx").predict(inputs["X"].transpose(1, 0, 2))
    ort.agree(y, expected["Y"].transpose(2, 0, 1, 3))
    ort.agree(h, expected["Y_h"].transpose(1, 0, 2))


@pytest.mark.parametrize("given", [("B",), ("B", "initial_h", "initial_c", "P")], ids=str)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_layout_1_against_the_reference_of_onnx(
    kind: str, direction: str, given: tuple[str, ...], tmp_path: Path
) -> None:
    """With its states, which have the batch first in that layout."""
    from onnx.reference import ReferenceEvaluator

    given = tuple(name for name in given if kind == "LSTM" or name not in ("initial_c", "P"))
    inputs = saved(tmp_path / "m.onnx", kind, given, direction=direction)
    proto = onnx.load(tmp_path / "m.onnx")
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("layout", 1))
    for entry in (*proto.graph.input, *proto.graph.output):
        dims = entry.type.tensor_type.shape.dim
        order = (2, 0, 1, 3) if len(dims) == 4 else (1, 0, 2)
        lengths = [dims[k].dim_param or dims[k].dim_value for k in order]
        entry.CopyFrom(onnx.helper.make_tensor_value_info(entry.name, onnx.TensorProto.FLOAT, lengths))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    inputs = {name: np.ascontiguousarray(array.transpose(1, 0, 2)) for name, array in inputs.items()}
    expected = ReferenceEvaluator(proto).run(None, inputs)
    model = read(tmp_path / "m.onnx")
    found = model.predict(inputs if len(inputs) > 1 else inputs["X"])
    for y, reference in zip(found, expected, strict=True):
        ort.agree(y, reference)


def node_cases() -> list[Any]:
    """ONNX's own tests of these nodes, with the outputs that they must have."""
    import onnx.backend.test.case.node as suite

    for name in ("lstm", "gru", "rnn"):
        importlib.import_module(f"{suite.__name__}.{name}")
    return [case for case in suite._NodeTestCases if case.model.graph.node[0].op_type in GATES]


NODE_CASES = {case.name: case for case in node_cases()}


def test_the_cases_of_onnx_are_there() -> None:
    assert len(NODE_CASES) == 18


@pytest.mark.parametrize("name", NODE_CASES)
def test_a_case_of_onnx(name: str, tmp_path: Path) -> None:
    """Its weights, which are inputs there, are in the file here: as inputs they are refused by name."""
    case, path = NODE_CASES[name], tmp_path / "m.onnx"
    path.write_bytes(case.model.SerializeToString())
    with pytest.raises(UnsupportedFileError, match="its kernel, 'W', is no weight in the file"):
        read(path)
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    ((arrays, expected),) = case.data_sets
    given = dict(zip((entry.name for entry in proto.graph.input), arrays, strict=True))
    inside = {key: value for key, value in given.items() if key not in ("X", "initial_h", "initial_c")}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, key) for key, value in inside.items())
    kept = [entry for entry in proto.graph.input if entry.name not in inside]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    path.write_bytes(proto.SerializeToString())
    rest = {key: value for key, value in given.items() if key not in inside}
    found = read(path).predict(rest if len(rest) > 1 else given["X"])
    for y, reference in zip(found if isinstance(found, list) else [found], expected, strict=True):
        assert y.shape == reference.shape
        ort.agree(y, reference)


def test_a_model_that_was_read_streams(tmp_path: Path) -> None:
    inputs = saved(tmp_path / "m.onnx", "LSTM", ("B",))
    proto = onnx.load(tmp_path / "m.onnx")
    helper, types = onnx.helper, onnx.TensorProto
    graph = proto.graph
    graph.node.insert(0, helper.make_node("Transpose", ["x"], ["X"], perm=[1, 0, 2]))
    graph.input[0].CopyFrom(helper.make_tensor_value_info("x", types.FLOAT, ["batch", "time", F]))
    graph.node.append(helper.make_node("Squeeze", ["Y", "axis"], ["flat"]))
    graph.node.append(helper.make_node("Transpose", ["flat"], ["y"], perm=[1, 0, 2]))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], "int64"), "axis"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("y", types.FLOAT, ["batch", "time", H]))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = read(tmp_path / "m.onnx")
    x = inputs["X"].transpose(1, 0, 2)
    expected = model.predict(x)
    stream = model.stream(batch_size=B)
    ort.agree(np.stack([stream.push(x[:, t]) for t in range(T)], 1), expected)
    model.save(tmp_path / "m.safetensors")
    import lstmcore as lc

    np.testing.assert_array_equal(lc.load_model(tmp_path / "m.safetensors").predict(x), expected)
    assert lc.compare(model, x, ["numpy"]).ok


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"activations": ["Swish"]}, "'Swish' is not known"),
        ({"activation_alpha": [0.5]}, "more numbers"),
        ({"strange": 1}, "'strange' is not known"),
    ],
)
def test_what_is_not_read_is_named(attributes: dict[str, Any], told: str, tmp_path: Path) -> None:
    saved(tmp_path / "m.onnx", "RNN", ("B",))
    proto = onnx.load(tmp_path / "m.onnx")
    proto.graph.node[0].attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attributes.items())
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedFileError, match=told):
        read(tmp_path / "m.onnx")
