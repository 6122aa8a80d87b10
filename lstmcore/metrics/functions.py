"""What metrics average, in NumPy: one number for each sample and further axis but the last, in float64.

They are written for arrays of predictions, apart from the losses, which are ops of a program; each is
checked against Keras by itself. Crossentropies of probabilities are clipped as Keras clips them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore.errors import InputError
from lstmcore.metrics.base import Array, Floats

EPSILON = 1e-7  # keras.config.epsilon()


def mean_squared_error(t: Floats, p: Floats) -> Floats:
    """mean (t - p)²"""
    return np.asarray(np.square(t - p).mean(-1))


def mean_absolute_error(t: Floats, p: Floats) -> Floats:
    """mean |t - p|"""
    return np.asarray(np.abs(t - p).mean(-1))


def mean_absolute_percentage_error(t: Floats, p: Floats) -> Floats:
    """100 mean |t - p| / max(|t|, 1e-7)"""
    return np.asarray(100.0 * np.abs((t - p) / np.maximum(np.abs(t), EPSILON)).mean(-1))


def mean_squared_logarithmic_error(t: Floats, p: Floats) -> Floats:
    """mean (log(1 + max(p, 1e-7)) - log(1 + max(t, 1e-7)))²"""
    return np.asarray(np.square(np.log1p(np.maximum(p, EPSILON)) - np.log1p(np.maximum(t, EPSILON))).mean(-1))


def log_cosh(t: Floats, p: Floats) -> Floats:
    """mean log cosh(p - t)"""
    return np.asarray((np.logaddexp(p - t, t - p) - np.log(2.0)).mean(-1))


def cosine_similarity(t: Floats, p: Floats) -> Floats:
    """Σ t p / (|t| |p|): 1 where both point the same way; the loss is its negative."""
    return np.asarray((_unit(t) * _unit(p)).sum(-1))


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.maximum(np.sqrt(np.square(x).sum(-1, keepdims=True)), EPSILON))


def kl_divergence(t: Floats, p: Floats) -> Floats:
    """Σ t log(t / p), both moved into [1e-7, 1]"""
    t, p = np.clip(t, EPSILON, 1.0), np.clip(p, EPSILON, 1.0)
    return np.asarray((t * np.log(t / p)).sum(-1))


def poisson(t: Floats, p: Floats) -> Floats:
    """mean (p - t log(p + 1e-7))"""
    return np.asarray((p - t * np.log(p + EPSILON)).mean(-1))


def hinge(t: Floats, p: Floats) -> Floats:
    """mean max(1 - t p, 0)"""
    return np.asarray(np.maximum(1.0 - _signs(t) * p, 0.0).mean(-1))


def squared_hinge(t: Floats, p: Floats) -> Floats:
    """mean max(1 - t p, 0)²"""
    return np.asarray(np.square(np.maximum(1.0 - _signs(t) * p, 0.0)).mean(-1))


def _signs(t: Floats) -> Floats:
    """Targets of 0 and 1 alone as -1 and 1."""
    return 2.0 * t - 1.0 if np.isin(t, (0.0, 1.0)).all() else t


def categorical_hinge(t: Floats, p: Floats) -> Floats:
    """max(1 + max((1 - t) p) - Σ t p, 0)"""
    return np.asarray(np.maximum(((1.0 - t) * p).max(-1) - (t * p).sum(-1) + 1.0, 0.0))


def binary_crossentropy(t: Floats, p: Floats, from_logits: bool = False, label_smoothing: float = 0.0) -> Floats:
    """-mean (t log p + (1 - t) log(1 - p))"""
    t = t * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        return np.asarray((np.maximum(p, 0.0) - p * t + np.log1p(np.exp(-np.abs(p)))).mean(-1))
    p = np.clip(p, EPSILON, 1.0 - EPSILON)
    return np.asarray(-(t * np.log(p) + (1.0 - t) * np.log(1.0 - p)).mean(-1))


def categorical_crossentropy(t: Floats, p: Floats, from_logits: bool = False, label_smoothing: float = 0.0) -> Floats:
    """-Σ t log p"""
    t = t * (1.0 - label_smoothing) + label_smoothing / p.shape[-1]
    return np.asarray(-(t * _logs(p, from_logits)).sum(-1))


def _logs(p: Floats, from_logits: bool) -> Floats:
    if not from_logits:
        return np.asarray(np.log(np.clip(p / p.sum(-1, keepdims=True), EPSILON, 1.0 - EPSILON)))
    shifted = p - p.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def sparse_categorical_crossentropy(t: Array, p: Floats, from_logits: bool = False) -> Floats:
    """-log p[t]; a class that does not exist has none: InputError."""
    classes = t.astype(np.int64)
    if classes.size and not (classes.min() >= 0 and classes.max() < p.shape[-1]):
        raise InputError(
            f"targets number classes from {classes.min()} to {classes.max()}; expected 0 to {p.shape[-1] - 1}, as the "
            f"predictions have {p.shape[-1]} classes"
        )
    return np.asarray(-np.take_along_axis(_logs(p, from_logits), classes[..., None], -1)[..., 0])


def in_top_k(t: Array, p: Array, k: int) -> Floats:
    """1 where fewer than k classes are likelier than class t; 0 also where t does not exist or a p is not finite."""
    classes = t.astype(np.int64)
    there = (classes >= 0) & (classes < p.shape[-1])
    own = np.take_along_axis(p, np.where(there, classes, 0)[..., None], -1)
    return np.asarray((((p > own).sum(-1) < k) & there & np.isfinite(p).all(-1)).astype(np.float64))


def numbered(y_true: Any, y_pred: Any, name: str) -> tuple[Array, Array]:
    """Targets that number classes, without a last axis of length 1, and predictions.

    Raises:
        InputError: there is not one target for each row of classes.
    """
    t, p = np.asarray(y_true), np.asarray(y_pred)
    if t.ndim == p.ndim and t.shape[-1:] == (1,):
        t = t[..., 0]
    if t.shape != p.shape[:-1]:
        raise InputError(
            f"metric {name!r}: targets of shape {np.shape(y_true)} for predictions of shape {p.shape}; expected "
            f"{p.shape[:-1]}: an integer for each row of classes"
        )
    return t, p
