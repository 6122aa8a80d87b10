"""Saving the model as training goes."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping
from typing import Any

from lstmcore.callbacks.base import COUNT, VALUE, Logs, State, check_state, read, say
from lstmcore.callbacks.monitor import Monitor
from lstmcore.errors import SpecError
from lstmcore.optimizers.checks import FLAG, FROM_ONE, NUMBER, Kind, optional

SUFFIX = ".safetensors"
FOREIGN = (".weights.h5", ".keras", ".h5", ".ckpt", ".pt", ".pth")
_KEPT = {"best": optional(VALUE), "batches": COUNT, "last_batch": optional(COUNT), "epoch": COUNT}
FREQUENCY = Kind(
    "'epoch' or a number of batches", lambda value: value if value == "epoch" else int(FROM_ONE.read(value))
)


class ModelCheckpoint(Monitor):
    """Saves the model after each epoch, or after so many batches; as Keras 3.15, in files of our own format.

    To go on training where it stopped, use ``fit(..., checkpoint="directory")`` instead: these files hold no
    optimizer state.

    Args:
        filepath: where; it ends in ``.safetensors``. ``{epoch}`` stands for the epoch, counted from 1, ``{batch}`` for
            the batch likewise where `save_freq` is a number, and any other name for that log:
            ``"{epoch:02d}-{val_loss:.2f}.safetensors"``. Directories are made.
        monitor, mode: see `Monitor`.
        verbose: 1 says so.
        save_best_only: save only where `monitor` improves on the best so far.
        save_weights_only: call ``model.save_weights``, not ``model.save``; the files are alike.
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: the first value must improve on this one.

    ``best`` outlasts one ``fit``, as in Keras.

    Raises:
        SpecError: an argument is not as above; as training begins, `mode` "auto" does not know; as the first file is
            saved, `filepath` names a log that there is not.
        OSError: a file cannot be written.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.verbose = verbose
        self.save_best_only: bool = read(self, "save_best_only", FLAG, save_best_only)
        self.save_weights_only: bool = read(self, "save_weights_only", FLAG, save_weights_only)
        self.save_freq: str | int = read(self, "save_freq", FREQUENCY, save_freq)
        self.best = read(self, "initial_value_threshold", optional(NUMBER), initial_value_threshold)
        self.filepath = _template(os.fspath(filepath), self.save_freq == "epoch")
        self._batches = 0  # since the last file
        self._last_batch: int | None = None
        self._epoch = 0

    @property
    def watches_batches(self) -> bool:
        return self.save_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.save_best_only:
            self.find_direction()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_epoch_resume(self, epoch: int, batches: int) -> None:
        self.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        anew = self._last_batch is None or batch <= self._last_batch
        self._batches += batch + 1 if anew else batch - (self._last_batch or 0)
        self._last_batch = batch
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self._save(self._epoch, {"batch": batch + 1, **(logs or {})})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: Mapping[str, Any]) -> None:
        path = self._path(epoch, logs)
        if not self._due(epoch, logs, path):
            return
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)

    def _path(self, epoch: int, logs: Mapping[str, Any]) -> str:
        try:
            return self.filepath.format(**{**logs, "epoch": epoch + 1})
        except KeyError as error:
            known = ", ".join(sorted({"epoch", *logs}))
            raise SpecError(
                f"ModelCheckpoint: filepath {self.filepath!r} names {error.args[0]!r}; available: {known}"
            ) from None

    def _due(self, epoch: int, logs: Mapping[str, Any], path: str) -> bool:
        told = f"ModelCheckpoint: epoch {epoch + 1}"
        if not self.save_best_only:
            self._tell(f"{told}, saving {path}")
            return True
        current = self.monitored(epoch, logs, "every model is saved")
        if current is None:
            return True
        best = "none" if self.best is None else f"{self.best:.5f}"
        if not self.improves(current, self.best):
            self._tell(f"{told}, {self.monitor} {current:.5f} is no better than {best}")
            return False
        self._tell(f"{told}, {self.monitor} improved from {best} to {current:.5f}, saving {path}")
        self.best = current
        return True

    def _tell(self, text: str) -> None:
        if self.verbose:
            say(text)

    def state(self) -> State:
        return dict(zip(_KEPT, (self.best, self._batches, self._last_batch, self._epoch), strict=True))

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state(self, state, _KEPT)
        self.best, self._batches, self._last_batch, self._epoch = (state[name] for name in _KEPT)


def _template(filepath: str, by_epoch: bool) -> str:
    """``filepath``, which is one that can be filled in; SpecError."""
    if not filepath.endswith(SUFFIX):
        stem = next((filepath[: -len(suffix)] for suffix in FOREIGN if filepath.endswith(suffix)), filepath)
        raise SpecError(
            f"ModelCheckpoint: filepath is {filepath!r}; expected one that ends in {SUFFIX!r}, the format of "
            f"model.save: {stem + SUFFIX!r}"
        )
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(filepath) if name is not None}
    except ValueError as error:
        raise SpecError(f"ModelCheckpoint: filepath {filepath!r} is no format: {error}") from None
    if by_epoch and "batch" in names:
        raise SpecError(
            f"ModelCheckpoint: filepath {filepath!r} names the batch, but files are saved after epochs; "
            "give save_freq a number of batches, or leave it out"
        )
    return filepath
