"""Losses as cases: a loss of predictions that are an input, or what an activation makes of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import losses, ops
from lstmcore.activations import Function
from lstmcore.program import Builder, Program
from lstmcore.random import Stream
from lstmcore_conformance import data
from lstmcore_conformance.cases import Case

Array = NDArray[Any]
PREDICTION, TARGET, WEIGHT, MASK = "prediction", "target", "sample weight", "mask"

# Options of a case that are not the loss's own.
THROUGH = "through"  # the activation that makes the prediction, such as softmax; logits are then known
WEIGHTED = "weighted"  # "samples" or "steps": there are sample weights


def _one_hot(source: Stream, shape: tuple[int, ...]) -> Array:
    return np.eye(shape[-1])[_classes(source, shape)]


def _classes(source: Stream, shape: tuple[int, ...]) -> Array:
    found: Array = (source.uniform(shape[:-1]) * shape[-1]).astype(np.int32)
    return found


def _labels(source: Stream, shape: tuple[int, ...]) -> Array:
    """(B, 2), in turn: the same label twice, two that differ, and one with a 0 before it."""
    batch, _, classes = shape
    first = (source.uniform((batch,)) * (classes - 1)).astype(np.int32)
    turn = np.arange(batch) % 3
    second = (first + (turn == 1)) % (classes - 1)
    return np.stack([np.where(turn == 2, 0, 1 + first), 1 + second], axis=1).astype(np.int32)


def _distribution(source: Stream, shape: tuple[int, ...]) -> Array:
    shares = 0.1 + source.uniform(shape)
    share: Array = shares / shares.sum(-1, keepdims=True)
    return share


def _bits(source: Stream, shape: tuple[int, ...]) -> Array:
    return np.where(source.uniform(shape) < 0.5, 0.0, 1.0)


def _numbers(source: Stream, shape: tuple[int, ...]) -> Array:
    return 3 * source.uniform(shape) - 1.5


# The targets of a loss; of the others, any numbers.
TARGETS: Mapping[str, Callable[[Stream, tuple[int, ...]], Array]] = MappingProxyType(
    {
        "BinaryCrossentropy": _bits,
        "CategoricalCrossentropy": _distribution,
        "CategoricalHinge": _one_hot,
        "CTC": _labels,
        "Hinge": _bits,
        "SquaredHinge": lambda source, shape: 2 * _bits(source, shape) - 1,
        "KLDivergence": _distribution,
        "Poisson": lambda source, shape: np.floor(4 * source.uniform(shape)),
        "SparseCategoricalCrossentropy": _classes,
        "MeanSquaredLogarithmicError": lambda source, shape: 2 * source.uniform(shape),
    }
)


def of(case: Case) -> losses.Loss:
    """The loss of a case."""
    options = {k: v for k, v in case.options.items() if k not in (THROUGH, WEIGHTED)}
    found = losses.get({"class_name": case.subject[1], "config": options})
    assert found is not None
    return found


def loss(case: Case) -> tuple[Program, dict[str, Array]]:
    """The program that ends in the loss, and its inputs."""
    build, settings = Builder(), case.settings
    shape = (settings["B"], *(settings["shape"] or (settings["T"], settings["I"])))
    y = target(case.key, 0, of(case), shape)
    arrays = {PREDICTION: data.floats(case.key, PREDICTION, shape, settings["values"]), TARGET: y}
    prediction = build.input(PREDICTION, (None, *shape[1:]))
    wanted = build.input(TARGET, (None, *y.shape[1:]), "float" if y.dtype.kind == "f" else "int")
    weight = mask = None
    if case.options.get(THROUGH):
        (prediction,) = build.op(ops.Activate(Function(case.options[THROUGH])), prediction, name="through")
    if case.options.get(WEIGHTED):
        arrays[WEIGHT] = weights(case.key, 0, case.options[WEIGHTED], shape)
        weight = build.input(WEIGHT, (None, *arrays[WEIGHT].shape[1:]))
    if settings["mask"]:
        arrays[MASK] = data.mask(settings["mask"], *shape[:2])
        mask = build.input(MASK, (None, shape[1]), "bool")
    total = of(case).total(build, wanted, prediction, weight, mask)
    return build.finish([total.name]), arrays


def target(key: str, output: int, loss: losses.Loss | None, shape: tuple[int, ...]) -> Array:
    """Targets for predictions of that shape."""
    make = TARGETS.get(type(loss).__name__, _numbers)
    y = make(data.stream(key, TARGET, str(output)), shape)
    return data.float32_exact(y) if y.dtype.kind == "f" else y


def weights(key: str, output: int, each: str, shape: tuple[int, ...]) -> Array:
    """Weights of "samples" or of "steps": uneven, and one of them 0."""
    counted = shape[:1] if each == "samples" else shape[:2]
    drawn = 0.25 + 2 * data.stream(key, WEIGHT, str(output)).uniform(counted)
    drawn.reshape(-1)[-1] = 0
    return data.float32_exact(drawn)
