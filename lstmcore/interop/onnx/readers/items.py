"""For nodes that have a batch axis of their own, as recurrent and convolutional ones do."""

from __future__ import annotations

from dataclasses import dataclass

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Reader
from lstmcore.interop.onnx.readers.shape import transposed
from lstmcore.interop.onnx.values import Flow
from lstmcore.program import Value


@dataclass(frozen=True)
class Items:
    """A value with one of ONNX's axes as the program's batch, the others in order; ``like`` is what it came from."""

    value: Value
    like: Flow

    def back(self, r: Reader, value: Value) -> Flow:
        """What was made of it, with ONNX's axis of the items first."""
        if self.like.batch is not None:
            return Flow(value, 0)
        return Flow(r.op(ops.Unfold(), value, self.like.value), None)


def items(r: Reader, x: Flow, axis: int) -> Items:
    """The value with that axis as the batch."""
    if x.batch is not None:
        if x.batch != axis:
            raise SpecError(f"its batch is axis {axis} of {x.rank}; that of the model is axis {x.batch}")
        return Items(x.value, x)
    first = transposed(r, x, [axis, *(k for k in range(x.rank) if k != axis)])
    return Items(r.op(ops.Fold(), first.value), first)
