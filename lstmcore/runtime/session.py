"""A program made ready on one backend in one dtype."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.contract import Backend, choose
from lstmcore.errors import InputError, SpecError
from lstmcore.program import Program, interpret

Array = NDArray[Any]


class Session:
    """Kernels chosen, compiled, and the weights on the device.

    ``run`` takes arrays and gives arrays; the carries it returns stay the engine's own tensors, so
    that they can be passed back without a copy.
    """

    def __init__(self, program: Program, backend: Backend, dtype: str) -> None:
        self.program = program
        self.backend = backend
        self.dtype = dtype
        self.choices = choose(backend, program, dtype)
        runs = tuple(choice.run for choice in self.choices)

        def function(weights: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
            return interpret(program, runs, weights, values)

        self.compiled = backend.compile(function, (program.weight_tensors, program.entering_tensors), dtype)
        self._weights: dict[str, Any] = {}
        self._version: Hashable = None
        self._fitting: set[tuple[Any, ...]] = set()

    def load(self, weights: Mapping[str, Array], version: Hashable) -> None:
        """Puts the weights on the device, unless it has that version of them already."""
        if version != self._version:
            self._weights = {
                name: self.backend.tensor(weights[name].astype(self.dtype, copy=False)) for name in self.program.weights
            }
            self._version = version

    def run(
        self, inputs: Mapping[str, Array], carries: Mapping[str, Any] | None = None
    ) -> tuple[list[Array], dict[str, Any]]:
        """(outputs in the program's order, the carries after). Carries not given start at zero."""
        self._check_lengths(inputs)
        batch = next(iter(inputs.values())).shape[0]
        values = {name: self.backend.tensor(array) for name, array in inputs.items()}
        for carry in self.program.carries:
            given = (carries or {}).get(carry.name)
            values[carry.before] = self._zeros(carry.before, batch) if given is None else self._own(given)
        outputs, after = self.compiled(self._weights, values)
        return [self.backend.numpy(outputs[name]) for name in self.program.outputs], after

    def _check_lengths(self, inputs: Mapping[str, Array]) -> None:
        """InputError where an op cannot take as many steps as there are, or as few; asked once for each length."""
        lengths = tuple((name, array.shape[1:]) for name, array in inputs.items())
        if lengths not in self._fitting:
            try:
                self.program.infer({name: (None, *shape) for name, shape in lengths})
            except SpecError as error:
                raise InputError(f"inputs of these lengths do not fit the model: {error}") from None
            self._fitting.add(lengths)

    def _zeros(self, name: str, batch: int) -> Any:
        shape = (batch, *(length or 0 for length in self.program.values[name].shape[1:]))
        return self.backend.tensor(np.zeros(shape, self.dtype))

    def _own(self, state: Any) -> Any:
        return self.backend.tensor(state.astype(self.dtype)) if isinstance(state, np.ndarray) else state
