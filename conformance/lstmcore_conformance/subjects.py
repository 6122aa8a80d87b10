"""From a case to what runs: a program with its weights, inputs and carries, all in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import layers, ops
from lstmcore.contract import Backend
from lstmcore.models import Sequential
from lstmcore.models.eager import lower
from lstmcore.program import Builder, Program
from lstmcore.runtime.session import Session
from lstmcore_conformance import data, paper
from lstmcore_conformance.cases import Case

Array = NDArray[Any]
NAME = "it"


@dataclass(frozen=True)
class Subject:
    """What a case runs. ``carries`` are the states to start from, by carry name, where they are not zero."""

    program: Program
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    carries: Mapping[str, Array] = field(default_factory=dict)
    expected: Mapping[str, Array] = field(default_factory=dict)  # where it is computed on paper

    @property
    def names(self) -> tuple[str, ...]:
        """What the outputs are called in messages: y, then the states."""
        return tuple(name.rpartition(".")[2] for name in self.program.outputs)

    def run(self, backend: Backend, dtype: str, sessions: Sessions | None = None) -> Outcome:
        """Its outputs and carries on a backend, as arrays."""
        session = (sessions or Sessions()).get(self.program, backend, dtype)
        session.load({name: array.astype(dtype) for name, array in self.weights.items()}, object())
        inputs = {name: _cast(array, dtype) for name, array in self.inputs.items()}
        given = {name: array.astype(dtype) for name, array in self.carries.items()}
        outputs, after = session.run(inputs, given)
        return Outcome(
            tuple(np.array(y) for y in outputs),
            {name: np.array(backend.numpy(tensor)) for name, tensor in after.items()},
        )


def _cast(array: Array, dtype: str) -> Array:
    return np.array(array, dtype) if array.dtype.kind == "f" else np.array(array)


@dataclass(frozen=True)
class Outcome:
    """Outputs in the program's order, and the carries after, by name."""

    outputs: tuple[Array, ...]
    carries: Mapping[str, Array]


class Sessions:
    """Programs made ready once: cases that differ in batch and open time only share one."""

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._kept: dict[tuple[str, int, str], Session] = {}

    def get(self, program: Program, backend: Backend, dtype: str) -> Session:
        key = (program.to_json(), id(backend), dtype)
        if key not in self._kept:
            if len(self._kept) >= self._limit:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = Session(program, backend, dtype)
        return self._kept[key]


def subject(case: Case) -> Subject:
    """Builds what the case names."""
    what, _ = case.subject
    return BUILDERS[what](case)


def layer(case: Case) -> layers.Layer:
    """The layer of a case; ``units`` is H where the layer has any."""
    cls = getattr(layers, case.subject[1])
    sized = {"units": case.settings["H"]} if hasattr(cls, "units") or "units" in cls.__dataclass_fields__ else {}
    return cls(**{**sized, **case.options}, name=NAME)


def input_shape(case: Case) -> tuple[int | None, ...]:
    """Without batch: the case's ``shape``, or (T, I)."""
    settings = case.settings
    if settings["shape"] is not None:
        return tuple(settings["shape"])
    return (None if settings["time"] == "open" else settings["T"], settings["I"])


def _of_layer(case: Case) -> Subject:
    built = layer(case)
    count = len(built.op().states) if case.settings["states"] == "given" else None  # type: ignore[union-attr]
    program = lower(built, input_shape(case), case.settings["mask"] is not None, count)  # type: ignore[arg-type]
    return _filled(case, program)


def _of_op(case: Case) -> Subject:
    options = {"shape" if key == "to" else key: value for key, value in case.options.items()}
    cls = ops.Op.registry[case.subject[1]]
    if "units" in cls.__dataclass_fields__:
        options.setdefault("units", case.settings["H"])
    op = ops.from_attributes(case.subject[1], options)
    build = Builder()
    x = build.input("x", (None, *input_shape(case)), case.settings["kind"])
    others = [build.input(name, (None, case.settings["H"])) for name in getattr(op, "states", ())]
    if case.settings["mask"] is not None:
        others.append(build.input("mask", (None, input_shape(case)[0]), "bool"))
    with build.scope(NAME):
        outputs = build.op(op, x, *others)
    return _filled(case, build.finish([output.name for output in outputs]))


def chain(case: Case) -> Sequential:
    """The model of a case, its weights those of the case."""
    entries = [getattr(layers, name)(**options, dtype=case.dtype) for name, options in case.subject[1]]
    first = layers.Input(batch_shape=(None, *input_shape(case)))
    model = Sequential([first, *entries], name="chain")
    model.replace_weights(
        {name: data.weight(case.key, name, w.shape).astype(case.dtype) for name, w in model.weights.items()}
    )
    return model


def _of_model(case: Case) -> Subject:
    return _filled(case, chain(case).program)


def _of_paper(case: Case) -> Subject:
    sheet = paper.SHEETS[case.subject[1]]()
    built: layers.Layer = getattr(layers, sheet.layer)(**sheet.options, name=NAME)
    x = np.array(sheet.inputs)
    program = lower(built, x.shape[1:], sheet.mask is not None, len(sheet.states) or None)
    given = [x, *([] if sheet.mask is None else [np.array(sheet.mask)]), *map(np.array, sheet.states)]
    return Subject(
        program,
        {f"{NAME}/{port}": np.array(value, np.float64) for port, value in sheet.weights.items()},
        dict(zip(program.inputs, given, strict=True)),
        expected={name: np.array(value) for name, value in sheet.expected.items()},
    )


def _filled(case: Case, program: Program) -> Subject:
    gains = [data.GAIN.get(_name(case.options.get(k)), 1.0) for k in ("activation", "recurrent_activation")]
    gain = min(gains) if min(gains) < 1 else max(gains)
    weights = {path: data.weight(case.key, path, shape, gain) for path, shape in program.weights.items()}
    inputs = {name: _input(case, program, name) for name in program.inputs}
    carries = {}
    if case.settings["states"] == "carried":
        for carry in program.carries:
            shape = (case.settings["B"], *program.values[carry.before].shape[1:])
            carries[carry.name] = data.state(case.key, carry.name, shape)  # type: ignore[arg-type]
    return Subject(program, weights, inputs, carries)


def _name(function: Any) -> str:
    return function["name"] if isinstance(function, Mapping) else str(function)


def _input(case: Case, program: Program, name: str) -> Array:
    value = program.values[name]
    batch, steps = case.settings["B"], case.settings["T"]
    shape = (batch, *(steps if n is None else n for n in value.shape[1:]))
    if name == "mask":
        return data.mask(case.settings["mask"], batch, steps)
    if value.kind == "bool":
        return data.mask("holes", batch, int(np.prod(shape[1:]))).reshape(shape)
    if value.kind == "int":
        return data.ids(case.key, name, shape, program.limits.get(name, 9))
    if name.startswith("state_") or name in ("h", "c"):
        return data.state(case.key, name, shape)
    return data.floats(case.key, name, shape, case.settings["values"])


BUILDERS: Mapping[str, Callable[[Case], Subject]] = MappingProxyType(
    {"layer": _of_layer, "op": _of_op, "model": _of_model, "paper": _of_paper}
)
