"""From a case to what runs: a program with its weights, inputs and carries, all in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lstmcore import layers, ops
from lstmcore.contract import Backend
from lstmcore.layers import Input
from lstmcore.layers.symbolic import lower_call
from lstmcore.models import Model, Sequential
from lstmcore.models.eager import Slot, lower
from lstmcore.program import Builder, Program, Value
from lstmcore.runtime.session import Session
from lstmcore_conformance import data, graphs, objectives, paper, specs
from lstmcore_conformance.arguments import arguments, input_shape
from lstmcore_conformance.cases import Case

Array = NDArray[Any]
NAME = "it"
M = TypeVar("M", bound="Sequential | Model")
RENAMED = {
    "to": "shape",
    "numbers": "values",
    "reduced": "axes",
    "over": "axes",
}  # options of ops that are called like settings


@dataclass(frozen=True)
class Subject:
    """What a case runs. ``carries`` are the states to start from, by carry name, where they are not zero."""

    program: Program
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    carries: Mapping[str, Array] = field(default_factory=dict)
    expected: Mapping[str, Array] = field(default_factory=dict)  # where it is computed on paper
    noise: Mapping[str, Array] = field(default_factory=dict)  # of a training step, by name
    fixed: tuple[str, ...] = ()  # inputs of which no gradient is taken: targets and their weights

    @property
    def names(self) -> tuple[str, ...]:
        """What the outputs are called in messages: y, then the states; a second y is "y 2"."""
        short = [name.rpartition(".")[2] for name in self.program.outputs]
        return tuple(f"{n} {short[:k].count(n) + 1}" if n in short[:k] else n for k, n in enumerate(short))

    @property
    def samples(self) -> int:
        """The batch size."""
        return len(next(iter(self.inputs.values())))

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
        self._kept: dict[tuple[str, int, str, str], Any] = {}

    def get(self, program: Program, backend: Backend, dtype: str) -> Session:
        """What runs it."""
        session: Session = self.kept(program, backend, dtype, "session", lambda: Session(program, backend, dtype))
        return session

    def kept(self, program: Program, backend: Backend, dtype: str, what: str, make: Callable[[], Any]) -> Any:
        """What was made for such a program before, or else what ``make`` gives."""
        key = (replace(program, notes=()).to_json(), id(backend), dtype, what)
        if key not in self._kept:
            if len(self._kept) >= self._limit:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = make()
        return self._kept[key]


def subject(case: Case) -> Subject:
    """Builds what the case names."""
    what, _ = case.subject
    return BUILDERS[what](case)


def layer(case: Case) -> layers.Layer:
    """The layer of a case."""
    name, options = specs.of(case)
    built: layers.Layer = specs.made([name, {**options, "name": NAME}], lambda kind, **o: getattr(layers, kind)(**o))
    return built


def _of_layer(case: Case) -> Subject:
    built = layer(case)
    slots, arrays = arguments(case, built)
    return _filled(case, _program(case, built, slots), arrays)


def traced(case: Case) -> tuple[layers.Layer, Mapping[str, Any], Program]:
    """The layer of a case, what it is called on, and its program."""
    built = layer(case)
    slots, _ = arguments(case, built)
    return built, slots, _program(case, built, slots)


def _program(case: Case, built: layers.Layer, slots: Mapping[str, Any]) -> Program:
    """The layer's program; ``mask_out``: with the masks that go on as further outputs."""
    build = Builder()
    build.training = case.settings["training"]

    def value(leaf: Any) -> Any:
        return build.input(leaf.name, leaf.shape, leaf.kind) if isinstance(leaf, Slot) else leaf

    with build.scope(NAME):
        outputs, masks = lower_call(built, build, slots, value, lambda leaf: None)
    told = [mask for mask in masks if mask is not None] if case.settings["mask_out"] else []
    return build.finish([output.name for output in (*outputs, *told)])


def _of_op(case: Case) -> Subject:
    op, build, arrays = _op(case), Builder(), {}
    entries = case.settings["inputs"] or [list(input_shape(case))]
    inputs: list[Value | None] = []
    with build.scope(NAME):
        for port, given in zip(op.inputs, entries, strict=False):
            one = given if isinstance(given, Mapping) else {"shape": given}
            if "weight" in one:
                inputs.append(build.weight(port, tuple(one["weight"])))
                continue
            inputs.append(build.input(port, (None, *one["shape"]), one.get("kind", case.settings["kind"])))
            if one.get("folded"):
                rows = case.settings["B"] * case.settings["T"]
                arrays[port] = _array(case, inputs[-1], (rows, *one["shape"]), 9)
        inputs += [build.input(name, shape) for name, shape in _states(op)]
        if case.settings["mask"] is not None:
            inputs.append(build.input("mask", (None, input_shape(case)[0]), "bool"))
        elif case.settings["previous"]:
            inputs.append(None)
        if case.settings["previous"]:
            inputs.append(build.input("previous", _output(op)))
        outputs = build.op(op, *inputs)
    return _filled(case, build.finish([output.name for output in outputs]), arrays)


def _op(case: Case) -> ops.Op:
    options = {RENAMED.get(key, key): value for key, value in case.options.items()}
    cls = ops.Op.registry[case.subject[1]]
    if "units" in cls.__dataclass_fields__:
        options.setdefault("units", case.settings["H"])
    if "cell" in options:
        options["body"] = _body(options.pop("cell"), input_shape(case)[1:]).to_data()
    return ops.from_attributes(case.subject[1], options)


def _body(spec: list[Any], features: tuple[int | None, ...]) -> Program:
    """One step of a cell as a program."""
    cell = specs.made(spec, lambda kind, **o: getattr(layers, kind)(**o))
    build = Builder()
    x = build.input("x", (None, *features))
    states = [build.input(f"state_{k}", (None, n)) for k, n in enumerate(cell.state_sizes)]
    outputs, _ = cell.lower(build, x, None, states)
    return build.finish([output.name for output in outputs])


def _states(op: ops.Op) -> list[tuple[str, ops.Shape]]:
    if isinstance(op, ops.Scan):
        names = zip(op.states, op.body.inputs[1:], strict=True)
        return [(port, op.body.values[name].shape) for port, name in names]
    return [(name, (None, op.units)) for name in op.states] if isinstance(op, ops.Recurrent) else []


def _output(op: Any) -> ops.Shape:
    """Of one step."""
    shape: ops.Shape = op.body.values[op.body.outputs[0]].shape if isinstance(op, ops.Scan) else (None, op.units)
    return shape


def chain(case: Case, dtype: str | None = None) -> Sequential:
    """The model of a case, its weights those of the case; in its dtype or another."""
    dtype = dtype or case.dtype
    made = _Typed(dtype)
    entries = [
        specs.made([name, options], lambda kind, **o: getattr(made, kind)(**o)) for name, options in case.subject[1]
    ]
    first = layers.Input(batch_shape=(None, *input_shape(case)))
    model = Sequential([first, *entries], name="chain")
    return _weighted(case, model, dtype)


def _weighted(case: Case, model: M, dtype: str) -> M:
    """The model with the weights of the case."""
    model.replace_weights(
        {name: data.weight(case.key, name, w.shape).astype(dtype) for name, w in model.weights.items()}
    )
    return model


class _Typed:
    """The layers, made in one dtype."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype

    def __getattr__(self, name: str) -> Callable[..., layers.Layer]:
        return partial(getattr(layers, name), dtype=self._dtype)


def _of_model(case: Case) -> Subject:
    return _filled(case, chain(case).program, {})


def graph(case: Case, dtype: str | None = None) -> Model:
    """The functional model of a case, its weights those of the case; in its dtype or another."""
    dtype = dtype or case.dtype
    model: Model = graphs.GRAPHS[case.subject[1]](graphs.Namespace(_Typed(dtype), Input, Model, Sequential))
    return _weighted(case, model, dtype)


def _of_graph(case: Case) -> Subject:
    return _filled(case, graph(case).program, {})


def _of_loss(case: Case) -> Subject:
    program, arrays = objectives.loss(case)
    return replace(
        _filled(case, program, arrays), fixed=tuple(name for name in arrays if name != objectives.PREDICTION)
    )


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


def _filled(case: Case, program: Program, arrays: Mapping[str, Array]) -> Subject:
    """The program with its numbers; ``arrays`` are those inputs that name and kind do not tell."""
    gains = [data.GAIN.get(_name(case.options.get(k)), 1.0) for k in ("activation", "recurrent_activation")]
    gain = min(gains) if min(gains) < 1 else max(gains)
    weights = {path: data.weight(case.key, path, shape, gain) for path, shape in program.weights.items()}
    inputs = {name: arrays[name] if name in arrays else _input(case, program, name) for name in program.inputs}
    if case.settings["values"] == data.NAN_WHERE_MASKED:
        name = program.inputs[0]
        inputs[name] = data.nan_where_masked(inputs[name], inputs["mask"])
    carries = {}
    if case.settings["states"] == "carried":
        for carry in program.carries:
            shape = (case.settings["B"], *program.values[carry.before].shape[1:])
            carries[carry.name] = data.state(case.key, carry.name, shape)  # type: ignore[arg-type]
    return Subject(program, weights, inputs, carries, noise=_noise(case, program, inputs))


def _noise(case: Case, program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The random numbers of a training step."""
    if not program.noise:
        return {}
    values = program.infer({name: array.shape for name, array in inputs.items()})
    drawn = {}
    for noise in program.noise:
        shape = noise_shape(program.values[noise.name].shape, values[noise.like].shape)
        drawn[noise.name] = data.noise(case.key, noise, shape)
    return drawn


def _name(function: Any) -> str:
    return function["name"] if isinstance(function, Mapping) else str(function)


def inputs(case: Case, program: Program) -> dict[str, Array]:
    """The inputs that name and kind tell."""
    return {name: _input(case, program, name) for name in program.inputs}


def _input(case: Case, program: Program, name: str) -> Array:
    value = program.values[name]
    shape = (case.settings["B"], *(case.settings["T"] if n is None else n for n in value.shape[1:]))
    if name == "mask" and case.settings["mask"] in data.MASKS:
        return data.mask(case.settings["mask"], *shape)
    return _array(case, value, shape, program.limits.get(name, 9))


def _array(case: Case, value: Value, shape: tuple[int, ...], limit: int) -> Array:
    """Numbers for an input, by its name and kind."""
    if value.kind == "bool" and value.name in ("x", "inputs"):
        return data.mask("holes", shape[0], int(np.prod(shape[1:]))).reshape(shape)
    if value.kind == "bool":
        return data.bools(case.key, value.name, shape)
    if value.kind == "int":
        # "outside": also ids beyond both ends.
        outside = case.settings["values"] == "outside"
        return data.ids(case.key, value.name, shape, limit + 2 * outside) - outside
    if value.name.startswith("state_") or value.name in ("h", "c", "previous"):
        return data.state(case.key, value.name, shape)
    return data.floats(case.key, value.name, shape, case.settings["values"])


BUILDERS: Mapping[str, Callable[[Case], Subject]] = MappingProxyType(
    {"layer": _of_layer, "op": _of_op, "model": _of_model, "graph": _of_graph, "paper": _of_paper, "loss": _of_loss}
)


def noise_shape(shape: Any, like: Any) -> tuple[int, ...]:
    """The shape of a noise: its own, with the open axes of the value that it is like."""
    return tuple(like[axis] if n is None else n for axis, n in enumerate(shape))
