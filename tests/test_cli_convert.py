"""lstmcore convert, compare of files and inspect of foreign files: what they print and write, and their exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from onnx import numpy_helper

import lstmcore as lc
from lstmcore.cli import cli
from lstmcore.errors import DamagedFileError
from lstmcore.hookspecs import Format, Judge
from lstmcore.interop import formats
from lstmcore.layers import LSTM, Bidirectional, Input
from lstmcore.models import Sequential, load_model
from lstmcore.models.base import BaseModel
from lstmcore.random import Stream

Array = NDArray[Any]


def lstmcore(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def refused(result: Result, status: int, *words: str) -> None:
    """One clear line, no traceback."""
    assert result.exit_code == status, result.output
    assert "Error: " in result.stderr and "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def keras_2(path: Path) -> Path:
    """A file as Keras 2.2 wrote it: an LSTM with its hard_sigmoid, and a Dense."""
    config = [
        {
            "class_name": "LSTM",
            "config": {
                "name": "lstm_1",
                "units": 4,
                "batch_input_shape": [None, None, 3],
                "recurrent_activation": "hard_sigmoid",
                "return_sequences": False,
            },
        },
        {"class_name": "Dense", "config": {"name": "dense_1", "units": 2, "activation": "linear"}},
    ]
    shapes = {
        "lstm_1": {"kernel:0": (3, 16), "recurrent_kernel:0": (4, 16), "bias:0": (16,)},
        "dense_1": {"kernel:0": (4, 2), "bias:0": (2,)},
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.2.4"
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config}).encode()
        root = file.create_group("model_weights")
        root.attrs["keras_version"] = b"2.2.4"
        root.attrs["layer_names"] = [name.encode() for name in shapes]
        for layer, weights in shapes.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}".encode() for name in weights]
            for name, shape in weights.items():
                array = (0.7 * Stream(6).child(layer, name).normal(shape)).astype(np.float32)
                group.create_dataset(f"{layer}/{name}", data=array)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keras_2(tmp_path / "m.h5")
    return tmp_path


def there(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def swapped(path: Path, layer: str) -> Path:
    """The ONNX file with the gates i and o of a layer swapped, and no sign of who wrote it."""
    graph = onnx.load(path)
    del graph.metadata_props[:]
    for tensor in graph.graph.initializer:
        if tensor.name.startswith(f"{layer}/"):
            array = numpy_helper.to_array(tensor)
            units = array.shape[1] // (8 if tensor.name.endswith("bias") else 4)
            blocks = array.reshape(array.shape[0], -1, 4, units, *array.shape[2:])[:, :, [1, 0, 2, 3]]
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(blocks.reshape(array.shape)), tensor.name))
    onnx.save(graph, path)
    return path


# convert


def test_convert_writes_and_proves(folder: Path) -> None:
    result = lstmcore("convert", folder / "m.h5", folder / "m.onnx")
    assert result.exit_code == 0, result.output
    assert "m.onnx on" not in result.stdout and "ONNX Runtime" in result.stdout and ", proved" in result.stdout
    assert all(word in result.stdout for word in ("lstm_1", "dense_1", "same to the bit"))
    assert there(folder) == {"m.h5", "m.onnx"}
    x = Stream(1).normal((3, 5, 3)).astype(np.float32)
    again = lc.import_model(folder / "m.onnx").predict(x)
    assert np.array_equal(again, lc.import_model(folder / "m.h5").predict(x))


def test_convert_says_it_in_json(folder: Path) -> None:
    facts = json.loads(lstmcore("convert", folder / "m.h5", folder / "m.onnx", "--json").stdout)
    assert facts["written"] and facts["params"] == 138 and facts["proof"]["ok"] and facts["proof"]["proved"]
    assert [row["engine"] for row in facts["proof"]["rows"]][:2] == ["lstmcore", "ONNX Runtime"]
    assert [row["name"] for row in facts["proof"]["layers"]] == ["lstm_1", "dense_1"]


def test_convert_to_our_own_file_and_on(folder: Path) -> None:
    assert lstmcore("convert", folder / "m.h5", folder / "m.safetensors").exit_code == 0
    assert lstmcore("convert", folder / "m.safetensors", folder / "m.onnx").exit_code == 0
    first, second = lc.import_model(folder / "m.h5"), load_model(folder / "m.safetensors")
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


@pytest.fixture
def wrong_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that swaps two gates."""

    def write(model: BaseModel, path: Path) -> None:
        lc.export_model(model, path.with_suffix(".onnx"), format="onnx")
        os.rename(swapped(path.with_suffix(".onnx"), "lstm_1"), path)

    monkeypatch.setitem(globals(), "write_wrongly", write)
    row = Format(
        "wrong", (".wrong",), (), reads="lstmcore.interop.formats:read_onnx", writes=f"{__name__}:write_wrongly"
    )
    monkeypatch.setattr(formats, "FORMATS", (row, *formats.FORMATS))
    monkeypatch.setattr(
        formats, "JUDGES", (*formats.JUDGES, Judge("wrong", "Engine", "lstmcore.interop.onnx.verify:run"))
    )


@pytest.mark.parametrize("before", [b"what was there", None])
def test_convert_leaves_out_alone_where_the_proof_fails(folder: Path, wrong_onnx: None, before: bytes | None) -> None:
    out = folder / "m.wrong"
    if before is not None:
        out.write_bytes(before)
    result = lstmcore("convert", folder / "m.h5", out, "--to", "wrong")
    refused(result, 1, "m.wrong was not written", "--no-verify")
    assert "first differs in layer lstm_1: matches if gates i and o are swapped" in result.stdout
    assert "DIFFERS" in result.stdout and "proved" not in result.stdout
    assert (out.read_bytes() if before is not None else None) == before
    assert there(folder) == {"m.h5"} | ({"m.wrong"} if before else set())
    facts = json.loads(lstmcore("convert", folder / "m.h5", out, "--to", "wrong", "--json").stdout)
    assert not facts["written"] and not facts["proof"]["ok"]
    unproved = lstmcore("convert", folder / "m.h5", out, "--to", "wrong", "--no-verify")
    assert unproved.exit_code == 0 and "proved" not in unproved.stdout and out.stat().st_size > 1000


def test_convert_to_a_stream(folder: Path) -> None:
    result = lstmcore("convert", folder / "m.h5", folder / "s.onnx", "--streaming")
    assert result.exit_code == 0 and ", proved" in result.stdout
    inputs = [entry.name for entry in onnx.load(folder / "s.onnx").graph.input]
    assert {"lstm_1/h", "lstm_1/c"} < set(inputs)
    both = Sequential([Input((None, 3)), Bidirectional(LSTM(2), name="both")])
    both.save(folder / "both.safetensors")
    refused(lstmcore("convert", folder / "both.safetensors", folder / "b.onnx", "--streaming"), 1, "b.onnx", "both")
    assert "b.onnx" not in there(folder)


def test_convert_takes_options_of_the_formats(folder: Path) -> None:
    start = ["convert", folder / "m.h5", folder / "m.onnx", "-o"]
    assert lstmcore(*start, "streaming=true", "-o", "batch_size=4").exit_code == 0
    assert "lstm_1/h" in [entry.name for entry in onnx.load(folder / "m.onnx").graph.input]
    refused(lstmcore(*start, "fast=1"), 1, "no option 'fast'")
    refused(lstmcore(*start, "fast"), 2, "KEY=VALUE")
    refused(lstmcore(*start, "a=1", "-o", "a=2"), 2, "twice")


def test_convert_of_architecture_and_weights_apart(folder: Path) -> None:
    with h5py.File(folder / "m.h5") as file:
        (folder / "m.json").write_text(file.attrs["model_config"])
    with h5py.File(folder / "m.h5") as file, h5py.File(folder / "w.h5", "w") as weights:
        for name in file["model_weights"]:
            file.copy(f"model_weights/{name}", weights)
        for key, value in file["model_weights"].attrs.items():
            weights.attrs[key] = value
    assert lstmcore("convert", folder / "m.json", folder / "a.onnx", "--weights", folder / "w.h5").exit_code == 0
    assert lstmcore("convert", folder / "w.h5", folder / "b.onnx", "--spec", folder / "m.json").exit_code == 0
    assert lstmcore("convert", folder / "w.h5", folder / "c.onnx", "--spec", folder / "a.onnx").exit_code == 0
    refused(lstmcore("convert", folder / "m.json", folder / "d.onnx"), 1, "m.json", "weights")
    refused(lstmcore("convert", folder / "w.h5", folder / "d.onnx"), 1, "w.h5", "spec")
    assert "d.onnx" not in there(folder)


def test_convert_gives_a_map_to_the_reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def reads(path: Any, weights: Any, spec: Any, map: Any = None) -> BaseModel:
        given.append(map)
        return lc.import_model(folder / "m.h5")

    monkeypatch.setitem(globals(), "reads_mapped", reads)
    row = Format("mapped", (".mapped",), (), reads=f"{__name__}:reads_mapped")
    monkeypatch.setattr(formats, "FORMATS", (row, *formats.FORMATS))
    (folder / "m.mapped").write_bytes(b"\x01\x02\x03")
    (folder / "map.json").write_text('{"lstm_1": "encoder"}')
    start = ["convert", folder / "m.mapped", folder / "m.onnx", "--from", "mapped", "--map"]
    assert lstmcore(*start, folder / "map.json").exit_code == 0 and given == [{"lstm_1": "encoder"}]
    for bad in ("[1]", "{", "\xff"):
        (folder / "bad.json").write_text(bad, encoding="latin-1")
        refused(lstmcore(*start, folder / "bad.json"), 1, "bad.json")


def test_convert_proves_with_a_given_input(folder: Path) -> None:
    np.save(folder / "x.npy", np.ones((2, 4, 3), np.float32))
    result = lstmcore("convert", folder / "m.h5", folder / "m.onnx", "--input", folder / "x.npy")
    assert result.exit_code == 0 and "1 inputs of 2 samples" in result.stdout
    np.save(folder / "x.npy", np.ones((2, 4, 5), np.float32))
    refused(lstmcore("convert", folder / "m.h5", folder / "n.onnx", "--input", folder / "x.npy"), 2, "expected (batch")
    assert "n.onnx" not in there(folder)


def test_convert_refuses_wrong_use(folder: Path) -> None:
    refused(lstmcore("convert", folder / "m.h5", folder / "m.xyz"), 2, "m.xyz", ".onnx")
    refused(lstmcore("convert", folder / "m.h5", folder / "m.onnx", "--to", "onxn"), 2, "Did you mean 'onnx'")
    refused(lstmcore("convert", folder / "m.h5", folder / "no" / "m.onnx"), 2, "no directory")
    refused(lstmcore("convert", folder / "none.h5", folder / "m.onnx"), 2, "none.h5")
    lc.export_model(lc.import_model(folder / "m.h5"), folder / "same.onnx")
    refused(lstmcore("convert", folder / "same.onnx", folder / "same.onnx"), 2, "is the file that is read")
    refused(lstmcore("convert", folder / "m.h5", folder / "m.onnx", "--from", "onnx"), 1, "m.h5")
    assert there(folder) == {"m.h5", "same.onnx"}


def test_convert_leaves_nothing_behind_where_it_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(model: BaseModel, path: Path) -> None:
        path.write_bytes(b"half")
        (path.parent / "beside.py").write_bytes(b"half")
        raise DamagedFileError("no more")

    monkeypatch.setitem(globals(), "write_half", write)
    row = Format("half", (".half",), (), writes=f"{__name__}:write_half")
    monkeypatch.setattr(formats, "FORMATS", (row, *formats.FORMATS))
    refused(lstmcore("convert", folder / "m.h5", folder / "m.half"), 1, "no more")
    assert there(folder) == {"m.h5"}


def test_convert_moves_all_that_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A format may be several files, or a folder; a folder that was there is replaced."""

    def write(model: BaseModel, path: Path) -> None:
        path.mkdir()
        (path / "inner").write_bytes(b"new")
        (path.parent / "beside.py").write_bytes(b"new")

    monkeypatch.setitem(globals(), "write_folder", write)
    row = Format("folder", (".folder",), (), writes=f"{__name__}:write_folder")
    monkeypatch.setattr(formats, "FORMATS", (row, *formats.FORMATS))
    (folder / "m.folder").mkdir()
    (folder / "m.folder" / "old").write_bytes(b"old")
    result = lstmcore("convert", folder / "m.h5", folder / "m.folder")
    assert result.exit_code == 0 and "NOT PROVED" in result.stdout and ", proved" not in result.stdout
    assert there(folder) == {"m.h5", "m.folder", "beside.py"} and there(folder / "m.folder") == {"inner"}


# compare


def test_compare_two_files(folder: Path) -> None:
    lc.export_model(lc.import_model(folder / "m.h5"), folder / "m.onnx")
    result = lstmcore("compare", folder / "m.h5", folder / "m.onnx")
    assert result.exit_code == 0 and "m.onnx against m.h5" in result.stdout and "DIFFERS" not in result.stdout
    swapped(folder / "m.onnx", "lstm_1")
    result = lstmcore("compare", folder / "m.h5", folder / "m.onnx")
    assert result.exit_code == 1 and "matches if gates i and o are swapped" in result.stdout
    facts = json.loads(lstmcore("compare", folder / "m.h5", folder / "m.onnx", "--json").stdout)
    assert not facts["ok"] and facts["rows"][0]["first"] == "lstm_1"
    np.save(folder / "x.npy", np.ones((2, 4, 3), np.float32))
    given = lstmcore("compare", folder / "m.h5", folder / "m.onnx", "--input", folder / "x.npy")
    assert given.exit_code == 1 and "1 inputs of 2 samples" in given.stdout


def test_compare_refuses_files_that_take_other_things(folder: Path) -> None:
    Sequential([Input((None, 5)), LSTM(2)]).save(folder / "o.safetensors")
    refused(lstmcore("compare", folder / "m.h5", folder / "o.safetensors"), 2, "(batch, any, 3)", "(batch, any, 5)")
    refused(lstmcore("compare", folder / "m.h5", folder / "o.safetensors", "--backend", "numpy"), 2, "--backend")
    (folder / "junk.h5").write_bytes(b"\x89HDF\r\n\x1a\njunk")
    refused(lstmcore("compare", folder / "m.h5", folder / "junk.h5"), 1, "junk.h5")


def test_compare_one_foreign_file_on_the_engines(folder: Path) -> None:
    result = lstmcore("compare", folder / "m.h5", "--backend", "numpy")
    assert result.exit_code == 0 and "3 samples" in result.stdout and "agrees" in result.stdout


def test_the_other_commands_take_foreign_files(folder: Path) -> None:
    assert "lstm_1" in lstmcore("summary", folder / "m.h5").stdout
    np.save(folder / "x.npy", np.ones((2, 4, 3), np.float32))
    np.savez(folder / "d.npz", x=np.ones((4, 4, 3), np.float32), y=np.ones((4, 2), np.float32))
    start = ["predict", folder / "m.h5", "--input", folder / "x.npy", "--output", folder / "y.npy"]
    assert lstmcore(*start).exit_code == 0 and np.load(folder / "y.npy").shape == (2, 2)
    trained = lstmcore("train", folder / "m.h5", "--data", folder / "d.npz", "--output", folder / "t.safetensors")
    assert trained.exit_code == 0, trained.output
    assert load_model(folder / "t.safetensors").count_params() == 138


# inspect


def test_inspect_a_foreign_file(folder: Path) -> None:
    result = lstmcore("inspect", folder / "m.h5")
    assert result.exit_code == 0
    for word in ("Keras 2", "2.2.4", "tensorflow", "LSTM", "lstm_1/recurrent_kernel", "mean"):
        assert word in result.stdout
    facts = json.loads(lstmcore("inspect", folder / "m.h5", "--json").stdout)
    assert facts["format"] == "hdf5" and len(facts["arrays"]) == len(facts["weights"]) == 5
    assert facts["about"]["layers"] == [{"name": "lstm_1", "class": "LSTM"}, {"name": "dense_1", "class": "Dense"}]
    assert [gate["name"] for gate in facts["weights"][0]["gates"]] == ["i", "f", "c", "o"]


def test_inspect_reads_no_number_that_is_not_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "import_model", None)
    result = lstmcore("inspect", folder / "m.h5", "--no-values")
    assert result.exit_code == 0 and "lstm_1/kernel:0" in result.stdout and "mean" not in result.stdout
    monkeypatch.setattr("lstmcore.cli.foreign.SMALL", 100)
    assert lstmcore("inspect", folder / "m.h5").stdout == result.stdout
    assert lstmcore("inspect", folder / "m.h5", "--values").exit_code == 1


def test_inspect_counts_nan_in_a_foreign_file(folder: Path) -> None:
    with h5py.File(folder / "m.h5", "r+") as file:
        file["model_weights/dense_1/dense_1/bias:0"][0] = np.nan
    with pytest.warns(UserWarning, match="NaN"):
        facts = json.loads(lstmcore("inspect", folder / "m.h5", "--json").stdout)
    assert facts["weights"][-1]["nan"] == 1


def test_inspect_lists_what_cannot_be_imported(folder: Path) -> None:
    with h5py.File(folder / "m.h5", "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"Dense"', '"Lambda"')
    result = lstmcore("inspect", folder / "m.h5")
    assert "lstm_1/kernel:0" in result.stdout and "Lambda" in result.stdout
    with h5py.File(folder / "w.h5", "w") as file:
        file.create_dataset("a/b", data=np.zeros(3, np.float32))
    result = lstmcore("inspect", folder / "w.h5")
    assert result.exit_code == 0 and "a/b" in result.stdout and "weights alone" in result.stdout


def test_inspect_refuses_what_is_damaged(folder: Path) -> None:
    whole = (folder / "m.h5").read_bytes()
    (folder / "cut.h5").write_bytes(whole[:100])
    refused(lstmcore("inspect", folder / "cut.h5"), 1, "cut.h5")
    (folder / "x.onnx").write_bytes(b"\x08\x08\x3a\x7f")
    refused(lstmcore("inspect", folder / "x.onnx"), 1, "x.onnx")


def test_weights_alone_are_told_with_the_option_that_helps(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"fc.weight": np.ones((2, 3), "f4"), "fc.bias": np.ones(2, "f4")}, tmp_path / "w.safetensors")
    for command in (["convert", "w.safetensors", "m.npz"], ["summary", "w.safetensors"]):
        done = CliRunner().invoke(cli, [command[0], *(str(tmp_path / name) for name in command[1:])])
        assert done.exit_code == 1 and "lc.Sequential([\n    Input((3,)),\n    Dense(2),\n])\n" in done.output
        assert "lstmcore convert FILE model.safetensors --spec SPEC" in done.output
