"""What each generation called the options of its layers, a row for each class: their words to ours.

A key that is in no row goes on as it is, and the layer refuses what it does not have: nothing is dropped unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.storage.container import show

Config = dict[str, Any]
ANY = object()


@dataclass(frozen=True)
class Row:
    """One class of a generation.

    Attributes:
        ours: the name of our class.
        renamed: their key -> ours.
        gone: their key -> the values with which it changes nothing; ANY where it never does. Others are refused.
        given: options that the class had by its nature.
        convert: what is left to do, on a config in our words.
        training: their key -> what a warning tells where it is not 0, since it mattered in training alone.
        warns: in what the class is not quite ours, for a warning.
    """

    ours: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    gone: Mapping[str, Any] = field(default_factory=dict)
    given: Config = field(default_factory=dict)
    convert: Callable[[Config], Config] | None = None
    training: Mapping[str, str] = field(default_factory=dict)
    warns: str | None = None

    def translate(self, theirs: str, config: Mapping[str, Any], name: str) -> Config:
        """The config in our words. UnsupportedFileError names the option that there is not."""
        for key, harmless in self.gone.items():
            if key in config and harmless is not ANY and config[key] not in harmless:
                raise UnsupportedFileError(
                    f"{name}: a {theirs} with {key}={show(config[key])} is nothing that lstmcore has."
                )
        kept = {
            self.renamed.get(key, key): value
            for key, value in config.items()
            if key not in (*self.gone, *self.training)
        }
        kept |= self.given
        return self.convert(kept) if self.convert else kept


def _one(key: str) -> Callable[[Config], Config]:
    """Of a list of one, the one."""

    def convert(config: Config) -> Config:
        value = config.get(key)
        return {**config, key: value[0]} if isinstance(value, list) and len(value) == 1 else config

    return convert


def _forget(config: Config) -> Config:
    bias = config.pop("forget_bias_init", "one")
    return {**config, "unit_forget_bias": bias == "one"}


def _rectified(config: Config) -> Config:
    return {"threshold": 1.0, **config}


_WEIGHT_1 = {
    "output_dim": "units",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
}
_RECURRENT_1 = {
    **_WEIGHT_1,
    "inner_init": "recurrent_initializer",
    "inner_activation": "recurrent_activation",
    "U_regularizer": "recurrent_regularizer",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
_CONV_1 = {
    **_WEIGHT_1,
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample_length": "strides",
    "border_mode": "padding",
    "atrous_rate": "dilation_rate",
}
_POOL_1 = {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}
_FIRST_1 = {"input_dtype": ANY}
_LOOP_1 = {**_FIRST_1, "consume_less": ANY}
_NO_FEATURES = {**_FIRST_1, "input_dim": ANY, "input_length": ANY}

_ALPHA = "is an AlphaDropout; it becomes a Dropout, which is the same but in training"

KERAS_1: Mapping[str, Row] = {
    "AlphaDropout": Row("Dropout", {"p": "rate"}, _FIRST_1, warns=_ALPHA),
    "LSTM": Row("LSTM", _RECURRENT_1, _LOOP_1, convert=_forget),
    "GRU": Row("GRU", _RECURRENT_1, _LOOP_1, {"reset_after": False}),
    "SimpleRNN": Row("SimpleRNN", _RECURRENT_1, _LOOP_1),
    "Dense": Row("Dense", _WEIGHT_1, _FIRST_1),
    "Embedding": Row(
        "Embedding",
        {
            "init": "embeddings_initializer",
            "W_regularizer": "embeddings_regularizer",
            "W_constraint": "embeddings_constraint",
        },
        _FIRST_1,
        training={"dropout": "left out words in training; here it does not"},
    ),
    "Convolution1D": Row("Conv1D", _CONV_1, _NO_FEATURES),
    "AtrousConvolution1D": Row("Conv1D", _CONV_1, _NO_FEATURES),
    "MaxPooling1D": Row("MaxPooling1D", _POOL_1, _FIRST_1),
    "AveragePooling1D": Row("AveragePooling1D", _POOL_1, _FIRST_1),
    "UpSampling1D": Row("UpSampling1D", {"length": "size"}, _FIRST_1),
    "Dropout": Row("Dropout", {"p": "rate"}, _FIRST_1),
    "SpatialDropout1D": Row("SpatialDropout1D", {"p": "rate"}, _FIRST_1),
    "GaussianDropout": Row("GaussianDropout", {"p": "rate"}, _FIRST_1),
    "GaussianNoise": Row("GaussianNoise", {"sigma": "stddev"}, _FIRST_1),
    "BatchNormalization": Row(
        "BatchNormalization",
        {
            "beta_init": "beta_initializer",
            "gamma_init": "gamma_initializer",
        },
        {**_FIRST_1, "mode": (0,)},
    ),
    "PReLU": Row("PReLU", {"init": "alpha_initializer"}, _FIRST_1),
    "ThresholdedReLU": Row("ReLU", {"theta": "threshold"}, _FIRST_1, convert=_rectified),
    "InputLayer": Row("InputLayer", {"input_dtype": "dtype"}),
}


def _words(config: Config) -> Config:
    """Before 2.0.5, the dtype of an Embedding was that of its input."""
    return {key: value for key, value in config.items() if key != "dtype" or not str(value).startswith("int")}


_NO_TIME_MAJOR = {"time_major": (False,), "num_constants": (None, 0)}
_CUDNN = {"activation": "tanh", "recurrent_activation": "sigmoid"}

KERAS_2: Mapping[str, Row] = {
    "LSTM": Row("LSTM", gone=_NO_TIME_MAJOR),
    "GRU": Row("GRU", gone=_NO_TIME_MAJOR),
    "SimpleRNN": Row("SimpleRNN", gone=_NO_TIME_MAJOR),
    "RNN": Row("RNN", gone=_NO_TIME_MAJOR),
    "CuDNNLSTM": Row("LSTM", gone=_NO_TIME_MAJOR, given=_CUDNN),
    "CuDNNGRU": Row("GRU", gone=_NO_TIME_MAJOR, given={**_CUDNN, "reset_after": True}),
    "Bidirectional": Row("Bidirectional", gone={"num_constants": (None, 0)}),
    "BatchNormalization": Row(
        "BatchNormalization",
        gone={"fused": ANY, "virtual_batch_size": (None,), "adjustment": (None,)},
        convert=_one("axis"),
    ),
    "Attention": Row("Attention", gone={"causal": (False,)}),
    "AdditiveAttention": Row("AdditiveAttention", gone={"causal": (False,)}),
    "MultiHeadAttention": Row(
        "MultiHeadAttention",
        gone={"query_shape": ANY, "key_shape": ANY, "value_shape": ANY, "softmax_robust_masking": (False,)},
    ),
    "SpatialDropout1D": Row("SpatialDropout1D", gone={"noise_shape": ANY}),
    "Embedding": Row("Embedding", gone={"sparse": (False,)}, convert=_words),
    "InputLayer": Row("InputLayer", gone={"type_spec": (None,)}),
    "ThresholdedReLU": Row("ReLU", {"theta": "threshold"}, convert=_rectified),
    "AlphaDropout": Row("Dropout", warns=_ALPHA),
}

KERAS_3: Mapping[str, Row] = {
    "AlphaDropout": Row("Dropout", warns=_ALPHA),
    # what releases of 2023 to 2025 wrote and 3.15 no longer does
    "Embedding": Row("Embedding", gone={"input_length": ANY, "sparse": (False,)}),
}

CLASSES: Mapping[int, Mapping[str, Row]] = {1: KERAS_1, 2: KERAS_2, 3: KERAS_3}

# Names of a generation's classes that are other names of the same.
ALIASES: Mapping[str, str] = {
    "Convolution1D": "Conv1D",
    "MaxPool1D": "MaxPooling1D",
    "AvgPool1D": "AveragePooling1D",
    "GlobalMaxPool1D": "GlobalMaxPooling1D",
    "GlobalAvgPool1D": "GlobalAveragePooling1D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
}

_CODE = "it holds code, which is never run here; say in layers what it does"
_OP = "it is an operation of its engine, not a layer; say in layers what it does"
_FILE = "it loads other files, which is never done here"

# Classes that can do harm, or that are no layers at all: refused before anything in them is looked at.
REFUSED: Mapping[str, str] = {
    "Lambda": _CODE,
    "TFOpLambda": _OP,
    "SlicingOpLambda": _OP,
    "ClassMethod": _OP,
    "InstanceMethod": _OP,
    "InstanceProperty": _OP,
    "TensorFlowOpLayer": _OP,
    "TFSMLayer": _FILE,
    "TorchModuleWrapper": _CODE,
    "JaxLayer": _CODE,
    "FlaxLayer": _CODE,
    "StringLookup": _FILE,
    "IntegerLookup": _FILE,
    "TextVectorization": _FILE,
}

FUNCTIONS: Mapping[str, tuple[str, Config, Mapping[str, str]]] = {
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.3}, {"alpha": "negative_slope"}),
    "ReLU": ("relu", {}, {}),
    "ELU": ("elu", {}, {}),
    "Softmax": ("softmax", {}, {}),
}
"""Layers that stand where an activation does: our function, what they had by default, their words to ours."""
