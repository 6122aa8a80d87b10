"""Kills a training at random instants, again and again, and looks whether it ends as one that nothing happened to.

    python benchmarks/kill_training.py --kills 200

An LSTM trains and writes its checkpoint after every step, over one path, as fast as it can. Each process is killed
(SIGKILL) after a random part of ``--seconds``, and the next one goes on from what it finds. After each kill the
checkpoint is read, with its digests; each training that comes to its end is compared, byte by byte, with one that
was left alone. Exit status 1 where a checkpoint cannot be read, or bytes differ.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstmcore.models import Sequential

EPOCHS = 2  # of 10 steps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--units", type=int, default=400, help="of the LSTM (default 400: a checkpoint of 9 MB)")
    parser.add_argument("--seconds", type=float, default=0.6, help="that a process lives at most (default 0.6)")
    parser.add_argument("--backend", default="numpy", help="one that may be forked (default numpy)")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # one order of all sums
    with tempfile.TemporaryDirectory() as directory:
        return kill(Path(directory), options)


def kill(directory: Path, options: argparse.Namespace) -> int:
    from lstmcore import plugins
    from lstmcore.errors import FileError
    from lstmcore.runtime.checkpoint import NAME
    from lstmcore.weights import read

    plugins.get(options.backend)  # imported here, once, as is what fit needs, not in each process
    importlib.import_module("lstmcore.runtime.fit")
    model = build(options.units)
    chance = random.Random(1)
    whole = directory / "whole"
    assert child(lambda: train(model, whole, options.backend, 1), None) == 0
    expected = (whole / NAME).read_bytes()
    kills = inside = unloadable = ended = other = most = 0
    while kills < options.kills:
        run = directory / f"run-{ended}"
        seed = 1 if not run.exists() else 2 + kills  # only what the checkpoint says may matter
        status = child(
            lambda run=run, seed=seed: train(model, run, options.backend, seed), chance.random() * options.seconds
        )
        if status == 0:
            ended += 1
            other += (run / NAME).read_bytes() != expected
            continue
        assert status == -signal.SIGKILL, f"a training ended by itself, with status {status}"
        kills += 1
        left = len(list(run.glob(".*.tmp")))
        inside, most = inside + (left > 0), max(most, left)
        try:
            if (run / NAME).exists():
                read(run / NAME)
            else:  # killed before there was one: the training begins anew, with its own seed
                shutil.rmtree(run, ignore_errors=True)
        except FileError as error:
            unloadable += 1
            print(error, file=sys.stderr)
            shutil.rmtree(run)
    print(
        f"{kills} kills, {inside} of them within a write of {len(expected) / 1e6:.1f} MB: {unloadable} checkpoints "
        f"unloadable; {ended} trainings ended, {other} with other bytes than the one left alone; "
        f"at most {most} temporary file left behind"
    )
    return int(bool(unloadable or other))


def child(function: Callable[[], None], lives: float | None) -> int:
    """The exit status of a process that runs ``function``, killed after that time."""
    pid = os.fork()
    if not pid:
        try:
            function()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(3)
        os._exit(0)
    if lives is not None:
        time.sleep(lives)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def build(units: int) -> Sequential:
    import lstmcore as lc
    from lstmcore.layers import LSTM, Dense, Dropout, Input
    from lstmcore.models import Sequential

    lc.set_random_seed(1)
    return Sequential([Input((3, 64)), LSTM(units), Dropout(0.3), Dense(2)])


def train(model: Sequential, directory: Path, backend: str, seed: int) -> None:
    """To the end. With a seed other than 1, only what the checkpoint says can give the right numbers."""
    import numpy as np

    import lstmcore as lc
    from lstmcore.callbacks import EarlyStopping

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(38, 3, 64)).astype("f4"), rng.normal(size=(38, 2)).astype("f4")
    if seed != 1:
        model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    lc.set_random_seed(seed)
    model.compile("adam", "mse", metrics=["mae"])
    callbacks = EarlyStopping("loss", patience=9)
    model.fit(x, y, 4, EPOCHS, 0, callbacks, checkpoint=directory, save_every=1, backend=backend)


if __name__ == "__main__":
    sys.exit(main())
