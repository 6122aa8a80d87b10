"""Models that are programs, as other programs' graphs are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.activations import function
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Builder, Value


class Graph:
    """A program under construction, with random weights."""

    def __init__(self, seed: int = 3) -> None:
        self.build, self.rng, self.weights = Builder(), np.random.default_rng(seed), {}

    def op(self, op: Any, *inputs: Value | None, name: str | None = None, weights: Any = None) -> Any:
        """The outputs of an op; one alone as it is. ``weights``: those of an op before, by its name."""
        tensors = [None if v is None else ops.Tensor(v.shape, v.kind) for v in inputs]
        name = name or f"{type(op).__name__.lower()}/{len(self.weights)}"
        paths = {port: f"{weights or name}/{port}" for port in op.inventory(*tensors)}
        for port, shape in op.inventory(*tensors).items():
            numbers = self.rng.normal(0, 0.6, shape).astype("float32")
            self.weights.setdefault(paths[port], np.abs(numbers) + 0.5 if "variance" in port else numbers)
        made = self.build.op(op, *inputs, name=name, weights=paths)
        return made[0] if len(made) == 1 else made

    def rnn(self, op: Any, x: Value, *states: Value, **more: Any) -> Any:
        """A recurrent op; its states begin as given, or at zero."""
        before = states or [self.op(ops.Zeros((op.units,)), x) for _ in op.states]
        return self.op(op, x, *before, **more)

    def model(self, *outputs: Value, **options: Any) -> ProgramModel:
        """The model that gives these values."""
        return ProgramModel(self.build.finish([y.name for y in outputs]), self.weights, **options)


def many() -> ProgramModel:
    """A node for each row of the table."""
    g = Graph()
    ids, x = g.build.input("ids", (None, 6), "int"), g.build.input("x", (None, 6, 3))
    e = g.op(ops.Embed(20, 4), ids)
    e = g.op(ops.Conv(4, 3, padding="same", groups=2), e)
    e = g.op(ops.BatchNormalize(epsilon=1e-5), e)
    e = g.op(ops.Activate(function("relu", negative_slope=0.1)), e)
    turned = g.op(ops.Transpose((0, 2, 1)), e)
    again = g.op(ops.Transpose((0, 2, 1)), g.op(ops.Activate(function("softmax", axis=2)), turned))
    y, h, c = g.rnn(ops.Lstm(5, recurrent_activation=function("hard_sigmoid")), g.op(ops.Concat(2, 2), again, x))
    back, _ = g.rnn(ops.Gru(5, reset_after=False), g.op(ops.Reverse(), y), h)
    both = g.op(ops.Reshape((-1, 10)), g.op(ops.Concat(2, 2), y, g.op(ops.Reverse(), back)))
    folded = g.op(ops.Fold(), both)
    folded = g.op(ops.LayerNormalize((1,)), g.op(ops.Activate(function("tanh")), g.op(ops.Affine(4), folded)))
    z = g.op(ops.Unfold(), g.op(ops.Activate(function("softmax", axis=1)), folded), both)
    z = g.op(ops.Pool("max", 2, 1, "same"), g.op(ops.Pad(1, 1, 0), z))
    z, _ = g.rnn(ops.SimpleRnn(3), g.op(ops.Slice(1, 1, None), z))
    half = g.op(ops.Constant((0.5,), ()), z)
    z = g.op(ops.Binary("subtract"), half, g.op(ops.Binary("multiply"), z, half))
    z = g.op(ops.Binary("maximum"), g.op(ops.Unary("sin"), z), g.op(ops.Repeat(1, 2), g.op(ops.Slice(1, 0, 3), z)))
    mean, last = g.op(ops.Reduce("mean", (1,)), z), g.op(ops.Last(), z)
    less = g.op(ops.Binary("less"), mean, last)
    return g.model(g.op(ops.Affine(2, use_bias=False), g.op(ops.Select(), less, mean, last)), c)
