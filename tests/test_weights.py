"""The weight file: what is written is read, or an error says why not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lstmcore import ops
from lstmcore.errors import (
    DamagedFileError,
    FileError,
    FileVersionError,
    ForeignFileError,
    WeightsError,
    WeightsMismatchError,
)
from lstmcore.weights import WeightFile, read, read_header, write

Arrays = Mapping[str, np.ndarray[Any, Any]]

MODEL = '{"class_name": "Sequential", "config": {"name": "größe \\u0000"}}'
RNG = np.random.default_rng(7)
WEIGHTS: Arrays = {
    "lstm/kernel": RNG.normal(size=(3, 16)).astype(np.float32),
    "lstm/recurrent_kernel": RNG.normal(size=(4, 16)).astype(np.float32),
    "lstm/bias": np.array([np.nan, np.inf, -0.0, 1e-45] * 4, np.float32),
    "dense/kernel": RNG.normal(size=(4, 2)),
    "dense/scale": np.array(1.5),
    "dense/empty": np.zeros((0, 3), np.float32),
}


def same(given: Arrays, expected: Arrays) -> bool:
    """Bit by bit, NaN included."""
    return list(given) == list(expected) and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in zip(given.values(), expected.values(), strict=True)
    )


def expected(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (array.shape, array.dtype.name) for name, array in arrays.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    write(path, WEIGHTS, MODEL)
    return path


def in_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process with lstmcore and numpy at hand."""
    start = "import os, sys, numpy as np; from lstmcore.weights import read, write\n"
    return subprocess.Popen(
        [sys.executable, "-c", start + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# a second implementation of docs/weight-file.md, to write what `write` would not


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def craft(
    path: Path,
    arrays: Arrays,
    change: Callable[[dict[str, Any]], None] = lambda metadata: None,
    spoil: Callable[[dict[str, Any]], None] = lambda metadata: None,
) -> None:
    """Writes a file; `change` alters the metadata before they are digested, `spoil` after."""
    metadata: dict[str, Any] = {"format": "lstmcore", "format_version": "1", "model": MODEL, "gates": "ifco"}
    metadata |= {"opset": str(ops.OPSET), "lstmcore_version": "0.0"}
    change(metadata)
    fields: dict[str, Any] = {}
    digests, data = {}, b""
    for name, array in arrays.items():
        raw, dtype = array.tobytes(), {"float32": "F32", "float64": "F64"}[array.dtype.name]
        offsets = [len(data), len(data) + len(raw)]
        fields[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": offsets}
        data += raw
        shape = ",".join(str(length) for length in array.shape)
        digests[name] = sha256(f"{dtype}[{shape}]\n".encode() + raw)
    text = "".join(f"{key}\0{metadata[key]}\0" for key in sorted(metadata))
    digests["__metadata__"] = sha256(text.encode())
    metadata["digests"] = json.dumps(digests)
    spoil(metadata)
    header = json.dumps({**fields, "__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_what_is_written_is_read(path: Path) -> None:
    with WeightFile.open(path) as file:
        assert file.model == MODEL
        assert same(file.read(expected(WEIGHTS)), WEIGHTS)
    assert read(path).keys() == WEIGHTS.keys()
    assert same(read(path, expected(WEIGHTS)), WEIGHTS)


def test_arrays_are_new_and_writeable(path: Path) -> None:
    first, second = read(path), read(path)
    first["lstm/kernel"][:] = 0
    assert same({"k": second["lstm/kernel"]}, {"k": WEIGHTS["lstm/kernel"]})
    assert all(array.dtype.isnative and array.flags.carray for array in first.values())


def test_a_model_without_weights(tmp_path: Path) -> None:
    write(tmp_path / "m", {}, MODEL)
    assert read(tmp_path / "m", {}) == {}


@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed", "transposed", "big-endian", "read-only"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_memory_layout_is_written(tmp_path: Path, layout: str, dtype: type) -> None:
    array = RNG.normal(size=(6, 4, 5)).astype(dtype)
    array = {
        "fortran": np.asfortranarray(array),
        "strided": array[::2, 1:, ::3],
        "reversed": array[::-1, :, ::-1],
        "transposed": array.transpose(2, 0, 1),
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "read-only": np.broadcast_to(array[:, :, :1], array.shape),
    }[layout]
    write(tmp_path / "m", {"x": array}, "")
    again = read(tmp_path / "m", {"x": (array.shape, np.dtype(dtype).name)})["x"]
    assert again.dtype == dtype and np.array_equal(again, array)


def test_arrays_larger_than_a_chunk(tmp_path: Path) -> None:
    arrays = {str(n): RNG.random(n, dtype=np.float32) for n in ((1 << 20) - 1, 1 << 20, (1 << 21) + 1)}
    write(tmp_path / "m", arrays, "")
    assert same(read(tmp_path / "m", expected(arrays)), arrays)


def test_tensors_are_read_side_by_side(tmp_path: Path) -> None:
    """By threads that share a descriptor and are made to change places as often as can be."""
    arrays = {f"{i:03}": np.full(5000, i, np.float32) for i in range(200)}
    write(tmp_path / "m", arrays, "")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            assert same(read(tmp_path / "m"), arrays)
    finally:
        sys.setswitchinterval(interval)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, path: Path) -> None:
    write(tmp_path / "again", dict(reversed(WEIGHTS.items())), MODEL)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_safetensors_reads_the_same(path: Path) -> None:
    loaded = load_file(path)
    assert same({name: loaded[name] for name in WEIGHTS}, WEIGHTS)
    with safe_open(path, "np") as file:
        assert sorted(file.keys()) == sorted(WEIGHTS)
        assert file.metadata()["model"] == MODEL
        assert file.metadata()["gates"] == "ifco"


def test_tensors_are_aligned(path: Path) -> None:
    entries = read_header(path).tensors.values()
    assert all(entry.start % np.dtype(entry.dtype).itemsize == 0 for entry in entries)


def test_the_digests_are_those_of_the_description(tmp_path: Path) -> None:
    """That of `printf 'F32[1,2]\\n\\x00\\x00\\x80\\x3f\\x00\\x00\\x00\\x40' | sha256sum`."""
    write(tmp_path / "m", {"a/b": np.array([[1.0, 2.0]], np.float32)}, "")
    digest = "4d605653ed261d52e4cbca493f12e3c87f399c4011b5cec9852486fccd3c49c5"
    assert read_header(tmp_path / "m").digests["a/b"] == f"sha256:{digest}"


def test_a_file_of_another_writer(tmp_path: Path) -> None:
    craft(tmp_path / "m", WEIGHTS)
    assert same(read(tmp_path / "m", expected(WEIGHTS)), WEIGHTS)


def test_extra_metadata(tmp_path: Path) -> None:
    write(tmp_path / "m", WEIGHTS, MODEL, {"step": "12", "ünï": "{}"})
    metadata = read_header(tmp_path / "m").metadata
    assert (metadata["step"], metadata["ünï"], metadata["model"]) == ("12", "{}", MODEL)


def test_the_header_alone(path: Path) -> None:
    header = read_header(path)
    assert (header.name, header.size, header.model) == ("m.safetensors", path.stat().st_size, MODEL)
    assert header.metadata["format_version"] == "1" and "digests" not in header.metadata
    assert header.tensors["lstm/kernel"].shape == (3, 16)
    assert header.tensors["dense/scale"].dtype == "float64"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read_header(path) == header


NOT_STORED: dict[str, tuple[Arrays, str, Mapping[str, str], str]] = {
    "int32": ({"x": np.ones(3, np.int32)}, "", {}, "'x' is of int32; expected float64 or float32"),
    "float16": ({"x": np.ones(3, np.float16)}, "", {}, "'x' is of float16"),
    "objects": ({"x": np.array([None])}, "", {}, "'x' is of object"),
    "bad name": ({"../x": np.ones(3)}, "", {}, "called '../x'; expected 1 to 512 visible"),
    "reserved name": ({"__metadata__": np.ones(3)}, "", {}, "called '__metadata__'"),
    "too many": ({str(i): np.ones(1) for i in range(4097)}, "", {}, "4097 tensors; a weight file holds"),
    "reserved key": ({}, "", {"gates": "iofc"}, "extra metadata gates would replace"),
    "number": ({}, "", {"step": 3}, "metadata 'step' are 3"),  # type: ignore[dict-item]
    "NUL": ({}, "\0", {}, "metadata 'model' are .* expected text without NUL"),
    "half a character": ({}, "\ud800", {}, "expected text without NUL"),
    "huge model": ({}, "x" * (2 << 20), {}, "the model has 2097152 characters. Does a layer's config"),
}


@pytest.mark.parametrize(("arrays", "model", "extra", "fault"), NOT_STORED.values(), ids=NOT_STORED)
def test_what_cannot_be_stored(path: Path, arrays: Arrays, model: str, extra: Mapping[str, str], fault: str) -> None:
    before = path.read_bytes()
    with pytest.raises(WeightsError, match=fault):
        write(path, arrays, model, extra)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda metadata: metadata.pop(key)


def setting(**values: str) -> Callable[[dict[str, Any]], None]:
    return lambda metadata: metadata.update(values)


CHANGED: dict[str, tuple[Callable[[dict[str, Any]], None], type[FileError], str]] = {
    "no format": (without("format"), ForeignFileError, "a safetensors file, but not .* 'format' is missing"),
    "format pt": (setting(format="pt"), ForeignFileError, "'format' is 'pt', expected 'lstmcore'"),
    "version 2": (
        setting(format_version="2", lstmcore_version="9.1"),
        FileVersionError,
        "format version 2, written by lstmcore '9.1'; this lstmcore reads version 1. Upgrade",
    ),
    "version 0": (setting(format_version="0"), DamagedFileError, "'format_version' is '0'"),
    "version 1.0": (setting(format_version="1.0"), DamagedFileError, "'format_version' is '1.0'"),
    "version ١": (setting(format_version="١"), DamagedFileError, "'format_version' is"),
    "no version": (without("format_version"), DamagedFileError, "'format_version' is None"),
    "gates": (setting(gates="iofc"), ForeignFileError, "order 'iofc'; expected 'ifco'"),
    "no gates": (without("gates"), DamagedFileError, "lack 'gates'"),
    "no model": (without("model"), DamagedFileError, "lack 'model'"),
    "opset": (setting(opset="99"), FileVersionError, f"needs opset 99, .* has opset {ops.OPSET}. Upgrade"),
    "opset x": (setting(opset="x"), DamagedFileError, "'opset' is 'x'"),
}


@pytest.mark.parametrize(("change", "error", "fault"), CHANGED.values(), ids=CHANGED)
def test_metadata_of_another_kind(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], error: type[FileError], fault: str
) -> None:
    craft(tmp_path / "m", WEIGHTS, change)
    with pytest.raises(error, match=fault) as caught:
        read_header(tmp_path / "m")
    assert type(caught.value) is error


def digests(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def spoil(metadata: dict[str, Any]) -> None:
        found = json.loads(metadata["digests"])
        change(found)
        metadata["digests"] = json.dumps(found)

    return spoil


SPOILED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no digests": (without("digests"), "lack 'digests'"),
    "no JSON": (setting(digests="{"), "digests are damaged"),
    "a digest twice": (setting(digests='{"a": "", "a": ""}'), "'a' is there twice"),
    "a list": (setting(digests="[]"), "not one for each tensor"),
    "one missing": (digests(lambda d: d.pop("lstm/bias")), "not one for each tensor"),
    "one too many": (digests(lambda d: d.update(x="")), "not one for each tensor"),
    "metadata's missing": (digests(lambda d: d.pop("__metadata__")), "not one for each tensor"),
    "md5": (digests(lambda d: d.update({"lstm/bias": "md5:00"})), "digest of 'lstm/bias' is 'md5:00'"),
    "a number": (digests(lambda d: d.update({"lstm/bias": 3})), "digest of 'lstm/bias' is 3"),
    "model": (setting(model="{}"), "metadata are not those that were written"),
    "gates": (setting(gates="iofc"), "metadata are not those that were written"),
    "a key added": (setting(step="3"), "metadata are not those that were written"),
    "a key lost": (without("lstmcore_version"), "lack 'lstmcore_version'"),
}


@pytest.mark.parametrize(("spoil", "fault"), SPOILED.values(), ids=SPOILED)
def test_metadata_that_were_altered(tmp_path: Path, spoil: Callable[[dict[str, Any]], None], fault: str) -> None:
    craft(tmp_path / "m", WEIGHTS, spoil=spoil)
    with pytest.raises(DamagedFileError, match=fault):
        read_header(tmp_path / "m")


def test_a_plain_safetensors_file(tmp_path: Path) -> None:
    """Foreign, not damaged, though it also has a dtype that is refused."""
    save_file({"x": np.ones(3, np.int8)}, tmp_path / "m")
    with pytest.raises(ForeignFileError, match="is a safetensors file, but not a weight file of lstmcore"):
        read(tmp_path / "m")


MISMATCHES: dict[str, tuple[dict[str, tuple[tuple[int, ...], str] | None], list[str]]] = {
    "shape": (
        {"lstm/kernel": ((3, 12), "float32")},
        ["lstm/kernel has shape (3, 16); expected (3, 12)"],
    ),
    "rank": ({"lstm/bias": ((16, 1), "float32")}, ["lstm/bias has shape (16,); expected (16, 1)"]),
    "dtype": ({"dense/kernel": ((4, 2), "float32")}, ["dense/kernel is of float64; expected float32"]),
    "missing": ({"gru/bias": ((3,), "float32")}, ["gru/bias is missing"]),
    "extra": ({"dense/scale": None}, ["dense/scale is not of this model"]),
    "renamed": (
        {"lstm/bias": None, "lstm_1/bias": ((16,), "float32")},
        ["lstm_1/bias is missing; the file has lstm/bias", "lstm/bias is not of this model"],
    ),
    "many": (
        {"lstm/bias": None, "dense/scale": None, "a": ((), "float32"), "dense/kernel": ((2, 4), "float32")},
        [
            "a is missing",
            "lstm/bias is not of this model",
            "dense/scale is not of this model",
            "dense/kernel has shape (4, 2); expected (2, 4)",
            "dense/kernel is of float64; expected float32",
        ],
    ),
}


@pytest.mark.parametrize(("changes", "faults"), MISMATCHES.values(), ids=MISMATCHES)
def test_files_of_another_model(
    path: Path, changes: dict[str, tuple[tuple[int, ...], str] | None], faults: list[str]
) -> None:
    """All faults are told, and before any tensor is read: its last byte is wrong too, and nobody minds."""
    path.write_bytes(path.read_bytes()[:-1] + b"\x77")
    wanted = {name: value for name, value in {**expected(WEIGHTS), **changes}.items() if value is not None}
    with pytest.raises(WeightsMismatchError) as caught:
        read(path, wanted)
    lines = str(caught.value).split("\n")
    assert lines[0] == "m.safetensors holds the weights of another model:"
    assert sorted(lines[1:-1]) == sorted(f"  {fault}" for fault in faults)


def test_a_file_with_thousands_of_other_names(tmp_path: Path) -> None:
    write(tmp_path / "m", {f"layer_{i}/kernel": np.ones(1, np.float32) for i in range(4096)}, "")
    with pytest.raises(WeightsMismatchError) as caught:
        read(tmp_path / "m", {f"other_{i}/kernel": ((1,), "float32") for i in range(4096)})
    assert str(caught.value).count("\n") == 2 * 4096 + 1


def test_sizes_are_compared_before_memory_is_taken(tmp_path: Path) -> None:
    """A sparse file that holds, as far as its header can tell, 16 TB."""
    craft(tmp_path / "m", {"x": np.ones(4, np.float32)})
    raw = (tmp_path / "m").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + length].replace(b"[4]", b"[%d]" % 2**42).replace(b"[0, 16]", b"[0, %d]" % 2**44)
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header)
    try:
        os.truncate(tmp_path / "m", 8 + len(header) + 2**44)
    except OSError:  # the file system has no room for so long a file, sparse or not: it is cut short then
        with pytest.raises(DamagedFileError, match="cut short"):
            read(tmp_path / "m", {"x": ((4,), "float32")})
    else:
        with pytest.raises(WeightsMismatchError, match="expected \\(4,\\)"):
            read(tmp_path / "m", {"x": ((4,), "float32")})


@pytest.mark.parametrize("name", [name for name, array in WEIGHTS.items() if array.size])
def test_an_altered_tensor_is_named(path: Path, name: str) -> None:
    entry = read_header(path).tensors[name]
    for position in (entry.start, entry.stop - 1):
        content = bytearray(path.read_bytes())
        content[position] ^= 0x40
        (path.parent / "altered").write_bytes(content)
        with pytest.raises(DamagedFileError, match=f"altered: the bytes of tensor '{name}' are not those"):
            read(path.parent / "altered", expected(WEIGHTS))


def test_files_cut_short(path: Path) -> None:
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for length in {*range(header + 1), *range(0, len(content), max(1, len(content) // 50)), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFileError):
            read(path)


def test_files_with_something_behind(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DamagedFileError, match="has bytes that belong to no tensor"):
        read(path)


def test_flipped_bits(path: Path) -> None:
    content, chance = path.read_bytes(), random.Random(3)
    for _ in range(600):
        altered = bytearray(content)
        for _ in range(chance.choice([1, 1, 1, 2, 8])):
            altered[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(altered)
        try:
            with WeightFile.open(path) as file:
                arrays = file.read(expected(WEIGHTS))
        except FileError:
            continue
        assert file.model == MODEL and same(arrays, WEIGHTS)


def test_one_descriptor(path: Path) -> None:
    """What was opened is read, whatever happens to the name; a file cut meanwhile is noticed."""
    with WeightFile.open(path) as file:
        write(path, {"x": np.ones(3)}, "other")
        assert same(file.read(expected(WEIGHTS)), WEIGHTS)
    with WeightFile.open(path) as file:
        os.truncate(path, path.stat().st_size - 1)
        with pytest.raises(DamagedFileError, match="was cut short within tensor 'x'"):
            file.read()


def test_a_link_is_followed(path: Path) -> None:
    (path.parent / "link").symlink_to(path.name)
    write(path.parent / "link", {"x": np.ones(3)}, "other")
    assert read_header(path).model == "other"
    assert read_header(path.parent / "link").model == "other"


FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
write(sys.argv[1], {"x": np.ones(1_000_000)}, "new")
"""


def test_a_full_disk(path: Path) -> None:
    with in_python(FULL_DISK, path) as process:
        _, errors = process.communicate()
    assert "OSError: [Errno 27] File too large; nothing was written, and what was there before" in errors
    assert same(read(path, expected(WEIGHTS)), WEIGHTS)
    assert os.listdir(path.parent) == [path.name]


SAVE_FOR_EVER = """
number = 0
while True:
    number += 1
    write(sys.argv[1], {name: np.full(250_000, number, np.float32) for name in "abcd"}, str(number))
"""


def test_a_killed_writer_leaves_a_whole_file(path: Path) -> None:
    chance, interrupted = random.Random(5), 0
    for _ in range(20):
        before = path.read_bytes()
        with in_python(SAVE_FOR_EVER, path) as process:
            while path.read_bytes()[-4:] == before[-4:] and process.poll() is None:
                time.sleep(0.005)
            time.sleep(chance.random() / 10)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        with WeightFile.open(path) as file:
            arrays = file.read()
        assert all((array == float(file.model)).all() for array in arrays.values())
        for left in path.parent.glob(".m.safetensors.*.tmp"):
            left.unlink()
            interrupted += 1
    assert interrupted, "no writer was killed while it wrote"


SAVE_OWN = """
for _ in range(20):
    write(sys.argv[1], {name: np.full(100_000, float(sys.argv[2])) for name in "abcd"}, sys.argv[2])
"""


def test_two_writers(path: Path) -> None:
    write(path, {"a": np.zeros(1)}, "0")
    with in_python(SAVE_OWN, path, 1) as one, in_python(SAVE_OWN, path, 2) as two:
        seen = set()
        while one.poll() is None or two.poll() is None or len(seen) == 0:
            with WeightFile.open(path) as file:
                assert all((array == float(file.model)).all() for array in file.read().values())
            seen.add(file.model)
    assert (one.returncode, two.returncode) == (0, 0)
    assert read_header(path).model in ("1", "2")
    assert os.listdir(path.parent) == [path.name]


# VmHWM, because ru_maxrss survives fork and exec: the child would begin with the peak of pytest
PEAK = """
import resource
def peak():
    if sys.platform == "linux":
        return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""

LOAD = """
before = peak()
kept = read(sys.argv[1])
print(peak() - before)
"""

SAVE = """
arrays = {name: np.ones((2000, 2000), np.float32, order=sys.argv[2]) for name in "abcd"}
before = peak()
write(sys.argv[1], arrays, "")
print(peak() - before)
"""

SLACK = 8_000_000


def grown(code: str, *arguments: object) -> int:
    with in_python(PEAK + code, *arguments) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    return int(output)


@pytest.mark.parametrize("tensors", [1, 8])
def test_memory_of_loading(tmp_path: Path, tensors: int) -> None:
    arrays = {str(i): np.ones(16_000_000 // tensors, np.float32) for i in range(tensors)}
    write(tmp_path / "m", arrays, "")
    assert 60_000_000 < grown(LOAD, tmp_path / "m") < 1.2 * 64_000_000 + SLACK


@pytest.mark.parametrize(("order", "most"), [("C", 0), ("F", 16_000_000)])
def test_memory_of_saving(tmp_path: Path, order: str, most: int) -> None:
    """Of four tensors, 64 MB: none, or one at a time where it is not in C order."""
    assert grown(SAVE, tmp_path / "m", order) < 1.2 * most + SLACK
