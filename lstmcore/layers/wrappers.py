"""Bidirectional and TimeDistributed: layers around layers. Arguments and numbers of Keras 3.15."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lstmcore import ops, tree
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.cells import StackedRNNCells, adopt_dtype
from lstmcore.layers.module import Lowered, Module, fitting
from lstmcore.layers.options import option, spec
from lstmcore.layers.recurrent import SequenceLayer, unmasked
from lstmcore.layers.rnn import RNN
from lstmcore.naming import snake
from lstmcore.ops import Kind
from lstmcore.program import Builder, Value

MERGES: Mapping[str, str] = {"sum": "add", "ave": "add", "mul": "multiply"}


@spec
class Bidirectional(Layer):
    """A recurrent layer forwards and another backwards over the same input, their outputs merged.

    The backward layer's outputs are put back in order of time first. ``merge_mode``: "concat" (along the
    features), "sum", "ave", "mul", or None for both outputs. With ``return_state`` the forward layer's states
    follow, then the backward layer's; ``initial_state`` takes them so. Where sequences are returned, both
    layers give zeros at masked steps, whatever their own ``zero_output_for_mask``. The layer given is copied
    without its weights, as in Keras; its backward copy has the other ``go_backwards``. Both keep its
    ``implementation``, which copies lose in Keras: in training it decides which dropout masks are drawn.
    """

    call_arguments: ClassVar[tuple[str, ...]] = ("sequences", "initial_state", "mask")
    drops_implied_mask: ClassVar[bool] = True
    spellings: ClassVar[Mapping[str, str]] = {"weights": "initial_weights"}

    layer: Any = option(options.LAYER)
    merge_mode: str | None = option(options.choice("concat", "sum", "ave", "mul", None), default="concat")
    initial_weights: Any = option(options.ARRAYS, default=None, config=False)
    backward_layer: Any = option(options.OPTIONAL_LAYER, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def check(self) -> None:
        given = self.backward_layer
        for name, layer in (("layer", self.layer), ("backward_layer", given)):
            if layer is not None and not isinstance(layer, SequenceLayer):
                raise SpecError(f"{self.called()}: {name} is {layer!r}; expected LSTM, GRU, SimpleRNN or RNN")
        back = given or _changed(self.layer, "backward", go_backwards=not self.layer.go_backwards)
        object.__setattr__(self, "layer", _changed(self.layer, "forward"))
        object.__setattr__(self, "backward_layer", _changed(back, "" if given else "backward", like=given))
        adopt_dtype(self, [self.layer, self.backward_layer])
        for name in ("return_sequences", "return_state", "stateful"):
            if getattr(self.layer, name) != getattr(self.backward_layer, name):
                raise SpecError(f"{self.called()}: layer and backward_layer must have one {name}, and differ in it")
        if self.layer.go_backwards == self.backward_layer.go_backwards:
            raise SpecError(f"{self.called()}: one of layer and backward_layer must have go_backwards, the other not")

    @property
    def forward_layer(self) -> SequenceLayer:
        """The layer that keeps the order of time."""
        forward: SequenceLayer = self.layer
        return forward

    @property
    def return_sequences(self) -> bool:
        """Whether all outputs are returned."""
        return bool(self.layer.return_sequences)

    @property
    def return_state(self) -> bool:
        """Whether the final states are returned too."""
        return bool(self.layer.return_state)

    @property
    def stateful(self) -> bool:
        """Whether the states are kept from batch to batch."""
        return bool(self.layer.stateful)

    @property
    def parts(self) -> Mapping[str, Module]:
        return {"forward": self.layer, "backward": self.backward_layer}

    def take(self, shapes: Mapping[str, tuple[int, ...]], input_shape: Any = None) -> None:
        new = not self.built
        super().take(shapes, input_shape)
        if new and self.initial_weights is not None:
            self.replace_weights(fitting(self.called(), self.weights, self.initial_weights))

    def lower(
        self, build: Builder, x: Value, mask: Value | None, initial_state: Any = None, mask_implied: bool = False
    ) -> Lowered:
        own_mask = None if mask_implied else mask
        if mask_implied:
            build.note(unmasked(build))
        states: list[Any] = [None, None]
        if initial_state is not None:
            flat = list(tree.leaves(initial_state))
            count = len(self.layer.state_shapes())
            if len(flat) != count + len(self.backward_layer.state_shapes()):
                raise SpecError(
                    f"{self.called()}: initial_state has {len(flat)} entries; expected the {count} of the forward "
                    f"layer, then the {len(self.backward_layer.state_shapes())} of the backward layer"
                )
            states = [flat[:count], flat[count:]]
        outputs: list[Value] = []
        finals: list[Value] = []
        for (prefix, layer), state in zip(self.parts.items(), states, strict=True):
            with build.scope(prefix):
                (y, *after), _ = layer.lowered(build, x, own_mask, initial_state=state)
            outputs.append(y)
            finals += after
        if self.return_sequences:
            outputs[1] = build.op(ops.Reverse(), outputs[1], name="in_time")[0]
        mask = mask if self.return_sequences else None
        merged = self._merge(build, *outputs)
        return (*merged, *finals), (*[mask] * len(merged), *[None] * len(finals))

    def _merge(self, build: Builder, forward: Value, backward: Value) -> tuple[Value, ...]:
        if self.merge_mode is None:
            return forward, backward
        if forward.shape != backward.shape and self.merge_mode != "concat":
            raise SpecError(
                f"{self.merge_mode!r} needs outputs of one shape; {forward.shape} and {backward.shape} differ"
            )
        if self.merge_mode == "concat":
            return build.op(ops.Concat(len(forward.shape) - 1, 2), forward, backward, name="concat")
        (y,) = build.op(ops.Binary(MERGES[self.merge_mode]), forward, backward, name=self.merge_mode)
        if self.merge_mode == "ave":
            (half,) = build.op(ops.Constant(shape=(), values=(0.5,)), y, name="half")
            (y,) = build.op(ops.Binary("multiply"), y, half, name="mean")
        return (y,)


def _changed(layer: Any, direction: str, like: Any = None, **changes: Any) -> Any:
    """A copy of a recurrent layer with these options, named after its direction."""
    name = layer.name or snake(type(layer).__name__)
    if direction:
        changes["name"] = f"{direction}_{name.removeprefix(f'{direction}_')}"
    if layer.return_sequences is not None:
        changes["zero_output_for_mask"] = layer.return_sequences
    if isinstance(layer, RNN):
        changes["cell"] = _same(layer.cell)
    copy = type(layer).from_config({**layer.get_config(), "name": name, **changes})
    _keep_hidden(layer, copy)
    if like is not None and layer.built:
        copy.take({path: array.shape for path, array in layer.weights.items()}, layer.state.input_shape)
        copy.replace_weights(layer.weights)
    return copy


def _same(cell: Any) -> Any:
    """A new cell of the very class, which may not be the latest of its name."""
    inner = {"cells": [_same(entry) for entry in cell.cells]} if isinstance(cell, StackedRNNCells) else {}
    copy = type(cell).from_config({**cell.get_config(), **inner})
    _keep_hidden(cell, copy)
    return copy


def _keep_hidden(given: Any, copy: Any) -> None:
    """Gives a copy made from a config the options that no config holds."""
    for name in ("use_cudnn", "implementation"):
        if hasattr(given, name):
            object.__setattr__(copy, name, getattr(given, name))


@spec
class TimeDistributed(Layer):
    """A layer applied to each time step by itself: (batch, time, ...) -> (batch, time, ...).

    A mask goes on to the next layer. Inside, one of whole steps, (batch, time), has no effect but on a
    BatchNormalization in training; one that reaches into the steps, (batch, time, inner time), masks them. An
    activity_regularizer of the layer inside has no effect; those of layers within it have (Keras 3.15, measured).
    """

    layer: Any = option(options.LAYER)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def check(self) -> None:
        if self.layer.name is None:
            self.layer.name_as(snake(type(self.layer).__name__))
        adopt_dtype(self, [self.layer])

    def wanted_kind(self) -> Kind | None:
        return self.layer.wanted_kind()  # type: ignore[no-any-return]  # the option holds a Module

    @property
    def parts(self) -> Mapping[str, Module]:
        return {"": self.layer}

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        if len(x.shape) < 3:
            raise SpecError(f"expected (batch, time, ...) with something at each step; given {x.shape}")
        (steps,) = build.op(ops.Fold(), x, name="fold")
        inner = None
        by_sample = build.training and any(part.takes_sample_masks for part in self.layer.modules())
        if mask is not None and (len(mask.shape) > 2 or by_sample):
            (inner,) = build.op(ops.Fold(), mask, name="fold_mask")
        if getattr(self.layer, "activity_regularizer", None) is not None:
            build.note(
                f"{build.path('')[:-1]}: the activity_regularizer of the layer inside has no effect, as in Keras 3"
            )
        with build.each_apart(x):
            outputs, _ = self.layer.lower(build, steps, inner)
        unfolded = tuple(build.op(ops.Unfold(), output, x, name="unfold")[0] for output in outputs)
        return unfolded, (mask, *[None] * (len(outputs) - 1))

    def arrange(self, outputs: Sequence[Any]) -> Any:
        return self.layer.arrange(outputs)
