"""Recurrent cells of one's own, written once, on every engine: a peephole LSTM and a minimal gated unit.

::

    python examples/custom_cell.py

``cells.py`` says one step of each, with its formula and its source. Here each is run over time on every installed
engine and compared with the float64 reference, saved and loaded, and streamed with holes in its sequence.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cells import MinimalGatedCell, PeepholeLSTMCell

import lstmcore as lc
from lstmcore.layers import RNN, Cell, Dense, Input, Masking
from lstmcore.models import Sequential


def build(cell: Cell) -> Sequential:
    """A model of the cell: masked where all features are 0, all outputs, one number for each."""
    return Sequential(
        [Input((None, 3)), Masking(), RNN(cell, return_sequences=True, name="cell"), Dense(1)],
        name=type(cell).__name__.lower(),
    )


def data() -> np.ndarray[Any, Any]:
    """Sequences (16, 40, 3), with every fifth step of the second half of them masked."""
    x = np.random.default_rng(4).normal(size=(16, 40, 3)).astype("float32")
    x[8:, ::5] = 0
    return x


def streamed(model: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The outputs with the sequences pushed in pieces of 1, 2, 3, ... steps."""
    stream = model.stream(batch_size=len(x))
    outputs, start = [], 0
    while start < x.shape[1]:
        stop = start + len(outputs) + 1
        outputs.append(stream.push(x[:, start:stop]))
        start = stop
    return np.concatenate(outputs, axis=1)


def main() -> None:
    """The example."""
    lc.set_random_seed(8)
    x = data()
    for cell in (PeepholeLSTMCell(12), MinimalGatedCell(12)):
        model = build(cell)
        y = model.predict(x)
        print(f"{type(cell).__name__}: {model.get_layer('cell').count_params()} weights")
        comparison = lc.compare(model, x)
        print(comparison)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            model.save(path)
            loaded = lc.load_model(path)
        print(f"every engine agrees: {'yes' if comparison.ok else 'NO'}")
        print(f"saved and loaded, the same numbers: {'yes' if np.array_equal(loaded.predict(x), y) else 'NO'}")
        print(f"streamed in pieces, largest difference: {np.abs(streamed(model, x) - y).max():.1e}\n")


if __name__ == "__main__":
    main()
