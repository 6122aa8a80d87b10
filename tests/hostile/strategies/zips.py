"""Zip archives put together by hand: every field of every record may be another one."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from strategies import mutated

WORDS = st.sampled_from([0, 1, 8, 77, 0xFFFF])
LONGS = st.sampled_from([0, 1, 30, 77, 0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFF])
NAMES = st.sampled_from(
    ["../evil", "/etc/evil", "..\\evil", "C:\\x", "a\0b", "x\n", "config.json/", "a/./b", "", "CONFIG.JSON", "x" * 600]
)
EXTRAS = st.sampled_from([b"", b"\0\0\0\0" * 9, struct.pack("<2H2Q", 1, 16, 1 << 62, 1 << 62), b"\1\0\xff\xff"])
CENTRAL = {"flags": 3, "method": 4, "crc": 7, "packed": 8, "size": 9, "disk": 13, "kind": 15, "offset": 16}


def _central(fields: list[int], name: bytes, extra: bytes) -> bytes:
    return struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields) + name + extra


@st.composite
def _archives(draw: st.DrawFn, sound: Mapping[str, bytes], inner: Mapping[str, Any]) -> bytes:
    members = [[name, content] for name, content in sound.items()]
    for member in draw(st.lists(st.sampled_from(members), max_size=2)):
        known = [strategy for end, strategy in inner.items() if member[0].endswith(end)]
        member[1] = draw(known[0] if known else st.binary(max_size=60))
    if draw(st.integers(0, 3)) == 0:
        members.append([draw(NAMES | st.sampled_from(sorted(sound))), draw(st.binary(max_size=20))])
    faulty = draw(st.integers(-len(members), len(members) - 1))  # negative: none
    made, directory = b"", b""
    for k, (name, content) in enumerate(members):
        raw = name.encode()
        method = draw(st.sampled_from([0, 0, 0, 8]))
        packed = zlib.compress(content, 9)[2:-4] if method else content
        crc, extra = zlib.crc32(content), b""
        fields = [20, 20, 0, method, 0, 0, crc, len(packed), len(content), len(raw), 0, 0, 0, 0, 0o644 << 16, len(made)]
        if k == faulty:
            for key in draw(st.lists(st.sampled_from(sorted(CENTRAL)), min_size=1, max_size=2)):
                fields[CENTRAL[key] - 1] = draw(WORDS if key in ("flags", "method", "disk") else LONGS)
            extra = draw(EXTRAS)
            fields[10] = len(extra)
        local = (20, 0, method, 0, 0, crc, len(packed), len(content), len(raw), 0)
        made += struct.pack("<4s5H3L2H", b"PK\x03\x04", *local) + raw + packed
        directory += _central(fields, raw, extra)
    end = [0, 0, len(members), len(members), len(directory), len(made), 0]
    if draw(st.integers(0, 7)) == 0:
        place = draw(st.integers(0, 6))
        end[place] = draw(LONGS if place in (4, 5) else WORDS)
    around = draw(st.sampled_from([(b"", b"")] * 6 + [(b"MZ" * 9, b""), (b"", b"evil")]))
    return around[0] + made + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", *end) + around[1]


def of(data: bytes, inner: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Archives with the members of a sound one, whose content may be what ``inner`` builds by the end of the name."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        sound = {name: file.read(name) for name in file.namelist()}
    format = "npz" if ".npy" in inner else "keras" if ".h5" in inner else "pytorch"
    return _archives(sound, inner) | _archives(sound, inner) | mutated.any_of(format, data)
