"""Files made to do harm, or damaged: each is refused with a reason, soon and in little memory, and runs nothing.

Numbers 42 to 52 and 57 to 63 of the checklist; archives as such are in test_archives.py.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_files as make
from reader import Reader, harmless, refused

import lstmcore as lc
from lstmcore.errors import FileError
from lstmcore.interop.pytorch.pickled import read_pickle

CANARY = "canary"

Case = Callable[[Path], Any]


class Evil:
    """What a pickle may make its reader call."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self.called, self.arguments = called, arguments

    def __reduce__(self) -> Any:
        return self.called, self.arguments


def said(weight: bytes = b"", *more: tuple[str, bytes], **options: Any) -> Case:
    """An archive whose pickle says this."""
    return lambda folder: make.archive(folder / "m.pt", make.state(weight, *more), **options)


def pickled(raw: bytes) -> Case:
    """An archive with this pickle."""
    return lambda folder: make.archive(folder / "m.pt", raw)


def written(raw: bytes, name: str = "m.pt") -> Case:
    def case(folder: Path) -> Path:
        (folder / name).write_bytes(raw)
        return folder / name

    return case


def headed(header: Any, data: bytes = bytes(32), length: int | None = None) -> Case:
    return written(make.safetensors(header, data, length), "m.safetensors")


def beside(called: Any, *arguments: Any) -> Case:
    """A good state_dict in a checkpoint beside something that calls."""
    evil = pickle.dumps(Evil(called, *arguments), 2)[2:-1]
    good = make.state()[2:-1]
    return pickled(b"\x80\x02" + make.entries(("model", good), ("epoch", evil)) + b".")


def weight(*arguments: Any, **options: Any) -> Case:
    """A good state_dict but for its weight."""
    return said(make.tensor(*arguments, **options))


def calling(path: str, arguments: bytes) -> Case:
    return said(make.name(path) + arguments + b"R")


def changed(case: Case, *places: tuple[bytes, int, bytes]) -> Case:
    """The file with bytes put at an offset from where a pattern is last found."""

    def changing(folder: Path) -> Path:
        path = case(folder)
        data = bytearray(path.read_bytes())
        for pattern, offset, new in places:
            at = data.rindex(pattern) + offset
            data[at : at + len(new)] = new
        path.write_bytes(data)
        return path

    return changing


def archived(member: str, data: bytes = b"", attributes: int = 0) -> Case:
    def case(folder: Path) -> Path:
        path = make.archive(folder / "m.pt", make.state())
        info = zipfile.ZipInfo(member)
        info.external_attr = attributes << 16
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(info, data)
        return path

    return case


def tar(folder: Path) -> Path:
    import tarfile

    (folder / "storages").write_bytes(b"x")
    with tarfile.open(folder / "m.pt", "w") as file:
        file.add(folder / "storages", "storages")
    return folder / "m.pt"


PICKLES: dict[str, Case] = {
    "os.system": calling("os.system", b"(" + make.text(f"touch {CANARY}") + b"t"),
    "posix.system": calling("posix.system", b"(" + make.text(f"touch {CANARY}") + b"t"),
    "builtins.eval": calling("builtins.eval", b"(" + make.text(f"open('{CANARY}', 'w')") + b"t"),
    "builtins.exec of Python 2": calling("__builtin__.eval", b"(" + make.text("1") + b"t"),
    "builtins.getattr": calling("builtins.getattr", b"(" + make.text("a") + make.text("b") + b"t"),
    "subprocess.Popen": calling("subprocess.Popen", b"(" + make.text("true") + b"t"),
    "torch.load": calling("torch.load", b"(" + make.text("other.pt") + b"t"),
    "torch.hub.load": calling("torch.hub.load", b"(" + make.text("a") + make.text("b") + b"t"),
    "torch._utils._import_dotted_name": calling("torch._utils._import_dotted_name", b"(" + make.text("os") + b"t"),
    "numpy.load": calling("numpy.load", b"(" + make.text("x.npy") + b"t"),
    "numpy.testing runstring": calling("numpy.testing._private.utils.runstring", b"(t"),
    "beside the weights, os.system": beside(os.system, f"touch {CANARY}"),
    "beside the weights, eval": beside(eval, f"open('{CANARY}', 'w')"),
    "beside the weights, a list of calls": beside(list, [Evil(os.system, f"touch {CANARY}")]),
    "a name by STACK_GLOBAL": said(make.text("os") + make.text("system") + b"\x93" + b")R"),
    "a name by STACK_GLOBAL of a name": said(make.name("collections.OrderedDict") + make.text("x") + b"\x93"),
    "INST": said(b"(" + make.text(f"touch {CANARY}") + b"ios\nsystem\n"),
    "OBJ": said(b"(" + make.name("os.system") + make.text(f"touch {CANARY}") + b"o"),
    "NEWOBJ": said(make.name("torch.nn.modules.linear.Linear") + b")\x81"),
    "NEWOBJ of a known function": said(make.name("torch._utils._rebuild_tensor_v2") + b")\x81"),
    "NEWOBJ_EX": said(make.name("argparse.Namespace") + b")}\x92"),
    "BUILD of a tensor": said(make.tensor(make.storage()) + b"}b"),
    "BUILD of a list": said(b"]}b"),
    "EXT": said(b"\x82\x01"),
    "PERSID": said(b"Pevil\n"),
    "GET in text": said(b"g0\n"),
    "an integer in text": said(b"I" + b"9" * 1_000_000 + b"\n"),
    "a long in text": said(b"L" + b"9" * 1_000_000 + b"L\n"),
    "LONG4": said(b"\x8b" + struct.pack("<i", 1_000_000) + b"\xff" * 1_000_000),
    "a name with dots": calling("collections.OrderedDict.fromkeys", b"(" + make.text("a") + b"t"),
    "a name without end": pickled(b"\x80\x02c" + b"a" * 5000),
    "REDUCE of a text": said(make.text("os.system") + b")R"),
    "REDUCE of what a REDUCE gave": said(make.name("argparse.Namespace") + b")R)R"),
    "arguments that are none": said(make.name("torch._utils._rebuild_tensor_v2") + b"]R"),
    "too few arguments": said(make.name("torch._utils._rebuild_tensor_v2") + b")R"),
    "a tensor of a text": weight(make.text("0")),
    "a tensor of a tensor": weight(make.tensor(make.storage())),
    "negative offset": weight(make.storage(), offset=-1),
    "offset beyond the storage": weight(make.storage(), offset=1),
    "huge offset": weight(make.storage(), offset=2**63),
    "a shape beyond the storage": weight(make.storage(), shape=(200, 300), stride=(300, 1)),
    "a shape whose product overflows": weight(make.storage(), shape=(2**32, 2**32), stride=(0, 0)),
    "a shape of 2 to the 61": weight(make.storage(), shape=(2**61, 1), stride=(0, 1)),
    "negative length": weight(make.storage(), shape=(-2, 3)),
    "a length that is a float": said(
        make.name("torch._utils._rebuild_tensor_v2")
        + b"("
        + make.storage()
        + b"K\x00("
        + b"G"
        + struct.pack(">d", 2.0)
        + b"K\x03t"
        + make.sizes((3, 1))
        + b"\x89}tR"
    ),
    "a length that is true": said(
        make.name("torch._utils._rebuild_tensor_v2")
        + b"("
        + make.storage()
        + b"K\x00(\x88K\x03t"
        + make.sizes((3, 1))
        + b"\x89}tR"
    ),
    "negative stride": weight(make.storage(), offset=5, stride=(-3, -1)),
    "a stride beyond the storage": weight(make.storage(), stride=(3, 2)),
    "more strides than lengths": weight(make.storage(), stride=(3, 1, 1)),
    "a million axes": weight(make.storage(), shape=[1] * 300_000, stride=[1] * 300_000),
    "a lazy sign": weight(make.storage(), more=b"\x89}" + make.entries(("neg", b"\x88"))),
    "a storage of os.system": weight(make.storage(kind="os.system")),
    "a storage of a tensor": weight(make.storage(kind="torch._utils._rebuild_tensor_v2")),
    "a storage of bytes": weight(make.storage(kind="torch.storage.UntypedStorage", count=24)),
    "a negative storage": weight(make.storage(count=-6)),
    "a huge storage": weight(make.storage(count=2**61)),
    "a storage beyond any number": weight(make.storage(count=2**200)),
    "a storage in another file": weight(make.storage("../../../etc/passwd")),
    "a storage by an absolute path": weight(make.storage("/etc/passwd")),
    "a storage with a NUL": weight(make.storage("0\0")),
    "a storage longer than its member": weight(make.storage(count=600), shape=(200, 3)),
    "a storage that is not there": weight(make.storage("7")),
    "one storage in two ways": said(
        make.tensor(make.storage("0", 6)), ("x", make.tensor(make.storage("0", 5), shape=(5,), stride=(1,)))
    ),
    "one storage of two dtypes": said(
        b"", ("x", make.tensor(make.storage("0", 6, "torch.IntStorage"), shape=(5,), stride=(1,)))
    ),
    "a persistent id that is a text": said(make.text("storage") + b"Q"),
    "a persistent module": said(
        b"(" + make.text("module") + make.name("torch.Size") + make.text("x.py") + make.text("import os") + b"tQ"
    ),
    "a persistent id of 3": said(b"(" + make.text("storage") + make.text("0") + make.text("cpu") + b"tQ"),
    "a part of another storage": weight(
        b"("
        + make.text("storage")
        + make.name("torch.FloatStorage")
        + make.text("0")
        + make.text("cpu")
        + b"K\x06("
        + make.text("v")
        + b"K\x00K\x06ttQ"
    ),
    "an empty stack": pickled(b"\x80\x02."),
    "two things at the end": pickled(b"\x80\x02}}."),
    "a mark at the end": pickled(b"\x80\x02(."),
    "takes from an empty stack": pickled(b"\x80\x02s."),
    "a tuple without a mark": pickled(b"\x80\x02t."),
    "a mark for a key": pickled(b"\x80\x02}((su."),
    "a key without a value": pickled(b"\x80\x02}(" + make.text("a") + b"u."),
    "a memo that is not there": pickled(b"\x80\x02h\x05."),
    "a memo of nothing": pickled(b"\x80\x02q\x05."),
    "no end": pickled(b"\x80\x02}"),
    "bytes after the end": pickled(make.state() + b"evil"),
    "no instruction": pickled(b"\x80\x02\xff."),
    "protocol 200": pickled(b"\x80\xc8" + make.state()[2:]),
    "a frame beyond the end": pickled(b"\x80\x04\x95" + b"\xff" * 8 + make.state()[2:]),
    "a text beyond the end": pickled(b"\x80\x02X\xff\xff\xff\x7f."),
    "a text of 2 to the 64th": pickled(b"\x80\x02\x8d" + b"\xff" * 8 + b"."),
    "a text that is no UTF-8": pickled(b"\x80\x02X\x02\x00\x00\x00\xff\xff."),
    "a text with a surrogate": pickled(b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80."),
    "a million marks": pickled(b"\x80\x02" + b"(" * 3_000_000 + b"."),
    "a million lists": pickled(b"\x80\x02" + b"]" * 3_000_000 + b"."),
    "lists a million deep": pickled(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "a million memos": pickled(b"\x80\x02}" + b"".join(b"r" + struct.pack("<I", k) for k in range(1_000_000)) + b"."),
    "a memo of 4 billion": pickled(b"\x80\x02}r\xff\xff\xff\xffj\xff\xff\xff\xff0."),
    "a list of itself": pickled(b"\x80\x02]q\x00h\x00a."),
    "a dict of itself": pickled(b"\x80\x02}q\x00" + make.text("a") + b"h\x00s."),
    "lists that double": pickled(b"\x80\x02]q\x00" + b"".join(b"(h\x00h\x00lq\x00" for _ in range(60)) + b"."),
    "tuples that double": pickled(b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"."),
    "a million numbers": pickled(b"\x80\x02](" + b"K\x01" * 3_500_000 + b"e."),
    "a million versions": pickled(b"\x80\x02" * 4_000_000 + b"}."),
    "integers that collide": pickled(
        b"\x80\x02}(" + b"".join(make.integer(k * (2**61 - 1)) + b"N" for k in range(100_000)) + b"u."
    ),
    "floats that collide": pickled(
        b"\x80\x02}(" + b"".join(b"G" + struct.pack(">d", float(2**61 - 1) * k) + b"N" for k in range(100_000)) + b"u."
    ),
    "tuples that collide": pickled(b"\x80\x02}(" + b"".join(b")N" for _ in range(100_000)) + b"u."),
    "a pickle of 20 MB": pickled(make.state(b"", ("x", b"B" + struct.pack("<I", 20 << 20) + bytes(20 << 20)))),
    "5,000 tensors": said(b"", *[(f"x{k}", make.tensor(make.storage())) for k in range(5000)]),
    "a name of a megabyte": said(b"", ("x" * 1_000_000, make.tensor(make.storage()))),
    "a name with an escape": said(b"", ("\x1b[2Jx", make.tensor(make.storage()))),
    "a list": pickled(b"\x80\x02]."),
    "a text": pickled(b"\x80\x02" + make.text("weights") + b"."),
    "numbers for names": pickled(b"\x80\x02}K\x01" + make.tensor(make.storage()) + b"s."),
    "integers for weights": weight(make.storage(kind="torch.IntStorage")),
    "complex weights": said(make.tensor(make.storage(kind="torch.ComplexFloatStorage")), members={"data/0": bytes(48)}),
    "a tensor of a strange kind": weight(make.storage(), made="torch._utils._rebuild_sparse_tensor"),
    "another shape": weight(make.storage(), shape=(3, 2), stride=(2, 1)),
    "a huge shape by strides of 0": weight(make.storage(), shape=(2**30, 2**30), stride=(0, 0)),
}

ARCHIVES: dict[str, Case] = {
    "two roots": archived("n/data.pkl", make.state()),
    "bombs for numbers": lambda folder: make.archive(
        folder / "m.pt",
        make.state(make.tensor(make.storage(count=75_000_000), shape=(2, 3))),
        {"data/0": bytes(300_000_000)},
        zipfile.ZIP_DEFLATED,
    ),
    "a bomb for a pickle": lambda folder: make.archive(
        folder / "m.pt", b"\x80\x02" + b"]" * 300_000_000, (), zipfile.ZIP_DEFLATED
    ),
    "packed numbers": said(packed=zipfile.ZIP_DEFLATED),
    "big-endian": said(members={"byteorder": b"big"}),
    "an odd order of bytes": said(members={"byteorder": b"l" * 100}),
    "no numbers": said(members={"data/0": None}),
    "fewer numbers": said(members={"data/0": bytes(20)}),
    "more numbers": said(members={"data/0": bytes(28)}),
    "TorchScript": said(members={"constants.pkl": b"\x80\x02).", "code/m.py": b"import os"}),
    "numbers that were changed": changed(said(), (make.WEIGHT, 5, b"\x01")),
    "something before": lambda folder: written(b"#!/bin/sh\n" + said()(folder).read_bytes())(folder),
    "a tar": tar,
    "a pickle alone": written(pickle.dumps(Evil(os.system, f"touch {CANARY}"), 2)),
    "a pickle alone, called safetensors": written(pickle.dumps(Evil(os.system, f"touch {CANARY}"), 2), "m.safetensors"),
}

LEGACY: dict[str, Case] = {
    "os.system": written(make.legacy(make.state(make.name("os.system") + b"(" + make.text(f"touch {CANARY}") + b"tR"))),
    "os.system before the weights": written(
        make.MAGIC + pickle.dumps(Evil(os.system, f"touch {CANARY}"), 2) + make.legacy()[len(make.MAGIC) + 7 :]
    ),
    "os.system for the keys": written(
        make.legacy().partition(b"\x80\x02](")[0] + pickle.dumps(Evil(os.system, f"touch {CANARY}"), 2)
    ),
    "another version": written(make.legacy(version=7)),
    "big-endian": written(make.legacy(system=make.SYSTEM.replace(b"\x88", b"\x89"))),
    "a storage too few": written(make.legacy(keys=("0",), numbers=[struct.pack("<q", 6) + make.WEIGHT])),
    "a storage too many": written(make.legacy(keys=("0", "1", "2"))),
    "a storage twice": written(make.legacy(keys=("0", "0"))),
    "a storage that is longer": written(
        make.legacy(numbers=[struct.pack("<q", 2**40) + make.WEIGHT, struct.pack("<q", 2) + make.BIAS])
    ),
    "a negative length": written(
        make.legacy(numbers=[struct.pack("<q", -6) + make.WEIGHT, struct.pack("<q", 2) + make.BIAS])
    ),
    "a million keys": written(make.legacy(keys=["x"] * 200_000)),
    "keys that are numbers": written(make.legacy().replace(b"\x80\x02](" + make.text("0"), b"\x80\x02](K\x00")),
    "more at the end": written(make.legacy() + b"evil"),
    "less at the end": written(make.legacy()[:-1]),
    "huge storages": written(make.legacy(make.state(make.tensor(make.storage(count=2**60), shape=(2, 3))))),
}

HEADERS: dict[str, Case] = {
    "a length of 2 to the 64th": headed(make.GOOD, length=2**64 - 1),
    "a length beyond the file": headed(make.GOOD, length=100_000),
    "a length of 0": headed(make.GOOD, length=0),
    "overlapping": headed({"weight": make.entry(), "bias": make.entry((2,), (16, 24))}),
    "a hole": headed({"weight": make.entry(), "bias": make.entry((2,), (28, 36))}, bytes(36)),
    "bytes at the end": headed(make.GOOD, bytes(40)),
    "beyond the file": headed(make.GOOD, bytes(31)),
    "a name twice": headed(json.dumps(make.GOOD).replace('"bias"', '"weight"').encode()),
    "negative offsets": headed({"weight": make.entry(offsets=(-24, 0)), "bias": make.entry((2,), (0, 8))}),
    "offsets that are floats": headed({"weight": make.entry(offsets=(0.0, 24.0)), "bias": make.entry((2,), (24, 32))}),
    "offsets of 2 to the 63rd": headed({"weight": make.entry(offsets=(2**63, 2**63 + 24))}),
    "a shape of another length": headed({"weight": make.entry((2, 4)), "bias": make.entry((2,), (24, 32))}),
    "a dtype of another length": headed({"weight": make.entry(dtype="F64"), "bias": make.entry((2,), (24, 32))}),
    "an unknown dtype": headed({"weight": make.entry(dtype="F8_E4M3"), "bias": make.entry((2,), (24, 32))}),
    "a dtype of code": headed({"weight": make.entry(dtype={"a": 1}), "bias": make.entry((2,), (24, 32))}),
    "no length but huge": headed({"x": make.entry((0, 2**62, 2**62), (0, 0)), **make.GOOD}),
    "a product that overflows": headed({"weight": make.entry((2**32, 2**32), (0, 0))}),
    "100,000 tensors": headed({f"x{k}": make.entry((0,), (0, 0)) for k in range(20_000)}, b""),
    "metadata of numbers": headed({"__metadata__": {"format": 1}, **make.GOOD}),
    "metadata that are a list": headed({"__metadata__": ["pt"], **make.GOOD}),
    "a space before": headed(b" " + json.dumps(make.GOOD).encode()),
    "100,000 levels": headed(b'{"a":' * 100_000 + b"}" * 100_000),
    "an integer of a million digits": headed(b'{"a":' + b"9" * 1_000_000 + b"}"),
    "NaN": headed(b'{"a":NaN}'),
    "a further field": headed({"weight": {**make.entry(), "evil": 1}, "bias": make.entry((2,), (24, 32))}),
    "names that lead out": headed({"../../weight": make.entry(), "bias": make.entry((2,), (24, 32))}),
    "integers for weights": headed({"weight": make.entry(dtype="I32"), "bias": make.entry((2,), (24, 32))}),
    "another model": headed({"weight": make.entry((3, 2)), "bias": make.entry((2,), (24, 32))}),
    "a spec of os": headed({"__metadata__": {"lstmcore_spec": '{"class_name": "system", "module": "os"}'}}, b""),
}


def prefixed(prefix: str) -> Case:
    """A good state_dict whose names all begin so."""
    pairs = ((f"{prefix}weight", make.tensor(make.storage())), (f"{prefix}bias", make.GOOD_BIAS))
    return pickled(b"\x80\x02" + make.entries(*pairs) + b".")


def within(depth: int) -> Case:
    """A good state_dict in dicts in dicts."""
    inner = make.text("a")
    return pickled(b"\x80\x02" + (b"}" + inner) * depth + make.state()[2:-1] + b"s" * depth + b".")


EXPANDED = [(f"x{k}", make.tensor(make.storage(), shape=(2**20, 2**20), stride=(0, 0))) for k in range(4000)]
PARAMETERS = (make.name("torch._utils._rebuild_parameter") + b"(") * 3000 + make.tensor(make.storage())
PICKLES |= {
    "100,000 times module.": prefixed("module." * 100_000),
    "5,000 dicts deep": within(5000),
    "4,000 tensors of a trillion numbers": said(b"", *EXPANDED),
    "quantized": weight(make.storage(), made="torch._utils._rebuild_qtensor"),
    "sparse": weight(make.storage(), made="torch._utils._rebuild_sparse_csr_tensor"),
    "a storage of whole numbers quantized": weight(make.storage(kind="torch.QUInt8Storage")),
    "100,000 numbers by name": said(b"", *[(f"x{k}", make.integer(k)) for k in range(100_000)]),
    "a name that turns the line": said(b"", ("\u202e", make.tensor(make.storage()))),
    "1,000 state_dicts": pickled(
        b"\x80\x02" + make.entries(*[(f"d{k}", make.state()[2:-1]) for k in range(1000)]) + b"."
    ),
}
ARCHIVES |= {
    "a bomb for the order of bytes": said(members={"byteorder": bytes(100 << 20)}, packed=zipfile.ZIP_DEFLATED),
    "a bomb for the version": said(members={"version": bytes(100 << 20)}, packed=zipfile.ZIP_DEFLATED),
}
READ: dict[str, Case] = {
    "strides of 0": said(make.tensor(make.storage(count=1), stride=(0, 0)), members={"data/0": bytes(4)}),
    "strides that overlap": weight(make.storage(), stride=(1, 1)),
    "on the device meta": weight(make.storage(place="meta")),
    "on a device of a megabyte": weight(make.storage(place="x" * 1_000_000)),
    "parameters 3,000 deep": said(PARAMETERS + b"\x89}tR" * 3000),
    "a storage that nothing uses": said(members={"data/99": bytes(60 << 20)}),
}
"""What is strange, and no more."""

CASES = {
    f"{group}: {name}": case
    for group, cases in {"pickle": PICKLES, "archive": ARCHIVES, "legacy": LEGACY, "safetensors": HEADERS}.items()
    for name, case in cases.items()
}


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "spec.json").write_text(json.dumps(make.SPEC))
    return str(tmp_path / "spec.json")


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused(name: str, spec: str, ask: Reader, tmp_path: Path) -> None:
    refused(CASES[name](tmp_path), ask, tmp_path, spec=spec)


@pytest.mark.parametrize("name", READ)
def test_it_does_no_harm(name: str, spec: str, ask: Reader, tmp_path: Path) -> None:
    answer = ask({"path": str(READ[name](tmp_path)), "spec": spec})
    assert answer["result"] == "model", answer
    harmless(answer)


@pytest.mark.parametrize("said", ["/etc/passwd", '"/etc/passwd"', "spec.json", "[]", "", "3"])
def test_the_spec_in_a_file_is_no_path(said: str, spec: str, ask: Reader, tmp_path: Path) -> None:
    """Neither is the file read that it names, nor one beside."""
    written(make.safetensors({"__metadata__": {"lstmcore_spec": said}, **make.GOOD}, bytes(32)), "m.safetensors")(
        tmp_path
    )
    refused(tmp_path / "m.safetensors", ask, tmp_path)
    pickled = make.entries(("model", make.state()[2:-1]), ("lstmcore_spec", make.text(said)))
    make.archive(tmp_path / "m.pt", b"\x80\x02" + pickled + b".")
    refused(tmp_path / "m.pt", ask, tmp_path)
    assert str(lc.import_model(tmp_path / "m.pt", spec=spec).name) == "m"


def test_names_beside_the_weights_run_nothing(spec: str, ask: Reader, tmp_path: Path) -> None:
    """The names on the list stand for nothing: not even theirs are looked up."""
    things = [
        (f"x{k}", make.name(path) + b"(" + make.text(f"touch {CANARY}") + b"tR")
        for k, path in enumerate(["argparse.Namespace", "numpy.dtype", "pathlib.PosixPath", "builtins.bytearray"])
    ]
    good = make.state()[2:-1]
    path = make.archive(tmp_path / "m.pt", b"\x80\x02" + make.entries(("model", good), *things) + b".")
    answer = ask({"path": str(path), "spec": spec})
    assert answer["result"] == "model" and answer["done"] == []


def test_what_torch_saves_is_read_and_refused_where_it_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pt"
    torch.save({"model": torch.nn.Linear(3, 2).state_dict(), "epoch": 3}, path)
    data = path.read_bytes()
    lc.import_model(path, spec=make.SPEC)
    for part in range(50):
        path.write_bytes(data[: len(data) * part // 50])
        with pytest.raises(FileError):
            lc.import_model(path, spec=make.SPEC)


def test_instructions_at_random(tmp_path: Path) -> None:
    """Pickles made of instructions in any order: refused, or some value; nothing else comes of them."""
    pieces = [
        *(bytes([code]) for code in b"()}]NQRbst.aeud\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94l"),
        *(
            b"K\x00",
            b"K\x02",
            b"q\x00",
            b"q\x01",
            b"h\x00",
            b"h\x01",
            b"\x80\x02",
            make.text("storage"),
            make.text("0"),
        ),
        *(make.name(n) for n in ("torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "collections.OrderedDict")),
        *(make.name(n) for n in ("argparse.Namespace", "torch._utils._rebuild_parameter", "collections.Counter")),
        *(make.storage(), make.tensor(make.storage()), make.sizes((2, 3))),
    ]
    generator = random.Random(5)
    read = 0
    for _ in range(20_000):
        raw = b"\x80\x02" + b"".join(generator.choices(pieces, k=generator.randrange(1, 30))) + b"."
        try:
            read_pickle(raw, "m.pt")
            read += 1
        except FileError:
            continue
    assert read > 50
