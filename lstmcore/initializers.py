"""Initial weights: Keras' initialisers, with portable numbers.

Names, arguments, defaults and configs are those of Keras 3.15. The distributions are Keras' too; the
numbers are not, for each of Keras' engines draws its own. Here a seed gives the same bytes everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import configs
from lstmcore.configs import Config, encode, wrap
from lstmcore.errors import SpecError, near
from lstmcore.orthogonal import orthonormal_rows
from lstmcore.random import SeedGenerator, Shape, Stream, check_seed

Floats = NDArray[np.float64]
Seed = int | SeedGenerator | None
Axes = Sequence[int] | None


class Initializer:
    """Base class: a frozen description of how a weight starts. Subclasses are frozen dataclasses.

    Raises:
        SpecError: an argument declared as a float is not a finite number.
    """

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            if f.type in ("float", float):
                number = _number(f"{type(self).__name__}: {f.name}", getattr(self, f.name))
                object.__setattr__(self, f.name, number)

    def sample(self, shape: Shape, stream: Stream) -> Floats:
        """The initial value: float64 of `shape`, drawn from `stream` where it is random."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to sample.")

    def config(self) -> Config:
        """The arguments, under Keras' keys and in Keras' order."""
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]  # every subclass is a dataclass
        names.sort(key=lambda name: name != "seed")
        return {name: encode(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros."""

    def sample(self, shape: Shape, stream: Stream) -> Floats:
        return np.zeros(shape)


@dataclass(frozen=True)
class Ones(Initializer):
    """All ones."""

    def sample(self, shape: Shape, stream: Stream) -> Floats:
        return np.ones(shape)


@dataclass(frozen=True, eq=False)
class Constant(Initializer):
    """One number everywhere; or a given array, such as a matrix of pretrained embeddings.

    Args:
        value: a number, or an array that broadcasts to the weight's shape (it is copied).

    Raises:
        SpecError: `value` is neither; in `sample`, it does not broadcast to the shape.
    """

    value: Any = 0.0

    def __post_init__(self) -> None:
        try:
            array = np.array(self.value)
        except ValueError:  # nested lists of unequal lengths
            array = np.array(None)
        if array.dtype.kind not in "biuf":
            raise SpecError(f"Constant: value is {self.value!r}; expected a number, or an array of numbers.")
        array.flags.writeable = False
        object.__setattr__(self, "value", array if array.ndim else array.item())

    def sample(self, shape: Shape, stream: Stream) -> Floats:
        value = np.asarray(self.value, dtype=np.float64)
        try:
            return np.array(np.broadcast_to(value, shape))
        except ValueError:
            raise SpecError(
                f"Constant: value has shape {value.shape}; expected one that broadcasts to the weight's "
                f"shape {tuple(shape)}."
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        array = np.asarray(self.value, dtype=np.float64)
        return array.shape, array.tobytes()


@dataclass(frozen=True)
class Identity(Initializer):
    """`gain` on the diagonal of a matrix, square or not, and zeros elsewhere.

    Keras 3.15 reads `gain` from a config but does not write it, and so loses it. Here it is written
    unless it is 1.

    Raises:
        SpecError: `gain` is not a number; in `sample`, the shape has not two dimensions.
    """

    gain: float = 1.0

    def config(self) -> Config:
        return {} if self.gain == 1.0 else super().config()

    def sample(self, shape: Shape, stream: Stream) -> Floats:
        if len(shape) != 2:
            raise SpecError(f"Identity: the weight's shape is {tuple(shape)}; expected two dimensions.")
        return self.gain * np.eye(*shape)


class _Random(Initializer):
    """An initialiser that draws, with Keras' argument `seed`.

    Without a seed the numbers are those of the stream given to `sample`. With an integer they are those
    of ``Stream(seed)``, whatever stream is given: two weights with the same seed and shape start equal,
    as in Keras. With a `SeedGenerator`, each call of `sample` takes its next stream.

    Raises:
        SpecError: the seed is none of these.
    """

    seed: Seed

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed is not None and not isinstance(self.seed, SeedGenerator):
            object.__setattr__(self, "seed", check_seed(self.seed, f"{type(self).__name__}: seed"))

    def sample(self, shape: Shape, stream: Stream) -> Floats:
        if isinstance(self.seed, SeedGenerator):
            stream = self.seed.next_stream()
        elif self.seed is not None:
            stream = Stream(self.seed)
        return np.asarray(self._draw(tuple(shape), stream))

    def _draw(self, shape: Shape, stream: Stream) -> Floats:
        raise NotImplementedError


@dataclass(frozen=True)
class RandomNormal(_Random):
    """Normal with this mean and standard deviation."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: Seed = None

    def _draw(self, shape: Shape, stream: Stream) -> Floats:
        return self.mean + self.stddev * stream.normal(shape)


@dataclass(frozen=True)
class TruncatedNormal(_Random):
    """Normal, cut off at two `stddev` from `mean`; the deviation of what is left is 0.88 `stddev`."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: Seed = None

    def _draw(self, shape: Shape, stream: Stream) -> Floats:
        return self.mean + self.stddev * stream.truncated_normal(shape)


@dataclass(frozen=True)
class RandomUniform(_Random):
    """Uniform from `minval` to `maxval`."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: Seed = None

    def _draw(self, shape: Shape, stream: Stream) -> Floats:
        return self.minval + (self.maxval - self.minval) * stream.uniform(shape)


@dataclass(frozen=True)
class Orthogonal(_Random):
    """`gain` times a random matrix with orthonormal columns; rows, if there are fewer rows than columns.

    All axes but the last count as rows. The matrix is the Q of the QR decomposition, with R's diagonal
    positive, of a matrix of standard normals.

    Raises:
        SpecError: `gain` is not a number; in `sample`, the shape has fewer than two dimensions.
    """

    gain: float = 1.0
    seed: Seed = None

    def _draw(self, shape: Shape, stream: Stream) -> Floats:
        if len(shape) < 2:
            raise SpecError(f"Orthogonal: the weight's shape is {shape}; expected at least two dimensions.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q = orthonormal_rows(stream.normal((min(rows, columns), max(rows, columns))))
        return self.gain * np.ascontiguousarray(q if rows < columns else q.T).reshape(shape)


def fans(shape: Shape, input_axes: Axes = None, output_axes: Axes = None) -> tuple[int, int]:
    """How many inputs and outputs a weight of this shape connects: (fan_in, fan_out).

    () is (1, 1), (n,) is (n, n), (i, o) is (i, o), (..., i, o) is (i, o) times the product of the rest;
    with axes given, the products of the shape over them.

    Raises:
        SpecError: an axis is not one of the shape's.
    """
    if input_axes is not None and output_axes is not None:
        try:
            return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
        except IndexError:
            raise SpecError(
                f"input_axes={input_axes}, output_axes={output_axes}: the weight's shape {tuple(shape)} has "
                f"only {len(shape)} axes."
            ) from None
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


_FANS: dict[str, Callable[[int, int], float]] = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2.0,
}

_TRUNCATED_DEVIATION = 0.87962566103423978  # of a standard normal cut off at ±2


def _uniform(stream: Stream, shape: Shape, variance: float) -> Floats:
    limit = math.sqrt(3.0 * variance)
    return -limit + (limit + limit) * stream.uniform(shape)


_DISTRIBUTIONS: dict[str, Callable[[Stream, Shape, float], Floats]] = {
    "truncated_normal": lambda s, shape, v: math.sqrt(v) / _TRUNCATED_DEVIATION * s.truncated_normal(shape),
    "untruncated_normal": lambda s, shape, v: math.sqrt(v) * s.normal(shape),
    "uniform": _uniform,
}


class _FanScaled(_Random):
    """Mean 0, variance scale / n, where n follows from the shape."""

    scale: float
    mode: str
    distribution: str
    input_axes: Axes
    output_axes: Axes

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("input_axes", "output_axes"):
            axes = getattr(self, name)
            if axes is not None:
                object.__setattr__(self, name, _axes(f"{type(self).__name__}: {name}", axes))
        if (self.input_axes is None) != (self.output_axes is None):
            raise SpecError(
                f"{type(self).__name__}: input_axes={self.input_axes}, output_axes={self.output_axes}; "
                f"expected both or neither. Keras 3.15 ignores one without the other: leave it out."
            )

    def _draw(self, shape: Shape, stream: Stream) -> Floats:
        n = _FANS[self.mode](*fans(shape, self.input_axes, self.output_axes))
        return _DISTRIBUTIONS[self.distribution](stream, shape, self.scale / max(1.0, n))


@dataclass(frozen=True)
class VarianceScaling(_FanScaled):
    """Mean 0 and variance scale / n, where n is the weight's fan-in, its fan-out or their average.

    Args:
        scale: positive.
        mode: "fan_in", "fan_out" or "fan_avg"; see `fans`.
        distribution: "truncated_normal" (or "normal", which means the same), "untruncated_normal" or
            "uniform". The truncated one is widened to have this variance after the cut.
        seed: None, an integer or a `SeedGenerator`.
        input_axes: the axes that fan-in counts; only together with output_axes.
        output_axes: the axes that fan-out counts.

    Raises:
        SpecError: an argument is not as above.
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: Seed = None
    input_axes: Axes = None
    output_axes: Axes = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale <= 0:
            raise SpecError(f"VarianceScaling: scale is {self.scale!r}; expected a positive number.")
        if str(self.mode) not in _FANS:
            raise SpecError(f"VarianceScaling: unknown mode {self.mode!r}.{near(self.mode, _FANS)}")
        name = str(self.distribution).lower()
        name = "truncated_normal" if name == "normal" else name
        if name not in _DISTRIBUTIONS:
            raise SpecError(f"VarianceScaling: unknown distribution {self.distribution!r}.{near(name, _DISTRIBUTIONS)}")
        object.__setattr__(self, "distribution", name)


@dataclass(frozen=True)
class _Preset(_FanScaled):
    seed: Seed = None
    input_axes: Axes = None
    output_axes: Axes = None


@dataclass(frozen=True)
class GlorotUniform(_Preset):
    """Uniform within ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    scale, mode, distribution = 1.0, "fan_avg", "uniform"


@dataclass(frozen=True)
class GlorotNormal(_Preset):
    """Truncated normal with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""

    scale, mode, distribution = 1.0, "fan_avg", "truncated_normal"


@dataclass(frozen=True)
class HeUniform(_Preset):
    """Uniform within ±sqrt(6 / fan_in) (He et al. 2015)."""

    scale, mode, distribution = 2.0, "fan_in", "uniform"


@dataclass(frozen=True)
class HeNormal(_Preset):
    """Truncated normal with variance 2 / fan_in (He et al. 2015)."""

    scale, mode, distribution = 2.0, "fan_in", "truncated_normal"


@dataclass(frozen=True)
class LecunUniform(_Preset):
    """Uniform within ±sqrt(3 / fan_in) (LeCun et al. 1998)."""

    scale, mode, distribution = 1.0, "fan_in", "uniform"


@dataclass(frozen=True)
class LecunNormal(_Preset):
    """Truncated normal with variance 1 / fan_in (LeCun et al. 1998)."""

    scale, mode, distribution = 1.0, "fan_in", "truncated_normal"


@dataclass(frozen=True)
class UnitForgetBias(Initializer):
    """An LSTM's bias with ``unit_forget_bias``: ones for the forget gate, `inner` for the gates i, c and o.

    It belongs to the layer, and is not written to configs. `inner` draws i, and c with o, from different
    streams; with a seed of its own it starts both alike, as in Keras.

    Raises:
        SpecError: in `sample`, the shape is not (4 units,).
    """

    inner: Initializer

    def sample(self, shape: Shape, stream: Stream) -> Floats:
        if len(shape) != 1 or shape[0] % 4:
            raise SpecError(f"UnitForgetBias: the weight's shape is {tuple(shape)}; expected (4 * units,).")
        units = shape[0] // 4
        i = self.inner.sample((units,), stream.child("i"))
        c_and_o = self.inner.sample((2 * units,), stream.child("c", "o"))
        return np.concatenate([i, np.ones(units), c_and_o])


def _snake(name: str) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()


_CLASSES: tuple[type[Initializer], ...] = (
    Zeros,
    Ones,
    Constant,
    Identity,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    Orthogonal,
    VarianceScaling,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
)

INITIALIZERS: dict[str, type[Initializer]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{_snake(cls.__name__): cls for cls in _CLASSES},
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
    "normal": RandomNormal,
    "one": Ones,
    "uniform": RandomUniform,
    "zero": Zeros,
}


def get(identifier: object) -> Initializer:
    """The initialiser that `identifier` means, wherever Keras takes one.

    Args:
        identifier: an `Initializer`; a class of them; a name such as "glorot_uniform" or "GlorotUniform";
            a config such as `serialize` or Keras writes, of today or of Keras 2 (whose key "dtype" says
            nothing: the weight has a dtype of its own).

    Raises:
        SpecError: it is none of these, or names what does not exist.
    """
    if isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, np.ndarray):
        raise SpecError("an array is no initializer; for given values, use Constant(array)")
    return configs.read(identifier, INITIALIZERS, "initializer", obsolete=("dtype",))


def serialize(initializer: Initializer) -> Config:
    """The config that `keras.initializers.serialize` gives, Keras 3.15.

    Raises:
        SpecError: it is not one of Keras' initialisers.
    """
    name = type(initializer).__name__
    if INITIALIZERS.get(name) is not type(initializer):
        raise SpecError(f"{initializer!r} cannot be written to a config: it is not one of Keras' initializers.")
    return wrap("keras.initializers", name, initializer.config())


def _number(what: str, value: object) -> int | float:
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise SpecError(f"{what} is {value!r}; expected a finite number.")
    return number


def _axes(what: str, axes: object) -> tuple[int, ...]:
    if isinstance(axes, (list, tuple)) and all(isinstance(a, int) for a in axes):
        return tuple(axes)
    raise SpecError(f"{what} is {axes!r}; expected a list of integers.")
