"""Pickles of PyTorch, instruction by instruction: state_dicts whose tensors say anything, and any order of things."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import torch_files as make
from hypothesis import strategies as st

NUMBERS = st.sampled_from([0, 1, 2, 3, 6, -1, 5, 7, 2**31, 2**40, 2**61, 2**63, 2**200])
KINDS = st.sampled_from(["Float", "Double", "Half", "BFloat16", "Int", "Long", "Bool", "ComplexFloat", "QInt8", "Evil"])
PATHS = st.sampled_from(
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_parameter",
        "collections.OrderedDict",
        "torch.Size",
        "argparse.Namespace",
        "numpy.core.multiarray._reconstruct",
        "torch.nn.modules.linear.Linear",
        "collections.Counter",
    ]
)
KEYS = st.sampled_from(["weight", "bias", "module.weight", "../x", "a\n\x1b[2J", "", "x" * 700, "lstm.weight_ih_l0"])
SINGLE = [bytes([code]) for code in b"()}]NQRbst.aeud\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94l0"]
PIECES = st.one_of(
    st.sampled_from(SINGLE),
    st.sampled_from(
        [b"K\x00", b"q\x00", b"h\x00", b"\x80\x02", b"r\xff\xff\xff\xff", b"X\xff\xff\xff\x7f", b"\x82\x01"]
    ),
    PATHS.map(make.name),
    KEYS.map(make.text),
    NUMBERS.map(make.integer),
)


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """A tensor, most of it right."""
    key, count = draw(st.sampled_from(["0", "1", "7", "../x"])), draw(st.sampled_from([6, 2]) | NUMBERS)
    kind = f"torch.{draw(st.just('Float') | KINDS)}Storage"
    storage = make.storage(key, count, kind, draw(st.sampled_from(["cpu", "cuda:0", "meta"])))
    lengths = st.lists(NUMBERS, max_size=4)
    shape, stride = draw(st.just((2, 3)) | lengths), draw(st.just((3, 1)) | st.just((0, 0)) | lengths)
    made = draw(st.just("") | PATHS)
    return make.tensor(storage, draw(st.just(0) | NUMBERS), shape, stride, made=made)


def states() -> st.SearchStrategy[bytes]:
    """Pickles of state_dicts, in checkpoints or by themselves, or of nothing known."""
    values = tensors() | st.builds(make.tensor, st.just(make.storage())) | NUMBERS.map(make.integer) | st.just(b"]")
    called = st.builds(lambda path, text: make.name(path) + b"(" + make.text(text) + b"tR", PATHS, KEYS)
    pairs = st.lists(st.tuples(KEYS, values | called), max_size=5)
    whole = pairs.map(lambda found: make.entries(("weight", make.tensor(make.storage())), *found))
    nested = st.tuples(whole, st.sampled_from([0, 0, 1, 2, 200])).map(_nested)
    loose = st.lists(PIECES, max_size=25).map(b"".join)
    return (nested | loose).map(lambda raw: b"\x80\x02" + raw + b".")


def _nested(given: tuple[bytes, int]) -> bytes:
    raw, depth = given
    for _ in range(depth):
        raw = make.entries(("model", raw))
    return raw


@st.composite
def legacy(draw: st.DrawFn) -> bytes:
    """A file of PyTorch before 1.6, in which any part may be another."""
    numbers: Any = [struct.pack("<q", draw(st.just(6) | _QUADS)) + make.WEIGHT, struct.pack("<q", 2) + make.BIAS]
    parts: dict[str, Any] = {"numbers": numbers, "pickle": draw(st.just(b"") | states())}
    parts["keys"] = draw(st.just(("0", "1")) | st.lists(KEYS, max_size=3))
    parts["version"] = draw(st.just(1001) | _QUADS)
    data = make.legacy(**parts)
    cut = draw(st.sampled_from([0, 0, 0, 1, 40]))
    evil = draw(st.sampled_from([b"", b"", b"evil", pickle.dumps({}, 2)]))
    return data[: len(data) - cut] + evil


_QUADS = st.sampled_from([0, 1, -1, 7, 2**31, 2**40, -(2**63), 2**63 - 1])
