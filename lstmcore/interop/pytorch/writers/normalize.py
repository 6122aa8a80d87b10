"""BatchNormalize, LayerNormalize."""

from __future__ import annotations

from lstmcore.interop.pytorch.scope import Site
from lstmcore.interop.pytorch.state import Entry
from lstmcore.interop.pytorch.text import number


def batch_normalize(site: Site) -> str:
    op = site.op
    (features,) = site.shape("moving_mean")
    entries = []
    if op.scale or op.center:
        entries += [site.entry(".weight", "gamma") if op.scale else Entry(".weight", (features,), fill=1.0)]
        entries += [site.entry(".bias", "beta") if op.center else Entry(".bias", (features,))]
    entries += [site.entry(".running_mean", "moving_mean"), site.entry(".running_var", "moving_variance")]
    entries += [Entry(".num_batches_tracked", (), dtype="int64")]
    momentum = 1 - site.file.momenta.get(site.path("moving_mean"), 0.99)
    options = f"eps={number(op.epsilon)}, momentum={round(momentum, 12)!r}"
    affine = "" if op.scale or op.center else ", affine=False"
    module = site.add(f"nn.BatchNorm1d({features}, {options}{affine})", entries)
    rank = len(site.tensor().shape)
    if rank == 2:
        return f"{module}({site.text()})"
    if rank == 3:
        return f"{module}({site.atom()}.transpose(1, 2)).transpose(1, 2)"
    x = site.name()
    return f"{module}({x}.flatten(0, -2)).view_as({x})"


def layer_normalize(site: Site) -> str:
    op, shape = site.op, site.tensor().shape
    lengths = [shape[axis] for axis in op.axes]
    last = op.axes == tuple(range(len(shape) - len(op.axes), len(shape)))
    if not last or None in lengths or (not op.scale and not op.center and None in lengths):
        return _by_hand(site, [n if axis in op.axes else 1 for axis, n in enumerate(shape)])
    normalized = tuple(n or 0 for n in lengths)
    sizes = str(normalized[0]) if len(normalized) == 1 else str(normalized)
    entries = []
    options = f"eps={number(op.epsilon)}"
    if op.scale or op.center:
        entries += [site.entry(".weight", "gamma") if op.scale else Entry(".weight", normalized, fill=1.0)]
        entries += [site.entry(".bias", "beta")] if op.center else []
        options += "" if op.center else ", bias=False"
    else:
        options += ", elementwise_affine=False"
    return f"{site.add(f'nn.LayerNorm({sizes}, {options})', entries)}({site.text()})"


def _by_hand(site: Site, lengths: list[int | None]) -> str:
    """Over axes that are not the last ones."""
    op = site.op
    axes = f"({', '.join(map(str, op.axes))}{',' if len(op.axes) == 1 else ''})"
    y = f"{site.file.helper('normalize')}({site.text()}, {axes}, {number(op.epsilon)})"
    sizes = ", ".join(str(n) for n in lengths)
    if op.scale:
        y = f"{y} * {site.parameter('gamma')}.view({sizes})"
    return f"{y} + {site.parameter('beta')}.view({sizes})" if op.center else y
