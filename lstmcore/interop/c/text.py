"""Names, numbers and remarks as C takes them. What a model calls its parts is anybody's text, and never code."""

from __future__ import annotations

import re
from collections.abc import Container
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import ExportError
from lstmcore.naming import unique

# Of C99, C++ and their headers, as far as a cleaned name could be one of them.
KEYWORDS: frozenset[str] = frozenset(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl complex const constexpr
    continue decltype default delete do double else enum explicit export extern false final float for friend goto if
    imaginary inline int int32_t long main memcpy memset mutable namespace new noexcept not not_eq nullptr operator or
    or_eq private protected public register restrict return short signed size_t sizeof static static_assert struct
    switch template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile
    wchar_t while xor xor_eq linux unix
    """.split()  # noqa: SIM905  a list of eighty strings would be no clearer
)
_MOST = 60  # C99 promises that 63 characters of a name count


def identifier(name: str, taken: Container[str] = KEYWORDS) -> str:
    """A name of letters, digits and underscores that begins with a letter, is no word of C's, and is not taken."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:_MOST]
    plain = plain if re.match("[A-Za-z]", plain) else f"n{plain}".rstrip("_")
    return unique(f"{plain}_" if plain in KEYWORDS else plain, taken)


def remark(text: str) -> str:
    """The text as it may stand in a comment: what could end it, or be read as something else, is ``%`` and digits."""
    return quote(text, safe=" /.,:;()[]=<>+-_'|?").replace("??", "?%3F")


def literal(value: float, dtype: str) -> str:
    """A number as C reads it back to the bit: hexadecimal, exact in every compiler of C99 or C++17."""
    number = float(np.dtype(dtype).type(value))
    if number != number:
        return "NAN"
    if number in (float("inf"), float("-inf")):
        return "-INFINITY" if number < 0 else "INFINITY"
    mantissa, _, exponent = number.hex().partition("p")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}{'.' if fraction else ''}{fraction}p{exponent}{'f' if dtype == 'float32' else ''}"


def literals(array: NDArray[np.floating]) -> list[str]:
    """All numbers of an array in row-major order. ExportError for a NaN that is not the usual one."""
    flat = array.reshape(-1)
    if np.isnan(flat).any():
        bits = flat[np.isnan(flat)].view(f"u{flat.dtype.itemsize}")
        if (bits != np.array(np.nan, flat.dtype).view(bits.dtype)).any():
            raise ExportError("a weight holds a NaN with a payload or a sign, which C has no number for")
    return [literal(value, flat.dtype.name) for value in flat.tolist()]


def wrapped(items: list[str], indent: str = "    ", width: int = 116) -> str:
    """The items with commas between, in lines that are not too long."""
    lines, line = [], indent
    for item in items:
        if len(line) + len(item) + 2 > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += f"{item}, "
    return "\n".join([*lines, line.rstrip().rstrip(",")])
