"""The options that are recorded of the layers around recurrence: required arguments by position, then sets by name."""

from __future__ import annotations

from typing import Any

from serialized import L2, NORM, UNIFORM, keras_object, layer_object

LSTM = layer_object("LSTM", units=4)
CELLS = [layer_object("LSTMCell", units=3), layer_object("GRUCell", units=4, name="second")]
CELL: list[dict[str, Any]] = [
    {"activation": "relu", "use_bias": False},
    {"kernel_initializer": "zeros", "recurrent_initializer": UNIFORM, "bias_initializer": "ones"},
    {"kernel_regularizer": L2, "recurrent_regularizer": "l1", "bias_regularizer": "l2"},
    {"kernel_constraint": "non_neg", "recurrent_constraint": NORM, "bias_constraint": "unit_norm"},
    {"dropout": 0.25, "recurrent_dropout": 0.5, "seed": 3},
]
STATISTICS: list[dict[str, Any]] = [
    {"axis": 1, "epsilon": 0.25, "center": False, "scale": False},
    {"beta_initializer": "ones", "gamma_initializer": UNIFORM},
    {"beta_regularizer": L2, "gamma_regularizer": "l1", "beta_constraint": NORM, "gamma_constraint": "non_neg"},
]

AROUND: dict[str, tuple[list[Any], list[dict[str, Any]]]] = {
    **{name: ([], []) for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")},
    "Concatenate": ([], [{"axis": 1}]),
    "Dot": ([1], [{"axes": [1, 2], "normalize": True}, {"axes": -1}]),
    "LSTMCell": ([4], [*CELL, {"unit_forget_bias": False, "recurrent_activation": "hard_sigmoid"}]),
    "GRUCell": ([4], [*CELL, {"reset_after": False, "recurrent_activation": "relu"}]),
    "SimpleRNNCell": ([4], CELL),
    "StackedRNNCells": ([CELLS], []),
    "RNN": (
        [CELLS[0]],
        [
            {"cell": layer_object("StackedRNNCells", cells=CELLS)},
            {"cell": layer_object("GRUCell", units=3), "return_sequences": True, "return_state": True},
            {"go_backwards": True, "stateful": True, "unroll": True, "zero_output_for_mask": True},
        ],
    ),
    "Bidirectional": (
        [LSTM],
        [
            *({"merge_mode": mode} for mode in ("sum", "mul", "ave", None)),
            {"layer": layer_object("GRU", units=3, return_sequences=True, return_state=True, stateful=True)},
            {"layer": layer_object("RNN", cell=layer_object("SimpleRNNCell", units=3))},
            {"layer": layer_object("SimpleRNN", units=3, go_backwards=True),
             "backward_layer": layer_object("SimpleRNN", units=3, activation="relu", name="other")},
            {"backward_layer": layer_object("GRU", units=4, go_backwards=True)},
        ],
    ),
    "TimeDistributed": (
        [layer_object("Dense", units=3)],
        [{"layer": LSTM}, {"layer": layer_object("TimeDistributed", layer=layer_object("Dense", units=3))}],
    ),
    "Masking": ([], [{"mask_value": -1.0}, {"mask_value": 2}]),
    "RepeatVector": ([3], []),
    "PReLU": (
        [],
        [
            {"alpha_initializer": "ones", "alpha_regularizer": L2, "alpha_constraint": NORM},
            {"shared_axes": [1]},
            {"shared_axes": [1, 2]},
        ],
    ),
    "Rescaling": ([0.5], [{"offset": -1}, {"scale": [0.5, 0.25], "offset": [1.0, 2.0]}]),
    "BatchNormalization": (
        [],
        [
            *STATISTICS,
            {"momentum": 0.5, "synchronized": True},
            {"moving_mean_initializer": "ones", "moving_variance_initializer": UNIFORM},
        ],
    ),
    "LayerNormalization": ([], [*STATISTICS, {"axis": [1, 2]}, {"axis": [-1]}]),
    "Conv1D": (
        [4, 3],
        [
            {"strides": 2, "padding": "same", "activation": "relu", "use_bias": False},
            {"padding": "causal", "dilation_rate": 2, "groups": 2},
            {"kernel_size": [5], "strides": [1], "dilation_rate": [2], "data_format": "channels_last"},
            {"data_format": "channels_first"},
            {"kernel_initializer": UNIFORM, "bias_initializer": "ones"},
            {"kernel_regularizer": L2, "bias_regularizer": "l1"},
            {"kernel_constraint": NORM, "bias_constraint": "non_neg"},
        ],
    ),
    "MaxPooling1D": ([], [{"pool_size": 3, "strides": 1, "padding": "same"}, {"pool_size": [3], "strides": [2]}]),
    "AveragePooling1D": (
        [2],
        [{"pool_size": 3, "strides": 1, "padding": "same"}, {"data_format": "channels_first"}],
    ),
    "GlobalMaxPooling1D": ([], [{"keepdims": True}, {"data_format": "channels_first"}]),
    "GlobalAveragePooling1D": ([], [{"keepdims": True}, {"data_format": "channels_first"}]),
    "ZeroPadding1D": ([], [{"padding": 2}, {"padding": [1, 3]}, {"data_format": "channels_last"}]),
    "Cropping1D": ([], [{"cropping": 2}, {"cropping": [0, 3]}]),
    "UpSampling1D": ([], [{"size": 3}]),
    "Attention": ([], [{"use_scale": True, "score_mode": "concat"}, {"dropout": 0.25, "seed": 3}]),
    "AdditiveAttention": ([], [{"use_scale": False}, {"dropout": 0.25}]),
    "MultiHeadAttention": (
        [2, 4],
        [
            {"value_dim": 3, "output_shape": 6, "use_bias": False},
            {"output_shape": [6, 2], "attention_axes": [1, 2]},
            {"dropout": 0.25, "seed": 3},
            {"kernel_initializer": UNIFORM, "bias_initializer": keras_object("initializers", "Ones")},
            {"kernel_regularizer": L2, "bias_regularizer": "l1"},
            {"kernel_constraint": NORM, "bias_constraint": "non_neg"},
        ],
    ),
}  # fmt: skip
