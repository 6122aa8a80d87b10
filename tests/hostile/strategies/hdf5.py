"""HDF5 files by h5py: trees of groups, arrays of every kind and layout, links, attributes that say anything."""

from __future__ import annotations

import io
import json
from typing import Any

import h5py
import keras_files as make
import numpy as np
from hypothesis import strategies as st

from strategies import mutated

PATHS = st.sampled_from([*make.SHAPES, "layers/x/vars/0", "model_weights/lstm/k", "a/b/c/d", "layers\\dense/vars/9"])
SHAPES = st.sampled_from([(3, 16), (4, 2), (2,), (), (0,), (8,), (2**20, 2**20), (1,) * 32])
DTYPES = ["f2", "f4", ">f4", "f8", "i4", "?", "c8", "S3", np.dtype([("a", "f4")]), h5py.string_dtype(), h5py.ref_dtype]
DTYPES += [h5py.vlen_dtype("f4"), h5py.enum_dtype({"a": 1}), np.dtype(("f4", (2,)))]
OPTIONS: list[dict[str, Any]] = [{}, {}, {"compression": "gzip"}, {"compression": "lzf"}, {"fletcher32": True}]
OPTIONS += [{"shuffle": True}, {"fillvalue": 3}, {"external": [("/etc/passwd", 0, 32)]}, {"track_times": True}]
LINKS = [h5py.SoftLink("/layers"), h5py.ExternalLink("/etc/x.h5", "/x"), h5py.SoftLink("/a")]
NAMES = ("layer_names", "weight_names", "keras_version", "backend", "model_config", "layer_names0", "a" * 300)
SAID: list[Any] = [b"2.1.3", "3.9.2", 3, np.arange(5), [b"lstm", b"dense"], [b"dense/kernel:0"], ["lstm"], ["x"] * 500]
SAID += ["x" * 60_000, h5py.Empty("S1"), np.zeros(3, np.dtype([("a", "f4")])), [[b"lstm"]], ["a\0b"], "\ud800"]


@st.composite
def datasets(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    path, shape = draw(PATHS), draw(SHAPES)
    shape = make.SHAPES.get(path, shape) if draw(st.booleans()) else shape
    made = {"shape": shape, "dtype": draw(st.just("f4") | st.sampled_from(DTYPES)), **draw(st.sampled_from(OPTIONS))}
    if max(shape, default=1) > 1000:
        made["chunks"] = tuple(min(n, 7) for n in shape)
    return path, made


def _write(file: Any, kind: str, what: Any) -> None:
    """One change; those that the library refuses are left out."""
    try:
        if kind == "array":
            path, options = what
            if path in file:
                del file[path]
            array = file.create_dataset(path, **options)
            if array.size < 1000 and array.dtype.kind in "fi":
                array[...] = 1
        elif kind == "link":
            path, link = what
            if path in file:
                del file[path]
            file[path] = link if not isinstance(link, str) else file[link]
        else:
            path, name, value = what
            group = file.require_group(path) if path else file
            group.attrs[name] = value
    except (ValueError, TypeError, OSError, KeyError, RuntimeError, UnicodeEncodeError, AttributeError):
        pass


def _changes(texts: Any) -> st.SearchStrategy[list[tuple[str, Any]]]:
    arrays = datasets().map(lambda made: ("array", made))
    ends = st.sampled_from([*LINKS, "layers", "/"])
    links = st.tuples(PATHS, ends).map(lambda made: ("link", made))
    places = st.sampled_from(
        ["", "", "model_weights", "model_weights/dense", "layers/dense", "top_level_model_weights"]
    )
    told = st.sampled_from(SAID) | texts.map(lambda raw: raw[:60_000].replace(b"\0", b""))
    said = st.tuples(places, st.sampled_from(NAMES), told).map(lambda made: ("said", made))
    return st.lists(arrays | arrays | links | said | said, max_size=5)


def files(texts: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[bytes]:
    """Files with the small model's arrays in them, or some of them, or others."""
    known = st.just(json.dumps(make.SMALL).encode()) if texts is None else texts

    def built(given: tuple[list[tuple[str, Any]], bool, str | None]) -> bytes:
        changes, sound, version = given
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=version) as file:
            for path, array in make.arrays().items() if sound else ():
                file[path] = array
            for change in changes:
                _write(file, *change)
        return buffer.getvalue()

    return st.tuples(_changes(known), st.booleans(), st.sampled_from([None, "latest"])).map(built)


def altered(data: bytes, texts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A sound file with such changes, or with bits turned over."""

    def built(changes: list[tuple[str, Any]]) -> bytes:
        buffer = io.BytesIO(data)
        with h5py.File(buffer, "r+") as file:
            for change in changes:
                _write(file, *change)
        return buffer.getvalue()

    return _changes(texts).map(built) | mutated.any_of("hdf5", data)
