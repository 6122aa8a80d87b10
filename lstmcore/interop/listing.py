"""What is in a model file, told from its headers alone: no array is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Listed:
    """One array of a file: its name there, its shape, and its dtype as the file calls it."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Listing:
    """The arrays of a file, and what else its headers say, such as who wrote it (JSON values, in order)."""

    arrays: tuple[Listed, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
