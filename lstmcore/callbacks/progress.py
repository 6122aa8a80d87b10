"""Telling how training goes: a bar on a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lstmcore.callbacks.base import Callback, Logs, read, say
from lstmcore.optimizers.checks import Kind

if TYPE_CHECKING:
    from lstmcore.callbacks.bar import Bar


def _verbosity(value: Any) -> str | int:
    if value not in ("auto", 0, 1, 2):
        raise ValueError
    return value if isinstance(value, str) else int(value)


VERBOSITY = Kind("'auto', 0, 1 or 2", _verbosity)


class ProgbarLogger(Callback):
    """Tells of epochs, steps, times, losses and metrics on stdout, as ``params["verbose"]`` says.

    1: on a terminal, a bar with the time left; when an epoch is over, a line. 2: only the line. 0: nothing. "auto" is 1
    on a terminal and 2 elsewhere. Where stdout is no terminal there is never a bar, only lines::

        Epoch 1/3 - 3.2 s - 17.1 ms/step - accuracy: 0.8123 - loss: 0.6011 - val_accuracy: 0.8514 - val_loss: 0.5127

    The seconds are the epoch's, with its validation; those of a step are training's alone.
    """

    reads_weights = False

    def __init__(self) -> None:
        self._verbose = 0
        self._bar: Bar | None = None
        self._training = False
        self._title = ""
        self._begin(None)

    def _begin(self, steps: int | None) -> None:
        """A new count of steps begins now."""
        self._start = time.perf_counter()
        self._steps, self._seen, self._first = steps, 0, 0
        self._warm: float | None = None  # when the first step, which may compile, was over
        self._done: float | None = None  # when the last was

    def set_params(self, params: Mapping[str, Any]) -> None:
        super().set_params(params)
        verbose = read(self, "verbose", VERBOSITY, params.get("verbose", "auto"))
        self._verbose = (2 if verbose else 0) if not on_terminal() else 1 if verbose == "auto" else verbose

    @property
    def watches_batches(self) -> bool:
        counts = self.params.get("steps") is None or self.resumed
        return self._verbose == 1 or (self._verbose == 2 and counts)

    # Training

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._training = False
        self.on_abort()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._title = f"Epoch {epoch + 1}/{self.params.get('epochs', epoch + 1)}"
        self._open()

    def on_epoch_resume(self, epoch: int, batches: int) -> None:
        self.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._step(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._close(logs)

    # Evaluation, alone or in training; prediction

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if self._training:
            self._done = time.perf_counter()
            if self._bar is not None:
                self._bar.note("validation")
        else:
            self._title = "Evaluate"
            self._open()

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._training:
            self._step(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._training:
            self._close(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._title = "Predict"
        self._open()

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._step(batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._close(None)

    def on_abort(self) -> None:
        self._training = False
        self._stop()

    # What they share

    def _open(self) -> None:
        self._stop()
        self._begin(self.params.get("steps"))
        if self._verbose == 1:
            from lstmcore.callbacks.bar import Bar

            self._bar = Bar(self._title, self._steps)

    def _step(self, batch: int, logs: Logs | None) -> None:
        now = time.perf_counter()
        if not self._seen:
            self._first, self._warm = batch, now
        self._seen = batch + 1
        if self._bar is not None and self._bar.is_due(now):
            self._bar.show(self._seen, self._pace(now), told(logs or {}))

    def _pace(self, now: float) -> float:
        """Seconds a step, without the first where there are more."""
        taken = self._seen - self._first
        if taken > 1 and self._warm is not None:
            return (now - self._warm) / (taken - 1)
        return (now - self._start) / taken

    def _close(self, logs: Logs | None) -> None:
        self._stop()
        if not self._verbose:
            return
        now = time.perf_counter()
        taken = self._seen - self._first if self._seen else self._steps or 0
        parts = [self._title, f"{now - self._start:.1f} s"]
        if taken:
            parts.append(pace(((self._done or now) - self._start) / taken))
        say(" - ".join([*parts, *filter(None, [told(logs or {})])]))

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def on_terminal() -> bool:
    """Whether stdout is a terminal that can draw a bar."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def pace(seconds: float) -> str:
    """The time of a step."""
    milliseconds = 1000 * seconds
    return f"{milliseconds:.1f} ms/step" if milliseconds >= 1 else f"{milliseconds:.3f} ms/step"


def told(logs: Logs) -> str:
    """Logs by name, those of the validation last: ``accuracy: 0.8123 - loss: 0.6011``."""
    names = sorted(logs, key=lambda name: (name.startswith("val_"), name))
    return " - ".join(f"{name}: {number(logs[name])}" for name in names)


def number(value: Any) -> str:
    """Four digits behind the point, or of a small one four that count."""
    if not hasattr(value, "__float__"):
        return str(value)
    real = float(value)
    small = real != 0 and math.isfinite(real) and abs(real) <= 1e-3
    return f"{real:.4e}" if small else f"{real:.4f}"
