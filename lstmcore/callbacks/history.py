"""What ``fit`` returns: the logs of every epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore.callbacks.base import ARRAY, ARRAYS, Callback, Logs, State, check_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(Callback):
    """Remembers the logs of each epoch; ``fit`` has one of its own and returns it.

    ``history`` maps each log's name to its values, one for each epoch that had it; ``epoch`` lists the epochs, counted
    from 0; ``params`` says how it was trained.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self._epochs: dict[str, list[int]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if not self.resumed:
            self._forget()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self._epochs.setdefault(name, []).append(epoch)

    def epochs_of(self, name: str) -> list[int]:
        """The epochs that had a log of this name: not all, where ``validation_freq`` skipped some."""
        return list(self._epochs.get(name, []))

    def state(self) -> State:
        return {
            "epoch": np.array(self.epoch, np.int64),
            "history": {name: np.array(values, np.float64) for name, values in self.history.items()},
            "epochs": {name: np.array(epochs, np.int64) for name, epochs in self._epochs.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state(self, state, {"epoch": ARRAY, "history": ARRAYS, "epochs": ARRAYS})
        self.epoch = [int(epoch) for epoch in state["epoch"]]
        self.history = {name: values.tolist() for name, values in state["history"].items()}
        self._epochs = {name: [int(e) for e in epochs] for name, epochs in state["epochs"].items()}

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        metrics: str | Sequence[str] | None = None,
        log: bool | str | Sequence[str] = False,
    ) -> Figure:
        """Draws the loss and each metric over the epochs, with its validation in the same panel.

        Args:
            path: where to save the picture; the suffix says in which format (png, pdf, svg, ...).
            metrics: the names to draw, without ``val_``; None draws all.
            log: the names whose values get a logarithmic axis, or True for all.

        Returns:
            matplotlib's Figure.

        Raises:
            InputError: there is no epoch yet, or no metric of that name.
            ImportError: matplotlib is not installed; it says what to install.
        """
        from lstmcore.callbacks.plot import plot

        return plot(self, path, metrics, log)
