"""Scan: a cell over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lstmcore.errors import SpecError
from lstmcore.ops.base import Op, Shape, Tensor, checked, may_equal, one_batch
from lstmcore.ops.recurrent import check_mask

if TYPE_CHECKING:
    from lstmcore.program import Program


@dataclass(frozen=True)
class Scan(Op):
    """Runs the program ``body``, a cell, once a step: any recurrence that the fused ops are not.

    ::

        y_t, state_0, state_1, ... = body(x_t, state_0, state_1, ...)        t = 1 ... T

    The body's inputs are the step's x (B, *features) of any kind, then the states; its outputs are y (B, *shape),
    then the next states, each of the shape of its state. All but x are float, and the batch comes first in each.
    The body has no carries. Its weights are the op's, by the same names, and the same at every step.

    x (B, T, *features), ``state_0``, ... , mask bool (B, T), previous (B, *shape) -> y (B, T, *shape), and the
    states after the last step. **Masked step** (mask False): as `Recurrent` has it, with the body's y for h: the
    states keep their values; y_t repeats y_{t-1}, ``previous`` before the first step, zeros where absent; with
    ``zero_output_for_mask`` y_t is zero. What the body computes at a masked step has no influence, NaN or not.

    A kernel gets one more keyword: ``run(op, weights, *inputs, body=step)``, with
    ``step(weights, x_t, *states) -> (y_t, *states)``, the body on the engine at hand; it passes ``weights`` on.
    """

    body: Program
    zero_output_for_mask: bool = False
    optional: ClassVar[tuple[str, ...]] = ("mask", "previous")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.body.inputs or len(self.body.inputs) != len(self.body.outputs):
            raise self.refusal(
                f"the body takes {self.body.inputs} and gives {self.body.outputs}; "
                "expected (x, state, ...) and (y, next state, ...)"
            )
        if self.body.carries:
            raise self.refusal(
                f"the body has carries, {[c.name for c in self.body.carries]}; expected inputs and outputs"
            )
        self._check_body()

    def _check_body(self) -> None:
        values = self.body.values
        befores, afters = self.body.inputs, self.body.outputs
        for name in (*befores, *afters):
            value = values[name]
            if value.shape[:1] != (None,) or (value.kind != "float" and name != befores[0]):
                raise self.refusal(f"{name!r} in the body is {value.kind} {value.shape}; expected float (None, ...)")
        for before, after in zip(befores[1:], afters[1:], strict=True):
            if values[before].shape != values[after].shape:
                raise self.refusal(
                    f"state {before!r} of the body has shape {values[before].shape} and becomes {values[after].shape}"
                )

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states as inputs and outputs."""
        return tuple(f"state_{k}" for k in range(len(self.body.inputs) - 1))

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the body
        return ("x", *self.states)

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the body
        return ("y", *self.states)

    def ports(self) -> tuple[str, ...]:
        return tuple(self.body.weights)

    def inventory(self, *inputs: Tensor | None) -> dict[str, tuple[int, ...]]:
        return dict(self.body.weights)

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        given = dict(zip((*self.inputs, *self.optional), inputs, strict=False))
        ins = [self.body.values[name] for name in self.body.inputs]
        y = self.body.values[self.body.outputs[0]]
        x = checked(self, "x", given.get("x"), "batch, time, ...", ins[0].kind)
        self._check_shape("x", (x.shape[0], *x.shape[2:]), ins[0].shape, x.shape)
        wanted = {port: value.shape for port, value in zip(self.states, ins[1:], strict=True)}
        if given.get("previous") is not None:
            wanted["previous"] = y.shape
        for port, shape in wanted.items():
            state = checked(self, port, given.get(port))
            self._check_shape(port, state.shape, shape, state.shape)
        check_mask(self, given.get("mask"), x)
        one_batch(self, *inputs)
        batch = x.shape[0]
        return (
            Tensor((batch, x.shape[1], *y.shape[1:])),
            *(Tensor((batch, *value.shape[1:])) for value in ins[1:]),
        )

    def _check_shape(self, port: str, shape: Shape, wanted: Shape, given: Shape) -> None:
        if len(shape) != len(wanted) or not all(map(may_equal, shape, wanted)):
            raise SpecError(f"Scan: input {port!r} has shape {given}; the body takes {wanted} a step")

    def __str__(self) -> str:
        zero = ", zero_output_for_mask=True" if self.zero_output_for_mask else ""
        return f"Scan(body of {', '.join(self.outputs)}{zero})"
