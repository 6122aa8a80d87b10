"""The models that tutorials begin with, and how many weights each must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmcore.layers import LSTM, Dense, Dropout, Input, SimpleRNN
from lstmcore.models import Sequential

SEED = 7


@dataclass(frozen=True)
class Tutorial:
    """A model, and its number of weights worked out on paper."""

    title: str
    sum: str
    params: int
    build: Callable[[], Sequential]


def _first(steps: int) -> Callable[[], Sequential]:
    return lambda: Sequential([Input((steps, 5)), LSTM(10)], name=f"first_lstm_{steps}")


def _rows() -> Sequential:
    return Sequential(
        [Input((28, 28)), SimpleRNN(32, activation="relu"), Dense(10, activation="softmax")], name="digits_rnn"
    )


def _stack() -> Sequential:
    layers = [
        Input((28, 28)),
        LSTM(128, activation="relu", return_sequences=True),
        Dropout(0.2),
        LSTM(128, activation="relu"),
        Dropout(0.2),
        Dense(32, activation="relu"),
        Dropout(0.2),
        Dense(10, activation="softmax"),
    ]
    return Sequential(layers, name="digits_lstm")


TUTORIALS = (
    Tutorial("LSTM(10), 13 steps of 5 features", "4 x 10 x (5 + 10 + 1)", 640, _first(13)),
    Tutorial("LSTM(10), 100 steps of 5 features", "4 x 10 x (5 + 10 + 1)", 640, _first(100)),
    Tutorial("SimpleRNN, an image row by row", "32 x (28 + 32 + 1) + 10 x 33", 2_282, _rows),
    Tutorial(
        "Two LSTMs, an image row by row",
        "4 x 128 x (28 + 128 + 1) + 4 x 128 x (128 + 128 + 1) + 32 x 129 + 10 x 33",
        216_426,
        _stack,
    ),
)
