"""Setting the learning rate as training goes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from lstmcore.callbacks.base import COUNT, VALUE, Callback, Logs, State, check_state, read, say
from lstmcore.callbacks.monitor import Monitor
from lstmcore.errors import SpecError
from lstmcore.optimizers.checks import BELOW_ONE, NOT_NEGATIVE, optional

_KEPT = {"wait": COUNT, "best": optional(VALUE), "cooldown_counter": COUNT}


def check_settable(callback: Callback) -> None:
    """SpecError where the learning rate is a schedule, which nothing else can set."""
    rate = callback.model.optimizer.learning_rate
    if callable(rate):
        name = type(callback).__name__
        raise SpecError(
            f"{name} sets the learning rate, but that of the optimizer follows {rate!r}; "
            f"leave out {name}, or compile with a number"
        )


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by ``factor`` after ``patience`` epochs without an improvement, as Keras 3.15.

    It adds ``learning_rate``, the one that the epoch had, to the logs.

    Args:
        monitor, mode, min_delta: see `Monitor`.
        factor: in [0, 1).
        patience: how many epochs may pass without an improvement.
        verbose: 1 says so.
        cooldown: for how many epochs after a reduction nothing is counted.
        min_lr: the rate does not go below it.

    Raises:
        SpecError: an argument is not as above; as training begins, the learning rate is a schedule, or `mode` "auto"
            does not know.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor: float = read(self, "factor", BELOW_ONE, factor)
        self.patience: int = read(self, "patience", COUNT, patience)
        self.verbose = verbose
        self.cooldown: int = read(self, "cooldown", COUNT, cooldown)
        self.min_lr: float = read(self, "min_lr", NOT_NEGATIVE, min_lr)
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.find_direction()
        check_settable(self)
        if not self.resumed:
            self.best = None
            self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        current = self.monitored(epoch, logs, "the learning rate stays")
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
        if self.improves(current, self.best):
            self.best, self.wait = current, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def in_cooldown(self) -> bool:
        """Whether a reduction was so recent that nothing is counted."""
        return self.cooldown_counter > 0

    def _reduce(self, epoch: int) -> None:
        old = float(self.model.optimizer.learning_rate)
        if old <= self.min_lr:
            return
        new = max(old * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = new
        self.cooldown_counter, self.wait = self.cooldown, 0
        if self.verbose:
            say(f"ReduceLROnPlateau: learning rate {old:g} -> {new:g} after epoch {epoch + 1}")

    def state(self) -> State:
        return {name: getattr(self, name) for name in _KEPT}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state(self, state, _KEPT)
        for name in _KEPT:
            setattr(self, name, state[name])


class LearningRateScheduler(Callback):
    """Asks a function for the learning rate of each epoch. It adds ``learning_rate`` to the logs.

    Args:
        schedule: ``(epoch, learning_rate) -> learning_rate``, or ``(epoch) -> learning_rate``; epochs count from 0.
        verbose: 1 says so.

    Raises:
        SpecError: `schedule` cannot be called so, or gives no number >= 0; as training begins, the optimizer's
            learning rate is a schedule already.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes_two(schedule)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        check_settable(self)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        given = (epoch, float(optimizer.learning_rate)) if self._takes_rate else (epoch,)
        made = self.schedule(*given)
        if isinstance(made, bool) or not hasattr(made, "__float__") or not 0 <= float(made) < math.inf:
            raise SpecError(
                f"LearningRateScheduler: the schedule gave {made!r} for epoch {epoch}; expected a number >= 0"
            )
        optimizer.learning_rate = float(made)
        if self.verbose:
            say(f"LearningRateScheduler: learning rate {float(made):g} for epoch {epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_two(schedule: Any) -> bool:
    if not callable(schedule):
        raise SpecError(f"LearningRateScheduler: schedule is {schedule!r}; expected a function of (epoch, rate)")
    parameters = inspect.signature(schedule).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return True
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one for one in places if one.default is one.empty]
    if not places or len(needed) > 2:
        raise SpecError(
            f"LearningRateScheduler: schedule takes {len(needed)} arguments; expected (epoch, rate) or (epoch)"
        )
    return len(places) > 1
