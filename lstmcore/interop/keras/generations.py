"""The generations of Keras, a row each: what the same words meant in each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.storage.container import show


@dataclass(frozen=True)
class Generation:
    """One generation.

    Attributes:
        name: for messages.
        major: the number by which `classes` lists what its layers' options are called.
        activations: the names of activations that meant something else -> what they meant, in our words.
        mask_beside_states: whether a mask that came with the input reached a recurrent layer called with
            ``initial_state``. In Keras 3 it does not.
        zeros_in_bidirectional: whether a Bidirectional gives zeros at masked steps; else it repeats the last output.
        missing: class -> options that are not in old configs, as they were then: {"GRU": {"reset_after": False}}.
    """

    name: str
    major: int
    activations: Mapping[str, str] = field(default_factory=dict)
    mask_beside_states: bool = True
    zeros_in_bidirectional: bool = True
    missing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_STEEP = {"hard_sigmoid": "hard_sigmoid_0_2"}  # clip(0.2 x + 0.5, 0, 1); Keras 3's has a slope of 1/6
_GATES: Mapping[str, Any] = {"recurrent_activation": "hard_sigmoid_0_2"}
_FIRST: Mapping[str, Mapping[str, Any]] = {
    "LSTM": _GATES,
    "LSTMCell": _GATES,
    "GRU": {**_GATES, "reset_after": False},
    "GRUCell": {**_GATES, "reset_after": False},
    "AveragePooling1D": {"pool_size": 2},
}

KERAS_1 = Generation("Keras 1", 1, _STEEP, zeros_in_bidirectional=False, missing=_FIRST)
KERAS_2 = Generation("Keras 2", 2, _STEEP, zeros_in_bidirectional=False, missing=_FIRST)
TF_KERAS = Generation("tf.keras", 2, _STEEP, missing={"AveragePooling1D": {"pool_size": 2}})
KERAS_3 = Generation("Keras 3", 3, mask_beside_states=False)

# The first whose pattern fits the version that a file names.
_VERSIONS: tuple[tuple[str, Generation], ...] = (
    (r"[01]\.", KERAS_1),
    (r"2\.\d+(\.\d+)*-tf", TF_KERAS),
    (r"2\.[0-3](\.|$)", KERAS_2),
    (r"2\.", TF_KERAS),
    (r"3\.", KERAS_3),
)


def generation(version: str | None, description: Any, name: str) -> Generation:
    """The generation of a file: by the version that it names, else by how its description is written."""
    if version is None:
        return _by_form(description)
    for pattern, row in _VERSIONS:
        if re.match(pattern, version):
            return row
    raise UnsupportedFileError(f"{name} was written by Keras {show(version)}; those of Keras 1 to 3 are read.")


def _by_form(description: Any) -> Generation:
    config = description.get("config") if isinstance(description, Mapping) else None
    layers = config.get("layers") if isinstance(config, Mapping) else config
    entries = [entry for entry in layers if isinstance(entry, Mapping)] if isinstance(layers, list) else []
    configs = [entry["config"] for entry in entries if isinstance(entry.get("config"), Mapping)]
    if any({"init", "nb_filter", "inner_activation", "consume_less"} & set(entry) for entry in configs):
        return KERAS_1
    if isinstance(config, list) or any("batch_input_shape" in entry for entry in configs):
        return KERAS_2 if isinstance(config, list) else TF_KERAS
    if isinstance(description, Mapping) and "module" in description:
        return KERAS_3
    if any(nodes and isinstance(nodes[0], Mapping) for entry in entries if (nodes := entry.get("inbound_nodes"))):
        return KERAS_3
    return TF_KERAS
