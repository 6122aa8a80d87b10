"""Models to ONNX files and back: what is in the file, what it computes, and that the same model comes back."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import ort
import pytest
from lstmcore_conformance import graphs

import lstmcore as lc
from lstmcore import layers, ops
from lstmcore.errors import DamagedFileError, ExportError, FileError, ForeignFileError, SpecError, UnsupportedFileError
from lstmcore.interop.onnx import read, verify, write
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Input,
    LayerNormalization,
    LSTMCell,
    MaxPooling1D,
    SimpleRNN,
    TimeDistributed,
)
from lstmcore.models import Model, Sequential
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Builder

NAMESPACE = graphs.Namespace(layers, Input, Model, Sequential)
WORDS = Input((None,), dtype="int32")

CHAINS: dict[str, Callable[[], list[Any]]] = {
    "lstm": lambda: [Input((None, 3)), LSTM(4)],
    "stack": lambda: [
        Input((None, 3)),
        LSTM(4, return_sequences=True),
        Dropout(0.5),
        GRU(5, reset_after=False),
        Dense(2, activation="softmax"),
    ],
    "no_bias": lambda: [Input((None, 3)), GRU(4, use_bias=False, return_sequences=True), SimpleRNN(3)],
    "both_ways": lambda: [
        Input((7, 3)),
        Bidirectional(LSTM(4, return_sequences=True)),
        Bidirectional(GRU(3)),
        Dense(1),
    ],
    "masked": lambda: [Input((None,), dtype="int32"), Embedding(11, 4, mask_zero=True), GRU(5), Dense(2)],
    "masked_both_ways": lambda: [
        Input((None,), dtype="int32"),
        Embedding(11, 4, mask_zero=True),
        Bidirectional(GRU(3, return_sequences=True)),
        LSTM(5),
    ],
    "convolutional": lambda: [
        Input((None, 3)),
        Conv1D(4, 3, padding="same", strides=2, activation="relu"),
        MaxPooling1D(2),
        LSTM(4, recurrent_activation="hard_sigmoid"),
    ],
    "stateful": lambda: [Input(batch_shape=(2, 5, 3)), GRU(4, stateful=True, return_sequences=True), Dense(2)],
    "cells": lambda: [Input((None, 3)), RNN([LSTMCell(3), GRUCell(2)]), Dense(2)],
    "softmax_gates": lambda: [Input((None, 3)), LSTM(4, activation="softmax", go_backwards=True)],
    "double": lambda: [
        Input((None, 3)),
        GRU(4, dtype="float64"),
        BatchNormalization(dtype="float64"),
        Dense(2, activation="softplus", dtype="float64"),
    ],
    "each_step": lambda: [Input((None, 5, 3)), TimeDistributed(LSTM(4)), LayerNormalization(), LSTM(2)],
}


def model(name: str) -> Any:
    lc.set_random_seed(7)
    return Sequential(CHAINS[name]()) if name in CHAINS else graphs.GRAPHS[name](NAMESPACE)


def nodes(path: Path) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("name", [*CHAINS, *graphs.GRAPHS])
def test_a_model_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    given, path = model(name), tmp_path / "m.onnx"
    write(given, path)
    assert verify(path).ok
    found = read(path)
    assert type(found) is type(given)
    assert found.to_json() == given.to_json()
    assert list(found.weights) == list(given.weights)
    for weight, array in given.weights.items():
        assert found.weights[weight].tobytes() == array.tobytes(), weight


@pytest.mark.parametrize("name", [*CHAINS, *graphs.GRAPHS])
def test_a_stream_comes_back(name: str, tmp_path: Path) -> None:
    given, path = model(name), tmp_path / "m.onnx"
    try:
        given.streaming_program(2 if name == "stateful" else 1)
    except SpecError:
        with pytest.raises(SpecError):
            write(given, path, streaming=True)
        assert not path.exists()
        return
    write(given, path, streaming=True)
    assert verify(path).ok
    found = read(path)
    assert found.to_json() == given.to_json()
    assert all(found.weights[w].tobytes() == a.tobytes() for w, a in given.weights.items())


def inputs_of(path: Path) -> dict[str, Any]:
    """Inputs of three samples and six steps, some of them masked: the first, all, and between others."""
    rng = np.random.default_rng(2)
    found: dict[str, Any] = {}
    for entry in ort.session(path).get_inputs():
        shape = [n if isinstance(n, int) else 3 if n == "batch" else 6 for n in entry.shape]
        if "bool" in entry.type:
            array = rng.integers(0, 2, shape).astype(bool)
        elif "int" in entry.type:
            array = rng.integers(1, 5, shape).astype("int32")
        else:
            array = rng.normal(size=shape).astype("float64" if "double" in entry.type else "float32")
        if array.ndim in (2, 3) and array.shape[1] > 4 and array.dtype != bool:
            array[0, :1] = array[0, -2:] = array[1, 2:4] = array[-1] = 0
        found[entry.name] = array
    return found


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", [*CHAINS, *graphs.GRAPHS])
def test_a_file_without_its_metadata_is_read_node_by_node(name: str, streaming: bool, tmp_path: Path) -> None:
    """As after another tool has gone over it: the numbers are the same, from the graph alone."""
    given, path = model(name), tmp_path / "m.onnx"
    try:
        write(given, path, streaming=streaming)
    except SpecError:
        assert streaming  # what cannot stream
        return
    path = altered(path, lambda proto: proto.ClearField("metadata_props"))
    inputs = inputs_of(path)
    found = read(path)
    assert isinstance(found, ProgramModel)
    made = found.predict(inputs if len(inputs) > 1 else next(iter(inputs.values())))
    expected = ort.run(path, inputs)
    for output, y in zip(found.output_names, made if isinstance(made, list) else [made], strict=True):
        assert y.shape == expected[output].shape
        ort.agree(y, expected[output])


def _other_default(proto: Any) -> None:
    """The steps that do not count become 1 where they were 0."""
    chosen = next(node for node in proto.graph.node if node.op_type == "Where" and "Unsqueeze" in node.input[0])
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "other_default"))
    chosen.input[2] = "other_default"


def test_a_mask_whose_default_was_changed_is_read_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(model("masked_both_ways"), path)
    path = altered(path, lambda proto: (proto.ClearField("metadata_props"), _other_default(proto)))
    inputs = inputs_of(path)
    ort.agree(np.asarray(read(path).predict(next(iter(inputs.values())))), next(iter(ort.run(path, inputs).values())))


def _leak(proto: Any) -> None:
    """What a recurrent node makes of the steps moved together leaves the graph as it is."""
    node = next(node for node in proto.graph.node if node.op_type == "GRU")
    proto.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None))


def test_steps_that_were_moved_and_are_seen_are_refused(tmp_path: Path) -> None:
    """The reader's recurrence does not move them, so it must not give them out."""
    path = tmp_path / "m.onnx"
    write(model("masked_both_ways"), path)
    path = altered(path, lambda proto: (proto.ClearField("metadata_props"), _leak(proto)))
    with pytest.raises(UnsupportedFileError):
        read(path)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    """As a model beyond 2 GiB has them; ONNX's checker and Runtime find them by the model's path."""
    given, path = _large(), tmp_path / "m.onnx"
    write(given, path, largest=100_000)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert path.stat().st_size < 20_000
    onnx.checker.check_model(str(path), full_check=True)
    assert verify(path).ok
    found = read(path)
    assert type(found) is Sequential
    assert all(found.weights[name].tobytes() == array.tobytes() for name, array in given.weights.items())
    told = {
        e.key: e.value for t in onnx.load(path, load_external_data=False).graph.initializer for e in t.external_data
    }
    assert told["location"] == "m.onnx.data"
    (tmp_path / "m.onnx.data").write_bytes((tmp_path / "m.onnx.data").read_bytes()[:-8])
    with pytest.raises(DamagedFileError, match=r"beyond the end of 'm\.onnx\.data'"):
        read(path)


def test_weights_beside_the_model_that_were_altered_are_found(tmp_path: Path) -> None:
    write(_large(), tmp_path / "m.onnx", largest=100_000)
    data = bytearray((tmp_path / "m.onnx.data").read_bytes())
    tensor = next(
        t
        for t in onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer
        if t.external_data and "recurrent" in t.name
    )
    start = next(int(entry.value) for entry in tensor.external_data if entry.key == "offset")
    data[start : start + 4] = np.float32(2).tobytes()
    (tmp_path / "m.onnx.data").write_bytes(data)
    with pytest.raises(DamagedFileError, match="does not compute what it did"):
        read(tmp_path / "m.onnx")


def test_what_was_there_stays_where_weights_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"old")
    (tmp_path / "m.onnx.data").mkdir()
    with pytest.raises(FileError, match="a directory"):
        write(_large(), tmp_path / "m.onnx", largest=100_000)
    assert (tmp_path / "m.onnx").read_bytes() == b"old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def test_a_masked_gru_is_one_node(tmp_path: Path) -> None:
    """With `sequence_lens`, batch and time open: Keras exports a Loop, or a node for each step."""
    given, path = model("masked"), tmp_path / "m.onnx"
    write(given, path)
    count = nodes(path)
    assert count["GRU"] == 1 and not count["Loop"] and not count["Scan"]
    (gru,) = (node for node in onnx.load(path).graph.node if node.op_type == "GRU")
    assert gru.input[4]
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [bool(dim.dim_param) for dim in shape] == [True, True]
    for batch, steps in ((1, 1), (3, 4), (5, 17)):
        ids = np.random.default_rng(steps).integers(0, 11, (batch, steps)).astype("int32")
        ids[0, :] = 0  # a row in which no step counts
        expected = given.predict(ids)
        ort.agree(next(iter(ort.run(path, {"input_layer": ids}).values())), expected)


def test_both_directions_are_one_node(tmp_path: Path) -> None:
    write(model("both_ways"), tmp_path / "m.onnx")
    count = nodes(tmp_path / "m.onnx")
    assert (count["LSTM"], count["GRU"], count["RNN"]) == (1, 1, 0)


def test_a_custom_cell_is_a_scan(tmp_path: Path) -> None:
    write(model("cells"), tmp_path / "m.onnx")
    assert nodes(tmp_path / "m.onnx")["Scan"] == 1


@pytest.mark.parametrize("name", ["lstm", "masked", "cells", "each_step"])
@pytest.mark.parametrize("pieces", [[1] * 6, [2, 4], [5, 1]], ids=str)
def test_a_stream_in_pieces_gives_the_whole(name: str, pieces: list[int], tmp_path: Path) -> None:
    given, path = model(name), tmp_path / "m.onnx"
    write(given, path, streaming=True)
    entry = given.program.values[given.program.inputs[0]]
    shape = (3, 6, *(5 if n is None else n for n in entry.shape[2:]))
    rng = np.random.default_rng(1)
    x = rng.integers(0, 11, shape).astype("int32") if entry.kind == "int" else rng.normal(size=shape).astype("float32")
    run = ort.session(path)
    states = {e.name: e for e in run.get_inputs() if e.name != "input_layer"}
    carried = {state: np.zeros((3, *e.shape[1:]), "float32") for state, e in states.items()}
    names = [e.name for e in run.get_outputs()]
    assert set(names[1:]) == {f"{state}/next" for state in states} and states
    done = 0
    for steps in pieces:
        made = dict(zip(names, run.run(names, {"input_layer": x[:, done : done + steps], **carried}), strict=True))
        carried = {state: made[f"{state}/next"] for state in states}
        done += steps
    ort.agree(made[names[0]], given.predict(x))


def test_stateful_layers_have_their_states_as_inputs_and_outputs(tmp_path: Path) -> None:
    given, path = model("stateful"), tmp_path / "m.onnx"
    write(given, path)
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    first = ort.run(path, {"input_layer": x, "gru/h": np.zeros((2, 4), "float32")})
    second = ort.run(path, {"input_layer": x, "gru/h": first["gru/h/next"]})
    ort.agree(first["dense"], given.predict(x))
    ort.agree(second["dense"], given.predict(x))


def altered(path: Path, change: Callable[[Any], None]) -> Path:
    proto = onnx.load(path)
    change(proto)
    changed = path.with_name("changed.onnx")
    changed.write_bytes(proto.SerializeToString())
    return changed


def _other_weight(proto: Any) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == "lstm/kernel")
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[3] += 0.01
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def test_an_altered_weight_is_found(tmp_path: Path) -> None:
    write(model("lstm"), tmp_path / "m.onnx")
    changed = altered(tmp_path / "m.onnx", _other_weight)
    assert not verify(changed).ok
    with pytest.raises(DamagedFileError, match="does not compute what it did"):
        read(changed)


def test_a_graph_that_is_not_that_of_its_description_is_read_itself(tmp_path: Path) -> None:
    """As where another tool changed it: the description is not believed."""
    given, path = model("lstm"), tmp_path / "m.onnx"
    write(given, path)

    def change(proto: Any) -> None:
        proto.graph.node.append(onnx.helper.make_node("Neg", [proto.graph.output[0].name], ["minus"]))
        proto.graph.output[0].name = "minus"

    found = read(altered(path, change))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    ort.agree(found.predict(x), -given.predict(x))


def test_a_file_without_vectors_cannot_be_verified(tmp_path: Path) -> None:
    write(model("lstm"), tmp_path / "m.onnx")
    with pytest.raises(ForeignFileError, match="no test vectors"):
        verify(altered(tmp_path / "m.onnx", lambda proto: proto.ClearField("metadata_props")))


def test_vectors_that_cannot_be_read_are_a_damaged_file(tmp_path: Path) -> None:
    write(model("lstm"), tmp_path / "m.onnx")

    def change(proto: Any) -> None:
        entry = next(e for e in proto.metadata_props if e.key == "lstmcore.vectors")
        entry.value = entry.value[:-30]

    with pytest.raises(DamagedFileError, match="vectors"):
        verify(altered(tmp_path / "m.onnx", change))


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(model("masked_both_ways"), tmp_path / f"{name}.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_order_in_which_layers_were_made_does_not_matter(tmp_path: Path) -> None:
    """The description may list them in another, and its graph must be the same."""
    x = Input(batch_shape=(2, 5, 3), name="x")
    later, earlier = GRU(2, stateful=True, name="z"), LSTM(2, stateful=True, name="a")
    z = later(x)
    given = Model(x, layers.Concatenate()([earlier(x), z]))
    write(given, tmp_path / "m.onnx")
    assert read(tmp_path / "m.onnx").to_json() == given.to_json()


def test_a_batch_size_is_for_streams(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="streaming"):
        write(model("lstm"), tmp_path / "m.onnx", batch_size=2)


def test_a_name_that_is_an_input_and_an_output(tmp_path: Path) -> None:
    x = Input((3,), name="same")
    given = Model(x, Dense(2, name="same_1")(x))
    write(given, tmp_path / "m.onnx")
    assert verify(tmp_path / "m.onnx").ok


def _large() -> Any:
    lc.set_random_seed(3)
    return Sequential([Input((None,), dtype="int32"), Embedding(400, 64), Bidirectional(LSTM(72)), Dense(3)])


def test_large_weights_come_back_to_the_bit_with_and_without_metadata(tmp_path: Path) -> None:
    given, path = _large(), tmp_path / "m.onnx"
    write(given, path)
    found = read(path)
    assert type(found) is Sequential and all(
        found.weights[w].tobytes() == a.tobytes() for w, a in given.weights.items()
    )
    ids = np.arange(12, dtype="int32").reshape(2, 6) * 30
    found = read(altered(path, lambda proto: proto.ClearField("metadata_props")))
    assert isinstance(found, ProgramModel)
    ort.agree(np.asarray(found.predict(ids)), given.predict(ids))


@pytest.mark.parametrize("port", ["kernel", "bias"])
def test_another_number_in_a_large_constant_is_found(port: str, tmp_path: Path) -> None:
    """In the second half of a bias, which is zero in what is written here, too."""
    path = tmp_path / "m.onnx"
    write(_large(), path)

    def change(proto: Any) -> None:
        (tensor,) = (
            t
            for t in proto.graph.initializer
            if t.name.endswith(port) and "bidirectional" in t.name and "recurrent" not in t.name
        )
        array = np.array(onnx.numpy_helper.to_array(tensor))
        array[..., -5] += 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))

    file = altered(path, change)
    if port == "kernel":
        with pytest.raises(DamagedFileError, match="does not compute"):
            read(file)
    else:
        assert isinstance(read(file), ProgramModel)


@pytest.mark.parametrize("axes", [{"x": 1, "y": 2}, {"x": None, "y": None}], ids=str)
def test_data_keep_their_shapes(axes: dict[str, int | None], tmp_path: Path) -> None:
    """Where the batch is not first, or there is none."""
    build = Builder()
    (y,) = build.op(ops.Affine(4, use_bias=False), build.input("x", (None, 5, 3)), weights={"kernel": "w"})
    weights = {"w": np.random.default_rng(2).normal(size=(3, 4)).astype("float32")}
    given = ProgramModel(build.finish([y.name]), weights, output_names=["y"], batch_axes=axes)
    path = tmp_path / "m.onnx"
    write(given, path)
    shapes = [
        [d.dim_value for d in e.type.tensor_type.shape.dim]
        for g in [onnx.load(path).graph]
        for e in (*g.input, *g.output)
    ]
    assert shapes == ([[5, 0, 3], [5, 4, 0]] if axes["x"] else [[5, 3], [5, 4]])
    x = np.random.default_rng(1).normal(size=(5, 2, 3) if axes["x"] else (5, 3)).astype("float32")
    ort.agree(ort.run(path, {"x": x})["y"], given.predict(x))
    assert verify(path).ok
    assert read(path).to_json() == given.to_json()
    found = read(altered(path, lambda proto: proto.ClearField("metadata_props")))
    ort.agree(np.asarray(found.predict(x)), given.predict(x))
