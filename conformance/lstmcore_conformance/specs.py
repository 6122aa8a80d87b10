"""The layer that a case describes, as data that both lstmcore's and Keras' classes can be made from.

A layer is written ``["LSTMCell", {"units": 3}]``; in options too, alone or in a list. The options of a case that
its layer does not have are those of the one layer inside it, which may then be a bare name:
``{"layer": "Bidirectional", "wraps": "LSTM", "return_sequences": true, "merge_mode": "sum"}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lstmcore import layers
from lstmcore_conformance.cases import Case

INSIDE = ("layer", "cell")  # options that are one layer
RENAMED = {"wraps": "layer", "over": "axes"}  # options of layers that are called like keys of a family


def fields(name: str) -> tuple[str, ...]:
    """The options of a layer."""
    return tuple(getattr(layers, name).__dataclass_fields__)


def call_arguments(case: Case) -> dict[str, Any]:
    """What the call takes beside inputs, mask and states: tensors by their shapes, masks by their pattern, flags."""
    _, *names = getattr(layers, case.subject[1]).call_arguments
    return {k: v for k, v in case.options.items() if k in names and v is not None}


def of(case: Case) -> list[Any]:
    """``[name, options]`` of the layer of a case; ``units`` is H where the layer has any."""
    name = case.subject[1]
    call = getattr(layers, name).call_arguments[1:]
    options = {RENAMED.get(k, k): v for k, v in case.options.items() if k not in call}
    own = {k: v for k, v in options.items() if k in fields(name)}
    rest = {k: v for k, v in options.items() if k not in fields(name)}
    for key in INSIDE:
        if isinstance(own.get(key), str):
            own[key] = _sized(case, own[key], rest)
            if isinstance(behind := own.get("backward_layer"), str):
                own["backward_layer"] = _sized(case, behind, {**rest, "go_backwards": not rest.get("go_backwards")})
            rest = {}
    return _sized(case, name, {**own, **rest})  # which refuses what is left over


def _sized(case: Case, name: str, options: Mapping[str, Any]) -> list[Any]:
    return [name, {**({"units": case.settings["H"]} if "units" in fields(name) else {}), **options}]


def is_layer(value: Any) -> bool:
    """Whether an option is a layer, written as data."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Mapping)


def made(value: Any, make: Callable[..., Any]) -> Any:
    """The value with each layer in it made by ``make(name, **options)``."""
    if is_layer(value):
        return make(value[0], **{key: made(option, make) for key, option in value[1].items()})
    return [made(one, make) for one in value] if isinstance(value, list) else value
