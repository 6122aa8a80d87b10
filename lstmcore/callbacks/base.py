"""What a callback is: methods that training calls as it goes, under Keras' names."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import SpecError
from lstmcore.optimizers.checks import Kind

TRAIN_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
BATCH_HOOKS = (
    *TRAIN_BATCH_HOOKS,
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_predict_batch_begin",
    "on_predict_batch_end",
)
OTHER_HOOKS = (
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_resume",
    "on_epoch_end",
    "on_test_begin",
    "on_test_end",
    "on_predict_begin",
    "on_predict_end",
    "on_abort",
)
HOOKS = (*OTHER_HOOKS, *BATCH_HOOKS)

Logs = Mapping[str, Any]
State = dict[str, Any]


class Callback:
    """Base of the callbacks, and of your own: override the hooks you need.

    ``params`` says how it is trained: epochs, steps (in an epoch; None if unknown), verbose, initial_epoch, resumed
    (whether this fit goes on from a checkpoint). ``model`` is the model; ``model.stop_training = True`` ends training
    after the batch or epoch. Epochs and batches count from 0. ``logs`` holds floats by name: of a batch, the means so
    far; of an epoch, also ``val_...``. What is added to an epoch's logs, later callbacks and the history see.
    """

    reads_weights: bool = True
    """Whether its hooks of batches look at the model's weights, which for them must come from the device each time."""

    params: Mapping[str, Any] = {}
    model: Any = None

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Takes what `params` is."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Takes the model that is trained, evaluated or predicts."""
        self.model = model

    @property
    def resumed(self) -> bool:
        """Whether this fit goes on from a checkpoint: then ``on_train_begin`` must forget nothing."""
        return bool(self.params.get("resumed"))

    @property
    def watches_batches(self) -> bool:
        """Whether training must tell it of each batch: where it overrides a hook of training batches."""
        return any(_overrides(self, hook) for hook in TRAIN_BATCH_HOOKS)

    def state(self) -> State:
        """What a checkpoint keeps of it, so that a resumed run goes on as if it had not stopped.

        JSON values and NumPy arrays by name, in nested dicts; {} for a callback that remembers nothing.
        """
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave. It comes before ``on_train_begin`` of a fit that is ``resumed``.

        Raises:
            SpecError: the state is not this callback's.
        """
        check_state(self, state, {})

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Training begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Training has ended; ``logs`` are the last epoch's."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch begins."""

    def on_epoch_resume(self, epoch: int, batches: int) -> None:
        """An epoch goes on from a checkpoint after so many batches; it began, with ``on_epoch_begin``, before that."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """An epoch has ended, and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A training batch begins."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A training batch has ended."""
        self.on_batch_end(batch, logs=logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """The older name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """The older name of ``on_train_batch_end``."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """An evaluation begins, or the validation of an epoch."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """It has ended."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of it begins."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of it has ended."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """A prediction begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """It has ended."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of it begins."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of it has ended."""

    def on_abort(self) -> None:
        """An exception has ended it: no ``on_..._end`` will come. Let go of files and of the terminal."""


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)


def check_state(callback: Callback, state: Mapping[str, Any], expected: Mapping[str, Kind]) -> None:
    """SpecError where ``state`` does not hold just these names, each for something of its kind."""
    name = type(callback).__name__
    if set(state) != set(expected):
        known = ", ".join(expected) or "nothing"
        given = ", ".join(map(str, state)) or "nothing"
        raise SpecError(f"{name}: the state given holds {given}; this callback keeps {known}")
    for key, kind in expected.items():
        try:
            kind.read(state[key])
        except ValueError:
            raise SpecError(f"{name}: the state given has {state[key]!r} as {key}; expected {kind.expected}") from None


def read(callback: object, name: str, kind: Kind, value: Any) -> Any:
    """An argument of that kind; SpecError."""
    try:
        return kind.read(value)
    except ValueError:
        raise SpecError(f"{type(callback).__name__}: {name} is {value!r}; expected {kind.expected}") from None


def _not_negative(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ValueError
    return int(value)


def _any_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError
    return value


def _array(value: Any) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise ValueError
    return value


def _arrays(value: Any) -> dict[str, NDArray[Any]]:
    if not isinstance(value, Mapping):
        raise ValueError
    return {name: _array(array) for name, array in value.items()}


COUNT = Kind("an integer >= 0", _not_negative)
VALUE = Kind("a number, or infinity", _any_float)
ARRAY = Kind("an array", _array)
ARRAYS = Kind("arrays by name", _arrays)


def say(text: str) -> None:
    """A line on stdout, where the progress is."""
    print(text, flush=True)
