"""JSON that describes a model, read strictly: bounded in size and depth, each key once, numbers that are numbers."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

from lstmcore.errors import UnsafeFileError
from lstmcore.storage.container import show

MAX_BYTES = 2 << 20
"""The most bytes of a description: JSON takes up to 24 times its size in memory, when made to."""

MAX_DEPTH = 100
_MAX_DIGITS = 32


def read_description(raw: bytes | str, owner: str) -> Any:
    """What the JSON says; ``owner`` is for messages. UnsafeFileError says what is wrong with it."""
    if len(raw) > MAX_BYTES:
        raise UnsafeFileError(f"{owner} has {len(raw)} bytes of JSON; at most {MAX_BYTES} are read.")
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise UnsafeFileError(f"{owner}: its JSON is nested too deeply; at most {MAX_DEPTH} levels are read.") from None
    except ValueError as error:
        raise UnsafeFileError(f"{owner}: its JSON cannot be read: {str(error)[:200]}.") from None
    if isinstance(value, (dict, list)):
        _check_depth(value, owner)
    return value


def _check_depth(value: Any, owner: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [entry for entries in inner for entry in entries if isinstance(entry, (dict, list))]
        if not level:
            return
    raise UnsafeFileError(f"{owner}: its JSON is nested too deeply; at most {MAX_DEPTH} levels are read.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"{show(twice)} is there twice")
    return fields


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else _refuse(digits)


def _float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(digits)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{show(text)} is no number that a model can hold")
