"""Random numbers that are the same bytes for the same seed, on every engine and every machine.

A `Stream` is a pure function from a key to numbers: it has no position, and asking it twice gives the
same numbers twice. Independent numbers come from independent keys: ``stream.child("dropout", 3)``.

The bits are those of Philox 4x64-10 (Salmon et al. 2011), counter from 0, whose raw output NumPy
guarantees; NumPy's own distributions may change between versions (NEP 19) and are not used. From the
bits to the numbers only operations that IEEE 754 rounds exactly are used (``+ - * / sqrt``,
comparisons, `frexp`), one ufunc at a time, so neither the CPU, nor libm, nor BLAS can alter a bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import secrets
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import SpecError

Floats = NDArray[np.float64]
Shape = tuple[int, ...]

SEED_LIMIT = 2**64


def check_seed(seed: object, what: str = "seed") -> int:
    """`seed` as an int.

    Raises:
        SpecError: it is not an integer in [0, 2**64 - 1]; a bool is not one.
    """
    try:
        number = None if isinstance(seed, (bool, np.bool_)) else operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not 0 <= number < SEED_LIMIT:
        raise SpecError(f"{what} is {seed!r}; expected an integer from 0 to 2**64 - 1.")
    return number


def _fractions(words: NDArray[np.uint64], bits: int) -> Floats:
    """The leading `bits` of each word as a number in [0, 1); exact for up to 53."""
    fractions: Floats = (words >> np.uint64(64 - bits)).astype(np.float64) * 2.0**-bits
    return fractions


@dataclass(frozen=True)
class Stream:
    """The random numbers that belong to one key: a seed, and what they are for.

    The Philox key is the first 16 bytes, little-endian, of the SHA-256 of ``json.dumps([seed, *ids])``.
    Every method starts at counter 0: the first numbers of a longer draw are those of a shorter one (`bernoulli`
    says where not).

    Args:
        seed: an integer in [0, 2**64 - 1].
        ids: what the numbers are for: strings, and integers of the same range.

    Raises:
        SpecError: the seed or an id is none of these.
    """

    seed: int
    ids: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))
        ids = (i if isinstance(i, str) else check_seed(i, "id of a random stream") for i in self.ids)
        object.__setattr__(self, "ids", tuple(ids))

    def child(self, *ids: int | str) -> Stream:
        """The stream with `ids` added to the key: independent of this one, and of every other child."""
        return Stream(self.seed, (*self.ids, *ids))

    def raw(self, count: int) -> NDArray[np.uint64]:
        """The first `count` 64-bit words: (count,)."""
        words: NDArray[np.uint64] = self._from_start().random_raw(count)
        return words

    def _from_start(self) -> np.random.Philox:
        """The thread's generator, set to this key and counter 0."""
        return _philox(hashlib.sha256(json.dumps([self.seed, *self.ids]).encode("ascii")).digest()[:16])

    def uniform(self, shape: Shape) -> Floats:
        """Uniform on [0, 1), multiples of 2**-53: float64 of `shape`."""
        return _fractions(self.raw(math.prod(shape)), 53).reshape(shape)

    def bernoulli(self, shape: Shape, probability: float) -> NDArray[np.bool_]:
        """True with this probability, to within 2**-61: bool of `shape`.

        Each number is a byte that is compared with 256 · probability, an eighth of the words that `uniform` takes.
        Where it equals the whole part of that, a word that follows the bytes decides; so a longer draw begins
        as a shorter one only up to these.
        """
        whole, rest = divmod(256 * probability, 1)
        count, bits = math.prod(shape), self._from_start()
        drawn = bits.random_raw(-(-count // 8)).astype("<u8", copy=False).view(np.uint8)[:count]
        hits = drawn < int(whole)
        if rest:
            undecided = np.flatnonzero(drawn == int(whole))
            hits[undecided] = _fractions(bits.random_raw(len(undecided)), 53) < rest
        return hits.reshape(shape)

    def normal(self, shape: Shape) -> Floats:
        """Standard normal: the inverse of its distribution function at a uniform. float64 of `shape`."""
        return _normal_quantile(self._centred(math.prod(shape))).reshape(shape)

    def truncated_normal(self, shape: Shape) -> Floats:
        """Standard normal, given that it lies within ±2; its deviation is 0.8796. float64 of `shape`."""
        z = _normal_quantile(self._centred(math.prod(shape)) * _WITHIN_TWO)
        return np.clip(z, -2.0, 2.0).reshape(shape)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """The numbers 0 .. n-1 in random order: int64 (n,)."""
        return np.argsort(self.raw(n), kind="stable").astype(np.int64)

    def _centred(self, count: int) -> Floats:
        """Uniform on (-1/2, 1/2), symmetric; never 0 or ±1/2, where the quantile would be infinite."""
        return _fractions(self.raw(count), 52) + (2.0**-53 - 0.5)


_THREAD = threading.local()


def _philox(key: bytes) -> np.random.Philox:
    """The thread's generator at counter 0 of a key (16 bytes, little-endian): a new one takes six times as long."""
    if not hasattr(_THREAD, "bits"):
        _THREAD.bits = np.random.Philox(0)
        _THREAD.start = _THREAD.bits.state  # counter 0, nothing in the buffer
    words = np.frombuffer(key, "<u8").astype(np.uint64)
    bits: np.random.Philox = _THREAD.bits
    start: Any = _THREAD.start
    bits.state = start | {"state": start["state"] | {"key": words}}
    return bits


# one for all generators, so that they can be copied and pickled
_LOCK = threading.Lock()


@dataclass(frozen=True)
class SeedGenerator:
    """A seed that gives another stream at each use, as `keras.random.SeedGenerator` does. Thread safe.

    Args:
        seed: an integer in [0, 2**64 - 1]; None takes one from the operating system.
        name: as in Keras' configs; no number depends on it.

    Raises:
        SpecError: the seed is none of these.
    """

    seed: int | None = None
    name: str = "seed_generator"
    _drawn: list[int] = field(default_factory=lambda: [0], init=False, repr=False, compare=False)
    _root: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seed is not None:
            object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "_root", secrets.randbits(64) if self.seed is None else self.seed)

    def next_stream(self) -> Stream:
        """Another stream at each call: ``Stream(seed, ("generator", k))`` for k = 0, 1, 2, ..."""
        with _LOCK:
            drawn = self._drawn[0]
            self._drawn[0] += 1
        return Stream(self._root, ("generator", drawn))


_process = SeedGenerator()


def set_random_seed(seed: int) -> None:
    """Make every number that this process draws from now on a function of `seed`.

    Raises:
        SpecError: `seed` is not an integer in [0, 2**64 - 1].
    """
    global _process
    _process = SeedGenerator(check_seed(seed))


def next_stream() -> Stream:
    """The process's next stream: a function of its seed and of how many were taken since the seed was set.

    Without `set_random_seed`, the seed comes from the operating system. Thread safe; threads that draw
    at the same time get different streams, in no fixed order.
    """
    return _process.next_stream().child("process")


# Φ(2) - Φ(-2)
_WITHIN_TWO = 0.9544997361036416

# Wichura 1988, algorithm AS 241, PPND16: numerators and denominators of three rational functions
_CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR_TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)

Rational = tuple[tuple[float, ...], tuple[float, ...]]


def _normal_quantile(q: Floats) -> Floats:
    """z with Φ(z) = 1/2 + q, for (count,) values -1/2 < q < 1/2; relative error about 1e-15 (AS 241)."""
    z = q * _rational(_CENTRE, 0.180625 - q * q)
    outer = np.flatnonzero(np.abs(q) > 0.425)
    r = np.sqrt(-_log(0.5 - np.abs(q[outer])))
    tail = _rational(_TAIL, r - 1.6)
    far = np.flatnonzero(r > 5.0)
    tail[far] = _rational(_FAR_TAIL, r[far] - 5.0)
    z[outer] = np.copysign(tail, q[outer])
    return z


def _rational(coefficients: Rational, x: Floats) -> Floats:
    numerator, denominator = (_polynomial(c, x) for c in coefficients)
    return numerator / denominator


def _polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    """Horner's rule, lowest coefficient first."""
    total = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


# ln 2 in two parts: the first has 21 trailing zero bits, so its product with an exponent is exact
_LN2_HIGH = 0.6931471803691238
_LN2_LOW = 1.9082149292705877e-10
_ATANH_SERIES = tuple(2.0 / (2 * k + 1) for k in range(1, 12))


def _log(x: Floats) -> Floats:
    """Natural logarithm of positive normal numbers, within 1 ulp.

    x = 2^e m with m in [√½, √2); log x = e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1).
    """
    m, e = np.frexp(x)
    low = m < 0.7071067811865476
    m, e = np.where(low, m + m, m), (e - low).astype(np.float64)
    f = m - 1.0
    s = f / (2.0 + f)
    s2 = s * s
    # 2 atanh(s) = f - s (f - s² ...): the leading term f is exact, all that is rounded is small beside it
    tail = s * (f - s2 * _polynomial(_ATANH_SERIES, s2))
    return e * _LN2_HIGH - ((tail - e * _LN2_LOW) - f)
