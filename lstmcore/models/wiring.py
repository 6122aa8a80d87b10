"""The graph of a functional model to and from Keras 3's config: layers with their ``inbound_nodes``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from lstmcore import tree
from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers.core import InputLayer, symbolic_input
from lstmcore.layers.merge import Concatenate, Dot, Maximum, Merge, Minimum, Multiply
from lstmcore.layers.module import Module
from lstmcore.layers.serialization import deserialize, serialize
from lstmcore.layers.symbolic import EVERY, IMPLIED, Call, SymbolicTensor, call
from lstmcore.models.graph import MAX_CALLS, Graph

TENSOR = "__keras_tensor__"
MASKED = "implied"  # stands for a mask that Keras computes beside the layers
IF_MASKED = "if masked"  # the same, where there may be none: Keras 2's rule beside initial_state
MAX_EDGES, MAX_INPUTS = 1 << 14, 1024
Calls = dict[str, list[Call]]


def write(graph: Graph, inputs: Any, outputs: Any) -> dict[str, Any]:
    """``layers``, ``input_layers`` and ``output_layers``: SpecError where an input is the output of a layer."""
    for tensor in graph.inputs:
        if not tensor.is_input:
            raise SpecError(
                f"{graph.owner} starts in the middle of another, at {tensor.name!r}, which its description cannot "
                "say. Call the layers that follow on an Input of that shape."
            )

    def end(tensor: SymbolicTensor) -> list[Any]:
        name, use, output = graph.origin(tensor)
        return [name, use + _own_calls(tensor.call.module), output]

    def encode(leaf: Any) -> Any:
        if not isinstance(leaf, SymbolicTensor):
            return leaf
        config = {"shape": list(leaf.shape), "dtype": leaf.dtype, "keras_history": list(graph.origin(leaf))}
        return {"class_name": TENSOR, "config": config}

    def node(use: Call) -> dict[str, Any]:
        items = [(name, tree.transform(encode, value)) for name, value in use.arguments.items()]
        return {"args": [value for _, value in items[: use.positional]], "kwargs": dict(items[use.positional :])}

    entries = []
    for module, name in graph.names.items():
        entry = serialize(module)
        entry["config"]["name"] = name
        nodes = [] if isinstance(module, InputLayer) else [node(use) for use in graph.uses(module)]
        entries.append({**entry, "name": name, "inbound_nodes": nodes})
    return {
        "layers": entries,
        "input_layers": tree.transform(end, inputs),
        "output_layers": tree.transform(end, outputs),
    }


def read(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The inputs and outputs, with the layers between them called as the config says."""
    entries = config.get("layers")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise SpecError("a functional model: the config's 'layers' is no list of layers")
    modules: dict[str, Module] = {}
    waiting: dict[str, list[Any]] = {}
    calls: Calls = {}
    for entry in _without_mask_operations(entries):
        name, module, nodes = _module(entry)
        if name in modules:
            raise SpecError(f"a functional model: two layers are called {name!r}")
        modules[name], waiting[name] = module, nodes
        calls[name] = [symbolic_input(module).call] if isinstance(module, InputLayer) else []
    _connect(modules, waiting, calls)

    def find(history: Any) -> SymbolicTensor:
        own = _own_calls(modules.get(history[0])) if isinstance(history, list) and len(history) == 3 else 0
        if own and type(history[1]) is int:
            history = [history[0], history[1] - own, history[2]]
        tensor = _find(history, modules, calls)
        if tensor is None:
            raise SpecError(f"a functional model: {history!r} names an output that its layer does not have")
        return tensor

    return _ends(config, "input_layers", find), _ends(config, "output_layers", find)


def _without_mask_operations(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries without the operations by which Keras computes masks, and without what refers to those.

    The layers that make masks are there, so they come about again; one that would not is refused.
    """
    names = {
        entry.get("name") for entry in entries if str(entry.get("module")).startswith(("keras.src.ops", "keras.ops"))
    }

    def is_mask(value: Any) -> bool:
        history = _history(value) if _is_tensor(value) else None
        return isinstance(history, list) and bool(history) and isinstance(history[0], str) and history[0] in names

    def kept(node: Any) -> Any:
        args, kwargs = _parts(node)
        plain = {key: value for key, value in kwargs.items() if key != "mask"}
        if any(history and history[0] in names for history in _histories({"args": args, "kwargs": plain})):
            raise SpecError(
                "a functional model: it computes with operations of keras.ops, which are no layers; use layers"
            )
        mask = kwargs.get("mask")
        if isinstance(mask, list) and any(map(is_mask, mask)):
            mask = MASKED
        return {"args": args, "kwargs": plain | ({} if mask is None else {"mask": MASKED if is_mask(mask) else mask})}

    if not names:
        return entries
    layers = [entry for entry in entries if entry.get("name") not in names]
    return [{**entry, "inbound_nodes": [kept(node) for node in entry.get("inbound_nodes") or []]} for entry in layers]


def _module(entry: Mapping[str, Any]) -> tuple[str, Module, list[Any]]:
    module = deserialize(entry)
    config = entry["config"] if isinstance(entry.get("config"), Mapping) else {}
    name, nodes = entry.get("name", config.get("name")), entry.get("inbound_nodes", [])
    if not isinstance(name, str) or not isinstance(nodes, list):
        raise SpecError(f"a functional model: a layer has the name {name!r} and {type(nodes).__name__} inbound_nodes")
    if module.name != name:
        raise SpecError(f"a functional model: a layer is called {name!r} there and {module.name!r} in its own config")
    return name, module, [] if isinstance(module, InputLayer) else nodes


def _connect(modules: Mapping[str, Module], waiting: Mapping[str, list[Any]], calls: Calls) -> None:
    """Calls each layer as soon as what it reads is there."""
    rest = {name: list(nodes) for name, nodes in waiting.items() if nodes}
    _check_edges(node for nodes in rest.values() for node in nodes)
    unread: dict[str, Iterator[Any]] = {}
    waked: dict[tuple[str, int], list[str]] = {}  # by the call that they wait for
    ready = deque(rest)
    while ready:
        name = ready.popleft()
        while rest[name]:
            histories = unread.pop(name, None) or _histories(rest[name][0])
            absent = next((history for history in histories if _find(history, modules, calls) is None), None)
            if absent is not None:
                unread[name] = chain([absent], histories)
                waked.setdefault((absent[0], absent[1]), []).append(name)
                break
            args, kwargs = _arguments(rest[name].pop(0), modules, calls)
            _check_masked(name, args, kwargs)
            _check_every(modules[name], args, kwargs)
            try:
                call(modules[name], args, kwargs)
            except InputError as error:
                raise SpecError(str(error)) from None
            calls[name].append(modules[name].calls[-1])
            ready.extend(waked.pop((name, len(calls[name]) - 1), ()))
    if left := [name for name, nodes in rest.items() if nodes]:
        raise SpecError(
            "a functional model: these layers wait for each other, in a cycle or for an output that nothing "
            f"makes: {', '.join(left)}"
        )


def _check_edges(nodes: Iterable[Any]) -> None:
    """SpecError for more calls, or more tensors in them, than the models that people make have."""
    counts = [sum(1 for _ in _histories(node)) for node in nodes]
    if len(counts) > MAX_CALLS or sum(counts) > MAX_EDGES or max(counts, default=0) > MAX_INPUTS:
        raise SpecError(
            f"a functional model: {len(counts)} calls of layers on {sum(counts)} tensors, at most {max(counts)} in "
            f"one; expected at most {MAX_CALLS}, {MAX_EDGES} and {MAX_INPUTS}"
        )


def _check_every(module: Module, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Takes `EVERY` out again where it would change nothing."""
    if kwargs.get("mask") == EVERY and not every_matters(module, tree.leaves(args)):
        del kwargs["mask"]


def every_matters(module: Module, tensors: Iterable[Any]) -> bool:
    """Whether ``mask="every"`` changes a merge of these: their masks differ, or act upon its numbers."""
    inputs = [leaf for leaf in tensors if isinstance(leaf, SymbolicTensor)]
    makers = {_maker(tensor) for tensor in inputs}
    if not isinstance(module, Merge) or isinstance(module, Dot) or makers <= {None}:
        return False
    if isinstance(module, Concatenate) and module.axis not in (-1, len(inputs[0].shape) - 1):
        return False  # there masks stand one after the other, as the numbers do
    return len(makers) > 1 or isinstance(module, (Multiply, Maximum, Minimum))


def _maker(tensor: SymbolicTensor) -> Call | None:
    """The call that made the mask of a tensor, None where it has none."""
    while tensor.mask is not None:
        call = tensor.call
        masked = [other for other in call.tensors if other.mask is not None]
        if not masked or type(call.module).__name__ in ("Masking", "Embedding") or call.arguments.get("mask") == EVERY:
            return call
        tensor = masked[0]
    return None


def _check_masked(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Takes the mark for an implied mask out again, or says `IMPLIED` where it would not reach the layer by itself.

    SpecError where no mask comes with the inputs.
    """
    marked = kwargs.get("mask")
    if marked not in (MASKED, IF_MASKED):
        return
    del kwargs["mask"]
    if any(isinstance(leaf, SymbolicTensor) and leaf.mask is not None for leaf in tree.leaves(args)):
        if kwargs.get("initial_state") is not None:
            kwargs["mask"] = IMPLIED
    elif marked == MASKED:
        raise SpecError(f"layer {name!r}: its mask is computed by operations of keras.ops; use Masking or mask_zero")


def _own_calls(module: Module | None) -> int:
    """Where a graph begins and ends, Keras counts a functional model's own making as the first of its calls."""
    return 1 if hasattr(module, "graph") else 0


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class_name") == TENSOR


def _history(value: Mapping[str, Any]) -> Any:
    config = value.get("config")
    return config.get("keras_history") if isinstance(config, Mapping) else None


def _parts(node: Any) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = (node.get("args"), node.get("kwargs", {})) if isinstance(node, Mapping) else (None, None)
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise SpecError(f"a functional model: {node!r} is no call; expected args and kwargs, as Keras 3 writes them")
    return args, kwargs


def _histories(node: Any) -> Iterator[Any]:
    def walk(value: Any) -> Iterator[Any]:
        if _is_tensor(value):
            yield _history(value)
        elif isinstance(value, (list, Mapping)):
            for entry in value.values() if isinstance(value, Mapping) else value:
                yield from walk(entry)

    return walk(list(_parts(node)))


def _arguments(node: Any, modules: Mapping[str, Module], calls: Calls) -> tuple[list[Any], dict[str, Any]]:
    def decode(value: Any) -> Any:
        if _is_tensor(value):
            return _find(_history(value), modules, calls)
        if isinstance(value, list):
            return [decode(entry) for entry in value]
        if isinstance(value, Mapping):
            if "class_name" in value:
                raise SpecError(
                    f"a functional model: a call holds a {value['class_name']!r}, which is no layer's output"
                )
            return {key: decode(entry) for key, entry in value.items()}
        return value

    args, kwargs = _parts(node)
    return [decode(value) for value in args], {key: decode(value) for key, value in kwargs.items()}


def _find(history: Any, modules: Mapping[str, Module], calls: Calls) -> SymbolicTensor | None:
    """The tensor of [layer, call, output]; None while that call is not made yet."""
    whole = isinstance(history, (list, tuple)) and len(history) == 3
    if not whole or not isinstance(history[0], str) or not all(type(n) is int and n >= 0 for n in history[1:]):
        raise SpecError(f"a functional model: {history!r} names no output; expected [layer, call, output]")
    name, use, output = history
    if name not in modules:
        raise SpecError(f"a functional model: {history!r} names a layer that is not there.{near(name, modules)}")
    if use >= len(calls[name]) or output >= len(calls[name][use].outputs):
        return None
    tensor: SymbolicTensor = calls[name][use].outputs[output]
    return tensor


def _ends(config: Mapping[str, Any], key: str, find: Callable[[Any], SymbolicTensor]) -> Any:
    """Tensors in the structure in which a config names them; one alone is [layer, call, output]."""

    def decode(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: decode(entry) for name, entry in value.items()}
        if isinstance(value, list) and value and isinstance(value[0], str):
            return find(value)
        if isinstance(value, list) and value:
            return [decode(entry) for entry in value]
        raise SpecError(f"a functional model: the config's {key!r} holds {value!r}; expected [layer, call, output]")

    return decode(config.get(key))
