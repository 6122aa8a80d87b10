"""How each op is written in PyTorch: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lstmcore import ops
from lstmcore.interop.pytorch.scope import Site
from lstmcore.interop.pytorch.writers import linear, normalize, pointwise, recurrent, reduce, scan, shape, values
from lstmcore.ops import Op

# A writer gives the expression of the op's one output, or None: it has written statements itself.
Writer = Callable[[Site], str | None]

WRITERS: Mapping[type[Op], Writer] = MappingProxyType(
    {
        ops.Activate: pointwise.activate,
        ops.Affine: linear.affine,
        ops.BatchNormalize: normalize.batch_normalize,
        ops.Binary: pointwise.binary,
        ops.Cast: pointwise.cast,
        ops.Causal: reduce.causal,
        ops.Concat: shape.concat,
        ops.Constant: values.constant,
        ops.Conv: linear.conv,
        ops.Einsum: linear.einsum,
        ops.Embed: linear.embed,
        ops.Fold: shape.fold,
        ops.Gru: recurrent.write,
        ops.Last: shape.last,
        ops.LayerNormalize: normalize.layer_normalize,
        ops.Lstm: recurrent.write,
        ops.NotEqual: pointwise.not_equal,
        ops.OneHot: values.one_hot,
        ops.Pad: shape.pad,
        ops.Parameter: values.parameter,
        ops.Pool: reduce.pool,
        ops.Reduce: reduce.reduce,
        ops.Repeat: shape.repeat,
        ops.Reshape: shape.reshape,
        ops.Reverse: shape.reverse,
        ops.Scan: scan.write,
        ops.Select: pointwise.select,
        ops.SimpleRnn: recurrent.write,
        ops.Slice: shape.slice_,
        ops.Total: reduce.total,
        ops.Transpose: shape.transpose,
        ops.Unary: pointwise.unary,
        ops.Unfold: shape.unfold,
        ops.Zeros: values.zeros,
    }
)
