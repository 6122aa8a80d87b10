"""A callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lstmcore.callbacks.base import HOOKS, Callback, read
from lstmcore.errors import SpecError, near
from lstmcore.optimizers.checks import FLAG

Function = Callable[..., Any]


class LambdaCallback(Callback):
    """Calls functions of your own, each in place of the hook that it is given for.

    ``on_epoch_...`` are called with (epoch, logs), ``on_..._batch_...`` with (batch, logs=logs), the others with
    (logs).

    Args:
        on_epoch_begin, on_epoch_end, on_train_begin, on_train_end, on_train_batch_begin, on_train_batch_end: or None.
        reads_weights: whether functions of batches look at the model's weights.
        hooks: any other hook of `Callback`, by name.

    Raises:
        SpecError: there is no such hook, or what is given for it is no function.
    """

    def __init__(
        self,
        on_epoch_begin: Function | None = None,
        on_epoch_end: Function | None = None,
        on_train_begin: Function | None = None,
        on_train_end: Function | None = None,
        on_train_batch_begin: Function | None = None,
        on_train_batch_end: Function | None = None,
        reads_weights: bool = True,
        **hooks: Function | None,
    ) -> None:
        self.reads_weights = read(self, "reads_weights", FLAG, reads_weights)
        hooks |= {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for name, function in hooks.items():
            if name not in HOOKS:
                raise SpecError(f"LambdaCallback: there is no hook {name!r}.{near(name, HOOKS)}")
            if function is not None:
                if not callable(function):
                    raise SpecError(f"LambdaCallback: {name} is {function!r}; expected a function")
                setattr(self, name, function)
