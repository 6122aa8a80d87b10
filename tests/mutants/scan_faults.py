"""Faults of what runs over time: `Scan`, the output before the first step, and rows packed by their lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from faults import (
    LSTM,
    MASK,
    PREVIOUS,
    RECURRENT,
    first_row_unmasked,
    full_rows_unmasked,
    initial_h_where_masked,
    late,
    leaking,
    mask,
    row_sees_row,
    traded,
    uncarried,
    unfrozen,
)
from planting import Array, Fault, Wrap, given_inputs, given_op, given_weights, returning, when

from lstmcore import ops

SCAN = (ops.Scan,)
ANY = (*RECURRENT, ops.Scan)


def previous(change: Callable[..., Array | None]) -> Wrap:
    """``change(op, *inputs)`` is the output before the first step that is used instead of the one given."""

    def wrong(op: Any, *inputs: Any) -> tuple[Any, ...]:
        return (*inputs[:PREVIOUS], None if inputs[PREVIOUS] is None else change(op, *inputs))

    return given_inputs(wrong)


def before_zeros(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """The output before shows through although masked steps are zero."""
    (y, *rest), valid, before = outputs, inputs[MASK], inputs[PREVIOUS]
    if valid is None or before is None or not op.zero_output_for_mask:
        return outputs
    return np.where(np.logical_or.accumulate(valid, 1)[:, :, None], y, before[:, None]), *rest


def before_everywhere(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """Every masked step repeats it."""
    (y, *rest), valid, before = outputs, inputs[MASK], inputs[PREVIOUS]
    if valid is None or before is None or op.zero_output_for_mask:
        return outputs
    return np.where(valid[:, :, None], y, before[:, None]), *rest


def from_before(op: Any, x: Array, h: Array, *rest: Any) -> tuple[Any, ...]:
    """It is taken for the state."""
    return x, h if rest[PREVIOUS] is None else rest[PREVIOUS], *rest


def first_step_skipped(op: Any, x: Array, *rest: Any) -> tuple[Any, ...]:
    *states, valid, before = rest
    valid = np.ones(x.shape[:2], bool) if valid is None else valid.copy()
    valid[:, 0] = False
    return x, *states, valid, before


def two_states_swapped(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    y, *states = outputs
    alike = len(states) > 1 and states[0].shape == states[1].shape
    return (y, states[1], states[0], *states[2:]) if alike else outputs


def masked_nan(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """What is masked is multiplied by zero, which leaves NaN as it is."""
    x, valid = inputs[0], inputs[MASK]
    if valid is None or x.dtype.kind != "f":
        return outputs
    poisoned = np.logical_or.accumulate(np.isnan(x.reshape(*x.shape[:2], -1)).any(2) & ~valid, 1)
    y, *states = outputs
    return np.where(poisoned[:, :, None], np.nan, y).astype(y.dtype), *(
        np.where(poisoned[:, -1:], np.nan, state).astype(state.dtype) for state in states
    )


# Rows packed: what an engine does that takes lengths instead of masks.


def lengths(valid: Array) -> Array:
    return valid.sum(1)


def right_padded(op: Any, w: Any, *inputs: Any) -> bool:
    """There is a mask, and a length says it."""
    valid = inputs[MASK]
    return valid is not None and not valid.all() and not (valid[:, 1:] & ~valid[:, :-1]).any()


def packed(wrap: Wrap) -> Wrap:
    return when(right_padded, wrap)


def by_length(inputs: Any) -> Array:
    """The longest row first."""
    return np.argsort(-lengths(inputs[MASK]), kind="stable")


def unsorted(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """Rows stay in the order of their lengths."""
    return tuple(y[by_length(inputs)] for y in outputs)


def sorted_twice(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """They are put back by the order itself instead of its inverse."""
    order = by_length(inputs)
    return tuple(y[order][order] for y in outputs)


def states_unsorted(op: Any, x: Array, *rest: Any) -> tuple[Any, ...]:
    """The rows are put in order, the states given with them are not."""
    *states, valid, before = rest
    back = np.argsort(by_length(rest), kind="stable")
    return x, *(state[back] for state in states), valid, before


def before_unsorted(op: Any, *inputs: Any) -> Array:
    order: Array = inputs[PREVIOUS][by_length(inputs)]
    return order


def one_step_at_least(op: Any, *inputs: Any) -> tuple[Any, ...]:
    """A length of 0 is taken for 1."""
    valid = inputs[MASK].copy()
    valid[:, 0] = True
    return (*inputs[:MASK], valid, inputs[PREVIOUS])


def as_long_as_the_longest(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    y, *states = outputs
    return y[:, : max(int(lengths(inputs[MASK]).max()), 1)], *states


def zeros_at_the_end(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    y, *states = outputs
    return np.where(inputs[MASK][:, :, None], y, 0).astype(y.dtype), *states


def last_row_ends_all(op: Any, inputs: Any, outputs: Any) -> tuple[Any, ...]:
    """After its end a row repeats the output of the longest."""
    (y, *states), valid = outputs, inputs[MASK]
    longest = y[by_length(inputs)[:1]]
    return np.where(valid[:, :, None], y, longest), *states


FAULTS: dict[str, Fault] = {
    "Scan: mask ignored": (SCAN, mask(lambda given: None)),
    "Scan: mask ignored in one row": (SCAN, mask(first_row_unmasked)),
    "Scan: mask ignored in fully masked rows": (SCAN, mask(full_rows_unmasked)),
    "Scan: mask inverted": (SCAN, mask(lambda given: ~given)),
    "Scan: mask off by one": (SCAN, mask(lambda given: np.roll(given, 1, 1))),
    "Scan: mask of the first row for all": (SCAN, mask(lambda given: np.broadcast_to(given[:1], given.shape))),
    "Scan: mask taken for a length": (
        SCAN,
        mask(lambda given: np.arange(given.shape[1])[None] < given.sum(1, keepdims=True)),
    ),
    "Scan: zero_output_for_mask ignored": (SCAN, given_op(zero_output_for_mask=False)),
    "Scan: masked outputs always zero": (SCAN, given_op(zero_output_for_mask=True)),
    "Scan: masked outputs emit the initial state": (SCAN, returning(initial_h_where_masked)),
    "Scan: states not frozen under the mask": (SCAN, unfrozen),
    "Scan: states swapped on return": (SCAN, returning(two_states_swapped)),
    "Scan: states not returned": (SCAN, returning(uncarried)),
    "Scan: initial states ignored": (
        SCAN,
        given_inputs(lambda op, x, *rest: (x, *(0 * state for state in rest[:MASK]), *rest[MASK:])),
    ),
    "Scan: states of other rows returned": (SCAN, returning(leaking)),
    "Scan: states of other rows used": (SCAN, given_inputs(row_sees_row)),
    "Scan: first step skipped": (SCAN, given_inputs(first_step_skipped)),
    "Scan: backwards": (SCAN, given_inputs(lambda op, x, *rest: (x[:, ::-1], *rest))),
    "Scan: first step for all": (SCAN, given_inputs(lambda op, x, *rest: (np.broadcast_to(x[:, :1], x.shape), *rest))),
    "Scan: weights transposed where square": (
        SCAN,
        given_weights(lambda op, w: {k: a.T for k, a in w.items() if a.ndim == 2 and a.shape[0] == a.shape[1]}),
    ),
    "Scan: wrong for one step only": (SCAN, when(lambda op, w, x, *rest: x.shape[1] == 1, given_inputs(row_sees_row))),
    "off by one output, scan": (SCAN, returning(lambda op, x, y: (np.roll(y[0], 1, 1), *y[1:]))),
    "masked steps let NaN through": (RECURRENT, returning(masked_nan)),
    "Scan: masked steps let NaN through": (SCAN, returning(masked_nan)),
    "previous ignored": (RECURRENT, previous(lambda op, *inputs: None)),
    "Scan: previous ignored": (SCAN, previous(lambda op, *inputs: None)),
    "previous is the initial h": (RECURRENT, previous(lambda op, *inputs: inputs[1])),
    "previous taken for the state": (RECURRENT, given_inputs(from_before)),
    "previous at every masked step": (ANY, returning(before_everywhere)),
    "previous although masked outputs are zero": (ANY, returning(before_zeros)),
    "previous of other rows": (ANY, previous(lambda op, *inputs: np.roll(inputs[PREVIOUS], 1, 0))),
    "packed: rows in the order of their lengths": (RECURRENT, packed(returning(unsorted))),
    "packed: rows sorted twice": (RECURRENT, packed(returning(sorted_twice))),
    "packed: initial states in another order": (RECURRENT, packed(given_inputs(states_unsorted))),
    "packed: previous in another order": (RECURRENT, packed(previous(before_unsorted))),
    "packed: an empty row counts one step": (RECURRENT, packed(given_inputs(one_step_at_least))),
    "packed: as long as the longest row": (RECURRENT, packed(returning(as_long_as_the_longest))),
    "packed: zeros at the end": (RECURRENT, packed(returning(zeros_at_the_end))),
    "packed: the longest row's output at the end": (RECURRENT, packed(returning(last_row_ends_all))),
    "packed: states of the last step": (RECURRENT, packed(unfrozen)),
    "packed: states swapped": (LSTM, packed(returning(traded))),
    "packed: output late": (RECURRENT, packed(returning(late))),
}
