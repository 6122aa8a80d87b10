"""A layer called on an array: built for it if need be, and run at once on the current backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import plugins
from lstmcore.errors import InputError, SpecError
from lstmcore.layers.base import Layer
from lstmcore.layers.core import InputLayer
from lstmcore.layers.recurrent import RecurrentLayer
from lstmcore.naming import snake
from lstmcore.program import Builder, Program

if TYPE_CHECKING:
    from lstmcore.runtime.session import Session

KEPT = 16  # sessions a layer keeps, for as many shapes and backends


def call(
    layer: Layer,
    inputs: Any,
    mask: Any = None,
    initial_state: Any = None,
    training: bool | None = None,
) -> Any:
    """The layer's output for ``inputs``; a list where it has several.

    ``mask`` is a bool array (batch, time), True at the steps that count; ``initial_state`` the list of
    states that a recurrent layer starts from (one alone may be an array). A stateful layer keeps its
    states from call to call. InputError for data that do not fit, and then the layer is as before.
    """
    from lstmcore.runtime.feed import as_array, check_shape, feed

    if isinstance(layer, InputLayer):
        raise SpecError("an Input is not called; it stands first in a model")
    if training:
        raise SpecError(f"{layer!r} was called with training=True; a single call computes inference only")
    x = as_array(inputs, "inputs")
    if x.ndim == 0:
        raise InputError(f"the input is the single number {x}; expected an array (batch, ...)")
    check_shape(x.shape, (None,) * x.ndim, "inputs")
    states = None if initial_state is None else _states(layer, initial_state)
    session = _session(layer, x.shape, mask is not None, None if states is None else len(states))
    program = session.program
    given = [inputs, *([] if mask is None else [mask]), *(states or ())]
    arrays = feed(program, dict(zip(program.inputs, given, strict=True)), layer.dtype)
    layer.build((None, *x.shape[1:]))
    session.load({f"{_scope(layer)}/{name}": array for name, array in layer.weights.items()}, layer.state.version)
    kept = {c.name for c in program.carries if c.stateful}
    _check_kept(layer, x.shape[0])
    outputs, after = session.run(arrays, layer.state.carries if kept else None)
    layer.state.carries.update({name: np.array(session.backend.numpy(after[name])) for name in kept})
    copies = [np.array(output) for output in outputs]
    return copies[0] if len(copies) == 1 else copies


def _check_kept(layer: Layer, samples: int) -> None:
    held = {array.shape[0] for array in layer.state.carries.values()} - {samples}
    if held:
        raise InputError(
            f"{layer!r} keeps the states of {min(held)} samples; given {samples}. Call reset_states() first."
        )


def _states(layer: Layer, initial_state: Any) -> Sequence[Any]:
    """The list of initial states, as many as the layer has."""
    if not isinstance(layer, RecurrentLayer):
        raise SpecError(f"{layer!r} is not recurrent and takes no initial_state")
    states = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
    expected = layer.op().states
    if len(states) != len(expected):
        raise InputError(f"initial_state has {len(states)} entries; expected {len(expected)}: {', '.join(expected)}")
    return states


def _session(layer: Layer, shape: tuple[int, ...], masked: bool, states: int | None) -> Session:
    """The layer ready for inputs of that shape on the current backend, compiled once for each of the last shapes."""
    from lstmcore.runtime.session import Session

    backend = plugins.get()
    batch = shape[0] if getattr(layer, "stateful", False) else None
    key = (backend.name, backend.device, _scope(layer), batch, *shape[1:], masked, states)
    kept: dict[Any, Session] = layer.state.sessions
    if key not in kept or kept[key].backend is not backend:
        session = Session(_program(layer, shape, masked, states, batch), backend, layer.dtype)
        while len(kept) >= KEPT:
            del kept[next(iter(kept))]
        kept[key] = session
    return kept[key]


def _program(layer: Layer, shape: tuple[int, ...], masked: bool, states: int | None, batch: int | None) -> Program:
    """The layer's program for inputs of that shape; InputError where they do not fit the layer."""
    try:
        program = lower(layer, shape[1:], masked, states, batch)
        fits = not layer.built or layer.inventory(shape) == {n: a.shape for n, a in layer.state.weights.items()}
    except SpecError as error:
        raise InputError(f"the layer does not take inputs of shape {shape}: {error}") from None
    if not fits:
        raise InputError(f"the input has shape {shape}; {layer!r} was built for {layer.state.input_shape}")
    return program


def _scope(layer: Layer) -> str:
    return layer.name or snake(type(layer).__name__)


def lower(
    layer: Layer,
    shape: tuple[int | None, ...],
    masked: bool = False,
    states: int | None = None,
    batch: int | None = None,
) -> Program:
    """The program of one layer on inputs of that shape (without batch): inputs, mask, state_0, state_1."""
    build = Builder()
    x = build.input("inputs", (batch, *shape), layer.input_kind or "float")
    mask = build.input("mask", (batch, *shape[:1]), "bool") if masked else None
    options: dict[str, Any] = {}
    if states is not None:
        units = getattr(layer, "units", None)
        options["initial_state"] = [build.input(f"state_{k}", (batch, units)) for k in range(states)]
    with build.scope(_scope(layer)):
        outputs, _ = layer.lower(build, x, mask, **options)
    return build.finish([output.name for output in outputs])
