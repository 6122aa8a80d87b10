"""Stopping where nothing improves any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmcore.callbacks.base import ARRAYS, COUNT, VALUE, Logs, State, check_state, read, say
from lstmcore.callbacks.monitor import Monitor
from lstmcore.errors import SpecError
from lstmcore.optimizers.checks import FLAG, NUMBER, optional

_KEPT = {
    "wait": COUNT,
    "best": optional(VALUE),
    "best_epoch": COUNT,
    "stopped_epoch": COUNT,
    "best_weights": optional(ARRAYS),
}


class EarlyStopping(Monitor):
    """Stops training after ``patience`` epochs without an improvement, as Keras 3.15.

    Args:
        monitor, min_delta, mode: see `Monitor`.
        patience: how many epochs may pass without an improvement. The first epoch never stops training.
        verbose: 1 says so.
        baseline: only an improvement on it, too, starts the wait anew.
        restore_best_weights: at the end the model gets the weights of the best epoch, stopped early or not.
        start_from_epoch: epochs before this one, counted from 0, are not looked at.

    ``best``, ``best_epoch`` and ``stopped_epoch`` (0: it did not) may be read afterwards; epochs count from 0.

    Raises:
        SpecError: an argument is not as above; as training begins, `mode` "auto" does not know.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience: int = read(self, "patience", COUNT, patience)
        self.verbose = verbose
        self.baseline: float | None = read(self, "baseline", optional(NUMBER), baseline)
        self.restore_best_weights: bool = read(self, "restore_best_weights", FLAG, restore_best_weights)
        self.start_from_epoch: int = read(self, "start_from_epoch", COUNT, start_from_epoch)
        self._forget()

    def _forget(self) -> None:
        self.wait = self.best_epoch = self.stopped_epoch = 0
        self.best = None
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.find_direction()
        if not self.resumed:
            self._forget()
        elif self.stopped_epoch:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch < self.start_from_epoch:
            return
        current = self.monitored(epoch, logs or {}, "it stops nothing")
        if current is None:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self.improves(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self._keep(epoch)
            if self.baseline is None or self.improves(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_epoch, self.best_weights = epoch, self.model.get_weights()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            say(f"EarlyStopping: {self.monitor} no longer improved; stopped after epoch {self.stopped_epoch + 1}")
        if self.best_weights is not None:
            if self.verbose:
                say(f"EarlyStopping: the weights are those of the best epoch, {self.best_epoch + 1}")
            self.model.set_weights(self.best_weights)

    def state(self) -> State:
        weights = None
        if self.best_weights is not None:
            weights = dict(zip(self.model.weights, self.best_weights, strict=True))
        kept = {name: getattr(self, name) for name in _KEPT}
        return {**kept, "best_weights": weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state(self, state, _KEPT)
        weights = state["best_weights"]
        shapes = {path: array.shape for path, array in self.model.weights.items()}
        if weights is not None and {path: array.shape for path, array in weights.items()} != shapes:
            raise SpecError(f"EarlyStopping: the state given holds the weights of another model: {', '.join(weights)}")
        for name in _KEPT:
            setattr(self, name, state[name])
        self.best_weights = None if weights is None else [weights[path] for path in self.model.weights]
