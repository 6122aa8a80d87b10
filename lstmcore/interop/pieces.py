"""A file that takes a fixed number of samples, run on more: so many at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def piecewise(
    call: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    inputs: Mapping[str, Any],
    samples: int,
    axes: Mapping[str, int],
) -> dict[str, Any]:
    """The outputs of inputs that have a multiple of ``samples``; ``axes`` says where each input and output has them."""
    first = next(iter(inputs))
    places = range(0, inputs[first].shape[axes[first]], samples)
    runs = [call({n: a.take(range(k, k + samples), axes[n]) for n, a in inputs.items()}) for k in places]
    return {name: np.concatenate([run[name] for run in runs], axes[name]) for name in runs[0]}
