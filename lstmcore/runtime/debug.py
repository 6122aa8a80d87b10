"""Where a number that is not finite came from: a step run again, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.contract import choose
from lstmcore.errors import TrainingError
from lstmcore.ops import Tensor
from lstmcore.program import Node
from lstmcore.random import Stream
from lstmcore.runtime.trainer import Trainer

Array = NDArray[Any]


def before(trainer: Trainer) -> dict[str, Array]:
    """The weights before a step, as arrays that the step cannot change."""
    return {name: np.array(trainer.backend.numpy(tensor)) for name, tensor in trainer.weights.items()}


def check(
    trainer: Trainer,
    weights: Mapping[str, Array],
    values: Mapping[str, Array],
    carries: Mapping[str, Any],
    number: int,
    stream: Stream,
    made: Mapping[str, Array],
) -> None:
    """TrainingError where something in the step, or before it, is not finite; it names where that began."""
    where = f"step {number}"
    for name, array in values.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TrainingError(f"{where}: {name!r} holds {_told(array)} before any layer has seen it")
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise TrainingError(f"{where}: weight {name!r} holds {_told(array)} before the step")
    if not np.isfinite(made[trainer.objective.loss]):
        given = trainer.entering(trainer.ready(values, number, stream), carries)
        for node, inputs, output in _run(trainer, weights, given):
            if not np.isfinite(output).all():
                if all(np.isfinite(array).all() for array in inputs):
                    raise TrainingError(f"{where}: {_layer(node)} made {_told(output)} out of finite numbers")
                raise TrainingError(f"{where}: {_layer(node)} was given {_told(output)}")
        raise TrainingError(f"{where}: the loss is {made[trainer.objective.loss]}; run again, no layer makes it so")
    for name, array in trainer.weights_now().items():
        if not np.isfinite(array).all():
            raise TrainingError(
                f"{where}: the loss is {float(made[trainer.objective.loss]):g}, but its gradient made weight {name!r} "
                f"hold {_told(array)}; try a smaller learning rate, or clipnorm"
            )


def _run(
    trainer: Trainer, weights: Mapping[str, Array], values: Mapping[str, Any]
) -> Iterator[tuple[Node, list[Array], Array]]:
    """Each node of the objective with its float inputs, weights too, and its first float output that is not finite."""
    program, backend = trainer.objective.program, trainer.backend
    known = dict(values)
    tensors = {name: backend.tensor(array) for name, array in weights.items()}
    for choice in choose(backend, program, trainer.dtype, training=True):
        node = choice.node
        own = {port: tensors[path] for port, path in node.weights.items()}
        with np.errstate(all="ignore"):
            outputs = choice.run(node.op, own, *(None if name is None else known[name] for name in node.inputs))
        inputs = [known[name] for name in node.inputs if name is not None and _is_float(program.values[name])]
        known.update(zip(node.outputs, outputs, strict=True))
        given = [np.asarray(backend.numpy(tensor)) for tensor in (*inputs, *own.values())]
        for name, output in zip(node.outputs, outputs, strict=True):
            if _is_float(program.values[name]):
                yield node, given, np.asarray(backend.numpy(output))


def _is_float(tensor: Tensor) -> bool:
    return tensor.kind == "float"


def _layer(node: Node) -> str:
    name = node.name.rpartition("/")[0] or node.name
    return f"{name!r} (its op {type(node.op).__name__})"


def _told(array: Array) -> str:
    wrong = array[~np.isfinite(array)]
    place = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
    return f"{wrong[0]:g} (at {place}, {wrong.size} of {array.size} numbers)" if array.ndim else f"{wrong[0]:g}"
