"""Affine, Embed, Einsum, Conv."""

from __future__ import annotations

from lstmcore.interop.pytorch.scope import Site
from lstmcore.interop.pytorch.text import quoted


def affine(site: Site) -> str:
    inputs, units = site.shape("kernel")
    entries = [site.entry(".weight", "kernel", "reversed")]
    if site.op.use_bias:
        entries.append(site.entry(".bias", "bias"))
    bias = "" if site.op.use_bias else ", bias=False"
    return f"{site.add(f'nn.Linear({inputs}, {units}{bias})', entries)}({site.text()})"


def embed(site: Site) -> str:
    module = site.add(f"nn.Embedding({site.op.size}, {site.op.units})", [site.entry(".weight", "embeddings")])
    return f"{module}({site.text()})"


def einsum(site: Site) -> str:
    x, other, y = site.op.terms
    if len(other) == 2 and x[-1] == other[0] and y == x[:-1] + other[1]:
        return f"{site.atom()} @ {site.atom(1)}"
    return f"torch.einsum({quoted(site.op.equation)}, {site.text()}, {site.text(1)})"


def conv(site: Site) -> str:
    op = site.op
    options = [f"{word}={n}" for word, n in (("stride", op.strides), ("dilation", op.dilation)) if n != 1]
    options += [f"groups={op.groups}"] if op.groups != 1 else []
    reach = op.dilation * (op.size - 1)
    even = op.padding == "same" and op.strides == 1 and reach % 2 == 0  # else PyTorch pads more slowly, and warns
    options += ['padding="same"'] if even else []
    options += [] if op.use_bias else ["bias=False"]
    channels = site.shape("kernel")[1] * op.groups
    maker = f"nn.Conv1d({', '.join([str(channels), str(op.filters), str(op.size), *options])})"
    entries = [site.entry(".weight", "kernel", "reversed")]
    entries += [site.entry(".bias", "bias")] if op.use_bias else []
    module = site.add(maker, entries)
    x = f"{site.atom()}.transpose(1, 2)"
    if op.padding == "causal" and reach:
        x = f"F.pad({x}, ({reach}, 0))"
    elif op.padding == "same" and op.strides == 1 and not even:
        x = f"F.pad({x}, ({reach // 2}, {reach - reach // 2}))"
    elif op.padding == "same" and op.strides != 1:
        x = f"{site.file.helper('pad_same')}({x}, {reach + 1}, {op.strides})"
    return f"{module}({x}).transpose(1, 2)"
