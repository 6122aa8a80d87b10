"""The recurrent ops with fused gates: Lstm, Gru, SimpleRnn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, cast

from lstmcore.activations import Function
from lstmcore.errors import SpecError
from lstmcore.ops.base import Op, Tensor, checked, known_length, may_equal, one_batch


def check_mask(op: Op, mask: Tensor | None, x: Tensor) -> None:
    """A mask, where there is one, is bool (B, T)."""
    if mask is not None:
        checked(op, "mask", mask, "batch, time", "bool")
        if not may_equal(mask.shape[1], x.shape[1]):
            raise SpecError(f"{type(op).__name__}: mask has shape {mask.shape}; the input has {x.shape[1]} steps")


@dataclass(frozen=True)
class Recurrent(Op, abstract=True):
    """Base of the recurrent ops: x (B, T, I), a state (B, U) for each of ``states``, mask bool (B, T).

    The output y (B, T, U) holds h_1 ... h_T; the outputs after it are the states after the last step.
    **Masked step** (mask False): the states keep their values and y_t repeats y_{t-1}; before the first
    step y is ``previous`` (B, U), zeros where absent. With ``zero_output_for_mask`` y_t is zero at every
    masked step, and ``previous`` has no influence, as without a mask. (Keras 3.15 on TensorFlow and
    PyTorch, measured.)
    """

    units: int
    activation: Function = Function("tanh")
    use_bias: bool = True
    zero_output_for_mask: bool = False
    gates: ClassVar[str] = ""
    states: ClassVar[tuple[str, ...]] = ("h",)
    optional: ClassVar[tuple[str, ...]] = ("mask", "previous")

    def __init_subclass__(cls, abstract: bool = False) -> None:
        super().__init_subclass__(abstract)
        cls.inputs = ("x", *cls.states)
        cls.outputs = ("y", *cls.states)

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        x = checked(self, "x", inputs[0], "batch, time, features")
        features = known_length(self, "x", x.shape)
        return {"input": features, "state": self.units, "unit": self.units, "gate": len(self.gates)}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        self.sizes(*inputs)
        x = cast(Tensor, inputs[0])
        given = dict(zip((*self.inputs, *self.optional), inputs, strict=False))
        for port in (*self.states, "previous"):
            state = given.get(port)
            if port == "previous" and state is None:
                continue
            if (shape := checked(self, port, state, "batch, units").shape)[1] != self.units:
                raise SpecError(
                    f"{type(self).__name__}: state {port!r} has shape {shape}; expected (batch, {self.units})"
                )
        check_mask(self, given.get("mask"), x)
        one_batch(self, *inputs)
        for f in fields(self):
            function = getattr(self, f.name)
            if isinstance(function, Function) and function.name == "glu":
                raise SpecError(f"{type(self).__name__}: {f.name}='glu' would halve the units; it cannot be used here")
            axis = function.parameters.get("axis") if isinstance(function, Function) else None
            if axis not in (None, 1, -1):
                raise SpecError(f"{type(self).__name__}: {f.name}={function}: axis {axis} is not that of the units, -1")
        state = Tensor((x.shape[0], self.units))
        return (Tensor((*x.shape[:2], self.units)), *(state for _ in self.states))


@dataclass(frozen=True)
class Lstm(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, Gers et al. 2000).

    ::

        z = x_t @ kernel + h_{t-1} @ recurrent_kernel + bias          gates i, f, c, o side by side
        i = φr(z_i)   f = φr(z_f)   g = φ(z_c)   o = φr(z_o)
        c_t = f ⊙ c_{t-1} + i ⊙ g
        h_t = o ⊙ φ(c_t)

    with φ = activation, φr = recurrent_activation; kernel (I, 4U), recurrent_kernel (U, 4U), bias (4U,).
    """

    recurrent_activation: Function = Function("sigmoid")
    gates: ClassVar[str] = "ifco"
    states: ClassVar[tuple[str, ...]] = ("h", "c")
    weights: ClassVar[Mapping[str, str]] = {
        "kernel": "input (gate unit)",
        "recurrent_kernel": "state (gate unit)",
        "bias": "(gate unit)",
    }


@dataclass(frozen=True)
class Gru(Recurrent):
    """Gated recurrent unit (Cho et al. 2014), gates z (update), r (reset), h (candidate) side by side.

    ::

        z = φr(x_t W_z + b_z + h_{t-1} U_z + d_z)
        r = φr(x_t W_r + b_r + h_{t-1} U_r + d_r)
        reset_after:  g = φ(x_t W_h + b_h + r ⊙ (h_{t-1} U_h + d_h))
        otherwise:    g = φ(x_t W_h + b_h + (r ⊙ h_{t-1}) U_h)
        h_t = z ⊙ h_{t-1} + (1 - z) ⊙ g

    kernel W (I, 3U), recurrent_kernel U (U, 3U); bias (2, 3U) = rows b, d with ``reset_after``,
    else (3U,) = b alone (d = 0).
    """

    recurrent_activation: Function = Function("sigmoid")
    reset_after: bool = True
    gates: ClassVar[str] = "zrh"
    weights: ClassVar[Mapping[str, str]] = {
        "kernel": "input (gate unit)",
        "recurrent_kernel": "state (gate unit)",
        "bias": "part (gate unit)",
    }

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        return {**super().sizes(*inputs), "part": 2}

    def inventory(self, *inputs: Tensor | None) -> dict[str, tuple[int, ...]]:
        shapes = super().inventory(*inputs)
        if self.use_bias and not self.reset_after:
            shapes["bias"] = shapes["bias"][1:]
        return shapes


@dataclass(frozen=True)
class SimpleRnn(Recurrent):
    """The plain recurrence (Elman 1990): ``h_t = φ(x_t @ kernel + h_{t-1} @ recurrent_kernel + bias)``.

    kernel (I, U), recurrent_kernel (U, U), bias (U,).
    """

    gates: ClassVar[str] = "h"
    weights: ClassVar[Mapping[str, str]] = {
        "kernel": "input unit",
        "recurrent_kernel": "state unit",
        "bias": "unit",
    }
