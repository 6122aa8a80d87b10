"""The optimisers: Keras 3.15's names, arguments, defaults and formulas, in Keras' order of operations.

w is a weight, g its gradient, lr the learning rate, t counts the updates from 1. Whatever depends on t is
computed in float64; Keras computes it in the weights' dtype, where in float32 1 - beta_2^t is off by 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate

from lstmcore.optimizers.base import RATE, Optimizer, Scalars, Schedule
from lstmcore.optimizers.checks import BELOW_ONE, FLAG, NOT_NEGATIVE, UP_TO_ONE, checked
from lstmcore.optimizers.maths import Maths, Tensor

Updated = tuple[Tensor, dict[str, Tensor]]
OwnSlots = Mapping[str, Tensor]


@dataclass
class SGD(Optimizer):
    """Gradient descent: w -= g lr.

    With momentum: m = m momentum - g lr; w += m, or with `nesterov` w += m momentum - g lr.
    """

    learning_rate: float | Schedule = field(default=0.01, metadata={"kind": RATE})
    momentum: float = checked(UP_TO_ONE, 0.0)
    nesterov: bool = checked(FLAG, False)

    def own_slots(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        return {"momentum": self.momentum}

    def update(self, maths: Maths, weight: Tensor, gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> Updated:
        moved = gradient * scalars["learning_rate"]
        if not self.momentum:
            return weight - moved, {}
        m = slots["momentum"] * scalars["momentum"] - moved
        return weight + (m * scalars["momentum"] - moved if self.nesterov else m), {"momentum": m}


@dataclass
class Adam(Optimizer):
    """Adam (Kingma and Ba 2014), with the epsilon that the paper calls ε̂.

    m += (g - m)(1 - beta_1); v += (g² - v)(1 - beta_2); w -= m α / (√v + epsilon), where
    α = lr √(1 - beta_2^t) / (1 - beta_1^t). With `amsgrad`, the largest v so far stands for v.
    """

    beta_1: float = checked(BELOW_ONE, 0.9)
    beta_2: float = checked(BELOW_ONE, 0.999)
    epsilon: float = checked(NOT_NEGATIVE, 1e-7)
    amsgrad: bool = checked(FLAG, False)

    def own_slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0, **({"velocity_hat": 0.0} if self.amsgrad else {})}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        return {
            "alpha": rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t),
            "1 - beta_1": 1 - self.beta_1,
            "1 - beta_2": 1 - self.beta_2,
            "epsilon": self.epsilon,
        }

    def update(self, maths: Maths, weight: Tensor, gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> Updated:
        state = _moments(gradient, slots, scalars)
        v = state["velocity"]
        if self.amsgrad:
            v = state["velocity_hat"] = maths.maximum(slots["velocity_hat"], v)
        step = state["momentum"] * scalars["alpha"] / (maths.sqrt(v) + scalars["epsilon"])
        return weight - step, state


@dataclass
class AdamW(Adam):
    """`Adam` whose weights decay (Loshchilov and Hutter 2019)."""

    weight_decay: float | None = checked(NOT_NEGATIVE, 0.004)


@dataclass
class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g²; s = lr g / √(v + epsilon); w -= s.

    With `centered`: a = rho a + (1 - rho) g, and v - a² stands for v in s. With momentum:
    m = momentum m + s; w -= m.
    """

    rho: float = checked(BELOW_ONE, 0.9)
    momentum: float = checked(UP_TO_ONE, 0.0)
    epsilon: float = checked(NOT_NEGATIVE, 1e-7)
    centered: bool = checked(FLAG, False)

    def own_slots(self) -> dict[str, float]:
        used = {"velocity": True, "momentum": self.momentum > 0, "average_gradient": self.centered}
        return {name: 0.0 for name, is_used in used.items() if is_used}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        return {"rho": self.rho, "1 - rho": 1 - self.rho, "momentum": self.momentum, "epsilon": self.epsilon}

    def update(self, maths: Maths, weight: Tensor, gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> Updated:
        variance = v = _mixed(slots["velocity"], gradient * gradient, scalars)
        state = {"velocity": v}
        if self.centered:
            a = state["average_gradient"] = _mixed(slots["average_gradient"], gradient, scalars)
            variance = v - a * a
        step = scalars["learning_rate"] * gradient / maths.sqrt(variance + scalars["epsilon"])
        if self.momentum > 0:
            step = state["momentum"] = scalars["momentum"] * slots["momentum"] + step
        return weight - step, state


@dataclass
class Adagrad(Optimizer):
    """a += g²; w -= lr g / √(a + epsilon); a starts at `initial_accumulator_value` (Duchi et al. 2011)."""

    initial_accumulator_value: float = checked(NOT_NEGATIVE, 0.1)
    epsilon: float = checked(NOT_NEGATIVE, 1e-7)

    def own_slots(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        return {"epsilon": self.epsilon}

    def update(self, maths: Maths, weight: Tensor, gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> Updated:
        a = slots["accumulator"] + gradient * gradient
        step = scalars["learning_rate"] * gradient / maths.sqrt(a + scalars["epsilon"])
        return weight - step, {"accumulator": a}


@dataclass
class Adadelta(Optimizer):
    """a = rho a + (1 - rho) g²; d = -√(b + epsilon) g / √(a + epsilon); b = rho b + (1 - rho) d²; w += lr d.

    Zeiler 2012. Keras' learning rate is 0.001; the paper's is 1.
    """

    rho: float = checked(BELOW_ONE, 0.95)
    epsilon: float = checked(NOT_NEGATIVE, 1e-7)

    def own_slots(self) -> dict[str, float]:
        return {"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        return {"rho": self.rho, "1 - rho": 1 - self.rho, "epsilon": self.epsilon}

    def update(self, maths: Maths, weight: Tensor, gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> Updated:
        epsilon, b = scalars["epsilon"], slots["accumulated_delta_var"]
        a = _mixed(slots["accumulated_grad"], gradient * gradient, scalars)
        d = -(maths.sqrt(b + epsilon) * gradient / maths.sqrt(a + epsilon))
        state = {"accumulated_grad": a, "accumulated_delta_var": _mixed(b, d * d, scalars)}
        return weight + scalars["learning_rate"] * d, state


@dataclass
class Adamax(Optimizer):
    """m += (g - m)(1 - beta_1); u = max(beta_2 u, |g|); w -= lr m / ((1 - beta_1^t)(u + epsilon)).

    Kingma and Ba 2014, section 7.1.
    """

    beta_1: float = checked(BELOW_ONE, 0.9)
    beta_2: float = checked(BELOW_ONE, 0.999)
    epsilon: float = checked(NOT_NEGATIVE, 1e-7)

    def own_slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "norm": 0.0}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        return {
            "1 - beta_1": 1 - self.beta_1,
            "1 - beta_1^t": 1 - self.beta_1**t,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }

    def update(self, maths: Maths, weight: Tensor, gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> Updated:
        m = slots["momentum"] + (gradient - slots["momentum"]) * scalars["1 - beta_1"]
        u = maths.maximum(scalars["beta_2"] * slots["norm"], maths.absolute(gradient))
        step = scalars["learning_rate"] * m / (scalars["1 - beta_1^t"] * (u + scalars["epsilon"]))
        return weight - step, {"momentum": m, "norm": u}


@dataclass
class Nadam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2015).

    With u_t = beta_1 (1 - 0.96^t / 2) and U_t = u_1 u_2 ... u_t:
    m += (g - m)(1 - beta_1); v += (g² - v)(1 - beta_2);
    n = u_{t+1} m / (1 - U_{t+1}) + (1 - u_t) g / (1 - U_t); w -= n lr / (√(v / (1 - beta_2^t)) + epsilon).
    """

    beta_1: float = checked(BELOW_ONE, 0.9)
    beta_2: float = checked(BELOW_ONE, 0.999)
    epsilon: float = checked(NOT_NEGATIVE, 1e-7)

    def own_slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        return {
            "1 - beta_1": 1 - self.beta_1,
            "1 - beta_2": 1 - self.beta_2,
            "1 - beta_2^t": 1 - self.beta_2**t,
            "1 - u": 1 - self.beta_1 * (1 - 0.5 * 0.96**t),
            "next u": self.beta_1 * (1 - 0.5 * 0.96 ** (t + 1)),
            "1 - U": 1 - self.beta_1**t * _warm(t),
            "1 - next U": 1 - self.beta_1 ** (t + 1) * _warm(t + 1),
            "epsilon": self.epsilon,
        }

    def update(self, maths: Maths, weight: Tensor, gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> Updated:
        state = _moments(gradient, slots, scalars)
        ahead = scalars["next u"] * state["momentum"] / scalars["1 - next U"]
        n = ahead + scalars["1 - u"] * gradient / scalars["1 - U"]
        v = state["velocity"] / scalars["1 - beta_2^t"]
        return weight - n * scalars["learning_rate"] / (maths.sqrt(v) + scalars["epsilon"]), state


def _moments(gradient: Tensor, slots: OwnSlots, scalars: Scalars) -> dict[str, Tensor]:
    """Adam's moving averages of the gradient and of its square."""
    m, v = slots["momentum"], slots["velocity"]
    return {
        "momentum": m + (gradient - m) * scalars["1 - beta_1"],
        "velocity": v + (gradient * gradient - v) * scalars["1 - beta_2"],
    }


def _mixed(old: Tensor, new: Tensor, scalars: Scalars) -> Tensor:
    return scalars["rho"] * old + scalars["1 - rho"] * new


def _warm(t: int) -> float:
    """The product of 1 - 0.96^i / 2 over i = 1 ... t."""
    products = _warm_products()
    return products[min(t, len(products) - 1)]


@cache
def _warm_products() -> tuple[float, ...]:
    # from i = 901 on the factors are 1 in float64
    return tuple(accumulate((1 - 0.5 * 0.96**i for i in range(1, 1000)), lambda x, y: x * y, initial=1.0))
