"""Which array of a file is which weight of a model: by names and structure, shapes compared before a byte is read.

There are two kinds of file, `listed` and `nested`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import WeightsMismatchError
from lstmcore.interop.keras.layouts import Layout, Part, candidates
from lstmcore.layers.module import Module
from lstmcore.storage.hdf5 import Dataset

Array = NDArray[Any]
Owner = tuple[int, str]

# Beside weights: what training left (Keras 2.0 on Theano put the number of steps at the root), and the state of random
# generators.
BESIDE = re.compile(
    r"(^|/)(optimizer(_weights)?|_?metrics|_?loss_tracker|seed_generator(_\d+)?)(/|$)|seed_generator_state|^iterations$"
)


@dataclass(frozen=True)
class Source:
    """Where one weight comes from."""

    owner: Module
    weight: str
    part: Part
    datasets: tuple[Dataset, ...]


class Arrays(Protocol):
    """What holds the arrays: a file, or a model that lives in a Keras."""

    name: str
    datasets: dict[str, Dataset]

    @property
    def groups(self) -> Container[str]:
        """The paths of the groups; "" is the root."""

    def texts(self, path: str, key: str) -> list[str] | None:
        """A list of texts beside a group; None where there is none."""

    def read(self, dataset: Dataset, watch: Callable[[Array], None] = ...) -> Array:
        """An array, whole; ``watch`` is given its numbers, in pieces."""


class Match:
    """The sources of a model's weights, gathered; complete once every weight has one and every array a weight."""

    def __init__(self, file: Arrays, model: Module) -> None:
        self.file = file
        self.model = model
        self.sources: dict[Owner, Source] = {}
        self._used: set[str] = set()

    def take(self, owner: Module, weight: str, part: Part, datasets: Sequence[Dataset]) -> None:
        """Notes where a weight comes from; its shape must fit."""
        shape = owner.own_weights[weight].shape
        found = [dataset.shape for dataset in datasets]
        if not part.fits(shape, found):
            raise self.error(
                f"{owner.called()}: {weight} has shape {shape}; the file has {', '.join(map(str, found))} "
                f"({', '.join(dataset.path for dataset in datasets)})"
            )
        for dataset in datasets:
            if dataset.dtype is None:
                raise self.error(f"{dataset.path} does not hold floating-point numbers")
            self._used.add(dataset.path)
        self.sources.setdefault((id(owner), weight), Source(owner, weight, part, tuple(datasets)))

    def has(self, module: Module) -> bool:
        """Whether every weight of a module has its arrays."""
        return all((id(owner), weight) in self.sources for _, owner, weight in module.owners())

    def leaf(self, owner: Module, found: Mapping[str, Dataset]) -> None:
        """The weights of one layer from arrays under their names in some layout."""
        own = owner.own_weights
        rows = candidates(type(owner).__name__)
        fitting = [row for row in rows if self._names(own, row) == set(found)]
        if not fitting:
            raise self.error(
                f"{owner.called()} has the weights {', '.join(own)}; the file has {', '.join(sorted(found)) or 'none'}"
            )
        row = next((row for row in fitting if self._fits(owner, row, found)), fitting[0])
        for weight in own:
            part = row.part(weight)
            self.take(owner, weight, part, [found[source] for source in part.sources])

    def _names(self, own: Iterable[str], row: Layout) -> set[str]:
        return {source for weight in own for source in row.part(weight).sources}

    def _fits(self, owner: Module, row: Layout, found: Mapping[str, Dataset]) -> bool:
        parts = {weight: row.part(weight) for weight in owner.own_weights}
        return all(
            part.fits(owner.own_weights[weight].shape, [found[source].shape for source in part.sources])
            for weight, part in parts.items()
        )

    def check(self) -> None:
        """WeightsMismatchError unless all weights have their arrays, and no array is left over."""
        missing = [path for path, owner, weight in self.model.owners() if (id(owner), weight) not in self.sources]
        extra = [path for path in self.file.datasets if path not in self._used and not BESIDE.search(path)]
        if missing or extra:
            lines = [f"{path} is missing" for path in missing[:20]] + [f"{path} is not of it" for path in extra[:20]]
            raise self.error("it holds the weights of another model:\n  " + "\n  ".join(lines))

    def size(self) -> int:
        """How many bytes the arrays have."""
        datasets = {d.path: d for source in self.sources.values() for d in source.datasets}
        return sum(
            int(np.prod(d.shape, dtype=object)) * np.dtype(d.dtype or "float64").itemsize for d in datasets.values()
        )

    def read(self, flip: bool = False) -> None:
        """Reads every array into its weight. ``flip``: kernels of Conv1D run against time, as Theano's do.

        A warning names weights that hold NaN or infinity.
        """
        odd: list[str] = []
        made: dict[int, tuple[Module, dict[str, Array]]] = {}
        paths = {(id(owner), weight): path for path, owner, weight in self.model.owners()}
        for key, source in self.sources.items():
            target = source.owner.own_weights[source.weight]
            watch = _Watch()
            array = source.part.make([self.file.read(dataset, watch) for dataset in source.datasets], target.shape)
            if flip and type(source.owner).__name__ == "Conv1D" and source.weight == "kernel":
                array = array[::-1]
            array = self._cast(array, target.dtype, paths[key])
            if not watch.finite:
                odd.append(paths[key])
            made.setdefault(key[0], (source.owner, {}))[1][source.weight] = array
        for owner, arrays in made.values():
            owner.replace_own(arrays)
        if odd:
            warnings.warn(f"{self.file.name}: NaN or infinity in {', '.join(odd)}", UserWarning, stacklevel=5)

    def _cast(self, array: Array, dtype: np.dtype[Any], path: str) -> Array:
        with np.errstate(over="ignore"):
            cast = np.asarray(array, dtype, order="C")  # ascontiguousarray would give a scalar an axis
        if array.dtype.itemsize > cast.dtype.itemsize and not np.array_equal(cast, array, equal_nan=True):
            raise self.error(f"{path} is of {dtype}, and the file's {array.dtype} does not fit into it")
        return cast

    def error(self, fault: str) -> WeightsMismatchError:
        """What does not fit, with the name of the file."""
        return WeightsMismatchError(f"{self.file.name}: {fault}.")


class _Watch:
    """Whether all numbers that go by are finite; by the sum of their squares, unless that says nothing.

    It takes no memory, and of a piece that is in the processor's cache a twentieth of the time to read it.
    """

    finite = True

    def __call__(self, numbers: Array) -> None:
        with np.errstate(all="ignore"):
            flat = numbers.reshape(-1)
            total = flat.sum() if flat.dtype == np.float16 else flat @ flat
            self.finite = self.finite and bool(np.isfinite(total) or np.isfinite(flat).all())
