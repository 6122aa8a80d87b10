"""What Keras 1 had and no later Keras has, said in layers that there are: Merge, Highway, MaxoutDense.

Keras 2.0 still read and wrote these (keras/legacy/layers.py of 2.0.9). The formulas were read in Keras 1.2.2,
keras/layers/core.py and keras/engine/topology.py, and measured with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.naming import unique
from lstmcore.storage.container import show

Entry = dict[str, Any]

# Keras 1's Merge: mode -> our class, and which of its keys is the axis.
_MERGES: Mapping[str, tuple[str, str | None]] = {
    "sum": ("Add", None),
    "mul": ("Multiply", None),
    "ave": ("Average", None),
    "max": ("Maximum", None),
    "concat": ("Concatenate", "concat_axis"),
    "dot": ("Dot", "dot_axes"),
    "cos": ("Dot", "dot_axes"),
}
_MODELS = ("Model", "Functional")
_OF_INPUT = ("batch_input_shape", "input_dtype", "dtype", "sparse")
_TRAINING = {
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
}


def unmerged(data: Mapping[str, Any], file: str) -> Iterator[Mapping[str, Any]]:
    """A Merge in a functional model, as the layers that do what it did, the last of them under its name.

    Other layers as they are.
    """
    if data.get("class_name") != "Merge":
        yield data
        return
    config = data.get("config")
    config = config if isinstance(config, Mapping) else {}
    mode, name = config.get("mode"), data.get("name", config.get("name"))
    if config.get("mode_type", "raw") != "raw" or not isinstance(mode, str) or mode not in _MERGES:
        raise UnsupportedFileError(
            f"{file}: it has a Merge with mode {show(mode)}, called {show(name)}; lstmcore has {', '.join(_MERGES)}."
        )
    ours, axis = _MERGES[mode]
    options = {} if axis is None else {"axes" if ours == "Dot" else "axis": config.get(axis, -1)}
    kept = {key: data[key] for key in ("name", "inbound_nodes") if key in data}
    if mode != "cos":
        yield {**kept, **_as(ours, {"name": name, **options})}
        return
    # the cosine of Keras 1 has an axis more than later ones'
    cosine = f"{name}_cosine"
    calls = kept.get("inbound_nodes")
    nodes = [[[cosine, k, 0]] for k in range(len(calls) if isinstance(calls, list) else 0)]
    yield {**kept, "name": cosine, **_as(ours, {"name": cosine, "normalize": True, **options})}
    yield {"name": name, "inbound_nodes": nodes, **_as("Reshape", {"name": name, "target_shape": [1, 1]})}


def is_merging(config: Any) -> bool:
    """Whether the config is of a Sequential that begins with a Merge of other models."""
    layers = _layers(config)
    first = layers[0] if isinstance(layers, list) and layers else None
    return isinstance(first, Mapping) and first.get("class_name") == "Merge"


def flat(config: Any, file: str, masks: bool, most: int) -> Entry:
    """A Sequential that begins with a Merge, as the config of one functional model; layers of one name are one.

    ``masks`` says whether those of merged Sequentials reach the Merge: in Keras 1 they do not (1.0.8, 1.2.2, measured).
    ``most`` is how many calls of layers there may be.
    """
    made = _Flat(file, masks, most)
    ends = made.chain(_layers(config))
    name = config.get("name") if isinstance(config, Mapping) else None
    named = {} if name is None else {"name": name}
    return {**named, "layers": list(made.entries.values()), "input_layers": made.inputs, "output_layers": ends}


class _Flat:
    """The layers of merged models, gathered as those of one functional model."""

    def __init__(self, file: str, masks: bool, most: int) -> None:
        self._file, self._masks, self._left = file, masks, most
        self.entries: dict[str, Entry] = {}
        self.inputs: list[Any] = []

    def chain(self, layers: Any) -> list[Any]:
        """Adds layers, each on what came out of the one before, and returns what comes out of the last."""
        if not isinstance(layers, list) or not layers:
            raise self._error("a model that it merges has no layers")
        ends = self._first(layers[0])
        for data in layers[1:]:
            ends = [self._call(data, [ends])]
        return ends

    def _first(self, data: Any) -> list[Any]:
        kind = data.get("class_name") if isinstance(data, Mapping) else None
        config = data.get("config") if kind else None
        if kind == "Merge" and isinstance(config, Mapping) and isinstance(config.get("layers"), list):
            branches = [self._branch(branch) for branch in config["layers"]]
            rest = {key: value for key, value in config.items() if key != "layers"}
            return [self._call({**data, "config": rest}, [[end for ends in branches for end in ends]])]
        if kind == "Sequential":
            return self.chain(_layers(config))
        if kind in _MODELS and isinstance(config, Mapping):
            return self._model(config)
        if not isinstance(config, Mapping):
            raise self._error(f"{show(data)} describes no layer")
        if kind == "InputLayer":
            return [self._call(data, [])]
        if config.get("batch_input_shape") is None:
            raise self._error(f"the layer {show(config.get('name'))} begins a model and says no input shape")
        about = {key: config[key] for key in _OF_INPUT if key in config}
        about = {"name": f"{config.get('name')}_input", **about}
        rest = {key: value for key, value in config.items() if key not in ("batch_input_shape", "input_dtype")}
        return [self._call({**data, "config": rest}, [[self._call(_as("InputLayer", about), [])]])]

    def _branch(self, data: Any) -> list[Any]:
        """What is merged: what comes out of a model, its mask left out where Keras did that."""
        ends = self._first(data)
        if self._masks or data.get("class_name") != "Sequential" or not any(map(_masks, self.entries.values())):
            return ends
        name = unique("unmasked", set(self.entries))
        same = _as("Operation", {"name": name, "function": "multiply", "arguments": {"other": 1.0}})
        return [self._call(same, [ends])]

    def _model(self, config: Mapping[str, Any]) -> list[Any]:
        """A functional model's layers with their own calls."""
        entries, ends = config.get("layers"), config.get("output_layers")
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise self._error("a model that it merges has no list of layers")
        for entry in entries:
            name = str(entry.get("name"))
            self._count()
            if name in self.entries:
                raise self._error(f"two models that it merges share {show(name)}")
            self.entries[name] = dict(entry)
            if entry.get("class_name") == "InputLayer":
                self.inputs.append([name, 0, 0])
        if not isinstance(ends, list) or not all(isinstance(end, list) for end in ends):
            raise self._error(f"a model that it merges has the outputs {show(ends)}")
        return ends

    def _call(self, data: Any, nodes: list[Any]) -> Any:
        """Calls a layer once more, and returns its output."""
        self._count()
        config = data.get("config") if isinstance(data, Mapping) else None
        if not isinstance(config, (Mapping, list)):
            raise self._error(f"{show(data)} describes no layer")
        name = config.get("name") if isinstance(config, Mapping) else None
        name = unique("sequential", set(self.entries)) if name is None else str(name)
        entry = self.entries.get(name)
        if entry is None:
            entry = self.entries[name] = {**data, "name": name, "inbound_nodes": []}
            if data.get("class_name") == "InputLayer":
                self.inputs.append([name, 0, 0])
        elif (entry.get("class_name"), entry.get("config")) != (data.get("class_name"), config):
            raise self._error(f"two different layers of models that it merges are called {show(name)}")
        if not nodes or nodes[0] not in entry["inbound_nodes"]:
            entry["inbound_nodes"] = [*entry["inbound_nodes"], *nodes]
        return [name, entry["inbound_nodes"].index(nodes[0]) if nodes else 0, 0]

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error("more layers than are read")

    def _error(self, fault: str) -> UnsupportedFileError:
        return UnsupportedFileError(f"{self._file}: it has a Merge in a Sequential, and {fault}.")


def _masks(entry: Mapping[str, Any]) -> bool:
    config = entry.get("config")
    return entry.get("class_name") == "Masking" or (isinstance(config, Mapping) and config.get("mask_zero") is True)


def highway(config: Mapping[str, Any], file: str) -> Entry:
    """``t h + (1 - t) x`` with ``h = activation(x W + b)``, ``t = sigmoid(x W_carry + b_carry)``: a chain of one model.

    In the words of Keras 3; the layers of h and t are called ``NAME_h`` and ``NAME_t``.
    """
    name, width = config.get("name"), config.get("input_dim")
    if type(width) is not int:
        raise UnsupportedFileError(f"{file}: the Highway {show(name)} does not say how many features it has.")
    x, h, t, rest, kept, gone = (f"{name}_{part}" for part in ("x", "h", "t", "rest", "kept", "gone"))
    options = {"units": width, "use_bias": config.get("bias", True)}
    activation = config.get("activation", "linear")
    layers = [
        _call(_as("InputLayer", {"name": x, "batch_shape": [None, width]})),
        _call(_as("Dense", {"name": h, **options, **_trained(config, file), "activation": activation}), x),
        _call(_as("Dense", {"name": t, **options, "activation": "sigmoid"}), x),
        _call(_as("Rescaling", {"name": rest, "scale": -1.0, "offset": 1.0}), t),
        _call(_as("Multiply", {"name": gone}), h, t),
        _call(_as("Multiply", {"name": kept}), x, rest),
        _call(_as("Add", {"name": f"{name}_y"}), gone, kept),
    ]
    inner = {"name": f"{name}_model", "layers": layers, "input_layers": [x, 0, 0], "output_layers": [f"{name}_y", 0, 0]}
    return _chain(config, [_as("Functional", inner)])


def maxout(config: Mapping[str, Any], file: str) -> Entry:
    """``max over k of x W_k + b_k``: a Dense called ``NAME_dense`` for all k, and the largest of each unit's."""
    units, count, name = config.get("output_dim"), config.get("nb_feature", 4), config.get("name")
    wide = units * count if type(units) is int and type(count) is int else 0
    options = {"units": wide, "use_bias": config.get("bias", True), **_trained(config, file)}
    layers = [
        _as("Dense", {"name": f"{name}_dense", **options}),
        _as("Reshape", {"name": f"{name}_pieces", "target_shape": [count, units]}),
        _as("GlobalMaxPooling1D", {"name": f"{name}_max"}),
    ]
    return _chain(config, layers)


MADE: Mapping[str, tuple[Callable[[Mapping[str, Any], str], Entry], Mapping[str, tuple[str, str]]]] = {
    "Highway": (highway, {"W": ("h", "W"), "b": ("h", "b"), "W_carry": ("t", "W"), "b_carry": ("t", "b")}),
    "MaxoutDense": (maxout, {"W": ("dense", "maxout_W"), "b": ("dense", "maxout_b")}),
}
"""Class -> what makes the config of a Sequential of it, and where its weights go: layer, by the end of its name, and
name."""


def _trained(config: Mapping[str, Any], file: str) -> Entry:
    if config.get("activity_regularizer") is not None:
        raise UnsupportedFileError(
            f"{file}: {show(config.get('name'))} has an activity_regularizer, which lstmcore lacks in such a layer."
        )
    return {ours: config[key] for key, ours in _TRAINING.items() if key in config}


def _chain(config: Mapping[str, Any], layers: list[Entry]) -> Entry:
    if config.get("batch_input_shape") is not None:
        first = {"name": f"{config.get('name')}_input", "batch_shape": config["batch_input_shape"]}
        layers = [_as("InputLayer", first), *layers]
    kept = {key: config[key] for key in ("name", "trainable") if key in config}
    return {**kept, "layers": layers}


def _call(entry: Entry, *inputs: str) -> Entry:
    tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}} for name in inputs]
    args = [tensors] if len(tensors) > 1 else tensors
    return {**entry, "name": entry["config"]["name"], "inbound_nodes": [{"args": args, "kwargs": {}}] if args else []}


def _layers(config: Any) -> Any:
    return config.get("layers") if isinstance(config, Mapping) else config


def _as(kind: str, config: Mapping[str, Any]) -> Entry:
    return {"class_name": kind, "config": dict(config)}


_REGULARIZERS_1 = ("WeightRegularizer", "ActivityRegularizer", "L1L2Regularizer")
_CONSTRAINTS_1 = {"MaxNorm": {"m": "max_value"}, "NonNeg": {}, "UnitNorm": {}}


def penalty(value: Any) -> Any:
    """A regularizer or constraint of Keras 1, ``{"name": ..., ...}``, in the form of later ones; others as they are."""
    name = value.get("name") if isinstance(value, Mapping) and "class_name" not in value else None
    rest = {key: entry for key, entry in value.items() if key != "name"} if name else {}
    if name in _REGULARIZERS_1:
        return _as("L1L2", rest)
    if name in _CONSTRAINTS_1:
        return _as(name, {_CONSTRAINTS_1[name].get(key, key): entry for key, entry in rest.items()})
    return value
