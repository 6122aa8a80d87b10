"""The canonical ops: all that a backend has to compute. These docstrings are normative.

Notation: B batch, T time, I input features, U units, ... any leading axes; σ the logistic function;
``@`` a matrix product over the last axis; ⊙ elementwise. Gates lie side by side in one matrix, in the
order the op names. An op is plain data; a kernel executes it as ``run(op, weights, *inputs)``, one
argument per entry of ``inputs`` + ``optional`` (None where absent), and returns one value per entry
of ``outputs``. NaN and infinity follow IEEE arithmetic: they pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, cast

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


# The types that an option may have: in words, and as a check.
_OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("an integer; positive for a size", _is_int),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "tuple[int, ...]": ("a tuple of integers", lambda v: isinstance(v, tuple) and all(map(_is_int, v))),
    "Function": ("an activation function", lambda value: isinstance(value, Function)),
}


@dataclass(frozen=True)
class Op:
    """Base of the ops."""

    registry: ClassVar[dict[str, type[Op]]] = {}
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    optional: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    weights: ClassVar[Mapping[str, str]] = {}
    moves: ClassVar[bool] = False  # it only moves the numbers of its first input

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            Op.registry[cls.__name__] = cls

    def __post_init__(self) -> None:
        for f in fields(self):
            expected, holds = _OPTIONS[str(f.type)]
            value = getattr(self, f.name)
            if not holds(value) or (f.name in ("units", "size") and value < 1):
                raise SpecError(f"op {type(self).__name__}: {f.name} is {value!r}; expected {expected}")

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """The outputs' shapes and kinds; SpecError where the inputs do not fit."""
        raise NotImplementedError

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        """The length of each named axis of the weights."""
        return {}

    def ports(self) -> tuple[str, ...]:
        """The names of the weights it has with these options."""
        return tuple(p for p in self.weights if p != "bias" or getattr(self, "use_bias", True))

    def inventory(self, *inputs: Tensor | None) -> dict[str, tuple[int, ...]]:
        """The shape of each weight."""
        sizes = self.sizes(*inputs)
        return {port: axes.shape(self.weights[port], sizes) for port in self.ports()}

    def attributes(self) -> dict[str, Any]:
        """The options as JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: activations.serialize(v) if isinstance(v, Function) else v for k, v in values.items()}

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
    known = {f.name: f for f in fields(cls)}
    for key in attributes:
        if key not in known:
            raise SpecError(f"op {name} has no option {key!r}.{near(key, known)}")
    values: dict[str, Any] = {}
    for key, value in attributes.items():
        if known[key].type == "Function":
            value = activations.get(value)
        values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)
    except TypeError as error:
        raise SpecError(f"op {name}: {error}") from None


def _tensor(op: Op, port: str, value: Tensor | None, layout: str = "", kind: Kind | None = "float") -> Tensor:
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


def _known(op: Op, port: str, length: int | None) -> int:
    if length is None:
        name = type(op).__name__
        raise SpecError(
            f"{name}: the last axis of input {port!r} must have a known length; give the Input all its lengths"
        )
    return length


@dataclass(frozen=True)
class Affine(Op):
    """``y = activation-free  x @ kernel + bias``.

    x (..., I), kernel (I, U), bias (U,) -> y (..., U).
    """

    units: int
    use_bias: bool = True
    weights: ClassVar[Mapping[str, str]] = {"kernel": "input unit", "bias": "unit"}

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        x = _tensor(self, "x", inputs[0], "batch, ..., features")
        return {"input": _known(self, "x", x.shape[-1]), "unit": self.units}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        self.sizes(*inputs)
        return (Tensor((*cast(Tensor, inputs[0]).shape[:-1], self.units)),)


@dataclass(frozen=True)
class Activate(Op):
    """``y = function(x)``, formulas in `lstmcore.activations`; same shape, but ``glu`` halves its axis."""

    function: Function

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = _tensor(self, "x", inputs[0])
        if self.function.name not in activations.ALONG_AXIS:
            return (x,)
        axis = self.function.parameters["axis"]
        if not isinstance(axis, int) or not -len(x.shape) <= axis < len(x.shape) or axis % len(x.shape) == 0:
            raise SpecError(f"{self.function}: axis {axis!r} is not one of the feature axes of shape {x.shape}")
        if self.function.name != "glu":
            return (x,)
        length = _known(self, "x", x.shape[axis])
        if length % 2:
            raise SpecError(f"glu halves an axis of even length; axis {axis} of shape {x.shape} has {length}")
        halved = list(x.shape)
        halved[axis] = length // 2
        return (Tensor(tuple(halved)),)


@dataclass(frozen=True)
class Embed(Op):
    """``y[..., :] = embeddings[ids[...]]``.

    ids int (B, ...), embeddings (V, U) -> y (B, ..., U). Ids outside [0, V) do not reach a kernel:
    they are refused before any backend runs.
    """

    size: int
    units: int
    inputs: ClassVar[tuple[str, ...]] = ("ids",)
    weights: ClassVar[Mapping[str, str]] = {"embeddings": "token unit"}

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        return {"token": self.size, "unit": self.units}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        return (Tensor((*_tensor(self, "ids", inputs[0], kind="int").shape, self.units)),)


@dataclass(frozen=True)
class NotEqual(Op):
    """``y = (x != value)``: the mask of the positions that count. x int, any shape -> bool, same shape."""

    value: int = 0

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        return (Tensor(_tensor(self, "x", inputs[0], kind="int").shape, "bool"),)


@dataclass(frozen=True)
class Reshape(Op):
    """The same numbers in row-major order in another shape; the batch axis stays.

    ``shape`` is the target without the batch axis; one entry may be -1 and takes what is left.
    """

    moves: ClassVar[bool] = True
    shape: tuple[int, ...]

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = _tensor(self, "x", inputs[0], kind=None)
        if sum(n == -1 for n in self.shape) > 1 or any(n < -1 for n in self.shape):
            raise SpecError(f"Reshape: target {self.shape} may hold one -1 and no other negative length")
        known = _product(n for n in self.shape if n != -1)
        total = None if None in x.shape[1:] else _product(cast(tuple[int, ...], x.shape[1:]))
        if total is not None and (total != known if -1 not in self.shape else known == 0 or total % known):
            raise SpecError(f"Reshape: {x.shape[1:]} holds {total} numbers, which do not fill {self.shape}")
        left = None if total is None else total // max(known, 1)
        return (Tensor((x.shape[0], *(left if n == -1 else n for n in self.shape)), x.kind),)


def _may_equal(a: int | None, b: int | None) -> bool:
    return a is None or b is None or a == b


def _product(lengths: Any) -> int:
    result = 1
    for length in lengths:
        result *= length
    return result


@dataclass(frozen=True)
class Transpose(Op):
    """Permutes the axes: axis k of y is axis ``axes[k]`` of x. The batch axis stays first."""

    moves: ClassVar[bool] = True
    axes: tuple[int, ...]

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = _tensor(self, "x", inputs[0], kind=None)
        if sorted(self.axes) != list(range(len(x.shape))) or self.axes[0] != 0:
            raise SpecError(f"Transpose: axes {self.axes} do not permute the {len(x.shape)} axes, batch first")
        return (Tensor(tuple(x.shape[k] for k in self.axes), x.kind),)


@dataclass(frozen=True)
class Reverse(Op):
    """``y[:, t] = x[:, T-1-t]``. x (B, T, ...), any kind -> the same shape."""

    moves: ClassVar[bool] = True

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = _tensor(self, "x", inputs[0], "batch, time, ...", None)
        return (x,)


@dataclass(frozen=True)
class Last(Op):
    """``y = x[:, T-1]``. x (B, T, ...) -> (B, ...)."""

    moves: ClassVar[bool] = True

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = _tensor(self, "x", inputs[0], "batch, time, ...", None)
        return (Tensor((x.shape[0], *x.shape[2:]), x.kind),)


@dataclass(frozen=True)
class Recurrent(Op, abstract=True):
    """Base of the recurrent ops: x (B, T, I), a state (B, U) for each of ``states``, mask bool (B, T).

    The output y (B, T, U) holds h_1 ... h_T; the outputs after it are the states after the last step.
    **Masked step** (mask False): the states keep their values and y_t repeats y_{t-1}, or is zero
    where no step has been valid yet. With ``zero_output_for_mask`` y_t is zero at every masked step.
    (Keras 3.15 on TensorFlow and PyTorch, measured.)
    """

    units: int
    activation: Function = Function("tanh")
    use_bias: bool = True
    zero_output_for_mask: bool = False
    gates: ClassVar[str] = ""
    states: ClassVar[tuple[str, ...]] = ("h",)
    optional: ClassVar[tuple[str, ...]] = ("mask",)

    def __init_subclass__(cls, abstract: bool = False) -> None:
        super().__init_subclass__(abstract)
        cls.inputs = ("x", *cls.states)
        cls.outputs = ("y", *cls.states)

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        x = _tensor(self, "x", inputs[0], "batch, time, features")
        features = _known(self, "x", x.shape[2])
        return {"input": features, "state": self.units, "unit": self.units, "gate": len(self.gates)}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        self.sizes(*inputs)
        x = cast(Tensor, inputs[0])
        for port, state in zip(self.states, inputs[1:], strict=False):
            if _tensor(self, port, state, "batch, units").shape[1] != self.units:
                given = cast(Tensor, state).shape
                raise SpecError(
                    f"{type(self).__name__}: state {port!r} has shape {given}; expected (batch, {self.units})"
                )
        mask = inputs[1 + len(self.states)]
        if mask is not None:
            _tensor(self, "mask", mask, "batch, time", "bool")
            if not _may_equal(mask.shape[1], x.shape[1]):
                raise SpecError(f"{type(self).__name__}: mask has shape {mask.shape}; the input has {x.shape[1]} steps")
        batches = {tensor.shape[0] for tensor in inputs if tensor is not None and tensor.shape[0] is not None}
        if len(batches) > 1:
            raise SpecError(f"{type(self).__name__}: inputs of different batch sizes, {sorted(map(str, batches))}")
        for f in fields(self):
            function = getattr(self, f.name)
            if isinstance(function, Function) and function.name == "glu":
                raise SpecError(f"{type(self).__name__}: {f.name}='glu' would halve the units; it cannot be used here")
        state = Tensor((x.shape[0], self.units))
        return (Tensor((*x.shape[:2], self.units)), *(state for _ in self.states))


@dataclass(frozen=True)
class Lstm(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, Gers et al. 2000).

    ::

        z = x_t @ kernel + h_{t-1} @ recurrent_kernel + bias          gates i, f, c, o side by side
        i = φr(z_i)   f = φr(z_f)   g = φ(z_c)   o = φr(z_o)
        c_t = f ⊙ c_{t-1} + i ⊙ g
        h_t = o ⊙ φ(c_t)

    with φ = activation, φr = recurrent_activation; kernel (I, 4U), recurrent_kernel (U, 4U), bias (4U,).
    """

    recurrent_activation: Function = Function("sigmoid")
    gates: ClassVar[str] = "ifco"
    states: ClassVar[tuple[str, ...]] = ("h", "c")
    weights: ClassVar[Mapping[str, str]] = {
        "kernel": "input (gate unit)",
        "recurrent_kernel": "state (gate unit)",
        "bias": "(gate unit)",
    }


@dataclass(frozen=True)
class Gru(Recurrent):
    """Gated recurrent unit (Cho et al. 2014), gates z (update), r (reset), h (candidate) side by side.

    ::

        z = φr(x_t W_z + b_z + h_{t-1} U_z + d_z)
        r = φr(x_t W_r + b_r + h_{t-1} U_r + d_r)
        reset_after:  g = φ(x_t W_h + b_h + r ⊙ (h_{t-1} U_h + d_h))
        otherwise:    g = φ(x_t W_h + b_h + (r ⊙ h_{t-1}) U_h)
        h_t = z ⊙ h_{t-1} + (1 - z) ⊙ g

    kernel W (I, 3U), recurrent_kernel U (U, 3U); bias (2, 3U) = rows b, d with ``reset_after``,
    else (3U,) = b alone (d = 0).
    """

    recurrent_activation: Function = Function("sigmoid")
    reset_after: bool = True
    gates: ClassVar[str] = "zrh"
    weights: ClassVar[Mapping[str, str]] = {
        "kernel": "input (gate unit)",
        "recurrent_kernel": "state (gate unit)",
        "bias": "part (gate unit)",
    }

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        return {**super().sizes(*inputs), "part": 2}

    def inventory(self, *inputs: Tensor | None) -> dict[str, tuple[int, ...]]:
        shapes = super().inventory(*inputs)
        if self.use_bias and not self.reset_after:
            shapes["bias"] = shapes["bias"][1:]
        return shapes


@dataclass(frozen=True)
class SimpleRnn(Recurrent):
    """The plain recurrence (Elman 1990): ``h_t = φ(x_t @ kernel + h_{t-1} @ recurrent_kernel + bias)``.

    kernel (I, U), recurrent_kernel (U, U), bias (U,).
    """

    gates: ClassVar[str] = "h"
    weights: ClassVar[Mapping[str, str]] = {
        "kernel": "input unit",
        "recurrent_kernel": "state unit",
        "bias": "unit",
    }
