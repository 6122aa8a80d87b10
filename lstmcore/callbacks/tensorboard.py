"""Logs and weights for TensorBoard."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from typing import Any

from lstmcore.callbacks import events
from lstmcore.callbacks.base import COUNT, Callback, Logs, State, check_state, read
from lstmcore.errors import LstmcoreError, SpecError
from lstmcore.optimizers.checks import FLAG, FROM_ONE, Kind

FREQUENCY = Kind(
    "'epoch', 'batch' or a number of batches",
    lambda value: value if value == "epoch" else 1 if value == "batch" else int(FROM_ONE.read(value)),
)
_REFUSED = ("write_images", "profile_batch", "embeddings_freq", "embeddings_metadata")
_KEPT = {"batches": COUNT, "evaluated": COUNT}


class TensorBoard(Callback):
    """Writes event files that TensorBoard reads, with tensorboardX (``pip install 'lstmcore[tensorboard]'``).

    As Keras 3.15 on TensorFlow writes them: in ``log_dir/train`` ``epoch_loss``, ``epoch_learning_rate`` and so on by
    epoch, in ``log_dir/validation`` those of the validation, and ``evaluation_loss_vs_iterations`` by training steps.
    With a number for ``update_freq`` Keras 3.15 leaves out the epochs that do not end on a multiple of it; here each
    is written. A resumed run takes out what the interrupted one wrote of steps that come again.

    Args:
        log_dir: the directory.
        histogram_freq: after every so many epochs, histograms of all weights; 0: never.
        write_graph: the model's layers, as a graph.
        write_steps_per_second: also how fast training is.
        update_freq: "epoch"; or "batch", or after how many batches the means so far are written, as ``batch_loss`` and
            so on, by batches since training began.
        write_images, profile_batch, embeddings_freq, embeddings_metadata: Keras has them; they are refused.

    Raises:
        SpecError: an argument is not as above.
        ImportError: tensorboardX is not installed.
        OSError: as training goes: a file cannot be written.
    """

    reads_weights = False

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        refused = (write_images, profile_batch, embeddings_freq, embeddings_metadata)
        for name, value in zip(_REFUSED, refused, strict=True):
            if value:
                raise SpecError(f"TensorBoard: {name} is {value!r}, which lstmcore does not write; leave it out")
        events.require()
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq: int = read(self, "histogram_freq", COUNT, histogram_freq)
        self.write_graph: bool = read(self, "write_graph", FLAG, write_graph)
        self.write_steps_per_second: bool = read(self, "write_steps_per_second", FLAG, write_steps_per_second)
        self.update_freq: str | int = read(self, "update_freq", FREQUENCY, update_freq)
        self._files: dict[str, events.EventFile] = {}
        self._training = False
        self._batches = 0  # since training began
        self._evaluated = 0  # the step of the newest evaluation
        self._epoch_began = self._batch_began = 0.0
        self._batches_before = 0

    @property
    def watches_batches(self) -> bool:
        counts = self.write_steps_per_second or not hasattr(self.model.optimizer, "iterations")
        return self.update_freq != "epoch" or counts

    def _file(self, part: str) -> events.EventFile:
        if part not in self._files:
            self._files[part] = events.EventFile(os.path.join(self.log_dir, part))
        return self._files[part]

    def _steps(self) -> int:
        """The steps of the optimizer so far; of this training where it does not count them."""
        steps = getattr(self.model.optimizer, "iterations", None)
        return self._batches if steps is None else int(steps)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._training = True
        if self.resumed:
            for part in ("train", "validation"):
                events.forget(os.path.join(self.log_dir, part), self._is_past)
        else:
            self._batches = self._evaluated = 0
        if self.write_graph:
            self._write_graph()

    def _is_past(self, tag: str, step: int) -> bool:
        limits = {"batch": self._batches, "evaluation": self._evaluated, "keras": -1}  # the graph is written anew
        by_epoch = int(self.params.get("initial_epoch", 0)) - 1
        return step <= (by_epoch if "/" in tag else limits.get(tag.partition("_")[0], by_epoch))

    def _write_graph(self) -> None:
        try:
            config = self.model.to_json()
        except LstmcoreError as error:
            warnings.warn(f"TensorBoard: the model's graph is not written: {error}", stacklevel=2)
            return
        self._file("train").model(config)
        self._file("train").flush()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_began, self._batches_before = time.perf_counter(), self._batches

    def on_epoch_resume(self, epoch: int, batches: int) -> None:
        self.on_epoch_begin(epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._batch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self.update_freq == "epoch" or self._batches % int(self.update_freq):
            return
        values = dict(logs or {})
        if self.write_steps_per_second:
            values["steps_per_second"] = 1 / (time.perf_counter() - self._batch_began)
        self._write("train", {f"batch_{name}": value for name, value in values.items()}, self._batches)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        train = {name: value for name, value in logs.items() if not name.startswith("val_")}
        validation = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        if train:
            rate = self.model.optimizer.learning_rate
            train["learning_rate"] = float(rate(self._steps()) if callable(rate) else rate)
            if self.write_steps_per_second:
                taken = time.perf_counter() - self._epoch_began
                train["steps_per_second"] = (self._batches - self._batches_before) / taken
        for part, values in (("train", train), ("validation", validation)):
            self._write(part, {f"epoch_{name}": value for name, value in values.items()}, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)

    def _write_weights(self, epoch: int) -> None:
        file = self._file("train")
        for path, array in self.model.weights.items():
            file.histogram(f"{self.model.name}/{path}/histogram", array, epoch)
        file.flush()

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._evaluated = self._steps()
        values = {f"evaluation_{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._write("validation", values, self._evaluated)
        if not self._training:
            self._close()

    def _write(self, part: str, values: Mapping[str, float], step: int) -> None:
        if values:
            for tag, value in values.items():
                self._file(part).scalar(tag, float(value), step)
            self._file(part).flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._training = False
        self._close()

    def on_abort(self) -> None:
        self.on_train_end()

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def state(self) -> State:
        return {"batches": self._batches, "evaluated": self._evaluated}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state(self, state, _KEPT)
        self._batches, self._evaluated = state["batches"], state["evaluated"]
