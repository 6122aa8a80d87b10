"""The ops that move numbers."""

from __future__ import annotations

from lstmcore.interop.pytorch.scope import Expr, Site


def reshape(site: Site) -> str:
    target, shape = site.op.shape, site.tensor().shape
    if len(target) == 1 and len(shape) > 2 and None not in shape[1:]:
        return f"{site.atom()}.flatten(1)"
    if target == (1, -1) and len(shape) == 2:
        return f"{site.atom()}.unsqueeze(1)"
    x = site.name()
    return f"{x}.reshape({', '.join([f'{x}.shape[0]', *map(str, target)])})"


def transpose(site: Site) -> str:
    axes = site.op.axes
    moved = [k for k, axis in enumerate(axes) if k != axis]
    if len(moved) == 2:
        return f"{site.atom()}.transpose({moved[0]}, {moved[1]})"
    return f"{site.atom()}.permute({', '.join(map(str, axes))})"


def reverse(site: Site) -> str:
    return f"{site.atom()}.flip(1)"


def last(site: Site) -> str:
    return f"{site.atom()}[:, -1]"


def concat(site: Site) -> str | None:
    whole = site.scope.halves.get(tuple(site.node.inputs))
    if whole is not None and site.op.axis == len(site.result) - 1:
        (value,) = site.node.outputs
        site.scope.known[value] = Expr(whole)
        site.scope.alias(whole, value)
        return None
    parts = ", ".join(site.text(k) for k in range(site.op.count))
    return f"torch.cat(({parts}{',' if site.op.count == 1 else ''}), dim={site.op.axis})"


def slice_(site: Site) -> str:
    op = site.op
    start = str(op.start) if op.start else ""
    stop = "" if op.stop is None else str(op.stop)
    return f"{site.atom()}[{':, ' * op.axis}{start}:{stop}]"


def pad(site: Site) -> str:
    behind = len(site.tensor().shape) - 1 - site.op.axis
    widths = ", ".join(["0, 0"] * behind + [f"{site.op.before}, {site.op.after}"])
    return f"F.pad({site.text()}, ({widths}))"


def repeat(site: Site) -> str:
    return f"{site.atom()}.repeat_interleave({site.op.times}, dim={site.op.axis})"


def fold(site: Site) -> str:
    return f"{site.atom()}.flatten(0, 1)"


def unfold(site: Site) -> str:
    return f"{site.atom()}.unflatten(0, {site.atom(1)}.shape[:2])"
