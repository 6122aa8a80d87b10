"""Files that others export: PyTorch's models of `torch_models`, and files that Keras 3 and tf2onnx made.

Each is read and run on other lengths than it was exported with, against ONNX Runtime on the same file. `sweep.py` runs
all models through all exporters and opsets.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import ort
import pytest
import torch
import torch_models

import lstmcore as lc
from lstmcore.errors import SpecError, UnsupportedFileError
from lstmcore.interop.onnx import read, verify, write
from lstmcore.interop.onnx.verify import run

EXPORTED = sorted((Path(__file__).parents[1] / "data" / "exported").glob("*.onnx"))
# What each is refused for: there is no op for it, or it depends on a length that a user must give.
REFUSED = {
    "unsorted": "TopK, is not read",
    "words_argmax": "ArgMax, is not read",
    "words_max_pool": "give lengths={'time': N}",
}
# PyTorch itself does not export these this way.
NOT_EXPORTED = {"lstm_proj", "lstm_packed_hidden", "gru_packed_hidden"}
NAMES = [name for name in torch_models.MODELS if name not in NOT_EXPORTED]
# Lengths that PyTorch has written into the file as numbers, though it calls them open.
FIXED = {"multihead_attention", "lstm_cell_unrolled", "gru_cell_unrolled", "rnn_cell_unrolled", "own_cell_unrolled"}
OLD = ["lstm_2_layers", "lstm_last", "gru_last", "words_last_sigmoid", "layer_norm", "directions_apart"]


def exported(name: str, path: Path, opset: int = 17, opened: bool = True) -> torch_models.Example:
    """The model in a file, as `torch.onnx.export` writes it by TorchScript."""
    example = torch_models.example(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            example.module,
            tuple(example.inputs.values()),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=list(example.inputs),
            output_names=list(example.outputs),
            dynamic_axes={key: dict(value) for key, value in example.opened.items()} if opened else {},
        )
    return example


def other_inputs(path: Path, given: dict[str, Any], name: str) -> dict[str, Any]:
    """Inputs of other lengths where the file leaves them open."""
    rng = np.random.default_rng(1)
    sizes = {"batch": 5, "time": torch_models.T if name in FIXED else 9, "later": 3, "width": 22}
    found = {}
    for entry in ort.session(path).get_inputs():
        array = given[entry.name].numpy()
        shape = [sizes[n] if isinstance(n, str) else n for n in entry.shape]
        made = np.resize(array, shape)
        made = made + rng.normal(size=shape).astype(made.dtype) if made.dtype.kind == "f" else made
        found[entry.name] = np.sort(made)[::-1].copy() if entry.name == "lengths" else made
    return found


def compared(path: Path, inputs: dict[str, Any], model: Any) -> None:
    expected = ort.run(path, inputs)
    found = model.predict(inputs if len(inputs) > 1 else next(iter(inputs.values())))
    found = found if isinstance(found, list) else [found]
    assert len(found) == len(expected)
    for name, y in zip(model.output_names, found, strict=True):
        assert y.shape == expected[name].shape
        ort.agree(y, expected[name])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_a_model_of_pytorch(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    example = exported(name, path)
    model = read(path)
    compared(path, {key: value.numpy() for key, value in example.inputs.items()}, model)
    compared(path, other_inputs(path, example.inputs, name), model)


@pytest.mark.parametrize("opset", [9, 11])
@pytest.mark.parametrize("name", OLD)
def test_a_model_of_pytorch_in_an_older_opset(name: str, opset: int, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    example = exported(name, path, opset)
    compared(path, other_inputs(path, example.inputs, name), read(path))


@pytest.mark.parametrize("name", ["lstm_2_layers", "lstm_cell_unrolled", "crnn", "gathered_last", "length_mask"])
def test_a_model_of_pytorch_with_all_lengths_fixed(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    example = exported(name, path, opened=False)
    model = read(path)
    assert set(model.batch_axes.values()) == {None}  # type: ignore[attr-defined]  # a ProgramModel
    compared(path, {key: value.numpy() for key, value in example.inputs.items()}, model)


OPENED = [
    *("lstm_2_layers", "lstm_time_first", "lstm_states_given_2_both", "words_last_sigmoid", "crnn", "viewed"),
    *("folded_conv", "decoding", "length_mask", "conv_stride_average"),
]


@pytest.mark.parametrize("name", OPENED)
def test_the_samples_of_a_file_that_fixes_their_number(name: str, tmp_path: Path) -> None:
    """Against the same model, exported with them open."""
    path, fixed = tmp_path / "m.onnx", tmp_path / "fixed.onnx"
    torch.manual_seed(3)
    example = exported(name, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_models, "example", lambda _: example)
        exported(name, fixed, opened=False)
    axes = {key: next(k for k, n in value.items() if n == "batch") for key, value in example.opened.items()}
    one = set(axes.values())
    model = read(fixed, batch=one.pop() if len(one) == 1 else axes)
    assert None not in model.batch_axes.values()  # type: ignore[attr-defined]  # a ProgramModel
    given = {key: value.numpy() for key, value in example.inputs.items()}
    compared(path, given, model)
    compared(path, {k: np.concatenate([v, v[::-1] if k == "x" else v], axes[k]) for k, v in given.items()}, model)


@pytest.mark.parametrize("name", ["lstm_time_first", "words_both_ends", "lstm_states_given"])
def test_a_file_that_fixes_the_samples_judges_more(name: str, tmp_path: Path) -> None:
    """ONNX Runtime runs it on as many at a time as it takes."""
    path = tmp_path / "m.onnx"
    example = exported(name, path, opened=False)
    axes = {key: next(k for k, n in value.items() if n == "batch") for key, value in example.opened.items()}
    model = read(path, batch=axes)
    given = {key: value.numpy() for key, value in example.inputs.items()}
    wide = {key: np.concatenate([value, value[::-1]], axes[key]) for key, value in given.items()}
    outputs, _ = run(path, list(wide.values()))
    expected = lc.tree.leaves(model.predict(wide if len(wide) > 1 else next(iter(wide.values())), verbose=0))
    for y, ours in zip(outputs, expected, strict=True):
        ort.agree(ours, y)


def test_the_samples_are_where_they_were_though_another_axis_is_as_long(tmp_path: Path) -> None:
    """(3 steps, 3 samples, 4) to (3, 3, 2, 2)."""
    h = onnx.helper
    shape = h.make_tensor("to", onnx.TensorProto.INT64, [4], [3, 3, 2, 2])
    nodes = [h.make_node("Reshape", ["x", "to"], ["y"]), h.make_node("Transpose", ["y"], ["z"], perm=[3, 1, 2, 0])]
    ends = [h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, k) for n, k in (("x", [3, 3, 4]), ("z", [2, 3, 2, 3]))]
    graph = h.make_graph(nodes, "g", ends[:1], ends[1:], [shape])
    proto = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
    onnx.save(proto, tmp_path / "m.onnx")
    model = read(tmp_path / "m.onnx", batch=1)
    x = np.random.default_rng(2).normal(size=(3, 5, 4)).astype("float32")
    np.testing.assert_array_equal(model.predict(x), x.reshape(3, 5, 2, 2).transpose(3, 1, 2, 0))


@pytest.mark.parametrize("batch", [2, -1, True, 1.0, {"x": 0}, {"x": 0, "h": 0, "c": 1}, {"x": 0, "y": 1}], ids=repr)
def test_where_the_samples_cannot_be(batch: Any, tmp_path: Path) -> None:
    exported("lstm_states_given", tmp_path / "m.onnx", opened=False)
    with pytest.raises(SpecError, match="expected the axis of the samples"):
        read(tmp_path / "m.onnx", batch=batch)


TO_KERAS = [
    "lstm_time_first",
    "gru_2_both",
    "words_both_ends",
    "conv_front",
    "viewed",
    "two_heads",
    "directions_summed",
]


@pytest.mark.parametrize("name", TO_KERAS)
def test_a_model_of_pytorch_goes_to_keras(name: str, tmp_path: Path) -> None:
    example = exported(name, tmp_path / "m.onnx")
    model = read(tmp_path / "m.onnx")
    lc.export_model(model, tmp_path / "m.h5", batch_first=True)
    found = lc.import_model(tmp_path / "m.h5")
    (axis,) = {next(k for k, n in value.items() if n == "batch") for value in example.opened.values()}
    x = next(iter(example.inputs.values())).numpy()
    expected = lc.tree.leaves(model.predict(x, verbose=0))
    outputs = lc.tree.leaves(found.predict(np.moveaxis(x, axis, 0), verbose=0))
    for y, wanted, of in zip(outputs, expected, model.output_names, strict=True):
        ort.agree(y, np.moveaxis(wanted, model.batch_axes[of], 0))  # type: ignore[attr-defined]  # a ProgramModel


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_says_what_to_do(name: str, tmp_path: Path) -> None:
    exported(name, tmp_path / "m.onnx")
    with pytest.raises(UnsupportedFileError, match=REFUSED[name]):
        read(tmp_path / "m.onnx")


def test_what_it_says_helps(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    example = exported("words_max_pool", path)
    model = read(path, lengths={"time": torch_models.T})
    compared(path, {"x": example.inputs["x"].numpy()}, model)


def test_a_file_made_for_one_length_is_read_for_it(tmp_path: Path) -> None:
    exported("multihead_attention", tmp_path / "m.onnx")
    assert read(tmp_path / "m.onnx").input_shape == (None, torch_models.T, torch_models.D)


def test_sequences_without_a_batch(tmp_path: Path) -> None:
    exported("no_batch", tmp_path / "m.onnx")
    assert read(tmp_path / "m.onnx").batch_axes == {"x": None, "y": None}  # type: ignore[attr-defined]


def test_rows_of_all_samples(tmp_path: Path) -> None:
    """As language models have them: time goes into the batch, and stays there."""
    path = tmp_path / "m.onnx"
    example = exported("viewed", path)
    proto = onnx.load(path)
    rows = next(node for node in proto.graph.node if node.op_type == "Gemm").output[0]
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_tensor_value_info(rows, onnx.TensorProto.FLOAT, ["rows", 3]))
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedFileError, match=r"give lengths={'batch': N, 'time': N}"):
        read(path)
    model = read(path, lengths={"batch": torch_models.B, "time": torch_models.T})
    assert model.batch_axes == {"x": None, rows: None}  # type: ignore[attr-defined]  # a ProgramModel
    compared(path, {"x": example.inputs["x"].numpy()}, model)


AGAIN = ["gathered_last", "length_mask", "conv_pool_ceil", "words_masked_mean", "folded_conv", "gelu_glu", "positional"]


@pytest.mark.parametrize("name", [*AGAIN, *(path.stem for path in EXPORTED)])
def test_what_was_read_is_written_again(name: str, tmp_path: Path) -> None:
    """By its own metadata it comes back to the bit, which is proved by the graph."""
    if name in AGAIN:
        exported(name, tmp_path / "m.onnx")
    path = tmp_path / "m.onnx" if name in AGAIN else EXPORTED[0].with_name(f"{name}.onnx")
    model = read(path)
    write(model, tmp_path / "again.onnx")
    assert verify(tmp_path / "again.onnx").ok
    again = read(tmp_path / "again.onnx")
    assert again.to_json() == model.to_json()
    assert all(again.weights[key].tobytes() == array.tobytes() for key, array in model.weights.items())


@pytest.mark.parametrize("path", EXPORTED, ids=lambda path: path.stem)
def test_a_file_of_tensorflow(path: Path) -> None:
    """Keras 3 and tf2onnx: GRUs, masks and what runs backwards are Loops."""
    arrays = np.load(f"{path}__ort.npz")
    inputs = {name[3:]: arrays[name] for name in arrays if name.startswith("in|")}
    model = read(path)
    compared(path, inputs, model)
    found = dict(zip(model.output_names, [model.predict(next(iter(inputs.values())))], strict=True))
    for name, y in found.items():
        ort.agree(y, arrays[f"out|{name}"])


def _other_step(body: Any) -> None:
    """The loop's counter goes on by 2."""
    one = next(tensor for tensor in body.initializer if tensor.name.endswith("while/add/y:0"))
    one.CopyFrom(onnx.numpy_helper.from_array(np.int32(2), one.name))


def _other_entry(body: Any) -> None:
    """What is taken at each step is the entry of the step after it."""
    taken = next(node for node in body.node if node.op_type == "Gather")
    taken.input[1] = next(node for node in body.node if node.op_type == "Add" and taken.input[1] in node.input).output[
        0
    ]


@pytest.mark.parametrize(("change", "told"), [(_other_step, "does not count them"), (_other_entry, "in order")])
def test_a_loop_that_does_not_go_through_the_steps_is_refused(change: Any, told: str, tmp_path: Path) -> None:
    proto = onnx.load(EXPORTED[0].with_name("keras3_gru.onnx"))
    loop = next(node for node in proto.graph.node if node.op_type == "Loop")
    change(next(entry.g for entry in loop.attribute if entry.name == "body"))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedFileError, match=told):
        read(tmp_path / "m.onnx")


def test_they_are_there() -> None:
    assert len(EXPORTED) == 5
