"""A model as the proof sees it: values that enter and leave, all that is between them, and which layer makes what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.models.base import BaseModel
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Node, Program
from lstmcore.runtime.compare import shake
from lstmcore.runtime.feed import fixed_batch
from lstmcore.runtime.session import Session

Array = NDArray[Any]
Values = dict[str, Array]


@dataclass(frozen=True)
class Part:
    """A layer, or what stands for one: its nodes, and the values of it that others read."""

    name: str
    kind: str
    nodes: tuple[Node, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A model's program, with the states that enter from outside beside its inputs, in the order of their names."""

    model: BaseModel
    program: Program
    states: tuple[str, ...]

    @classmethod
    def of(cls, model: BaseModel, streaming: bool = False) -> Subject:
        """The model as it predicts, or as it is written to be streamed: all its past in states."""
        if not streaming:
            program = model.program
            return cls(model, program, tuple(sorted(carry.name for carry in program.carries if carry.stateful)))
        program, _ = model.streaming_program(fixed_batch(model.program) or 1)
        return cls(model, program, tuple(sorted(carry.name for carry in program.carries)))

    @cached_property
    def entering(self) -> tuple[str, ...]:
        """The values that come from outside: inputs, then states."""
        befores = {carry.name: carry.before for carry in self.program.carries}
        return (*self.program.inputs, *(befores[name] for name in self.states))

    @cached_property
    def leaving(self) -> tuple[str, ...]:
        """The values that go outside: outputs, then states."""
        afters = {carry.name: carry.after for carry in self.program.carries}
        return (*self.program.outputs, *(afters[name] for name in self.states))

    @cached_property
    def called(self) -> dict[str, str]:
        """What each of these is called outside; a value that leaves twice by its last name."""
        carries = {carry.name: carry for carry in self.program.carries}
        names = dict(zip(self.program.outputs, self.model.output_names, strict=True))
        names |= {carries[name].after: f"{name}/next" for name in self.states}
        return names | {carries[name].before: name for name in self.states}

    def run(self, inputs: Mapping[str, Array], dtype: str) -> Values:
        """Every value of the program on the reference engine, by name."""
        if dtype not in self._sessions:
            self._sessions[dtype] = self._session(dtype)
            self._sessions[dtype].load(self.model.every_path(), 0)
        return self._values(self._sessions[dtype], inputs, dtype)

    def shaken(self, inputs: Mapping[str, Array], number: int) -> Values:
        """The same in float64, with every weight moved by half a unit of float32; see `runtime.compare.shake`."""
        session = self._session("float64")
        session.load({path: shake(path, array, number) for path, array in self.model.every_path().items()}, number)
        return self._values(session, inputs, "float64")

    def _session(self, dtype: str) -> Session:
        made = [output for node in self.program.nodes for output in node.outputs]
        return Session(replace(self.program, outputs=tuple(made)), plugins.get(plugins.reference()), dtype)

    def _values(self, session: Session, inputs: Mapping[str, Array], dtype: str) -> Values:
        given = {name: self._cast(name, inputs[name], dtype) for name in self.entering}
        befores = {carry.before: carry.name for carry in self.program.carries}
        carries = {befores[name]: array for name, array in given.items() if name in befores}
        fed = {name: given[name] for name in self.program.inputs}
        outputs, _ = session.run(fed, carries)
        batch = len(next(iter(fed.values())))
        zeros = {
            carry.before: np.zeros((batch, *(n or 0 for n in self.program.values[carry.before].shape[1:])), dtype)
            for carry in self.program.carries
        }
        return {**zeros, **given, **dict(zip(session.program.outputs, outputs, strict=True))}

    @cached_property
    def _sessions(self) -> dict[str, Session]:
        return {}

    def _cast(self, name: str, array: Array, dtype: str) -> Array:
        wanted = {"float": dtype, "int": "int32", "bool": "bool"}[self.program.values[name].kind]
        return np.ascontiguousarray(array, wanted)

    # Data as they are outside.

    @property
    def one_call(self) -> bool:
        """Whether the model has no batch: its data are those of one call, and the program's samples are calls."""
        return isinstance(self.model, ProgramModel) and None in self.model.batch_axes.values()

    def outward(self, name: str, array: Array) -> Array:
        """An entering value as the file's own data are laid out."""
        axis = self._axis(name)
        return array[0] if axis is None else np.moveaxis(array, 0, axis)

    def inward(self, name: str, array: Array) -> Array:
        """A leaving value of the file as the program has it."""
        axis = self._axis(self.called[name])
        array = np.asarray(array)
        if axis is None:
            return array[None]
        return np.moveaxis(array, axis, 0) if axis < array.ndim else array

    def _axis(self, name: str) -> int | None:
        return self.model.batch_axes.get(name, 0) if isinstance(self.model, ProgramModel) else 0

    # Parts.

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The layers in the order in which they run, those of models within by path; of a graph, its nodes."""
        layers = dict(_layers(self.model, ""))
        groups: dict[str, list[Node]] = {}
        for node in self.program.nodes:
            groups.setdefault(_owner(node.name, layers), []).append(node)
        readers: dict[str, set[str]] = {}
        for name, nodes in groups.items():
            for node in nodes:
                for value in node.inputs:
                    readers.setdefault(str(value), set()).add(name)
        found = []
        for name, nodes in groups.items():
            made = [output for node in nodes for output in node.outputs if self._is_float(output)]
            leaves = [v for v in made if readers.get(v, set()) - {name} or v in self.leaving]
            kind = layers.get(name) or type(nodes[0].op).__name__
            if leaves:
                found.append(Part(name, kind, tuple(nodes), tuple(leaves)))
        return tuple(found)

    def _is_float(self, value: str) -> bool:
        return self.program.values[value].kind == "float"


def _layers(model: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name, layer in model.named_layers.items():
        if isinstance(layer, BaseModel) and layer.named_layers:
            yield from _layers(layer, f"{prefix}{name}/")
        else:
            yield prefix + name, type(layer).__name__


def _owner(node: str, layers: Mapping[str, str]) -> str:
    """The layer that a node is of: one whose path its name begins with; itself where it is of none."""
    parts = node.split("/")
    for count in range(len(parts), 0, -1):
        path = "/".join(parts[:count])
        again = re.sub(r"_\d+$", "", path)  # a layer called once more: its nodes have numbers
        for known in (path, again):
            if known in layers:
                return known
    return node


def named(subject: Subject, values: Sequence[Values]) -> list[Values]:
    """The values that leave layers, by the layer's name, of each case; of a graph, all floats by their own names."""
    if not subject.model.named_layers:
        names = {output for node in subject.program.nodes for output in node.outputs if subject._is_float(output)}
        return [{name: case[name] for name in names} for case in values]
    rows = [(label, value) for part in subject.parts for label, value in labels(part)]
    return [{label: case[value] for label, value in rows} for case in values]


def labels(part: Part) -> list[tuple[str, str]]:
    """(what a row of the table is called, the value) of a part: its name, and of further values also theirs."""
    first, *rest = part.values
    return [
        (part.name, first),
        *((f"{part.name}: {value.removeprefix(part.name).strip('/.')}", value) for value in rest),
    ]
