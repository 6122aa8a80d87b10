"""Keras' three ways to clip gradients."""

from __future__ import annotations

from collections.abc import Mapping

from lstmcore.optimizers.maths import Maths, Tensor

Gradients = dict[str, Tensor]
Scalars = Mapping[str, Tensor]


def by_norm(maths: Maths, gradients: Gradients, scalars: Scalars) -> Gradients:
    """Each gradient by itself: g · limit / max(|g|₂, limit)."""
    limit = scalars["clipnorm"]
    return {name: g * limit / maths.maximum(maths.sqrt(maths.sum(g * g)), limit) for name, g in gradients.items()}


def by_global_norm(maths: Maths, gradients: Gradients, scalars: Scalars) -> Gradients:
    """All by one factor: g · limit · min(1 / norm, 1 / limit), norm = |all gradients|₂; NaN if it is not finite."""
    limit, one = scalars["global_clipnorm"], scalars["one"]
    if not gradients:
        return gradients
    squares = [maths.sum(g * g) for g in gradients.values()]
    norm = maths.sqrt(sum(squares[1:], start=squares[0]))
    divisor = maths.where(norm > 0, norm, limit)  # gradients that are all zero stay so
    scale = limit * _minimum(maths, one / divisor, one / limit) + (norm - norm)
    return {name: g * scale for name, g in gradients.items()}


def by_value(maths: Maths, gradients: Gradients, scalars: Scalars) -> Gradients:
    """Each entry: min(max(g, -limit), limit)."""
    limit = scalars["clipvalue"]
    return {name: _minimum(maths, maths.maximum(g, -limit), limit) for name, g in gradients.items()}


def _minimum(maths: Maths, x: Tensor, y: Tensor) -> Tensor:
    return -maths.maximum(-x, -y)


CLIPPINGS = {"clipnorm": by_norm, "global_clipnorm": by_global_norm, "clipvalue": by_value}


def clip(maths: Maths, gradients: Gradients, scalars: Scalars) -> Gradients:
    """Clips as the scalars say: the limit of the way chosen is among them, or none is."""
    for name, clipping in CLIPPINGS.items():
        if name in scalars:
            return clipping(maths, gradients, scalars)
    return gradients
