"""What a layer is called on in a case: a slot for each array, by argument, and the arrays that need saying."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from lstmcore import layers
from lstmcore.layers.recurrent import SequenceLayer
from lstmcore.models.eager import Slot
from lstmcore_conformance import data, specs
from lstmcore_conformance.cases import Case

Array = NDArray[Any]
EACH = "each"  # a mask that has the shape of the input


def input_shape(case: Case) -> tuple[int | None, ...]:
    """Without batch: the case's ``shape``, or (T, I)."""
    settings = case.settings
    if settings["shape"] is not None:
        return tuple(settings["shape"])
    return (None if settings["time"] == "open" else settings["T"], settings["I"])


def arguments(case: Case, layer: layers.Layer) -> tuple[dict[str, Any], dict[str, Array]]:
    """(slots and plain values by argument, arrays by the name of their slot)."""
    settings, arrays = case.settings, dict[str, Array]()
    first = layer.call_arguments[0]
    kind = layer.wanted_kind() or settings["kind"]
    several = settings["inputs"]
    shapes = [tuple(shape) for shape in several or [input_shape(case)]]
    names = [f"inputs_{k}" for k in range(len(shapes))] if several else ["inputs"]
    xs = [Slot(name, (None, *shape), kind) for name, shape in zip(names, shapes, strict=True)]
    slots: dict[str, Any] = {first: xs if several else xs[0]}
    if settings["masks"] is not None:
        pairs = zip(settings["masks"], shapes, strict=False)
        slots["mask"] = [_mask(case, f"mask_{k}", pattern, s[0], arrays) for k, (pattern, s) in enumerate(pairs)]
    elif settings["mask"] == EACH:
        slots["mask"] = Slot("mask", (None, *shapes[0]), "bool")
        arrays["mask"] = _somewhere(data.bools(case.key, "mask", (settings["B"], *shapes[0])))  # type: ignore[arg-type]
    elif settings["mask"] is not None:
        slots["mask"] = Slot("mask", (None, *shapes[0][:1]), "bool")
    states = _states(layer) if settings["states"] == "given" or isinstance(layer, layers.Cell) else []
    if states:
        name = "states" if isinstance(layer, layers.Cell) else "initial_state"
        slots[name] = [Slot(f"state_{k}", (None, *shape), "float") for k, shape in enumerate(states)]
    tensors = {first: shapes[0]}
    for name, value in specs.call_arguments(case).items():
        slots[name] = _further(case, name, value, tensors, arrays)
    return slots, arrays


def _mask(case: Case, name: str, pattern: str | None, steps: int, arrays: dict[str, Array]) -> Slot | None:
    if pattern is None:
        return None
    arrays[name] = data.mask(pattern, case.settings["B"], steps)
    return Slot(name, (None, steps), "bool")


def _somewhere(mask: Array) -> Array:
    """The mask, True somewhere along every axis."""
    mask[..., 0] = True
    mask[:, 0] = True
    return mask


def _further(case: Case, name: str, value: Any, tensors: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """A further argument: a mask by its pattern or shape, a tensor by its shape, or a plain value."""
    if isinstance(value, str):
        over = tensors.get(name.removesuffix("_mask")) or tensors["value"]  # a key left out is the value
        return _mask(case, name, value, over[0], arrays)
    if not isinstance(value, list):
        return value
    tensors[name] = tuple(value)
    if name.endswith("mask"):
        arrays[name] = _somewhere(data.bools(case.key, name, (case.settings["B"], *value)))
    return Slot(name, (None, *value), "bool" if name.endswith("mask") else "float")


def _states(layer: layers.Layer) -> list[tuple[int, ...]]:
    """The shapes of the states that a layer takes."""
    if isinstance(layer, layers.Bidirectional):
        return [*_states(layer.forward_layer), *_states(layer.backward_layer)]
    if isinstance(layer, layers.Cell):
        return [(n,) for n in layer.state_sizes]
    return list(layer.state_shapes().values()) if isinstance(layer, SequenceLayer) else []
