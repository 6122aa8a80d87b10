"""The safetensors container, against files that are wrong on purpose."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmcore.errors import DamagedFileError, FileError, ForeignFileError
from lstmcore.storage.container import MAX_HEADER, MAX_TENSORS, Container, is_name, read_container, strict_json
from lstmcore.weights import read_header

Fields = dict[str, Any]

A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
B = {"dtype": "F64", "shape": [], "data_offsets": [24, 32]}
DATA = bytes(range(32))


def blob(fields: object, data: bytes = DATA, length: int | None = None) -> bytes:
    """A file with that header: JSON of what is given, or, where it is bytes, these."""
    raw = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


@pytest.fixture
def parse(tmp_path: Path) -> Callable[[bytes], Container]:
    def parse(content: bytes) -> Container:
        path = tmp_path / "m.safetensors"
        path.write_bytes(content)
        with io.FileIO(path) as file:
            return read_container(file, path.name)

    return parse


Parse = Callable[[bytes], Container]


def test_a_good_file(parse: Parse) -> None:
    container = parse(blob({"__metadata__": {"k": "v"}, "x/b": B, "x/a": A}))
    start = container.data
    assert container.metadata() == {"k": "v"}
    entries = container.entries()
    assert list(entries) == ["x/a", "x/b"]
    assert (entries["x/a"].dtype, entries["x/a"].shape) == ("float32", (2, 3))
    assert (entries["x/b"].dtype, entries["x/b"].shape) == ("float64", ())
    assert [(e.start, e.stop) for e in entries.values()] == [(start, start + 24), (start + 24, start + 32)]


def test_empty_tensors_lie_anywhere_between_others(parse: Parse) -> None:
    empty = {"dtype": "F32", "shape": [0, 5], "data_offsets": [24, 24]}
    assert parse(blob({"b": B, "e": empty, "a": A})).entries()["e"].shape == (0, 5)
    assert parse(blob({}, b"")).entries() == {}


def test_padding_is_spaces_only(parse: Parse) -> None:
    raw = json.dumps({"a": A, "b": B}).encode()
    assert len(parse(blob(raw + b"    ")).entries()) == 2
    for padding in (b"\n", b"\t", b"\0", b"x"):
        with pytest.raises(DamagedFileError, match="header is damaged"):
            parse(blob(raw + padding))


BIG = 2**64 - 1

HEADERS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "seven bytes": (b"\x10\0\0\0\0\0\0", "does not begin like"),
    "length 0": (blob(b"{}", b"", 0), "should have 0 bytes"),
    "length 1": (blob(b"{}", b"", 1), "should have 1 bytes"),
    "length beyond the file": (blob(b"{}", b"", 3), "should have 3 bytes, and the whole file has 10"),
    "length of the whole file": (blob(b"{}", b"", 10), "should have 10 bytes"),
    "length 2**64-1": (blob({"a": A, "b": B}, DATA, BIG), f"should have {BIG} bytes; at most {MAX_HEADER}"),
    "length over the limit": (blob(b"{" + b" " * MAX_HEADER + b"}"), f"at most {MAX_HEADER}"),
    "only a length": (blob(b"", b"", 640), "should have 640 bytes"),
    "space first": (blob(b" {}"), "does not begin like"),
    "byte order mark first": (blob("\ufeff{}".encode()), "does not begin like"),
    "a list": (blob(b"[]"), "does not begin like"),
    "null": (blob(b"null"), "does not begin like"),
    "no JSON": (blob(b"{a: 1}"), "header is damaged"),
    "two objects": (blob(b"{}{}"), "header is damaged"),
    "not UTF-8": (blob(b'{"\xff": 1}'), "header is damaged"),
    "control character": (blob(b'{"a\x01": 1}'), "header is damaged"),
    "deep lists": (blob(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested too deeply"),
    "deep objects": (blob(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested too deeply"),
    "a tensor twice": (blob(b'{"a": {}, "a": {}}'), "'a' is there twice"),
    "dtype twice": (blob(b'{"a": {"dtype": "F32", "dtype": "F64"}}'), "'dtype' is there twice"),
    "NaN": (blob(b'{"a": NaN}'), "'NaN' where a whole number"),
    "Infinity": (blob(b'{"a": -Infinity}'), "'-Infinity' where a whole number"),
    "float": (blob(b'{"a": 1.0}'), "'1.0' where a whole number"),
    "exponent": (blob(b'{"a": 1e9}'), "'1e9' where a whole number"),
    "negative": (blob(b'{"a": -1}'), "'-1' where a whole number"),
    "a million digits": (blob(b'{"a": ' + b"9" * 1_000_000 + b"}"), "where a whole number"),
}


@pytest.mark.parametrize(("content", "fault"), HEADERS.values(), ids=HEADERS)
def test_headers_that_are_refused(parse: Parse, content: bytes, fault: str) -> None:
    with pytest.raises(DamagedFileError, match=fault) as caught:
        parse(content)
    assert str(caught.value).startswith("m.safetensors")
    assert len(str(caught.value)) < 500


METADATA: dict[str, tuple[object, str]] = {
    "a list": ([], r"metadata are \[\]"),
    "null": (None, "metadata are None"),
    "a number": ({"step": 3}, "metadata 'step' are 3"),
    "an object": ({"step": {}}, "metadata 'step' are {}"),
    "true": ({"step": True}, "metadata 'step' are True"),
    "NUL": ({"step": "\0"}, "expected text without NUL"),
    "NUL in a key": ({"st\0ep": "1"}, "expected text without NUL"),
    "half a character": ({"step": "\ud800"}, "expected text without NUL"),
}


@pytest.mark.parametrize(("metadata", "fault"), METADATA.values(), ids=METADATA)
def test_metadata_that_are_refused(parse: Parse, metadata: object, fault: str) -> None:
    container = parse(blob({"__metadata__": metadata, "a": A, "b": B}))
    with pytest.raises(DamagedFileError, match=fault):
        container.metadata()


TENSORS: dict[str, tuple[Fields, str]] = {
    "null": ({"a": None, "b": B}, "'a' is not described by"),
    "a list": ({"a": [], "b": B}, "'a' is not described by"),
    "no dtype": ({"a": {k: v for k, v in A.items() if k != "dtype"}, "b": B}, "'a' is not described by"),
    "an unknown field": ({"a": {**A, "strides": [4]}, "b": B}, "'a' is not described by"),
    "dtype I8": ({"a": {**A, "dtype": "I8"}, "b": B}, "'a' has dtype 'I8'; expected F32 or F64"),
    "dtype f32": ({"a": {**A, "dtype": "f32"}, "b": B}, "'a' has dtype 'f32'"),
    "dtype 3": ({"a": {**A, "dtype": 3}, "b": B}, "'a' has dtype 3"),
    "dtype a list": ({"a": {**A, "dtype": []}, "b": B}, r"'a' has dtype \[\]"),
    "shape null": ({"a": {**A, "shape": None}, "b": B}, "'a' has shape None"),
    "shape a number": ({"a": {**A, "shape": 6}, "b": B}, "'a' has shape 6"),
    "shape of truth": ({"a": {**A, "shape": [True, 6]}, "b": B}, r"'a' has shape \[True, 6\]"),
    "shape of text": ({"a": {**A, "shape": ["2", 3]}, "b": B}, "'a' has shape"),
    "shape of lists": ({"a": {**A, "shape": [[2], 3]}, "b": B}, "'a' has shape"),
    "33 axes": ({"a": {**A, "shape": [1] * 31 + [2, 3]}, "b": B}, "expected at most 32"),
    "shape too small": ({"a": {**A, "shape": [2, 2]}, "b": B}, r"is \[2, 2\] of F32, 16 bytes; .*\[0, 24\]"),
    "shape too large": ({"a": {**A, "shape": [2, 4]}, "b": B}, "32 bytes"),
    "another dtype": ({"a": {**A, "dtype": "F64"}, "b": B}, "48 bytes"),
    "2**64 values": ({"a": {**A, "shape": [2**32, 2**32]}, "b": B}, "larger than any file"),
    "2**62 values": ({"a": {**A, "shape": [2**62]}, "b": B}, "larger than any file"),
    "0 times 2**63": ({"a": {**A, "shape": [0, 2**63], "data_offsets": [0, 0]}}, "larger than any file"),
    "a terabyte": ({"a": {**A, "shape": [2**38]}, "b": B}, "1099511627776 bytes"),
    "a terabyte, owned up": ({"a": {**A, "shape": [2**38], "data_offsets": [0, 2**40]}}, "was cut short"),
    "three offsets": ({"a": {**A, "data_offsets": [0, 24, 32]}, "b": B}, "expected two whole numbers"),
    "offsets null": ({"a": {**A, "data_offsets": None}, "b": B}, "expected two whole numbers"),
    "offsets of truth": ({"a": {**A, "data_offsets": [False, 24]}, "b": B}, "expected two whole numbers"),
    "offsets turned round": ({"a": {**A, "data_offsets": [24, 0]}, "b": B}, "24 bytes; its data_offsets"),
    "overlap": ({"a": A, "b": {**B, "data_offsets": [23, 31]}}, "'b' overlaps the one before"),
    "the same bytes": ({"a": A, "a2": A, "b": B}, "overlaps the one before"),
    "a gap": ({"a": A, "b": {**B, "data_offsets": [25, 33]}}, "'b' leaves a gap"),
    "a gap at the start": ({"b": B}, "'b' leaves a gap"),
    "bytes left over": ({"a": A}, "has bytes that belong to no tensor"),
    "only bytes left over": ({}, "has bytes that belong to no tensor"),
    "cut short": ({"a": A, "b": B, "c": {**B, "data_offsets": [32, 40]}}, "was cut short"),
}


@pytest.mark.parametrize(("fields", "fault"), TENSORS.values(), ids=TENSORS)
def test_tensors_that_are_refused(parse: Parse, fields: Fields, fault: str) -> None:
    container = parse(blob(fields))
    with pytest.raises(DamagedFileError, match=fault):
        container.entries()


BAD_NAMES = ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "..\\a", "a\\..\\b", "\\a"]
BAD_NAMES += ["a\0", "a\n", "\x7f", "a\u202eb", "\u200b", "\ud800", "a" * 513]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_refused(parse: Parse, name: str) -> None:
    with pytest.raises(DamagedFileError, match="has a bad name") as caught:
        parse(blob({name: A, "b": B})).entries()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a", "lstm/kernel", "a.b", "...", "Kern größe/核", "a b", "a:0", "x" * 512])
def test_names_that_are_allowed(name: str) -> None:
    assert is_name(name)


def test_too_many_tensors(parse: Parse) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    most = {f"t{index}": empty for index in range(MAX_TENSORS)}
    assert len(parse(blob(most, b"")).entries()) == MAX_TENSORS
    with pytest.raises(DamagedFileError, match="has 4097 tensors; at most 4096"):
        parse(blob({**most, "one": empty}, b"")).entries()


def test_a_hundred_thousand_tensors(parse: Parse) -> None:
    with pytest.raises(DamagedFileError, match="at most"):
        parse(blob({f"t{index}": A for index in range(100_000)}))


def test_one_duplicate_among_many_keys() -> None:
    text = "{" + ",".join(f'"{index}":0' for index in range(100_000)) + ',"99999":0}'
    with pytest.raises(ValueError, match="'99999' is there twice"):
        strict_json(text)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 100)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, kernel=np.ones(3))
    return file.getvalue()


FOREIGN: dict[str, tuple[bytes, str]] = {
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file, as Keras"),
    "keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "a .keras archive"),
    "torch": (zipped("archive/data.pkl", "archive/version"), "a PyTorch archive"),
    "npz": (npz(), "a NumPy .npz"),
    "zip": (zipped("readme"), "a zip archive"),
    "npy": (b"\x93NUMPY\x01\0v\0{'descr': '<f4'", "a NumPy .npy"),
    "pickle": (pickle.dumps({"kernel": [1.0] * 10}, protocol=2), "a Python pickle"),
    "onnx": (b"\x08\x0a\x12\x07pytorch" + bytes(50), "an ONNX model"),
    "onnx without producer": (b"\x08\x0d:\x03\x12\x01gB\x00" + bytes(50), "an ONNX model"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "a gzip file"),
    "gguf": (b"GGUF\x03" + bytes(50), "a GGUF file"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(50), "a TensorFlow Lite model"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html>\n<html><title>404</title></html>", "a web page"),
    "json": (b'{"class_name": "Sequential"}', "a text file"),
    "json, with a brace in the eighth place": (b'{"abcde"{ 1}', "a text file"),
    "text": (b"weights", "a text file"),
}


@pytest.mark.parametrize(("content", "looks"), FOREIGN.values(), ids=FOREIGN)
def test_other_formats_are_recognised(parse: Parse, content: bytes, looks: str) -> None:
    with pytest.raises(ForeignFileError, match=looks) as caught:
        parse(content)
    assert str(caught.value).startswith("m.safetensors is not a weight file; it looks like ")


def test_noise_is_of_no_format(parse: Parse) -> None:
    with pytest.raises(DamagedFileError, match="of a format unknown here"):
        parse(b"\xfe\xdc\xba\x98" * 100)


@pytest.mark.parametrize("length", [0x0280, 0x0A08, 0x4B50, 0x8B1F])
def test_a_length_is_not_taken_for_a_format(parse: Parse, length: int) -> None:
    """Read as text, these lengths are the first bytes of a pickle, ONNX, zip or gzip file."""
    raw = json.dumps({"a": A, "b": B}).encode().ljust(length)
    assert len(parse(blob(raw)).entries()) == 2
    for cut in (8, 9, 100, length):
        with pytest.raises(DamagedFileError, match="cut short"):
            parse(blob(raw)[:cut])


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("pipe", "a pipe"), (".", "a directory"), ("/dev/zero", "a device")):
        with pytest.raises(FileError, match=f"is not a file but {what}"):
            read_header(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.safetensors")
