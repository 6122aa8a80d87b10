"""The numbers that cases run on: the same everywhere, asymmetric, unsaturated, exact in float32.

Every number is drawn from `lstmcore.random.Stream` under the case's key and the tensor's name, so no two
gates, directions, rows or weights are alike. Magnitudes keep away from zero (a weight that does nothing
tests nothing) and from saturation; recurrences contract, so that 50 steps amplify no rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.program import Noise
from lstmcore.random import Stream

Array = NDArray[Any]
SEED = 1997

# Weights are this much smaller where the activation grows faster than its input, larger where it shrinks it.
GAIN: Mapping[str, float] = MappingProxyType(
    {
        "exponential": 0.25,
        "squareplus": 0.6,
        "softplus": 0.7,
        "selu": 0.7,
        "tanh_shrink": 2.5,
        "soft_shrink": 1.5,
        "hard_shrink": 1.5,
    }
)


# The largest weight of a port, and whether it is divided by the root of the fan-in.
REACH: Mapping[str, tuple[float, bool]] = MappingProxyType(
    {
        "kernel": (1.1, True),
        "recurrent_kernel": (0.9, True),
        "bias": (0.6, False),
        "embeddings": (1.0, False),
        "gamma": (1.5, False),
        "beta": (0.6, False),
        "moving_mean": (0.6, False),
        "moving_variance": (1.8, False),
    }
)
OTHERS = (1.0, False)
POSITIVE = ("moving_variance",)


@lru_cache(maxsize=1)
def _redrawn() -> dict[str, int]:
    """Key -> which draw is used, where the first happens to cancel (`measure_conditioning.py` finds them)."""
    table: dict[str, int] = json.loads(resources.files(__package__).joinpath("redrawn.json").read_text("utf-8"))
    return table


def stream(key: str, *names: str) -> Stream:
    """The random numbers for one tensor of a case."""
    draw = _redrawn().get(key, 0)
    return Stream(SEED, (f"{key}#{draw}" if draw else key, *names))


def _sized(source: Stream, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Random signs, magnitudes from ``low`` to ``high``."""
    size = low + (high - low) * source.child("size").uniform(shape)
    return np.where(source.child("sign").uniform(shape) < 0.5, -size, size)


def float32_exact(x: Array) -> Array:
    """Rounded to float32, kept as float64: both dtypes then compute from the same numbers."""
    return x.astype(np.float32).astype(np.float64)


def weight(key: str, path: str, shape: tuple[int, ...], gain: float = 1.0) -> Array:
    """A weight by its path, ``"lstm/recurrent_kernel"``: kernels scaled by fan-in, biases up to 0.6."""
    port = path.rpartition("/")[2]
    reach, fan = REACH.get(port, OTHERS)
    most = reach * (min(gain, 1.0) if port == "recurrent_kernel" else gain)
    most /= np.sqrt(np.prod(shape[:-1])) if fan else 1
    drawn = float32_exact(_sized(stream(key, path), shape, 0.4 * most, most))
    return np.abs(drawn) if port in POSITIVE else drawn


def state(key: str, name: str, shape: tuple[int, ...]) -> Array:
    """A state to start from."""
    return float32_exact(_sized(stream(key, "state", name), shape, 0.2, 0.9))


def direction(key: str, name: str, shape: tuple[int, ...]) -> Array:
    """What the numbers of an output are multiplied with before they are added up."""
    return float32_exact(_sized(stream(key, name), shape, 0.3, 1.4))


def noise(key: str, noise: Noise, shape: tuple[int, ...]) -> Array:
    """The random numbers of a training step, exact in float32."""
    source = stream(key, "noise", noise.name)
    return float32_exact(NOISES[noise.kind](source, shape, noise.rate))


NOISES: Mapping[str, Callable[[Stream, tuple[int, ...], float], Array]] = MappingProxyType(
    {
        "dropout": lambda source, shape, rate: np.where(source.uniform(shape) < rate, 0.0, 1 / (1 - rate)),
        "normal": lambda source, shape, rate: rate * source.normal(shape),
    }
)


def ids(key: str, name: str, shape: tuple[int, ...], limit: int) -> Array:
    """Token ids: the first and the last token occur, and a third of them is 0."""
    source = stream(key, name)
    drawn = (source.uniform(shape) * limit).astype(np.int32)
    drawn[source.child("padding").uniform(shape) < 0.33] = 0
    drawn.reshape(-1)[-1] = limit - 1
    return drawn


def bools(key: str, name: str, shape: tuple[int, ...]) -> Array:
    """True and False, more of the former."""
    return stream(key, name).uniform(shape) < 0.6


def _plain(source: Stream, shape: tuple[int, ...]) -> Array:
    return _sized(source, shape, 0.05, 1.6)


def _grid(source: Stream, shape: tuple[int, ...], reach: float) -> Array:
    """Evenly over ±reach, in random order, with its ends, zero and a negative zero."""
    count = int(np.prod(shape))
    points = np.linspace(-reach, reach, count) + (2 * reach / count) * (source.uniform((count,)) - 0.5)
    points[:4] = (-reach, 0.0, -0.0, reach)
    return points[source.child("order").permutation(count)].reshape(shape)


def _with(source: Stream, shape: tuple[int, ...], *special: float) -> Array:
    x = _plain(source, shape)
    x.reshape(-1)[: len(special)] = special
    return x


def _few(source: Stream, shape: tuple[int, ...]) -> Array:
    """Few numbers, so that some are equal."""
    return np.array([-0.5, 0.0, 0.25, 1.0])[(source.uniform(shape) * 4).astype(int)]


def _gaps(source: Stream, shape: tuple[int, ...], gap: float) -> Array:
    """Some steps hold one number alone, and one step does but for its last feature."""
    x = _plain(source, shape)
    steps = x.reshape(shape[0], -1, shape[-1])
    steps[~mask("holes", *steps.shape[:2])] = gap
    steps[0, 0, :-1] = gap
    return x


NAN_WHERE_MASKED = "nan_where_masked"


def nan_where_masked(x: Array, mask: Array) -> Array:
    """The input with nothing but NaN at its masked steps."""
    return np.where(mask.reshape(*mask.shape, *[1] * (x.ndim - 2)), x, np.nan)


# Ranges of float inputs.
VALUES: Mapping[str, Callable[[Stream, tuple[int, ...]], Array]] = MappingProxyType(
    {
        "plain": _plain,
        "positive": lambda source, shape: np.abs(_plain(source, shape)),
        "share": lambda source, shape: 0.05 + 0.9 * source.uniform(shape),
        "sloped": lambda source, shape: 8 * source.uniform(shape) - 4,  # at no kink
        "far": lambda source, shape: 160 * source.uniform(shape) - 80,
        "few": _few,
        "tenths": lambda source, shape: _few(source, shape) + 0.1,
        "outside": _plain,  # of ids, see `subjects`
        NAN_WHERE_MASKED: _plain,
        "gaps": lambda source, shape: _gaps(source, shape, 0.0),
        "quarters": lambda source, shape: _gaps(source, shape, -0.25),
        "near": lambda source, shape: _grid(source, shape, 4.0),
        "wide": lambda source, shape: _grid(source, shape, 80.0),
        "huge": lambda source, shape: _grid(source, shape, 1e4),
        "infinite": lambda source, shape: _with(source, shape, np.inf, -np.inf),
        "nan": lambda source, shape: _with(source, shape, np.nan),
    }
)


# Those where a small step meets no kink, and no number is infinite.
AWAY_FROM_KINKS = ("plain", "positive", "share", "sloped")


def floats(key: str, name: str, shape: tuple[int, ...], values: str) -> Array:
    """A float input."""
    return float32_exact(VALUES[values](stream(key, name), shape))


def _lengths(batch: int, steps: int) -> Array:
    return np.maximum(steps - 2 * np.arange(batch), 1)[:, None]


def _holes(b: Array, t: Array) -> Array:
    return (7 * t + 3 * b + t * b) % 3 != 1


# Patterns of masks from row and step numbers: True where the step counts. Every row differs.
MASKS: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "none": lambda b, t: (b + t) >= 0,
        "right": lambda b, t: t < _lengths(b.shape[0], t.shape[1]),
        "left": lambda b, t: t >= t.shape[1] - _lengths(b.shape[0], t.shape[1]),
        "holes": _holes,
        "first": lambda b, t: (t > 0) & ((t + b) > 0),
        "full_row": lambda b, t: _holes(b, t) & (b < max(b.shape[0] - 1, 0)),
        "all": lambda b, t: (b + t) < 0,
    }
)


def mask(pattern: str, batch: int, steps: int) -> Array:
    """A mask bool (batch, steps)."""
    return MASKS[pattern](np.arange(batch)[:, None], np.arange(steps)[None])
