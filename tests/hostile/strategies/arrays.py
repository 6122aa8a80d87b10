"""Members of ``.npz`` archives: NumPy's header with anything in it, and numbers that may be too few."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

DESCRS = st.sampled_from(
    [
        "'<f4'",
        "'>f4'",
        "'<f8'",
        "'<f2'",
        "'|O'",
        "'|u1'",
        "'<c8'",
        "'<U9'",
        "'<f16'",
        "[('a', '<f4')]",
        "('<f4', (2,))",
        "__import__('os').system('touch canary')",
        "'" + "f" * 900 + "'",
    ]
)
SHAPES = st.sampled_from(
    [
        "()",
        "(2,)",
        "(3, 2)",
        "(0,)",
        "(-3, 2)",
        "(1000000000000, 1)",
        "(4294967296, 4294967296)",
        "(2L,)",
        "(1.5,)",
        "(" + "1," * 40 + ")",
        "(" + "9" * 30 + ",)",
        "eval",
    ]
)
ORDERS = st.sampled_from(["False", "False", "True", "0", "None"])
FORMS = st.sampled_from(
    [
        "{{'descr': {0}, 'fortran_order': {1}, 'shape': {2}, }}",
        "{{'descr': {0}, 'fortran_order': {1}, 'shape': {2}, 'evil': 1, }}",
        "{{'descr': {0}, 'descr': {0}, 'fortran_order': {1}, 'shape': {2}, }}",
        "{{'shape': {2}, 'descr': {0}, 'fortran_order': {1}}}",
        "{{'descr': {0}",
        "{{" + " " * 3000 + "'descr': {0}, 'fortran_order': {1}, 'shape': {2}, }}",
    ]
)


@st.composite
def members(draw: st.DrawFn) -> bytes:
    text = draw(FORMS).format(draw(DESCRS), draw(ORDERS), draw(SHAPES)).encode() + b"\n"
    version = draw(st.sampled_from([1, 1, 2, 3, 0, 9]))
    length = draw(st.just(len(text)) | st.sampled_from([0, 1, 0xFFFF, len(text) + 1]))
    size = struct.pack("<H" if version < 2 else "<I", length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + draw(st.binary(max_size=60))
