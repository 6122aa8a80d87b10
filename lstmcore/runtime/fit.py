"""fit and evaluate: the training loop, once for all engines."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.callbacks import CallbackList, History, ProgbarLogger
from lstmcore.errors import InputError
from lstmcore.random import Stream
from lstmcore.runtime import debug as debugging
from lstmcore.runtime.averages import take_averages
from lstmcore.runtime.checkpoint import Checkpoint, Start
from lstmcore.runtime.data import Batch
from lstmcore.runtime.scores import Scores
from lstmcore.runtime.sources import Arrays, Feed, Make, Source
from lstmcore.runtime.trainer import Prepared, Trainer
from lstmcore.runtime.training import (
    Loaded,
    Position,
    Training,
    entering,
    kept_states,
    known_trainer,
    tester,
    trainer,
)

if TYPE_CHECKING:
    from lstmcore.models.base import BackendName
    from lstmcore.models.training import TrainableModel

Array = NDArray[Any]
Logs = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What ``fit`` was told beside the data; see `TrainableModel.fit`."""

    epochs: int
    initial_epoch: int
    steps: int | None
    validation_steps: int | None
    validation_freq: Any
    verbose: int | str
    checkpoint: Any
    save_every: Any
    debug: bool

    def __post_init__(self) -> None:
        first = self.initial_epoch
        if type(first) is not int or first < 0:
            raise InputError(f"initial_epoch is {first!r}; expected an integer, counted from 0")
        freq = self.validation_freq
        listed = isinstance(freq, (list, tuple, set)) and all(type(n) is int for n in freq)
        if not listed and (type(freq) is not int or freq < 1):
            raise InputError(f"validation_freq is {freq!r}; expected a number of epochs, or a list of epochs from 1 on")

    def validates(self, epoch: int) -> bool:
        """Whether the data held back are evaluated after an epoch, counted from 0."""
        freq = self.validation_freq
        return (epoch + 1) % freq == 0 if isinstance(freq, int) else epoch + 1 in freq


def fit(
    model: TrainableModel, source: Source, held: Source | None, settings: Settings, callbacks: Any, backend: BackendName
) -> History:
    """Trains, or goes on from a checkpoint; the history of all epochs."""
    if settings.checkpoint is None:
        return _fit(model, source, held, settings, callbacks, backend, None)
    checkpoint = Checkpoint(settings.checkpoint, settings.save_every, _cut(source, settings))
    with checkpoint.alone():
        return _fit(model, source, held, settings, callbacks, backend, checkpoint)


def _fit(
    model: TrainableModel,
    source: Source,
    held: Source | None,
    settings: Settings,
    callbacks: Any,
    backend: BackendName,
    checkpoint: Checkpoint | None,
) -> History:
    training = model._compiled()
    training.stopping = False
    passes = training.position.passes + (training.position.offset > 0)
    training.position = Position(passes)
    engine = plugins.get(backend)
    history, watching = History(), CallbackList(callbacks, model)
    start = Start(settings.initial_epoch)
    everyone = CallbackList([*watching, ProgbarLogger(), history], model)
    feed, validation = Feed(source, settings.steps), None if held is None else Feed(held, settings.validation_steps)
    resumed = None if checkpoint is None else checkpoint.load(model, training, everyone)
    start = resumed or start
    ended = start.epoch + (start.done > 0)
    if training.stopping and ended < settings.epochs:
        warnings.warn(
            f"the training in {settings.checkpoint} was stopped by a callback after {ended} epochs, and is not "
            "taken up; to go on, give another directory",
            stacklevel=3,
        )
    feed.position = training.position
    if validation is not None:
        validation.position = Position(consumed=training.position.validated)
    everyone.set_params(
        {
            "epochs": settings.epochs,
            "steps": feed.batches,
            "verbose": settings.verbose,
            "initial_epoch": start.epoch,
            "resumed": resumed is not None,
        }
    )
    one = Fit(model, training, feed, everyone, engine, validation, settings.validates, checkpoint, settings.debug)
    with everyone:
        if checkpoint is not None and resumed is None:
            checkpoint.save(model, training, start, everyone)  # before anything is trained that could be lost
        elif checkpoint is not None and one.goes_on(start, settings.epochs):
            checkpoint.rewrite()  # likewise
        one.run(start, settings.epochs)
    return history


def _cut(source: Source, settings: Settings) -> dict[str, Any]:
    """How the data are cut into steps: a run that goes on must cut them alike."""
    told: dict[str, Any] = {"steps_per_epoch": settings.steps}
    if isinstance(source, Arrays):
        own = {"samples": source.whole.size, "batch_size": source.size, "shuffle": source.shuffled is not None}
        return told | own
    return told | {"batches": source.batches}


class Fit:
    """One call of ``fit``: weights and slots are on the device, and the model has them again whenever it is asked."""

    def __init__(
        self,
        model: TrainableModel,
        training: Training,
        feed: Feed,
        callbacks: CallbackList,
        backend: BackendName,
        validation: Feed | None = None,
        validates: Callable[[int], bool] = lambda epoch: True,
        checkpoint: Checkpoint | None = None,
        debug: bool = False,
    ) -> None:
        self.model = model
        self.training = training
        self.feed = feed
        self.callbacks = callbacks
        self.backend = backend
        self.validation = validation
        self.validates = validates
        self.checkpoint = checkpoint
        self.debug = debug
        feed.maker = self._maker
        self._watched = self._read = False  # batches by callbacks, the weights after each by one of these
        self._trainer: Trainer | None = None
        self._carries: dict[str, Any] = {}
        self._version: Any = None

    def run(self, start: Start, epochs: int) -> None:
        """Trains until ``epochs`` epochs are done in all, or a callback or the data end it."""
        self.callbacks.on_train_begin()
        logs: Logs | None = None
        try:
            while self.goes_on(start, epochs) and not self.feed.ended:
                logs = self._epoch(start, epochs) or logs
                start = Start(start.epoch + 1)
        finally:  # what was trained before an interruption is kept
            self._keep()
            self.feed.close()
        take_averages(self.model, self.training)
        self.callbacks.on_train_end(logs)

    def goes_on(self, start: Start, epochs: int) -> bool:
        """Whether there is an epoch to train, or to end: a callback may have stopped training in its midst."""
        return start.epoch < epochs and (start.done > 0 or not self.training.stopping)

    def _epoch(self, start: Start, epochs: int) -> Logs | None:
        epoch, done = start.epoch, start.done
        scores = self.training.scores(self.model)
        self._watched, self._read = self.callbacks.watches_batches, self.callbacks.needs_weights
        if done:
            scores.restore(start.scores)
            self.callbacks.on_epoch_resume(epoch, done)
        else:
            self.callbacks.on_epoch_begin(epoch)
        for batch in () if self.training.stopping else self.feed.epoch(done, self._limit(start, epochs)):
            self._step(batch, done, scores)
            done += 1
            if self.checkpoint is not None and self.checkpoint.due(self.training.step):
                self._save(Start(epoch, done, scores.state))
            if self.training.stopping:
                break
        self._keep()
        if self.feed.ended:
            self._tell_of_the_end(epoch, done)
        if not done:
            return None
        logs = scores.logs() | self._validation(epoch)
        self.callbacks.on_epoch_end(epoch, logs)
        if self.checkpoint is not None:
            self._save(Start(epoch + 1))
        return logs

    def _validation(self, epoch: int) -> Logs:
        if self.validation is None or not self.validates(epoch):
            return {}
        logs = evaluate(self.model, self.training, self.validation, self.backend, self.callbacks)
        return {f"val_{name}": value for name, value in logs.items()}

    def _limit(self, start: Start, epochs: int) -> int | None:
        """How many batches are wanted at most."""
        steps = self.feed.steps
        return None if steps is None else (epochs - start.epoch) * steps - start.done

    def _tell_of_the_end(self, epoch: int, done: int) -> None:
        if not done and not self.feed.position.consumed:
            raise InputError("the data yield no batch")
        wanted = f" of {self.feed.steps}" if self.feed.steps else ""
        warnings.warn(
            f"the data ended after {done}{wanted} batches of epoch {epoch + 1}, and training with them; give an "
            "iterable that can start anew (a loader, a data set, an object with __iter__), or fewer steps_per_epoch",
            stacklevel=2,
        )

    def _step(self, batch: Batch, done: int, scores: Scores) -> None:
        one = self._ready(batch)
        if self._watched:
            self.callbacks.on_train_batch_begin(done)
            one = self._ready(batch)
        number, stream = self.training.step, self.training.random()
        before = debugging.before(one) if self.debug else None
        ahead = batch.prepared
        if ahead is None or (ahead.trainer, ahead.number, ahead.stream) != (one, number, stream):
            ahead = _prepared(one, batch, number, stream)
        made, after = one.step(ahead.ready, self._carries, number)
        if before is not None:
            values, noises = entering(one.objective, batch), stream.child("step", number)
            debugging.check(one, before, values, self._carries, number, noises, made)
        self._carries = {name: after[name] for name in kept_states(one.objective)}
        self.training.step += 1
        scores.add(one.objective, made, batch)
        if self._watched:
            if self._read:
                self._keep()
            self.callbacks.on_train_batch_end(done, scores.logs())

    def _maker(self) -> Make:
        """Prepares the batches of the steps from here on: for the trainers there are by then."""
        numbers, stream = count(self.training.step), self.training.random()

        def make(batch: Batch) -> Batch:
            number = next(numbers)
            one = known_trainer(self.model, self.training, batch, self.backend)
            return batch if one is None else replace(batch, prepared=_prepared(one, batch, number, stream))

        return make

    def _ready(self, batch: Batch) -> Trainer:
        """The trainer for a batch, with the model's weights, slots and states on the device."""
        one = trainer(self.model, self.training, batch, self.backend)
        if one is not self._trainer:
            self._keep()
            self._version = None
        if self._version != self.model.version():
            one.load(self.model.every_path(), self.training.slots)
            states, kept = self.model.states, kept_states(one.objective)
            self._carries = {name: one.backend.tensor(array) for name, array in states.items() if name in kept}
            self._trainer, self._version = one, self.model.version()
        return one

    def take_up(self) -> None:
        """Goes on with what a single step left on the device; whether the weights are others by now is seen later."""
        left = self.training.loaded
        if left is not None and _same(left.states, self.model.states):
            self._trainer, self._version, self._carries = left.trainer, left.version, dict(left.carries)

    def leave(self) -> None:
        """The model takes the weights and states; the optimizer's slots stay on the device until they are asked for."""
        self._keep(slots=False)
        if self._trainer is not None:
            self.training.loaded = Loaded(self._trainer, self._version, self.model.states, self._carries)

    def _keep(self, slots: bool = True) -> None:
        """The model takes what was trained so far."""
        place, validation = self.feed.position, self.validation
        validated = place.validated if validation is None else validation.position.consumed
        self.training.position = replace(place, validated=validated)
        one = self._trainer
        if one is None:
            return
        changed = self._version != self.model.version()  # by a callback: then its word holds
        if not changed:
            self.model.replace_weights(one.weights_now())
            self._version = self.model.version()
        if slots:
            self.training.slots = one.slots_now()
        if self._carries:
            self.model.states = {name: np.array(one.backend.numpy(tensor)) for name, tensor in self._carries.items()}

    def _save(self, start: Start) -> None:
        assert self.checkpoint is not None
        self._keep()
        self.checkpoint.save(self.model, self.training, start, self.callbacks)


def _prepared(one: Trainer, batch: Batch, number: int, stream: Stream) -> Prepared:
    ready = one.ready(entering(one.objective, batch), number, stream.child("step", number))
    return Prepared(one, number, stream, ready)


def train_on_batch(model: TrainableModel, training: Training, batch: Batch, backend: BackendName) -> Logs:
    """One step; the scores of the batch before it."""
    scores = training.scores(model)
    feed = Feed(Arrays(batch, batch.size), None)
    feed.position = training.position  # which one more step does not change
    fit = Fit(model, training, feed, CallbackList([], model, {}), backend)
    fit.take_up()
    try:
        fit._step(batch, 0, scores)
    finally:
        fit.leave()
    return scores.logs()


def _same(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key], equal_nan=True) for key in one)


def evaluate(
    model: TrainableModel, training: Training, feed: Feed, backend: BackendName, callbacks: CallbackList
) -> Logs:
    """The scores over the data. The states of stateful layers start at zero, and are as before after."""
    scores = training.scores(model)
    carries: dict[str, Any] = {}
    done = 0
    feed.rewind()
    callbacks.on_test_begin()
    try:
        for batch in feed.epoch(limit=feed.steps):
            if len(callbacks):
                callbacks.on_test_batch_begin(done)
            goal, session = tester(model, training, batch, backend)
            outputs, after = session.run(entering(goal, batch), carries)
            carries = {name: after[name] for name in kept_states(goal)}
            scores.add(goal, dict(zip(goal.program.outputs, outputs, strict=True)), batch)
            done += 1
            if len(callbacks):
                callbacks.on_test_batch_end(done - 1, scores.logs())
    finally:
        feed.close()
    if not done:
        before = feed.position.consumed
        more = f" after the {before} that earlier evaluations took; give data that can start anew" if before else ""
        raise InputError(f"the data to evaluate on yield no batch{more}")
    if feed.ended:
        warnings.warn(f"the data to evaluate on ended after {done} of {feed.steps} batches", stacklevel=2)
    logs = scores.logs()
    callbacks.on_test_end(logs)
    return logs


def evaluate_alone(model: TrainableModel, feed: Feed, verbose: int | str, callbacks: Any, backend: BackendName) -> Logs:
    """`evaluate` by itself, with its progress and callbacks."""
    params = {"epochs": 1, "steps": feed.batches, "verbose": verbose, "initial_epoch": 0, "resumed": False}
    everyone = CallbackList([ProgbarLogger(), *CallbackList(callbacks, model)], model, params)
    with everyone:
        return evaluate(model, model._compiled(), feed, backend, everyone)


def listed(logs: Mapping[str, Any]) -> Any:
    """The scores as ``evaluate`` returns them: the loss alone, or a list of all."""
    return logs["loss"] if len(logs) == 1 else list(logs.values())
