"""The demo's training: a model learns on one engine, and its checkpoint goes on on each of the others."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.cli import output
from lstmcore.cli.quiet import quiet_engines
from lstmcore.cli.tutorials import SEED, TUTORIALS
from lstmcore.datasets import mnist
from lstmcore.random import set_random_seed

if TYPE_CHECKING:
    from lstmcore.callbacks import History
    from lstmcore.cli.story import Checks, Story

Array = NDArray[Any]
Split = tuple[Array, Array]

EPOCHS = 8
LEAST = 0.6
"""The share of the test digits that the model must read after so many epochs; it reads 0.651."""
ALIKE = 1e-4
"""How far the losses of two engines may be apart after one more epoch, as a share; see docs/training.md."""
PLOT = "lstmcore-demo-history.png"


@dataclass(frozen=True)
class _Carried:
    """One more epoch on an engine."""

    engine: str
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


def learn(story: Story, checks: Checks, plot: Path | None) -> dict[str, Any]:
    """Trains the SimpleRNN on the sample, then one more epoch on every engine from the same checkpoint."""
    story.chapter("5. Training, and going on elsewhere")
    (x, y), (x_test, y_test) = mnist.load_sample()
    data, held = (x.astype(np.float32) / 255, y), (x_test.astype(np.float32) / 255, y_test)
    engines = [info.name for info in plugins.backends() if info.status == "available"]
    first = plugins.reference()
    story.say(f"The SimpleRNN of above, from new weights: {EPOCHS} epochs of {len(x):,} digits on {first}.")
    story.say()
    with tempfile.TemporaryDirectory(prefix="lstmcore-demo-") as place:
        start = time.perf_counter()
        history = _train(Path(place, "first"), data, held, EPOCHS, first, "auto" if story.told else 0)
        seconds = time.perf_counter() - start
        read = history.history["val_accuracy"][-1]
        checks.check(read >= LEAST, f"after training only {read:.1%} of the digits were read; expected {LEAST:.0%}")
        carried = []
        for engine in [first, *(name for name in engines if name != first)]:
            shutil.copytree(Path(place, "first"), Path(place, engine))
            with quiet_engines(f"going on on {engine}"):
                carried.append(_carry(Path(place, engine), data, held, engine))
    _tell(story, checks, carried)
    drawn = _draw(story, history, plot)
    return {
        "epochs": EPOCHS,
        "backend": first,
        "seconds": seconds,
        "history": history.history,
        "carried": [vars(one) for one in carried],
        "plot": None if drawn is None else str(drawn),
    }


def _train(directory: Path, data: Split, held: Split, epochs: int, engine: str, verbose: int | str) -> History:
    """Trains up to so many epochs from wherever the checkpoint in the directory is."""
    set_random_seed(SEED)
    model = TUTORIALS[2].build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.fit(*data, epochs=epochs, validation_data=held, verbose=verbose, checkpoint=directory, backend=engine)


def _carry(directory: Path, data: Split, held: Split, engine: str) -> _Carried:
    start = time.perf_counter()
    logs = {name: values[-1] for name, values in _train(directory, data, held, EPOCHS + 1, engine, 0).history.items()}
    return _Carried(engine=engine, seconds=time.perf_counter() - start, **logs)


def _tell(story: Story, checks: Checks, carried: list[_Carried]) -> None:
    """The same epoch on each engine, beside each other."""
    first = carried[0]
    story.say()
    story.say("Its checkpoint (weights, Adam's slots, step, random state, place in the data) goes on")
    story.say(f"after epoch {EPOCHS} on each engine, for one more epoch:")
    story.say()
    rows = []
    for one in carried:
        apart = max(abs(one.loss / first.loss - 1), abs(one.val_loss / first.val_loss - 1))
        alike = checks.check(
            apart <= ALIKE, f"training on {one.engine} goes on {apart:.1e} apart from {first.engine}; expected {ALIKE}"
        )
        numbers = (f"{n:.6f}" for n in (one.loss, one.val_loss))
        shares = (f"{n:.2%}" for n in (one.accuracy, one.val_accuracy))
        verdict = "agrees" if alike else "DIFFERS"
        rows.append([one.engine, *numbers, *shares, f"{apart:.0e}", f"{one.seconds:.1f} s", verdict])
    if story.told:
        header = ("engine", "loss", "val_loss", "accuracy", "val_accuracy", "apart", "time", "")
        output.show_table(header, rows, (1, 2, 3, 4, 5, 6))


def _draw(story: Story, history: History, plot: Path | None) -> Path | None:
    """The picture of the history; None where matplotlib is not installed."""
    story.say()
    if importlib.util.find_spec("matplotlib") is None:
        story.say("For a picture of it: pip install 'lstmcore[plot]'")
        return None
    place = plot or (Path(PLOT) if os.access(Path.cwd(), os.W_OK) else Path(tempfile.gettempdir(), PLOT))
    history.plot(place)
    story.say(f"A picture of losses and accuracies: {place}")
    return place
