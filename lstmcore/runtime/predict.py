"""Inference over data of any length, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.callbacks import CallbackList, ProgbarLogger
from lstmcore.errors import InputError, SpecError
from lstmcore.program import Program
from lstmcore.runtime.data import comes_in_batches, unpacked
from lstmcore.runtime.feed import batches, feed
from lstmcore.runtime.session import Session

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = NDArray[Any]


class Inputs:
    """The inputs of a prediction as batches: of ``total`` samples in all, None where only the end tells.

    x is as `BaseModel.predict` takes it; ``size`` the batch size asked for; ``steps`` how many batches are
    wanted; ``at_once``: all is one batch.
    """

    def __init__(self, model: BaseModel, x: Any, size: int | None, steps: int | None, at_once: bool) -> None:
        self.model = model
        self.steps = steps
        self.total: int | None = None
        self.batches: int | None = steps
        if comes_in_batches(x) and not at_once:
            if size is not None:
                raise InputError(
                    f"batch_size is given beside data that come in batches; a {type(x).__name__} has its own"
                )
            self._parts: Iterable[dict[str, Array]] = map(self._one, x)
            return
        arrays = self._fed(x)
        count = next(iter(arrays.values())).shape[0]
        fits = model._batch_size(count if at_once else size, count)
        self.batches = min(-(-count // fits), steps or count)
        self.total = min(count, self.batches * fits)
        self._parts = (part for _, part in batches(arrays, fits))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return islice(iter(self._parts), self.steps)

    def _fed(self, x: Any) -> dict[str, Array]:
        return feed(self.model.program, self.model._by_input(x), self.model.dtype)

    def _one(self, element: Any) -> dict[str, Array]:
        arrays = self._fed(unpacked(element)[0])
        count = next(iter(arrays.values())).shape[0]
        self.model._batch_size(count, count)
        return arrays


def predict(session: Session, inputs: Inputs, states: dict[str, Array], callbacks: CallbackList) -> list[Array]:
    """Runs all batches and joins their outputs.

    ``states`` holds the stateful carries by name: they start the first batch, go from batch to batch,
    and are left in it.
    """
    kept = [carry.name for carry in session.program.carries if carry.stateful]
    carries: dict[str, Any] = {name: states[name] for name in kept if name in states}
    joined = _Joined(inputs.total)
    callbacks.on_predict_begin()
    for k, batch in enumerate(inputs):
        if len(callbacks):
            callbacks.on_predict_batch_begin(k)
        made, after = session.run(batch, carries)
        carries = {name: after[name] for name in kept}
        _check_rows(session.program, made, len(next(iter(batch.values()))))
        joined.add(made)
        if len(callbacks):
            callbacks.on_predict_batch_end(k, {"outputs": made})
    states.update({name: np.array(session.backend.numpy(carries[name])) for name in kept if name in carries})
    outputs = joined.outputs()
    callbacks.on_predict_end()
    return outputs


def _check_rows(program: Program, made: Sequence[Array], samples: int) -> None:
    """SpecError for an output that has no entry for each sample: a constant, or the steps of all samples in a row."""
    for name, y in zip(program.outputs, made, strict=True):
        if y.shape[:1] != (samples,):
            raise SpecError(f"output {name!r} has shape {y.shape} for {samples} samples; expected an entry for each")


class _Joined:
    """Outputs of batches one after another; written straight to their place where the number of samples is known."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._parts: list[list[Array]] = []
        self._wholes: list[Array] = []
        self._done = 0

    def add(self, made: list[Array]) -> None:
        if self._total is None:
            self._parts.append([np.array(part) for part in made])
            return
        if not self._wholes:
            self._wholes = [np.empty((self._total, *y.shape[1:]), y.dtype) for y in made]
        for whole, part in zip(self._wholes, made, strict=True):
            whole[self._done : self._done + len(part)] = part
        self._done += len(made[0])

    def outputs(self) -> list[Array]:
        if self._total is None and not self._parts:
            raise InputError("the data yield no batch")
        return self._wholes or [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]


def watching(model: BaseModel, inputs: Inputs, verbose: int | str, callbacks: Any) -> CallbackList:
    """The callbacks of a prediction, and its progress: only where it is asked for."""
    if verbose == "auto":
        verbose = 0
    params = {"steps": inputs.batches, "verbose": verbose}
    return CallbackList([ProgbarLogger(), *CallbackList(callbacks, model)], model, params)
