"""Several callbacks, called as one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from lstmcore import tree
from lstmcore.callbacks.base import BATCH_HOOKS, Callback, State
from lstmcore.errors import SpecError
from lstmcore.naming import unique


def _all(hook: str) -> Callable[..., None]:
    """Calls that hook of each, in order; as Keras does, ``logs`` by name where a batch comes first."""

    def of_batch(self: CallbackList, batch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        for callback in self.callbacks:
            getattr(callback, hook)(batch, logs=logs)

    def of_epoch(self: CallbackList, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        for callback in self.callbacks:
            getattr(callback, hook)(epoch, logs)

    def of_all(self: CallbackList, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        for callback in self.callbacks:
            getattr(callback, hook)(logs)

    return of_batch if hook in BATCH_HOOKS else of_epoch if "epoch" in hook else of_all


class CallbackList:
    """Callbacks, each told in their order; every hook of `Callback` is one of the list.

    As a context manager, ``with callbacks: ...``, it tells them when an exception ends the block, so that none
    leaves a file open or a bar on the terminal.

    Args:
        callbacks: None, one callback, or a list of them, also nested.
        model: what they are about.
        params: see `Callback`.

    Raises:
        SpecError: one of them is no `Callback`.
    """

    def __init__(self, callbacks: Any = None, model: Any = None, params: Mapping[str, Any] | None = None) -> None:
        self.callbacks: list[Callback] = []
        self.model = model
        self.params: Mapping[str, Any] = {} if params is None else params
        for callback in [] if callbacks is None else tree.leaves(callbacks):
            self.append(callback)

    def append(self, callback: Callback) -> None:
        """One more, called last."""
        if not isinstance(callback, Callback):
            raise SpecError(f"callbacks: {_what(callback)}; expected callbacks of lstmcore.callbacks")
        self.callbacks.append(callback)
        callback.set_params(self.params)
        callback.set_model(self.model)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Tells all of other ``params``."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Tells all of another model."""
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __len__(self) -> int:
        return len(self.callbacks)

    def __enter__(self) -> CallbackList:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for callback in self.callbacks:
                callback.on_abort()

    @property
    def watches_batches(self) -> bool:
        """Whether any must be told of each training batch."""
        return any(callback.watches_batches for callback in self.callbacks)

    @property
    def needs_weights(self) -> bool:
        """Whether the model must hold current weights after each batch."""
        return any(callback.watches_batches and callback.reads_weights for callback in self.callbacks)

    def state(self) -> dict[str, State]:
        """The states of those that have one, by class; a second of a class is ``Class_1``."""
        states = {name: callback.state() for name, callback in self._named().items()}
        return {name: state for name, state in states.items() if state}

    def restore(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Gives each its state back, before ``on_train_begin``. It warns where one is not among the callbacks."""
        named = self._named()
        for name, state in states.items():
            if name in named:
                named[name].restore(state)
            else:
                warnings.warn(
                    f"the checkpoint holds the state of a callback {name}, which is not among those given now "
                    f"({', '.join(named) or 'none'}); what it had seen is forgotten",
                    stacklevel=2,
                )

    def _named(self) -> dict[str, Callback]:
        named: dict[str, Callback] = {}
        for callback in self.callbacks:
            named[unique(type(callback).__name__, named)] = callback
        return named

    on_train_begin = _all("on_train_begin")
    on_train_end = _all("on_train_end")
    on_epoch_begin = _all("on_epoch_begin")
    on_epoch_end = _all("on_epoch_end")

    def on_epoch_resume(self, epoch: int, batches: int) -> None:
        """An epoch goes on after so many batches."""
        for callback in self.callbacks:
            callback.on_epoch_resume(epoch, batches)

    on_batch_begin = _all("on_batch_begin")
    on_batch_end = _all("on_batch_end")
    on_train_batch_begin = _all("on_train_batch_begin")
    on_train_batch_end = _all("on_train_batch_end")
    on_test_begin = _all("on_test_begin")
    on_test_end = _all("on_test_end")
    on_test_batch_begin = _all("on_test_batch_begin")
    on_test_batch_end = _all("on_test_batch_end")
    on_predict_begin = _all("on_predict_begin")
    on_predict_end = _all("on_predict_end")
    on_predict_batch_begin = _all("on_predict_batch_begin")
    on_predict_batch_end = _all("on_predict_batch_end")


def _what(given: object) -> str:
    if isinstance(given, type) and issubclass(given, Callback):
        return f"the class {given.__name__} is given, not one of it; give {given.__name__}(...)"
    if type(given).__module__.partition(".")[0] == "keras":
        name = type(given).__name__
        return f"a {name} of keras is given; lstmcore.callbacks.{name} takes the same arguments"
    return f"{given!r} is given"
