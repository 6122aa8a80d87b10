"""Sums of products: Affine, Embed, Einsum, Conv."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from lstmcore.errors import SpecError
from lstmcore.ops.base import Op, Tensor, checked, known_length
from lstmcore.ops.windows import PADDINGS, windows


@dataclass(frozen=True)
class Affine(Op):
    """``y = activation-free  x @ kernel + bias``.

    x (..., I), kernel (I, U), bias (U,) -> y (..., U).
    """

    units: int
    use_bias: bool = True
    weights: ClassVar[Mapping[str, str]] = {"kernel": "input unit", "bias": "unit"}

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        x = checked(self, "x", inputs[0], "batch, ..., features")
        return {"input": known_length(self, "x", x.shape), "unit": self.units}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        self.sizes(*inputs)
        return (Tensor((*cast(Tensor, inputs[0]).shape[:-1], self.units)),)


@dataclass(frozen=True)
class Embed(Op):
    """``y[..., :] = embeddings[ids[...]]``.

    ids int (B, ...), embeddings (V, U) -> y (B, ..., U). Ids outside [0, V) do not reach a kernel:
    they are refused before any backend runs.
    """

    size: int
    units: int
    inputs: ClassVar[tuple[str, ...]] = ("ids",)
    weights: ClassVar[Mapping[str, str]] = {"embeddings": "token unit"}

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        return {"token": self.size, "unit": self.units}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        return (Tensor((*checked(self, "ids", inputs[0], kind="int").shape, self.units)),)


@dataclass(frozen=True)
class Einsum(Op):
    """The sum of products of two operands that ``equation`` names: ``"bij,bjk->bik"`` is a batched ``x @ other``.

    A letter stands for an axis: once at most in each operand and in the output. Letters that the
    output lacks are summed over. Axes of the same letter have the same length; there is no broadcasting.
    x, other float, one axis per letter -> y, one axis per letter of the output.
    """

    equation: str
    inputs: ClassVar[tuple[str, ...]] = ("x", "other")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z]+,[A-Za-z]+->[A-Za-z]*", self.equation):
            raise self.refusal(
                f"equation is {self.equation!r}; expected two operands and the output, as 'bij,bjk->bik'"
            )
        *operands, output = self.terms
        if any(len(set(term)) != len(term) for term in self.terms):
            raise self.refusal(f"equation is {self.equation!r}; expected each letter once at most in each term")
        if not set(output) <= set().union(*operands):
            raise self.refusal(f"equation is {self.equation!r}; expected each letter of the output in an operand too")

    @property
    def terms(self) -> tuple[str, str, str]:
        """The letters of x, of other, and of the output."""
        operands, _, output = self.equation.partition("->")
        x, _, other = operands.partition(",")
        return x, other, output

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        *operands, output = self.terms
        lengths: dict[str, int | None] = {}
        for port, letters, given in zip(self.inputs, operands, inputs, strict=True):
            shape = checked(self, port, given, ", ".join(letters)).shape
            for letter, length in zip(letters, shape, strict=True):
                if None not in (length, lengths.get(letter)) and length != lengths[letter]:
                    raise SpecError(f"{self}: axis {letter!r} has length {lengths[letter]} in x and {length} in other")
                lengths[letter] = lengths.get(letter) if length is None else length
        return (Tensor(tuple(lengths[letter] for letter in output)),)


@dataclass(frozen=True)
class Conv(Op):
    """Cross-correlation along time, the convolution of neural networks.

    ::

        y[b, t] = Σ_k x[b, t strides + k dilation - left] @ kernel[k] + bias        x = 0 outside [0, T)

    x (B, T, I), kernel (size, I / groups, filters), bias (filters,) -> y (B, T', filters). With
    R = dilation (size - 1) + 1, the reach of the kernel:

    * valid: left = 0, T' = ⌊(T - R) / strides⌋ + 1; T >= R;
    * same: T' = ⌈T / strides⌉, left = ⌊max((T' - 1) strides + R - T, 0) / 2⌋ (TensorFlow's rule);
    * causal: T' = ⌈T / strides⌉, left = R - 1, so that y[t] sees nothing after x[t strides].

    ``groups`` divides I and filters into as many blocks, in order: block g of the filters sees block g
    of the channels alone. Strides and dilation may both exceed 1.
    """

    filters: int
    size: int
    strides: int = 1
    dilation: int = 1
    padding: str = "valid"
    groups: int = 1
    use_bias: bool = True
    weights: ClassVar[Mapping[str, str]] = {"kernel": "size channel filter", "bias": "filter"}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"padding": PADDINGS}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.filters % self.groups:
            raise self.refusal(f"filters is {self.filters}; expected a multiple of groups, {self.groups}")

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        x = checked(self, "x", inputs[0], "batch, time, channels")
        channels = known_length(self, "x", x.shape)
        if channels % self.groups:
            raise SpecError(f"Conv: input 'x' has {channels} channels; expected a multiple of groups, {self.groups}")
        return {"size": self.size, "channel": channels // self.groups, "filter": self.filters}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        self.sizes(*inputs)
        batch, time, _ = cast(Tensor, inputs[0]).shape
        steps = None if time is None else windows(time, self.size, self.strides, self.dilation, self.padding).steps
        if steps is not None and steps < 1:
            reach = self.dilation * (self.size - 1) + 1
            raise SpecError(f"{self}: input 'x' has {time} steps; expected at least the kernel's reach, {reach}")
        return (Tensor((batch, steps, self.filters)),)
