"""Constant, Parameter, Zeros, OneHot."""

from __future__ import annotations

from lstmcore.interop.pytorch.scope import Site
from lstmcore.interop.pytorch.text import number

MOST_IN_A_LINE = 6


def constant(site: Site) -> str | None:
    op = site.op
    if op.shape == ():
        site.scope.settle(site.node, number(op.values[0]), literal=op.values[0])
        return None
    if len(op.values) > MOST_IN_A_LINE or len(op.shape) != 1:
        return "self." + site.scope.layers.buffer(f"{site.node.name}", op.values, op.shape)
    return f"{site.atom()}.new_tensor([{', '.join(map(number, op.values))}])"


def parameter(site: Site) -> str:
    return site.parameter("value")


def zeros(site: Site) -> str:
    x = site.name()
    return f"{x}.new_zeros({', '.join([f'{x}.shape[0]', *map(str, site.op.shape)])})"


def one_hot(site: Site) -> str:
    return f"{site.file.helper('one_hot')}({site.text()}, {site.op.depth}, {site.text(1)})"
