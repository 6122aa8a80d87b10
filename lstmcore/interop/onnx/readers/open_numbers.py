"""Numbers that depend on open lengths, as values of the model: counted where a value has an axis of that length."""

from __future__ import annotations

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, Open, opened
from lstmcore.interop.onnx.reader import Reader
from lstmcore.interop.onnx.readers.cells import positions
from lstmcore.interop.onnx.values import Flow, Ramp
from lstmcore.program import Value


def ramp(r: Reader, ramp: Ramp, like: Flow) -> Flow:
    """Numbers one by one along an open length, for each sample."""
    n, place = ramp.shape[ramp.axis], like.batch
    if not isinstance(n, Open) or n == r.batch or not isinstance(ramp.scale, int):
        raise SpecError("it computes with the number of each sample, which no sample knows")
    if place is not None and (place >= ramp.rank or place == ramp.axis):
        raise SpecError(f"numbers of shape {ramp.shape} have no axis for the batch")
    zeros = r.op(ops.Reshape((-1, 1)), r.zeros_along(n))
    y = positions(r, zeros)
    if ramp.scale != 1:
        y = r.op(ops.Binary("multiply"), y, r.constant(ramp.scale, y))
    if ramp.offset:
        y = r.op(ops.Binary("add"), y, r.constant(ramp.offset, y))
    shape = tuple(-1 if k == ramp.axis else 1 for k in range(ramp.rank) if k != place)
    lengths = list(ramp.shape)
    if place is not None and r.batch is not None:
        lengths[place] = r.batch
    return Flow(r.op(ops.Reshape(shape), y), place, tuple(lengths), counts=True)


def length(r: Reader, n: Length, batch: int | None, rank: int, like: Flow) -> Flow:
    """A length as a number of the model, for each sample."""
    rank = max(rank, 1 if batch is None else batch + 1)
    rest = tuple([1] * (rank - (batch is not None)))
    terms = n.terms if isinstance(n, Open) else (((), n),)
    total: Value | None = None
    for names, count in terms:
        zeros = r.op(ops.Zeros(rest), r.float_like(like))
        y = r.op(ops.Binary("add"), zeros, r.constant(count, zeros))
        for name in names:
            ones = r.op(ops.Unary("exp"), r.zeros_along(opened(name)))
            steps = r.op(ops.Reshape(rest), r.op(ops.Reduce("sum", (1,), True), ones))
            y = r.op(ops.Binary("multiply"), y, steps)
        total = y if total is None else r.op(ops.Binary("add"), total, y)
    assert total is not None
    lengths: list[Length] = [1] * rank
    if batch is not None and r.batch is not None:
        lengths[batch] = r.batch
    return Flow(total, batch, tuple(lengths))
