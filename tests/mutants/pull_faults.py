"""Backward passes that are wrong in one way each: systematically, every gradient of every op; and by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from planting import Array, Back, WrapPull, given_gradients, port, sound, undoing, vjp_of

from lstmcore import activations, ops
from lstmcore.activations import Function

PullFault = tuple[tuple[type[ops.Op], ...], WrapPull]
RECURRENT = (ops.Lstm, ops.Gru, ops.SimpleRnn)
OVER_TIME = (*RECURRENT, ops.Scan)
NO_GRADIENT = ("mask", "condition", "like", "moving_mean", "moving_variance")


# Every gradient of every op.


def last_wrong(g: Array) -> Array:
    g = np.array(g)
    g.flat[-1] *= 1.01
    return g


CHANGES: dict[str, Callable[[Array], Any]] = {
    "halved": lambda g: g / 2,
    "negated": lambda g: -g,
    "dropped": lambda g: 0 * g,
    "its last entry 1 % too large": last_wrong,
}


def ports(kind: type[ops.Op]) -> list[str]:
    """The weights, inputs and states of an op that have gradients."""
    named = {
        ops.Concat: ["x0", "x1"],
        ops.Scan: ["x", "state_0", "kernel", "recurrent_kernel", "previous"],
        ops.Embed: ["embeddings"],
        ops.Parameter: ["value"],
    }
    of_op = named.get(kind) or [*kind.weights, *kind.inputs, *kind.optional]
    return [name for name in of_op if name not in NO_GRADIENT]


FLAT = (ops.NotEqual, ops.Cast, ops.Causal, ops.Constant, ops.Zeros, ops.OneHot)  # of which there are none


def systematic() -> Iterator[tuple[str, PullFault]]:
    for kind in sound().kernels:
        if kind in FLAT:
            continue
        for name in ports(kind):
            for words, change in CHANGES.items():
                yield f"{kind.__name__}: d {name}: {words}", ((kind,), port(name, change))


# Every function of an op that has several.


def where(holds: Callable[[Any], bool], wrap: WrapPull) -> WrapPull:
    """Wrong for some options only."""

    def conditional(pull: Callable[..., Any]) -> Callable[..., Any]:
        wrong = wrap(pull)
        return lambda op, w, *inputs, **body: (wrong if holds(op) else pull)(op, w, *inputs, **body)

    return conditional


def functions() -> Iterator[tuple[str, PullFault]]:
    halved = port("x", CHANGES["halved"])
    for name in activations.PARAMETERS:
        if name != "linear":
            fault = where(lambda op, name=name: op.function.name == name, halved)
            yield f"Activate: slope of {name} halved", ((ops.Activate,), fault)
    for kind, names in (
        (ops.Unary, "abs exp log negative reciprocal rsqrt sqrt square sin cos"),
        (ops.Binary, "add subtract multiply divide maximum minimum power"),
        (ops.Reduce, "sum mean max min"),
        (ops.Total, "sum mean"),
        (ops.Pool, "max mean"),
    ):
        for name in names.split():
            yield (
                f"{kind.__name__}: slope of {name} halved",
                ((kind,), where(lambda op, name=name: op.function == name, halved)),
            )


# Time, masks and states.


def states_of(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """x, the states, the mask, the output before."""
    return inputs[0], inputs[1:-2], inputs[-2], inputs[-1]


def each_step(through: bool, bias: Callable[[list[Array]], Array] = sum) -> WrapPull:  # type: ignore[assignment]
    """The backward pass step by step; not ``through``: states pass no gradient from one to the next."""

    def wrap(pull: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(op: Any, w: Any, *inputs: Any, **body: Any) -> Any:
            outputs, _ = pull(op, w, *inputs, **body)
            x, states, mask, previous = states_of(inputs)
            vjps = []
            for t in range(x.shape[1]):
                valid = None if mask is None else mask[:, t : t + 1]
                (y, *states), vjp = pull(op, w, x[:, t : t + 1], *states, valid, previous, **body)
                previous = y[:, -1]
                vjps.append(vjp)

            def back(dy: Array | None, *dstates: Array | None) -> Any:
                sums: dict[str, list[Array]] = {}
                dx, dbefore = [], None
                for t in reversed(range(len(vjps))):
                    d = None if dy is None else dy[:, t : t + 1]
                    if dbefore is not None:
                        d = dbefore[:, None] if d is None else d + dbefore[:, None]
                    of_weights, (dx_t, *before, _, dbefore) = vjps[t](d, *dstates)
                    dstates = tuple(before) if through or t == 0 else (None,) * len(before)
                    dx.append(np.zeros_like(x[:, t : t + 1]) if dx_t is None else dx_t)
                    for name, gradient in of_weights.items():
                        sums.setdefault(name, []).append(gradient)
                found = {name: bias(parts) if name == "bias" else sum(parts) for name, parts in sums.items()}
                return found, (np.concatenate(dx[::-1], 1), *dstates, None, dbefore)

            return outputs, back

        return wrong

    return wrap


def without_mask(op: Any, w: Any, inputs: tuple[Any, ...]) -> Any:
    return op, w, (*inputs[:-2], None, inputs[-1])


def inverted_mask(op: Any, w: Any, inputs: tuple[Any, ...]) -> Any:
    return op, w, (*inputs[:-2], None if inputs[-2] is None else ~inputs[-2], inputs[-1])


def option(**options: Any) -> WrapPull:
    """The vjp of an op with other options; those that it does not have are left out."""
    return vjp_of(
        lambda op, w, inputs: (replace(op, **{k: v for k, v in options.items() if hasattr(op, k)}), w, inputs)
    )


def through_the_mask(back: Back, of_weights: Any, of_inputs: Any) -> Any:
    """The input has a gradient at masked steps too."""
    mask = back.inputs[-2]
    if mask is not None and of_inputs[0] is not None:
        of_inputs[0] = of_inputs[0] + np.where(mask[:, :, None], 0, of_inputs[0].mean()).astype(of_inputs[0].dtype)
    return of_weights, of_inputs


def nan_where_masked(back: Back, of_weights: Any, of_inputs: Any) -> Any:
    """0 times NaN."""
    x, mask = back.inputs[0], back.inputs[-2]
    if mask is not None and x.dtype.kind == "f" and np.isnan(x[~mask]).any():
        of_weights = {name: g * np.nan for name, g in of_weights.items()}
    return of_weights, of_inputs


def frozen_at_masks(back: Back, of_weights: Any, of_inputs: Any) -> Any:
    """A masked step stops the gradient of the state: rows that end masked have none."""
    mask = back.inputs[-2]
    for k in range(1, len(of_inputs) - 2):
        if mask is not None and of_inputs[k] is not None:
            of_inputs[k] = of_inputs[k] * mask[:, -1:]
    return of_weights, of_inputs


def gates(order: tuple[int, ...]) -> WrapPull:
    """Gradients of the weights with their gates in another order."""

    def undo(back: Back, of_weights: Any, of_inputs: Any) -> Any:
        return {
            name: np.concatenate([np.split(g, len(order), -1)[k] for k in order], -1) for name, g in of_weights.items()
        }, of_inputs

    return undoing(undo)


def weight(name: str, change: Callable[[Back, Array], Array]) -> WrapPull:
    """``change(back, gradient)`` of one weight."""

    def undo(back: Back, of_weights: Any, of_inputs: Any) -> Any:
        return {n: change(back, g) if n == name else g for n, g in of_weights.items()}, of_inputs

    return undoing(undo)


def inputs(change: Callable[[Back, list[Any]], list[Any]]) -> WrapPull:
    return undoing(lambda back, of_weights, of_inputs: (of_weights, change(back, of_inputs)))


def first(change: Callable[[Back, Array], Array]) -> WrapPull:
    """``change(back, gradient)`` of the first input."""
    return inputs(lambda back, dx: [dx[0] if dx[0] is None else change(back, dx[0]), *dx[1:]])


def first_row(back: Back, g: Array) -> Array:
    return g * (np.arange(len(g)) == 0).reshape(-1, *[1] * (g.ndim - 1))


def gate_transposed(back: Back, g: Array) -> Array:
    blocks = np.split(g, len(getattr(back.op, "gates", "h")), 1)
    return np.concatenate([block.T for block in blocks], 1)


def both_biases_alike(back: Back, g: Array) -> Array:
    return np.stack([g[0], g[0]]) if g.ndim == 2 else g


def looked_up_once(back: Back, g: Array) -> Array:
    """A row that several ids name gets the gradient of the last."""
    found = np.zeros_like(g)
    found[back.inputs[0]] = back.given[0]
    return found


def averaged(back: Back, of_inputs: list[Any]) -> list[Any]:
    """The mean over axes that were broadcast, not the sum."""
    y = back.outputs[0]
    return [None if g is None else g * (g.size / y.size) for g in of_inputs]


def both_branches(back: Back, of_inputs: list[Any]) -> list[Any]:
    d = back.given[0]
    return [g if g is None or g.shape != d.shape else d for g in of_inputs]


def statistics_constant(back: Back, g: Array) -> Array:
    """Mean and variance are taken for numbers that do not depend on x."""
    x, axes = back.inputs[0], back.op.axes
    gamma = back.weights.get("gamma", np.ones((), x.dtype))
    return (back.given[0] * gamma / np.sqrt(x.var(axes, keepdims=True) + back.op.epsilon)).astype(x.dtype)


def diagonal(back: Back, g: Array) -> Array:
    """Of softmax's slopes, only those of each output by its own input."""
    y = back.outputs[0]
    return back.given[0] * y * (1 - y)


def low(back: Back, of_weights: Any, of_inputs: Any) -> Any:
    """Computed in float32, whatever is asked."""

    def rounded(g: Any) -> Any:
        return None if g is None else g.astype(np.float32).astype(g.dtype)

    return {name: rounded(g) for name, g in of_weights.items()}, [rounded(g) for g in of_inputs]


def writing(pull: Callable[..., Any]) -> Callable[..., Any]:
    """It writes to the gradient that it is given."""

    def wrong(op: Any, w: Any, *inputs: Any, **body: Any) -> Any:
        outputs, vjp = pull(op, w, *inputs, **body)

        def back(*given: Any) -> Any:
            found = vjp(*given)
            for d in given:
                if d is not None and d.flags.writeable:
                    d *= 2
            return found

        return outputs, back

    return wrong


def wrong_forwards(pull: Callable[..., Any]) -> Callable[..., Any]:
    """What ``pull`` gives is not what ``run`` gives."""

    def wrong(op: Any, w: Any, *inputs: Any, **body: Any) -> Any:
        (y, *rest), vjp = pull(op, w, *inputs, **body)
        return (y * 1.01, *rest), vjp

    return wrong


def leaking(back: Back, of_weights: Any, of_inputs: Any) -> Any:
    """What has no gradient gets ones."""
    return of_weights, [
        np.ones_like(x) if g is None and x is not None and x.dtype.kind == "f" else g
        for x, g in zip(back.inputs, of_inputs, strict=True)
    ]


def swapped_parts(back: Back, of_inputs: list[Any]) -> list[Any]:
    y = np.split(back.given[0], np.cumsum([x.shape[back.op.axis] for x in back.inputs][::-1])[:-1], back.op.axis)
    return y[::-1]


BY_HAND: dict[str, PullFault] = {
    "nothing goes from step to step": (OVER_TIME, each_step(through=False)),
    "bias of the last step alone": (RECURRENT, each_step(True, lambda parts: parts[0])),
    "bias: the mean over steps": (RECURRENT, each_step(True, lambda parts: sum(parts) / len(parts))),  # type: ignore[arg-type,return-value]
    "the mask is ignored backwards": (OVER_TIME, vjp_of(without_mask)),
    "the mask is inverted backwards": (OVER_TIME, vjp_of(inverted_mask)),
    "masked steps have a gradient": (OVER_TIME, undoing(through_the_mask)),
    "NaN at masked steps reaches the weights": (OVER_TIME, undoing(nan_where_masked)),
    "a masked step at the end stops the state": (OVER_TIME, undoing(frozen_at_masks)),
    "zero_output_for_mask is ignored backwards": (OVER_TIME, option(zero_output_for_mask=False)),
    "masked outputs are taken for zeros backwards": (OVER_TIME, option(zero_output_for_mask=True)),
    "y has no gradient": (OVER_TIME, given_gradients(lambda op, dy, *ds: (None, *ds))),
    "only the last y has a gradient": (
        OVER_TIME,
        given_gradients(
            lambda op, dy, *ds: (None if dy is None else dy * (np.arange(dy.shape[1]) == dy.shape[1] - 1)[:, None], *ds)
        ),
    ),
    "the last state has no gradient": (OVER_TIME, given_gradients(lambda op, dy, *ds: (dy, *[None] * len(ds)))),
    "the last c has no gradient": ((ops.Lstm,), given_gradients(lambda op, dy, dh, dc: (dy, dh, None))),
    "h and c are swapped backwards": ((ops.Lstm,), given_gradients(lambda op, dy, dh, dc: (dy, dc, dh))),
    "Lstm: gradients of the gates in order icfo": ((ops.Lstm,), gates((0, 2, 1, 3))),
    "Lstm: gradients of the gates in order iofc": ((ops.Lstm,), gates((0, 3, 1, 2))),
    "Gru: gradients of the gates in order rzh": ((ops.Gru,), gates((1, 0, 2))),
    "Gru: both biases get one gradient": ((ops.Gru,), weight("bias", both_biases_alike)),
    "recurrent kernel transposed, gate by gate": (RECURRENT, weight("recurrent_kernel", gate_transposed)),
    "slope of softsign for tanh": (RECURRENT, option(activation=Function("softsign"))),
    "slope of hard_sigmoid for sigmoid": ((ops.Lstm, ops.Gru), option(recurrent_activation=Function("hard_sigmoid"))),
    "x: the first sample alone": (OVER_TIME, first(first_row)),
    "Affine: the first sample alone": ((ops.Affine,), first(first_row)),
    "Affine: kernel by the mean over samples": (
        (ops.Affine,),
        weight("kernel", lambda back, g: g / len(back.inputs[0])),
    ),
    "Affine: bias by the mean over samples": ((ops.Affine,), weight("bias", lambda back, g: g / len(back.inputs[0]))),
    "Embed: a row counts once": ((ops.Embed,), weight("embeddings", looked_up_once)),
    "Conv: kernel flipped": ((ops.Conv,), weight("kernel", lambda back, g: g[::-1])),
    "Conv: x reversed": ((ops.Conv,), first(lambda back, g: g[:, ::-1])),
    "Binary: mean over what was broadcast": ((ops.Binary,), inputs(averaged)),
    "Binary: gradients swapped": (
        (ops.Binary,),
        inputs(lambda back, g: g[::-1] if g[0] is not None and g[0].shape == g[1].shape else g),
    ),
    "Select: both branches": ((ops.Select,), inputs(both_branches)),
    "Pool: max as mean": ((ops.Pool,), option(function="mean")),
    "Reduce: mean as sum": ((ops.Reduce,), where(lambda op: op.function == "mean", option(function="sum"))),
    "Reduce: max as mean": ((ops.Reduce,), where(lambda op: op.function == "max", option(function="mean"))),
    "Total: mean as sum": ((ops.Total,), where(lambda op: op.function == "mean", option(function="sum"))),
    "LayerNormalize: statistics are constant": ((ops.LayerNormalize,), first(statistics_constant)),
    "LayerNormalize: epsilon ignored": ((ops.LayerNormalize,), option(epsilon=1e-12)),
    "BatchNormalize: epsilon ignored": ((ops.BatchNormalize,), option(epsilon=1e-12)),
    "Activate: softmax has a diagonal alone": (
        (ops.Activate,),
        where(lambda op: op.function.name == "softmax", first(diagonal)),
    ),
    "Activate: gelu as the other gelu": (
        (ops.Activate,),
        where(
            lambda op: op.function.name == "gelu",
            vjp_of(
                lambda op, w, x: (
                    replace(
                        op, function=Function("gelu", (("approximate", not op.function.parameters["approximate"]),))
                    ),
                    w,
                    x,
                )
            ),
        ),
    ),
    "Concat: parts in the wrong order": ((ops.Concat,), inputs(swapped_parts)),
    "Repeat: the mean": ((ops.Repeat,), first(lambda back, g: g / back.op.times)),
    "Reverse: not turned back": ((ops.Reverse,), first(lambda back, g: g[:, ::-1])),
    "Last: every step": ((ops.Last,), first(lambda back, g: g[:, -1:] + 0 * g)),
    "what has no gradient gets ones": (FLAT, undoing(leaking)),
    "everything in float32": (tuple(sound().kernels), undoing(low)),
    "the given gradient is written to": (tuple(sound().kernels), writing),
    "Lstm: pull gives other outputs than run": ((ops.Lstm,), wrong_forwards),
    "Scan: pull gives other outputs than run": ((ops.Scan,), wrong_forwards),
}

FAULTS: dict[str, PullFault] = {**dict(systematic()), **dict(functions()), **BY_HAND}
