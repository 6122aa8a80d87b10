"""The layers, in Keras 3's vocabulary."""

from lstmcore.layers.base import Layer
from lstmcore.layers.core import Activation, Dense, Dropout, Embedding, Flatten, Input, InputLayer
from lstmcore.layers.recurrent import GRU, LSTM, SimpleRNN
from lstmcore.layers.serialization import deserialize, serialize

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "SimpleRNN",
    "deserialize",
    "serialize",
]
