"""Reduce, Total, Pool, Causal."""

from __future__ import annotations

from lstmcore.interop.pytorch.scope import Site

_NAMES = {"max": "amax", "min": "amin"}


def reduce(site: Site) -> str:
    op = site.op
    axes = str(op.axes[0]) if len(op.axes) == 1 else str(op.axes)
    kept = ", keepdim=True" if op.keepdims else ""
    return f"{site.atom()}.{_NAMES.get(op.function, op.function)}(dim={axes}{kept})"


def total(site: Site) -> str:
    axes = tuple(range(len(site.tensor().shape) - site.op.kept))
    if not axes:
        return site.text()
    return f"{site.atom()}.{site.op.function}(dim={axes[0] if len(axes) == 1 else axes})"


def pool(site: Site) -> str:
    op = site.op
    x = f"{site.atom()}.transpose(1, 2)"
    windows = str(op.size) if op.strides == op.size else f"{op.size}, {op.strides}"
    if op.padding == "valid":
        kind = "max" if op.function == "max" else "avg"
        return f"F.{kind}_pool1d({x}, {windows}).transpose(1, 2)"
    if op.function == "max":
        padded = f'{site.file.helper("pad_same")}({x}, {op.size}, {op.strides}, float("-inf"))'
        return f"F.max_pool1d({padded}, {windows}).transpose(1, 2)"
    return f"{site.file.helper('mean_pool_same')}({x}, {op.size}, {op.strides}).transpose(1, 2)"


def causal(site: Site) -> str:
    return f"{site.file.helper('causal')}({site.text()})"
