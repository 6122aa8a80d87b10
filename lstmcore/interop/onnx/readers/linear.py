"""Sums of products: MatMul, Gemm, Einsum."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader, give
from lstmcore.interop.onnx.readers.elements import combine
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]


def matmul(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only()
    a, b = call.at(0), call.at(1)
    if isinstance(a, Known) and isinstance(b, Known):
        inner = a.array.shape[-1] if a.rank else 1
        if a.rank > 1 and b.rank > 1:
            stacked = np.broadcast_shapes(a.array.shape[:-2], b.array.shape[:-2])
            r.budget.limit(*stacked, a.array.shape[-2], b.array.shape[-1], products=inner)
        else:
            r.budget.limit(max(a.array.size, b.array.size), products=1)
        return (Known(np.matmul(a.array, b.array)),)
    a = r.flow(a) if isinstance(a, Filled) else a
    b = r.flow(b) if isinstance(b, Filled) else b
    if isinstance(b, Known) and b.rank == 2 and isinstance(a, Flow) and a.rank >= 2 and a.axis(a.rank - 1) != 0:
        return (affine(r, a, b, None),)
    if a.rank < 2 or b.rank < 2:
        raise SpecError(f"a product of {a.rank} and {b.rank} axes is not read")
    rank = max(a.rank, b.rank)
    outer = string.ascii_lowercase[: rank - 2]
    terms = outer[rank - a.rank :] + "XK", outer[rank - b.rank :] + "KY"
    return (_contracted(r, (a, b), terms, outer + "XY"),)


def affine(r: Reader, x: Flow, kernel: Known, bias: Known | None) -> Flow:
    """x @ kernel + bias."""
    features, units = kernel.array.shape
    if x.value.shape[-1] not in (features, None):
        raise SpecError(f"it multiplies {r.lengths(x)} with numbers of shape {kernel.array.shape}")
    if x.value.shape[-1] is None:
        raise SpecError(f"its input has {r.lengths(x)[-1]} features, which is open; {give(r.lengths(x)[-1])}")
    paths = {"kernel": r.weight(kernel.name, kernel.array, "kernel")}
    if bias is not None:
        paths["bias"] = r.weight(bias.name, bias.array.reshape(-1), "bias")
    value = r.op(ops.Affine(units, bias is not None), x.value, weights=paths)
    return Flow(value, x.batch, (*r.lengths(x)[:-1], units))


def _contracted(r: Reader, operands: Sequence[Given], terms: Sequence[str], output: str) -> Flow:
    """An Einsum over ONNX's axes, a letter each."""
    values: list[Value] = []
    letters: list[str] = []
    sizes: dict[str, int] = {}
    for given, term in zip(operands, terms, strict=True):
        value, own = _lettered(r, given, term)
        values.append(value)
        letters.append(own)
        for letter, n in zip(own, value.shape, strict=True):
            if n is not None and sizes.setdefault(letter, n) != n:
                raise SpecError(f"axis {letter} has lengths {sizes[letter]} and {n}; broadcasting here is not read")
    batches = {own[0] for given, own in zip(operands, letters, strict=True) if isinstance(given, Flow)}
    if len(batches) != 1:
        raise SpecError("its inputs have the batch on different axes")
    first = batches.pop()
    if first != "Z" and first not in output:
        raise SpecError("it sums over the batch")
    ordered = first + output.replace(first, "")
    y = r.op(ops.Einsum(f"{letters[0]},{letters[1]}->{ordered}"), *values)
    told = {
        letter: n
        for given, term in zip(operands, terms, strict=True)
        if isinstance(given, Flow)
        for letter, n in zip(term, r.lengths(given), strict=True)
    }
    lengths = tuple(told.get(letter, sizes.get(letter, 1)) for letter in output)
    return Flow(y, None if first == "Z" else output.index(first), lengths)


def _lettered(r: Reader, given: Given, term: str) -> tuple[Value, str]:
    """An operand and its letters, in the program's order; Z is the call."""
    if isinstance(given, Known):
        return r.parameter(given), term
    if not isinstance(given, Flow):
        raise SpecError("it multiplies with numbers of an open shape")
    if given.batch is None:
        return given.value, "Z" + term
    return given.value, term[given.batch] + term[: given.batch] + term[given.batch + 1 :]


def gemm(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("alpha", "beta", "transA", "transB")
    a, b, c = call.at(0), call.at(1), call.get(2)
    if call.number("transA", 0) or not isinstance(b, Known) or b.rank != 2:
        raise SpecError("a product of two values of the model, or of one turned round, is not read; use MatMul")
    alpha, beta = float(call.number("alpha", 1.0)), float(call.number("beta", 1.0))
    kernel = Known(b.array.T if call.number("transB", 0) else b.array, b.name)
    if alpha != 1:
        kernel = Known(kernel.array * np.float32(alpha), b.name)
    x = r.flow(a)
    units = kernel.array.shape[1]
    plain = (
        isinstance(c, Known) and c.array.size == units and units > 0 and c.array.shape[-1:] == (units,) and beta == 1
    )
    if c is None or plain:
        return (affine(r, x, kernel, c if isinstance(c, Known) else None),)
    y = affine(r, x, kernel, None)
    if beta != 1:
        if not isinstance(c, Known):
            raise SpecError("beta scales a value of the model")
        c = Known(c.array * np.float32(beta), c.name)
    return (combine(r, ops.Binary("add"), y, c),)


def einsum(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("equation")
    equation = call.attributes["equation"].replace(" ", "")
    operands, arrow, output = equation.partition("->")
    terms = operands.split(",")
    if not arrow or len(terms) != 2 or not equation.replace(",", "").replace("->", "").isalpha() or "Z" in equation:
        raise SpecError(f"equation {equation!r}: expected two operands and the output, of letters but Z")
    given = call.at(0), call.at(1)
    if all(isinstance(entry, Known) for entry in given):
        return (Known(np.einsum(equation, *(entry.array for entry in given if isinstance(entry, Known)))),)
    return (_contracted(r, given, terms, output),)


TABLE: Mapping[str, Read] = MappingProxyType({"MatMul": matmul, "Gemm": gemm, "Einsum": einsum})
