"""A training that was interrupted anywhere, and goes on from its checkpoint, ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.callbacks import Callback
from lstmcore.layers import LSTM, Dense, Dropout, Input
from lstmcore.models import Sequential
from lstmcore.runtime.checkpoint import NAME

RNG = np.random.default_rng(11)
X = RNG.normal(size=(21, 4, 3))
Y = (RNG.random((21, 1)) > 0.4).astype(int)
F = {"dtype": "float64"}


class Interrupted(Exception):
    pass


class Interrupt(Callback):
    """Raises at the ``at``-th time that training calls one of its hooks; None never does, and counts."""

    reads_weights = False

    def __init__(self, at: int | None = None) -> None:
        self.at, self.calls = at, 0

    def _called(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise Interrupted

    on_train_begin = on_epoch_begin = on_epoch_end = on_test_begin = on_test_end = _called
    on_train_batch_begin = on_train_batch_end = on_epoch_resume = _called


def noisy(**more: Any) -> Sequential:
    model = Sequential([Input((4, 3)), LSTM(3, **F), Dropout(0.3, **F), Dense(1, "sigmoid", **F)])
    model.compile("adam", "binary_crossentropy", **more)
    return model


def bytes_of(directory: Path) -> bytes:
    return (directory / NAME).read_bytes()


def test_a_resumed_run_goes_on_with_the_random_numbers_it_began_with(tmp_path: Path) -> None:
    for name, at in (("whole", None), ("resumed", 5)):
        for seed in (1, 2) if at else (1,):
            lc.set_random_seed(seed)
            try:
                callbacks = [Interrupt(at if seed == 1 else None)]
                noisy().fit(X, Y, 8, 2, 0, callbacks, checkpoint=tmp_path / name, save_every=1)
            except Interrupted:
                assert seed == 1
    assert bytes_of(tmp_path / "whole") == bytes_of(tmp_path / "resumed")
