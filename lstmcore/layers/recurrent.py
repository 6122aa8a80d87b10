"""LSTM, GRU and SimpleRNN: arguments and numbers of Keras 3.15.

``go_backwards``, ``return_sequences``, ``return_state`` and ``stateful`` end here: they lower to
`Reverse`, `Last`, several outputs and a kept carry. ``unroll``, ``implementation`` and ``use_cudnn``
choose between ways to compute the same numbers in Keras (but for the dropout masks that training draws with
``implementation=1``); here the backend's table chooses (``model.explain()``), and a note in the program says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

from lstmcore import ops, tree
from lstmcore.errors import SpecError
from lstmcore.initializers import Initializer, UnitForgetBias
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.regularization import dropped
from lstmcore.layers.scanning import over_time
from lstmcore.program import Builder, Value


@spec
class SequenceLayer(Layer, abstract=True):
    """What runs over time: LSTM, GRU, SimpleRNN, and RNN with any cell.

    (batch, time, features) -> (batch, units), the last output; with ``return_sequences`` all outputs,
    (batch, time, units), in the order of processing; with ``return_state`` also the final states.
    With ``go_backwards`` the outputs stand in reverse, and the mask goes on to the next layer as it came,
    not reversed with them: Keras 3.15, measured. ``initial_state`` (a list) gives the states to start from,
    zeros otherwise; ``stateful`` keeps them from batch to batch until ``reset_states``.

    Beside an ``initial_state`` a mask must be given as ``mask=``: one that only comes with the input has no
    effect then, though it goes on to the next layer (Keras 3.15, measured); a note in the program says so.
    """

    call_arguments: ClassVar[tuple[str, ...]] = ("sequences", "initial_state", "mask")
    drops_implied_mask: ClassVar[bool] = True

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each state without batch, by name."""
        raise NotImplementedError

    def run(self, build: Builder, x: Value, states: Sequence[Value], mask: Value | None) -> Sequence[Value]:
        """All outputs, (batch, time, ...), and the final states."""
        raise NotImplementedError

    def lower(
        self,
        build: Builder,
        x: Value,
        mask: Value | None,
        initial_state: Sequence[Value] | Value | None = None,
        mask_implied: bool = False,
    ) -> Lowered:
        layer = self._options()
        shapes = self.state_shapes()
        given = initial_state is not None
        states = list(tree.leaves(initial_state)) if given else self._carried(build, shapes, x)
        if any(state is None for state in states):
            raise SpecError(f"{self.called()}: an initial state is None; expected all {len(shapes)}, or none at all")
        if len(states) != len(shapes):
            raise SpecError(f"{self.called()}: initial_state has {len(states)} entries; expected {len(shapes)}")
        own_mask = None if mask_implied else mask
        if mask_implied:
            build.note(unmasked(build))
        if layer["go_backwards"]:
            (x,) = build.op(ops.Reverse(), x, name="reverse")
            own_mask = build.op(ops.Reverse(), own_mask, name="reverse_mask")[0] if own_mask else None
        y, *finals = self.run(build, x, states, own_mask)
        if not given and not build.apart:
            for before, final in zip(states, finals, strict=True):
                build.update(before, final)
        self._say(build, layer)
        if not layer["return_sequences"]:
            (y,) = build.op(ops.Last(), y, name="last")
            mask = None
        return (y, *finals) if layer["return_state"] else (y,), mask

    def _options(self) -> dict[str, Any]:
        names = ("go_backwards", "return_sequences", "return_state", "stateful", "unroll")
        return {name: getattr(self, name) for name in names}

    def _rate(self, name: str) -> float:
        return float(vars(self).get(name) or 0)

    def _carried(self, build: Builder, shapes: Mapping[str, tuple[int, ...]], x: Value) -> list[Value]:
        if build.apart:
            like = x if x.kind == "float" else None
            return [build.op(ops.Zeros(shape), like, name=f"zero_{name}")[0] for name, shape in shapes.items()]
        stateful = self._options()["stateful"]
        if stateful and x.shape[0] is None:
            raise SpecError(
                "it is stateful and needs a fixed batch size: "
                "start the model with Input(batch_shape=(batch, time, features))"
            )
        return [build.carry(name, (x.shape[0], *shape), stateful) for name, shape in shapes.items()]

    def _say(self, build: Builder, layer: Mapping[str, Any]) -> None:
        where = build.path("")[:-1] or type(self).__name__
        chosen = (getattr(self, "implementation", 2), getattr(self, "use_cudnn", "auto"))
        if layer["unroll"] or chosen != (2, "auto"):
            but = ", but that implementation=1 draws a dropout mask for each gate" if build.training else ""
            build.note(
                f"{where}: unroll, implementation and use_cudnn change no number{but}; the backend chooses its kernel"
            )
        if not build.training and (self._rate("dropout") or self._rate("recurrent_dropout")):
            build.note(f"{where}: dropout and recurrent_dropout act in training only")


def unmasked(build: Builder) -> str:
    """What is to be said where an implied mask has no effect."""
    where = build.path("")[:-1]
    return f"{where}: the mask of its input has no effect beside initial_state, as in Keras 3; give mask= to apply it"


@spec
class RecurrentLayer(SequenceLayer, abstract=True):
    """What LSTM, GRU and SimpleRNN have in common: one op computes them.

    ``dropout`` zeroes a share of the input's features in training, and ``recurrent_dropout`` of the units of h that
    a step reads, both the same at all steps of a sequence; the rest is scaled by 1 / (1 - rate). LSTM and GRU draw a
    mask of h for each gate, and then one of the input for each gate too, which ``implementation=1`` asks for alone;
    at a rate of 1 they drop nothing (Keras 3.15). Such a layer is trained as its cell over time, with a Scan.
    """

    initializers: ClassVar[Mapping[str, str]] = {
        "kernel": "kernel_initializer",
        "recurrent_kernel": "recurrent_initializer",
        "bias": "bias_initializer",
    }

    cell_class: ClassVar[type[Cell]]

    zero_output_for_mask: bool = option(options.FLAG, default=False, kw_only=True)
    implementation: int = option(options.choice(0, 1, 2), default=2, config=False, kw_only=True)

    def check(self) -> None:
        for name in ("activation", "recurrent_activation"):
            if getattr(getattr(self, name, None), "name", None) == "glu":
                raise SpecError(f"{self.called()}: {name} 'glu' would halve the units; it cannot be used here")

    def op(self) -> ops.Recurrent:
        raise NotImplementedError

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        op = self.op()
        return dict.fromkeys(op.states, (op.units,))

    def run(self, build: Builder, x: Value, states: Sequence[Value], mask: Value | None) -> Sequence[Value]:
        if build.training and not self._drops_input_only():
            shared = {f.name: getattr(self, f.name) for f in fields(self.cell_class) if hasattr(self, f.name)}
            return over_time(build, self.cell_class(**shared), x, states, mask, self.zero_output_for_mask)
        return build.op(self.op(), dropped(build, x, self._rate("dropout"), (1,)), *states, mask)

    def _drops_input_only(self) -> bool:
        """Whether one mask of the input is all that training draws, if anything."""
        rate = self._rate("dropout")
        by_gate = self.implementation == 1 and rate > 0
        return not (self._rate("recurrent_dropout") or by_gate or rate == 1)


@spec
class LSTM(RecurrentLayer):
    """Long short-term memory; formula in `lstmcore.ops.Lstm`. 4 units (features + units + 1) weights."""

    cell_class: ClassVar[type[Cell]] = LSTMCell

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
    activity_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    recurrent_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    dropout: float = option(options.RATE, default=0.0)
    recurrent_dropout: float = option(options.RATE, default=0.0)
    seed: Any = option(options.SEED, default=None)
    return_sequences: bool = option(options.FLAG, default=False)
    return_state: bool = option(options.FLAG, default=False)
    go_backwards: bool = option(options.FLAG, default=False)
    stateful: bool = option(options.FLAG, default=False)
    unroll: bool = option(options.FLAG, default=False)
    use_cudnn: str | bool = option(options.choice("auto", True, False), default="auto", config=False)

    def op(self) -> ops.Lstm:
        return ops.Lstm(
            self.units, self.activation, self.use_bias, self.zero_output_for_mask, self.recurrent_activation
        )

    def initializer(self, weight: str) -> Initializer:
        inner = super().initializer(weight)
        return UnitForgetBias(inner) if weight == "bias" and self.unit_forget_bias else inner


@spec
class GRU(RecurrentLayer):
    """Gated recurrent unit; formula in `lstmcore.ops.Gru`. ``reset_after`` has a second bias."""

    cell_class: ClassVar[type[Cell]] = GRUCell

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
    activity_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    recurrent_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    dropout: float = option(options.RATE, default=0.0)
    recurrent_dropout: float = option(options.RATE, default=0.0)
    seed: Any = option(options.SEED, default=None)
    return_sequences: bool = option(options.FLAG, default=False)
    return_state: bool = option(options.FLAG, default=False)
    go_backwards: bool = option(options.FLAG, default=False)
    stateful: bool = option(options.FLAG, default=False)
    unroll: bool = option(options.FLAG, default=False)
    reset_after: bool = option(options.FLAG, default=True)
    use_cudnn: str | bool = option(options.choice("auto", True, False), default="auto", config=False)

    def op(self) -> ops.Gru:
        return ops.Gru(
            self.units,
            self.activation,
            self.use_bias,
            self.zero_output_for_mask,
            self.recurrent_activation,
            self.reset_after,
        )


@spec
class SimpleRNN(RecurrentLayer):
    """The plain recurrence; formula in `lstmcore.ops.SimpleRnn`.

    Its ``activity_regularizer`` counts, as that of LSTM and GRU does; Keras 3.15 takes it and loses it.
    """

    cell_class: ClassVar[type[Cell]] = SimpleRNNCell

    units: int = option(options.POSITIVE)
    activation: Any = option(options.ACTIVATION, default="tanh")
    use_bias: bool = option(options.FLAG, default=True)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    recurrent_initializer: Any = option(options.INITIALIZER, default="orthogonal")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")
    kernel_regularizer: Any = option(options.REGULARIZER, default=None)
    recurrent_regularizer: Any = option(options.REGULARIZER, default=None)
    bias_regularizer: Any = option(options.REGULARIZER, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    recurrent_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    dropout: float = option(options.RATE, default=0.0)
    recurrent_dropout: float = option(options.RATE, default=0.0)
    return_sequences: bool = option(options.FLAG, default=False)
    return_state: bool = option(options.FLAG, default=False)
    go_backwards: bool = option(options.FLAG, default=False)
    stateful: bool = option(options.FLAG, default=False)
    unroll: bool = option(options.FLAG, default=False)
    seed: Any = option(options.SEED, default=None, config=False)

    def op(self) -> ops.SimpleRnn:
        return ops.SimpleRnn(self.units, self.activation, self.use_bias, self.zero_output_for_mask)
