"""One step of ONNX's recurrent nodes in canonical ops, for what the fused ops do not say; and their functions.

ONNX 1.23, docs/Operators.md: ``clip`` bounds what every activation is given (ONNX Runtime 1.31 does not bound the
cell before the last one: onnxruntime#27224); ``input_forget`` couples f = 1 - i; the
peepholes of i and f look at the cell before the step, that of o at the cell after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lstmcore import activations, layouts, ops
from lstmcore.activations import Function
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers.elements import hard_name
from lstmcore.interop.onnx.values import Array
from lstmcore.program import Builder, Program, Value

MOST_POSITIONS = 1 << 12  # that are held as numbers; of more they are counted as the model runs


@dataclass(frozen=True)
class Activation:
    """A function of a recurrent node: one of ours, or its formula."""

    function: Function | None
    write: Callable[[_Maths, Value], Value]


@dataclass(frozen=True)
class _Maths:
    """Formulas in a body."""

    build: Builder
    clip: float | None = None

    def op(self, op: ops.Op, *inputs: Value, weights: Mapping[str, str] | None = None) -> Value:
        return self.build.op(op, *inputs, weights=weights)[0]

    def two(self, function: str, a: Value, b: Value | float) -> Value:
        other = self.op(ops.Constant((float(b),), ()), a) if isinstance(b, (int, float)) else b
        return self.op(ops.Binary(function), a, other)

    def between(self, x: Value, low: float, high: float) -> Value:
        return self.two("minimum", self.two("maximum", x, low), high)

    def activate(self, activation: Activation, x: Value) -> Value:
        if self.clip is not None:
            x = self.between(x, -self.clip, self.clip)
        return activation.write(self, x)


def _ours(function: Function) -> Activation:
    return Activation(function, lambda m, x: m.op(ops.Activate(function), x))


def _hard(alpha: float, beta: float) -> Activation:
    name = hard_name(alpha, beta)
    if name is not None:
        return _ours(Function(name))
    return Activation(None, lambda m, x: m.between(m.two("add", m.two("multiply", x, alpha), beta), 0.0, 1.0))


def _affine(alpha: float, beta: float) -> Activation:
    if (alpha, beta) == (1, 0):
        return _ours(Function("linear"))
    return Activation(None, lambda m, x: m.two("add", m.two("multiply", x, alpha), beta))


def _scaled_tanh(alpha: float, beta: float) -> Activation:
    def write(m: _Maths, x: Value) -> Value:
        return m.two("multiply", m.op(ops.Activate(Function("tanh")), m.two("multiply", x, beta)), alpha)

    return Activation(None, write)


# name -> the defaults of the numbers that it takes, and what it is with them
_FUNCTIONS: Mapping[str, tuple[tuple[float, ...], Callable[..., Activation]]] = MappingProxyType(
    {
        "relu": ((), lambda: _ours(Function("relu"))),
        "tanh": ((), lambda: _ours(Function("tanh"))),
        "sigmoid": ((), lambda: _ours(Function("sigmoid"))),
        "softsign": ((), lambda: _ours(Function("softsign"))),
        "softplus": ((), lambda: _ours(Function("softplus"))),
        "leakyrelu": ((0.01,), lambda a: _ours(activations.function("leaky_relu", negative_slope=a))),
        "thresholdedrelu": ((1.0,), lambda a: _ours(activations.function("relu", threshold=a))),
        "elu": ((1.0,), lambda a: _ours(activations.function("elu", alpha=a))),
        "hardsigmoid": ((0.2, 0.5), _hard),
        "affine": ((1.0, 0.0), _affine),
        "scaledtanh": ((1.0, 1.0), _scaled_tanh),
    }
)


def activation(name: str, alphas: list[float], betas: list[float]) -> Activation:
    """The function of that name, which takes its numbers from the lists, in order."""
    if name.lower() not in _FUNCTIONS:
        raise SpecError(f"activation {name!r} is not known")
    defaults, make = _FUNCTIONS[name.lower()]
    numbers = [
        float(given.pop(0)) if given else default for default, given in zip(defaults, (alphas, betas), strict=False)
    ]
    return make(*numbers)


def positions(r: Reader, x: Value) -> Value:
    """0, 1, 2, ... for the steps of x (batch, time, features): (time,), or (batch, time) where time is open."""
    time = x.shape[1]
    if time is not None and time <= MOST_POSITIONS:
        return r.op(ops.Constant(tuple(float(t) for t in range(time)), (time,)), x)
    build = Builder()
    build.input("x", (None, *x.shape[2:]))
    count = build.input("count", (None, 1))
    m = _Maths(build)
    program = build.finish([m.op(ops.Activate(Function("linear")), count).name, m.two("add", count, 1.0).name])
    zero = r.op(ops.Zeros((1,)), x)
    (y, _) = r.build.op(ops.Scan(program), x, zero, name=f"{r._safe(r._name)}/positions", weights={})
    return r.op(ops.Reshape((-1,)), y)


def over_time(
    r: Reader,
    call: Call,
    units: int,
    own: Mapping[str, Array],
    names: Mapping[str, str],
    chosen: list[Activation],
    x: Value,
    states: list[Value],
    mask: Value | None,
    suffix: str,
) -> tuple[Value, ...]:
    """The node as a cell over time: y (batch, time, units), and the final states."""
    clip = float(call.number("clip", 0.0)) or None
    step = _Step(_Maths(Builder(), clip), call, units, own, chosen)
    body = step.program(x.shape[2:])
    arrays = step.arrays
    paths = {
        port: r.weight(f"{names[_port(port)]}/{port}" if names[_port(port)] else "", arrays[port])
        for port in body.weights
    }
    op = ops.Scan(body, zero_output_for_mask=mask is not None)
    return r.build.op(op, x, *states, mask, name=f"{r._safe(call.name)}{suffix}", weights=paths)


def _port(name: str) -> str:
    """Which of the node's weights a weight of the body comes from."""
    if name.startswith("peephole"):
        return "peephole"
    return "bias" if "bias" in name else "kernel" if name == "kernel" else "recurrent_kernel"


class _Step:
    """One step, written once into a body; ``arrays`` are its weights."""

    def __init__(self, m: _Maths, call: Call, units: int, own: Mapping[str, Array], chosen: list[Activation]) -> None:
        self.m, self.call, self.units, self.chosen = m, call, units, chosen
        fused = {
            "LSTM": ops.Lstm(units),
            "GRU": ops.Gru(units, reset_after=bool(call.number("linear_before_reset", 0))),
            "RNN": ops.SimpleRnn(units),
        }[call.kind]
        self.arrays = {
            port: layouts.from_foreign("onnx", fused, port, array) for port, array in own.items() if port != "peephole"
        }
        if call.kind == "GRU" and "bias" in self.arrays and self.arrays["bias"].ndim == 2:
            self.arrays["bias"], self.arrays["recurrent_bias"] = self.arrays["bias"]
        if "peephole" in own:
            for gate, part in zip("iof", np.split(own["peephole"][0], 3), strict=True):
                self.arrays[f"peephole_{gate}"] = part

    def program(self, features: tuple[int | None, ...]) -> Program:
        build = self.m.build
        x = build.input("x", (None, *features))
        names = ("h", "c") if self.call.kind == "LSTM" else ("h",)
        states = [build.input(name, (None, self.units)) for name in names]
        steps: dict[str, Callable[..., list[Value]]] = {"LSTM": self.lstm, "GRU": self.gru, "RNN": self.rnn}
        after = steps[self.call.kind](x, *states)
        y = self.m.op(ops.Activate(Function("linear")), after[0])
        return build.finish([y.name, *(state.name for state in after)])

    def affine(self, x: Value, kernel: str, bias: str) -> Value:
        paths = {"kernel": kernel, **({"bias": bias} if bias in self.arrays else {})}
        return self.m.op(ops.Affine(self.arrays[kernel].shape[1], bias in self.arrays), x, weights=paths)

    def gates(self, z: Value, count: int) -> list[Value]:
        return [self.m.op(ops.Slice(1, k * self.units, (k + 1) * self.units), z) for k in range(count)]

    def peeped(self, z: Value, gate: str, c: Value) -> Value:
        name = f"peephole_{gate}"
        if name not in self.arrays:
            return z
        weight = self.m.op(ops.Parameter((self.units,)), weights={"value": name})
        return self.m.two("add", z, self.m.two("multiply", weight, c))

    def lstm(self, x: Value, h: Value, c: Value) -> list[Value]:
        m = self.m
        z = m.two("add", self.affine(x, "kernel", "bias"), self.affine(h, "recurrent_kernel", ""))
        i, f, g, o = self.gates(z, 4)
        i = m.activate(self.chosen[0], self.peeped(i, "i", c))
        if self.call.number("input_forget", 0):
            f = m.two("add", m.op(ops.Unary("negative"), i), 1.0)
        else:
            f = m.activate(self.chosen[0], self.peeped(f, "f", c))
        c = m.two("add", m.two("multiply", f, c), m.two("multiply", i, m.activate(self.chosen[1], g)))
        o = m.activate(self.chosen[0], self.peeped(o, "o", c))
        return [m.two("multiply", o, m.activate(self.chosen[2], c)), c]

    def gru(self, x: Value, h: Value) -> list[Value]:
        m, after = self.m, bool(self.call.number("linear_before_reset", 0))
        of_x = self.gates(self.affine(x, "kernel", "bias"), 3)
        if not after:
            kernel = self.arrays.pop("recurrent_kernel")
            self.arrays["recurrent_kernel"] = np.ascontiguousarray(kernel[:, : 2 * self.units])
            self.arrays["candidate_kernel"] = np.ascontiguousarray(kernel[:, 2 * self.units :])
        of_h = self.gates(self.affine(h, "recurrent_kernel", "recurrent_bias"), 3 if after else 2)
        z, r = (m.activate(self.chosen[0], m.two("add", of_x[k], of_h[k])) for k in (0, 1))
        inner = m.two("multiply", r, of_h[2]) if after else self.affine(m.two("multiply", r, h), "candidate_kernel", "")
        g = m.activate(self.chosen[1], m.two("add", of_x[2], inner))
        rest = m.two("add", m.op(ops.Unary("negative"), z), 1.0)
        return [m.two("add", m.two("multiply", z, h), m.two("multiply", rest, g))]

    def rnn(self, x: Value, h: Value) -> list[Value]:
        z = self.m.two("add", self.affine(x, "kernel", "bias"), self.affine(h, "recurrent_kernel", ""))
        return [self.m.activate(self.chosen[0], z)]
