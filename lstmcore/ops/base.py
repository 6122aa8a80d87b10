"""What every op is: options as plain data, checked, read and written by one table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from lstmcore import activations, axes
from lstmcore.activations import Function
from lstmcore.errors import SpecError, near

OPSET = 1

Shape = tuple[int | None, ...]
Kind = Literal["float", "int", "bool"]


@dataclass(frozen=True)
class Tensor:
    """What is known of a value before it exists: its shape, None where open, and its kind of number.

    ``float`` is the dtype the program is compiled for; ``int`` is int32; ``bool`` is a mask.
    """

    shape: Shape
    kind: Kind = "float"


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31


def _is_number(value: object) -> bool:
    limit = sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -limit <= value <= limit


def _as_it_is(value: Any) -> Any:
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Option:
    """A type that an option of an op may have: in words, as a check, and its way to JSON and back.

    ``read`` may raise SpecError; what it cannot read it may also hand back, for ``holds`` to refuse.
    """

    expected: str
    holds: Callable[[Any], bool]
    write: Callable[[Any], Any] = _as_it_is
    read: Callable[[Any], Any] = _as_it_is


# By the annotation of the field. A room further right may add its own type.
OPTIONS: dict[str, Option] = {
    "int": Option("an integer", _is_int),
    "int | None": Option("an integer or None", lambda value: value is None or _is_int(value)),
    "float": Option("a finite number", _is_number),
    "bool": Option("True or False", lambda value: isinstance(value, bool)),
    "str": Option("a string", lambda value: isinstance(value, str)),
    "tuple[int, ...]": Option(
        "a tuple of integers", lambda v: isinstance(v, tuple) and all(map(_is_int, v)), list, _tuple
    ),
    "tuple[float, ...]": Option(
        "a tuple of finite numbers", lambda v: isinstance(v, tuple) and all(map(_is_number, v)), list, _tuple
    ),
    "Function": Option(
        "an activation function", lambda value: isinstance(value, Function), activations.serialize, activations.get
    ),
}

_LEAST = dict.fromkeys(("units", "size", "filters", "strides", "dilation", "groups", "times", "count", "depth"), 1)
_LEAST |= {"before": 0, "after": 0, "epsilon": 0, "kept": 0}
_SWITCHES = {"bias": "use_bias", "gamma": "scale", "beta": "center"}


@dataclass(frozen=True)
class Op:
    """Base of the ops."""

    registry: ClassVar[dict[str, type[Op]]] = {}
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    optional: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    weights: ClassVar[Mapping[str, str]] = {}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # what an option that is a name may be
    moves: ClassVar[bool] = False  # it only moves the numbers of its first input

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            Op.registry[cls.__name__] = cls

    def __post_init__(self) -> None:
        for f in fields(self):
            option, value = OPTIONS[str(f.type)], getattr(self, f.name)
            if not option.holds(value):
                raise self.refusal(f"{f.name} is {value!r}; expected {option.expected}")
            if f.name in _LEAST and value < _LEAST[f.name]:
                raise self.refusal(f"{f.name} is {value!r}; expected {_LEAST[f.name]} or more")
            if f.name in self.choices and value not in self.choices[f.name]:
                raise self.refusal(f"unknown {f.name} {value!r}.{near(value, self.choices[f.name])}")
            if f.name == "axis":
                self.refuse_batch(f.name, value)

    def refuse_batch(self, name: str, *numbers: int) -> None:
        """Axes are counted from 0, which is the batch; no op works along it."""
        if min(numbers, default=0) < 1 or len(set(numbers)) != len(numbers):
            given = getattr(self, name)
            raise self.refusal(
                f"{name} is {given!r}; expected feature axes, counted from 1, each once (0 is the batch)"
            )

    def refusal(self, text: str) -> SpecError:
        """The error that says why this op, or its use, cannot be."""
        return SpecError(f"op {type(self).__name__}: {text}")

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """The outputs' shapes and kinds; SpecError where the inputs do not fit."""
        raise NotImplementedError

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        """The length of each named axis of the weights."""
        return {}

    def ports(self) -> tuple[str, ...]:
        """The names of the weights it has with these options."""
        return tuple(p for p in self.weights if p not in _SWITCHES or getattr(self, _SWITCHES[p], True))

    def inventory(self, *inputs: Tensor | None) -> dict[str, tuple[int, ...]]:
        """The shape of each weight."""
        sizes = self.sizes(*inputs)
        return {port: axes.shape(self.weights[port], sizes) for port in self.ports()}

    def attributes(self) -> dict[str, Any]:
        """The options as JSON values; `from_attributes` gives an equal op back."""
        return {f.name: OPTIONS[str(f.type)].write(getattr(self, f.name)) for f in fields(self)}

    def __str__(self) -> str:
        options = (
            f"{f.name}={value if isinstance(value, Function) else repr(value)}"
            for f in fields(self)
            if (value := getattr(self, f.name)) != f.default
        )
        return f"{type(self).__name__}({', '.join(options)})"


def from_attributes(name: str, attributes: Mapping[str, Any]) -> Op:
    """An op from its name and options; SpecError for what this opset does not have."""
    if name not in Op.registry:
        raise SpecError(f"unknown op {name!r} in opset {OPSET}.{near(name, Op.registry)}")
    cls = Op.registry[name]
    known = {f.name: OPTIONS[str(f.type)] for f in fields(cls)}
    for key in attributes:
        if key not in known:
            raise SpecError(f"op {name} has no option {key!r}.{near(key, known)}")
    values = {key: known[key].read(value) for key, value in attributes.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise SpecError(f"op {name}: {error}") from None


def checked(op: Op, port: str, value: Tensor | None, layout: str = "", kind: Kind | None = "float") -> Tensor:
    """The input, checked: its kind, and as many axes as ``layout`` names; with "..." at least as many."""
    if value is None:
        raise SpecError(f"{type(op).__name__}: input {port!r} is missing")
    if kind is not None and value.kind != kind:
        raise SpecError(f"{type(op).__name__}: input {port!r} holds {value.kind}; expected {kind}")
    names = layout.split(", ") if layout else []
    required = len(names) - names.count("...")
    if len(value.shape) < required or (len(value.shape) > required and names and "..." not in names):
        axes = f"{len(value.shape)} axes, shape {value.shape}"
        raise SpecError(f"{type(op).__name__}: input {port!r} has {axes}; expected ({layout})")
    return value


def known_length(op: Op, port: str, shape: Shape, axis: int = -1) -> int:
    """The length of an axis on which weights or the result depend; SpecError where it is open."""
    length = shape[axis]
    if length is None:
        which = "the last axis" if axis == -1 else f"axis {axis}"
        name = type(op).__name__
        raise SpecError(f"{name}: {which} of input {port!r} must have a known length; give the Input all its lengths")
    return length


def existing_axis(op: Op, port: str, shape: Shape, axis: int) -> int:
    """``axis``, which the input must have."""
    if axis >= len(shape):
        raise SpecError(f"{type(op).__name__}: input {port!r} has shape {shape}, and so no axis {axis}")
    return axis


def may_equal(a: int | None, b: int | None) -> bool:
    """Whether two lengths can be the same; an open one can be any."""
    return a is None or b is None or a == b


def product(lengths: Iterable[int]) -> int:
    """The product of known lengths."""
    result = 1
    for length in lengths:
        result *= length
    return result


def one_batch(op: Op, *inputs: Tensor | None) -> int | None:
    """The batch size that all inputs share; SpecError where they do not."""
    batches = {tensor.shape[0] for tensor in inputs if tensor is not None and tensor.shape[0] is not None}
    if len(batches) > 1:
        raise SpecError(f"{type(op).__name__}: inputs of different batch sizes, {sorted(map(str, batches))}")
    return next(iter(batches), None)


def with_length(shape: Shape, axis: int, length: int | None) -> Shape:
    """The shape with another length on one axis."""
    return (*shape[:axis], length, *shape[axis + 1 :])
