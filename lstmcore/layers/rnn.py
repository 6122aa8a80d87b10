"""RNN: any cell over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.cells import Cell, StackedRNNCells, adopt_dtype
from lstmcore.layers.module import Module
from lstmcore.layers.options import Option, option, spec
from lstmcore.layers.recurrent import SequenceLayer
from lstmcore.layers.scanning import over_time
from lstmcore.program import Builder, Value


def _cell(value: Any) -> Module:
    return StackedRNNCells(value) if isinstance(value, (list, tuple)) else options.LAYER.read(value)


CELL = Option("a cell, or a list of cells", _cell, options.LAYER.write)


@spec
class RNN(SequenceLayer):
    """Runs a cell over time; a list of cells is a `StackedRNNCells`. Its weights are the cell's.

    (batch, time, ...) -> what the cell gives for (batch, ...), the last one or, with ``return_sequences``, all.
    """

    cell: Any = option(CELL)
    return_sequences: bool = option(options.FLAG, default=False)
    return_state: bool = option(options.FLAG, default=False)
    go_backwards: bool = option(options.FLAG, default=False)
    stateful: bool = option(options.FLAG, default=False)
    unroll: bool = option(options.FLAG, default=False)
    zero_output_for_mask: bool = option(options.FLAG, default=False)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def check(self) -> None:
        if not isinstance(self.cell, Cell):
            raise SpecError(f"{self.called()}: cell is {self.cell!r}; expected a Cell, or a list of them")
        adopt_dtype(self, [self.cell])

    @property
    def parts(self) -> Mapping[str, Module]:
        return {"": self.cell}

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {f"state_{k}": (n,) for k, n in enumerate(self.cell.state_sizes)}

    def run(self, build: Builder, x: Value, states: Sequence[Value], mask: Value | None) -> Sequence[Value]:
        return over_time(build, self.cell, x, states, mask, self.zero_output_for_mask)

    def arrange(self, outputs: Sequence[Any]) -> Any:
        if len(outputs) > 1 and isinstance(self.cell, StackedRNNCells):
            return [outputs[0], *self.cell.nest(outputs[1:])]
        return super().arrange(outputs)
