"""One training step on one backend: forward, gradients, optimizer; weights and slots stay on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Ready(NamedTuple):
    """A step's inputs, targets and noise by name, and the optimizer's numbers: as the engine's tensors."""

    values: dict[str, Any]
    numbers: list[float]
    packed: Any
    batch: int


class Prepared(NamedTuple):
    """A batch made ready for step ``number`` of one trainer, with noise of one stream: of use for that step alone."""

    trainer: Trainer
    number: int
    stream: Stream
    ready: Ready


class _Fetched(Mapping[str, Array]):
    """Tensors by name, as arrays once they are asked for: predictions are of use to metrics alone."""

    def __init__(self, tensors: Mapping[str, Any], backend: Backend) -> None:
        self._tensors = tensors
        self._backend = backend

    def __getitem__(self, name: str) -> Array:
        array: Array = self._backend.numpy(self._tensors[name])
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


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
        names = tuple(optimizer.scalars(0))
        # One tensor for all: to give an engine a number costs it as much as an array.
        packed = {"all": Tensor((len(names),))}

        def step(
            weights: Mapping[str, Any], slots: Any, packed: Mapping[str, Any], values: Mapping[str, Any]
        ) -> tuple[Any, ...]:
            outputs, carries, found = gradients(weights, values)
            scalars = {name: packed["all"][k] for k, name in enumerate(names)}
            # The gradients of the scaled loss, which the optimizer expects, are the scaled gradients.
            found = {name: optimizer.scale_loss(gradient) for name, gradient in found.items()}
            own = {name: weights[name] for name in self.trained}
            moved, state = optimizer.apply(backend.maths, own, found, slots, scalars)
            moved |= {name: c.project(backend.maths, moved[name]) for name, c in objective.constraints.items()}
            moved |= {name: outputs.pop(made) for name, made in objective.updates.items()}
            return outputs, carries, {**weights, **moved}, state

        self._step = backend.compile(step, (program.weight_tensors, slots, packed, program.entering_tensors), dtype)
        self.weights: dict[str, Any] = {}
        self.slots: Slots = {}
        self._noises: dict[Any, dict[str, tuple[int, ...]]] = {}  # the shapes of the noise, by those of the inputs
        self._zeros: dict[int, dict[str, Any]] = {}  # carries that start at zero, by the size of the batch

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

    def ready(self, values: Mapping[str, Array], number: int, stream: Stream) -> Ready:
        """What step ``number``, counted from 0, needs of one batch, on the device. It may be made ahead.

        It depends on no step before, only on the learning rate; where that is another by then, `step` sees to it.
        """
        put = self.backend.tensor
        given = {name: put(array) for name, array in {**values, **self._noise(values, stream)}.items()}
        numbers = [*self.optimizer.scalars(number).values()]
        return Ready(given, numbers, self._packed(numbers), next(iter(values.values())).shape[0])

    def step(self, ready: Ready, carries: Mapping[str, Any], number: int) -> tuple[Mapping[str, Array], dict[str, Any]]:
        """Step ``number``: the objective's outputs by name, and the carries after. Carries not given start at zero."""
        values = self.entering(ready, carries)
        numbers = [*self.optimizer.scalars(number).values()]
        packed = ready.packed if numbers == ready.numbers else self._packed(numbers)
        outputs, after, self.weights, self.slots = self._step(self.weights, self.slots, {"all": packed}, values)
        return _Fetched(outputs, self.backend), after

    def entering(self, ready: Ready, carries: Mapping[str, Any]) -> dict[str, Any]:
        """All values that a step starts from."""
        program = self.objective.program
        if not program.carries:
            return ready.values
        zeros = self._zeros_of(ready.batch)
        return ready.values | {c.before: carries.get(c.name, zeros[c.name]) for c in program.carries}

    def _packed(self, numbers: list[float]) -> Any:
        return self.backend.tensor(np.array(numbers, self.dtype))

    def _noise(self, values: Mapping[str, Array], stream: Stream) -> dict[str, Array]:
        program = self.objective.program
        given = tuple((name, array.shape) for name, array in values.items())
        if given not in self._noises:
            self._noises[given] = noise.shapes(program, dict(given))
        return noise.draw(program, self._noises[given], stream, self.dtype)

    def _zeros_of(self, batch: int) -> dict[str, Any]:
        """The carries' zeros on the device; they stay there, as kernels do not write to what they are given."""
        if batch not in self._zeros:
            program = self.objective.program
            shapes = {c.name: [n or 0 for n in program.values[c.before].shape[1:]] for c in program.carries}
            self._zeros[batch] = {
                name: self.backend.tensor(np.zeros((batch, *shape), self.dtype)) for name, shape in shapes.items()
            }
        return self._zeros[batch]

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
