"""Numbers 1 to 14 of the checklist: every attack on a zip archive, on each format that is one."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import samples
from reader import Reader, harmless

Attack = Callable[[bytes], bytes]
FORMATS = ("keras", "npz", "pytorch")
CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"


def packed(data: bytes, grow: int, which: Callable[[list[str]], str]) -> bytes:
    """A member longer by so many zeros, which deflate to a thousandth."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    made, chosen = io.BytesIO(), which(list(members))
    with zipfile.ZipFile(made, "w") as file:
        for name, content in members.items():
            if name != chosen:
                file.writestr(name, content)
                continue
            with file.open(_info(name), "w", force_zip64=True) as member:
                member.write(content)
                for _ in range(grow >> 20):
                    member.write(bytes(1 << 20))
    return made.getvalue()


def numbers(names: list[str]) -> str:
    """A member that holds weights."""
    return next((name for name in names if name.endswith(("data/0", ".h5"))), names[-1])


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def with_member(name: str, content: bytes = b"x", mode: int = 0o644) -> Attack:
    def attack(data: bytes) -> bytes:
        made = io.BytesIO(data)
        info = zipfile.ZipInfo("x")
        info.filename, info.external_attr = name, mode << 16
        with zipfile.ZipFile(made, "a") as file:
            file.writestr(info, content)
        return made.getvalue()

    return attack


def first_again(data: bytes) -> bytes:
    made = io.BytesIO(data)
    with zipfile.ZipFile(made, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr(file.namelist()[0], file.read(file.namelist()[0]))
    return made.getvalue()


def many(data: bytes) -> bytes:
    made = io.BytesIO(data)
    with zipfile.ZipFile(made, "a") as file:
        for k in range(100_000):
            file.writestr(zipfile.ZipInfo(f"x{k}"), b"")
    return made.getvalue()


def within(data: bytes) -> bytes:
    """The archive in an archive, under the name of its first member."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file, zipfile.ZipFile(io.BytesIO(data)) as inner:
        for k, name in enumerate(inner.namelist()):
            file.writestr(name, inner.read(name) if k else data)
    return made.getvalue()


def put(sign: bytes, offset: int, new: bytes) -> Attack:
    """Something else in the last record of that kind."""

    def attack(data: bytes) -> bytes:
        at = data.rindex(sign) + offset
        return data[:at] + new + data[at + len(new) :]

    return attack


def zip64(data: bytes) -> bytes:
    """A second end, which says that there is one member, a petabyte long."""
    at = data.rindex(END)
    directory = struct.unpack("<L", data[at + 16 : at + 20])[0]
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 1 << 50, directory)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    return data[:at] + end + locator + data[at : at + 8] + b"\xff" * 12 + b"\0\0"


ATTACKS: dict[str, Attack] = {
    "1 first member a bomb": lambda data: packed(data, 300 << 20, lambda names: names[0]),
    "2 largest member a bomb": lambda data: packed(data, 300 << 20, numbers),
    "2 every member a bomb": lambda data: packed(packed(data, 40 << 20, min), 40 << 20, max),
    "3 an archive within": within,
    "4 a size": put(CENTRAL, 24, struct.pack("<L", 77)),
    "4 a packed size": put(CENTRAL, 20, struct.pack("<L", 77)),
    "4 huge sizes": put(CENTRAL, 20, struct.pack("<2L", 0xFFFFFFF0, 0xFFFFFFF0)),
    "5 a member twice": first_again,
    "6 up and out": with_member("../evil"),
    "6 up and out below": with_member("x/../../evil"),
    "7 absolute": with_member("/etc/evil"),
    "8 backslashes": with_member("..\\evil"),
    "8 a drive": with_member("C:\\evil"),
    "9 a symbolic link": with_member("link", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "10 100,000 members": many,
    "11 encrypted": put(CENTRAL, 8, b"\x01\x00"),
    "11 encrypted strongly": put(CENTRAL, 8, b"\x41\x00"),
    "12 a directory cut short": lambda data: data[: data.rindex(CENTRAL) + 20],
    "12 no end": lambda data: data[: data.rindex(END)],
    "12 an end without a directory": lambda data: END + bytes(18),
    "13 sizes in zip64 fields that are not there": put(CENTRAL, 20, b"\xff" * 8),
    "13 a directory in zip64 that is not there": put(END, 16, b"\xff\xff\xff\xff"),
    "13 a lying zip64 end": zip64,
    "14 something before": lambda data: b"MZ" + bytes(510) + data,
    "14 something after": lambda data: data + b"<html>",
    "14 a comment": lambda data: data[:-2] + b"\x04\x00evil",
    "14 something in between": lambda data: data[: data.rindex(END)] + b"evil" + data[data.rindex(END) :],
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_the_archive(format: str, name: str, ask: Reader, tmp_path: Path) -> None:
    job = samples.FORMATS[format](tmp_path)
    data = Path(job["path"]).read_bytes()
    Path(job["path"]).write_bytes(ATTACKS[name](data))
    before = sorted(tmp_path.rglob("*"))
    answer = ask(job)
    assert answer["result"] == "refused", answer
    harmless(answer)
    assert os.path.basename(job["path"]) in answer["told"] and str(tmp_path) not in answer["told"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("format", FORMATS)
def test_what_lies_at_random_in_the_directory(format: str, ask: Reader, tmp_path: Path) -> None:
    """Any two bytes of the directory: refused, or of no meaning."""
    job = samples.FORMATS[format](tmp_path)
    data = Path(job["path"]).read_bytes()
    generator = random.Random(format)
    start = data.index(CENTRAL)
    for _ in range(40):
        made = bytearray(data)
        for _ in range(2):
            made[generator.randrange(start, len(made))] = generator.randrange(256)
        Path(job["path"]).write_bytes(made)
        harmless(ask(job))
