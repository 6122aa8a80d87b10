"""Backends that are wrong in one way each: the reference with one fault planted in its kernels.

`FAULTS` has those of the recurrent ops and of the first layers, which the smoke profile sees; further ops have theirs
in `op_faults`, `pointwise_faults` and `scan_faults`. The conformance suite must fail for every one: it is tested by
them, as they are tested by nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from planting import Array, Fault, Run, Weights, Wrap, given_inputs, given_op, given_weights, returning, single, when

from lstmcore import ops
from lstmcore.activations import Function

RECURRENT = (ops.Lstm, ops.Gru, ops.SimpleRnn)
LSTM, GRU, RNN = (ops.Lstm,), (ops.Gru,), (ops.SimpleRnn,)
MASK, PREVIOUS = -2, -1  # where the optional inputs stand


# Weights.


def reordered(order: tuple[int, ...]) -> Wrap:
    """Takes the gates to lie in another order."""

    def change(op: Any, w: Weights) -> Weights:
        return {
            port: np.concatenate([np.split(array, len(order), -1)[k] for k in order], -1) for port, array in w.items()
        }

    return given_weights(change)


def orders(gates: str) -> Iterator[tuple[str, Wrap]]:
    right = tuple(range(len(gates)))
    for order in itertools.permutations(right):
        if order != right:
            yield "".join(gates[k] for k in order), reordered(order)


def transposed(op: Any, w: Weights) -> Weights:
    blocks = np.split(w["recurrent_kernel"], len(op.gates), 1)
    return {"recurrent_kernel": np.concatenate([block.T for block in blocks], 1)}


def bias(change: Callable[[Any, Array], Array]) -> Wrap:
    return given_weights(lambda op, w: {"bias": change(op, w["bias"])} if "bias" in w else {})


def scaled_rows(*scales: float) -> Wrap:
    """Of a bias in two parts."""
    return bias(lambda op, b: b * np.array(scales, b.dtype)[:, None] if b.ndim == 2 else b)


def forget_bias(op: Any, b: Array) -> Array:
    gate = np.repeat(np.array([0, 1, 0, 0], b.dtype), op.units)
    return b + gate


def negated_update(op: Any, w: Weights) -> Weights:
    """σ(-a) = 1 - σ(a): h and the candidate trade places."""
    sign = np.repeat(np.array([-1, 1, 1]), op.units)
    return {port: (array * sign).astype(array.dtype) for port, array in w.items()}


def last_unit(op: Any, w: Weights) -> Weights:
    kernel = w["kernel"].copy()
    kernel[:, -1] *= 1.01
    return {"kernel": kernel}


def without_recurrence(op: Any, w: Weights) -> Weights:
    return {"recurrent_kernel": 0 * w["recurrent_kernel"]}


# Inputs: x, the states, the mask, the output before.


def states(change: Callable[[int, Array], Array]) -> Wrap:
    def wrong(op: Any, x: Array, *rest: Any) -> tuple[Any, ...]:
        *given, mask, previous = rest
        return (x, *(change(k, state) for k, state in enumerate(given)), mask, previous)

    return given_inputs(wrong)


def mask(change: Callable[[Array], Array | None]) -> Wrap:
    def wrong(op: Any, *inputs: Any) -> tuple[Any, ...]:
        *rest, given, previous = inputs
        return (*rest, None if given is None else change(given), previous)

    return given_inputs(wrong)


def first_row_unmasked(given: Array) -> Array:
    changed = given.copy()
    changed[0] = True
    return changed


def full_rows_unmasked(given: Array) -> Array:
    return given | ~given.any(1, keepdims=True)


def swapped(op: Any, x: Array, h: Array, c: Array, *rest: Any) -> tuple[Any, ...]:
    return x, c, h, *rest


# Outputs: y, then the states.


def late(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """y_t = h_{t-1}."""
    y, *rest = outputs
    return np.concatenate([inputs[1][:, None], y[:, :-1]], 1), *rest


def first_instead_of_last(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    return (inputs[0][:, 0],)


def flipped(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    y, *rest = outputs
    return y[:, ::-1], *rest


def initial_h_where_masked(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """Masked steps before the first valid one emit the initial h, as Keras on JAX does."""
    (y, *rest), given = outputs, inputs[MASK]
    if given is None or op.zero_output_for_mask:
        return outputs
    started = np.logical_or.accumulate(given, 1)[:, :, None]
    return np.where(started, y, inputs[1][:, None]), *rest


def unfrozen(run: Run) -> Run:
    """The mask holds the outputs, but the states go on."""

    def wrong(op: Any, w: Weights, *inputs: Any, **body: Any) -> tuple[Any, ...]:
        y, *_ = run(op, w, *inputs, **body)
        _, *moved = run(op, w, *inputs[:MASK], None, None, **body)
        return y, *moved

    return wrong


def leaking(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """A row's state ends up in the next row's."""
    y, *rest = outputs
    return y, *(np.roll(state, 1, 0) for state in rest)


def row_sees_row(op: Any, x: Array, h: Array, *rest: Any) -> tuple[Any, ...]:
    """Each row but the first starts from the state of the row before."""
    return x, np.concatenate([h[:1], h[:-1]]), *rest


def traded(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    y, h, c = outputs
    return y, c, h


def double(run: Run) -> Run:
    """Returns float64, whatever is asked."""
    return lambda op, w, *inputs: tuple(y.astype(np.float64) if y.dtype.kind == "f" else y for y in run(op, w, *inputs))


def unsqueezed(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    return outputs[0][None], *outputs[1:]


def nan_to_zero(op: Any, x: Array, *rest: Any) -> tuple[Any, ...]:
    return np.nan_to_num(x), *rest


def uncarried(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """The states that come back are those that went in."""
    return outputs[0], *inputs[1 : len(outputs)]


def remembering(run: Run) -> Run:
    """Keeps a state between calls."""
    calls = [0]

    def wrong(op: Any, w: Weights, *inputs: Any) -> tuple[Any, ...]:
        calls[0] += 1
        y, *rest = run(op, w, *inputs)
        return y * (1 + 1e-3 * (calls[0] > 1)), *rest

    return wrong


def scribbling(run: Run) -> Run:
    """Uses its weights as scratch space."""

    def wrong(op: Any, w: Weights, *inputs: Any) -> tuple[Any, ...]:
        outputs = run(op, w, *inputs)
        w["recurrent_kernel"][...] = 0
        return outputs

    return wrong


def wrong_function(name: str, **parameters: Any) -> Wrap:
    """Another function, or other parameters, where that name is asked for: in Activate and in the gates."""

    def change(op: Any) -> Any:
        wanted = {
            field: Function(parameters.get("instead", name), tuple(parameters.get("with_", {}).items()))
            for field in ("function", "activation", "recurrent_activation")
            if hasattr(op, field) and getattr(op, field).name == name
        }
        return replace(op, **wanted)

    return lambda run: lambda op, w, *inputs: run(change(op), w, *inputs)


ANY = (*RECURRENT, ops.Activate)
FAULTS: dict[str, Fault] = {
    **{f"lstm gates {order}": (LSTM, wrap) for order, wrap in orders("ifco")},
    **{f"gru gates {order}": (GRU, wrap) for order, wrap in orders("zrh")},
    "bias dropped": (RECURRENT, bias(lambda op, b: 0 * b)),
    "bias dropped, dense": ((ops.Affine,), given_op(use_bias=False)),
    "bias added twice": (LSTM, bias(lambda op, b: 2 * b)),
    "recurrent bias dropped": (GRU, scaled_rows(1, 0)),
    "input bias dropped": (GRU, scaled_rows(0, 1)),
    "biases swapped": (GRU, bias(lambda op, b: b[::-1] if b.ndim == 2 else b)),
    "forget bias + 1": (LSTM, bias(forget_bias)),
    "reset_after ignored: always after": (
        GRU,
        lambda run: (
            lambda op, w, *inputs: run(
                replace(op, reset_after=True),
                {**w, **({"bias": np.stack([w["bias"], 0 * w["bias"]])} if op.use_bias and not op.reset_after else {})},
                *inputs,
            )
        ),
    ),
    "reset_after ignored: always before": (
        GRU,
        lambda run: (
            lambda op, w, *inputs: run(
                replace(op, reset_after=False),
                {**w, **({"bias": w["bias"].sum(0)} if op.use_bias and op.reset_after else {})},
                *inputs,
            )
        ),
    ),
    "update gate inverted": (GRU, given_weights(negated_update)),
    "recurrent kernel transposed, lstm": (LSTM, given_weights(transposed)),
    "recurrent kernel transposed, gru": (GRU, given_weights(transposed)),
    "recurrent kernel transposed, rnn": (RNN, given_weights(transposed)),
    "no recurrence": (RECURRENT, given_weights(without_recurrence)),
    "one unit wrong by 1 %": (RECURRENT, given_weights(last_unit)),
    "activation ignored, lstm": (LSTM, given_op(activation=Function("tanh"))),
    "activation ignored, gru": (GRU, given_op(activation=Function("tanh"))),
    "activation ignored, rnn": (RNN, given_op(activation=Function("tanh"))),
    "recurrent_activation ignored, lstm": (LSTM, given_op(recurrent_activation=Function("sigmoid"))),
    "recurrent_activation ignored, gru": (GRU, given_op(recurrent_activation=Function("sigmoid"))),
    "no activation of the cell state": (LSTM, lambda run: _cell_unactivated),
    "go_backwards ignored": ((ops.Reverse,), lambda run: lambda op, w, x: (x,)),
    "output in original time order": (RECURRENT, returning(flipped)),
    "reverse along the features": ((ops.Reverse,), lambda run: lambda op, w, x: (x[..., ::-1],)),
    "off by one state": (RECURRENT, returning(late)),
    "first output instead of last": ((ops.Last,), returning(first_instead_of_last)),
    "initial states ignored": (RECURRENT, states(lambda k, state: 0 * state)),
    "initial h ignored": (LSTM, states(lambda k, state: state * (k != 0))),
    "initial c ignored": (LSTM, states(lambda k, state: state * (k != 1))),
    "states swapped on entry": (LSTM, given_inputs(swapped)),
    "states swapped on return": (LSTM, returning(traded)),
    "states not returned": (RECURRENT, returning(uncarried)),
    "mask ignored": (RECURRENT, mask(lambda given: None)),
    "mask ignored in one row": (RECURRENT, mask(first_row_unmasked)),
    "mask ignored in fully masked rows": (RECURRENT, mask(full_rows_unmasked)),
    "mask inverted": (RECURRENT, mask(lambda given: ~given)),
    "mask off by one": (RECURRENT, mask(lambda given: np.roll(given, 1, 1))),
    "mask not reversed": (
        (ops.Reverse,),
        lambda run: lambda op, w, x: (x,) if x.dtype == bool else run(op, w, x),
    ),
    "mask taken for a length": (
        RECURRENT,
        mask(lambda given: np.arange(given.shape[1])[None] < given.sum(1, keepdims=True)),
    ),
    "zero_output_for_mask ignored": (RECURRENT, given_op(zero_output_for_mask=False)),
    "masked outputs always zero": (RECURRENT, given_op(zero_output_for_mask=True)),
    "masked outputs emit the initial h": (RECURRENT, returning(initial_h_where_masked)),
    "states not frozen under the mask": (RECURRENT, unfrozen),
    "states of other rows returned": (RECURRENT, returning(leaking)),
    "states of other rows used": (RECURRENT, given_inputs(row_sees_row)),
    "hard_sigmoid with 0.2": (ANY, wrong_function("hard_sigmoid", instead="hard_sigmoid_0_2")),
    "hard_sigmoid_0_2 with 1/6": (ANY, wrong_function("hard_sigmoid_0_2", instead="hard_sigmoid")),
    "leaky_relu with slope 0.3": (ANY, wrong_function("leaky_relu", with_={"negative_slope": 0.3})),
    "leaky_relu with slope 0.01": (ANY, wrong_function("leaky_relu", with_={"negative_slope": 0.01})),
    "gelu approximate": (ANY, wrong_function("gelu", with_={"approximate": True})),
    "relu without parameters": (ANY, wrong_function("relu")),
    "elu for selu": (ANY, wrong_function("selu", instead="elu")),
    "softmax over the wrong axis": ((ops.Activate,), wrong_function("softmax", with_={"axis": 1})),
    "softmax always over the last axis": ((ops.Activate,), wrong_function("softmax")),
    "embed off by one": ((ops.Embed,), given_inputs(lambda op, ids: (np.maximum(ids - 1, 0),))),
    "mask of zeros whatever the value": ((ops.NotEqual,), given_op(value=0)),
    "reshape column by column": (
        (ops.Reshape,),
        lambda run: lambda op, w, x: (x.reshape((x.shape[0], *op.shape), order="F"),),
    ),
    "transpose the other way": (
        (ops.Transpose,),
        lambda run: lambda op, w, x: (x.transpose(np.argsort(op.axes)),),
    ),
    "affine of the transposed kernel": (
        (ops.Affine,),
        given_weights(lambda op, w: {"kernel": w["kernel"].T.reshape(w["kernel"].shape)}),
    ),
    "float64 computed in float32": (RECURRENT, single),
    "float64 computed in float32, dense": ((ops.Affine,), single),
    "float64 returned for float32": (RECURRENT, double),
    "an axis too many": ((ops.Last,), returning(unsqueezed)),
    "NaN replaced by zero": (RECURRENT, given_inputs(nan_to_zero)),
    "depends on calls before": (GRU, remembering),
    "writes into its weights": (GRU, scribbling),
    "crashes": (RNN, lambda run: lambda op, w, *inputs: run(op, w)),
    "wrong for one step only": (
        LSTM,
        when(lambda op, w, x, *rest: x.shape[1] == 1, bias(lambda op, b: 0 * b)),
    ),
    "wrong for 50 steps only": (LSTM, when(lambda op, w, x, *rest: x.shape[1] >= 50, returning(late))),
    "wrong for one sample only": (
        LSTM,
        when(lambda op, w, x, *rest: x.shape[0] == 1, states(lambda k, state: 0 * state)),
    ),
    "wrong for one unit only": (
        LSTM,
        when(lambda op, w, x, *rest: op.units == 1, given_weights(without_recurrence)),
    ),
    "wrong without bias only": (
        LSTM,
        when(lambda op, w, x, *rest: not op.use_bias, given_weights(without_recurrence)),
    ),
    "wrong without bias only, gru": (
        GRU,
        when(lambda op, w, x, *rest: not op.use_bias, given_weights(without_recurrence)),
    ),
    "wrong with a mask and no bias only": (
        LSTM,
        when(lambda op, w, *inputs: inputs[MASK] is not None and not op.use_bias, returning(late)),
    ),
}


def _cell_unactivated(op: Any, w: Weights, x: Array, h: Array, c: Array, given: Any, _: Any) -> tuple[Array, ...]:
    """h_t = o ⊙ c_t, without φ; the mask is heeded step by step."""
    sigmoid, ys = lambda a: 1 / (1 + np.exp(-a)), []
    for t in range(x.shape[1]):
        z = x[:, t] @ w["kernel"] + h @ w["recurrent_kernel"] + w.get("bias", np.zeros((), x.dtype))
        i, f, g, o = np.split(z, 4, 1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * new_c
        valid = np.ones(len(x), bool)[:, None] if given is None else given[:, t, None]
        h, c = np.where(valid, new_h, h), np.where(valid, new_c, c)
        ys.append(h)
    return np.stack(ys, 1), h, c
