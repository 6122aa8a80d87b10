"""Activate, Unary, Binary, Select, NotEqual, Cast."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lstmcore.interop.pytorch.scope import Site
from lstmcore.interop.pytorch.text import number
from lstmcore.interop.pytorch.writers import functions, noise

_UNARY: Mapping[str, str] = MappingProxyType(
    {
        "abs": "torch.abs({})",
        "cos": "torch.cos({})",
        "exp": "torch.exp({})",
        "log": "torch.log({})",
        "negative": "torch.neg({})",
        "not": "torch.logical_not({})",
        "reciprocal": "torch.reciprocal({})",
        "rsqrt": "torch.rsqrt({})",
        "sin": "torch.sin({})",
        "sqrt": "torch.sqrt({})",
        "square": "torch.square({})",
    }
)
_OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "add": "+",
        "subtract": "-",
        "multiply": "*",
        "divide": "/",
        "less": "<",
        "less_equal": "<=",
        "equal": "==",
        "and": "&",
        "or": "|",
    }
)
_CALLS: Mapping[str, str] = MappingProxyType(
    {"maximum": "torch.maximum", "minimum": "torch.minimum", "power": "torch.pow"}
)


def activate(site: Site) -> str:
    function = site.op.function
    x = site.name() if function.name in functions.TWICE else site.text()
    return functions.written(site.file, function, x)


def unary(site: Site) -> str:
    return _UNARY[site.op.function].format(site.text())


def binary(site: Site) -> str | None:
    found = noise.written(site)
    if found is not None:
        return found[0]
    function = site.op.function
    if function in _CALLS:
        return f"{_CALLS[function]}({_tensor(site, 0)}, {_tensor(site, 1)})"
    left = site.atom(0)
    right = _tensor(site, 1) if site.literal(0) is not None else site.atom(1)
    return f"{left} {_OPERATORS[function]} {right}"


def _tensor(site: Site, position: int) -> str:
    return site.scope.tensor(site.there(position))


def select(site: Site) -> str:
    x = site.text(1) if site.literal(2) is None else _tensor(site, 1)
    return f"torch.where({site.text()}, {x}, {site.text(2)})"


def not_equal(site: Site) -> str:
    value = site.op.value
    return f"{site.atom()} != {int(value) if site.tensor().kind == 'int' else number(value)}"


def cast(site: Site) -> str:
    return f"{site.atom()}.to({site.atom(1)}.dtype)"
