"""Models of tf.keras whose recurrent layers have ``time_major=True``: their tensors are (time, batch, features).

They are read with the batch first, as all models here have it, and then made a `ProgramModel`, which takes and gives
arrays with time first, as tf.keras did. Between such layers may stand what treats each step alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmcore import tree
from lstmcore.errors import UnsupportedFileError
from lstmcore.layers import symbolic
from lstmcore.layers.options import several
from lstmcore.layers.symbolic import Call, SymbolicTensor
from lstmcore.models.program_model import ProgramModel

_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")
_ALIKE = (
    *("Dense", "Embedding", "Activation", "ReLU", "LeakyReLU", "ELU", "Masking", "Rescaling", "ActivityRegularization"),
    *("Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
)
_OVER_LAST = ("BatchNormalization", "LayerNormalization", "Concatenate", "Softmax")  # where their axis is that

Axes = Mapping[str, int | None]


def turned(description: Mapping[str, Any], inputs: set[str]) -> dict[str, Any]:
    """The description of a model with the batch first, where these of its inputs had time first."""
    config = description["config"]
    layers = [_turned_input(entry) if entry["config"].get("name") in inputs else entry for entry in config["layers"]]
    if inputs and description["class_name"] == "Sequential":  # its first layer may say what the input is
        layers[0] = _turned_input(config["layers"][0])
    kept = {key: value for key, value in config.items() if key != "build_input_shape"}
    return {**description, "config": {**kept, "layers": layers}}


def _turned_input(entry: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(entry["config"])
    for key in ("batch_shape", "batch_input_shape"):
        if config.get(key) is not None:
            first, second, *rest = config[key]
            config[key] = [second, first, *rest]
    return {**entry, "config": config}


def batch_axes(model: Any, layers: set[str], turns: set[str], name: str) -> tuple[set[str], dict[str, int | None]]:
    """Which inputs have time first, by name, and the axis of the batch in each input and output.

    ``layers`` are those with ``time_major=True``, ``turns`` stand where time and batch change places.
    UnsupportedFileError where another layer would take time for the batch, or the batch for time, whichever of them
    the inputs have first.
    """
    calls = symbolic.history(model.outputs)
    try:
        found = _time_first(calls, True, layers, turns, name)
    except UnsupportedFileError:
        if not turns:
            raise
        found = _time_first(calls, False, layers, turns, name)
    ends = [*zip(model.program.inputs, model.inputs, strict=True), *zip(model.output_names, model.outputs, strict=True)]
    return {end.name for end in model.inputs if end in found}, {name: int(end in found) for name, end in ends}


def _time_first(calls: list[Call], inputs: bool, layers: set[str], turns: set[str], name: str) -> set[SymbolicTensor]:
    """The tensors that have time before the batch, where the inputs that are sequences do, or do not."""
    found: set[SymbolicTensor] = set()
    for call in calls:
        if not call.arguments:
            ids = any(type(reader.module).__name__ == "Embedding" for reader in calls if call.first in reader.tensors)
            found |= set(call.outputs) if inputs and (ids or len(call.first.shape) > 2) else set()
        elif call.module.name in turns:
            found |= set() if call.first in found else set(call.outputs)
        elif _goes_on(call, layers, found, name):
            found |= {tensor for tensor in call.outputs if len(tensor.shape) > 2 or tensor.kind != "float"}
    return found


def _goes_on(call: Call, layers: set[str], found: set[SymbolicTensor], name: str) -> bool:
    """Whether what comes out of a layer has time first."""
    kind = type(call.module).__name__
    tensors = [leaf for leaf in tree.leaves(call.first) if isinstance(leaf, SymbolicTensor)]
    first = [tensor in found for tensor in tensors]
    if kind in _RECURRENT:
        wanted = call.module.name in layers
        if first[0] != wanted:
            given, other = ("first", "second") if first[0] else ("second", "first")
            raise UnsupportedFileError(
                f"{name}: {call.module.called()} has time_major={wanted}, so it takes time from the {other} axis, and "
                f"its input has it as the {given}."
            )
        return wanted
    if not any(first):
        return False
    over_last = kind in _OVER_LAST and all(axis in (-1, len(tensors[0].shape) - 1) for axis in _axes(call.module))
    if all(first) and (kind in _ALIKE or over_last):
        return True
    raise UnsupportedFileError(
        f"{name}: {call.module.called()} gets what has time before the batch (time_major=True of a layer before it), "
        "and does not treat both alike; in lstmcore it takes the batch first."
    )


def _axes(layer: Any) -> tuple[int, ...]:
    return several(layer.axis)


def with_time_first(model: Any, axes: Axes) -> ProgramModel:
    """The model as one whose arrays have their batch at these axes."""
    return ProgramModel(
        model.program,
        model.every_path(),
        name=model.name,
        dtype=model.dtype,
        output_names=model.output_names,
        batch_axes=axes,
        trainable=model.trainable,
    )
