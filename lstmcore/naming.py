"""How things without a name are named: as Keras does, but counted within a model, not in the process."""

from __future__ import annotations

import re
from collections.abc import Container


def snake(name: str) -> str:
    """``SimpleRNN`` -> ``simple_rnn``, ``Conv1D`` -> ``conv1d``: Keras' rule."""
    spaced = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", spaced).lower()


def unique(base: str, taken: Container[str]) -> str:
    """``base``, or ``base_1``, ``base_2``, ..., whichever is free first."""
    candidate, k = base, 0
    while candidate in taken:
        k += 1
        candidate = f"{base}_{k}"
    return candidate
