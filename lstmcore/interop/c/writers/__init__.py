"""The ops in C: what each node's statements are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lstmcore import ops
from lstmcore.interop.c.code import Array, Code
from lstmcore.interop.c.writers import linear, pointwise, recurrent, reduce, shape
from lstmcore.ops import Op
from lstmcore.program import Node

Writer = Callable[[Code, Node, "list[Array | None]"], "list[Array]"]

WRITERS: Mapping[type[Op], Writer] = MappingProxyType(
    {
        ops.Affine: linear.affine,
        ops.Embed: linear.embed,
        ops.Einsum: linear.einsum,
        ops.Conv: linear.conv,
        ops.Activate: pointwise.activate,
        ops.Unary: pointwise.unary,
        ops.Binary: pointwise.binary,
        ops.Select: pointwise.select,
        ops.NotEqual: pointwise.not_equal,
        ops.Cast: pointwise.cast,
        ops.Constant: pointwise.constant,
        ops.Parameter: pointwise.parameter,
        ops.Zeros: pointwise.zeros,
        ops.OneHot: pointwise.one_hot,
        ops.Reshape: shape.reshape,
        ops.Fold: shape.fold,
        ops.Unfold: shape.unfold,
        ops.Transpose: shape.transpose,
        ops.Reverse: shape.reverse,
        ops.Last: shape.last,
        ops.Concat: shape.concat,
        ops.Slice: shape.cut,
        ops.Pad: shape.pad,
        ops.Repeat: shape.repeat,
        ops.Reduce: reduce.reduce,
        ops.Total: reduce.total,
        ops.Pool: reduce.pool,
        ops.Causal: reduce.causal,
        ops.BatchNormalize: reduce.batch_normalize,
        ops.LayerNormalize: reduce.layer_normalize,
        ops.Lstm: recurrent.run,
        ops.Gru: recurrent.run,
        ops.SimpleRnn: recurrent.run,
    }
)


def write(code: Code, node: Node) -> None:
    """Adds the statements of a node to the function. ExportError names its layer where there is no way to say it."""
    code.node = node
    writer = WRITERS.get(type(node.op))
    if writer is None:
        raise code.refuse(f"it is a {type(node.op).__name__}, and cells of one's own have no C yet")
    made = writer(code, node, [None if name is None else code.values[name] for name in node.inputs])
    code.values.update(zip(node.outputs, made, strict=True))
