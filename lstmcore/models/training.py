"""What every model can do once it is compiled: fit, evaluate, train and test on a batch."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lstmcore.errors import InputError, SpecError
from lstmcore.layers.options import FLAG, POSITIVE, checked
from lstmcore.models.base import BackendName, BaseModel

if TYPE_CHECKING:
    from lstmcore.callbacks import History
    from lstmcore.metrics import Metric
    from lstmcore.optimizers import Optimizer
    from lstmcore.runtime.data import Batch
    from lstmcore.runtime.sources import Arrays, Batches
    from lstmcore.runtime.training import Training


class TrainableModel(BaseModel):
    """The training face of a model. ``optimizer``, steps and slots are kept from one ``fit`` to the next."""

    _training: Training | None = None
    _said: tuple[Any, ...] | None = None  # what compile was given
    history: History | None = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
    ) -> None:
        """Says how to train: an optimizer, a loss, and what else to tell of the predictions.

        For several outputs, ``loss``, ``loss_weights`` and the metrics are lists, or dicts by output name.
        ``metrics`` are names, objects or functions of (y_true, y_pred) on NumPy arrays; those of
        ``weighted_metrics`` get the sample weights too. Compiling again starts anew: the optimizer forgets its slots,
        and steps count from 0.
        """
        from lstmcore import losses, optimizers

        if isinstance(loss, str):
            losses.get(loss)
        rule = optimizers.get(optimizer)
        self._training, self._said = None, (rule, loss, loss_weights, metrics, weighted_metrics)
        if self.built:
            self._compiled()

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer that ``compile`` was given; its ``learning_rate`` may be set."""
        return self._compiled().optimizer

    @property
    def compiled_with(self) -> tuple[Any, ...] | None:
        """What ``compile`` was given: optimizer, loss, loss_weights, metrics, weighted_metrics; None: it was not."""
        return None if self._said is None else (self.optimizer, *self._said[1:])

    def progress(self) -> tuple[Optimizer, int, Mapping[str, Mapping[str, Any]]]:
        """How far training has come: the optimizer, the number of steps, and its slots by weight."""
        training = self._compiled()
        return training.optimizer, training.step, training.slots

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that ``compile`` was given by other than the word "accuracy", as objects."""
        from lstmcore import metrics

        training = self._compiled()
        given = [entry for entries in (*training.metrics, *training.weighted) for entry in entries]
        found = (metrics.get(entry) for entry in given if str(entry).lower() not in ("accuracy", "acc"))
        return [metric for metric in found if metric is not None]

    @property
    def stop_training(self) -> bool:
        """Whether training ends after the step or epoch; callbacks set it."""
        return self._training is not None and self._training.stopping

    @stop_training.setter
    def stop_training(self, stop: bool) -> None:
        self._compiled().stopping = bool(stop)

    def _changed(self) -> None:
        super()._changed()
        if self._training is not None:
            self._training.trainers.clear()
            self._training.testers.clear()

    def _compiled(self) -> Training:
        """What ``compile`` said, made to fit once the model knows the shape of its input."""
        from lstmcore.runtime.training import compiled

        if self._said is None:
            raise SpecError("the model is not compiled: call compile(optimizer=..., loss=...) first")
        if self._training is None:
            self.program  # noqa: B018  builds the weights, or says that there is no input shape yet
            self._training = compiled(self, *self._said)
        return self._training

    def _ready_for(self, x: Any) -> Any:
        """The data, after a model without an input shape has taken that of the first of them."""
        from lstmcore.runtime.data import comes_in_batches, unpacked

        if self._said is None or self.built:
            return x
        if not comes_in_batches(x):
            self._build_for(x)
            return x
        batches = iter(x)
        first = next(batches, None)
        if first is not None:
            self._build_for(unpacked(first)[0])
        return x if batches is not x else itertools.chain([] if first is None else [first], x)

    def _batch(self, x: Any, y: Any, sample_weight: Any, class_weight: Any = None) -> Batch:
        from lstmcore.runtime.data import comes_in_batches, read

        if comes_in_batches(x):
            raise InputError(f"the data are a {type(x).__name__}; expected arrays")
        self._ready_for(x)
        batch = read(self, x, y, sample_weight, self._compiled().classes(self), self.dtype)
        return self._weighted(batch, class_weight)

    def _weighted(self, batch: Batch, class_weight: Any) -> Batch:
        from lstmcore.runtime.data import class_weights

        if class_weight is None:
            return batch
        return class_weights(batch, class_weight, self._compiled().numbered, self.dtype)

    def _source(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Any, batch_size: int | None, shuffle: bool
    ) -> Arrays | Batches:
        """The data as batches: arrays are cut into them; what comes in batches is taken as it comes."""
        from lstmcore.runtime.data import comes_in_batches, unpacked
        from lstmcore.runtime.sources import Arrays, Batches

        x = self._ready_for(x)
        training = self._compiled()
        if not comes_in_batches(x):
            whole = self._batch(x, y, sample_weight, class_weight)
            shuffled = training.random if checked("fit", "shuffle", FLAG, shuffle) else None
            return Arrays(whole, self._batch_size(batch_size, whole.size), shuffled)
        for name, given in (("y", y), ("sample_weight", sample_weight), ("batch_size", batch_size)):
            if given is not None:
                raise InputError(f"{name} is given beside data that come in batches; a {type(x).__name__} yields all")

        def one(element: Any) -> Batch:
            batch = self._batch(*unpacked(element), class_weight)
            self._batch_size(batch.size, batch.size)
            return batch

        return Batches(x, one)

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        save_every: int | str = "epoch",
        debug: bool = False,
        backend: BackendName = None,
    ) -> History:
        """Trains for ``epochs`` epochs and returns a `History` of losses and metrics.

        x and y are arrays with a row a sample, in the structures of the inputs and outputs, cut into batches of
        ``batch_size`` (32); or x yields batches by itself, (x, y) or (x, y, sample_weight): a generator, a loader, a
        data set of an engine. ``sample_weight`` is a number a sample, or a step; ``class_weight`` a dict from class
        to weight. Each epoch's order, and all dropout, come from the core's random numbers (`set_random_seed`), so
        that every engine trains on the same. ``validation_data`` is (x, y), (x, y, sample_weight), or yields
        batches; ``validation_split`` takes the last share of the samples instead. An epoch is a pass over the data,
        or ``steps_per_epoch`` batches, which go on from pass to pass.

        ``checkpoint`` is a directory: all that training is goes to a file there, after each epoch and after every
        ``save_every`` steps where that is a number. Called again with the same directory, ``fit`` goes on from
        there, to the same step, on whatever backend. ``debug`` checks every step, and names the layer that made
        the first number that is not finite.
        """
        from lstmcore.runtime.fit import Settings, fit

        if validation_split and validation_data is not None:
            raise InputError("validation_data and validation_split are both given; give one")
        # Of data that are split, those held back are not weighted by class, as in Keras.
        source = self._source(x, y, sample_weight, None if validation_split else class_weight, batch_size, shuffle)
        held: Any = None
        if validation_data is not None:
            held = self._held(validation_data, validation_batch_size, batch_size)
        elif validation_split:
            size = batch_size if validation_batch_size is None else validation_batch_size
            source, held = self._split(source, validation_split, size, class_weight)
        self.history = fit(
            self,
            source,
            held,
            Settings(
                epochs=checked("fit", "epochs", POSITIVE, epochs),
                initial_epoch=initial_epoch,
                steps=_steps("steps_per_epoch", steps_per_epoch),
                validation_steps=_steps("validation_steps", validation_steps),
                validation_freq=validation_freq,
                verbose=verbose,
                checkpoint=checkpoint,
                save_every=save_every,
                debug=checked("fit", "debug", FLAG, debug),
            ),
            callbacks,
            backend,
        )
        return self.history

    def _held(self, given: Any, own_size: int | None, size: int | None) -> Arrays | Batches:
        """The validation data as batches in their order."""
        from lstmcore.runtime.data import comes_in_batches

        if comes_in_batches(given):
            return self._source(given, None, None, None, own_size, False)
        if not isinstance(given, (list, tuple)) or len(given) not in (2, 3):
            raise InputError("validation_data is (x, y), (x, y, sample_weight), or yields batches")
        x, y, *weights = given
        return self._source(x, y, weights[0] if weights else None, None, size if own_size is None else own_size, False)

    def _split(self, source: Any, share: float, size: int | None, class_weight: Any) -> tuple[Arrays, Arrays]:
        from lstmcore.runtime.data import split
        from lstmcore.runtime.sources import Arrays

        if not isinstance(source, Arrays):
            raise InputError("validation_split is for arrays; give validation_data")
        first, last = split(source.whole, share)
        self._batch_size(None, first.size)  # a model of a fixed batch size takes whole batches alone
        first = self._weighted(first, class_weight)
        return Arrays(first, source.size, source.shuffled), Arrays(last, self._batch_size(size, last.size))

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        *,
        backend: BackendName = None,
    ) -> Any:
        """The loss over the data, without noise, and the metrics; with ``return_dict`` by name. No state is changed.

        The data are as `fit` takes them; ``steps`` is the number of batches, where not all are wanted.
        """
        from lstmcore.runtime.fit import evaluate_alone, listed
        from lstmcore.runtime.sources import Feed

        feed = Feed(self._source(x, y, sample_weight, None, batch_size, False), _steps("steps", steps))
        logs = evaluate_alone(self, feed, verbose, callbacks, backend)
        return logs if return_dict else listed(logs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
        *,
        backend: BackendName = None,
    ) -> Any:
        """One step on one batch; the loss before it and the metrics, or all by name."""
        from lstmcore.runtime.fit import listed, train_on_batch

        batch = self._batch(x, y, sample_weight, class_weight)
        self._batch_size(batch.size, batch.size)
        logs = train_on_batch(self, self._compiled(), batch, backend)
        return logs if return_dict else listed(logs)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
        *,
        backend: BackendName = None,
    ) -> Any:
        """The loss on one batch and the metrics, or all by name."""
        from lstmcore.runtime.fit import evaluate_alone, listed
        from lstmcore.runtime.sources import Arrays, Feed

        batch = self._batch(x, y, sample_weight)
        size = self._batch_size(batch.size, batch.size)
        logs = evaluate_alone(self, Feed(Arrays(batch, size), None), 0, None, backend)
        return logs if return_dict else listed(logs)


def _steps(name: str, given: Any) -> int | None:
    return None if given is None else int(checked("fit", name, POSITIVE, given))
