"""The canonical ops: all that a backend has to compute. These docstrings are normative.

Notation: B batch, T time, I input features, U units, ... any leading axes; σ the logistic function;
``@`` a matrix product over the last axis; ⊙ elementwise. Gates lie side by side in one matrix, in the
order the op names. The batch comes first; only what `Parameter` and `Constant` make has no batch axis.
An op is plain data; a kernel executes it as ``run(op, weights, *inputs)``, one argument per entry of
``inputs`` + ``optional`` (None where absent), and returns one value per entry of ``outputs``. It never
writes to an input or a weight. NaN and infinity follow IEEE arithmetic: they pass through.

An input called ``like`` gives what its op cannot know by itself, dtype, device or lengths; its numbers
do not matter.
"""

from lstmcore.ops.base import OPSET, OPTIONS, Kind, Op, Option, Shape, Tensor, from_attributes
from lstmcore.ops.linear import Affine, Conv, Einsum, Embed
from lstmcore.ops.normalize import BatchNormalize, LayerNormalize
from lstmcore.ops.pointwise import Activate, Binary, Cast, NotEqual, Select, Unary
from lstmcore.ops.recurrent import Gru, Lstm, Recurrent, SimpleRnn
from lstmcore.ops.reduce import Causal, Pool, Reduce, Total
from lstmcore.ops.scan import Scan
from lstmcore.ops.shape import Concat, Fold, Last, Pad, Repeat, Reshape, Reverse, Slice, Transpose, Unfold
from lstmcore.ops.values import Constant, OneHot, Parameter, Zeros

__all__ = [
    "OPSET",
    "OPTIONS",
    "Activate",
    "Affine",
    "BatchNormalize",
    "Binary",
    "Cast",
    "Causal",
    "Concat",
    "Constant",
    "Conv",
    "Einsum",
    "Embed",
    "Fold",
    "Gru",
    "Kind",
    "Last",
    "LayerNormalize",
    "Lstm",
    "NotEqual",
    "OneHot",
    "Op",
    "Option",
    "Pad",
    "Parameter",
    "Pool",
    "Recurrent",
    "Reduce",
    "Repeat",
    "Reshape",
    "Reverse",
    "Scan",
    "Select",
    "Shape",
    "SimpleRnn",
    "Slice",
    "Tensor",
    "Total",
    "Transpose",
    "Unary",
    "Unfold",
    "Zeros",
    "from_attributes",
]
