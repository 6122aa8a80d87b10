"""Wrong losses, optimizers and training loops: faults in the core, planted by pytest's ``monkeypatch``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from rewriting import Plant, attribute, method

from lstmcore import losses, ops, sweep
from lstmcore.formulas import Term
from lstmcore.losses import base as losses_base
from lstmcore.losses import ctc
from lstmcore.optimizers import base as optimizers_base
from lstmcore.optimizers import clipping, rules, schedules
from lstmcore.random import Stream
from lstmcore.runtime import data, noise, objective, scores, sources

# Losses.


def formula(kind: str, wrong: Callable[[Callable[[], Any], Term, Term], Any]) -> Plant:
    """``wrong(right, target, prediction)`` is the loss of each sample; ``right()`` what it should be."""
    owner = next(cls for cls in getattr(losses, kind).__mro__ if "formula" in vars(cls))
    return method(owner, "formula", lambda right, self, t, p: wrong(lambda: right(self, t, p), t, p))


def with_options(kind: str, **options: Any) -> Plant:
    """It computes as if its options were these."""
    owner = next(cls for cls in getattr(losses, kind).__mro__ if "lower" in vars(cls))

    def wrong(right: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        known = {name: value for name, value in options.items() if hasattr(self, name)}
        return right(replace(self, **known) if type(self).__name__ == kind else self, *args, **kwargs)

    return method(owner, "lower", wrong)


def reduced(change: Callable[..., tuple[Any, ...]]) -> Plant:
    """``change(build, values, weight, mask, reduction)`` is what is reduced to one number."""
    return method(
        losses_base,
        "reduce",
        lambda right, build, v, w, m, reduction=losses_base.MEAN: right(build, *change(build, v, w, m, reduction)),
    )


def over_all(right: Any, build: Any, v: Any, w: Any, m: Any, reduction: Any = losses_base.MEAN) -> Any:
    """The masked sum is divided by the number of all."""
    made = right(build, v, w, m, "sum" if reduction == losses_base.MEAN else reduction)
    if reduction != losses_base.MEAN:
        return made
    count = (Term(build, v) * 0.0 + 1.0).total()
    return (Term(build, made) / count).value


def over_steps(right: Any, t: Term, p: Term) -> Any:
    """Along the wrong axis."""
    (total,) = t.build.op(ops.Reduce("sum", (1,)), (t * (t / p).unary("log")).value)
    return Term(t.build, total)


def doubled(right: Any, *args: Any, **kwargs: Any) -> Any:
    value = right(*args, **kwargs)
    return (Term(args[0], value) * 2.0).value


LOSSES: dict[str, Plant] = {
    "mse: the sum": formula("MeanSquaredError", lambda right, t, p: (t - p).unary("square").sum()),
    "mse: halved": formula("MeanSquaredError", lambda right, t, p: right() * 0.5),
    "mae: squared": formula("MeanAbsoluteError", lambda right, t, p: (t - p).unary("square").mean()),
    "mape: no percent": formula("MeanAbsolutePercentageError", lambda right, t, p: right() * 0.01),
    "mape: of the prediction": formula(
        "MeanAbsolutePercentageError", lambda right, t, p: 100.0 * abs((t - p) / abs(p).maximum(1e-7)).mean()
    ),
    "msle: without 1 +": formula(
        "MeanSquaredLogarithmicError",
        lambda right, t, p: (t.maximum(1e-7).unary("log") - p.maximum(1e-7).unary("log")).unary("square").mean(),
    ),
    "ctc: equal labels need no blank between": method(ctc, "_skips", lambda right, states: right(states) * 0.0),
    "ctc: no blank at the end": method(
        ctc, "_used", lambda right, rows: right(rows).apply(ops.Pad(1, 0, 1)).apply(ops.Slice(1, 1))
    ),
    "ctc: labels where they stand": method(ctc, "_packed", lambda right, labels, p, n: labels.apply(ops.OneHot(n), p)),
    "ctc: masked steps are heard": method(ctc.CTC, "_of_steps", lambda right, *given: right(*given[:-1], None)),
    "huber: delta is 1": with_options("Huber", delta=1.0),
    "huber: squared everywhere": formula("Huber", lambda right, t, p: 0.5 * (t - p).unary("square").mean()),
    "log_cosh: log 2 is kept": formula("LogCosh", lambda right, t, p: right() + math.log(2)),
    "poisson: without the target": formula("Poisson", lambda right, t, p: (p - (p + 1e-7).unary("log")).mean()),
    "kl: the other way round": formula("KLDivergence", lambda right, t, p: (p * (p / t).unary("log")).sum()),
    "kl: the mean": formula("KLDivergence", lambda right, t, p: (t * (t / p).unary("log")).mean()),
    "kl: over the steps": formula("KLDivergence", over_steps),
    "cosine: its sign": formula("CosineSimilarity", lambda right, t, p: -1.0 * right()),
    "cosine: not of unit vectors": formula("CosineSimilarity", lambda right, t, p: -1.0 * (t * p).sum()),
    "hinge: 0 stays 0": formula("Hinge", lambda right, t, p: (1.0 - t * p).maximum(0.0).mean()),
    "squared hinge: not squared": formula("SquaredHinge", lambda right, t, p: (1.0 - t * p).maximum(0.0).mean()),
    "categorical hinge: no margin": formula("CategoricalHinge", lambda right, t, p: (right() - 1.0).maximum(0.0)),
    "binary: logits taken for probabilities": with_options("BinaryCrossentropy", from_logits=False),
    "categorical: logits taken for probabilities": with_options("CategoricalCrossentropy", from_logits=False),
    "sparse: logits taken for probabilities": with_options("SparseCategoricalCrossentropy", from_logits=False),
    "binary: no label smoothing": with_options("BinaryCrossentropy", label_smoothing=0.0),
    "categorical: no label smoothing": with_options("CategoricalCrossentropy", label_smoothing=0.0),
    "binary: smoothed by twice as much": with_options("BinaryCrossentropy", label_smoothing=0.25),
    "sparse: ignore_class ignored": attribute(losses.SparseCategoricalCrossentropy, "counts", losses.Loss.counts),
    "reduction: no division": reduced(
        lambda build, v, w, m, reduction: (v, w, m, "sum" if reduction == losses_base.MEAN else reduction)
    ),
    "reduction: divided by all, masked or not": method(losses_base, "reduce", over_all),
    "reduction: mask ignored": reduced(lambda build, v, w, m, reduction: (v, w, None, reduction)),
    "reduction: sample weights ignored": reduced(lambda build, v, w, m, reduction: (v, None, m, reduction)),
    "reduction: divided by the sample weights": reduced(
        lambda build, v, w, m, reduction: (
            v,
            w,
            m,
            "mean_with_sample_weight" if reduction == losses_base.MEAN else reduction,
        )
    ),
    "reduction: sample weights squared": reduced(
        lambda build, v, w, m, reduction: (v, None if w is None else Term(build, w).unary("square").value, m, reduction)
    ),
    "reduction: the option ignored": reduced(lambda build, v, w, m, reduction: (v, w, m, losses_base.MEAN)),
    "reduction: doubled": method(losses_base, "reduce", doubled),
}


# Optimizers.


def updating(kind: str, wrong: Callable[..., Any]) -> Plant:
    """``wrong(right, self, maths, weight, gradient, slots, scalars)`` is the update."""
    owner = next(cls for cls in getattr(rules, kind).__mro__ if "update" in vars(cls))
    return method(owner, "update", wrong)


def scalars(kind: str, change: Callable[..., dict[str, float]]) -> Plant:
    """``change(right, self, rate, t)`` are the numbers of a formula."""
    owner = next(cls for cls in getattr(rules, kind).__mro__ if "own_scalars" in vars(cls))
    return method(owner, "own_scalars", lambda right, self, rate, t: change(partial_(right, self), self, rate, t))


def partial_(right: Any, self: Any) -> Any:
    return lambda rate, t: right(self, rate, t)


def as_if(kind: str, **options: Any) -> Plant:
    """The update of an optimizer with other options."""
    return updating(kind, lambda right, self, *args: right(replace(self, **options), *args))


def given(kind: str, change: Callable[[Any, Any], Any]) -> Plant:
    """``change(gradient, weight)`` is the gradient that the formula is given."""
    return updating(kind, lambda right, self, maths, w, g, s, x: right(self, maths, w, change(g, w), s, x))


def adam_inside(right: Any, self: Any, maths: Any, w: Any, g: Any, s: Any, x: Any) -> Any:
    """Epsilon under the root."""
    state = rules._moments(g, s, x)
    v = state["velocity"]
    if self.amsgrad:
        v = state["velocity_hat"] = maths.maximum(s["velocity_hat"], v)
    return w - state["momentum"] * x["alpha"] / maths.sqrt(v + x["epsilon"]), state


def outside(kind: str) -> Plant:
    """√v + epsilon for √(v + epsilon): the root is given v alone."""

    class Rooted:
        def __init__(self, maths: Any, epsilon: Any) -> None:
            self.maths, self.epsilon = maths, epsilon

        def __getattr__(self, name: str) -> Any:
            return getattr(self.maths, name)

        def sqrt(self, x: Any) -> Any:
            return self.maths.sqrt(x - self.epsilon) + self.epsilon

    return updating(kind, lambda right, self, maths, w, g, s, x: right(self, Rooted(maths, x["epsilon"]), w, g, s, x))


def decaying(change: Callable[..., Any]) -> Plant:
    """``change(weight, moved, scalars)`` is where a weight that decays goes; ``moved`` is without decay."""

    def wrong(right: Any, self: Any, maths: Any, weights: Any, gradients: Any, slots: Any, x: Any) -> Any:
        moved, state = right(replace(self, weight_decay=0.0), maths, weights, gradients, slots, x)
        return {n: change(weights[n], w, x) if self.decays(n) else w for n, w in moved.items()}, state

    return method(optimizers_base.Optimizer, "_step", wrong)


def coupled(right: Any, self: Any, maths: Any, weights: Any, gradients: Any, slots: Any, x: Any) -> Any:
    """The decay is added to the gradient."""
    found = {n: g + weights[n] * x["weight_decay"] if self.decays(n) else g for n, g in gradients.items()}
    return right(replace(self, weight_decay=0.0), maths, weights, found, slots, x)


def clipped(name: str, wrong: Callable[..., Any]) -> Plant:
    def plant(patch: Any) -> None:
        patch.setitem(clipping.CLIPPINGS, name, wrong)

    return plant


def by_global_limit(maths: Any, gradients: Any, x: Any) -> Any:
    return clipping.by_global_norm(
        maths, gradients, {**x, "global_clipnorm": x["clipnorm"], "one": x["clipnorm"] / x["clipnorm"]}
    )


def by_own_limit(maths: Any, gradients: Any, x: Any) -> Any:
    return clipping.by_norm(maths, gradients, {**x, "clipnorm": x["global_clipnorm"]})


def always_scaled(maths: Any, gradients: Any, x: Any) -> Any:
    tiny = x["clipnorm"] * 1e-12
    return {n: g * x["clipnorm"] / (maths.sqrt(maths.sum(g * g)) + tiny) for n, g in gradients.items()}


def from_above(maths: Any, gradients: Any, x: Any) -> Any:
    return {n: -maths.maximum(-g, -x["clipvalue"]) for n, g in gradients.items()}


def started(kind: str, **fills: float) -> Plant:
    owner = next(cls for cls in getattr(rules, kind).__mro__ if "own_slots" in vars(cls))
    return method(owner, "own_slots", lambda right, self: {n: fills.get(n, v) for n, v in right(self).items()})


def torch_momentum(right: Any, self: Any, maths: Any, w: Any, g: Any, s: Any, x: Any) -> Any:
    """The rate outside of the buffer: another number once the rate changes."""
    if not self.momentum:
        return right(self, maths, w, g, s, x)
    m = s["momentum"] * x["momentum"] - g
    ahead = m * x["momentum"] - g if self.nesterov else m
    return w + ahead * x["learning_rate"], {"momentum": m}


def no_correction(right: Any, self: Any, rate: float, t: int) -> dict[str, float]:
    return {**right(rate, t), "alpha": rate}


def adamax_epsilon(right: Any, self: Any, maths: Any, w: Any, g: Any, s: Any, x: Any) -> Any:
    """Epsilon inside the maximum."""
    m = s["momentum"] + (g - s["momentum"]) * x["1 - beta_1"]
    u = maths.maximum(x["beta_2"] * s["norm"], maths.absolute(g) + x["epsilon"])
    return w - x["learning_rate"] * m / (x["1 - beta_1^t"] * u), {"momentum": m, "norm": u}


def rate_at(change: Callable[[int], int]) -> Plant:
    return method(optimizers_base.Optimizer, "rate", lambda right, self, step: right(self, change(step)))


def summed(right: Any, self: Any, maths: Any, weights: Any, gradients: Any, slots: Any, x: Any) -> Any:
    """The sum of the gradients gathered, not their mean."""
    one = x["gradient_accumulation_steps"] / x["gradient_accumulation_steps"]
    return right(self, maths, weights, gradients, slots, {**x, "gradient_accumulation_steps": one})


def scheduled(kind: str, wrong: Callable[..., float]) -> Plant:
    return method(getattr(schedules, kind), "__call__", wrong)


OPTIMIZERS: dict[str, Plant] = {
    "Adam: epsilon under the root": updating("Adam", adam_inside),
    "Adam: no bias correction": scalars("Adam", no_correction),
    "Adam: bias correction one step late": scalars("Adam", lambda right, self, rate, t: right(rate, t + 1)),
    "Adam: betas swapped": scalars(
        "Adam",
        lambda right, self, rate, t: {
            **right(rate, t),
            "1 - beta_1": 1 - self.beta_2,
            "1 - beta_2": 1 - self.beta_1,
        },
    ),
    "Adam: epsilon as PyTorch has it": scalars(
        "Adam",
        lambda right, self, rate, t: {**right(rate, t), "epsilon": self.epsilon * math.sqrt(1 - self.beta_2**t)},
    ),
    "Adam: amsgrad ignored": updating(
        "Adam",
        lambda right, self, maths, w, g, s, x: (
            right(replace(self, amsgrad=False), maths, w, g, s, x)[0],
            right(self, maths, w, g, s, x)[1],
        ),
    ),
    "Adam: epsilon is 1e-8": scalars(
        "Adam", lambda right, self, rate, t: {**right(rate, t), "epsilon": self.epsilon / 10}
    ),
    "AdamW: as Adam": decaying(lambda w, moved, x: moved),
    "decay after the step": decaying(lambda w, moved, x: moved - moved * x["weight_decay"] * x["learning_rate"]),
    "decay not times the rate": decaying(lambda w, moved, x: moved - w * x["weight_decay"]),
    "decay added to the gradient": method(optimizers_base.Optimizer, "_step", coupled),
    "decay of excluded weights too": method(
        optimizers_base.Optimizer, "decays", lambda right, self, name: bool(self.weight_decay)
    ),
    "SGD: sign of the momentum": updating(
        "SGD",
        lambda right, self, maths, w, g, s, x: right(self, maths, w, g, {n: -m for n, m in s.items()}, x),
    ),
    "SGD: nesterov as plain": as_if("SGD", nesterov=False),
    "SGD: rate outside of the momentum": updating("SGD", torch_momentum),
    "SGD: momentum damped": updating(
        "SGD",
        lambda right, self, maths, w, g, s, x: right(
            self, maths, w, g * (1 - self.momentum) if self.momentum else g, s, x
        ),
    ),
    "RMSprop: epsilon outside of the root": outside("RMSprop"),
    "RMSprop: centered ignored": updating(
        "RMSprop",
        lambda right, self, maths, w, g, s, x: (
            right(replace(self, centered=False), maths, w, g, s, x)[0],
            right(self, maths, w, g, s, x)[1],
        ),
    ),
    "RMSprop: momentum ignored": updating(
        "RMSprop",
        lambda right, self, maths, w, g, s, x: (
            right(replace(self, momentum=0.0), maths, w, g, s, x)[0],
            right(self, maths, w, g, s, x)[1],
        ),
    ),
    "RMSprop: rho the other way": scalars(
        "RMSprop", lambda right, self, rate, t: {**right(rate, t), "rho": 1 - self.rho, "1 - rho": self.rho}
    ),
    "Adagrad: accumulator starts at 0": started("Adagrad", accumulator=0.0),
    "Adagrad: epsilon outside of the root": outside("Adagrad"),
    "Adadelta: epsilon outside of the root": outside("Adadelta"),
    "Adadelta: no learning rate": updating(
        "Adadelta",
        lambda right, self, maths, w, g, s, x: right(
            self, maths, w, g, s, {**x, "learning_rate": x["learning_rate"] / x["learning_rate"]}
        ),
    ),
    "Adamax: no bias correction": scalars(
        "Adamax", lambda right, self, rate, t: {**right(rate, t), "1 - beta_1^t": 1.0}
    ),
    "Adamax: epsilon inside the maximum": updating("Adamax", adamax_epsilon),
    "Adamax: bias correction one step late": scalars("Adamax", lambda right, self, rate, t: right(rate, t + 1)),
    "Nadam: products one step late": scalars("Nadam", lambda right, self, rate, t: right(rate, t + 1)),
    "Nadam: momentum without its schedule": scalars(
        "Nadam",
        lambda right, self, rate, t: {**right(rate, t), "1 - u": 1 - self.beta_1, "next u": self.beta_1},
    ),
    "Nadam: PyTorch's schedule": scalars(
        "Nadam",
        lambda right, self, rate, t: {
            **right(rate, t),
            "1 - u": 1 - self.beta_1 * (1 - 0.5 * 0.96 ** (t * 0.004)),
            "next u": self.beta_1 * (1 - 0.5 * 0.96 ** ((t + 1) * 0.004)),
        },
    ),
    "clipnorm: of all gradients together": clipped("clipnorm", by_global_limit),
    "clipnorm: small gradients grow": clipped("clipnorm", always_scaled),
    "global_clipnorm: of each gradient": clipped("global_clipnorm", by_own_limit),
    "clipvalue: from above alone": clipped("clipvalue", from_above),
    "clipping ignored": attribute(optimizers_base, "clip", lambda maths, gradients, x: gradients),
    "schedules count from 1": rate_at(lambda step: step + 1),
    "schedules stand still": rate_at(lambda step: 0),
    "staircase ignored": attribute(schedules, "_periods", lambda step, length, staircase: step / length),
    "a boundary belongs to the next value": scheduled(
        "PiecewiseConstantDecay", lambda right, self, step: self.values[sum(step >= b for b in self.boundaries)]
    ),
    "cosine: alpha ignored": scheduled("CosineDecay", lambda right, self, step: right(replace(self, alpha=0.0), step)),
    "cosine: no warm-up": scheduled(
        "CosineDecay",
        lambda right, self, step: right(
            replace(self, warmup_target=None, initial_learning_rate=self.warmup_target or self.initial_learning_rate),
            step,
        ),
    ),
    "polynomial: no cycle": scheduled(
        "PolynomialDecay", lambda right, self, step: right(replace(self, cycle=False), step)
    ),
    "gathered gradients: the sum": method(optimizers_base.Optimizer, "_gather", summed),
    "gathered gradients: a step early": method(
        optimizers_base.Optimizer,
        "scalars",
        lambda right, self, step: (
            right(self, step)
            | (
                {"due": float((step + 2) % self.gradient_accumulation_steps == 0)}
                if self.gradient_accumulation_steps
                else {}
            )
        ),
    ),
    "the loss' scale stays": method(
        optimizers_base.Optimizer,
        "apply",
        lambda right, self, maths, w, g, s, x: right(replace(self, loss_scale_factor=None), maths, w, g, s, x),
    ),
    "averages: the momentum of the new": method(
        optimizers_base.Optimizer,
        "scalars",
        lambda right, self, step: {n: 1 - v if n == "ema_momentum" else v for n, v in right(self, step).items()},
    ),
}


# The training loop, and how gradients are put together.


def drawn(change: Callable[..., Any]) -> Plant:
    """``change(right, program, shapes, stream, dtype)`` is the noise of a step."""
    return method(noise, "draw", change)


def same_each_step(right: Any, program: Any, shapes: Any, stream: Stream, dtype: str) -> Any:
    return right(program, shapes, Stream(stream.seed, (*stream.ids[:-1], 0)), dtype)


def redrawn_each_time_step(right: Any, shape: Any, like: Any) -> Any:
    """Axes of length 1 are not: each time step has numbers of its own."""
    return right(tuple(None if n == 1 else n for n in shape), like)


def kind(name: str, make: Callable[..., Any]) -> Plant:
    return attribute(noise, "KINDS", {**noise.KINDS, name: make})


def forgetting(right: Any, self: Any, maths: Any, weights: Any, gradients: Any, slots: Any, x: Any) -> Any:
    """The slots start anew at each step."""
    empty = {name: {slot: 0 * array for slot, array in own.items()} for name, own in slots.items()}
    return right(self, maths, weights, gradients, empty, x)


def last_batch_dropped(right: Any, self: Any, number: int, skip: int, limit: int | None, make: Any = None) -> Any:
    return (batch for batch in right(self, number, skip, limit, make) if batch.size == self.size)


def first_order(right: Any, self: Any, number: int, skip: int, limit: int | None, make: Any = None) -> Any:
    return right(self, 0, skip, limit, make)


def always_four(right: Any, self: Any, goal: Any, made: Any, batch: Any) -> None:
    right(self, goal, made, SimpleNamespace(size=4, targets=batch.targets, weights=batch.weights))


def targets_left(right: Any, self: Any, rows: Any) -> Any:
    """The inputs are shuffled, the targets are not."""
    batch = right(self, rows)
    return replace(batch, targets=[y[: batch.size] for y in self.targets])


def overwritten(right: Any, self: Any, name: str, gradient: Any) -> None:
    """Of several gradients of one value, the last counts."""
    if gradient is not None:
        self.totals.pop(name, None)
        self._own.discard(name)
    right(self, name, gradient)


LOOP: dict[str, Plant] = {
    "noise: the same at each step": drawn(same_each_step),
    "noise: redrawn at each time step": method(noise, "_shape", redrawn_each_time_step),
    "dropout: not scaled": kind("dropout", lambda stream, shape, rate, *dtype: 1.0 * stream.bernoulli(shape, 1 - rate)),
    "dropout: the rate is what stays": kind(
        "dropout", lambda stream, shape, rate, *dtype: stream.bernoulli(shape, rate) / rate
    ),
    "dropout: never": kind("dropout", lambda stream, shape, rate, *dtype: np.ones(shape)),
    "steps count from 1": method(optimizers_base.Optimizer, "scalars", lambda right, self, step: right(self, step + 1)),
    "slots start anew at each step": method(optimizers_base.Optimizer, "apply", forgetting),
    "a partial batch counts as a whole one": method(scores.Scores, "add", always_four),
    "a partial batch is left out": method(sources.Arrays, "passing", last_batch_dropped),
    "targets are not shuffled": method(data.Batch, "take", targets_left),
    "every epoch in the first one's order": method(sources.Arrays, "passing", first_order),
    "loss_weights ignored": attribute(objective, "_scaled", lambda build, loss, weight: loss),
    "a value used twice has one gradient": method(sweep.Sums, "add", overwritten),
}
