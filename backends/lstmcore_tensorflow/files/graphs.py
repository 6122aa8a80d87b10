"""What a SavedModel's graph is made of: a graph is code, so its ops are looked at before it is run."""

from __future__ import annotations

from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

from lstmcore.errors import DamagedFileError, UnsafeFileError
from lstmcore.storage.opening import open_regular, read_all

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


# Of these, what reads and writes files: in the functions that save and restore, which nothing calls.
FILES: frozenset[str] = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})
_OBJECTS = {"variable", "user_object", "bare_concrete_function", "function"}


def parsed(path: str, name: str) -> Any:
    """A ``saved_model.pb``, its size bounded."""
    with open_regular(path) as file:
        data = read_all(file, MOST_BYTES)
    if data is None:
        raise UnsafeFileError(f"{name} has a graph of more than {MOST_BYTES} bytes.")
    graph = saved_model_pb2.SavedModel()
    try:
        graph.ParseFromString(data)
    except Exception as error:  # protobuf's own, which has no public name in all its versions
        raise DamagedFileError(f"{name}: its graph cannot be read: {error}") from None
    return graph


def ops(path: str, name: str) -> set[str]:
    """The names of all ops in a ``saved_model.pb``."""
    found: set[str] = set()
    for meta in parsed(path, name).meta_graphs:
        found |= {node.op for node in meta.graph_def.node}
        found |= {node.op for function in meta.graph_def.library.function for node in function.node_def}
    return found


def check(path: str, name: str) -> None:
    """UnsafeFileError where a graph has ops that lstmcore writes none of, or would read or write files when it runs."""
    if others := sorted(ops(path, name) - KNOWN):
        raise UnsafeFileError(f"{name}: its graph has the op {others[0]!r}, which lstmcore does not write.")
    graphs = parsed(path, name).meta_graphs
    kinds = {node.WhichOneof("kind") for graph in graphs for node in graph.object_graph_def.nodes}
    if len(graphs) != 1 or not kinds or (odd := kinds - _OBJECTS):
        what = f"an object that is a {sorted(odd, key=str)[0]}" if len(graphs) == 1 and kinds else "no objects"
        raise UnsafeFileError(f"{name}: its graph has {what}, which lstmcore does not write.")
    functions = {function.signature.name: function for function in graphs[0].graph_def.library.function}
    seen, left = set(), _called(graphs[0].object_graph_def)
    while left:
        seen |= left
        nodes = [node for called in left if called in functions for node in functions[called].node_def]
        if files := sorted({node.op for node in nodes} & FILES):
            raise UnsafeFileError(f"{name}: what its graph computes would use files, by the op {files[0]!r}.")
        left = {called for node in nodes for value in node.attr.values() for called in _named(value)} - seen


def _called(objects: Any) -> set[str]:
    """The functions that can be called, and those that may be as a folder is loaded."""
    found = set(objects.concrete_functions)
    for node in objects.nodes:
        found |= {node.bare_concrete_function.concrete_function_name, *node.function.concrete_functions}
    return found


def _named(value: Any) -> set[str]:
    """The functions that an attribute of a node names."""
    return {value.func.name, *(function.name for function in value.list.func)} - {""}
