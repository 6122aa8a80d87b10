"""Cells: one step of a recurrence, said once in the language of `lstmcore.layers.expressions`.

``RNN(cell)`` runs a cell over time on every engine. LSTMCell, GRUCell and SimpleRNNCell compute what the layers
LSTM, GRU and SimpleRNN do, with arguments and numbers of Keras 3.15.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass
from itertools import starmap
from typing import Any, ClassVar

from lstmcore import initializers, tree
from lstmcore.errors import SpecError, near
from lstmcore.initializers import Initializer, UnitForgetBias
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.expressions import CellOps, Expr
from lstmcore.layers.module import Lowered, Module
from lstmcore.layers.options import dataclass_transform, option, spec
from lstmcore.program import Builder, Value


@dataclass(frozen=True)
class Weight:
    """A weight that a cell declares: its shape, and how it starts (a name, config or object)."""

    shape: tuple[int, ...]
    initializer: Any = "glorot_uniform"


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(option,))
@spec
class Cell(Layer, abstract=True):
    """Base of the cells; subclass it to make your own, without framework code::

        class Leaky(Cell):
            units: int
            leak: float = 0.1

            @property
            def state_size(self): return self.units

            def declare(self, features):
                return {"kernel": Weight((features, self.units)), "recurrent": Weight((self.units, self.units))}

            def step(self, ops, inputs, states, w):
                (h,) = states
                h = (1 - self.leak) * h + self.leak * ops.tanh(inputs @ w["kernel"] + h @ w["recurrent"])
                return h, [h]

    Options are annotated fields, values that JSON can hold; ``step`` gets values (batch, ...) and returns the
    output and the next states. It is run once, on no numbers, and written down in canonical ops. For dropout it
    says ``ops.dropout(h, self.rate)``: in training, under one mask for all steps of a sequence. To load a model
    that holds such a cell, import the module that defines it first: files hold its name and options only.
    """

    call_arguments: ClassVar[tuple[str, ...]] = ("inputs", "states")

    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def __init_subclass__(cls, abstract: bool = False) -> None:
        super().__init_subclass__(abstract)
        if not abstract:
            _as_options(cls)
            spec(cls)

    # What a subclass says.

    @property
    def state_size(self) -> int | Sequence[int]:
        """The length of the state, or of each of several."""
        raise NotImplementedError(f"{type(self).__name__} says no state_size")

    @property
    def output_size(self) -> int:
        """The length of the output: that of the first state, unless a subclass says otherwise."""
        return self.state_sizes[0]

    def declare(self, features: int) -> Mapping[str, Weight]:
        """The weights for inputs of so many features, by name, in the order of ``get_weights``."""
        return {}

    def step(self, ops: CellOps, inputs: Expr, states: list[Expr], w: Mapping[str, Expr]) -> tuple[Expr, list[Expr]]:
        """One step: (output, next states)."""
        raise NotImplementedError(f"{type(self).__name__} says no step")

    # What follows.

    @property
    def state_sizes(self) -> list[int]:
        """The lengths of the states, as a flat list."""
        size = self.state_size
        sizes: list[Any] = list(size) if isinstance(size, (list, tuple)) else [size]
        if not all(type(n) is int and n > 0 for n in sizes) or not sizes:
            raise SpecError(f"{self.called()}: state_size is {size!r}; expected a positive integer, or a list of them")
        return sizes

    def lower(self, build: Builder, x: Value, mask: Any, states: Any = ()) -> Lowered:
        given = [states] if isinstance(states, Value) else list(states)
        self._check_given(given)
        features = x.shape[-1]
        if len(x.shape) < 2 or features is None:
            raise SpecError(f"a step of the input has shape {x.shape}; expected (batch, ..., features), features known")
        declared = self.declare(features)
        if not isinstance(declared, Mapping) or not all(starmap(_declares, declared.items())):
            raise SpecError(
                f"{self.called()}: declare must give a Weight, its shape a tuple, for each name, not {declared!r}"
            )
        self.state.declared = {name: initializers.get(weight.initializer) for name, weight in declared.items()}
        w = _Declared((name, Expr(build, build.weight(name, tuple(weight.shape)))) for name, weight in declared.items())
        made = self.step(CellOps(build.training), Expr(build, x), [Expr(build, state) for state in given], w)
        output, after = self._checked(made, given)
        return (output, *after), None

    def initializer(self, weight: str) -> Initializer:
        return self.state.declared[weight]

    def option_of(self, weight: str, kind: str) -> str:
        return f"{weight.removesuffix('_kernel') if weight != 'kernel' else weight}_{kind}"

    def arrange(self, outputs: Sequence[Any]) -> Any:
        """The output, and the list of next states."""
        return [outputs[0], list(outputs[1:])]

    def _check_given(self, states: Sequence[Any]) -> None:
        wanted = [(None, n) for n in self.state_sizes]
        given = [state.shape for state in states]
        if [shape[1:] for shape in given] != [shape[1:] for shape in wanted]:
            raise SpecError(f"{self.called()}: given states of shapes {given}; expected {wanted}")

    def _checked(self, made: Any, states: Sequence[Value]) -> tuple[Value, list[Value]]:
        """What ``step`` returned, as values; SpecError where it is not an output and the next states."""
        told = f"{self.called()}: step must return (output, [next states])"
        if not isinstance(made, (list, tuple)) or len(made) != 2:
            raise SpecError(f"{told}; it returned {made!r}")
        output, after = made
        after = [after] if isinstance(after, Expr) else after
        if not isinstance(after, (list, tuple)) or not all(isinstance(entry, Expr) for entry in (output, *after)):
            raise SpecError(f"{told}, made of what it was given; it returned {made!r}")
        given, wanted = [entry.shape[1:] for entry in after], [state.shape[1:] for state in states]
        if output.value.kind != "float":
            raise SpecError(f"{told}: its output {output!r} holds {output.value.kind}; choose numbers by ops.where")
        if given != wanted or any(entry.value.kind != "float" for entry in after):
            raise SpecError(
                f"{told}: it returned states of shapes {[e.shape for e in after]}; expected {wanted} a sample"
            )
        if output.shape[:1] != (None,):
            raise SpecError(f"{told}: its output {output!r} has no batch axis, so it depends on no input and no state")
        return output.value, [entry.value for entry in after]


class _Declared(dict[str, Expr]):
    """The weights that a step is given."""

    def __missing__(self, name: object) -> Expr:
        raise SpecError(f"step reads the weight {name!r}, which declare does not give.{near(name, self)}")


def _declares(name: object, weight: object) -> bool:
    named = isinstance(name, str) and name != "" and "/" not in name
    return named and isinstance(weight, Weight) and isinstance(weight.shape, (list, tuple))


def _as_options(cls: type) -> None:
    """Makes options of the annotated fields that are none yet."""
    for name, annotation in inspect.get_annotations(cls).items():
        default = vars(cls).get(name, MISSING)
        if "ClassVar" not in str(annotation) and not isinstance(default, Field):
            setattr(cls, name, option(options.PLAIN, default=default))


class SimpleRNNCell(Cell):
    """One step of SimpleRNN."""

    units: int = option(options.POSITIVE)
    activation: Any = option(options.ACTIVATION, default="tanh")
    use_bias: bool = option(options.FLAG, default=True)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    recurrent_initializer: Any = option(options.INITIALIZER, default="orthogonal")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")
    kernel_regularizer: Any = option(options.REGULARIZER, default=None)
    recurrent_regularizer: Any = option(options.REGULARIZER, default=None)
    bias_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    recurrent_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    dropout: float = option(options.RATE, default=0.0)
    recurrent_dropout: float = option(options.RATE, default=0.0)
    seed: Any = option(options.SEED, default=None)

    @property
    def state_size(self) -> int:
        return self.units

    def declare(self, features: int) -> Mapping[str, Weight]:
        return gate_weights(self, features, 1, (self.units,))

    def step(self, ops: CellOps, inputs: Expr, states: list[Expr], w: Mapping[str, Expr]) -> tuple[Expr, list[Expr]]:
        (h,) = states
        inputs, h = ops.dropout(inputs, self.dropout), ops.dropout(h, self.recurrent_dropout, name="recurrent_dropout")
        z = inputs @ w["kernel"] + h @ w["recurrent_kernel"]
        h = ops.activate(self.activation, z + w["bias"] if self.use_bias else z)
        return h, [h]


class GatedCell(Cell, abstract=True):
    """What LSTMCell and GRUCell have in common: gates side by side in their weights, and how they drop.

    In training each gate takes h, and x, under a dropout mask of its own where ``recurrent_dropout`` is not 0 or
    ``implementation`` is 1, else all take x under one. A rate of 1 drops nothing. (Keras 3.15, measured.)
    """

    def lower(self: Any, build: Builder, x: Value, mask: Any, states: Any = ()) -> Lowered:
        if build.training and 1 in (self.dropout, self.recurrent_dropout):
            build.note(f"{self.called()}: a dropout rate of 1 drops nothing here, as in Keras 3")
        return super().lower(build, x, mask, states)

    def weighed(self: Any, ops: CellOps, x: Expr, kernel: Expr, dropout: str, gates: int) -> Expr:
        """``x @ kernel`` for so many gates side by side, x under the dropout of that name."""
        rate = getattr(self, dropout)
        rate = rate if rate < 1 else 0
        by_gate = self.implementation == 1 or self.recurrent_dropout != 0
        if not (ops.training and rate and by_gate):
            return ops.dropout(x, rate, name=dropout) @ kernel
        masked, by_gate = ops.dropout(x, rate, gates, dropout), ops.reshape(kernel, (gates, self.units))
        return ops.reshape(ops.einsum("bgi,igu->bgu", masked, by_gate), (gates * self.units,))


class LSTMCell(GatedCell):
    """One step of LSTM; its states are h and c."""

    units: int = option(options.POSITIVE)
    activation: Any = option(options.ACTIVATION, default="tanh")
    recurrent_activation: Any = option(options.ACTIVATION, default="sigmoid")
    use_bias: bool = option(options.FLAG, default=True)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    recurrent_initializer: Any = option(options.INITIALIZER, default="orthogonal")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")
    unit_forget_bias: bool = option(options.FLAG, default=True)
    kernel_regularizer: Any = option(options.REGULARIZER, default=None)
    recurrent_regularizer: Any = option(options.REGULARIZER, default=None)
    bias_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    recurrent_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    dropout: float = option(options.RATE, default=0.0)
    recurrent_dropout: float = option(options.RATE, default=0.0)
    seed: Any = option(options.SEED, default=None)
    implementation: int = option(options.choice(0, 1, 2), default=2, config=False, kw_only=True)

    @property
    def state_size(self) -> list[int]:
        return [self.units, self.units]

    def declare(self, features: int) -> Mapping[str, Weight]:
        weights = gate_weights(self, features, 4, (4 * self.units,))
        if self.use_bias and self.unit_forget_bias:
            weights["bias"] = Weight((4 * self.units,), UnitForgetBias(self.bias_initializer))
        return weights

    def step(self, ops: CellOps, inputs: Expr, states: list[Expr], w: Mapping[str, Expr]) -> tuple[Expr, list[Expr]]:
        h, c = states
        z = self.weighed(ops, inputs, w["kernel"], "dropout", 4)
        z = z + self.weighed(ops, h, w["recurrent_kernel"], "recurrent_dropout", 4)
        i, f, g, o = ops.split(z + w["bias"] if self.use_bias else z, 4)
        i, f, o = (ops.activate(self.recurrent_activation, gate) for gate in (i, f, o))
        c = f * c + i * ops.activate(self.activation, g)
        h = o * ops.activate(self.activation, c)
        return h, [h, c]


class GRUCell(GatedCell):
    """One step of GRU."""

    units: int = option(options.POSITIVE)
    activation: Any = option(options.ACTIVATION, default="tanh")
    recurrent_activation: Any = option(options.ACTIVATION, default="sigmoid")
    use_bias: bool = option(options.FLAG, default=True)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    recurrent_initializer: Any = option(options.INITIALIZER, default="orthogonal")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")
    kernel_regularizer: Any = option(options.REGULARIZER, default=None)
    recurrent_regularizer: Any = option(options.REGULARIZER, default=None)
    bias_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    recurrent_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    dropout: float = option(options.RATE, default=0.0)
    recurrent_dropout: float = option(options.RATE, default=0.0)
    reset_after: bool = option(options.FLAG, default=True)
    seed: Any = option(options.SEED, default=None)
    implementation: int = option(options.choice(0, 1, 2), default=2, config=False, kw_only=True)

    @property
    def state_size(self) -> int:
        return self.units

    def declare(self, features: int) -> Mapping[str, Weight]:
        shape = (2, 3 * self.units) if self.reset_after else (3 * self.units,)
        return gate_weights(self, features, 3, shape)

    def step(self, ops: CellOps, inputs: Expr, states: list[Expr], w: Mapping[str, Expr]) -> tuple[Expr, list[Expr]]:
        (h,) = states
        x = self.weighed(ops, inputs, w["kernel"], "dropout", 3)
        if self.use_bias:
            x = x + (w["bias"][0] if self.reset_after else w["bias"])
        x_z, x_r, x_h = ops.split(x, 3)
        u_zr, u_h = ops.split(w["recurrent_kernel"], [2 * self.units, self.units])
        if self.reset_after:
            inner = self.weighed(ops, h, w["recurrent_kernel"], "recurrent_dropout", 3)
            h_z, h_r, h_h = ops.split(inner + w["bias"][1] if self.use_bias else inner, 3)
        else:
            h_z, h_r = ops.split(self.weighed(ops, h, u_zr, "recurrent_dropout", 2), 2)
        z = ops.activate(self.recurrent_activation, x_z + h_z)
        r = ops.activate(self.recurrent_activation, x_r + h_r)
        reset = r * h_h if self.reset_after else self.weighed(ops, r * h, u_h, "recurrent_dropout", 1)
        g = ops.activate(self.activation, x_h + reset)
        h = z * h + (1 - z) * g
        return h, [h]


def gate_weights(cell: Any, features: int, gates: int, bias: tuple[int, ...]) -> dict[str, Weight]:
    """The weights of a cell with gates side by side, from its options ``units``, ``use_bias``, ``..._initializer``."""
    weights = {
        "kernel": Weight((features, gates * cell.units), cell.kernel_initializer),
        "recurrent_kernel": Weight((cell.units, gates * cell.units), cell.recurrent_initializer),
    }
    return {**weights, "bias": Weight(bias, cell.bias_initializer)} if cell.use_bias else weights


MAX_CELLS = 256


class StackedRNNCells(Cell):
    """Cells one upon the other, as one cell: each takes the output of the one below. ``RNN([cell, ...])`` makes it."""

    cells: Any = option(options.LAYERS)

    def check(self) -> None:
        if not self.cells or not all(isinstance(cell, Cell) for cell in self.cells):
            raise SpecError(f"{self.called()}: cells is {list(self.cells)}; expected one or more cells")
        if len(self.cells) > MAX_CELLS:
            raise SpecError(f"{self.called()}: cells are {len(self.cells)}; expected at most {MAX_CELLS}")
        if len({id(cell) for cell in self.cells}) < len(self.cells):
            raise SpecError(f"{self.called()}: one cell stands twice in the stack; make one for each level")
        adopt_dtype(self, self.cells)

    @property
    def parts(self) -> Mapping[str, Module]:
        return {f"cell_{k}": cell for k, cell in enumerate(self.cells)}

    @property
    def state_size(self) -> Any:
        return [cell.state_size for cell in self.cells]

    @property
    def state_sizes(self) -> list[int]:
        return [n for cell in self.cells for n in cell.state_sizes]

    @property
    def output_size(self) -> int:
        size: int = self.cells[-1].output_size
        return size

    def lower(self, build: Builder, x: Value, mask: Any, states: Any = ()) -> Lowered:
        given = list(tree.leaves(states))
        self._check_given(given)
        after: list[Value] = []
        for prefix, cell in zip(self.parts, self.cells, strict=True):
            own = given[len(after) : len(after) + len(cell.state_sizes)]
            with build.scope(prefix):
                (x, *finals), _ = cell.lower(build, x, None, own)
            after += finals
        return (x, *after), None

    def arrange(self, outputs: Sequence[Any]) -> Any:
        return [outputs[0], self.nest(outputs[1:])]

    def nest(self, states: Sequence[Any]) -> list[Any]:
        """The flat states in a list for each cell; those of a single cell stay flat (Keras 3.15)."""
        if len(self.cells) == 1:
            return list(states)
        nested = []
        for cell in self.cells:
            own, states = list(states[: len(cell.state_sizes)]), states[len(cell.state_sizes) :]
            nested.append(own)
        return nested


def adopt_dtype(outer: Layer, inner: Sequence[Module]) -> None:
    """Wrapper and wrapped compute in one dtype: float64 where either says so."""
    dtypes = {outer.dtype, *(part.dtype for part in inner)}
    if len(dtypes) == 1:
        return
    for part in (outer, *inner):
        if part.dtype != "float64":
            if part.weights or not isinstance(part, Layer):
                raise SpecError(
                    f"{outer.called()} and {part.called()} in it have dtypes {sorted(dtypes)}; give both one"
                )
            object.__setattr__(part, "dtype", "float64")
            if part is not outer and part.parts:
                adopt_dtype(part, list(part.parts.values()))
