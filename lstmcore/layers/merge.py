"""Layers that make one tensor of several: arguments, broadcasting and masks of Keras 3.15, measured."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.broadcasting import combined, listed, number, over_features, with_axis
from lstmcore.layers.module import Lowered, Mask
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import ends_mask, feature_axis
from lstmcore.ops import Kind
from lstmcore.program import Builder, Value


class Merge(Layer, abstract=True):
    """Base of these layers, which are called on a list of tensors of one batch size."""

    takes_several: ClassVar[bool] = True
    count: ClassVar[int | None] = None  # how many it takes; None: any number

    def lower(self, build: Builder, x: Any, mask: Any) -> Lowered:
        inputs = listed(x, "[a, b, ...]")
        masks = [None] * len(inputs) if mask is None else mask
        shapes = [value.shape for value in inputs]
        if self.count not in (None, len(inputs)):
            raise SpecError(f"it was called on {len(inputs)} tensors, of shapes {shapes}; expected {self.count}")
        if not isinstance(masks, (list, tuple)) or len(masks) != len(inputs):
            given = f"{len(masks)} masks" if isinstance(masks, (list, tuple)) else "one mask"
            raise SpecError(f"{given} for {len(inputs)} inputs; expected a list with the mask, or None, of each")
        if len({shape[0] for shape in shapes} - {None}) > 1:
            raise SpecError(f"the inputs, of shapes {shapes}, have different batch sizes")
        y, after = self.merge(build, inputs, list(masks))
        return (y,), after

    def merge(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> tuple[Value, Mask]:
        """The output and its mask."""
        raise NotImplementedError


class Elementwise(Merge, abstract=True):
    """Base of the layers that combine number by number.

    Shapes broadcast as in NumPy, the batch aside; an input with fewer axes than another gets axes of length 1
    after the batch. The output counts where one of the inputs does; without a mask where one of them has none.
    """

    function: ClassVar[str] = "add"

    def merge(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> tuple[Value, Mask]:
        shapes = [x.shape for x in inputs]
        rank = max(map(len, shapes))
        aligned = []
        for x in inputs:
            aligned.append(x)
            while len(aligned[-1].shape) < rank:
                aligned[-1] = with_axis(build, aligned[-1], 1)
        own = [mask if len(shape) == rank else None for mask, shape in zip(masks, shapes, strict=True)]
        try:
            y = self.combine(build, aligned, own)
        except SpecError as error:
            raise SpecError(f"inputs of shapes {shapes} do not go together: {error}") from None
        return y, _either(build, masks)

    def combine(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> Value:
        """The inputs, all of one rank, combined. An input that had to grow axes comes without its mask."""
        result, *others = inputs
        for x in others:
            (result,) = build.op(ops.Binary(self.function), result, x, name=self.function)
        return result


def _either(build: Builder, masks: Sequence[Mask]) -> Mask:
    """Where one of the inputs counts; None where one has no mask."""
    present = [mask for mask in masks if mask is not None]
    if len(present) < len(masks):
        return None
    if len({len(mask.shape) for mask in present}) > 1:
        raise SpecError(
            f"masks of shapes {[mask.shape for mask in present]} meet; expected the same number of axes in each"
        )
    return combined(build, "or", present)


@spec
class Add(Elementwise):
    """``a + b + ...``, with broadcasting. Masks have no influence on the numbers."""

    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class Subtract(Elementwise):
    """``a - b``, of two, with broadcasting. Masks have no influence on the numbers."""

    count: ClassVar[int | None] = 2
    function: ClassVar[str] = "subtract"

    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class Average(Elementwise):
    """``(a + b + ...) / count``, with broadcasting. Masks have no influence on the numbers."""

    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def combine(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> Value:
        total = super().combine(build, inputs, masks)
        return build.op(ops.Binary("divide"), total, number(build, len(inputs), total), name="divide")[0]


@spec
class Multiply(Elementwise):
    """``a b ...``, with broadcasting.

    An input is 1 where its mask is False, and where all inputs have masks the product is 0 where all are False.
    """

    function: ClassVar[str] = "multiply"

    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def combine(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> Value:
        counts = [None if m is None else over_features(build, m, x) for x, m in zip(inputs, masks, strict=True)]
        factors = [
            x if c is None else build.op(ops.Select(), c, x, number(build, 1, x), name="factor")[0]
            for x, c in zip(inputs, counts, strict=True)
        ]
        product = super().combine(build, factors, masks)
        somewhere = _either(build, counts)
        if somewhere is None:
            return product
        return build.op(ops.Select(), somewhere, product, number(build, 0, product), name="masked")[0]


class Extreme(Elementwise, abstract=True):
    """Base of Maximum and Minimum: what is masked in an input is left out where the ones before it count."""

    def combine(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> Value:
        result, known = inputs[0], None if masks[0] is None else over_features(build, masks[0], inputs[0])
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            counts = None if mask is None else over_features(build, mask, x)
            if counts is not None:
                (x,) = build.op(ops.Select(), counts, x, result, name="counts")
            if known is not None:
                (result,) = build.op(ops.Select(), known, result, x, name="known")
            known = _either(build, [known, counts])
            (result,) = build.op(ops.Binary(self.function), result, x, name=self.function)
        return result


@spec
class Maximum(Extreme):
    """The largest, number by number, with broadcasting.

    From left to right: a masked number of the next input is replaced by the result so far, and that, where it is
    masked, by the number of the next input. Once an input has no mask, the result so far counts everywhere.
    """

    function: ClassVar[str] = "maximum"

    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class Minimum(Extreme):
    """The smallest, number by number, with broadcasting; masks as in `Maximum`."""

    function: ClassVar[str] = "minimum"

    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class Concatenate(Merge):
    """The inputs one after the other along ``axis``, which is not the batch; the other axes agree.

    Masks, each over all axes but the last, follow the numbers: along another axis than the last they are
    concatenated too; along the last, the output counts where one of the inputs does. An input without mask counts
    everywhere, if another has one.
    """

    input_kind: ClassVar[Kind | None] = None

    axis: int = option(options.INTEGER, default=-1)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def merge(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> tuple[Value, Mask]:
        axis = feature_axis(inputs[0], self.axis)
        (y,) = build.op(ops.Concat(axis, len(inputs)), *inputs)
        if all(mask is None for mask in masks):
            return y, None
        full = [_everywhere(build, x) if m is None else m for x, m in zip(inputs, masks, strict=True)]
        for x, mask in zip(inputs, full, strict=True):
            if len(mask.shape) != len(x.shape) - 1:
                raise SpecError(
                    f"a mask of shape {mask.shape} reaches an input of shape {x.shape}; "
                    "expected one of all axes but the last"
                )
        if axis == len(y.shape) - 1:
            return y, combined(build, "or", full)
        return y, build.op(ops.Concat(axis, len(full)), *full, name="mask")[0]


def _everywhere(build: Builder, x: Value) -> Value:
    """A mask of x, (batch, ..., features) -> (batch, ...), that is True."""
    last = len(x.shape) - 1
    (one,) = build.op(ops.Slice(last, 0, 1), x, name="one")
    (some,) = (one,) if one.kind == "bool" else build.op(ops.NotEqual(0), one, name="some")
    (some,) = build.op(ops.Reduce("any", (last,)), some, name="some")
    (none,) = build.op(ops.Unary("not"), some, name="none")
    return combined(build, "or", [some, none])


@spec
class Dot(Merge):
    """Sums of products of two inputs over one axis of each, the same entries of the batch together.

    ``axes``, one number for both or one for each, count from the batch, 0, which they are not. Of x (batch, a..., n)
    and y (batch, n, b...) comes (batch, a..., b...), of x and y (batch, n) comes (batch, 1). With ``normalize``
    the vectors along the axes have length 1 first: ``x min(1 / √Σx², 10^7)``, so that zeros stay zeros. It ends a mask.
    """

    count: ClassVar[int | None] = 2

    axes: Any = option(options.AXES)
    normalize: bool = option(options.FLAG, default=False)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def check(self) -> None:
        if isinstance(self.axes, tuple) and len(self.axes) != 2:
            raise SpecError(f"{self.called()}: axes is {self.axes}; expected one axis, or one for each of two inputs")

    def merge(self, build: Builder, inputs: list[Value], masks: list[Mask]) -> tuple[Value, Mask]:
        given = self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)
        axes = [feature_axis(x, axis) for x, axis in zip(inputs, given, strict=True)]
        (x, y), (a, b) = inputs, axes
        if x.shape[a] != y.shape[b]:
            raise SpecError(
                f"axis {a} of shape {x.shape} has length {x.shape[a]} and axis {b} of shape {y.shape} "
                f"has length {y.shape[b]}; expected the same length"
            )
        for mask in masks:
            ends_mask(build, mask)
        if self.normalize:
            x, y = _of_length_one(build, x, a), _of_length_one(build, y, b)
        (z,) = build.op(ops.Einsum(_product(len(x.shape), a, len(y.shape), b)), x, y)
        return (build.op(ops.Reshape((1,)), z)[0] if len(z.shape) == 1 else z), None


def _of_length_one(build: Builder, x: Value, axis: int) -> Value:
    (squares,) = build.op(ops.Unary("square"), x, name="squares")
    (total,) = build.op(ops.Reduce("sum", (axis,), keepdims=True), squares, name="total")
    (inverse,) = build.op(ops.Unary("rsqrt"), total, name="inverse")
    (inverse,) = build.op(ops.Binary("minimum"), inverse, number(build, 1e7, x), name="inverse")
    return build.op(ops.Binary("multiply"), x, inverse, name="normalized")[0]


def _product(x_rank: int, a: int, y_rank: int, b: int) -> str:
    """The equation of a product over axis ``a`` of x and ``b`` of y."""
    batch, summed, *letters = list(string.ascii_letters)
    x = [batch, *letters[: x_rank - 1]]
    y = [batch, *letters[x_rank - 1 : x_rank + y_rank - 2]]
    x[a] = y[b] = summed
    out = [letter for letter in (*x, *y[1:]) if letter != summed]
    return f"{''.join(x)},{''.join(y)}->{''.join(out)}"


def add(inputs: Any, **kwargs: Any) -> Any:
    """``Add(**kwargs)(inputs)``."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """``Subtract(**kwargs)(inputs)``."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """``Multiply(**kwargs)(inputs)``."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """``Average(**kwargs)(inputs)``."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """``Maximum(**kwargs)(inputs)``."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """``Minimum(**kwargs)(inputs)``."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """``Concatenate(axis, **kwargs)(inputs)``."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """``Dot(axes, **kwargs)(inputs)``."""
    return Dot(axes=axes, **kwargs)(inputs)
