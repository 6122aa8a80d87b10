"""Scan in NumPy: the body, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.ops import Scan
from lstmcore_numpy.gradients import Vjp

Array = NDArray[Any]
Weights = Mapping[str, Array]


def scan(
    op: Scan, w: Weights, x: Array, *rest: Array | None, body: Callable[..., tuple[Array, ...]]
) -> tuple[Any, ...]:
    *states, mask, previous = rest
    held = None if op.zero_output_for_mask else previous
    outputs = []
    for t in range(x.shape[1]):
        y, *new = body(w, x[:, t], *states)
        if mask is not None:
            y = _choose(mask[:, t], y, np.zeros_like(y) if held is None else held)
            new = [_choose(mask[:, t], n, old) for n, old in zip(new, states, strict=True)]
        if not op.zero_output_for_mask:
            held = y
        states = new
        outputs.append(y)
    return np.stack(outputs, 1), *states


def _choose(valid: Array, new: Array, old: Any) -> Array:
    """new where valid (B,), else old, both (B, ...)."""
    return np.where(valid.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def pull_scan(
    op: Scan, w: Weights, x: Array, *rest: Array | None, body: Callable[..., tuple[tuple[Array, ...], Vjp]]
) -> tuple[tuple[Any, ...], Vjp]:
    *_, mask, previous = rest
    vjps: list[Vjp] = []

    def step(w: Weights, *inputs: Array) -> tuple[Array, ...]:
        outputs, vjp = body(w, *inputs)
        vjps.append(vjp)
        return outputs

    def vjp(dy: Array | None, *dstates: Array | None) -> tuple[dict[str, Array], tuple[Array | None, ...]]:
        found: dict[str, Array] = {}
        dx: list[Array | None] = []
        dnow, dheld = list(dstates), None
        for t in reversed(range(len(vjps))):
            valid = None if mask is None else mask[:, t]
            d = None if dy is None else dy[:, t]
            if valid is not None and not op.zero_output_for_mask:
                d = _sum(d, dheld)
                dheld = _only(~valid, d)
            of_weights, (dx_t, *before) = vjps[t](_only(valid, d), *(_only(valid, ds) for ds in dnow))
            if valid is not None:
                before = [_sum(ds, _only(~valid, after)) for ds, after in zip(before, dnow, strict=True)]
            dnow = before
            dx.append(dx_t)
            for name, gradient in of_weights.items():
                if name in found:
                    found[name] += gradient
                else:
                    found[name] = np.array(gradient)
        return found, (_over_time(x, dx[::-1]), *dnow, None, None if previous is None else dheld)

    return scan(op, w, _finite(x, mask), *rest, body=step), vjp


def _finite(x: Array, mask: Array | None) -> Array:
    """x without NaN and infinities at the masked steps, so that none reaches a gradient there."""
    if mask is None or x.dtype.kind != "f":
        return x
    return np.where(mask.reshape(*mask.shape, *[1] * (x.ndim - 2)) | np.isfinite(x), x, 0)


def _only(valid: Array | None, d: Array | None) -> Array | None:
    """d where valid, else 0; None is zero everywhere."""
    return d if d is None or valid is None else _choose(valid, d, 0)


def _sum(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a + b


def _over_time(x: Array, steps: Sequence[Array | None]) -> Array | None:
    """The gradient of x from those of its steps."""
    if all(d is None for d in steps):
        return None
    return np.stack([np.zeros_like(x[:, t]) if d is None else d for t, d in enumerate(steps)], 1)
