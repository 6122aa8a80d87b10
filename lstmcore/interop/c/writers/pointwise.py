"""Number by number in C, and values from nowhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast as typed

from lstmcore import ops
from lstmcore.activations import Function
from lstmcore.interop.c import functions
from lstmcore.interop.c.code import Array, Code, Helpers
from lstmcore.interop.c.lengths import Length, over
from lstmcore.interop.c.text import literal
from lstmcore.interop.c.writers.loops import each, flat, seen, split
from lstmcore.program import Node

Given = Sequence["Array | None"]


def all_of(inputs: Given) -> list[Array]:
    """Inputs that are all there."""
    return [typed(Array, given) for given in inputs]


def activate(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Activate)
    (x,) = all_of(inputs)
    name = functions.scalar(code.helpers, op.function)
    if name is not None:
        return [flat(code, code.make(x.shape), lambda i: f"{name}({x.pointer}[{i}])")]
    return [_along(code, op.function, x)]


_ALONG: Mapping[str, str] = MappingProxyType(
    {
        "softmax": """\
/* exp(x) / sum exp(x) along an axis of n numbers, `step` apart */
static inline void @NAME(const @REAL *x, int n, int step, @REAL *y)
{
    @REAL most = x[0], sum = 0;
    for (int i = 1; i < n; i++)
        most = x[i * step] > most || x[i * step] != x[i * step] ? x[i * step] : most;
    for (int i = 0; i < n; i++)
        sum += y[i * step] = @EXP(x[i * step] - most);
    for (int i = 0; i < n; i++)
        y[i * step] /= sum;
}""",
        "log_softmax": """\
/* x - log sum exp(x) along an axis of n numbers, `step` apart */
static inline void @NAME(const @REAL *x, int n, int step, @REAL *y)
{
    @REAL most = x[0], sum = 0;
    for (int i = 1; i < n; i++)
        most = x[i * step] > most || x[i * step] != x[i * step] ? x[i * step] : most;
    for (int i = 0; i < n; i++)
        sum += @EXP(x[i * step] - most);
    sum = @LOG(sum);
    for (int i = 0; i < n; i++)
        y[i * step] = (x[i * step] - most) - sum;
}""",
        "sparsemax": """\
/* The projection of n numbers, `step` apart, onto the simplex: those above tau count, until they stay the same. */
static inline void @NAME(const @REAL *x, int n, int step, @REAL *y)
{
    @REAL most = x[0], tau = -INFINITY;
    int count, left = -1;
    for (int i = 1; i < n; i++)
        most = x[i * step] > most || x[i * step] != x[i * step] ? x[i * step] : most;
    do {
        const @REAL bound = tau;
        @REAL sum = 0;
        count = left;
        left = 0;
        for (int i = 0; i < n; i++)
            if (x[i * step] - most > bound) {
                sum += x[i * step] - most;
                left++;
            }
        tau = left ? (sum - 1) / left : 0; /* none: an infinity or NaN is among them */
    } while (left != count);
    for (int i = 0; i < n; i++) {
        const @REAL rest = x[i * step] - most - tau;
        y[i * step] = rest < 0 ? 0 : rest;
    }
}""",
    }
)


def _along(code: Code, function: Function, x: Array) -> Array:
    axis = typed(int, function.parameters["axis"]) % len(x.shape)
    before, length, after = split(x.shape, axis)
    if function.name == "glu":
        sigmoid = functions.scalar(code.helpers, Function("sigmoid"))
        half = over(length, 2)
        y = code.make((*x.shape[:axis], half, *x.shape[axis + 1 :]))
        whole, part, flatly = Array(x.pointer, (before, length, after)), Array(y.pointer, (before, half, after)), y

        def number(index: Sequence[Length]) -> str:
            second = f"({index[1]} + {half})"
            return f"{seen(whole, index)} * {sigmoid}({seen(whole, (index[0], second, index[2]))})"

        each(code, part, number)
        return flatly
    words = {"@REAL": code.helpers.real, "@EXP": code.helpers.maths("exp"), "@LOG": code.helpers.maths("log")}
    text = _ALONG[function.name]
    for word, value in words.items():
        text = text.replace(word, value)
    name, y = code.helpers.need(function.name, text), code.make(x.shape)
    code.say(
        f"for (int i = 0; i < {before}; i++)",
        f"    for (int k = 0; k < {after}; k++)",
        f"        {name}({x.pointer} + i * {length} * {after} + k, {length}, {after}, "
        f"{y.pointer} + i * {length} * {after} + k);",
    )
    return y


_UNARY: Mapping[str, Callable[[Helpers, str], str]] = MappingProxyType(
    {
        "abs": lambda h, x: f"{h.maths('fabs')}({x})",
        "cos": lambda h, x: f"{h.maths('cos')}({x})",
        "exp": lambda h, x: f"{h.maths('exp')}({x})",
        "log": lambda h, x: f"{h.maths('log')}({x})",
        "negative": lambda h, x: f"-{x}",
        "not": lambda h, x: f"!{x}",
        "reciprocal": lambda h, x: f"1 / {x}",
        "rsqrt": lambda h, x: f"1 / {h.maths('sqrt')}({x})",
        "sin": lambda h, x: f"{h.maths('sin')}({x})",
        "sqrt": lambda h, x: f"{h.maths('sqrt')}({x})",
        "square": lambda h, x: f"{x} * {x}",
    }
)


def unary(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Unary)
    (x,) = all_of(inputs)
    rule = _UNARY[op.function]
    return [flat(code, code.make(x.shape, x.kind), lambda i: rule(code.helpers, f"{x.pointer}[{i}]"))]


_BINARY: Mapping[str, Callable[[Helpers, str, str], str]] = MappingProxyType(
    {
        "add": lambda h, a, b: f"{a} + {b}",
        "subtract": lambda h, a, b: f"{a} - {b}",
        "multiply": lambda h, a, b: f"{a} * {b}",
        "divide": lambda h, a, b: f"{a} / {b}",
        "power": lambda h, a, b: f"{h.maths('pow')}({a}, {b})",
        "maximum": lambda h, a, b: f"{a} > {b} || {a} != {a} ? {a} : {b}",
        "minimum": lambda h, a, b: f"{a} < {b} || {a} != {a} ? {a} : {b}",
        "less": lambda h, a, b: f"{a} < {b}",
        "less_equal": lambda h, a, b: f"{a} <= {b}",
        "equal": lambda h, a, b: f"{a} == {b}",
        "and": lambda h, a, b: f"{a} && {b}",
        "or": lambda h, a, b: f"{a} || {b}",
    }
)


def broadcast(*arrays: Array) -> tuple[Length, ...]:
    """NumPy's rule, from the right; a known length goes before an expression."""
    rank = max(len(array.shape) for array in arrays)
    shape: list[Length] = []
    for axis in range(-rank, 0):
        lengths = [array.shape[axis] for array in arrays if len(array.shape) >= -axis]
        others = sorted((n for n in lengths if n != 1), key=lambda n: isinstance(n, str))
        shape.append(others[0] if others else 1)
    return tuple(shape)


def binary(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Binary)
    x, other = all_of(inputs)
    rule, kind = _BINARY[op.function], code.program.values[node.outputs[0]].kind
    y = code.make(broadcast(x, other), kind)
    return [each(code, y, lambda index: rule(code.helpers, seen(x, index), seen(other, index)))]


def select(code: Code, node: Node, inputs: Given) -> list[Array]:
    condition, x, other = all_of(inputs)
    y = code.make(broadcast(condition, x, other))
    return [each(code, y, lambda i: f"{seen(condition, i)} ? {seen(x, i)} : {seen(other, i)}")]


def not_equal(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.NotEqual)
    (x,) = all_of(inputs)
    value = str(int(op.value)) if x.kind == "int" else code.helpers.number(op.value)
    return [flat(code, code.make(x.shape, "bool"), lambda i: f"{x.pointer}[{i}] != {value}")]


def cast(code: Code, node: Node, inputs: Given) -> list[Array]:
    x = all_of(inputs)[0]
    return [flat(code, code.make(x.shape), lambda i: f"({code.helpers.real}){x.pointer}[{i}]")]


def constant(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Constant)
    y = code.make(op.shape)
    code.say(*(f"{y.pointer}[{k}] = {literal(v, code.helpers.dtype)};" for k, v in enumerate(op.values)))
    return [y]


def parameter(code: Code, node: Node, inputs: Given) -> list[Array]:
    return [code.helpers.weights[node.weights["value"]]]


def zeros(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Zeros)
    return [flat(code, code.make((all_of(inputs)[0].shape[0], *op.shape)), lambda i: "0")]


def one_hot(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.OneHot)
    x = all_of(inputs)[0]
    y = code.make((*x.shape, op.depth))
    return [each(code, y, lambda index: f"{seen(x, index[:-1])} == {index[-1]}")]
