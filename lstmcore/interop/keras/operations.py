"""Operations between the layers of functional models: Keras 3's ``keras.ops`` and tf.keras' ``TFOpLambda``.

A row for each name: which of our `Operation`s or layers it is, and what its arguments are called here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.storage.container import show

Entry = dict[str, Any]
TENSOR = "__keras_tensor__"
TENSORFLOW = ("TFOpLambda", "SlicingOpLambda")


@dataclass(frozen=True)
class Row:
    """One operation.

    Attributes:
        ours: the function of `Operation`, or, with ``activation``, the activation that it is.
        renamed: their argument -> ours; those in no row are refused.
        operands: what arguments that stand by position, after the tensors, are called, as theirs.
        gone: their argument -> the values with which it changes nothing.
        convert: what is left to do, on our arguments.
    """

    ours: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    operands: tuple[str, ...] = ()
    gone: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    convert: Callable[[Entry], Entry] | None = None
    activation: bool = False


def _binary(ours: str) -> Row:
    return Row(ours, {"other": "other", "first": "first"})


def _reducing(ours: str) -> Row:
    return Row(ours, {"axis": "axis", "keepdims": "keepdims"}, ("axis", "keepdims"), {"initial": (None,)})


def _key(arguments: Entry) -> Entry:
    """A key in lists and numbers."""
    key = arguments["key"]
    key = key["config"]["value"] if isinstance(key, Mapping) and key.get("class_name") == "__tuple__" else key
    return {"key": [_item(entry) for entry in (key if isinstance(key, list) else [key])]}


def _item(entry: Any) -> Any:
    if entry is None:
        return "new"
    if isinstance(entry, Mapping):
        if entry.get("class_name") == "__ellipsis__" or set(entry) == {"type"} or entry == {"value": "..."}:
            return "..."
        config = entry.get("config") if entry.get("class_name") == "__slice__" else entry
        if isinstance(config, Mapping) and set(config) == {"start", "stop", "step"}:
            return [config["start"], config["stop"], config["step"]]
    return entry


def _listed(key: str) -> Callable[[Entry], Entry]:
    def convert(arguments: Entry) -> Entry:
        value = arguments.get(key)
        if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
            value = value["config"]["value"]
        return {**arguments, key: value} if value is not None else arguments

    return convert


_PLAIN = {
    **{name: _binary(name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power")},
    **{name: _binary(name) for name in ("less", "less_equal", "equal", "greater", "greater_equal")},
    **{name: Row(name) for name in ("cos", "exp", "log", "negative", "reciprocal", "rsqrt", "sin", "sqrt", "square")},
    "abs": Row("abs"),
}
_FUNCTIONS = ("relu", "sigmoid", "tanh", "softplus", "softsign", "silu", "elu", "selu", "relu6", "hard_tanh")

KERAS_3: Mapping[str, Row] = {
    **{name.title().replace("_", ""): row for name, row in _PLAIN.items() if name != "abs"},
    "TrueDivide": _binary("divide"),
    "Absolute": Row("abs"),
    "Abs": Row("abs"),
    **{theirs: _reducing(ours) for theirs, ours in (("Mean", "mean"), ("Sum", "sum"), ("Max", "max"), ("Min", "min"))},
    "Transpose": Row("transpose", {"axes": "axes"}, ("axes",), convert=_listed("axes")),
    "Reshape": Row("reshape", {"newshape": "shape"}, ("newshape",), convert=_listed("shape")),
    "ExpandDims": Row("expand_dims", {"axis": "axis"}, ("axis",)),
    "Squeeze": Row("squeeze", {"axis": "axis"}, ("axis",)),
    "Concatenate": Row("concatenate", {"axis": "axis"}, ("axis",)),
    "Stack": Row("stack", {"axis": "axis"}, ("axis",)),
    "Split": Row("split", {"indices_or_sections": "sections", "axis": "axis"}, ("indices_or_sections", "axis")),
    "GetItem": Row("getitem", {"key": "key"}, ("key",), convert=_key),
    "Matmul": Row("matmul"),
    "Clip": Row("clip", {"x_min": "low", "x_max": "high"}, ("x_min", "x_max")),
    "Where": Row("where"),
    "Flip": Row("flip", {"axis": "axis"}, ("axis",)),
    "Repeat": Row("repeat", {"repeats": "repeats", "axis": "axis"}, ("repeats", "axis")),
    **{name.title().replace("_", ""): Row(name, activation=True) for name in _FUNCTIONS},
    "Softmax": Row("softmax", {"axis": "axis"}, ("axis",), activation=True),
}

_NAMED: Mapping[str, tuple[Any, ...]] = {"name": (), "conjugate": (False,)}


def _tf(row: Row, renamed: Mapping[str, str] | None = None) -> Row:
    return Row(row.ours, renamed or row.renamed, row.operands, {**row.gone, **_NAMED}, row.convert, row.activation)


_AXIS = {"axis": "axis", "keepdims": "keepdims", "keep_dims": "keepdims"}
_TF: Mapping[str, Row] = {
    **{
        name: _PLAIN[name]
        for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "greater")
    },
    **{name: _PLAIN[name] for name in ("negative", "exp", "log", "sqrt", "rsqrt", "square", "abs", "sin", "cos")},
    "truediv": _PLAIN["divide"],
    "pow": _PLAIN["power"],
    **{f"reduce_{name}": Row(name, _AXIS) for name in ("mean", "sum", "max", "min")},
    "expand_dims": KERAS_3["ExpandDims"],
    "squeeze": KERAS_3["Squeeze"],
    "reshape": Row("reshape", {"shape": "shape"}),
    "transpose": Row("transpose", {"perm": "axes"}),
    "concat": Row("concatenate", {"axis": "axis"}),
    "stack": Row("stack", {"axis": "axis"}),
    "split": Row("split", {"num_or_size_splits": "sections", "axis": "axis"}),
    "getitem": Row("getitem", {"slice_spec": "key"}, convert=_key),
    "matmul": Row("matmul", gone=dict.fromkeys(("transpose_a", "transpose_b", "adjoint_a", "adjoint_b"), (False,))),
    "clip_by_value": Row("clip", {"clip_value_min": "low", "clip_value_max": "high"}),
    "where": Row("where"),
    **{name: Row(name, activation=True) for name in ("relu", "sigmoid", "tanh", "softplus", "softsign", "elu", "selu")},
    "relu6": Row("relu6", activation=True),
    "softmax": Row("softmax", {"axis": "axis"}, activation=True),
    "identity": Row("linear", activation=True),
    "stop_gradient": Row("linear", activation=True),
}
TF: Mapping[str, Row] = {name: _tf(row) for name, row in _TF.items()}


def translated(data: Mapping[str, Any], file: str) -> Entry:
    """The entry of an operation in a functional model, its calls in Keras 3's form, as one of a layer."""
    kind, config = str(data.get("class_name")), data.get("config")
    config = config if isinstance(config, Mapping) else {}
    function = str(config.get("function")) if kind in TENSORFLOW else kind
    row = TF.get(function.rpartition(".")[2]) if kind in TENSORFLOW else KERAS_3.get(kind)
    nodes = data.get("inbound_nodes")
    if row is None or not isinstance(nodes, list) or len(nodes) != 1:
        raise UnsupportedFileError(
            f"{file}: it has the operation {show(function)} between layers, called {show(data.get('name'))}, which "
            "lstmcore lacks; say in layers what it does."
        )
    static = {} if kind in TENSORFLOW else {key: value for key, value in config.items() if key not in ("name", "dtype")}
    tensors, arguments = _operands(nodes[0], row)
    arguments = _renamed({**static, **arguments}, row, function, file)
    node = {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": {}}
    name = data.get("name", config.get("name"))
    if row.activation:
        made: Entry = {"activation": {"name": row.ours, **arguments}}
        return {"class_name": "Activation", "config": {"name": name, **made}, "name": name, "inbound_nodes": [node]}
    made = {"function": row.ours, "arguments": arguments or None}
    return {"class_name": "Operation", "config": {"name": name, **made}, "name": name, "inbound_nodes": [node]}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class_name") == TENSOR


def _operands(node: Any, row: Row) -> tuple[list[Any], Entry]:
    """The tensors of a call, in order, and its other arguments by name; of two operands, a number too."""
    args, kwargs = list(node["args"]), dict(node["kwargs"])
    found = [*args, *(kwargs.pop(key) for key in ("x", "y", "b", "x1", "x2") if key in kwargs)]
    tensors: list[Any] = []
    numbers: list[tuple[str, Any]] = []
    names = iter(row.operands)
    for value in found:
        many = isinstance(value, list) and value and all(map(_is_tensor, value))
        if many or _is_tensor(value):
            tensors += value if many else [value]
        elif "other" in row.renamed:
            numbers.append(("other" if tensors else "first", value))
        else:
            numbers.append((next(names, "more"), value))
    return tensors, {**kwargs, **dict(numbers)}


def _renamed(arguments: Mapping[str, Any], row: Row, function: str, file: str) -> Entry:
    made: Entry = {}
    for key, value in arguments.items():
        if key in row.renamed:
            made[row.renamed[key]] = value
        elif key not in row.gone or (row.gone[key] and value not in row.gone[key]):
            raise UnsupportedFileError(
                f"{file}: the operation {show(function)} has {key}={show(value)}, which lstmcore lacks."
            )
    return row.convert(made) if row.convert else made


# How Keras 3 writes each of our functions: its class, which of our arguments stand in the config under which name, and
# which in the call, after the tensors.
_WRITTEN: Mapping[str, tuple[str, Mapping[str, str], tuple[str, ...]]] = {
    **{name: (name.title().replace("_", ""), {}, ("other",)) for name in _PLAIN},
    "abs": ("Absolute", {}, ()),
    "divide": ("TrueDivide", {}, ("other",)),
    **{name: (name.title(), {"axis": "axis", "keepdims": "keepdims"}, ()) for name in ("mean", "sum", "max", "min")},
    "transpose": ("Transpose", {"axes": "axes"}, ()),
    "reshape": ("Reshape", {"shape": "newshape"}, ()),
    "expand_dims": ("ExpandDims", {"axis": "axis"}, ()),
    "squeeze": ("Squeeze", {"axis": "axis"}, ()),
    "concatenate": ("Concatenate", {"axis": "axis"}, ()),
    "stack": ("Stack", {"axis": "axis"}, ()),
    "split": ("Split", {"sections": "indices_or_sections", "axis": "axis"}, ()),
    "getitem": ("GetItem", {}, ("key",)),
    "matmul": ("Matmul", {}, ()),
    "clip": ("Clip", {"low": "x_min", "high": "x_max"}, ()),
    "where": ("Where", {}, ()),
    "flip": ("Flip", {"axis": "axis"}, ()),
    "repeat": ("Repeat", {"repeats": "repeats", "axis": "axis"}, ()),
}
_TOGETHER = ("concatenate", "stack")


def written(entry: Mapping[str, Any]) -> Entry:
    """The entry of an `Operation` in a functional model as Keras 3 has it."""
    config, name = entry["config"], entry["name"]
    kind, renamed, after = _WRITTEN[config["function"]]
    arguments = config["arguments"] or {}
    nodes = []
    for node in entry["inbound_nodes"]:
        (x,) = node["args"]
        tensors = x if isinstance(x, list) else [x]
        operands = [tensors] if config["function"] in _TOGETHER else list(tensors)
        operands = [*([arguments["first"]] if "first" in arguments else []), *operands]
        operands += [_index(arguments[key]) if key == "key" else arguments[key] for key in after if key in arguments]
        nodes.append({"args": operands, "kwargs": {}})
    kept = {renamed[key]: value for key, value in arguments.items() if key in renamed}
    return {
        "module": "keras.src.ops.numpy",
        "class_name": kind,
        "config": {"name": name, **kept},
        "registered_name": kind,
        "name": name,
        "inbound_nodes": nodes,
    }


def _index(key: Any) -> Any:
    def item(entry: Any) -> Any:
        if entry == "new":
            return None
        if entry == "...":
            return {"class_name": "__ellipsis__", "config": {}}
        if isinstance(entry, list):
            return {"class_name": "__slice__", "config": dict(zip(("start", "stop", "step"), entry, strict=True))}
        return entry

    return [item(entry) for entry in key]


def computing(entries: Sequence[Mapping[str, Any]], ends: Any, is_operation: Callable[[Any], bool]) -> set[str]:
    """The names of the operations on which numbers depend, and not only the masks that layers are given."""
    by_name = {str(entry.get("name")): entry for entry in entries}
    found: set[str] = set()
    waiting = [*_ends(ends)]
    for entry in entries:
        if not is_operation(entry):
            waiting += _origins(entry.get("inbound_nodes"), masks=False)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found and is_operation(by_name[name]):
            found.add(name)
            waiting += _origins(by_name[name].get("inbound_nodes"), masks=True)
    return found


def strange_mask(entries: Sequence[Mapping[str, Any]], masks: set[str]) -> str | None:
    """The operation, among those that compute masks, that computes another than the layers make; None: there is none.

    Masks that layers make come about again by themselves, so their operations are left out.
    """
    made = set(_made_masks(entries))
    for entry in entries:
        if entry.get("name") not in masks or entry.get("class_name") in ("OnesLike", "ZerosLike"):
            continue
        for node in entry.get("inbound_nodes") or []:
            args = node.get("args") if isinstance(node, Mapping) else None
            read = [value for value in args or [] if _is_tensor(value)]
            if all(origin in masks for origin in _origins(args, masks=True)):
                continue
            value = args[1] if isinstance(args, list) and len(args) == 2 and not _is_tensor(args[1]) else None
            if entry.get("class_name") != "NotEqual" or len(read) != 1 or (_place(read[0]), value) not in made:
                return str(entry.get("name"))
    return None


def _made_masks(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, Any]]:
    """What layers compare for their masks: where the tensor comes from, and the number that does not count."""
    for entry in entries:
        config: Any = entry.get("config")
        kind = entry.get("class_name") if isinstance(config, Mapping) else None
        if kind == "Masking":
            number = config.get("mask_value", 0.0)
        elif kind == "Embedding" and config.get("mask_zero") is True:
            number = 0
        else:
            continue
        for node in entry.get("inbound_nodes") or []:
            args = node.get("args") if isinstance(node, Mapping) else None
            if isinstance(args, list) and args and _is_tensor(args[0]):
                yield _place(args[0]), number


def _place(tensor: Mapping[str, Any]) -> str:
    return repr(tensor["config"].get("keras_history") if isinstance(tensor.get("config"), Mapping) else None)


def _ends(value: Any) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [value[0]]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [name for entry in inner for name in _ends(entry)]


def _origins(value: Any, masks: bool) -> list[str]:
    if _is_tensor(value):
        history = value["config"].get("keras_history") if isinstance(value.get("config"), Mapping) else None
        return [history[0]] if isinstance(history, list) and history and isinstance(history[0], str) else []
    if isinstance(value, Mapping):
        return [n for key, entry in value.items() if masks or key != "mask" for n in _origins(entry, masks)]
    return [n for entry in value for n in _origins(entry, masks)] if isinstance(value, list) else []
