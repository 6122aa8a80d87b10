"""The axes of a layer's input: which ones there must be, in which order, and the mask over them."""

from __future__ import annotations

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.program import Builder, Value


def need_axes(x: Value, layout: str) -> None:
    """SpecError unless x has the axes that ``layout`` names, as "batch, time, features"."""
    if len(x.shape) != len(layout.split(", ")):
        raise SpecError(f"the input has {len(x.shape)} axes, shape {x.shape}; expected ({layout})")


def feature_axis(x: Value, axis: int) -> int:
    """``axis``, perhaps negative, counted from 0; SpecError unless x has it and it is not the batch."""
    rank = len(x.shape)
    if not -rank <= axis < rank or axis % rank == 0:
        raise SpecError(f"axis {axis} is not one of the axes after the batch of the input, shape {x.shape}")
    return axis % rank


def known_length(x: Value, axis: int, hint: str = "give the Input all its lengths") -> int:
    """The length of an axis on which the shape of a weight depends; SpecError where it is open."""
    length = x.shape[axis]
    if length is None:
        raise SpecError(
            f"axis {axis} of the input, shape {x.shape}, must have a known length, as a weight has it too; {hint}"
        )
    return length


def swapped(build: Builder, x: Value, data_format: str) -> Value:
    """(batch, a, b) -> (batch, b, a) where the channels come first; the same way there and back."""
    return build.op(ops.Transpose((0, 2, 1)), x, name="swap")[0] if data_format == "channels_first" else x


def ends_mask(build: Builder, mask: Value | None) -> None:
    """For layers that no mask passes, as in Keras: notes it where there was one."""
    if mask is not None:
        build.note(f"{build.path('')[:-1]}: ends the mask")
