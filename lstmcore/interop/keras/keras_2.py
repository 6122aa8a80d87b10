"""Keras 3's description of a model in the words of Keras 2 (tf.keras, tf_keras 2.15 to 2.21), for its ``.h5`` files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lstmcore.activations import Function
from lstmcore.errors import ExportError, FileError
from lstmcore.interop.keras.describe import Entry, as_layer, described
from lstmcore.interop.keras.generations import TF_KERAS
from lstmcore.interop.keras.masks import check_masks, check_merges
from lstmcore.layers import Operation
from lstmcore.layers.symbolic import EVERY, IMPLIED
from lstmcore.models.base import BaseModel
from lstmcore.models.functional import Model

VERSION = "2.15.0"

_FUNCTIONS = (
    *("elu", "exponential", "gelu", "linear", "log_softmax", "mish", "relu", "selu", "sigmoid", "softmax"),
    *("softplus", "softsign", "tanh"),
)
_RENAMED = {"silu": "swish", "hard_sigmoid_0_2": "hard_sigmoid"}

# What Keras 2 does not know, and the value with which it says nothing.
_LATER: Mapping[str, Any] = {
    "zero_output_for_mask": False,
    "synchronized": False,
    "rms_scaling": False,
    "sliding_window": None,
    "optional": False,
}
_NO_SEED = (
    "LSTM",
    "GRU",
    "LSTMCell",
    "GRUCell",
    "SimpleRNNCell",
    "Attention",
    "AdditiveAttention",
    "MultiHeadAttention",
)
_BESIDE = ("module", "registered_name", "build_config", "shared_object_id")
_ENDS = ("input_layers", "output_layers")
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")


def described_2(model: BaseModel) -> Entry:
    """The model in the words of Keras 2. ExportError names what it has no words for, or another rule."""
    _check(model)
    for inner in model.modules():
        if isinstance(inner, Operation):
            raise ExportError(f"{inner.called()} stands between layers, for which Keras 2 has no words; use layers")
    data: Entry = _said(described(model, _activation, implied=True))
    return data


def _check(model: BaseModel) -> None:
    check_merges(model, "Keras 2")
    try:
        check_masks(model, TF_KERAS, "Keras 2")
    except FileError as error:
        raise ExportError(str(error)) from None
    for inner in model.modules():
        for call in inner.graph.calls if isinstance(inner, Model) else ():
            states, mask = call.arguments.get("initial_state"), call.arguments.get("mask")
            masked = [tensor for tensor in call.tensors[:1] if tensor.mask is not None]
            if states is not None and masked and mask is None:
                raise ExportError(
                    f"{call.module.called()} starts from an initial_state, beside which the mask of its input has no "
                    "effect, as in Keras 3; in Keras 2 it would have one."
                )


def _activation(function: Function) -> Any:
    name = _RENAMED.get(function.name, function.name)
    if not function.changed and (name in _FUNCTIONS or name in _RENAMED.values()) and function.name != "hard_sigmoid":
        return name
    layer = as_layer(function)
    if layer is None:
        raise ExportError(f"the activation {function} is none of Keras 2")
    return layer


def _said(value: Any) -> Any:
    if isinstance(value, list):
        return [_said(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    made = {key: entry for key, entry in value.items() if key not in _BESIDE}
    kind, config = made.get("class_name"), made.get("config")
    if isinstance(config, Mapping) and isinstance(kind, str):
        made["config"] = _options(kind, config)
        if config.get("layers") is not None and kind != "Sequential":
            made["config"] |= {**_graph(config["layers"]), **{key: _listed(config[key]) for key in _ENDS}}
    return {key: _said(entry) for key, entry in made.items()}


def _options(kind: str, config: Mapping[str, Any]) -> Entry:
    """The options of a layer under Keras 2's keys."""
    made = {key: value for key, value in config.items() if key not in _LATER or value != _LATER[key]}
    if kind in _NO_SEED and made.pop("seed", None) is not None:
        raise ExportError(f"{kind} {made.get('name')!r} has a seed, which Keras 2 has no place for")
    for key in set(_LATER) & set(made) - {"zero_output_for_mask"}:
        raise ExportError(f"{kind} {made.get('name')!r} has {key}={made[key]!r}, which Keras 2 has not")
    change = _CHANGES.get(kind)
    return change(made) if change else made


def _input(config: Entry) -> Entry:
    return {("batch_input_shape" if key == "batch_shape" else key): value for key, value in config.items()}


def _leaky(config: Entry) -> Entry:
    return {("alpha" if key == "negative_slope" else key): value for key, value in config.items()}


def _padding(config: Entry) -> Entry:
    if config.pop("data_format", "channels_last") != "channels_last":
        raise ExportError(f"ZeroPadding1D {config.get('name')!r} has its channels first, which Keras 2 has not")
    return config


def _heads(config: Entry) -> Entry:
    return {**config, "query_shape": None, "key_shape": None, "value_shape": None}


_CHANGES: Mapping[str, Callable[[Entry], Entry]] = {
    "InputLayer": _input,
    "LeakyReLU": _leaky,
    "ZeroPadding1D": _padding,
    "MultiHeadAttention": _heads,
}


def _graph(entries: list[Entry]) -> Entry:
    """The layers of a functional model with their calls as Keras 2 writes them."""
    # a nested model's own making is the first of its calls
    first = {e["name"]: int(e["class_name"] == "Functional" or _is_whole(e)) for e in entries}

    def tensor(value: Any) -> Any:
        name, use, output = value["config"]["keras_history"]
        return [name, use + first[name], output]

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
            return tensor(value)
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        return {key: plain(entry) for key, entry in value.items()} if isinstance(value, Mapping) else value

    def call(kind: str, node: Mapping[str, Any]) -> Any:
        (x, *more), kwargs = node["args"], dict(node["kwargs"])
        if kwargs.get("mask") in (IMPLIED, EVERY):
            del kwargs["mask"]
        if more:
            raise ExportError(f"a {kind} is called with several arguments by position; name them")
        if isinstance(x, Mapping) and "class_name" not in x:
            return {key: [*tensor(value), plain(kwargs)] for key, value in x.items()}
        tensors = x if isinstance(x, list) else [x]
        if kind in _RECURRENT and _is_flat(kwargs.get("initial_state")):
            states = kwargs.pop("initial_state")
            tensors = [*tensors, *(states if isinstance(states, list) else [states])]
        return [[*tensor(value), plain(kwargs)] for value in tensors]

    layers = [{**e, "inbound_nodes": [call(e["class_name"], n) for n in e["inbound_nodes"]]} for e in entries]
    return {"layers": layers}


def _listed(ends: Any) -> Any:
    """One end is a list of one."""
    return [ends] if isinstance(ends, list) and isinstance(ends[0], str) else ends


def _is_whole(entry: Entry) -> bool:
    """Whether it is a chain that knows its input."""
    layers = entry["config"].get("layers", []) if entry["class_name"] == "Sequential" else []
    return bool(layers) and layers[0]["class_name"] == "InputLayer"


def _is_flat(states: Any) -> bool:
    one = isinstance(states, Mapping)
    return one or (isinstance(states, list) and all(isinstance(entry, Mapping) for entry in states))
