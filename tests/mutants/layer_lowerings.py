"""Faults in what the layers around recurrence are made of: masks, merges, normalization, attention.

As in `lowerings`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rewriting import (
    Plant,
    attribute,
    during,
    everywhere,
    inverted,
    left_out,
    lowered,
    method,
    rewriting,
    with_inputs,
    with_op,
)

from lstmcore import layers, ops
from lstmcore.layers import attention, convolution, merge
from lstmcore.models import graph
from lstmcore.program import Builder

# Masks and merges.


def dropped(right: Any, self: Any, build: Builder, x: Any, mask: Any) -> Any:
    """The mask has no influence, though it goes on."""
    outputs, _ = right(self, build, x, None)
    return outputs, mask


def all_needed(build: Builder, masks: Any) -> Any:
    found = [mask for mask in masks if mask is not None]
    return merge.combined(build, "and", found) if len(found) == len(masks) else None


def those_present(build: Builder, masks: Any) -> Any:
    """An input without mask has no say."""
    found = [mask for mask in masks if mask is not None]
    return merge.combined(build, "or", found) if found else None


def first_mask(right: Any, self: Any, build: Builder, inputs: Any, masks: Any) -> Any:
    y, _ = right(self, build, inputs, masks)
    return y, masks[0]


def mask_turned(right: Any, self: Any, build: Builder, *args: Any) -> Any:
    outputs, mask = right(self, build, *args)
    return outputs, None if mask is None else inverted(build, mask)


MASKS: dict[str, Plant] = {
    "Embedding: mask inverted": method(layers.Embedding, "lower", mask_turned),
    "Embedding: no mask": lowered(layers.Embedding, lambda outputs, mask: (outputs, None)),
    "Masking: mask inverted": method(layers.Masking, "lower", mask_turned),
    "Masking: where all features differ": with_op("mask", lambda op: replace(op, function="all"), ops.Reduce),
    "Masking: masked steps stay": method(
        layers.Masking,
        "lower",
        lambda right, self, build, x, mask: ((x,), right(self, build, x, mask)[1]),
    ),
    "Masking: mask_value ignored": with_op("differs", lambda op: replace(op, value=0.0), ops.NotEqual),
    "merge: masks joined by and": attribute(merge, "_either", all_needed),
    "merge: an input without mask has no say": attribute(merge, "_either", those_present),
    "merge: mask of the first": method(merge.Elementwise, "merge", first_mask),
    "merge: no mask goes on": method(merge.Elementwise, "merge", lambda right, *args: (right(*args)[0], None)),
    "Subtract: swapped": during(merge.Elementwise, "combine", with_inputs("subtract", lambda a, b: (b, a))),
    "Average: of two always": rewriting(
        "divide", lambda build, op, inputs: (op, (inputs[0], merge.number(build, 2, inputs[0])))
    ),
    "Average: the sum": left_out("divide"),
    "Multiply: masks without influence": rewriting("factor", lambda build, op, inputs: (None, (inputs[1],))),
    "Multiply: not zero where all are masked": during(
        merge.Multiply, "combine", rewriting("masked", lambda build, op, inputs: (None, (inputs[1],)))
    ),
    "Maximum: masks without influence": method(
        merge.Extreme, "combine", lambda right, self, build, xs, masks: right(self, build, xs, [None] * len(masks))
    ),
    "Maximum: what is known is not kept": rewriting("known", lambda build, op, inputs: (None, (inputs[1],))),
    "Concatenate: order swapped": method(
        merge.Concatenate,
        "merge",
        lambda right, self, build, xs, masks: (
            build.op(ops.Concat(merge.feature_axis(xs[0], self.axis), len(xs)), *xs[::-1], name="turned")[0],
            right(self, build, xs, masks)[1],
        ),
    ),
    "Concatenate: masks joined by and": during(
        merge.Concatenate,
        "merge",
        rewriting("or", lambda build, op, inputs: (ops.Binary("and"), inputs), ops.Binary),
    ),
    "Concatenate: mask of the first along time": rewriting(
        "mask", lambda build, op, inputs: (op, (inputs[0],) * len(inputs)), ops.Concat
    ),
    "Concatenate: masks in another order along time": rewriting(
        "mask", lambda build, op, inputs: (op, inputs[::-1]), ops.Concat
    ),
    "Concatenate: an input without mask is masked": method(
        merge, "_everywhere", lambda right, build, x: inverted(build, right(build, x))
    ),
    "Concatenate: zeros of an input without mask are masked": during(
        merge, "_everywhere", rewriting("none", lambda build, op, inputs: (None, inputs))
    ),
    "Dot: not normalized": method(merge, "_of_length_one", lambda right, build, x, axis: x),
    "Dot: by the square of the length": rewriting("inverse", lambda b, op, i: (ops.Unary("reciprocal"), i), ops.Unary),
    "Softmax: mask ignored": method(layers.Softmax, "lower", dropped),
    "Softmax: masked entries share": during(
        layers.Softmax, "lower", rewriting("kept", lambda build, op, inputs: (None, (inputs[1],)))
    ),
    "GlobalAveragePooling1D: mask ignored": method(
        layers.GlobalAveragePooling1D, "lower", lambda right, self, build, x, mask: right(self, build, x, None)
    ),
    "GlobalAveragePooling1D: divided by all steps": during(
        layers.GlobalAveragePooling1D,
        "lower",
        rewriting("ones", lambda build, op, inputs: (op, (everywhere(build, inputs[0]), inputs[1]))),
    ),
    "masks are lost between layers": method(
        graph, "lower_call", lambda right, m, build, args, value, mask: right(m, build, args, value, lambda x: None)
    ),
}

# Around recurrence.


def axes_shifted(op: Any) -> Any:
    return replace(op, axes=tuple(3 - axis for axis in reversed(op.axes)) if len(op.axes) == 1 else op.axes)


AROUND: dict[str, Plant] = {
    "Conv1D: causal as same": method(
        layers.Conv1D,
        "op",
        lambda right, self: replace(op, padding="same") if (op := right(self)).padding == "causal" else op,
    ),
    "Conv1D: activation ignored": attribute(convolution, "activated", lambda build, function, x: x),
    "Conv1D: strides for dilation": method(
        layers.Conv1D, "op", lambda right, self: replace(op := right(self), strides=op.dilation, dilation=op.strides)
    ),
    "pooling: strides of 1": with_op("", lambda op: replace(op, strides=1), ops.Pool),
    "AveragePooling1D: max": attribute(layers.AveragePooling1D, "function", "max"),
    "BatchNormalization: axis not put back": left_out("axis_back"),
    "BatchNormalization: epsilon ignored": method(
        layers.BatchNormalization, "op", lambda right, self: replace(right(self), epsilon=0.001)
    ),
    "LayerNormalization: another axis": with_op("", axes_shifted, ops.LayerNormalize),
    "ZeroPadding1D: sides swapped": with_op("", lambda op: replace(op, before=op.after, after=op.before), ops.Pad),
    "Cropping1D: one step more at the start": with_op("", lambda op: replace(op, start=op.start + 1), ops.Slice),
    "Permute: the other way": with_op(
        "", lambda op: replace(op, axes=tuple(op.axes.index(k) for k in range(len(op.axes)))), ops.Transpose
    ),
    "PReLU: slope of the positive side": rewriting("negated", lambda build, op, inputs: (None, inputs), ops.Unary),
    "Rescaling: offset first": method(
        layers.Rescaling,
        "lower",
        lambda right, self, build, x, mask: (
            build.op(
                ops.Binary("multiply"),
                build.op(ops.Binary("add"), x, self._constant(build, x, "offset"), name="added")[0],
                self._constant(build, x, "scale"),
            ),
            mask,
        ),
    ),
}

# Attention.


def query_mask_for_value(right: Any, mask: Any, query: Any) -> Any:
    asked, _ = right(mask, query)
    return asked, asked


def masks_swapped(right: Any, mask: Any, query: Any) -> Any:
    return right(mask, query)[::-1]


def turned_causal(build: Builder, op: Any, inputs: Any) -> Any:
    """k >= q."""
    rank = len(inputs[0].shape)
    order = (*range(rank - 2), rank - 1, rank - 2)
    if rank < 3 or None in inputs[0].shape[1:]:
        return op, inputs
    turned = build.op(ops.Transpose(order), *inputs, name="turned")
    (seen,) = build.op(ops.Causal(), *turned, name="seen")
    return ops.Transpose(order), (seen,)


def without_present(build: Builder, op: Any, inputs: Any) -> Any:
    """k < q: of keys that are longer by one step, all but the first."""
    axis = len(inputs[0].shape) - 1
    longer = build.op(ops.Pad(axis, 0, 1), *inputs, name="longer")
    return ops.Slice(axis, 1), build.op(ops.Causal(), *longer, name="seen")


ATTENTION: dict[str, Plant] = {
    "attention: mask of the query hides the value": method(attention, "_two", query_mask_for_value),
    "attention: masks swapped": method(attention, "_two", masks_swapped),
    "attention: mask of the value ignored": method(attention, "_two", lambda right, m, q: (right(m, q)[0], None)),
    "attention: mask of the query ignored": during(
        attention.SequenceAttention, "lower", rewriting("masked", lambda build, op, inputs: (None, (inputs[1],)))
    ),
    "attention: causal mask transposed": rewriting("causal", turned_causal, ops.Causal),
    "attention: causal mask without the present": rewriting("causal", without_present, ops.Causal),
    "attention: causal mask ignored": rewriting(
        "causal", lambda build, op, inputs: (ops.Binary("equal"), (*inputs, *inputs)), ops.Causal
    ),
    "attention: masks joined by or": rewriting("and", lambda b, op, inputs: (ops.Binary("or"), inputs), ops.Binary),
    "attention: scores scaled": rewriting(
        "products",
        lambda build, op, inputs: (
            op,
            (
                build.op(ops.Binary("multiply"), inputs[0], merge.number(build, 0.5, inputs[0]), name="halved")[0],
                inputs[1],
            ),
        ),
    ),
    "attention: scale ignored": during(layers.Attention, "scores", left_out("scaled")),
    "attention: key is the value": method(attention, "_three", lambda right, x: (*right(x)[:2], right(x)[1])),
    "attention: value and key swapped": method(
        attention, "_three", lambda right, x: ((found := right(x))[0], found[2], found[1])
    ),
    "AdditiveAttention: difference": with_op("sums", lambda op: replace(op, function="subtract"), ops.Binary),
    "heads: not scaled": during(layers.MultiHeadAttention, "lower", left_out("scaled")),
    "heads: scaled by the key dimension": rewriting(
        "scaled",
        lambda build, op, inputs: (
            (op, (build.op(op, *inputs, name="once")[0], inputs[1]))
            if inputs[1].shape == () and len(inputs[0].shape) == 4
            else (op, inputs)
        ),
    ),
    "heads: query and key swapped": rewriting(
        "scores",
        lambda build, op, inputs: (
            replace(op, equation=heads_swapped(op.equation)) if inputs[0].shape[1:] == inputs[1].shape[1:] else op,
            inputs,
        ),
        ops.Einsum,
    ),
    "heads: gate ignored": left_out("gated"),
}


def heads_swapped(equation: str) -> str:
    operands, _, made = equation.partition("->")
    return f"{operands}->{made[:-2]}{made[-1]}{made[-2]}"


FAULTS: dict[str, Plant] = {**MASKS, **AROUND, **ATTENTION}
