"""A layer called on arrays: built for them if need be, and run at once on the current backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import plugins, tree
from lstmcore.errors import InputError, SpecError
from lstmcore.layers.base import Layer
from lstmcore.layers.core import InputLayer
from lstmcore.layers.module import Mask
from lstmcore.layers.recurrent import RecurrentLayer
from lstmcore.layers.symbolic import bind, lower_call
from lstmcore.naming import snake
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Program

if TYPE_CHECKING:
    from lstmcore.runtime.session import Session

KEPT = 16  # sessions a layer keeps, for as many shapes and backends


class Slot:
    """An array among the arguments of a call: the name, shape and kind of the program's input for it."""

    def __init__(self, name: str, shape: Shape, kind: Kind) -> None:
        self.name, self.shape, self.kind = name, shape, kind


def call(layer: Layer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The layer's output for arrays; a list where it has several.

    ``mask`` is a bool array (batch, time), True at the steps that count; ``initial_state`` the list of
    states that a recurrent layer starts from (one alone may be an array). A stateful layer keeps its
    states from call to call. InputError for data that do not fit, and then the layer is as before.
    """
    from lstmcore.runtime.feed import feed

    if isinstance(layer, InputLayer):
        raise SpecError("an Input is not called; it stands first in a model")
    arguments = bind(layer, args, kwargs)
    given: dict[str, Any] = {}
    slots = {name: _slots(layer, name, value, given) for name, value in arguments.items()}
    first = layer.call_arguments[0]
    samples = next(iter(given.values())).shape[0]
    session, weights = _session(layer, slots, samples)
    arrays = feed(session.program, given, layer.dtype)
    layer.take(weights, tree.transform(lambda slot: (None, *slot.shape[1:]), slots[first]))
    session.load({f"{_scope(layer)}/{path}": array for path, array in layer.every_path().items()}, layer.version())
    kept = {c.name for c in session.program.carries if c.stateful}
    _check_kept(layer, samples)
    outputs, after = session.run(arrays, layer.state.carries if kept else None)
    layer.state.carries.update({name: np.array(session.backend.numpy(after[name])) for name in kept})
    return layer.arrange([np.array(output) for output in outputs])


def _slots(layer: Layer, name: str, value: Any, given: dict[str, Any]) -> Any:
    """``value`` with each array replaced by a `Slot`, and the arrays by the slots' names in ``given``."""
    from lstmcore.runtime.feed import as_array, check_shape

    if name == "initial_state":
        value = _states(layer, value)
    first = layer.call_arguments[0]
    several = isinstance(value, (list, tuple, Mapping)) and any(
        leaf is None or isinstance(leaf, np.ndarray) for leaf in tree.leaves(value)
    )
    title = {"initial_state": "state", first: "inputs"}.get(name, name)
    tensors = name in (first, "initial_state") or (name.endswith("mask") and not isinstance(value, bool))
    count = 0

    def slot(leaf: Any) -> Any:
        nonlocal count
        if leaf is None or (not tensors and isinstance(leaf, (bool, int, float, str))):
            return leaf
        label = f"{title}_{count}" if several or name == "initial_state" else title
        count += 1
        array = as_array(leaf, label)
        if array.ndim == 0:
            raise InputError(f"the input is the single number {array}; expected an array (batch, ...)")
        check_shape(array.shape, (None,) * array.ndim, label)
        given[label] = array
        kind: Kind = "bool" if name.endswith("mask") else (layer.input_kind or "float")
        return Slot(label, array.shape, kind)

    return tree.transform(slot, value) if several or name == "initial_state" else slot(value)


def _check_kept(layer: Layer, samples: int) -> None:
    held = {array.shape[0] for array in layer.state.carries.values()} - {samples}
    if held:
        raise InputError(
            f"{layer!r} keeps the states of {min(held)} samples; given {samples}. Call reset_states() first."
        )


def _states(layer: Layer, initial_state: Any) -> list[Any]:
    """The list of initial states, as many as the layer has."""
    states = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
    if isinstance(layer, RecurrentLayer):
        expected = layer.op().states
        if len(states) != len(expected):
            raise InputError(
                f"initial_state has {len(states)} entries; expected {len(expected)}: {', '.join(expected)}"
            )
    if any(state is None for state in states):
        raise InputError(f"an initial state is None; expected all {len(states)}, or no initial_state at all")
    return states


def _session(layer: Layer, slots: Mapping[str, Any], samples: int) -> tuple[Session, dict[str, tuple[int, ...]]]:
    """The layer ready for such arguments on the current backend, compiled once for each of the last; its weights."""
    from lstmcore.runtime.session import Session

    backend = plugins.get()
    batch = samples if getattr(layer, "stateful", False) else None
    key = (backend.name, backend.device, _scope(layer), batch, _key(slots))
    kept: dict[Any, Session] = layer.state.sessions
    if key not in kept or kept[key].backend is not backend:
        session = Session(_program(layer, slots, batch), backend, layer.dtype)
        while len(kept) >= KEPT:
            del kept[next(iter(kept))]
        kept[key] = session
    start = f"{_scope(layer)}/"
    return kept[key], {path.removeprefix(start): n for path, n in kept[key].program.weights.items()}


def _key(structure: Any) -> Any:
    """The structure as a key, equal where the program is."""
    if isinstance(structure, Slot):
        return (structure.name, structure.kind, structure.shape[1:])
    if isinstance(structure, Mapping):
        return tuple((name, _key(value)) for name, value in structure.items())
    if isinstance(structure, (list, tuple)):
        return tuple(map(_key, structure))
    return structure


def _program(layer: Layer, slots: Mapping[str, Any], batch: int | None) -> Program:
    """The layer's program for such arguments; InputError where they do not fit the layer."""
    shapes = [slot.shape for slot in tree.leaves(slots[layer.call_arguments[0]])]
    told = shapes[0] if len(shapes) == 1 else shapes
    try:
        program = trace(layer, slots, batch)
    except SpecError as error:
        raise InputError(f"the layer does not take inputs of shape {told}: {error}") from None
    start = f"{_scope(layer)}/"
    own = {path.removeprefix(start): shape for path, shape in program.weights.items()}
    if layer.built and own != {path: array.shape for path, array in layer.every_path().items()}:
        raise InputError(f"the input has shape {told}; {layer!r} was built for {layer.state.input_shape}")
    return program


def _scope(layer: Layer) -> str:
    return layer.name or snake(type(layer).__name__)


def trace(layer: Layer, slots: Mapping[str, Any], batch: int | None = None) -> Program:
    """The program of one layer called with such arguments, each `Slot` an input of it."""
    build = Builder()

    def value(leaf: Any) -> Any:
        return build.input(leaf.name, (batch, *leaf.shape[1:]), leaf.kind) if isinstance(leaf, Slot) else leaf

    def mask(leaf: Any) -> Mask:
        return None

    with build.scope(_scope(layer)):
        outputs, _ = lower_call(layer, build, slots, value, mask)
    return build.finish([output.name for output in outputs])


def lower(
    layer: Layer,
    shape: tuple[int | None, ...],
    masked: bool = False,
    states: int | None = None,
    batch: int | None = None,
) -> Program:
    """The program of one layer on inputs of that shape (without batch): inputs, mask, state_0, state_1."""
    first = layer.call_arguments[0]
    slots: dict[str, Any] = {first: Slot("inputs", (batch, *shape), layer.input_kind or "float")}
    if masked:
        slots["mask"] = Slot("mask", (batch, *shape[:1]), "bool")
    if states is not None:
        units = getattr(layer, "units", None)
        slots["initial_state"] = [Slot(f"state_{k}", (batch, units), "float") for k in range(states)]
    return trace(layer, slots, batch)
