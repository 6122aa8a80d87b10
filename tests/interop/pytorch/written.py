"""What `lstmcore.interop.pytorch` wrote, run by PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    AveragePooling1D,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    GRUCell,
    Input,
    LayerNormalization,
    LSTMCell,
    Masking,
    MaxPooling1D,
    RepeatVector,
    Reshape,
    SimpleRNN,
    SpatialDropout1D,
    TimeDistributed,
)

Array = NDArray[Any]
torch.set_num_threads(1)

CHAINS: dict[str, Callable[[], list[Any]]] = {
    "lstm": lambda: [Input((None, 3)), LSTM(4)],
    "stack": lambda: [
        Input((None, 3)),
        LSTM(4, return_sequences=True, dropout=0.2),
        Dropout(0.5),
        GRU(5, reset_after=False),
        Dense(2, activation="softmax"),
    ],
    "no_bias": lambda: [Input((None, 3)), GRU(4, use_bias=False, return_sequences=True), SimpleRNN(3, use_bias=False)],
    "both_ways": lambda: [
        Input((7, 3)),
        Bidirectional(LSTM(4, return_sequences=True)),
        Bidirectional(GRU(3)),
        Dense(1),
    ],
    "masked": lambda: [Input((None,), dtype="int32"), Embedding(11, 4, mask_zero=True), GRU(5), Dense(2)],
    "masked_both_ways": lambda: [
        Input((None,), dtype="int32"),
        Embedding(11, 4, mask_zero=True),
        Bidirectional(GRU(3, return_sequences=True)),
        Bidirectional(LSTM(5)),
    ],
    "masking": lambda: [
        Input((None, 3)),
        Masking(),
        LSTM(4, return_sequences=True, go_backwards=True),
        SimpleRNN(3, activation="softsign"),
    ],
    "convolved": lambda: [
        Input((None, 3)),
        Conv1D(4, 4, padding="same", activation="relu"),
        Conv1D(4, 3, padding="same", strides=2),
        MaxPooling1D(2),
        AveragePooling1D(3, 2, padding="same"),
        Conv1D(2, 2, padding="causal", dilation_rate=2),
        LSTM(4, recurrent_activation="hard_sigmoid"),
    ],
    "shapes": lambda: [
        Input((6, 2)),
        Flatten(),
        Reshape((3, 4)),
        SimpleRNN(4, activation="relu"),
        RepeatVector(3),
        GRU(2),
    ],
    "stateful": lambda: [Input(batch_shape=(2, 5, 3)), GRU(4, stateful=True, return_sequences=True), Dense(2)],
    "cells": lambda: [Input((None, 3)), RNN([LSTMCell(3), GRUCell(2)]), Dense(2)],
    "softmax_gates": lambda: [Input((None, 3)), LSTM(4, activation="softmax", go_backwards=True)],
    "double": lambda: [
        Input((None, 3)),
        GRU(4, dtype="float64"),
        BatchNormalization(dtype="float64", scale=False, momentum=0.75),
        Dense(2, activation="softplus", dtype="float64"),
    ],
    "each_step": lambda: [
        Input((None, 5, 3)),
        TimeDistributed(LSTM(4)),
        SpatialDropout1D(0.3),
        LayerNormalization(center=False),
        GaussianNoise(0.2),
        LSTM(2),
        GaussianDropout(0.3),
    ],
}


def weighted(model: Any) -> Any:
    """The model with weights that tell every gate, direction and bias from every other."""
    rng = np.random.default_rng(11)

    def drawn(name: str, array: Array) -> Array:
        numbers = rng.normal(scale=0.5, size=array.shape)
        return np.abs(numbers) + 0.5 if "variance" in name else numbers

    model.set_weights([drawn(name, array) for name, array in model.weights.items()])
    return model


def inputs(model: Any, batch: int = 3, steps: int = 6) -> list[Array]:
    """Inputs that fit; ids and numbers hold steps that a mask leaves out, in every place."""
    rng = np.random.default_rng(5)
    found = []
    for name in model.program.inputs:
        value = model.program.values[name]
        shape = (value.shape[0] or batch, *(steps if n is None else n for n in value.shape[1:]))
        holes = rng.random(shape[:2]) < 0.3
        holes[0] = True
        if value.kind == "int":
            array = rng.integers(1, model.program.limits.get(name, 9), shape).astype("int32")
        elif value.kind == "bool":
            array = rng.random(shape) < 0.6
        else:
            array = rng.normal(size=shape).astype(model.dtype)
        if len(shape) > 1 and value.kind != "bool":
            array[holes] = 0
        found.append(array)
    return found


def imported(path: Path) -> Any:
    """A source file as a module, as anyone would import it."""
    spec = importlib.util.spec_from_file_location(f"written_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(module: Any, given: Sequence[Array]) -> list[Array]:
    """What a live module makes of arrays."""
    with torch.no_grad():
        made = module(*(torch.from_numpy(array) for array in given))
    return [y.numpy() for y in (made if isinstance(made, tuple) else (made,))]
