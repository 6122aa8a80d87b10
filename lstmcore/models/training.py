"""What every model can do once it is compiled: fit, evaluate, train and test on a batch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lstmcore.errors import InputError, SpecError
from lstmcore.layers.options import POSITIVE, checked
from lstmcore.models.base import BackendName, BaseModel

if TYPE_CHECKING:
    from lstmcore.runtime.data import Batch
    from lstmcore.runtime.fit import History, Training


class TrainableModel(BaseModel):
    """The training face of a model. ``optimizer``, steps and slots are kept from one ``fit`` to the next."""

    _training: Training | None = None

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None) -> None:
        """Says how to train: an optimizer, a loss (for several outputs a list, or a dict by output name), weights.

        Compiling again starts anew: the optimizer forgets its slots, and steps count from 0.
        """
        from lstmcore import optimizers
        from lstmcore.runtime.fit import Training, goals

        self.program  # noqa: B018  builds the weights, or says that there is no input shape yet
        self._training = Training(optimizers.get(optimizer), goals(self, loss, loss_weights))

    def _changed(self) -> None:
        super()._changed()
        if self._training is not None:
            self._training.trainers.clear()
            self._training.testers.clear()

    def _compiled(self) -> Training:
        if self._training is None:
            raise SpecError("the model is not compiled: call compile(optimizer=..., loss=...) first")
        return self._training

    def _batches(self, x: Any, y: Any, sample_weight: Any) -> Batch:
        from lstmcore.runtime.data import is_iterable_of_batches, read

        if is_iterable_of_batches(x):
            raise InputError(f"the data are a {type(x).__name__}; expected arrays")
        return read(self, x, y, sample_weight, self._compiled().classes(self), self.dtype)

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        backend: BackendName = None,
    ) -> History:
        """Trains on arrays for ``epochs`` epochs in batches of ``batch_size`` (32), and returns a `History`.

        x and y hold a row a sample, in the structures of the inputs and outputs; ``sample_weight`` a number a
        sample, or a step. Each epoch's order, and all dropout, come from the core's random numbers
        (`set_random_seed`), so that every engine trains on the same. ``validation_data`` is (x, y) or
        (x, y, sample_weight); ``validation_split`` takes the last share of the samples instead.
        """
        from lstmcore.runtime.averages import take_averages
        from lstmcore.runtime.data import shuffled
        from lstmcore.runtime.fit import History, run_epoch, split, trainer

        training = self._compiled()
        whole = self._batches(x, y, sample_weight)
        held: Batch | None = None
        if validation_data is not None:
            held = self._batches(*_triple(validation_data))
        elif validation_split:
            whole, held = split(whole, validation_split)
        size = self._batch_size(batch_size, whole.size)
        history = History()
        for epoch in range(initial_epoch, checked("fit", "epochs", POSITIVE, epochs)):
            start = time.perf_counter()
            one = trainer(self, training, whole, backend)
            order = training.random().child("epoch", training.epochs) if shuffle else None
            with _told(verbose, f"Epoch {epoch + 1}/{epochs}", whole.size) as told:
                logs = run_epoch(self, training, one, shuffled(whole, size, order), told)
            training.epochs += 1
            if held is not None:
                logs |= {f"val_{name}": value for name, value in self._evaluate(held, size, backend).items()}
            history.add(epoch, logs)
            _say(verbose, f"Epoch {epoch + 1}/{epochs}", time.perf_counter() - start, -(-whole.size // size), logs)
        take_averages(self, training)
        return history

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        backend: BackendName = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss over the data, without noise; with ``return_dict`` all logs by name. No state is changed."""
        whole = self._batches(x, y, sample_weight)
        logs = self._evaluate(whole, self._batch_size(batch_size, whole.size), backend)
        return logs if return_dict else logs["loss"] if len(logs) == 1 else list(logs.values())

    def _evaluate(self, whole: Batch, size: int, backend: BackendName) -> dict[str, float]:
        from lstmcore.runtime.fit import evaluate

        return evaluate(self, self._compiled(), whole, size, backend)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        backend: BackendName = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch; the loss before it, or all logs by name."""
        from lstmcore.runtime.fit import run_epoch, trainer

        training = self._compiled()
        whole = self._batches(x, y, sample_weight)
        self._batch_size(whole.size, whole.size)
        logs = run_epoch(self, training, trainer(self, training, whole, backend), [whole], lambda done: None)
        return logs if return_dict else logs["loss"] if len(logs) == 1 else list(logs.values())

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        backend: BackendName = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss on one batch, or all logs by name."""
        whole = self._batches(x, y, sample_weight)
        return self.evaluate(x, y, whole.size, 0, sample_weight, backend, return_dict)


def _triple(given: Any) -> Sequence[Any]:
    if not isinstance(given, (list, tuple)) or len(given) not in (2, 3):
        raise InputError("validation_data is (x, y) or (x, y, sample_weight)")
    return (*given, None)[:3]


@contextmanager
def _told(verbose: int | str, title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Tells of progress on a terminal; ``told(samples)`` after each batch."""
    from lstmcore.runtime.progress import progress

    shown = 1 if verbose == "auto" else verbose
    done = 0
    with progress(shown, title) as bar:

        def told(samples: int) -> None:
            nonlocal done
            done += samples
            if bar is not None:
                bar(done, total)

        yield told


def _say(verbose: int | str, title: str, seconds: float, steps: int, logs: dict[str, float]) -> None:
    if verbose == 0:
        return
    told = " - ".join(f"{name}: {value:.4f}" for name, value in logs.items())
    sys.stdout.write(f"{title} - {seconds:.1f} s, {1000 * seconds / steps:.1f} ms a step - {told}\n")
    sys.stdout.flush()
