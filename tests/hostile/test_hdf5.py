"""HDF5 files that would do harm, or are damaged: each is refused with a reason, soon and in little memory."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras_files as make
import numpy as np
import pytest
import samples
from reader import Reader, harmless, refused

from lstmcore.storage.hdf5 import Hdf5File
from lstmcore.storage.opening import Window, open_regular

Case = Callable[[Path], Any]
KERNEL = "layers/dense/vars/0"


def weighted(change: Callable[[Any], None]) -> Case:
    """An archive whose weights something was done to."""
    return lambda folder: make.archive(folder / "m.keras", weights=make.hdf5(change))


def put(path: str, array: Any = None, **options: Any) -> Callable[[Any], None]:
    """Makes a dataset anew with other options."""

    def change(file: Any) -> None:
        data = file[path][()] if array is None else array
        del file[path]
        file.create_dataset(path, data=data, **options)

    return change


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


def many_arrays(file: Any) -> None:
    for k in range(10_000):
        file[f"layers/d{k // 5000}/{k}"] = file[KERNEL]


def made_of(kind: Any, shape: tuple[int, ...] = (4, 2), **options: Any) -> Callable[[Any], None]:
    """An array of a strange kind."""

    def change(file: Any) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, shape, kind, **options)

    return change


def by_filters(*codes: int) -> Callable[[Any], None]:
    """An array packed by these filters, in this order."""

    def change(file: Any) -> None:
        del file[KERNEL]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4, 2))
        for code in codes:
            plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (9,))
        h5py.h5d.create(file.id, KERNEL.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4, 2)), plan)

    return change


def strange_floats(file: Any) -> None:
    """Numbers of 32 bits whose exponent has 11."""
    del file[KERNEL]
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 20, 11, 0, 20)
    h5py.h5d.create(file.id, KERNEL.encode(), kind, h5py.h5s.create_simple((4, 2)))


def some_chunks(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 2), "f4", chunks=(2, 2))[:2] = 1


def many_groups(file: Any) -> None:
    for k in range(10_000):
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
    "packed twice": twice_packed,
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
    "10,000 groups": weighted(many_groups),
    "10,000 arrays": weighted(many_arrays),
    "lists of numbers": weighted(made_of(h5py.vlen_dtype("f4"))),
    "references to regions": weighted(made_of(h5py.regionref_dtype)),
    "arrays of arrays": weighted(made_of(np.dtype(("f4", (2,))), (4,))),
    "arrays of huge arrays": weighted(made_of(np.dtype(("f4", (2**24,))), (4,))),
    "names of numbers": weighted(made_of(h5py.enum_dtype({"a": 1}, basetype="i4"))),
    "dates": weighted(made_of(h5py.opaque_dtype(np.dtype("datetime64[s]")))),
    "no number": weighted(put(KERNEL, h5py.Empty("f4"))),
    "32 axes": weighted(made_of("f4", (1,) * 32)),
    "floats of another form": weighted(strange_floats),
    "some of its chunks": weighted(some_chunks),
    "an unknown filter": weighted(by_filters(32001)),
    "gzip twenty times": weighted(by_filters(*[1] * 20)),
    "n bits": weighted(by_filters(5)),
    "the environment": weighted(lambda file: file.__setitem__("x", h5py.ExternalLink("/proc/self/environ", "/"))),
    "1,000 groups deep": weighted(deep_groups),
    "slashes both ways": weighted(lambda file: file.create_dataset("layers\\dense/vars/0", data=np.ones((4, 2), "f4"))),
}


def whole(folder: Path, change: Callable[[Any], None], config: Any = None) -> Path:
    """An ``.h5`` of the kind that lists its arrays."""
    path = Path(samples.OTHERS["listed"](folder)["path"])
    with h5py.File(path, "r+") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        change(file)
    return path


def told(key: str, value: Any, at: str = "model_weights") -> Case:
    """Such a file, in which an attribute says something else."""

    def change(file: Any) -> None:
        if key in file[at].attrs:
            del file[at].attrs[key]
        file[at].attrs[key] = value

    return lambda folder: whole(folder, change)


def pieces(file: Any) -> None:
    """A list of names in 200 pieces, as Keras writes long ones."""
    del file["model_weights"].attrs["layer_names"]
    for k in range(200):
        file["model_weights"].attrs[f"layer_names{k}"] = np.array([b"x" * 60] * 900)


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


def heap(at: int, new: bytes) -> Case:
    """Such a file, in whose first heap of texts something else stands: the library looks for its end without end."""

    def case(folder: Path) -> Path:
        path = whole(folder, lambda file: file.attrs.__setitem__("keras_version", "3.9.2"))
        data = bytearray(path.read_bytes())
        place = data.index(b"GCOL") + at
        data[place : place + len(new)] = new
        path.write_bytes(data)
        return path

    return case


LISTED: dict[str, Case] = {
    "a heap whose first thing is free and has no length": heap(16, bytes(16)),
    "a heap whose first thing has no length": heap(24, bytes(8)),
    "a heap whose first thing is as long as there are numbers": heap(24, b"\xf0" + b"\xff" * 7),
    "a heap that is none": heap(0, b"GCOK"),
    "a version in records": told("keras_version", np.zeros(3, np.dtype([("a", "f4")])), "/"),
    "a version that is nothing": told("keras_version", h5py.Empty("S1"), "/"),
    "names of 10 MB in pieces": lambda folder: whole(folder, pieces),
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
        {
            "class_name": "Sequential",
            "config": [{"class_name": "Lambda", "config": {"function": ["4wAAAA==", None, None]}}],
        },
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
    for group, cases in (("weights", WEIGHTS), ("listed", LISTED), ("other", OTHERS))
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, ask: Reader, tmp_path: Path) -> None:
    refused(CASES[name](tmp_path), ask, tmp_path)


def test_the_small_files_by_themselves_are_read(ask: Reader, tmp_path: Path) -> None:
    """Otherwise the cases above might be refused for something else than what is wrong with them."""
    for path in (make.archive(tmp_path / "m.keras"), whole(tmp_path, lambda file: None)):
        answer = ask(path)
        assert answer["result"] == "model" and answer["count"] == 138, answer
        harmless(answer)


def test_gzip_and_shuffle_are_read(ask: Reader, tmp_path: Path) -> None:
    for options in ({"compression": "gzip"}, {"shuffle": True, "compression": "gzip"}, {"chunks": (3, 1)}):
        answer = ask(make.archive(tmp_path / "m.keras", weights=make.hdf5(put(KERNEL, **options))))
        assert answer["result"] == "model", answer


def test_texts_in_a_heap_are_read_as_they_are(tmp_path: Path) -> None:
    """Of any length, in several heaps, of no length, and as far as a NUL."""
    texts = ["", "lstm", "x" * 5000, "\u00e9" * 999, *(f"name {k}" for k in range(300))]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["names"], file.attrs["one"] = texts, "y" * 60_000
    with open_regular(tmp_path / "m.h5") as raw:
        read = Hdf5File(Window(raw, 0, os.fstat(raw.fileno()).st_size), "m.h5")
        assert read.texts("", "names") == texts and read.text("", "one", 1 << 16) == b"y" * 60_000
        read.close()
