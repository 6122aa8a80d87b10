"""A cell of a user's own, for cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstmcore.layers import Cell, Weight


class CoupledCell(Cell):
    """``f = σ(x W_f + h U_f + p ⊙ m); m' = f ⊙ m + (1 - f) ⊙ tanh(x W_g + h U_g); h' = m' ⊙ σ(m') - h / 4``.

    States h and m, which differ in size from x; W (features, 2 units), U (units, 2 units), p (units,).
    """

    units: int

    @property
    def state_size(self) -> list[int]:
        return [self.units, self.units]

    def declare(self, features: int) -> dict[str, Weight]:
        return {
            "kernel": Weight((features, 2 * self.units)),
            "recurrent_kernel": Weight((self.units, 2 * self.units), "orthogonal"),
            "peephole": Weight((self.units,)),
        }

    def step(self, ops: Any, inputs: Any, states: Sequence[Any], w: Mapping[str, Any]) -> Any:
        h, m = states
        f, g = ops.split(inputs @ w["kernel"] + h @ w["recurrent_kernel"], 2)
        f = ops.sigmoid(f + w["peephole"] * m)
        m = f * m + (1 - f) * ops.tanh(g)
        h = m * ops.sigmoid(m) - h / 4
        return h, [h, m]
