"""The layers, in Keras 3's vocabulary."""

from lstmcore.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from lstmcore.layers.attention import AdditiveAttention, Attention
from lstmcore.layers.base import Layer
from lstmcore.layers.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells, Weight
from lstmcore.layers.convolution import Conv1D
from lstmcore.layers.core import Dense, Embedding, Input, InputLayer
from lstmcore.layers.heads import MultiHeadAttention
from lstmcore.layers.masking import Masking
from lstmcore.layers.merge import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from lstmcore.layers.normalization import BatchNormalization, LayerNormalization, Rescaling
from lstmcore.layers.operation import Operation
from lstmcore.layers.pooling import AveragePooling1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D
from lstmcore.layers.projection import ProjectedLSTMCell
from lstmcore.layers.recurrent import GRU, LSTM, SimpleRNN
from lstmcore.layers.regularization import (
    ActivityRegularization,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
)
from lstmcore.layers.reshaping import Cropping1D, Flatten, Permute, RepeatVector, Reshape, UpSampling1D, ZeroPadding1D
from lstmcore.layers.rnn import RNN
from lstmcore.layers.serialization import deserialize, serialize
from lstmcore.layers.wrappers import Bidirectional, TimeDistributed

# Keras' other names of the same.
AvgPool1D = AveragePooling1D
Convolution1D = Conv1D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalMaxPool1D = GlobalMaxPooling1D
MaxPool1D = MaxPooling1D

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AvgPool1D",
    "BatchNormalization",
    "Bidirectional",
    "Cell",
    "Concatenate",
    "Conv1D",
    "Convolution1D",
    "Cropping1D",
    "Dense",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPooling1D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Operation",
    "PReLU",
    "Permute",
    "ProjectedLSTMCell",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "UpSampling1D",
    "Weight",
    "ZeroPadding1D",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]
