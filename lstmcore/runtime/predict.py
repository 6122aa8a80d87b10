"""Inference over data of any length, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.runtime.feed import batches
from lstmcore.runtime.session import Session

Array = NDArray[Any]


def predict(
    session: Session,
    arrays: dict[str, Array],
    batch_size: int,
    states: dict[str, Array],
    progress: Callable[[int, int], None] | None = None,
) -> list[Array]:
    """Runs all batches and joins their outputs.

    ``states`` holds the stateful carries by name: they start the first batch, go from batch to batch,
    and are left in it. ``progress(done, total)`` is told of every batch.
    """
    kept = [carry.name for carry in session.program.carries if carry.stateful]
    count = next(iter(arrays.values())).shape[0]
    carries: dict[str, Any] = {name: states[name] for name in kept if name in states}
    outputs: list[Array] = []
    for rows, batch in batches(arrays, batch_size):
        made, after = session.run(batch, carries)
        carries = {name: after[name] for name in kept}
        if not outputs:
            outputs = [np.empty((count, *y.shape[1:]), y.dtype) for y in made]
        for whole, part in zip(outputs, made, strict=True):
            whole[rows] = part
        if progress is not None:
            progress(rows.stop, count)
    states.update({name: np.array(session.backend.numpy(carries[name])) for name in kept})
    return outputs
