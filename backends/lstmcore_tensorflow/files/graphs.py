"""What a SavedModel's graph is made of: a graph is code, so its ops are looked at before it is run."""

from __future__ import annotations

from tensorflow.core.protobuf import saved_model_pb2

from lstmcore.errors import DamagedFileError, UnsafeFileError

MOST_BYTES = 256 << 20

# All that the kernels of this engine are made of (the conformance suite, traced), and how variables are saved and read.
KNOWN: frozenset[str] = frozenset(
    """
    Abs AddV2 All Any AssignVariableOp AvgPool BiasAdd BroadcastTo Cast ConcatV2 Const Conv2D Cos Cumsum
    DisableCopyOnRead Einsum EnsureShape Equal Erf Exp ExpandDims Expm1 Fill FloorDiv GatherV2 Greater
    GreaterEqual Identity IsFinite Less LessEqual Log LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean
    MergeV2Checkpoints Min Minimum Mul Neg NoOp NotEqual OneHot Pack Pad PadV2 PartitionedCall Placeholder Pow
    Prod Range ReadVariableOp RealDiv Reciprocal Relu6 Reshape RestoreV2 ReverseV2 Rsqrt SaveV2 Select SelectV2
    Selu Shape ShardedFilename Sigmoid Sign Sin Softplus Softsign Split Sqrt Square Squeeze
    StatefulPartitionedCall StatelessWhile StaticRegexFullMatch StridedSlice StringJoin Sub Sum Tanh
    TensorListReserve TensorListSetItem TensorListStack Tile TopKV2 Transpose VarHandleOp ZerosLike
    """.split()  # noqa: SIM905  a list of a hundred strings would be no clearer
)


def ops(path: str, name: str) -> set[str]:
    """The names of all ops in a ``saved_model.pb``."""
    graph = saved_model_pb2.SavedModel()
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UnsafeFileError(f"{name} has a graph of more than {MOST_BYTES} bytes.")
    try:
        graph.ParseFromString(data)
    except Exception as error:  # protobuf's own, which has no public name in all its versions
        raise DamagedFileError(f"{name}: its graph cannot be read: {error}") from None
    found: set[str] = set()
    for meta in graph.meta_graphs:
        found |= {node.op for node in meta.graph_def.node}
        found |= {node.op for function in meta.graph_def.library.function for node in function.node_def}
    return found


def check(path: str, name: str) -> None:
    """UnsafeFileError where a graph has ops that lstmcore writes none of, such as those that read files."""
    if others := sorted(ops(path, name) - KNOWN):
        raise UnsafeFileError(f"{name}: its graph has the op {others[0]!r}, which lstmcore does not write.")
