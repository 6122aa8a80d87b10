"""Number by number: activations, arithmetic, comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore import activations, ops
from lstmcore.activations import Function
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, Open
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers import known
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known, Ramp
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]
Folded = Callable[..., Any]


def _function(make: Callable[[Call], Function], fold: Folded | None = None) -> Read:
    def read(r: Reader, call: Call) -> tuple[Given, ...]:
        x = call.at(0)
        if isinstance(x, Known):
            if fold is None:
                raise SpecError("it is given known numbers, of which it is not computed")
            r.budget.limit(x.array.size)
            return (Known(np.asarray(fold(x.array))),)
        if isinstance(x, Filled) and fold is not None:
            return (Filled(np.asarray(fold(np.float64(x.number))).item(), x.shape),)
        flow = r.flow(x)
        return (Flow(r.op(ops.Activate(make(call)), flow.value), flow.batch, flow.lengths),)

    return read


def _named(name: str, **words: tuple[str, float]) -> Read:
    """An activation by name: attribute -> (our parameter, ONNX's default)."""

    def make(call: Call) -> Function:
        call.only(*words)
        return activations.function(name, **{ours: float(call.number(k, d)) for k, (ours, d) in words.items()})

    return _function(make)


def _along(name: str) -> Read:
    def read(r: Reader, call: Call) -> tuple[Given, ...]:
        call.only("axis")
        x = r.flow(call.at(0))
        axis = call.number("axis", -1 if r.opset >= 13 else 1) % x.rank
        if r.opset < 13 and axis != x.rank - 1:
            raise SpecError(
                f"before opset 13 it works over all axes from {axis} on, of {x.rank}; expected the last alone"
            )
        if x.axis(axis) == 0:
            raise SpecError("it works along the batch")
        return (Flow(r.op(ops.Activate(activations.function(name, axis=x.axis(axis))), x.value), x.batch, x.lengths),)

    return read


def hard_sigmoid(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("alpha", "beta")
    x = r.flow(call.at(0))
    alpha, beta = float(call.number("alpha", 0.2)), float(call.number("beta", 0.5))
    return (Flow(hard(r, x.value, alpha, beta), x.batch, x.lengths),)


HARD = ((1 / 6, 0.5, "hard_sigmoid"), (0.2, 0.5, "hard_sigmoid_0_2"), (0.5, 0.5, "sparse_sigmoid"))


def hard_name(alpha: float, beta: float) -> str | None:
    """Which of ours clip(alpha x + beta, 0, 1) is; the file holds alpha in float32."""
    return next((name for a, b, name in HARD if np.float32(a) == np.float32(alpha) and b == beta), None)


def hard(r: Reader, x: Value, alpha: float, beta: float) -> Value:
    """clip(alpha x + beta, 0, 1)."""
    name = hard_name(alpha, beta)
    if name is not None:
        return r.op(ops.Activate(Function(name)), x)
    scaled = r.op(ops.Binary("multiply"), x, r.constant(alpha, x))
    return clipped(r, r.op(ops.Binary("add"), scaled, r.constant(beta, x)), 0.0, 1.0)


def clipped(r: Reader, x: Value, low: float | None, high: float | None) -> Value:
    """x between two numbers."""
    if low is not None:
        x = r.op(ops.Binary("maximum"), x, r.constant(low, x))
    return x if high is None else r.op(ops.Binary("minimum"), x, r.constant(high, x))


def clip(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("min", "max")
    x = call.at(0)
    ends = [call.number("min", None), call.number("max", None)]
    for k in (0, 1):
        given = call.get(k + 1)
        if given is not None:
            ends[k] = float(_whole(given).reshape(()))
    if isinstance(x, Known):
        r.budget.limit(x.array.size)
        return (Known(np.clip(x.array, ends[0], ends[1])),)
    flow = r.flow(x)
    if ends == [0.0, 6.0]:
        return (Flow(r.op(ops.Activate(Function("relu6")), flow.value), flow.batch, flow.lengths),)
    return (Flow(clipped(r, flow.value, ends[0], ends[1]), flow.batch, flow.lengths),)


def _whole(given: Given) -> Any:
    if not isinstance(given, Known) or not given.whole:
        raise SpecError("a limit is not known before the model runs")
    return given.array


def prelu(r: Reader, call: Call) -> tuple[Given, ...]:
    """max(x, 0) + slope min(x, 0)."""
    x, slope = r.flow(call.at(0)), call.at(1)
    zero = r.constant(0.0, x.value)
    above = Flow(r.op(ops.Binary("maximum"), x.value, zero), x.batch, x.lengths)
    below = Flow(r.op(ops.Binary("minimum"), x.value, zero), x.batch, x.lengths)
    bent = combine(r, ops.Binary("multiply"), below, slope)
    return (combine(r, ops.Binary("add"), above, bent),)


def selu(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("alpha", "gamma")
    alpha, gamma = call.number("alpha", 1.67326319217681884765625), call.number("gamma", 1.05070102214813232421875)
    x = r.flow(call.at(0))
    standard = np.float32(alpha) == np.float32(1.6732632423543772) and abs(gamma - 1.0507009873554805) < 1e-6
    if standard:
        return (Flow(r.op(ops.Activate(Function("selu")), x.value), x.batch, x.lengths),)
    y = r.op(ops.Activate(activations.function("elu", alpha=float(alpha))), x.value)
    return (Flow(r.op(ops.Binary("multiply"), y, r.constant(gamma, y)), x.batch, x.lengths),)


def gelu(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("approximate")
    approximate = call.number("approximate", "none")
    x = r.flow(call.at(0))
    return (
        Flow(
            r.op(ops.Activate(activations.function("gelu", approximate=approximate == "tanh")), x.value),
            x.batch,
            x.lengths,
        ),
    )


def erf(r: Reader, call: Call) -> tuple[Given, ...]:
    """2 gelu(u) / u - 1 with u = √2 x, which is 0 at 0, and ±1 to the last digit from ±6 on."""
    call.only()
    x = r.flow(call.at(0))
    u = r.op(ops.Binary("multiply"), clipped(r, x.value, -6.0, 6.0), r.constant(math.sqrt(2), x.value))
    bent = r.op(ops.Activate(activations.function("gelu", approximate=False)), u)
    ratio = r.op(ops.Binary("divide"), r.op(ops.Binary("multiply"), bent, r.constant(2.0, bent)), u)
    one = r.constant(1.0, u)
    at_zero = r.op(ops.Binary("equal"), u, r.constant(0.0, u))
    y = r.op(ops.Binary("subtract"), r.op(ops.Select(), at_zero, one, ratio), one)
    return (Flow(y, x.batch, x.lengths),)


def _unary(name: str, fold: Folded) -> Read:
    def read(r: Reader, call: Call) -> tuple[Given, ...]:
        call.only()
        x = call.at(0)
        if isinstance(x, Known):
            r.budget.limit(x.array.size)
            return (Known(np.asarray(fold(x.array))),)
        flow = r.flow(x)
        return (Flow(r.op(ops.Unary(name), flow.value), flow.batch, flow.lengths),)

    return read


# Two operands and more.


def _binary(name: str, fold: Folded, swap: bool = False) -> Read:
    def read(r: Reader, call: Call) -> tuple[Given, ...]:
        call.only("fmod")
        first, *others = (call.at(k) for k in range(len(call.inputs)))
        for other in others:
            first = _two(r, name, fold, *((other, first) if swap else (first, other)))
        return (first,)

    return read


def _two(r: Reader, name: str, fold: Folded, a: Given, b: Given) -> Given:
    if isinstance(a, Known) and isinstance(b, Known):
        if known.exact(name, a, b):
            return known.two(r, name, fold, a, b)
        a = r.flow(a) if not a.whole else a
        b = r.flow(b) if not b.whole else b
    if isinstance(a, Ramp) or isinstance(b, Ramp):
        ramp = known.ramp(r, name, a, b)
        if ramp is not None:
            return ramp
        a, b = (
            r.flow(entry) if isinstance(entry, Ramp) and not isinstance(other, Flow) else entry
            for entry, other in ((a, b), (b, a))
        )
    if not isinstance(a, (Flow, Ramp)) and not isinstance(b, (Flow, Ramp)):
        return known.filled(name, fold, a, b)
    return combine(r, ops.Binary(name), a, b)


def combine(r: Reader, op: ops.Op, *given: Given) -> Flow:
    """An op with broadcasting, of ONNX's axes."""
    like = next((entry for entry in given if isinstance(entry, Flow)), None)
    if like is None:
        raise SpecError("it computes with numbers of an open shape alone")
    rank = max(entry.rank for entry in given)
    batch = None
    if r.batch is not None:
        places = {
            rank - entry.rank + entry.batch for entry in given if isinstance(entry, Flow) and entry.batch is not None
        }
        if len(places) != 1:
            raise SpecError("its inputs have the batch on different axes")
        batch = places.pop()
    values = [operand(r, entry, rank, batch, like) for entry in given]
    made = r.op(op, *values)
    return Flow(made, batch, _broad(r, given, rank))


def _broad(r: Reader, given: tuple[Given, ...], rank: int) -> tuple[Length, ...]:
    """The lengths of the result, where they are open."""
    found: list[Length] = [1] * rank
    for entry in given:
        if isinstance(entry, Flow):
            for k, n in enumerate(r.lengths(entry)):
                place = rank - entry.rank + k
                if found[place] == 1 or (isinstance(found[place], Open) and n != 1):
                    found[place] = n
    return tuple(found)


def operand(r: Reader, given: Given, rank: int, batch: int | None, like: Flow) -> Value:
    """The value with axes that broadcast as ONNX's do."""
    from lstmcore.interop.onnx.readers.open_numbers import length

    if isinstance(given, Ramp):
        given = r.spread(given.at(given.axis + rank - given.rank, rank), Flow(like.value, batch))
    if isinstance(given, Filled):
        given = r.spread(given, like)
    if isinstance(given, Known) and not given.whole and given.array.size == 1:
        given = length(r, given.lengths()[0], batch, rank, like)
    if isinstance(given, Flow):
        return widened(r, given, rank)
    numbers = given.array
    if numbers.dtype.kind not in "f":
        raise SpecError(f"known numbers of {numbers.dtype} meet values of the model; only floats do here")
    if numbers.size == 1 and np.isfinite(numbers).all():
        return r.constant(float(numbers.reshape(())), r.float_like(like))
    if batch is None:
        return r.parameter(given)
    wide = numbers.reshape((1,) * (rank - numbers.ndim) + numbers.shape)
    if wide.shape[batch] != 1:
        raise SpecError(f"known numbers of shape {numbers.shape} differ from sample to sample of the batch")
    if rank - batch > numbers.ndim or (batch == 0 and numbers.ndim < rank):
        return r.parameter(given)
    moved = np.moveaxis(wide, batch, 0)[0]
    return r.parameter(given, np.ascontiguousarray(moved))


def widened(r: Reader, flow: Flow, rank: int) -> Value:
    """More axes of length 1 in front of ONNX's axes."""
    if flow.rank == rank:
        return flow.value
    shape = flow.value.shape[1:]
    rest = [n if n is not None else -1 for n in shape]
    if rest.count(-1) > 1:
        raise SpecError(f"axes are added to {flow.value.shape}, of which several are open; give lengths=")
    return r.op(ops.Reshape((*[1] * (rank - flow.rank), *rest)), flow.value)


def power(r: Reader, call: Call) -> tuple[Given, ...]:
    x, other = call.at(0), call.at(1)
    if (
        isinstance(x, Flow)
        and isinstance(other, Known)
        and other.array.size == 1
        and float(other.array.reshape(())) == 2
    ):
        return (Flow(r.op(ops.Unary("square"), x.value), x.batch, x.lengths),)
    if isinstance(other, Known) and other.array.dtype.kind in "iu" and other.whole:
        other = Known(other.array.astype(r.dtype), other.name)
    return (_two(r, "power", np.power, x, other),)


def equal(r: Reader, call: Call) -> tuple[Given, ...]:
    """Of ints in the model only whether they are one known number."""
    a, b = call.at(0), call.at(1)
    if isinstance(b, Flow) and isinstance(a, Known):
        a, b = b, a
    if isinstance(a, Flow) and isinstance(b, Known) and a.kind == "int" and b.array.size == 1 and b.whole:
        differs = r.op(ops.NotEqual(float(b.array.reshape(()))), a.value)
        return (Flow(r.op(ops.Unary("not"), differs), a.batch, a.lengths),)
    return (_two(r, "equal", np.equal, a, b),)


def where(r: Reader, call: Call) -> tuple[Given, ...]:
    given = tuple(call.at(k) for k in range(3))
    if all(isinstance(entry, Known) for entry in given) and given[0].whole:  # type: ignore[union-attr]  # Known
        r.budget.limit(*np.broadcast_shapes(*(entry.array.shape for entry in given if isinstance(entry, Known))))
        return (Known(np.where(*(entry.array for entry in given if isinstance(entry, Known)))),)
    condition, x, other = given
    if isinstance(condition, Known) and condition.whole and (condition.array.all() or not condition.array.any()):
        chosen = x if condition.array.all() else other
        if chosen.rank == max(entry.rank for entry in given):
            return (chosen,)
    return (combine(r, ops.Select(), *given),)


def cast(r: Reader, call: Call) -> tuple[Given, ...]:
    """Floats stay what they are: the model computes in one dtype."""
    from lstmcore.interop.onnx.loading import DTYPES

    to = DTYPES.get(call.number("to", 0))
    if to is None:
        raise SpecError(f"it casts to the type {call.number('to', 0)}, which is not read")
    x = call.at(0)
    if isinstance(x, Known):
        r.budget.limit(x.array.size)
        return (Known(x.array.astype(to) if x.whole else x.array, x.name, not x.whole and to[0] == "f"),)
    if isinstance(x, Ramp):
        return (x,)
    if isinstance(x, Filled):
        return (Filled(np.asarray(x.number).astype(to).item(), x.shape),)
    flow = r.flow(x)
    wanted = {"f": "float", "?": "bool"}.get(to[0], "int")
    if flow.counts or (wanted == "int" and flow.kind == "bool"):
        return (_cast_counts(r, flow, wanted),)
    if wanted == flow.kind:
        if wanted == "float" and {"f4": "float32", "f8": "float64"}.get(to) != r.dtype:
            raise SpecError(f"it casts to {np.dtype(to)} in a model of {r.dtype}")
        return (flow,)
    if wanted == "float":
        return (Flow(r.op(ops.Cast(), flow.value, r.some_float()), flow.batch, flow.lengths),)
    if wanted == "bool":
        return (Flow(r.op(ops.NotEqual(0.0), flow.value), flow.batch, flow.lengths),)
    raise SpecError(f"it makes ints of {flow.kind}s, for which there is no op")


def _cast_counts(r: Reader, flow: Flow, wanted: str) -> Flow:
    from lstmcore.interop.onnx.readers.counts import made

    if wanted == "bool":
        return Flow(r.op(ops.NotEqual(0.0), flow.value), flow.batch, flow.lengths)
    return replace(flow, counts=False) if wanted == "float" else made(r, flow)


def identity(r: Reader, call: Call) -> tuple[Given, ...]:
    return (call.at(0),)


def dropout(r: Reader, call: Call) -> tuple[Given, ...]:
    """Nothing, as in inference."""
    training = call.get(2)
    if training is not None and not (isinstance(training, Known) and not training.array.any()):
        raise SpecError("it drops in inference too")
    return (call.at(0),)


def mean(r: Reader, call: Call) -> tuple[Given, ...]:
    (total,) = TABLE["Sum"](r, call)
    flow = r.flow(total)
    count = r.constant(float(len(call.inputs)), flow.value)
    return (Flow(r.op(ops.Binary("divide"), flow.value, count), flow.batch, flow.lengths),)


def _divide(a: Any, b: Any) -> Any:
    """Whole numbers towards zero, as ONNX does."""
    if np.asarray(a).dtype.kind in "iu" and np.asarray(b).dtype.kind in "iu":
        return (np.sign(a) * np.sign(b)) * (np.abs(a) // np.abs(b)) if np.all(b) else np.zeros_like(a)
    return np.divide(a, b)


def _modulo(a: Any, b: Any) -> Any:
    return np.mod(a, b) if np.all(b) else np.zeros_like(a)


def mod(r: Reader, call: Call) -> tuple[Given, ...]:
    """Of what is known before the model runs."""
    a, b = call.at(0), call.at(1)
    if not isinstance(a, Known) or not isinstance(b, Known) or not (a.whole and b.whole) or call.number("fmod", 0):
        raise SpecError("there is no op for what is left over of values of the model")
    return (Known(np.asarray(_modulo(a.array, b.array))),)


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "Relu": _function(lambda call: Function("relu"), lambda x: np.maximum(x, 0)),
        "Sigmoid": _function(lambda call: Function("sigmoid")),
        "Tanh": _function(lambda call: Function("tanh"), np.tanh),
        "Softplus": _function(lambda call: Function("softplus")),
        "Softsign": _function(lambda call: Function("softsign")),
        "HardSwish": _function(lambda call: Function("hard_silu")),
        "Mish": _function(lambda call: Function("mish")),
        "LeakyRelu": _named("leaky_relu", alpha=("negative_slope", 0.01)),
        "Elu": _named("elu", alpha=("alpha", 1.0)),
        "Celu": _named("celu", alpha=("alpha", 1.0)),
        "ThresholdedRelu": _named("relu", alpha=("threshold", 1.0)),
        "Selu": selu,
        "Gelu": gelu,
        "HardSigmoid": hard_sigmoid,
        "PRelu": prelu,
        "Clip": clip,
        "Softmax": _along("softmax"),
        "LogSoftmax": _along("log_softmax"),
        "Abs": _unary("abs", np.abs),
        "Cos": _unary("cos", np.cos),
        "Exp": _unary("exp", np.exp),
        "Log": _unary("log", np.log),
        "Neg": _unary("negative", np.negative),
        "Not": _unary("not", np.logical_not),
        "Reciprocal": _unary("reciprocal", np.reciprocal),
        "Sin": _unary("sin", np.sin),
        "Sqrt": _unary("sqrt", np.sqrt),
        "Add": _binary("add", np.add),
        "Sum": _binary("add", np.add),
        "Sub": _binary("subtract", np.subtract),
        "Mul": _binary("multiply", np.multiply),
        "Div": _binary("divide", _divide),
        "Max": _binary("maximum", np.maximum),
        "Min": _binary("minimum", np.minimum),
        "Less": _binary("less", np.less),
        "LessOrEqual": _binary("less_equal", np.less_equal),
        "Greater": _binary("less", np.less, swap=True),
        "GreaterOrEqual": _binary("less_equal", np.less_equal, swap=True),
        "And": _binary("and", np.logical_and),
        "Or": _binary("or", np.logical_or),
        "Pow": power,
        "Equal": equal,
        "Where": where,
        "Cast": cast,
        "Erf": erf,
        "Identity": identity,
        "Dropout": dropout,
        "Mean": mean,
        "Mod": mod,
    }
)
