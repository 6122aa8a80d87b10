"""A forecast of a series as it comes in, one step at a time, moved from one engine to another half-way.

::

    python examples/forecast.py

Each push gives the model one value and takes its forecast of the next. After half of the series the stream's state is
saved to a file, and a stream on another engine goes on from there: NumPy hands over to PyTorch where that is
installed, else to a second stream on NumPy, as after a restart. The forecasts are those of the whole series at once.

``train_forecast.py`` made the weights, with Keras, from series that `series` below makes up.
"""

from __future__ import annotations

import math
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.layers import LSTM, Conv1D, Dense, Input
from lstmcore.models import Sequential

WEIGHTS = Path(__file__).parent / "weights" / "forecast.safetensors"
STEPS = 240


def series(count: int, steps: int, seed: int) -> np.ndarray[Any, Any]:
    """Made-up series (count, steps, 1): two waves of periods, heights and phases of their own, and some noise."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        waves = [(draw.uniform(0.5, 1), draw.uniform(*periods), draw.uniform(0, 1)) for periods in ((9, 14), (25, 60))]
        values = [sum(a * math.sin(2 * math.pi * (t / p + phase)) for a, p, phase in waves) for t in range(steps)]
        made.append([value + draw.gauss(0, 0.03) for value in values])
    return np.array(made, "float32")[:, :, None]


def build() -> Sequential:
    """The model: the next value, after every step. The convolution is causal, so it needs no step that is to come."""
    return Sequential(
        [Input((None, 1)), Conv1D(8, 4, padding="causal"), LSTM(24, return_sequences=True), Dense(1)], name="forecast"
    )


def error(forecasts: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> float:
    """The root of the mean square of forecast less value."""
    return float(np.sqrt(np.mean((forecasts - values) ** 2)))


def main() -> None:
    """The example."""
    model = lc.load_model(WEIGHTS)
    values = series(1, STEPS, seed=99)[0]
    there = [info.name for info in lc.backends() if info.status == "available"]
    second = "torch" if "torch" in there else "numpy"
    half = STEPS // 2

    first_stream = model.stream(backend="numpy")
    forecasts = [first_stream.push(value[None]) for value in values[:half]]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.safetensors"
        first_stream.save_state(state)
        second_stream = model.stream(backend=second)
        second_stream.load_state(state)
    forecasts += [second_stream.push(value[None]) for value in values[half:]]
    streamed = np.concatenate(forecasts)

    print("step  engine     value  forecast of the next")
    for t in range(half - 4, half + 4):
        engine = (first_stream if t < half else second_stream).backend
        print(f"{t:4}  {engine:<8} {values[t, 0]:7.3f}  {streamed[t, 0]:7.3f}")

    whole = model.predict(values[None], backend="numpy")[0]
    print(f"\nstate moved at step {half}: {first_stream.backend} to {second_stream.backend}")
    print(f"largest difference from the whole series at once: {np.abs(streamed - whole).max():.1e}")
    print(f"error of the forecasts: {error(streamed[half:-1], values[half + 1 :]):.3f}")
    print(f'error of "the next is as this one": {error(values[half:-1], values[half + 1 :]):.3f}')


if __name__ == "__main__":
    main()
