"""Streams: the bits are Philox's, the distributions are right, and the bytes are those of every machine."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import pickle
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lstmcore import random
from lstmcore.errors import SpecError
from lstmcore.random import SeedGenerator, Stream, next_stream, set_random_seed

N = 200_000
NORMAL = statistics.NormalDist()


@pytest.fixture(autouse=True)
def _own_process_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "_process", SeedGenerator())


def philox(key: int) -> Iterator[int]:
    """Philox 4x64-10 as in the paper (Salmon et al. 2011), counting from 1 as NumPy does."""
    mask = 2**64 - 1
    for count in itertools.count(1):
        block, k0, k1 = [count, 0, 0, 0], key & mask, key >> 64
        for _ in range(10):
            x, y = 0xD2E7470EE14C6C93 * block[0], 0xCA5A826395121157 * block[2]
            block = [(y >> 64) ^ block[1] ^ k0, y & mask, (x >> 64) ^ block[3] ^ k1, x & mask]
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
        yield from block


def philox_of(stream: Stream) -> Iterator[int]:
    digest = hashlib.sha256(json.dumps([stream.seed, *stream.ids]).encode()).digest()
    return philox(int.from_bytes(digest[:16], "little"))


@pytest.mark.parametrize("ids", [(), (0,), ("dropout", 3), ("é", 2**64 - 1)])
def test_raw_words_are_philox_keyed_with_the_hash_of_seed_and_ids(ids: tuple[int | str, ...]) -> None:
    expected = list(itertools.islice(philox_of(Stream(7, ids)), 11))
    assert Stream(7, ids).raw(11).tolist() == expected


def test_uniform_is_the_leading_53_bits() -> None:
    words = Stream(1).raw(5).tolist()
    assert Stream(1).uniform((5,)).tolist() == [(w >> 11) / 2**53 for w in words]


@pytest.mark.parametrize("name", ["uniform", "normal", "truncated_normal"])
def test_a_stream_is_a_pure_function_of_its_key(name: str) -> None:
    stream = Stream(3, ("a",))
    draw = getattr(stream, name)
    whole = draw((4, 6))
    assert whole.shape == (4, 6) and whole.dtype == np.float64
    assert draw((4, 6)).tobytes() == whole.tobytes()
    assert draw((13,)).tobytes() == whole.ravel()[:13].tobytes()
    assert draw(()).shape == () and draw((0, 3)).shape == (0, 3)


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.2, 1 / 3, 0.999, 1.0])
def test_bernoulli_is_a_byte_against_the_probability_and_where_they_are_equal_a_word(probability: float) -> None:
    count = 5001
    words = list(itertools.islice(philox_of(Stream(4, ("a",))), 5001))
    given = b"".join(word.to_bytes(8, "little") for word in words)[:count]
    further = iter(words[-(-count // 8) :])
    whole, rest = divmod(256 * probability, 1)
    expected = [byte < whole or (byte == whole and rest > 0 and (next(further) >> 11) / 2**53 < rest) for byte in given]
    drawn = Stream(4, ("a",)).bernoulli((3, 1667), probability)
    assert drawn.dtype == bool
    assert drawn.ravel().tolist() == expected


def test_bernoulli_is_true_as_often_as_it_should_be() -> None:
    for probability in (1e-3, 0.2, 1 / 512, 0.7):  # the second and third are not multiples of 1/256
        deviation = math.sqrt(probability * (1 - probability) / N)
        assert abs(Stream(8).bernoulli((N,), probability).mean() - probability) < 4 * deviation


def test_draws_of_threads_do_not_meet() -> None:
    streams = [Stream(k) for k in range(40)]
    alone = [stream.raw(3000).tolist() for stream in streams]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda stream: stream.raw(3000).tolist(), streams))
    assert together == alone


def test_different_keys_are_different_streams() -> None:
    streams = [Stream(1), Stream(2), Stream(1, (0,)), Stream(1, (0, 0)), Stream(1, ("0",)), Stream(0, (1,))]
    streams += [Stream(2**32), Stream(0, (2**32,)), Stream(1).child("a"), Stream(1).child("a", "b")]
    assert len({tuple(s.raw(2).tolist()) for s in streams}) == len(streams)
    draws = np.stack([s.normal((N,)) for s in streams[:5]])
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < 5 / math.sqrt(N)


def test_child_adds_to_the_key() -> None:
    assert Stream(1, ("a",)).child("b", 3) == Stream(1, ("a", "b", 3))


def kolmogorov(sample: np.ndarray, cdf: Callable[[float], float]) -> float:
    """√n times the largest distance between the empirical and the given distribution function."""
    n = len(sample)
    expected = np.array([cdf(x) for x in np.sort(sample)])
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())


INSIDE = NORMAL.cdf(2) - NORMAL.cdf(-2)
# the variance of a standard normal cut off at ±2: 1 - 2 · 2 φ(2) / (Φ(2) - Φ(-2))
DISTRIBUTIONS = {
    "uniform": (0.5, 1 / 12, 0.0, 1.0, lambda x: x),
    "normal": (0.0, 1.0, -9.0, 9.0, NORMAL.cdf),
    "truncated_normal": (
        0.0,
        1 - 4 * NORMAL.pdf(2) / INSIDE,
        -2.0,
        2.0,
        lambda x: (NORMAL.cdf(x) - NORMAL.cdf(-2)) / INSIDE,
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_distribution(name: str, seed: int) -> None:
    mean, variance, low, high, cdf = DISTRIBUTIONS[name]
    x = getattr(Stream(seed), name)((N,))
    assert abs(x.mean() - mean) < 4 * math.sqrt(variance / N)
    assert abs(x.var() / variance - 1) < 4 * math.sqrt(2 / N)
    assert low <= x.min() and x.max() < high
    assert kolmogorov(x[:20_000], cdf) < 1.95  # exceeded once in a thousand
    lagged = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert abs(lagged) < 4 / math.sqrt(N)


def test_tails_of_the_normal() -> None:
    x = np.abs(Stream(5).normal((10 * N,)))
    for limit in (3.0, 4.0):
        expected = 10 * N * 2 * NORMAL.cdf(-limit)
        assert abs(np.count_nonzero(x > limit) - expected) < 4 * math.sqrt(expected)


def test_normal_quantile_against_the_standard_library() -> None:
    q = np.concatenate([np.linspace(-0.499, 0.499, 4001), 0.5 - 2.0 ** -np.arange(2, 54)])
    q = np.concatenate([q, -q])
    expected = [NORMAL.inv_cdf(0.5 + x) if abs(x) < 0.49 else _tail_quantile(x) for x in q]
    np.testing.assert_allclose(random._normal_quantile(q), expected, rtol=4e-15, atol=4e-16)


def _tail_quantile(q: float) -> float:
    """By symmetry in the lower tail, where 1/2 - |q| loses nothing."""
    return math.copysign(NORMAL.inv_cdf(0.5 - abs(q)), q)


def test_the_extreme_words_stay_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    extremes = np.array([0, 2**64 - 1], dtype=np.uint64)
    monkeypatch.setattr(Stream, "raw", lambda self, count: extremes)
    assert Stream(0).uniform((2,)).tolist() == [0.0, 1 - 2**-53]
    normal = Stream(0).normal((2,))
    assert normal[0] == -normal[1] and 8.2 < normal[1] < 8.3
    truncated = Stream(0).truncated_normal((2,))
    assert truncated[0] == -truncated[1] and 2 - 1e-14 < truncated[1] <= 2


def test_log_is_within_an_ulp_of_libm() -> None:
    x = np.concatenate([Stream(1).uniform((20_000,)) + 2.0**-60, 2.0 ** -np.arange(60.0), [0.5, 1.0, 3.0]])
    expected = np.array([math.log(v) for v in x])
    assert np.all(np.abs(random._log(x) - expected) <= 1.5 * np.spacing(np.abs(expected)))


def test_permutation() -> None:
    assert sorted(Stream(2).permutation(1000).tolist()) == list(range(1000))
    assert Stream(2).permutation(0).shape == (0,)
    assert Stream(2).permutation(5).dtype == np.int64
    orders = [tuple(Stream(2, (k,)).permutation(3).tolist()) for k in range(6000)]
    counts = [orders.count(order) for order in itertools.permutations(range(3))]
    assert sum((c - 1000) ** 2 / 1000 for c in counts) < 20.5  # chi squared, 5 degrees: once in a thousand


def test_the_process_seed_fixes_all_streams() -> None:
    set_random_seed(5)
    first = [next_stream() for _ in range(3)]
    set_random_seed(5)
    assert [next_stream() for _ in range(3)] == first
    assert len(set(first)) == 3
    set_random_seed(6)
    assert next_stream() not in first


def test_without_a_seed_processes_differ() -> None:
    assert SeedGenerator().next_stream() != SeedGenerator().next_stream()


def test_a_seed_generator_and_a_process_with_one_seed_are_independent() -> None:
    set_random_seed(5)
    assert next_stream().raw(1) != SeedGenerator(5).next_stream().raw(1)


def test_threads_get_different_streams() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    set_random_seed(0)
    try:
        with ThreadPoolExecutor(8) as pool:
            chunks = pool.map(lambda _: [next_stream() for _ in range(500)], range(8))
            streams = [stream for chunk in chunks for stream in chunk]
    finally:
        sys.setswitchinterval(interval)
    set_random_seed(0)
    assert set(streams) == {next_stream() for _ in range(4000)}


def test_a_seed_generator_counts_and_can_be_copied() -> None:
    generator = SeedGenerator(3)
    first = generator.next_stream()
    assert first == SeedGenerator(3).next_stream()
    second = copy.deepcopy(generator).next_stream()
    assert second == pickle.loads(pickle.dumps(generator)).next_stream() == generator.next_stream() != first
    assert generator == SeedGenerator(3)


@pytest.mark.parametrize("seed", [-1, 2**64, True, np.True_, 1.0, "1", None, [1]])
def test_bad_seeds_are_refused(seed: object) -> None:
    with pytest.raises(SpecError, match=r"seed is .*; expected an integer from 0 to 2\*\*64 - 1"):
        Stream(seed)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected an integer"):
        set_random_seed(seed)  # type: ignore[arg-type]
    if seed is not None:
        with pytest.raises(SpecError, match="expected an integer"):
            SeedGenerator(seed)  # type: ignore[arg-type]
    if not isinstance(seed, str):
        with pytest.raises(SpecError, match=r"id of a random stream is .*; expected an integer"):
            Stream(0).child(seed)  # type: ignore[arg-type]


def test_integers_of_numpy_are_seeds() -> None:
    assert Stream(np.uint64(2**64 - 1)) == Stream(2**64 - 1)  # type: ignore[arg-type]
    assert type(Stream(np.int32(4)).seed) is int  # type: ignore[arg-type]


# SHA-256 of the little-endian bytes. If one of these differs on your machine, portability is broken:
# that is a bug, and not a reason to record them anew.
GOLDENS = {
    ("raw", 0, 1000): "1b973b7bd44993d7865745810b2597134cc865d6f841fd075e196f2668bbd269",
    ("raw", 18446744073709551615, 100003): "89a6c0bdbefd2adadf2b48c43e712dfb6b72ef1d79c6f1cbb862156b17756adb",
    ("uniform", 0, 1000): "b9516c5978d6e551945c132883fe4e4fb5a93cb553bfe5e133a5d76ec2428581",
    (
        "uniform",
        18446744073709551615,
        100003,
    ): "119b5678a26161d01bd7c91de7dc7f53e607d3a7777170b130668f4767c01470",
    ("normal", 0, 1000): "7187e6ff88d406705557bb02b5884577e61d4865d6671a6c400593dfd56d2b9d",
    (
        "normal",
        18446744073709551615,
        100003,
    ): "6ccab887e0bb8a5db784fbdf256aacc40b0bb54a827ca917e76a25306fba4a89",
    ("truncated_normal", 0, 1000): "476e59a1e525d219359a470203c59e6fcb131e7918d8ce6955b253f15b17638d",
    (
        "truncated_normal",
        18446744073709551615,
        100003,
    ): "09d0670c577297ffea4df5112e237e56e32986406e2f6e0accd311cffdd31cb9",
    ("permutation", 0, 1000): "f7159bbe2e0fe09027e0b9a3c7740b9892dece27f5a5259f29e81f5b0e02d5cb",
    (
        "permutation",
        18446744073709551615,
        100003,
    ): "c67cc1c82f56b82451c73b770ab0a3831369825d5edc40a32d1e99908404b6c2",
}


@pytest.mark.parametrize(("method", "seed", "size"), GOLDENS)
def test_bytes_are_those_of_every_machine(method: str, seed: int, size: int) -> None:
    argument = size if method in ("raw", "permutation") else (size,)
    values = getattr(Stream(seed, ("golden",)), method)(argument)
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    assert hashlib.sha256(values.tobytes()).hexdigest() == GOLDENS[method, seed, size]
