"""Headers of ``.safetensors``: those of other programs built from nothing, and our own with parts of them replaced."""

from __future__ import annotations

import json
import struct
from typing import Any

import torch_files as make
from hypothesis import strategies as st

from lstmcore.weights.header import metadata_digest
from strategies import configs, mutated

NAMES = st.sampled_from(["weight", "bias", "../x", "a/b", "x\0", "\u202e", "", "n" * 600, "__metadata__"])
DTYPES = st.sampled_from(["F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "", "evil", 3, None])
SIZES = st.sampled_from([0, 1, 2, 3, 6, 24, 32, -1, 2**31, 2**53, 2**63, 2**64, 2.0, "2", None])


@st.composite
def entries(draw: st.DrawFn) -> Any:
    shape = draw(st.just([2, 3]) | st.just([2]) | st.lists(SIZES, max_size=4))
    offsets = draw(st.sampled_from([[0, 24], [24, 32], [0, 8], [0, 0]]) | st.lists(SIZES, max_size=3))
    made: dict[str, Any] = {"dtype": draw(st.just("F32") | DTYPES), "shape": shape, "data_offsets": offsets}
    for key in draw(st.lists(st.sampled_from([*made, "evil"]), max_size=1)):
        made[key] = draw(configs.VALUES)
    return made


@st.composite
def foreign(draw: st.DrawFn) -> bytes:
    """A file as PyTorch's users have them, around a model of two weights."""
    fields: dict[str, Any] = {**make.GOOD} if draw(st.booleans()) else {}
    fields |= draw(st.dictionaries(NAMES, entries(), max_size=3))
    if draw(st.booleans()):
        told = st.dictionaries(configs.TEXTS | st.sampled_from(["lstmcore_spec", "lstmcore_vectors"]), configs.TEXTS)
        fields["__metadata__"] = draw(told | configs.VALUES)
    raw = json.dumps(fields).encode()
    raw = draw(st.sampled_from([raw, raw, raw, b" " + raw, raw + b" " * 9, raw.replace(b'"bias"', b'"weight"')]))
    length = draw(st.none() | st.sampled_from([0, 1, 8, len(raw) + 1, 2**31, 2**63, 2**64 - 1]))
    data = draw(st.just(make.WEIGHT + make.BIAS) | st.binary(max_size=40))
    return make.safetensors(raw, data, length)


def own(data: bytes) -> st.SearchStrategy[bytes]:
    """A file of ours with another description, other metadata or entries, its digests mostly right."""
    size = int.from_bytes(data[:8], "little")
    sound = json.loads(data[8 : 8 + size])

    @st.composite
    def built(draw: st.DrawFn) -> bytes:
        fields = json.loads(json.dumps(sound))
        told = fields["__metadata__"]
        if draw(st.booleans()):
            told["model"] = draw(configs.texts()).decode("utf-8", "replace")
        for key in draw(st.lists(st.sampled_from(sorted(told)), max_size=2)):
            told[key] = draw(configs.TEXTS | configs.VALUES.map(json.dumps))
        for name in draw(st.lists(st.sampled_from(sorted(fields)[1:]), max_size=2)):
            fields[draw(st.just(name) | NAMES)] = draw(entries())
        if draw(st.integers(0, 9)):
            digests = json.loads(sound["__metadata__"]["digests"])
            told["digests"] = json.dumps({**digests, "__metadata__": metadata_digest(told)})
        raw = json.dumps(fields).encode()
        return struct.pack("<Q", len(raw)) + raw + data[8 + size :]

    return built() | mutated.any_of("own", data)
