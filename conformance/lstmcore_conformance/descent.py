"""The rule of the optimizers: one number after the other, in plain Python, over float64.

It follows the papers and Keras 3.15's documentation and shares no code with `lstmcore.optimizers`, which it judges;
real Keras' numbers judge it (`tests/test_conformance.py`). Defaults are written here again for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Options = Mapping[str, Any]
Numbers = dict[str, float]
# update(w, g, slots of this number, t from 1, rate, options) -> w; the slots are changed
Update = Callable[[float, float, Numbers, int, float, Options], float]


def sgd(w: float, g: float, s: Numbers, t: int, rate: float, o: Options) -> float:
    if not o["momentum"]:
        return w - rate * g
    s["momentum"] = o["momentum"] * s["momentum"] - rate * g
    return w + (o["momentum"] * s["momentum"] - rate * g if o["nesterov"] else s["momentum"])


def _moments(g: float, s: Numbers, o: Options) -> None:
    s["momentum"] = o["beta_1"] * s["momentum"] + (1 - o["beta_1"]) * g
    s["velocity"] = o["beta_2"] * s["velocity"] + (1 - o["beta_2"]) * g**2


def adam(w: float, g: float, s: Numbers, t: int, rate: float, o: Options) -> float:
    _moments(g, s, o)
    v = s["velocity"]
    if o["amsgrad"]:
        v = s["velocity_hat"] = max(s["velocity_hat"], v)
    corrected = rate * math.sqrt(1 - o["beta_2"] ** t) / (1 - o["beta_1"] ** t)
    return w - corrected * s["momentum"] / (math.sqrt(v) + o["epsilon"])


def rmsprop(w: float, g: float, s: Numbers, t: int, rate: float, o: Options) -> float:
    s["velocity"] = o["rho"] * s["velocity"] + (1 - o["rho"]) * g**2
    variance = s["velocity"]
    if o["centered"]:
        s["average_gradient"] = o["rho"] * s["average_gradient"] + (1 - o["rho"]) * g
        variance -= s["average_gradient"] ** 2
    step = rate * g / math.sqrt(variance + o["epsilon"])
    if o["momentum"]:
        step = s["momentum"] = o["momentum"] * s["momentum"] + step
    return w - step


def adagrad(w: float, g: float, s: Numbers, t: int, rate: float, o: Options) -> float:
    s["accumulator"] += g**2
    return w - rate * g / math.sqrt(s["accumulator"] + o["epsilon"])


def adadelta(w: float, g: float, s: Numbers, t: int, rate: float, o: Options) -> float:
    s["accumulated_grad"] = o["rho"] * s["accumulated_grad"] + (1 - o["rho"]) * g**2
    root = math.sqrt((s["accumulated_delta_var"] + o["epsilon"]) / (s["accumulated_grad"] + o["epsilon"]))
    s["accumulated_delta_var"] = o["rho"] * s["accumulated_delta_var"] + (1 - o["rho"]) * (root * g) ** 2
    return w - rate * root * g


def adamax(w: float, g: float, s: Numbers, t: int, rate: float, o: Options) -> float:
    s["momentum"] = o["beta_1"] * s["momentum"] + (1 - o["beta_1"]) * g
    s["norm"] = max(o["beta_2"] * s["norm"], abs(g))
    return w - rate / (1 - o["beta_1"] ** t) * s["momentum"] / (s["norm"] + o["epsilon"])


def nadam(w: float, g: float, s: Numbers, t: int, rate: float, o: Options) -> float:
    def schedule(k: int) -> float:
        return float(o["beta_1"] * (1 - 0.5 * 0.96**k))

    _moments(g, s, o)
    so_far = math.prod(schedule(k) for k in range(1, t + 1))
    ahead = schedule(t + 1) * s["momentum"] / (1 - so_far * schedule(t + 1))
    now = (1 - schedule(t)) * g / (1 - so_far)
    return w - rate * (ahead + now) / (math.sqrt(s["velocity"] / (1 - o["beta_2"] ** t)) + o["epsilon"])


_ADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
# Name -> its update, its defaults.
RULES: Mapping[str, tuple[Update, Options]] = MappingProxyType(
    {
        "SGD": (sgd, {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
        "Adam": (adam, {**_ADAM, "amsgrad": False}),
        "AdamW": (adam, {**_ADAM, "amsgrad": False, "weight_decay": 0.004}),
        "RMSprop": (
            rmsprop,
            {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
        ),
        "Adagrad": (adagrad, {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7}),
        "Adadelta": (adadelta, {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7}),
        "Adamax": (adamax, _ADAM),
        "Nadam": (nadam, _ADAM),
    }
)


def slots(kind: str, options: Options) -> Numbers:
    """The slots and where they start."""
    found = {
        "SGD": {"momentum": bool(options.get("momentum"))},
        "Adam": {"momentum": True, "velocity": True, "velocity_hat": bool(options.get("amsgrad"))},
        "RMSprop": {
            "velocity": True,
            "momentum": bool(options.get("momentum")),
            "average_gradient": bool(options.get("centered")),
        },
        "Adagrad": {"accumulator": True},
        "Adadelta": {"accumulated_grad": True, "accumulated_delta_var": True},
        "Adamax": {"momentum": True, "norm": True},
        "Nadam": {"momentum": True, "velocity": True},
    }[kind.removesuffix("W")]
    start = options.get("initial_accumulator_value", 0.0)
    common = {"average": options.get("use_ema"), "gradient_accumulator": options.get("gradient_accumulation_steps")}
    return {**{n: 0.0 for n, used in common.items() if used}, **{n: start for n, used in found.items() if used}}


def rate(learning_rate: Any, step: int) -> float:
    """The learning rate of a step, which counts from 0; of a number, or of a schedule's config."""
    if not isinstance(learning_rate, Mapping):
        return float(learning_rate)
    return SCHEDULES[learning_rate["class_name"]](step, learning_rate["config"])


def _periods(step: int, o: Options) -> float:
    periods = step / o["decay_steps"]
    return math.floor(periods) if o.get("staircase") else periods


def _polynomial(step: int, o: Options) -> float:
    length, end = o["decay_steps"], o.get("end_learning_rate", 0.0001)
    if o.get("cycle"):
        length *= max(1, math.ceil(step / length))
    left: float = (1 - min(step, length) / length) ** o.get("power", 1.0)
    return float(end + (o["initial_learning_rate"] - end) * left)


def _cosine(step: int, o: Options) -> float:
    start, warm, top = o["initial_learning_rate"], o.get("warmup_steps", 0), o.get("warmup_target")
    if top is None:
        top, warm = start, 0
    if step < warm:
        return float(start + (top - start) * step / warm)
    done, alpha = min(1, (step - warm) / o["decay_steps"]), o.get("alpha", 0.0)
    return float(top * (alpha + (1 - alpha) * (1 + math.cos(math.pi * done)) / 2))


SCHEDULES: Mapping[str, Callable[[int, Options], float]] = MappingProxyType(
    {
        "ExponentialDecay": lambda step, o: o["initial_learning_rate"] * o["decay_rate"] ** _periods(step, o),
        "InverseTimeDecay": lambda step, o: o["initial_learning_rate"] / (1 + o["decay_rate"] * _periods(step, o)),
        "PolynomialDecay": _polynomial,
        "PiecewiseConstantDecay": lambda step, o: o["values"][sum(step > bound for bound in o["boundaries"])],
        "CosineDecay": _cosine,
    }
)


class Descent:
    """The steps of an optimizer on weights by name."""

    def __init__(self, kind: str, options: Options, weights: Mapping[str, Array]) -> None:
        self.update, defaults = RULES[kind]
        self.options = {**defaults, **options}
        self.weights = {name: np.array(array, np.float64) for name, array in weights.items()}
        start = slots(kind, self.options)
        self.slots = {n: {s: np.full(w.shape, v) for s, v in start.items()} for n, w in self.weights.items()}
        self.taken = 0

    def step(self, gradients: Mapping[str, Array]) -> None:
        """One step of all weights."""
        o, step = self.options, self.taken
        self.taken += 1
        every = o.get("gradient_accumulation_steps") or 1
        found = {name: np.array(g, np.float64) / (o.get("loss_scale_factor") or 1) for name, g in gradients.items()}
        if every > 1:
            for name, g in found.items():
                self.slots[name]["gradient_accumulator"] += g
            found = {name: self.slots[name]["gradient_accumulator"] / every for name in found}
        if (step + 1) % every == 0:
            self._move(found, step // every + 1, rate(o["learning_rate"], step))
            for name in found if every > 1 else ():
                self.slots[name]["gradient_accumulator"][...] = 0
        if o.get("use_ema"):
            self._average(step // every)

    def _move(self, gradients: Mapping[str, Array], t: int, rate: float) -> None:
        o = self.options
        for name, g in self._clipped(gradients).items():
            w, slots = self.weights[name], self.slots[name]
            for at in np.ndindex(w.shape):
                number = float(w[at])
                if o.get("weight_decay") and not any(word in name for word in o.get("exclude_from_weight_decay", ())):
                    number -= number * o["weight_decay"] * rate
                own = {slot: float(array[at]) for slot, array in slots.items()}
                w[at] = self.update(number, float(g[at]), own, t, rate, o)
                for slot, value in own.items():
                    slots[slot][at] = value

    def _clipped(self, gradients: Mapping[str, Array]) -> dict[str, Array]:
        o = self.options
        norms = {name: math.sqrt(math.fsum(float(n) ** 2 for n in g.flat)) for name, g in gradients.items()}
        if limit := o.get("clipnorm"):
            return {name: g * min(1, limit / (norms[name] or limit)) for name, g in gradients.items()}
        if limit := o.get("global_clipnorm"):
            whole = math.hypot(*norms.values())
            return {name: g * min(1, limit / (whole or limit)) for name, g in gradients.items()}
        if limit := o.get("clipvalue"):
            return {
                name: np.array([min(max(n, -limit), limit) for n in g.flat]).reshape(g.shape)
                for name, g in gradients.items()
            }
        return dict(gradients)

    def _average(self, before: int) -> None:
        """The moving average; ``before`` is how many updates there were before this one."""
        o = self.options
        share = o.get("ema_momentum", 0.99) if before else 0.0
        often = o.get("ema_overwrite_frequency")
        for name, w in self.weights.items():
            average = self.slots[name]["average"]
            average[...] = share * average + (1 - share) * w
            if often and (before + 1) % often == 0:
                w[...] = average
