"""Numbers in other places: Reshape, Transpose, Reverse, Last, Concat, Slice, Pad, Repeat, Fold, Unfold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from lstmcore.errors import SpecError
from lstmcore.ops.base import Op, Shape, Tensor, checked, existing_axis, may_equal, product, with_length


@dataclass(frozen=True)
class Reshape(Op):
    """The same numbers in row-major order in another shape; the batch axis stays.

    ``shape`` is the target without the batch axis; one entry may be -1 and takes what is left.
    """

    moves: ClassVar[bool] = True
    shape: tuple[int, ...]

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], "batch, ...", None)
        if sum(n == -1 for n in self.shape) > 1 or any(n < -1 for n in self.shape):
            raise SpecError(f"Reshape: target {self.shape} may hold one -1 and no other negative length")
        known = product(n for n in self.shape if n != -1)
        total = None if None in x.shape[1:] else product(cast(tuple[int, ...], x.shape[1:]))
        if total is not None and (total != known if -1 not in self.shape else known == 0 or total % known):
            raise SpecError(f"Reshape: {x.shape[1:]} holds {total} numbers, which do not fill {self.shape}")
        left = None if total is None else total // max(known, 1)
        return (Tensor((x.shape[0], *(left if n == -1 else n for n in self.shape)), x.kind),)


@dataclass(frozen=True)
class Transpose(Op):
    """Permutes the axes: axis k of y is axis ``axes[k]`` of x. The batch axis stays first."""

    moves: ClassVar[bool] = True
    axes: tuple[int, ...]

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], "batch, ...", None)
        if sorted(self.axes) != list(range(len(x.shape))) or self.axes[0] != 0:
            raise SpecError(f"Transpose: axes {self.axes} do not permute the {len(x.shape)} axes, batch first")
        return (Tensor(tuple(x.shape[k] for k in self.axes), x.kind),)


@dataclass(frozen=True)
class Reverse(Op):
    """``y[:, t] = x[:, T-1-t]``. x (B, T, ...), any kind -> the same shape."""

    moves: ClassVar[bool] = True

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], "batch, time, ...", None)
        return (Tensor(x.shape, x.kind),)


@dataclass(frozen=True)
class Last(Op):
    """``y = x[:, T-1]``. x (B, T, ...) -> (B, ...)."""

    moves: ClassVar[bool] = True

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], "batch, time, ...", None)
        return (Tensor((x.shape[0], *x.shape[2:]), x.kind),)


@dataclass(frozen=True)
class Concat(Op):
    """The inputs ``x0``, ``x1``, ... (``count`` of them) one after the other along ``axis``, counted from 0, never 0.

    Any one kind; the other axes agree. The output's length is the sum, open where one of them is.
    """

    axis: int
    count: int

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on count
        return tuple(f"x{k}" for k in range(self.count))

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        first, *others = (checked(self, p, t, kind=None) for p, t in zip(self.inputs, inputs, strict=True))
        axis = existing_axis(self, "x0", first.shape, self.axis)
        shape: Shape = first.shape
        for tensor in others:
            pairs = list(zip(shape, tensor.shape, strict=False))
            alike = all(may_equal(a, b) for k, (a, b) in enumerate(pairs) if k != axis)
            if tensor.kind != first.kind or len(tensor.shape) != len(shape) or not alike:
                raise SpecError(
                    f"{self}: {tensor.kind} of shape {tensor.shape} cannot follow {first.kind} of shape {shape}; "
                    f"expected one kind, and the same lengths but on axis {axis}"
                )
            merged = tuple(b if a is None else a for a, b in pairs)
            a, b = pairs[axis]
            shape = with_length(merged, axis, None if a is None or b is None else a + b)
        return (Tensor(shape, first.kind),)


@dataclass(frozen=True)
class Slice(Op):
    """``x[..., start:stop, ...]`` along ``axis``, counted from 0, never 0: as in Python, a negative bound
    counts from the end, one beyond the end is the end, a stop of None is the end.

    Any kind. Where the length is known the result is not empty; where it is open, so is the result's.
    """

    moves: ClassVar[bool] = True
    axis: int
    start: int
    stop: int | None = None

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind=None)
        axis = existing_axis(self, "x", x.shape, self.axis)
        length = x.shape[axis]
        left = None if length is None else len(range(length)[self.start : self.stop])
        if left == 0:
            raise SpecError(f"{self}: nothing is left of the {length} entries on axis {axis} of shape {x.shape}")
        return (Tensor(with_length(x.shape, axis, left), x.kind),)


@dataclass(frozen=True)
class Pad(Op):
    """``before`` zeros before and ``after`` zeros after the numbers along ``axis``, counted from 0, never 0.

    Any kind; False for bool.
    """

    axis: int
    before: int
    after: int

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind=None)
        axis = existing_axis(self, "x", x.shape, self.axis)
        length = x.shape[axis]
        longer = None if length is None else length + self.before + self.after
        return (Tensor(with_length(x.shape, axis, longer), x.kind),)


@dataclass(frozen=True)
class Repeat(Op):
    """Each entry along ``axis`` ``times`` times in a row: a b c becomes a a b b c c. Axis counted from 0, never 0.

    Any kind.
    """

    moves: ClassVar[bool] = True
    axis: int
    times: int

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind=None)
        axis = existing_axis(self, "x", x.shape, self.axis)
        length = x.shape[axis]
        return (Tensor(with_length(x.shape, axis, None if length is None else length * self.times), x.kind),)


@dataclass(frozen=True)
class Fold(Op):
    """Time goes into the batch: x (B, T, ...) -> (B T, ...), ``y[b T + t] = x[b, t]``. Any kind."""

    moves: ClassVar[bool] = True

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        batch, time, *rest = (x := checked(self, "x", inputs[0], "batch, time, ...", None)).shape
        return (Tensor((None if batch is None or time is None else batch * time, *rest), x.kind),)


@dataclass(frozen=True)
class Unfold(Op):
    """The way back: x (B T, ...), like (B, T, ...) -> (B, T, ...), ``y[b, t] = x[b T + t]``.

    x any kind; like any kind, and only its first two lengths matter.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "like")

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], "batch, ...", None)
        batch, time = checked(self, "like", inputs[1], "batch, time, ...", None).shape[:2]
        if batch is not None and time is not None and not may_equal(x.shape[0], batch * time):
            raise SpecError(
                f"Unfold: input 'x' has shape {x.shape}; expected {batch} × {time} = {batch * time} entries"
            )
        return (Tensor((batch, time, *x.shape[1:]), x.kind),)
