"""A layer called on an array: built for it if need be, and run at once on the current backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import plugins
from lstmcore.errors import InputError, SpecError
from lstmcore.layers.base import Layer
from lstmcore.layers.core import InputLayer
from lstmcore.naming import snake
from lstmcore.program import Builder, Program


def call(
    layer: Layer,
    inputs: Any,
    mask: Any = None,
    initial_state: Sequence[Any] | None = None,
    training: bool | None = None,
) -> Any:
    """The layer's output for ``inputs``; a list where it has several.

    ``mask`` is a bool array (batch, time), True at the steps that count; ``initial_state`` the list of
    states that a recurrent layer starts from.
    """
    from lstmcore.runtime.feed import feed
    from lstmcore.runtime.session import Session

    if isinstance(layer, InputLayer):
        raise SpecError("an Input is not called; it stands first in a model")
    if training:
        raise SpecError(f"{layer!r} was called with training=True; a single call computes inference only")
    x = _array(inputs)
    states = [_array(state) for state in initial_state or ()]
    layer.build((None, *x.shape[1:]))
    key = (x.shape[1:], mask is not None, len(states) if initial_state is not None else None)
    programs = layer.state.programs
    if key not in programs:
        programs[key] = lower(layer, *key)
    program: Program = programs[key]
    arrays: dict[str, Any] = dict(zip(program.inputs, [x, *([] if mask is None else [mask]), *states], strict=True))
    session = Session(program, plugins.get(), layer.weight_dtype)
    session.load({f"{_scope(layer)}/{name}": array for name, array in layer.weights.items()}, 0)
    outputs, _ = session.run(feed(program, arrays, session.dtype))
    copies = [np.array(output) for output in outputs]
    return copies[0] if len(copies) == 1 else copies


def _array(x: Any) -> Any:
    try:
        array = np.asarray(x)
    except ValueError:
        raise InputError("the input is not an array of one shape; pad sequences to one length first") from None
    if array.ndim == 0:
        raise InputError(f"the input is a single number; expected an array (batch, ...), given {x!r}")
    return array


def _scope(layer: Layer) -> str:
    return layer.name or snake(type(layer).__name__)


def lower(layer: Layer, shape: tuple[int, ...], masked: bool, states: int | None) -> Program:
    """The program of one layer on inputs of that shape (without batch)."""
    build = Builder()
    x = build.input("inputs", (None, *shape), layer.input_kind or "float")
    mask = build.input("mask", (None, shape[0]), "bool") if masked else None
    options: dict[str, Any] = {}
    if states is not None:
        units = getattr(layer, "units", None)
        if units is None:
            raise SpecError(f"{layer!r} is not recurrent and takes no initial_state")
        options["initial_state"] = [build.input(f"state_{k}", (None, units)) for k in range(states)]
    with build.scope(_scope(layer)):
        outputs, _ = layer.lower(build, x, mask, **options)
    return build.finish([output.name for output in outputs])
