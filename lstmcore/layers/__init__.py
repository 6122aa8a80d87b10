"""The layers, in Keras 3's vocabulary."""

from lstmcore.layers.activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from lstmcore.layers.base import Layer
from lstmcore.layers.core import Dense, Embedding, Input, InputLayer
from lstmcore.layers.recurrent import GRU, LSTM, SimpleRNN
from lstmcore.layers.regularization import Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D
from lstmcore.layers.reshaping import Flatten, Permute, Reshape
from lstmcore.layers.serialization import deserialize, serialize

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "Activation",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "Permute",
    "ReLU",
    "Reshape",
    "SimpleRNN",
    "Softmax",
    "SpatialDropout1D",
    "deserialize",
    "serialize",
]
