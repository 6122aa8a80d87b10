"""An LSTM whose output is projected: PyTorch's ``nn.LSTM(proj_size=...)``. Keras has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmcore.errors import SpecError
from lstmcore.initializers import UnitForgetBias
from lstmcore.layers import options
from lstmcore.layers.cells import Cell, Weight
from lstmcore.layers.expressions import CellOps, Expr
from lstmcore.layers.options import option


class ProjectedLSTMCell(Cell):
    """One step of an LSTM with a projection; its states are h, (batch, projection), and c, (batch, units)::

        i, f, g, o = x @ kernel + h @ recurrent_kernel + bias
        c = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
        h = (σ(o) ⊙ tanh(c)) @ projection_kernel

    kernel (features, 4 units), recurrent_kernel (projection, 4 units), projection_kernel (units, projection), with
    projection < units. Sak, Senior & Beaufays 2014, without peepholes; PyTorch 2.13, measured.
    """

    units: int = option(options.POSITIVE)
    projection: int = option(options.POSITIVE)
    use_bias: bool = option(options.FLAG, default=True)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    recurrent_initializer: Any = option(options.INITIALIZER, default="orthogonal")
    projection_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")

    def check(self) -> None:
        if self.projection >= self.units:
            raise SpecError(f"{self.called()}: projection is {self.projection}; expected fewer than {self.units} units")

    @property
    def state_size(self) -> list[int]:
        return [self.projection, self.units]

    def declare(self, features: int) -> Mapping[str, Weight]:
        gates = 4 * self.units
        weights = {
            "kernel": Weight((features, gates), self.kernel_initializer),
            "recurrent_kernel": Weight((self.projection, gates), self.recurrent_initializer),
            "projection_kernel": Weight((self.units, self.projection), self.projection_initializer),
        }
        return weights | ({"bias": Weight((gates,), UnitForgetBias(self.bias_initializer))} if self.use_bias else {})

    def step(self, ops: CellOps, inputs: Expr, states: list[Expr], w: Mapping[str, Expr]) -> tuple[Expr, list[Expr]]:
        h, c = states
        z = inputs @ w["kernel"] + h @ w["recurrent_kernel"]
        i, f, g, o = ops.split(z + w["bias"] if self.use_bias else z, 4)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = (ops.sigmoid(o) * ops.tanh(c)) @ w["projection_kernel"]
        return h, [h, c]
