"""A model's description as Keras 3 writes it, or the reason why Keras cannot say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lstmcore import activations, configs
from lstmcore.activations import Function
from lstmcore.errors import ExportError, SpecError
from lstmcore.interop.keras.implied import computed
from lstmcore.interop.keras.operations import written
from lstmcore.layers.symbolic import EVERY, IMPLIED
from lstmcore.models.base import BaseModel
from lstmcore.models.files import check_shared, without_arrays

Entry = dict[str, Any]

ACTIVATIONS = ("activation", "recurrent_activation")
_CUSTOM = "Custom>"

# Our functions with parameters -> Keras' layer that computes the same.
_AS_LAYERS: Mapping[str, str] = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "softmax": "Softmax"}

# Whose call takes mask= in Keras 3.
_TAKE_MASKS = (
    *("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "TimeDistributed", "Functional", "Sequential"),
    *("Attention", "AdditiveAttention", "BatchNormalization", "GlobalAveragePooling1D", "Softmax"),
)

# Keys that releases of Keras 3 after its first brought, and what they are where they say nothing.
_LATER: Mapping[str, Any] = {
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "input_axes": None,
    "output_axes": None,
    "use_gate": False,
    "sliding_window": None,
    "optional": False,
}


def described(model: BaseModel, activation: Callable[[Function], Any] | None = None, implied: bool = False) -> Entry:
    """The model as Keras 3 serializes it. ExportError names what Keras has no words for.

    ``activation`` writes a function otherwise than for Keras 3; ``implied``: that a mask is implied may be said.
    """
    try:
        check_shared(model)
        data = without_arrays(model.serialize())
        data = data if implied else computed(data)
    except SpecError as error:
        raise ExportError(f"{model.called()} cannot be written for Keras: {error}") from None
    result: Entry = _said(_frozen(data), activation or _activation, implied)
    return result


def _frozen(value: Any, still: bool = False) -> Any:
    """A layer that its model freezes says so itself: Keras forgets it of a model when it loads one."""
    if isinstance(value, list):
        return [_frozen(entry, still) for entry in value]
    if not isinstance(value, Mapping):
        return value
    still = still or (value.get("trainable") is False and "layers" in value)
    changed = {"trainable": False} if still and "trainable" in value else {}
    return {**{key: _frozen(entry, still) for key, entry in value.items()}, **changed}


def _said(value: Any, activation: Callable[[Function], Any], implied: bool) -> Any:
    if isinstance(value, list):
        return [_said(entry, activation, implied) for entry in value]
    if not isinstance(value, Mapping):
        return value
    if str(value.get("registered_name")).startswith(_CUSTOM):
        raise ExportError(
            f"{value['class_name']} is a class of your own, and a Keras file cannot hold what it computes. Models with "
            "it can be exported to ONNX."
        )
    if value.get("class_name") == "Operation":
        return _operation(value)
    if isinstance(value.get("inbound_nodes"), list):
        _check_masks(value, implied)
    made = {}
    for key, entry in value.items():
        if key in ACTIVATIONS and entry is not None:
            made[key] = activation(activations.get(entry))
        elif key not in _LATER or entry != _LATER[key]:
            made[key] = _said(entry, activation, implied)
    return made


def _operation(value: Mapping[str, Any]) -> Entry:
    if not isinstance(value.get("inbound_nodes"), list):
        raise ExportError(
            f"the operation {value['config'].get('name')!r} stands in a Sequential or a wrapper, and Keras has "
            "operations in functional models alone; make it one."
        )
    return written(value)


def _check_masks(entry: Mapping[str, Any], implied: bool) -> None:
    kind, name = entry["class_name"], entry.get("name")
    for node in entry["inbound_nodes"]:
        mask = node["kwargs"].get("mask")
        if mask in (IMPLIED, EVERY) and implied:
            continue
        if mask == EVERY:
            raise ExportError(
                f"layer {name!r}: its output counts where all its inputs do (mask='every', as in Keras 2), and in "
                "Keras 3 it would where one of them does. Export to ONNX, or to .h5 with keras=2."
            )
        if mask == IMPLIED:
            raise ExportError(
                f"layer {name!r}: the mask that comes with its input acts beside its initial_state (mask='implied', as "
                "in Keras 2), in Keras 3 it would not, and no one Embedding or Masking of this model makes it. "
                "Export to ONNX, or to .h5 with keras=2."
            )
        if mask is not None and kind not in _TAKE_MASKS:
            raise ExportError(
                f"layer {name!r} is called with mask=, and Keras' {kind} takes none; let the mask come with the input, "
                "from Masking or an Embedding with mask_zero."
            )


def _activation(function: Function) -> Any:
    """A function in Keras' words: its name, or a layer that computes it."""
    if function.name == "hard_sigmoid_0_2":
        return STEEP
    layer = as_layer(function)
    if layer is None and function.changed:
        raise ExportError(
            f"the activation {function} has parameters that Keras keeps in no file; without them it is {function.name}"
        )
    return layer or function.name


def as_layer(function: Function) -> Entry | None:
    """The layer of Keras that computes a function with its parameters; None where there is none, or none is needed."""
    if function.name == "threshold" and not function.parameters["default_value"]:
        return _layer("ReLU", threshold=function.parameters["threshold"])
    if not function.changed or function.name not in _AS_LAYERS:
        return None
    return _layer(_AS_LAYERS[function.name], **function.parameters)


def _layer(kind: str, **config: Any) -> Entry:
    return configs.wrap("keras.layers", kind, config)


# clip(0.2 x + 0.5, 0, 1), the hard_sigmoid of Keras 1 and 2, in the layers of Keras 3
STEEP = _layer("Pipeline", layers=[_layer("Rescaling", scale=0.2, offset=0.5), _layer("ReLU", max_value=1.0)])
