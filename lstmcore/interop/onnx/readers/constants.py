"""Nodes that are computed when the file is read: constants, lengths, branches whose condition is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, Open, minus
from lstmcore.interop.onnx.reader import Call, Reader, give
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known, Ramp, as_known

Read = Callable[[Reader, Call], tuple[Given, ...]]


def constant(r: Reader, call: Call) -> tuple[Given, ...]:
    dtypes = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if len(call.attributes) != 1:
        raise SpecError(f"a constant with {sorted(call.attributes)}; expected one value")
    ((key, value),) = call.attributes.items()
    if key == "value":
        r.budget.held(value.size)
        return (Known(value, call.outputs[0]),)
    if key not in dtypes:
        raise SpecError(f"a constant of the form {key!r} is not read")
    return (Known(np.array(value, dtypes[key]), call.outputs[0]),)


def shape(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("start", "end")
    x = call.at(0)
    if isinstance(x, Known):
        lengths: list[Length] = list(x.array.shape)
    else:
        lengths = r.lengths(x) if isinstance(x, Flow) else list(x.shape)
    return (as_known(lengths[call.number("start", 0) : call.number("end", None)]),)


def constant_of_shape(r: Reader, call: Call) -> tuple[Given, ...]:
    given = call.at(0)
    if not isinstance(given, Known):
        raise SpecError("its shape depends on the numbers of the input")
    value = np.asarray(call.number("value", np.zeros(1, np.float32))).reshape(-1)
    if value.size != 1:
        raise SpecError(f"its value has {value.size} numbers; expected one")
    lengths = given.lengths()
    if any(isinstance(n, Open) for n in lengths):
        return (Filled(value[0].item(), tuple(lengths)),)
    whole = [n for n in lengths if not isinstance(n, Open)]
    r.budget.limit(*whole)
    return (Known(np.full(whole, value[0])),)


def range_(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("stash_type")
    given = [call.at(k) for k in range(3)]
    ramp = _open_range(*(_scalar(entry) for entry in given))
    if ramp is not None:
        return (ramp,)
    ends = [end for end in given if isinstance(end, Known) and end.whole and end.array.size == 1]
    if len(ends) != 3:
        raise SpecError("its ends are not known before the model runs; give lengths=")
    start, stop, step = (end.array.reshape(()).item() for end in ends)
    if step == 0:
        raise SpecError("its step is 0")
    r.budget.limit(max(int((stop - start) / step) + 1, 0))
    return (Known(np.arange(start, stop, step).astype(ends[0].array.dtype)),)


def _scalar(given: Given) -> Length | None:
    """One length."""
    if not isinstance(given, Known) or given.array.size != 1 or given.array.dtype.kind not in "iuO":
        return None
    return given.lengths()[0]


def _open_range(start: Length | None, stop: Length | None, step: Length | None) -> Ramp | None:
    """The numbers of an open length, one by one."""
    if not isinstance(start, int) or stop is None or step != 1 or not isinstance(left := minus(stop, start), Open):
        return None
    return Ramp((left,), 0, start)


def size(r: Reader, call: Call) -> tuple[Given, ...]:
    (lengths,) = shape(r, call)
    if not isinstance(lengths, Known) or not lengths.whole:
        raise SpecError("a length is open; give lengths=")
    return (Known(np.asarray(np.prod(lengths.array))),)


def if_(r: Reader, call: Call) -> tuple[Given, ...]:
    """The branch that its condition chooses, where that is known."""
    condition = call.at(0)
    if not isinstance(condition, Known) or not condition.whole or condition.array.size != 1:
        raise SpecError("which branch runs depends on the numbers of the input")
    branch = call.attributes["then_branch" if condition.array.reshape(()) else "else_branch"]
    if len(branch.output) != len(call.outputs):
        raise SpecError("its branch has another number of outputs")
    before = dict(r.known)
    from lstmcore.interop.onnx.loading import array

    for tensor in branch.initializer:
        r.known[tensor.name] = Known(array(r.loaded, tensor), tensor.name)
    name = r._name
    r.run(branch)
    r._name = name
    made = tuple(r.known[entry.name] for entry in branch.output)
    r.known = before
    return made


def expand(r: Reader, call: Call) -> tuple[Given, ...]:
    x, to = call.at(0), call.at(1)
    if not isinstance(to, Known):
        raise SpecError("its shape depends on the numbers of the input")
    lengths = to.lengths()
    if isinstance(x, Known):
        whole = [n for n in lengths if not isinstance(n, Open)]
        if len(whole) == len(lengths):
            r.budget.limit(*np.broadcast_shapes(x.array.shape, tuple(whole)))
            return (Known(np.broadcast_to(x.array, np.broadcast_shapes(x.array.shape, tuple(whole))), x.name),)
        lengths = _wider(x.array.shape, lengths)
        if x.array.size and (x.array == x.array.reshape(-1)[0]).all():
            number = x.array.reshape(-1)[0]
            return (Filled(number if isinstance(number, Open) else number.item(), tuple(lengths)),)
        return (_spread(r, x, lengths),)
    if isinstance(x, Filled):
        return (Filled(x.number, tuple(_wider(x.shape, lengths))),)
    if isinstance(x, Ramp):
        wide = _wider(x.shape, [1 if n == -1 else n for n in lengths])
        ramp = x.at(x.axis + len(wide) - x.rank, len(wide))
        if list(ramp.shape) == wide:
            return (ramp,)
        x = r.flow(ramp, None if r.batch not in wide else Flow(r.first.value, wide.index(r.batch)))
        lengths = wide
    from lstmcore.interop.onnx.readers.padding import repeated

    return (repeated(r, x, lengths),)


def _wider(shape: Sequence[Length], lengths: Sequence[Length]) -> list[Length]:
    """The shape that both give together."""
    rank = max(len(shape), len(lengths))
    own = [1] * (rank - len(shape)) + list(shape)
    return [p if q == 1 else q for p, q in zip(own, [1] * (rank - len(lengths)) + list(lengths), strict=True)]


def _spread(r: Reader, x: Known, lengths: Sequence[Length]) -> Given:
    """Known numbers repeated along the batch, and along what else is open."""
    from lstmcore.interop.onnx.readers.padding import repeated

    if r.batch is None or r.batch not in lengths or r.like is None:
        raise SpecError(f"known numbers are repeated along an open axis; {give(*lengths)}")
    wide = Known(x.array.reshape((1,) * (len(lengths) - x.rank) + x.array.shape), x.name)
    return repeated(r, r.spread(wide, Flow(r.like.value, list(lengths).index(r.batch))), lengths)


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "Constant": constant,
        "Shape": shape,
        "ConstantOfShape": constant_of_shape,
        "Range": range_,
        "Size": size,
        "If": if_,
        "Expand": expand,
    }
)
