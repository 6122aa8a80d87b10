"""A training that is killed, and goes on on another engine: epoch 1 on NumPy, 2 on PyTorch, 3 on TensorFlow.

::

    python examples/resume_elsewhere.py

Each epoch runs in a process of its own, which knows nothing but the directory of the checkpoint. The first is killed
with no warning in the middle of its epoch, and started again. Beside it, the same training without any of this, on
NumPy from the first step to the last: the losses are the same to rounding. Engines that are not installed are left
out; on NumPy alone all three epochs run there, and end with the same bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import lstmcore as lc
from lstmcore.callbacks import History
from lstmcore.datasets import mnist
from lstmcore.layers import LSTM, Dense, Dropout, Input
from lstmcore.models import Sequential

EPOCHS = 3


def train(directory: Path, epochs: int, backend: str) -> tuple[Sequential, History]:
    """Trains up to so many epochs in all, from wherever the checkpoint in the directory is."""
    lc.set_random_seed(11)
    (x, y), (x_test, y_test) = mnist.load_sample()
    model = Sequential([Input((28, 28)), LSTM(32), Dropout(0.2), Dense(10, "softmax")])
    model.compile(lc.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x.astype("float32") / 255,
        y,
        epochs=epochs,
        validation_data=(x_test.astype("float32") / 255, y_test),
        verbose=0,
        checkpoint=directory,
        save_every=10,
        backend=backend,
    )
    return model, history


def in_another_process(directory: Path, epochs: int, backend: str) -> subprocess.Popen[str]:
    """The same, in a new Python."""
    command = [sys.executable, "-B", __file__, str(directory), str(epochs), backend]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    """Waits for it, and ends with what it says where it fails."""
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors)


def killed(directory: Path, epochs: int, backend: str) -> None:
    """The same, killed as soon as it has saved itself a few times."""
    process = in_another_process(directory, epochs, backend)
    saved: set[int] = set()
    while len(saved) < 4 and process.poll() is None:
        saved |= {path.stat().st_mtime_ns for path in directory.glob("*.safetensors")}
        time.sleep(0.002)
    process.kill()
    process.communicate()
    print("killed in its first epoch" if process.returncode else "it was too quick to be killed")


def main() -> None:
    """The example."""
    installed = [info.name for info in lc.backends() if info.status == "available"]
    wanted = ("numpy", "torch", "tensorflow")
    engines = [name if name in installed else "numpy" for name in wanted]
    with tempfile.TemporaryDirectory() as place:
        moved, stayed = Path(place, "moved"), Path(place, "stayed")
        killed(moved, 1, engines[0])
        for epoch, engine in enumerate(engines):
            finish(in_another_process(moved, epoch + 1, engine))
        model, history = train(moved, EPOCHS, "numpy")  # nothing is left to train: this reads what there is
        reference, straight = train(stayed, EPOCHS, "numpy")

    print()
    print("epoch  engine         loss  loss of the run that stayed  test digits read")
    for k, engine in enumerate(engines):
        loss, same, read = (history.history["loss"][k], straight.history["loss"][k], history.history["val_accuracy"][k])
        print(f"{k + 1:<5}  {engine:<10}  {loss:.6f}  {same:<27.6f}  {read:.1%}")
    difference = max(
        float(np.abs(one - other).max())
        for one, other in zip(model.get_weights(), reference.get_weights(), strict=True)
    )
    print()
    print(f"largest difference of a weight at the end: {difference:.1e}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    else:
        main()
