"""A step and its backward over all of time: in a ``while``, or written out step by step in the graph.

Time comes first inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Tensor = Any
Step = Callable[..., Any]


def swapped(x: Tensor) -> Tensor:
    """(B, T, ...) <-> (T, B, ...)."""
    return tf.transpose(x, (1, 0, 2))


def steps_of(x: Tensor) -> Any:
    """x (T, B, ...) to be read step by step."""
    return tf.TensorArray(x.dtype, size=tf.shape(x)[0], element_shape=x.shape[1:]).unstack(x)


@dataclass(frozen=True)
class While:
    """For any number of steps."""

    parts = 1

    def forward(
        self, step: Step, x: Tensor, states: tuple[Tensor, ...], kept: int
    ) -> tuple[list[Any], tuple[Tensor, ...]]:
        """Runs ``step(x_t, *states) -> (kept, states)``: what is kept of each step, units wide, and the last states.

        Of what is kept, ``read(t)`` gives one step, ``stack()`` all of them.
        """
        count, steps = tf.shape(x)[0], steps_of(x)
        shape = tf.TensorShape((None, states[0].shape[1]))
        # Read by the backward, which runs eagerly too, and then perhaps twice: what was read must stay.
        arrays = [tf.TensorArray(x.dtype, count, element_shape=shape, clear_after_read=False) for _ in range(kept)]

        def body(t: Tensor, arrays: list[Any], states: tuple[Tensor, ...]) -> Any:
            keep, after = step(steps.read(t), *states)
            return t + 1, [array.write(t, value) for array, value in zip(arrays, keep, strict=True)], after

        entering = (tf.constant(0), arrays, states)
        _, arrays, states = tf.while_loop(lambda t, *_: t < count, body, entering, maximum_iterations=count)
        return arrays, states

    def backward(
        self, step: Step, dy: Tensor, dstates: tuple[Tensor, ...], columns: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs ``step(t, *dstates) -> (dz, dstates)`` from the last step to the first: dz (T B, columns), the first."""
        count, of_y = tf.shape(dy)[1], steps_of(swapped(dy))
        array = tf.TensorArray(dy.dtype, size=count, element_shape=(None, columns))

        def body(t: Tensor, array: Any, dstates: tuple[Tensor, ...]) -> Any:
            dz, before = step(t, dstates[0] + of_y.read(t), *dstates[1:])
            return t - 1, array.write(t, dz), before

        entering = (count - 1, array, dstates)
        _, array, dstates = tf.while_loop(lambda t, *_: t >= 0, body, entering, maximum_iterations=count)
        return array.concat(), dstates


@dataclass(frozen=True)
class Unrolled:
    """For a number of steps that is known, and not large: no loop has to be kept up while it runs.

    The samples go in so many ``parts``, each by itself, which the engine's threads then run side by side.
    """

    parts: int = 1

    def forward(
        self, step: Step, x: Tensor, states: tuple[Tensor, ...], kept: int
    ) -> tuple[list[Any], tuple[Tensor, ...]]:
        """As `While.forward`."""
        rows = []
        for x_t in tf.unstack(x):
            keep, states = step(x_t, *states)
            rows.append(keep)
        return [_Kept([row[k] for row in rows]) for k in range(kept)], states

    def backward(
        self, step: Step, dy: Tensor, dstates: tuple[Tensor, ...], columns: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `While.backward`."""
        found = []
        for t, dy_t in reversed(list(enumerate(tf.unstack(dy, axis=1)))):
            dz, dstates = step(t, dstates[0] + dy_t, *dstates[1:])
            found.append(dz)
        return tf.concat(found[::-1], 0), dstates


@dataclass(frozen=True)
class _Kept:
    values: Sequence[Tensor]

    def read(self, t: int) -> Tensor:
        return self.values[t]

    def stack(self) -> Tensor:
        return tf.stack(self.values)


Loop = While | Unrolled
WHILE = While()
