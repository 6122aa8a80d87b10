"""Stopping where the loss is no number any more."""

from __future__ import annotations

import math

from lstmcore.callbacks.base import Callback, Logs, read, say
from lstmcore.errors import TrainingError
from lstmcore.optimizers.checks import FLAG


class TerminateOnNaN(Callback):
    """Stops training after the first batch whose loss is NaN or infinite.

    Args:
        raise_error: raise TrainingError, a RuntimeError, instead.
    """

    reads_weights = False

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error: bool = read(self, "raise_error", FLAG, raise_error)
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_epoch_resume(self, epoch: int, batches: int) -> None:
        self.on_epoch_begin(epoch)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        text = f"TerminateOnNaN: the loss is {float(loss)} after batch {batch + 1} of epoch {self._epoch + 1}"
        if self.raise_error:
            raise TrainingError(f"{text}; try a smaller learning rate, or clipnorm in the optimizer")
        say(f"{text}; training stops")
        self.model.stop_training = True
