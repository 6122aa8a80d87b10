"""Activate, Unary, Binary, Select, NotEqual, Cast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from lstmcore.interop.onnx.graph import Graph
from lstmcore.interop.onnx.site import Site
from lstmcore.interop.onnx.writers import functions

_UNARY: Mapping[str, Callable[[Graph, str], str]] = MappingProxyType(
    {
        "abs": lambda g, x: g.op("Abs", x),
        "cos": lambda g, x: g.op("Cos", x),
        "exp": lambda g, x: g.op("Exp", x),
        "log": lambda g, x: g.op("Log", x),
        "negative": lambda g, x: g.op("Neg", x),
        "not": lambda g, x: g.op("Not", x),
        "reciprocal": lambda g, x: g.op("Reciprocal", x),
        "rsqrt": lambda g, x: g.op("Reciprocal", g.op("Sqrt", x)),
        "sin": lambda g, x: g.op("Sin", x),
        "sqrt": lambda g, x: g.op("Sqrt", x),
        "square": lambda g, x: g.op("Mul", x, x),
    }
)
_BINARY: Mapping[str, str] = MappingProxyType(
    {
        "add": "Add",
        "subtract": "Sub",
        "multiply": "Mul",
        "divide": "Div",
        "maximum": "Max",
        "minimum": "Min",
        "power": "Pow",
        "less": "Less",
        "less_equal": "LessOrEqual",
        "equal": "Equal",
        "and": "And",
        "or": "Or",
    }
)


def activate(site: Site) -> tuple[str, ...]:
    return (functions.write(site.graph, site.op.function, site.x, site.tensor),)


def unary(site: Site) -> tuple[str, ...]:
    return (_UNARY[site.op.function](site.graph, site.x),)


def binary(site: Site) -> tuple[str, ...]:
    return (site.graph.op(_BINARY[site.op.function], site.x, site.at(1)),)


def select(site: Site) -> tuple[str, ...]:
    return (site.graph.op("Where", site.x, site.at(1), site.at(2)),)


def not_equal(site: Site) -> tuple[str, ...]:
    graph, value = site.graph, site.op.value
    other = graph.constant(int(value), np.int32) if site.tensor.kind == "int" else graph.number(value)
    return (graph.op("Not", graph.op("Equal", site.x, other)),)


def cast(site: Site) -> tuple[str, ...]:
    return (site.graph.op("Cast", site.x, to=site.graph.element("float")),)
