"""How each generation stores the weights of each layer, a row for each: their arrays to ours.

Ours are those of Keras 2 and 3, so most layers have no row. Those of recurrent layers are in `lstmcore.layouts`;
the orders of gates were read in Keras' own converter (tf-keras, saving/legacy/hdf5_format.py) and measured on files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.layouts import LAYOUTS, foreign_shape, from_foreign, holds, names
from lstmcore.ops import Recurrent

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Where one weight comes from: the names of its sources, whether their shapes fit it, and how they make it."""

    sources: tuple[str, ...]
    fits: Callable[[Shape, Sequence[Shape]], bool]
    make: Callable[[Sequence[Array], Shape], Array]


@dataclass(frozen=True)
class Layout:
    """One way to store the weights of a class of layers. A weight without a part is stored as it is."""

    layer: str
    writer: str
    parts: Mapping[str, Part]

    def part(self, weight: str) -> Part:
        """Where a weight comes from."""
        return self.parts.get(weight) or as_it_is(weight)


def as_it_is(source: str) -> Part:
    """The array under that name."""
    return Part((source,), lambda shape, found: list(found) == [shape], lambda arrays, _: arrays[0])


def _of_gates(form: str, kind: type[Recurrent], port: str) -> Part:
    """A weight of a recurrent layer, as `lstmcore.layouts` has it."""

    def like(shape: Shape) -> Recurrent:
        units = shape[-1] // len(kind.gates)
        if kind is not ops.Gru:
            return kind(units)
        # only a bias tells
        return ops.Gru(units, reset_after=len(shape) == 2 if port == "bias" else LAYOUTS[form][kind].resets[0])

    def fits(shape: Shape, found: Sequence[Shape]) -> bool:
        op = like(shape)
        if not holds(form, op):
            return False
        wanted = foreign_shape(form, op, port, shape)
        return list(found) == ([wanted[1:]] * wanted[0] if len(sources) > 1 else [wanted])

    def make(arrays: Sequence[Array], shape: Shape) -> Array:
        return from_foreign(form, like(shape), port, np.stack(arrays) if len(sources) > 1 else arrays[0])

    sources = names(form, kind, port)
    return Part(sources, fits, make)


def _conv_fits(shape: Shape, found: Sequence[Shape]) -> bool:
    size, channels, filters = shape
    return found[0] in ((size, 1, channels, filters), (filters, channels, size, 1))


def _conv(arrays: Sequence[Array], shape: Shape) -> Array:
    """Keras 1's kernel of a Conv1D has a second axis of time, or, before 1.1, its axes the other way round."""
    (kernel,) = arrays
    size, channels, filters = shape
    if kernel.shape != (size, 1, channels, filters):
        kernel = kernel.transpose(2, 3, 1, 0)
    return kernel[:, 0]


def _plain(**sources: str) -> dict[str, Part]:
    return {weight: as_it_is(source) for weight, source in sources.items()}


def _maxout_fits(shape: Shape, found: Sequence[Shape]) -> bool:
    (first,) = found
    return len(first) == 3 and (first[1], first[0] * first[2]) == shape


def _flat_fit(shape: Shape, found: Sequence[Shape]) -> bool:
    return (math.prod(found[0]),) == shape


def _flat(arrays: Sequence[Array], shape: Shape) -> Array:
    return arrays[0].reshape(shape)


def _maxout(arrays: Sequence[Array], shape: Shape) -> Array:
    """MaxoutDense has the kernels of its pieces one after another; here they are side by side."""
    return _flat([arrays[0].transpose(1, 0, 2)], shape)


MAXOUT = Layout(
    "Dense",
    "MaxoutDense of Keras 1",
    {
        "kernel": Part(("maxout_W",), _maxout_fits, _maxout),
        "bias": Part(("maxout_b",), _flat_fit, _flat),
    },
)


_LAYERS: Mapping[type[Recurrent], str] = {ops.Lstm: "LSTM", ops.Gru: "GRU", ops.SimpleRnn: "SimpleRNN"}
_WRITERS = {"keras 1": "Keras 1", "keras 1 gpu": "Keras 1", "cudnn": "CuDNN"}


def _recurrent() -> Iterator[Layout]:
    for form, writer in _WRITERS.items():
        for kind in LAYOUTS[form]:
            yield Layout(_LAYERS[kind], writer, {port: _of_gates(form, kind, port) for port in kind.weights})


ROWS: tuple[Layout, ...] = (
    *_recurrent(),
    Layout("Dense", "Keras 1", _plain(kernel="W", bias="b")),
    Layout("Embedding", "Keras 1", _plain(embeddings="W")),
    Layout("Conv1D", "Keras 1", {"kernel": Part(("W",), _conv_fits, _conv), **_plain(bias="b")}),
    # what Keras 1 called the deviation is the variance
    Layout("BatchNormalization", "Keras 1", _plain(moving_mean="running_mean", moving_variance="running_std")),
    Layout("PReLU", "Keras 1", _plain(alpha="alphas")),
    MAXOUT,
)


def candidates(layer: str) -> list[Layout]:
    """The ways in which a layer of that class may be stored, Keras 2 and 3's first."""
    return [Layout(layer, "Keras", {}), *(row for row in ROWS if row.layer == layer)]
