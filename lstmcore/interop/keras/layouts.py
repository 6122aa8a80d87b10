"""How each generation stores the weights of each layer, a row for each: their arrays to ours.

Ours are those of Keras 2 and 3, so most layers have no row. The orders of gates were read in Keras' own converter
(tf-keras, saving/legacy/hdf5_format.py) and measured on files of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def _gates(letter: str, gates: str) -> Part:
    """One array for each gate, side by side in the order given: Keras 1."""

    def fits(shape: Shape, found: Sequence[Shape]) -> bool:
        return [(*shape[:-1], shape[-1] // len(gates))] * len(gates) == list(found)

    return Part(tuple(f"{letter}_{gate}" for gate in gates), fits, lambda arrays, _: np.concatenate(arrays, axis=-1))


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


def _blocks(array: Array, gates: int) -> list[Array]:
    return np.split(array, gates, axis=-1)


def _cudnn_kernel(gates: int) -> Part:
    def make(arrays: Sequence[Array], _: Shape) -> Array:
        return np.hstack([block.T.reshape(block.shape, order="F") for block in _blocks(arrays[0], gates)])

    return Part(("kernel",), lambda shape, found: list(found) == [shape], make)


def _cudnn_recurrent(gates: int) -> Part:
    def make(arrays: Sequence[Array], _: Shape) -> Array:
        return np.hstack([block.T for block in _blocks(arrays[0], gates)])

    return Part(("recurrent_kernel",), lambda shape, found: list(found) == [shape], make)


def _two_biases_fit(shape: Shape, found: Sequence[Shape]) -> bool:
    return list(found) == [(2 * shape[0],)]


def _flat_fits(shape: Shape, found: Sequence[Shape]) -> bool:
    return len(shape) == 2 and list(found) == [(shape[0] * shape[1],)]


CUDNN_LSTM = Layout(
    "LSTM",
    "CuDNNLSTM",
    {
        "kernel": _cudnn_kernel(4),
        "recurrent_kernel": _cudnn_recurrent(4),
        "bias": Part(("bias",), _two_biases_fit, lambda arrays, _: arrays[0].reshape(2, -1).sum(axis=0)),
    },
)
CUDNN_GRU = Layout(
    "GRU",
    "CuDNNGRU",
    {
        "kernel": _cudnn_kernel(3),
        "recurrent_kernel": _cudnn_recurrent(3),
        "bias": Part(("bias",), _flat_fits, lambda arrays, shape: arrays[0].reshape(shape)),
    },
)


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


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "LSTM",
        "Keras 1",
        {"kernel": _gates("W", "ifco"), "recurrent_kernel": _gates("U", "ifco"), "bias": _gates("b", "ifco")},
    ),
    Layout(
        "GRU",
        "Keras 1",
        {"kernel": _gates("W", "zrh"), "recurrent_kernel": _gates("U", "zrh"), "bias": _gates("b", "zrh")},
    ),
    Layout("SimpleRNN", "Keras 1", _plain(kernel="W", recurrent_kernel="U", bias="b")),
    Layout("Dense", "Keras 1", _plain(kernel="W", bias="b")),
    Layout("Embedding", "Keras 1", _plain(embeddings="W")),
    Layout("Conv1D", "Keras 1", {"kernel": Part(("W",), _conv_fits, _conv), **_plain(bias="b")}),
    # what Keras 1 called the deviation is the variance
    Layout("BatchNormalization", "Keras 1", _plain(moving_mean="running_mean", moving_variance="running_std")),
    Layout("PReLU", "Keras 1", _plain(alpha="alphas")),
    CUDNN_LSTM,
    CUDNN_GRU,
    # consume_less="gpu"
    Layout("LSTM", "Keras 1", _plain(kernel="W", recurrent_kernel="U", bias="b")),
    Layout("GRU", "Keras 1", _plain(kernel="W", recurrent_kernel="U", bias="b")),
    MAXOUT,
)


def candidates(layer: str) -> list[Layout]:
    """The ways in which a layer of that class may be stored, Keras 2 and 3's first."""
    return [Layout(layer, "Keras", {}), *(row for row in LAYOUTS if row.layer == layer)]
