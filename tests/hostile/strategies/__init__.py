"""Files built from nothing, in the terms of their format, by hypothesis: every part right or wrong at its choice.

``FORMATS[name](sound)`` is the strategy for a format, given the bytes of a sound file; it gives the bytes of files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from strategies import arrays, configs, graphs, hdf5, headers, mutated, pickles, zips

Strategy = st.SearchStrategy[bytes]

FORMATS: dict[str, Callable[[bytes], Strategy]] = {
    "own": headers.own,
    "loaded": headers.own,
    "taken": headers.own,
    "keras": lambda data: zips.of(data, {"config.json": configs.texts(), ".h5": hdf5.files()}),
    "hdf5": lambda data: hdf5.files(configs.texts()),
    "listed": lambda data: hdf5.altered(data, configs.texts()),
    "listed_weights": lambda data: hdf5.altered(data, configs.texts()),
    "weights_hdf5": lambda data: hdf5.files() | hdf5.altered(data, configs.texts()),
    "json": lambda data: configs.texts(),
    "onnx": lambda data: graphs.files(data),
    "graph": lambda data: graphs.files(data),
    "pytorch": lambda data: zips.of(data, {"data.pkl": pickles.states()}),
    "archive": lambda data: zips.of(data, {"data.pkl": pickles.states()}),
    "legacy": lambda data: pickles.legacy(),
    "state": lambda data: headers.foreign(),
    "npz": lambda data: zips.of(data, {".npy": arrays.members()}),
    "c": lambda data: mutated.descriptions(data, configs.texts()),
    "saved_model": lambda data: mutated.any_of("saved_model", data),
    "external": lambda data: graphs.outside(data),
    "checkpoint": lambda data: headers.own(data),
}


def each(strategy: Strategy, seed: int, count: int, holds: Callable[[bytes], bool]) -> None:
    """Asks of so many files whether all is well with them; the same ones for the same seed.

    From the first with which it is not, it goes on to the simplest of that kind, the last one asked of.
    """

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @hypothesis.given(strategy)
    def ask(content: bytes) -> None:
        if not holds(content):
            raise _OddError

    with contextlib.suppress(_OddError):
        ask()


class _OddError(Exception):
    """A file that is neither read nor refused as it should be."""
