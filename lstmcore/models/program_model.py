"""ProgramModel: a model that is given as a program, such as one read from a graph of another framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import configs
from lstmcore.errors import SpecError
from lstmcore.layers.base import placeholders_wanted
from lstmcore.layers.module import Mask, Module
from lstmcore.layers.symbolic import SymbolicTensor
from lstmcore.models.training import TrainableModel
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Program, Value, from_data

Array = NDArray[Any]


class ProgramModel(TrainableModel):
    """A program with its weights: predicts, streams, compares and explains as any model; it has no layers.

    ``batch_axes`` says for each input and output, by name, which axis of the data is the batch; the program has it
    first. None stands for data without one: the program runs on all of it as on one sample.
    """

    def __init__(
        self,
        program: Program,
        weights: Mapping[str, Array] | None = None,
        *,
        name: str | None = None,
        dtype: str = "float32",
        output_names: Sequence[str] = (),
        batch_axes: Mapping[str, int | None] | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name, trainable)
        if dtype not in ("float32", "float64"):
            raise SpecError(f"ProgramModel: dtype is {dtype!r}; expected 'float32' or 'float64'")
        if program.noise:
            raise SpecError("ProgramModel: the program takes random numbers, as only that of a training step does")
        self._given = program
        self._program = program
        self._dtype = dtype
        self._output_names = list(output_names or program.outputs)
        self._batch_axes = self._checked_axes(batch_axes or {})
        self._version = 0
        self._arrays: dict[str, Array] = {}
        self.replace_own(self._new() if weights is None else {path: np.array(w) for path, w in weights.items()})

    def _checked_axes(self, given: Mapping[str, int | None]) -> dict[str, int | None]:
        ends = dict(zip(self._output_names, self._given.outputs, strict=True))
        ranks = {name: len(self._given.values[name].shape) for name in self._given.inputs}
        ranks |= {name: len(self._given.values[value].shape) for name, value in ends.items()}
        axes = {name: given.get(name, 0) for name in ranks}
        wrong = {
            n: a for n, a in axes.items() if a is not None and (type(a) is not int or not 0 <= a < max(ranks[n], 1))
        }
        if wrong or set(given) - set(ranks):
            raise SpecError(f"ProgramModel: batch_axes are {dict(given)}; expected an axis or None for each of {ranks}")
        if len({axis is None for axis in axes.values()}) > 1:
            raise SpecError(f"ProgramModel: batch_axes are {axes}; expected a batch in all of them, or in none")
        return axes

    def _new(self) -> dict[str, Array]:
        """Weights to be replaced: zeros, which take no memory where placeholders are wanted."""
        if placeholders_wanted():
            return {path: np.broadcast_to(np.zeros((), self._dtype), n) for path, n in self._given.weights.items()}
        return {path: np.zeros(shape, self._dtype) for path, shape in self._given.weights.items()}

    # What a model says.

    @property
    def dtype(self) -> str:
        return self._dtype

    @property
    def named_layers(self) -> dict[str, Module]:
        return {}

    @property
    def own_weights(self) -> Mapping[str, Array]:
        return self._arrays

    @property
    def own_version(self) -> int:
        return self._version

    def replace_own(self, weights: Mapping[str, Array]) -> None:
        fresh = dict(self._arrays)
        for path, shape in self._given.weights.items():
            if path in weights:
                array = np.asarray(weights[path], self._dtype) if not placeholders_wanted() else weights[path]
                if array.shape != tuple(shape):
                    raise SpecError(f"{self.called()}: weight {path!r} has shape {array.shape}; expected {shape}")
                array.flags.writeable = False
                fresh[path] = array
        missing = set(self._given.weights) - set(fresh)
        if missing:
            raise SpecError(f"{self.called()}: no weights are given for {sorted(missing)}")
        self._arrays = fresh
        self._version += 1

    @property
    def output_names(self) -> list[str]:
        return list(self._output_names)

    @property
    def batch_axes(self) -> dict[str, int | None]:
        """Which axis of each input and output is the batch; None: it has none."""
        return dict(self._batch_axes)

    def wanted_kind(self) -> Kind | None:
        kinds = {self._given.values[name].kind for name in self._given.inputs}
        return kinds.pop() if len(kinds) == 1 else None

    def _ends(self) -> Sequence[SymbolicTensor]:
        return ()

    def _lower(self) -> Program:
        return self._given

    def lower_into(self, build: Builder, shapes: Sequence[Shape]) -> tuple[list[Value], list[Mask]]:
        """The nodes once more, for inputs of these shapes."""
        given = self._given
        for name, shape in zip(given.inputs, shapes, strict=True):
            build.input(name, shape, given.values[name].kind)
        for carry in given.carries:
            build.carry(carry.name, given.values[carry.before].shape, carry.stateful)
        for node in given.nodes:
            build.add(node)
        for carry in given.carries:
            build.update(build.values[carry.before], build.values[carry.after])
        for note in given.notes:
            build.note(note)
        return [build.values[name] for name in given.outputs], [None] * len(given.outputs)

    # Data as they come and go.

    def _by_input(self, x: Any) -> Any:
        names = self._given.inputs
        if isinstance(x, Mapping):
            return {name: self._entering(name, value) if name in names else value for name, value in x.items()}
        if len(names) == 1:
            whole = isinstance(x, (list, tuple)) and len(x) == 1 and isinstance(x[0], np.ndarray)
            return {names[0]: self._entering(names[0], x[0] if whole else x)}
        if isinstance(x, (list, tuple)) and len(x) == len(names):
            return {name: self._entering(name, value) for name, value in zip(names, x, strict=True)}
        return x

    def _entering(self, name: str, x: Any) -> Any:
        axis, rank = self._batch_axes[name], len(self._given.values[name].shape)
        if axis == 0:
            return x
        array = np.asarray(x)
        if axis is None:
            return array[None]
        return np.moveaxis(array, axis, 0) if array.ndim == rank else array

    def arrange(self, outputs: Sequence[Any]) -> Any:
        return super().arrange([self._leaving(name, y) for name, y in zip(self._output_names, outputs, strict=True)])

    def _leaving(self, name: str, y: Any) -> Any:
        axis = self._batch_axes[name]
        if not isinstance(y, np.ndarray) or axis == 0:
            return y
        return y[0] if axis is None else np.moveaxis(y, 0, axis)

    # Description.

    def serialize(self) -> dict[str, Any]:
        return configs.wrap("keras.lstmcore", "ProgramModel", self.get_config())

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self._dtype,
            "output_names": list(self._output_names),
            "batch_axes": self.batch_axes,
            "program": self._given.to_data(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ProgramModel:
        """The model that has this config, its weights zeros."""
        known = {"name", "trainable", "dtype", "output_names", "batch_axes", "program"}
        if not known <= set(config) or set(config) - known:
            raise SpecError(f"a ProgramModel has the config keys {sorted(known)}; given {sorted(map(str, config))}")
        names, axes = config["output_names"], config["batch_axes"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SpecError(f"a ProgramModel: output_names is {names!r}; expected a list of names")
        if not isinstance(axes, Mapping):
            raise SpecError(f"a ProgramModel: batch_axes is {axes!r}; expected a dict")
        program = from_data(config["program"])
        if len(names) != len(program.outputs):
            raise SpecError(f"a ProgramModel: {len(names)} output_names for {len(program.outputs)} outputs")
        return cls(
            program,
            name=config["name"],
            dtype=config["dtype"],
            output_names=names,
            batch_axes=axes,
            trainable=bool(config["trainable"]),
        )
