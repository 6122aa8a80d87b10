"""Numbers 1 to 14 of the checklist: every attack on a zip archive, on each format that is one."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import samples
from reader import Reader, harmless, refused

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
    """More members, all of them in one place."""
    at = data.rindex(END)
    entry = data[data.rindex(CENTRAL) : at]
    size = struct.unpack("<H", entry[28:30])[0]
    names = (f"{k:0{size}}".encode()[-size:] for k in range(100_000))
    more = b"".join(entry[:46] + name + entry[46 + size :] for name in names)
    count, start = struct.unpack("<H4xL", data[at + 10 : at + 20])
    length, place = at - start + len(more), at + len(more)
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count + 100_000, count + 100_000, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
    return data[:at] + more + end + locator + data[at : at + 8] + b"\xff" * 12 + b"\0\0"


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


def entry(data: bytes) -> int:
    """Where the directory tells of a member that holds weights."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return data.rindex(numbers(file.namelist()).encode()) - 46


def told(offset: int, new: bytes) -> Attack:
    """Something else in the directory of a member that holds weights."""

    def attack(data: bytes) -> bytes:
        at = entry(data) + offset
        return data[:at] + new + data[at + len(new) :]

    return attack


def told_there(offset: int, new: bytes) -> Attack:
    """The same in the record before the member itself."""

    def attack(data: bytes) -> bytes:
        at = struct.unpack_from("<L", data, entry(data) + 42)[0] + offset
        return data[:at] + new + data[at + len(new) :]

    return attack


def unpacking_to_more(data: bytes) -> bytes:
    """The first member packed, and its packed bytes those of 100 MB; the directory says what it was."""
    made = bytearray(packed(data, 0, lambda names: names[0]))
    bomb = zlib.compress(bytes(100 << 20), 9)[2:-4]
    at, end = made.rindex(b"PK\x03\x04"), made.index(CENTRAL)
    start = at + 30 + sum(struct.unpack("<2H", made[at + 26 : at + 30]))
    grown = len(bomb) - (end - start)
    made[start:end] = bomb
    struct.pack_into("<L", made, made.rindex(CENTRAL) + 20, len(bomb))
    place = made.rindex(END) + 16
    struct.pack_into("<L", made, place, struct.unpack_from("<L", made, place)[0] + grown)
    return bytes(made)


ATTACKS: dict[str, Attack] = {
    "1 first member a bomb": lambda data: packed(data, 300 << 20, lambda names: names[0]),
    "2 largest member a bomb": lambda data: packed(data, 300 << 20, numbers),
    "2 a member that unpacks to more": unpacking_to_more,
    "2 every member a bomb": lambda data: packed(packed(data, 40 << 20, min), 40 << 20, max),
    "3 an archive within": within,
    "4 a size": put(CENTRAL, 24, struct.pack("<L", 77)),
    "4 a packed size": put(CENTRAL, 20, struct.pack("<L", 77)),
    "4 huge sizes": put(CENTRAL, 20, struct.pack("<2L", 0xFFFFFFF0, 0xFFFFFFF0)),
    "4 a checksum": told(16, b"abcd"),
    "4 a method": told(10, b"\x0c\x00"),
    "4 another method in the member": told_there(8, b"\x08\x00"),
    "4 another name in the member": told_there(30, b"XXXX"),
    "4 a place beyond the end": told(42, struct.pack("<L", 0x7FFFFFFF)),
    "4 the place of another": told(42, struct.pack("<L", 0)),
    "4 a place within another": told(42, struct.pack("<L", 40)),
    "5 a member twice": first_again,
    "6 up and out": with_member("../evil"),
    "6 up and out below": with_member("x/../../evil"),
    "7 absolute": with_member("/etc/evil"),
    "8 backslashes": with_member("..\\evil"),
    "8 a NUL": with_member("x\0.json"),
    "8 a control character": with_member("a\x1bb"),
    "8 nothing": with_member(""),
    "8 a slash": with_member("/"),
    "8 a long name": with_member("x" * 600),
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
    "12 a number of members": put(END, 10, b"\x09\x00"),
    "12 the size of the directory": put(END, 12, struct.pack("<L", 9)),
    "12 the place of the directory": put(END, 16, struct.pack("<L", 9)),
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
    refused(job, ask, tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_strange_and_no_more(format: str, ask: Reader, tmp_path: Path) -> None:
    """Records that other programs write, or that mean nothing here."""
    attacks = (told_there(18, bytes(8)), put(CENTRAL, 38, struct.pack("<L", 0o010644 << 16)), put(CENTRAL, 34, b"\1"))
    for k, attack in enumerate(attacks):
        (tmp_path / str(k)).mkdir()
        job = samples.FORMATS[format](tmp_path / str(k))
        Path(job["path"]).write_bytes(attack(Path(job["path"]).read_bytes()))
        answer = ask(job)
        assert answer["result"] == "model", answer
        harmless(answer)
