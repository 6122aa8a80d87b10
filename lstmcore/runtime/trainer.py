"""One training step on one backend: forward, gradients, optimizer; weights and slots stay on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.contract import Backend, choose
from lstmcore.ops import Tensor
from lstmcore.optimizers import Optimizer
from lstmcore.runtime import noise
from lstmcore.runtime.objective import Objective

if TYPE_CHECKING:
    from lstmcore.random import Stream

Array = NDArray[Any]
Slots = dict[str, dict[str, Any]]


class Trainer:
    """An objective made ready to be trained on, on a backend, in a dtype.

    ``weights`` and ``slots`` are the engine's tensors; `step` replaces them.
    """

    def __init__(
        self, objective: Objective, backend: Backend, dtype: str, optimizer: Optimizer, trained: Sequence[str]
    ) -> None:
        self.objective = objective
        self.backend = backend
        self.dtype = dtype
        self.optimizer = optimizer
        self.trained = tuple(trained)
        program = objective.program
        gradients = backend.differentiate(
            program, choose(backend, program, dtype, training=True), objective.loss, self.trained
        )
        shapes = {name: program.weights[name] for name in self.trained}
        slots = {
            name: {slot: Tensor(shape) for slot in optimizer.slots(shape, dtype)} for name, shape in shapes.items()
        }
        scalars = {name: Tensor(()) for name in optimizer.scalars(0)}

        def step(
            weights: Mapping[str, Any], slots: Any, scalars: Mapping[str, Any], values: Mapping[str, Any]
        ) -> tuple[Any, ...]:
            outputs, carries, found = gradients(weights, values)
            # The gradients of the scaled loss, which the optimizer expects, are the scaled gradients.
            found = {name: optimizer.scale_loss(gradient) for name, gradient in found.items()}
            own = {name: weights[name] for name in self.trained}
            moved, state = optimizer.apply(backend.maths, own, found, slots, scalars)
            moved |= {name: c.project(backend.maths, moved[name]) for name, c in objective.constraints.items()}
            moved |= {name: outputs.pop(made) for name, made in objective.updates.items()}
            return outputs, carries, {**weights, **moved}, state

        self._step = backend.compile(step, (program.weight_tensors, slots, scalars, program.entering_tensors), dtype)
        self.weights: dict[str, Any] = {}
        self.slots: Slots = {}

    def load(self, weights: Mapping[str, Array], slots: Mapping[str, Mapping[str, Array]]) -> None:
        """Puts weights, and slots (new ones for a weight that has none), on the device."""
        put = self.backend.tensor
        program = self.objective.program
        self.weights = {name: put(weights[name].astype(self.dtype, copy=False)) for name in program.weights}
        self.slots = {
            name: {
                slot: put(np.asarray(slots.get(name, {}).get(slot, start), self.dtype))
                for slot, start in self.optimizer.slots(program.weights[name], self.dtype).items()
            }
            for name in self.trained
        }

    def step(
        self, values: Mapping[str, Array], carries: Mapping[str, Any], number: int, stream: Stream
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Step ``number``, counted from 0, on one batch: the objective's outputs by name, and the carries after."""
        put = self.backend.tensor
        given = self.given(values, carries, stream)
        scalars = {name: put(np.asarray(n, self.dtype)) for name, n in self.optimizer.scalars(number).items()}
        outputs, after, self.weights, self.slots = self._step(self.weights, self.slots, scalars, given)
        return {name: self.backend.numpy(tensor) for name, tensor in outputs.items()}, after

    def given(self, values: Mapping[str, Array], carries: Mapping[str, Any], stream: Stream) -> dict[str, Any]:
        """All values that a step starts from, on the device: those of the batch, the noise, the carries."""
        put = self.backend.tensor
        program = self.objective.program
        batch = next(iter(values.values())).shape[0]
        given = {name: put(array) for name, array in values.items()}
        shapes = {name: array.shape for name, array in values.items()}
        given |= {name: put(array) for name, array in noise.draw(program, shapes, stream, self.dtype).items()}
        for carry in program.carries:
            shape = (batch, *(n or 0 for n in program.values[carry.before].shape[1:]))
            kept = carries.get(carry.name)
            given[carry.before] = put(np.zeros(shape, self.dtype)) if kept is None else kept
        return given

    def weights_now(self) -> dict[str, Array]:
        """The weights that steps change, trained or updated, as arrays of the caller's own."""
        changed = (*self.trained, *self.objective.updates)
        return {name: np.array(self.backend.numpy(self.weights[name])) for name in changed}

    def slots_now(self) -> dict[str, dict[str, Array]]:
        """The slots as arrays of the caller's own."""
        return {
            name: {slot: np.array(self.backend.numpy(tensor)) for slot, tensor in own.items()}
            for name, own in self.slots.items()
        }
