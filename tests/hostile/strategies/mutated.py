"""Sound files altered by `mutations`, and by what the other strategies build."""

from __future__ import annotations

import random

import mutations
from hypothesis import strategies as st


def any_of(format: str, data: bytes) -> st.SearchStrategy[bytes]:
    """The file with pieces moved, bits turned over, or changed in the terms of its format."""
    return st.integers(0, 2**48).map(lambda seed: mutations.altered(format, data, seed))


def json_of(data: bytes) -> st.SearchStrategy[bytes]:
    """JSON with values in it replaced, removed, doubled, renamed."""
    return st.integers(0, 2**48).map(lambda seed: mutations.text(data, random.Random(seed)))


def descriptions(data: bytes, texts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A header of C with another description in its last comment, or altered."""
    begin = data.rindex(b"/* lstmcore.c 1") + len(b"/* lstmcore.c 1")
    end = data.rindex(b"lstmcore.c end")
    put = texts.map(lambda text: data[:begin] + b'\n{"model": ' + text + b"}\n" + data[end:])
    return put | any_of("c", data)
