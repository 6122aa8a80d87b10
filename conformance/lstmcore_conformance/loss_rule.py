"""The rule of the losses: one number after the other, in plain Python, by Keras' documentation.

It shares no code with `lstmcore.losses`, which it judges. No probability of a case is within 1e-7 of 0 or 1, so that
Keras' clipping, and what is computed from logits instead, make no difference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore_conformance.cases import Case
from lstmcore_conformance.subjects import Subject

Array = NDArray[Any]
Numbers = Sequence[float]
Options = Mapping[str, Any]


def _mean(term: Callable[[float, float], float]) -> Callable[[Numbers, Numbers, Options], float]:
    return lambda t, p, o: math.fsum(term(a, b) for a, b in zip(t, p, strict=True)) / len(p)


def _huber(t: Numbers, p: Numbers, o: Options) -> float:
    delta = o.get("delta", 1.0)
    errors = [abs(b - a) for a, b in zip(t, p, strict=True)]
    return math.fsum(e * e / 2 if e <= delta else delta * (e - delta / 2) for e in errors) / len(errors)


def _cosine(t: Numbers, p: Numbers, o: Options) -> float:
    return -math.fsum(a * b for a, b in zip(t, p, strict=True)) / (math.hypot(*t) * math.hypot(*p))


def _hinge(power: int) -> Callable[[Numbers, Numbers, Options], float]:
    return _mean(lambda t, p: max(1 - (t if t < 0 else 2 * t - 1) * p, 0) ** power)


def _categorical_hinge(t: Numbers, p: Numbers, o: Options) -> float:
    right = math.fsum(a * b for a, b in zip(t, p, strict=True))
    return max(1 + max((1 - a) * b for a, b in zip(t, p, strict=True)) - right, 0)


def _binary(t: Numbers, p: Numbers, o: Options) -> float:
    s = o.get("label_smoothing", 0.0)
    t = [(1 - s) * a + s / 2 for a in t]
    p = [1 / (1 + math.exp(-b)) for b in p] if o.get("from_logits") else p
    return -math.fsum(a * math.log(b) + (1 - a) * math.log(1 - b) for a, b in zip(t, p, strict=True)) / len(p)


def _categorical(t: Numbers, p: Numbers, o: Options) -> float:
    s = o.get("label_smoothing", 0.0)
    shares = _shares([math.exp(b) for b in p] if o.get("from_logits") else p)
    return -math.fsum(((1 - s) * a + s / len(p)) * math.log(b) for a, b in zip(t, shares, strict=True))


def _sparse(t: int, p: Numbers, o: Options) -> float:
    return -math.log(_shares([math.exp(b) for b in p] if o.get("from_logits") else p)[t])


def _shares(p: Numbers) -> Numbers:
    return [b / math.fsum(p) for b in p]


# Of one sample and step: value(target, prediction, options).
VALUES: Mapping[str, Callable[..., float]] = MappingProxyType(
    {
        "MeanSquaredError": _mean(lambda t, p: (t - p) ** 2),
        "MeanAbsoluteError": _mean(lambda t, p: abs(t - p)),
        "MeanAbsolutePercentageError": _mean(lambda t, p: 100 * abs((t - p) / t)),
        "MeanSquaredLogarithmicError": _mean(lambda t, p: (math.log(1 + t) - math.log(1 + p)) ** 2),
        "Huber": _huber,
        "LogCosh": _mean(lambda t, p: math.log(math.cosh(p - t))),
        "Poisson": _mean(lambda t, p: p - t * math.log(p + 1e-7)),
        "KLDivergence": lambda t, p, o: math.fsum(a * math.log(a / b) for a, b in zip(t, p, strict=True)),
        "CosineSimilarity": _cosine,
        "Hinge": _hinge(1),
        "SquaredHinge": _hinge(2),
        "CategoricalHinge": _categorical_hinge,
        "BinaryCrossentropy": _binary,
        "CategoricalCrossentropy": _categorical,
        "SparseCategoricalCrossentropy": _sparse,
    }
)


def _ctc(labels: Numbers, steps: Sequence[Numbers]) -> float:
    """-log of what all spellings of the labels have together; each way to choose a class a step is looked at."""
    word, total = [label for label in labels if label], 0.0
    shares = [_shares([math.exp(b) for b in p]) for p in steps]
    for spelling in itertools.product(range(len(shares[0])), repeat=len(shares)):
        if [k for k, _ in itertools.groupby(spelling) if k] == word:
            total += math.prod(p[k] for p, k in zip(shares, spelling, strict=True))
    return -math.log(total)


# Of one sample: value(target, the predictions of the steps that count).
SEQUENCES: Mapping[str, Callable[..., float]] = MappingProxyType({"CTC": _ctc})

THROUGH: Mapping[str, Callable[[Numbers], Numbers]] = MappingProxyType(
    {
        "": lambda p: p,
        "tanh": lambda p: [math.tanh(x) for x in p],
        "sigmoid": lambda p: [1 / (1 + math.exp(-x)) for x in p],
        "softplus": lambda p: [math.log(1 + math.exp(x)) for x in p],
        "softmax": lambda p: _shares([math.exp(x) for x in p]),
    }
)


def outputs(case: Case, it: Subject) -> dict[str, Array]:
    """The loss of a case, under the one name that its subject has."""
    terms = list((_of_samples if case.subject[1] in SEQUENCES else _of_steps)(case, it))
    total = math.fsum(v * weight for v, weight in terms)
    reduction = case.options.get("reduction", "sum_over_batch_size")
    count = {"sum": 1.0, "sum_over_batch_size": len(terms), "mean_with_sample_weight": math.fsum(w for _, w in terms)}
    (name,) = it.names
    return {name: np.array(total / count[reduction] if count[reduction] else 0.0)}


def _of_steps(case: Case, it: Subject) -> Iterator[tuple[float, float]]:
    """(value, weight) of each sample and step that counts."""
    through = THROUGH[case.options.get("through") or ""]
    value, target, ignored = VALUES[case.subject[1]], it.inputs["target"], case.options.get("ignore_class")
    mask = it.inputs.get("mask")
    for at in np.ndindex(target.shape[:2]):
        if (mask is not None and not mask[at]) or (ignored is not None and target[at] == ignored):
            continue
        v = value(target[at].tolist(), through(it.inputs["prediction"][at].tolist()), case.options)
        yield v, _weight(it, at)


def _of_samples(case: Case, it: Subject) -> Iterator[tuple[float, float]]:
    """(value, weight) of each sample; the mask leaves out steps of its sequence."""
    prediction = it.inputs["prediction"]
    mask = it.inputs.get("mask", np.ones(prediction.shape[:2], bool))
    for sample, labels in enumerate(it.inputs["target"].tolist()):
        steps = prediction[sample][mask[sample]].tolist()
        yield SEQUENCES[case.subject[1]](labels, steps), _weight(it, (sample,))


def _weight(it: Subject, at: tuple[int, ...]) -> float:
    weights = it.inputs.get("sample weight")
    return 1.0 if weights is None else float(weights[at[: weights.ndim]])
