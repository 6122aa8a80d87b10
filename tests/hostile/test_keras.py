"""Files made to do harm, or damaged: each is refused with a reason, soon and in little memory, and runs nothing."""

from __future__ import annotations

import base64
import json
import marshal
import os
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras_files as make
import numpy as np
import pytest

SECONDS = 1.0
MEBIBYTES = 64.0
CANARY = "canary"

Case = Callable[[Path], Any]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Any], dict[str, Any]]]:
    """Imports a file in a process of its own; see reading.py."""
    folder = tmp_path_factory.mktemp("reader")
    warm = make.archive(folder / "warm.keras")
    script = Path(__file__).parents[1] / "interop" / "reading.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(warm)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    )

    def ask(job: Any) -> dict[str, Any]:
        job = job if isinstance(job, dict) else {"path": str(job)}
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    yield ask
    assert process.stdin
    process.stdin.close()
    process.wait(timeout=30)
    if process.stdout:
        process.stdout.close()


def changed(path: Path, *places: tuple[bytes, int, bytes]) -> Path:
    """The file with bytes put at an offset from where a pattern is last found."""
    data = bytearray(path.read_bytes())
    for pattern, offset, new in places:
        at = data.rindex(pattern) + offset
        data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


def archived(name: str, data: bytes = b"", attributes: int = 0) -> Case:
    """An archive with one more member."""

    def case(folder: Path) -> Path:
        path = make.archive(folder / "m.keras")
        info = zipfile.ZipInfo(name)
        info.external_attr = attributes << 16
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(info, data)
        return path

    return case


def described(config: Any, version: str = "3.9.2") -> Case:
    """An archive with that description."""
    return lambda folder: make.archive(folder / "m.keras", config, version=version)


def weighted(change: Callable[[Any], None]) -> Case:
    """An archive whose weights something was done to."""
    return lambda folder: make.archive(folder / "m.keras", weights=make.hdf5(change))


def with_layer(*layers: Any) -> Case:
    """An archive of a Sequential with these layers in it."""
    return described(make.sequential(make.SOURCE, *layers, make.LSTM, make.DENSE))


def dense(**config: Any) -> Case:
    return with_layer(make.layer("Dense", **{"units": 3, "name": "odd", **config}))


def put(path: str, array: Any = None, **options: Any) -> Callable[[Any], None]:
    """Makes a dataset anew with other options."""

    def change(file: Any) -> None:
        data = file[path][()] if array is None else array
        del file[path]
        file.create_dataset(path, data=data, **options)

    return change


KERNEL = "layers/dense/vars/0"
CODE = base64.b64encode(marshal.dumps(compile(f"open({CANARY!r}, 'w')", "<>", "exec"))).decode()
PATTERN = b"PK\x05\x06"


# Archives.


def duplicate(folder: Path) -> Path:
    path = make.archive(folder / "m.keras")
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("config.json", json.dumps(make.SMALL))
    return path


def many_members(folder: Path) -> Path:
    path = make.archive(folder / "m.keras")
    with zipfile.ZipFile(path, "a") as file:
        for k in range(100_000):
            file.writestr(f"assets/{k}", b"")
    return path


def weights_bomb(folder: Path) -> Path:
    return make.archive(folder / "m.keras", weights=make.hdf5() + bytes(400 << 20), method=zipfile.ZIP_DEFLATED)


def config_bomb(folder: Path) -> Path:
    text = json.dumps(make.SMALL) + " " * (400 << 20)
    return make.archive(folder / "m.keras", text, method=zipfile.ZIP_DEFLATED)


def twice_packed(folder: Path) -> Path:
    """Zeros packed twice: some KB that describe a large model and hold its weights, as Keras would load them."""
    units = 1 << 23

    def change(file: Any) -> None:
        del file["layers/dense"]
        options: Any = {"chunks": (1, units), "compression": "gzip", "compression_opts": 9}
        file.create_dataset("layers/dense/vars/0", (4, units), "float32", **options)[:] = 0

    dense = make.layer("Dense", units=units, use_bias=False, name="dense")
    config = make.sequential(make.SOURCE, make.LSTM, dense)
    path = make.archive(folder / "m.keras", config, make.hdf5(change), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 14_970
    return path


def polyglot(before: bytes, after: bytes) -> Case:
    def case(folder: Path) -> Path:
        path = make.archive(folder / "m.keras")
        path.write_bytes(before + path.read_bytes() + after)
        return path

    return case


def inserted(path: Path, data: bytes) -> Path:
    """The file with something between its directory and the end of that."""
    whole = path.read_bytes()
    at = whole.rindex(PATTERN)
    path.write_bytes(whole[:at] + data + whole[at:])
    return path


def lying(field: int, value: bytes, sign: bytes = b"PK\x01\x02") -> Case:
    """An archive whose directory says something else of its last member, the weights."""
    return lambda folder: changed(make.archive(folder / "m.keras"), (sign, field, value))


ARCHIVES: dict[str, Case] = {
    "config bomb": config_bomb,
    "weights bomb": weights_bomb,
    "packed twice": twice_packed,
    "an archive within": lambda folder: make.archive(
        folder / "m.keras", weights=make.archive(folder / "inner.zip").read_bytes()
    ),
    "size that is not so": lying(24, struct.pack("<L", 77)),
    "packed size that is not so": lying(20, struct.pack("<L", 77)),
    "both sizes huge": lying(20, struct.pack("<2L", 0xFFFFFFF0, 0xFFFFFFF0)),
    "sizes in missing zip64 fields": lying(20, b"\xff" * 8),
    "offset beyond the end": lying(42, struct.pack("<L", 0x7FFFFFFF)),
    "offset of another": lying(42, struct.pack("<L", 0)),
    "checksum": lying(16, b"abcd"),
    "encrypted": lying(8, b"\x01\x00"),
    "unknown method": lying(10, b"\x0c\x00"),
    "duplicate": duplicate,
    "up and out": archived("../evil"),
    "deep up and out": archived("assets/../../evil"),
    "absolute": archived("/etc/evil"),
    "backslashes": archived("..\\evil"),
    "drive": archived("C:\\evil"),
    "control character": archived("a\x1bb"),
    "symbolic link": archived("link", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "100,000 members": many_members,
    "count that is not so": lying(10, b"\x09\x00", PATTERN),
    "directory size that is not so": lying(12, struct.pack("<L", 9), PATTERN),
    "directory elsewhere": lying(16, struct.pack("<L", 9), PATTERN),
    "directory in zip64": lying(16, b"\xff\xff\xff\xff", PATTERN),
    "something between": lambda folder: inserted(make.archive(folder / "m.keras"), b"x" * 16),
    "something before": polyglot(b"MZ" + bytes(510), b""),
    "something after": polyglot(b"", b"<html>"),
    "no weights": lambda folder: renamed(folder, "model.weights.h5"),
    "no config": lambda folder: renamed(folder, "config.json"),
    "no metadata": lambda folder: renamed(folder, "metadata.json"),
    "version of the future": described(make.SMALL, version="4.0.0"),
    "version that is no version": described(make.SMALL, version="3" * 100_000),
}


def renamed(folder: Path, name: str) -> Path:
    path = make.archive(folder / "m.keras")
    path.write_bytes(path.read_bytes().replace(name.encode(), b"x" * len(name)))
    return path


# Descriptions.


def inflating(depth: int) -> Any:
    """A model that calls a model twice that calls a model twice ..."""
    inner = make.layer("Activation", activation="tanh", name="m0")
    for level in range(1, depth):
        x = make.layer("InputLayer", batch_shape=[None, 3], name="x")
        last = f"m{level - 1}"
        chain = [make.called(x), make.called(inner, make.tensor("x"), make.tensor(last))]
        inner = make.functional(*chain, begin=["x", 0, 0], end=[last, 1 + (level > 1), 0], name=f"m{level}")
    return inner


def graph(*layers: Any, end: str = "a") -> Case:
    x = make.called(make.layer("InputLayer", batch_shape=[None, 3], name="x"))
    return described(make.functional(x, *layers, begin=["x", 0, 0], end=[end, 0, 0]))


def wrapped(kind: str, depth: int) -> Any:
    inner = make.layer("LSTM", units=2, return_sequences=True, name="inner")
    for _ in range(depth):
        inner = make.layer(kind, layer=inner, name="outer")
    return inner


def relu(name: str) -> Any:
    return make.layer("Activation", activation="relu", name=name)


def code(kind: str, **config: Any) -> Case:
    return with_layer(make.layer(kind, **{"name": "odd", **config}))


SECOND = {"module": "os", "class_name": "system", "config": f"touch {CANARY}", "registered_name": None}
FUNCTION = {"class_name": "__lambda__", "config": {"value": [CODE, None, None]}}
DESCRIPTIONS: dict[str, Case] = {
    "deep lists": described("[" * 100_000 + "]" * 100_000),
    "deep objects": described('{"a":' * 100_000 + "1" + "}" * 100_000),
    "200 levels": described('{"class_name": "Sequential", "config": ' + "[" * 200 + "]" * 200 + "}"),
    "10 MB of text": described(make.sequential(make.layer("Dense", units=2, name="a" * 10_000_000))),
    "a million digits": described('{"class_name": "Sequential", "config": ' + "9" * 1_000_000 + "}"),
    "NaN": described('{"class_name": "Sequential", "config": NaN}'),
    "Infinity": described('{"class_name": "Sequential", "config": 1e999}'),
    "a key twice": described('{"class_name": "Sequential", "class_name": "Model", "config": {}}'),
    "no JSON": described("{class_name"),
    "no UTF-8": described(b"\xff\xfe{}"),
    "a number": described("3"),
    "nothing": described(""),
    "no layers": described(make.sequential()),
    "no list of layers": described({"class_name": "Sequential", "config": {"layers": {"a": 1}}}),
    "NUL in a name": dense(name="a\0b"),
    "half a character in a name": described(json.dumps(make.SMALL).replace("dense", "\\ud800")),
    "unknown class": code("Evil"),
    "unknown key": dense(evil=1),
    "layers in 2 MB": described(make.sequential(*[{"class_name": "Dense", "config": {"units": 1}}] * 40_000)),
    "a million layers": described(make.sequential(*[{}] * 1_000_000)),
    "deep TimeDistributed": described(make.sequential(make.SOURCE, wrapped("TimeDistributed", 45))),
    "deep Bidirectional": described(make.sequential(make.SOURCE, wrapped("Bidirectional", 30))),
    "deep stack of cells": code("RNN", cell=wrapped("StackedRNNCells", 20)),
    "a model of 2 to the 25th layers": described(inflating(14)),
    "cycle": graph(make.called(relu("a"), make.tensor("b")), make.called(relu("b"), make.tensor("a"))),
    "reads itself": graph(make.called(relu("a"), make.tensor("a"))),
    "missing layer": graph(make.called(relu("a"), make.tensor("nobody"))),
    "missing output": graph(make.called(relu("a"), make.tensor("x", 0, 7))),
    "missing call": graph(make.called(relu("a"), make.tensor("x", 2**40, 0))),
    "negative call": graph(make.called(relu("a"), make.tensor("x", -1, 0))),
    "end that is not there": graph(make.called(relu("a"), make.tensor("x")), end="nobody"),
    "name twice": graph(*[make.called(relu("a"), make.tensor("x"))] * 2),
    "calls that are none": graph({**relu("a"), "name": "a", "inbound_nodes": "evil"}),
    "product of lengths": described(
        make.sequential(
            make.layer("InputLayer", batch_shape=[None, 2**31 - 1], name="x"), make.layer("Dense", units=2**31 - 1)
        )
    ),
    "input of negative length": described(make.sequential(make.layer("InputLayer", batch_shape=[None, -3], name="x"))),
    "Lambda": code("Lambda", function=[CODE, None, None], function_type="lambda"),
    "Lambda of Keras 3": code("Lambda", function=FUNCTION),
    "TFSMLayer": code("TFSMLayer", filepath="/tmp/evil", call_endpoint="serve"),
    "TorchModuleWrapper": code("TorchModuleWrapper", module="gASVIA==", output_shape=None),
    "StringLookup of a file": code("StringLookup", vocabulary="/etc/passwd"),
    "StringLookup of a URL": code("StringLookup", vocabulary="http://localhost:9/evil"),
    "TextVectorization": code("TextVectorization", vocabulary="/etc/passwd"),
    "TFOpLambda": code("TFOpLambda", function="math.exp"),
    "operation of Keras": with_layer(make.layer("Exp", "keras.src.ops.numpy", name="odd")),
    "module os": with_layer({**SECOND}),
    "module builtins": with_layer(make.layer("exec", "builtins", name="odd")),
    "Dense of module os": with_layer(make.layer("Dense", "os", units=3, name="odd")),
    "a model of module os": described({**make.SMALL, "class_name": "system", "module": "os"}),
    "registered as another": with_layer({**make.DENSE, "registered_name": "Custom>Evil"}),
    "registered in a package": with_layer({**make.DENSE, "registered_name": "evil>Dense", "module": None}),
    "unsafe deserialization": with_layer(
        make.layer("enable_unsafe_deserialization", "keras.config", name="odd"), make.layer("Lambda", function=FUNCTION)
    ),
    "get_file": with_layer(
        make.layer("get_file", "keras.utils", fname=CANARY, origin="http://localhost:9/evil", name="odd")
    ),
    "activation of code": dense(activation=FUNCTION),
    "activation of builtins": dense(
        activation={"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"}
    ),
    "activation of os": dense(activation=SECOND),
    "initializer of os": dense(kernel_initializer={**SECOND, "config": {"command": f"touch {CANARY}"}}),
    "regularizer of code": dense(kernel_regularizer=FUNCTION),
    "constraint of code": dense(kernel_constraint=FUNCTION),
    "dtype of code": dense(dtype={**SECOND, "config": {"name": "float32"}}),
    "seed of code": with_layer(make.layer("Dropout", rate=0.1, seed=SECOND, name="odd")),
    "cell of os": code("RNN", cell={**SECOND, "config": {}}),
    **{
        f"units {units!r}": dense(units=units)
        for units in (-1, 0, 2**31, 2**40, 2**63, 2**200, 1e308, 2.5, True, "8", None, [3], {"a": 1})
    },
}


# HDF5.


def external(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 2), "float32", external=[("/etc/passwd", 0, 32)])


def virtual(file: Any) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout((4, 2), "float32")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4, 2))
    file.create_virtual_dataset(KERNEL, layout)


def linked(link: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[KERNEL]
        file[KERNEL] = link

    return change


def beside(link: str) -> Case:
    """The same, to a file that is there and holds what is missing."""

    def case(folder: Path) -> Path:
        with h5py.File(folder / "other.h5", "w") as file:
            file["x"] = make.arrays()[KERNEL]
        (folder / "other.raw").write_bytes(make.arrays()[KERNEL].tobytes())

        def change(file: Any) -> None:
            del file[KERNEL]
            if link == "link":
                file[KERNEL] = h5py.ExternalLink(str(folder / "other.h5"), "/x")
            elif link == "external":
                file.create_dataset(KERNEL, (4, 2), "float32", external=[(str(folder / "other.raw"), 0, 32)])
            else:
                layout = h5py.VirtualLayout((4, 2), "float32")
                layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (4, 2))
                file.create_virtual_dataset(KERNEL, layout)

        return make.archive(folder / "m.keras", weights=make.hdf5(change))

    return case


def doubling(file: Any) -> None:
    """Groups that each lie in the one before twice."""
    inner = file.create_group("a")
    for _ in range(30):
        outer, inner = inner, file.create_group(f"{inner.name}/a")
        outer["b"] = inner


def turning(file: Any) -> None:
    file["layers/dense/vars/again"] = file["layers"]


def filled(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 2), "float32", fillvalue=3.0)


def huge(shape: tuple[int, ...], **options: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, shape, "float32", **options)

    return change


def chunk_bomb(file: Any) -> None:
    """A chunk that says it has 32 bytes, and unpacks to 50 MB."""
    import zlib

    del file[KERNEL]
    dataset = file.create_dataset(KERNEL, (4, 2), "float32", chunks=(4, 2), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(50 << 20), 9))


def many_groups(file: Any) -> None:
    for k in range(70_000):
        file.create_group(f"g/{k}")


def deep_groups(file: Any) -> None:
    file.create_group("/".join("g" * 1000))


def attribute(name: str, value: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        file.attrs[name] = value

    return change


def compound(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 2), np.dtype([("a", "f4"), ("b", "f4")]))


def texts(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 2), h5py.string_dtype())


def references(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 2), h5py.ref_dtype)


def named_type(file: Any) -> None:
    file["layers/dense/type"] = np.dtype("f4")


WEIGHTS: dict[str, Case] = {
    "external numbers": weighted(external),
    "virtual numbers": weighted(virtual),
    **{f"{kind} to a file that is there": beside(kind) for kind in ("link", "external", "virtual")},
    "groups within each other twice": weighted(doubling),
    "external link": weighted(linked(h5py.ExternalLink("/etc/other.h5", "/x"))),
    "soft link": weighted(linked(h5py.SoftLink("/layers/dense/vars/1"))),
    "soft link to itself": weighted(linked(h5py.SoftLink(f"/{KERNEL}"))),
    "group within itself": weighted(turning),
    "never written": weighted(filled),
    "huge and never written": weighted(huge((2**31, 2**31), chunks=(1024, 1024))),
    "huge chunks": weighted(huge((4, 2), chunks=(2**14, 2**14), maxshape=(None, None))),
    "a chunk larger than the array": weighted(
        put(KERNEL, chunks=(4096, 4096), maxshape=(None, None), compression="gzip")
    ),
    "chunk bomb": weighted(chunk_bomb),
    "lzf": weighted(put(KERNEL, compression="lzf")),
    "fletcher32": weighted(put(KERNEL, chunks=(4, 2), fletcher32=True)),
    "scale and offset": weighted(put(KERNEL, np.ones((4, 2), "int32"), chunks=(4, 2), scaleoffset=2)),
    "whole numbers": weighted(put(KERNEL, np.ones((4, 2), "int32"))),
    "complex numbers": weighted(put(KERNEL, np.ones((4, 2), "complex64"))),
    "records": weighted(compound),
    "texts": weighted(texts),
    "references": weighted(references),
    "a type": weighted(named_type),
    "other shape": weighted(put(KERNEL, np.ones((2, 4), "float32"))),
    "other rank": weighted(put(KERNEL, np.ones(8, "float32"))),
    "one too many": weighted(lambda file: file.create_dataset("layers/dense/vars/2", data=np.ones(2, "float32"))),
    "one missing": weighted(lambda file: file.__delitem__(KERNEL)),
    "an unknown layer": weighted(lambda file: file.create_dataset("layers/gru/vars/0", data=np.ones(2, "float32"))),
    "doubles that do not fit": weighted(put(KERNEL, np.full((4, 2), 1 / 3))),
    "70,000 groups": weighted(many_groups),
    "1,000 groups deep": weighted(deep_groups),
    "slashes both ways": weighted(lambda file: file.create_dataset("layers\\dense/vars/0", data=np.ones((4, 2), "f4"))),
}


def whole(folder: Path, change: Callable[[Any], None], config: Any = make.SMALL) -> Path:
    """An ``.h5`` of the kind that lists its arrays."""
    values = list(make.arrays().values())
    layers = {
        "lstm": dict(zip(("lstm/k/kernel", "lstm/k/recurrent_kernel", "lstm/k/bias"), values[:3], strict=True)),
        "dense": dict(zip(("dense/kernel", "dense/bias"), values[3:], strict=True)),
    }
    path = make.listed(folder / "m.h5", config, layers, "3.9.2")
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def told(key: str, value: Any, at: str = "model_weights") -> Case:
    """Such a file, in which an attribute says something else."""

    def change(file: Any) -> None:
        if key in file[at].attrs:
            del file[at].attrs[key]
        file[at].attrs[key] = value

    return lambda folder: whole(folder, change)


def dense_attribute(folder: Path) -> Path:
    path = folder / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = b"[" * (20 << 20)
    return path


def long_word(folder: Path) -> Path:
    """A list of two names, the second of which says that it has 4 GB."""
    path = whole(folder, lambda file: None)
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["layer_names"] = ["lstm", "denseXY"]
    place = struct.pack("<L", 7)
    data = path.read_bytes()
    at = data.index(struct.pack("<L", 4), data.index(b"layer_names"))
    at = data.index(place, at + 4)
    path.write_bytes(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])
    return path


LISTED: dict[str, Case] = {
    "a name of 4 GB": long_word,
    "layer that is not there": told("layer_names", [b"lstm", b"nobody"]),
    "layer left out": told("layer_names", [b"lstm"]),
    "layer twice": told("layer_names", [b"lstm", b"dense", b"dense", b"lstm", b"../../dense"]),
    "weight elsewhere": told("weight_names", [b"../lstm/lstm/k/kernel", b"dense/bias"], "model_weights/dense"),
    "weight twice": told("weight_names", [b"dense/bias", b"dense/bias"], "model_weights/dense"),
    "weight that is not there": told("weight_names", [b"dense/kernel", b"dense/b"], "model_weights/dense"),
    "names that are numbers": told("layer_names", np.arange(5)),
    "names in a matrix": told("layer_names", np.array([[b"lstm", b"dense"]])),
    "description that is a number": told("model_config", 7, "/"),
    "description that is a list": told("model_config", [b"{}", b"{}"], "/"),
    "description of 20 MB": dense_attribute,
    "version that is a list": told("keras_version", [b"2", b"3"], "/"),
    "huge version": told("keras_version", b"2." + b"1" * 60_000, "/"),
    "pickle for a description": told("model_config", b"\x80\x04cposix\nsystem\n", "/"),
    "weights alone": lambda folder: whole(folder, lambda file: file.attrs.__delitem__("model_config")),
    "Lambda": lambda folder: whole(
        folder,
        lambda file: None,
        {"class_name": "Sequential", "config": [{"class_name": "Lambda", "config": {"function": [CODE, None, None]}}]},
    ),
}


# Things that are no such file.


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "m.h5")
    return folder / "m.h5"


def text(name: str, data: bytes) -> Case:
    def case(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return case


OTHERS: dict[str, Case] = {
    "pipe": pipe,
    "directory": lambda folder: folder,
    "device": lambda folder: Path("/dev/zero"),
    "empty": text("m.keras", b""),
    "pickle": text("m.h5", b"\x80\x04cposix\nsystem\n(S'touch canary'\ntR."),
    "web page": text("m.keras", b"<!DOCTYPE html><html></html>"),
    "zip with nothing in it": text("m.keras", b"PK\x05\x06" + bytes(18)),
    "signature of HDF5 alone": text("m.h5", b"\x89HDF\r\n\x1a\n"),
    "signature and zeros": text("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(4096)),
    "JSON alone": text("m.json", json.dumps(make.SMALL).encode()),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("archive", ARCHIVES),
        ("description", DESCRIPTIONS),
        ("weights", WEIGHTS),
        ("listed", LISTED),
        ("other", OTHERS),
    )
    for name, case in cases.items()
}


def within_limits(answer: dict[str, Any], folder: Path) -> None:
    assert answer["seconds"] < SECONDS, answer
    assert answer["rise"] < MEBIBYTES, answer
    assert not answer["done"], answer
    assert not list(folder.rglob(CANARY)) and not Path(CANARY).exists()


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, reader: Callable[[Any], dict[str, Any]], tmp_path: Path) -> None:
    made = CASES[name](tmp_path)
    before = sorted(tmp_path.rglob("*"))
    answer = reader(made)
    assert answer["result"] == "refused", answer
    assert len(answer["told"]) < 2000 and str(tmp_path) not in answer["told"], answer
    within_limits(answer, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_small_files_by_themselves_are_read(reader: Callable[[Any], dict[str, Any]], tmp_path: Path) -> None:
    """Otherwise the cases above might be refused for something else than what is wrong with them."""
    for path in (make.archive(tmp_path / "m.keras"), whole(tmp_path, lambda file: None)):
        answer = reader(path)
        assert answer["result"] == "model" and answer["count"] == 138, answer
        within_limits(answer, tmp_path)


def test_gzip_and_shuffle_are_read(reader: Callable[[Any], dict[str, Any]], tmp_path: Path) -> None:
    for options in ({"compression": "gzip"}, {"shuffle": True, "compression": "gzip"}, {"chunks": (3, 1)}):
        answer = reader(make.archive(tmp_path / "m.keras", weights=make.hdf5(put(KERNEL, **options))))
        assert answer["result"] == "model", answer


@pytest.mark.parametrize("kind", ["m.keras", "m.h5"])
def test_cut_short_anywhere(kind: str, reader: Callable[[Any], dict[str, Any]], tmp_path: Path) -> None:
    path = make.archive(tmp_path / kind) if kind == "m.keras" else whole(tmp_path, lambda file: None)
    data = path.read_bytes()
    for part in range(50):
        path.write_bytes(data[: len(data) * part // 50])
        answer = reader(path)
        assert answer["result"] == "refused", (part, answer)
        within_limits(answer, tmp_path)


@pytest.mark.parametrize("kind", ["m.keras", "m.h5", "m.json"])
def test_bits_turned_over(kind: str, reader: Callable[[Any], dict[str, Any]], tmp_path: Path) -> None:
    """`fuzz.py` goes on from here."""
    jobs = {
        "m.keras": lambda: {"path": str(make.archive(tmp_path / kind))},
        "m.h5": lambda: {"path": str(whole(tmp_path, lambda file: None))},
        "m.json": lambda: json_job(tmp_path),
    }
    answer = reader({**jobs[kind](), "flips": list(range(150))})
    assert answer["result"] == "flipped" and not answer["odd"], answer
    assert answer["slowest"] < SECONDS and answer["rise"] < MEBIBYTES, answer


def json_job(folder: Path) -> dict[str, Any]:
    (folder / "m.json").write_text(json.dumps(make.SMALL))
    return {"path": str(folder / "m.json"), "weights": str(whole(folder, lambda file: None))}
