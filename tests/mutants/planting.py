"""Plants a fault: the reference with one kernel that is wrong.

A `Wrap` makes a wrong kernel of a sound one; most change what it is given (the op, the weights, the inputs) or
what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops, plugins
from lstmcore.contract import Backend, Kernel

Array = NDArray[Any]
Weights = dict[str, Array]
Run = Callable[..., tuple[Any, ...]]
Wrap = Callable[[Run], Run]
Fault = tuple[tuple[type[ops.Op], ...], Wrap]


def sound() -> type[Backend]:
    """The class of the reference."""
    return plugins.load(plugins.reference())


def planted(name: str, fault: Fault) -> Backend:
    """A backend with that fault."""
    kinds, wrap = fault
    base = sound()
    kernels = {
        kind: tuple(Kernel(k.name, wrap(k.run) if kind in kinds else k.run, k.when) for k in rows)
        for kind, rows in base.kernels.items()
    }
    return type("Wrong", (base,), {"name": f"wrong-{name}", "kernels": kernels})()


def given_op(**options: Any) -> Wrap:
    """It computes with other options than it was asked for; those the op does not have are left out."""

    def wrap(run: Run) -> Run:
        def wrong(op: Any, w: Weights, *inputs: Any, **body: Any) -> tuple[Any, ...]:
            return run(replace(op, **{k: v for k, v in options.items() if hasattr(op, k)}), w, *inputs, **body)

        return wrong

    return wrap


def changed_op(change: Callable[[Any], dict[str, Any]]) -> Wrap:
    """``change(op)`` gives the options that it has wrong."""
    return lambda run: lambda op, w, *inputs, **body: run(replace(op, **change(op)), w, *inputs, **body)


def given_weights(change: Callable[[Any, Weights], Mapping[str, Array]]) -> Wrap:
    """``change(op, weights)`` gives those it uses instead."""
    return lambda run: lambda op, w, *inputs, **body: run(op, {**w, **change(op, dict(w))}, *inputs, **body)


def given_inputs(change: Callable[..., tuple[Any, ...]]) -> Wrap:
    """``change(op, *inputs)`` gives those it uses instead."""
    return lambda run: lambda op, w, *inputs, **body: run(op, w, *change(op, *inputs), **body)


def returning(change: Callable[..., tuple[Any, ...]]) -> Wrap:
    """``change(op, inputs, outputs)`` is what it returns."""
    return lambda run: lambda op, w, *inputs, **body: change(op, inputs, run(op, w, *inputs, **body))


def computing(wrong: Callable[..., Any]) -> Wrap:
    """``wrong(op, weights, *inputs)`` is its output."""
    return lambda run: lambda op, w, *inputs, **body: (wrong(op, w, *inputs),)


def when(holds: Callable[..., bool], wrap: Wrap) -> Wrap:
    """Wrong only where ``holds(op, weights, *inputs)``."""

    def conditional(run: Run) -> Run:
        wrong = wrap(run)
        return lambda op, w, *inputs, **body: (wrong if holds(op, w, *inputs) else run)(op, w, *inputs, **body)

    return conditional


def single(run: Run) -> Run:
    """Computes in float32, whatever is asked."""

    def low(a: Any) -> Any:
        return a.astype(np.float32) if a is not None and a.dtype == np.float64 else a

    def wrong(op: Any, w: Weights, *inputs: Any, **body: Any) -> tuple[Any, ...]:
        asked = next(a.dtype for a in (*inputs, *w.values()) if a is not None and a.dtype.kind == "f")
        outputs = run(op, {k: low(v) for k, v in w.items()}, *map(low, inputs), **body)
        return tuple(y.astype(asked) if y.dtype.kind == "f" else y for y in outputs)

    return wrong


def of(kind: type[ops.Op], faults: dict[str, Wrap]) -> dict[str, Fault]:
    """Faults of one op; their names start with its name."""
    return {f"{kind.__name__}: {name}": ((kind,), wrap) for name, wrap in faults.items()}


def instead(y: Callable[[Any, Array], Array]) -> Wrap:
    """``y(op, what it should be)``."""
    return returning(lambda op, inputs, outputs: (y(op, outputs[0]), *outputs[1:]))


def where_function(name: str, wrap: Wrap) -> Wrap:
    """Wrong for one function of several."""
    return when(lambda op, w, *inputs: op.function == name, wrap)


# Faults of a backward pass.


class Back(NamedTuple):
    """What a vjp was called for."""

    op: Any
    weights: Weights
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    given: tuple[Any, ...]


Undo = Callable[[Back, dict[str, Any], list[Any]], tuple[Mapping[str, Any], Sequence[Any]]]
WrapPull = Callable[[Callable[..., Any]], Callable[..., Any]]


def backward(name: str, kinds: tuple[type[ops.Op], ...], wrap: WrapPull) -> Backend:
    """A backend whose forward pass is right, and the ``pull`` of some ops wrong."""
    base = sound()
    kernels = {
        kind: tuple(replace(k, pull=wrap(k.pull)) if kind in kinds and k.pull else k for k in rows)
        for kind, rows in base.kernels.items()
    }
    return type("Wrong", (base,), {"name": f"wrong-{name}", "kernels": kernels})()


def undoing(change: Undo) -> WrapPull:
    """``change(back, gradients of weights, those of inputs)`` is what the vjp returns."""

    def wrap(pull: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(op: Any, w: Weights, *inputs: Any, **body: Any) -> Any:
            outputs, vjp = pull(op, w, *inputs, **body)

            def changed(*given: Any) -> Any:
                of_weights, of_inputs = vjp(*given)
                of_weights, of_inputs = change(Back(op, w, inputs, outputs, given), dict(of_weights), list(of_inputs))
                return dict(of_weights), tuple(of_inputs)

            return outputs, changed

        return wrong

    return wrap


def given_gradients(change: Callable[..., tuple[Any, ...]]) -> WrapPull:
    """``change(op, *gradients)`` is what the vjp makes of the outputs' gradients."""

    def wrap(pull: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(op: Any, w: Weights, *inputs: Any, **body: Any) -> Any:
            outputs, vjp = pull(op, w, *inputs, **body)
            return outputs, lambda *given: vjp(*change(op, *given))

        return wrong

    return wrap


def vjp_of(change: Callable[..., tuple[Any, Weights, tuple[Any, ...]]]) -> WrapPull:
    """Forwards it is right; the vjp is that of ``change(op, weights, inputs) -> op, weights, inputs``."""

    def wrap(pull: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(op: Any, w: Weights, *inputs: Any, **body: Any) -> Any:
            outputs, _ = pull(op, w, *inputs, **body)
            other, weights, others = change(op, w, inputs)
            return outputs, pull(other, weights, *others, **body)[1]

        return wrong

    return wrap


def port(name: str, change: Callable[[Array], Array | None]) -> WrapPull:
    """The gradient of one weight or input is wrong."""

    def undo(back: Back, of_weights: dict[str, Any], of_inputs: list[Any]) -> Any:
        if name in of_weights:
            of_weights[name] = change(of_weights[name])
        names = (*back.op.inputs, *back.op.optional)
        for k, (one, gradient) in enumerate(zip(names, of_inputs, strict=True)):
            if one == name and gradient is not None:
                of_inputs[k] = change(gradient)
        return of_weights, of_inputs

    return undoing(undo)
