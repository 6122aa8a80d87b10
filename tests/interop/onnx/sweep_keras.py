"""Keras' models in ONNX files, by the exporter that is named: ``python sweep_keras.py keras3 FOLDER`` (see `sweep`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WRITER = sys.argv[1] if len(sys.argv) > 1 else "keras3"
if WRITER == "keras3_torch":
    os.environ["KERAS_BACKEND"] = "torch"
if WRITER == "tf_keras":
    import tf_keras as keras
else:
    import keras
L = keras.layers
T = 7


def floats(*lengths: int | None) -> Any:
    return L.Input(lengths or (None, 4))


def words(time: int | None = None) -> Any:
    return L.Input((time,), dtype="int32")


def states() -> Any:
    x = floats()
    return keras.Model(x, L.LSTM(5, return_sequences=True, return_state=True)(x))


def encoder_decoder() -> Any:
    x, z = floats(T, 4), floats(5, 3)
    _, h, c = L.LSTM(5, return_state=True)(x)
    y = L.LSTM(5, return_sequences=True)(z, initial_state=[h, c])
    return keras.Model([x, z], L.Dense(2)(y))


def attention() -> Any:
    x = floats(T, 4)
    y = L.LSTM(5, return_sequences=True)(x)
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(L.Attention()([y, y]))))


def chain(*make: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: keras.Sequential([layer() for layer in make])


def sequence(layer: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(L, layer)(5, return_sequences=True, **options)


def one(layer: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(L, layer)(5, **options)


def dense(units: int = 2, activation: str | None = None) -> Callable[[], Any]:
    return lambda: L.Dense(units, activation=activation)


FIXED = lambda: floats(T, 4)  # noqa: E731
EMBEDDED = lambda: L.Embedding(11, 4)  # noqa: E731
MASKED = lambda: L.Embedding(11, 4, mask_zero=True)  # noqa: E731
MODELS: dict[str, Callable[[], Any]] = {
    "lstm": chain(floats, one("LSTM"), dense(3, "softmax")),
    "lstm_fixed_time": chain(FIXED, one("LSTM"), dense(3, "softmax")),
    "lstm_stack": chain(floats, sequence("LSTM"), lambda: L.Dropout(0.3), one("LSTM"), dense(1, "sigmoid")),
    "lstm_relu": chain(FIXED, one("LSTM", activation="relu"), dense()),
    "lstm_hard_sigmoid": chain(floats, one("LSTM", recurrent_activation="hard_sigmoid"), dense()),
    "lstm_no_bias": chain(floats, one("LSTM", use_bias=False), dense()),
    "lstm_backwards": chain(floats, sequence("LSTM", go_backwards=True), dense()),
    "lstm_unrolled": chain(FIXED, one("LSTM", unroll=True), dense()),
    "gru": chain(floats, one("GRU"), dense()),
    "gru_reset_before": chain(floats, one("GRU", reset_after=False), dense()),
    "gru_each_step": chain(floats, sequence("GRU"), lambda: L.TimeDistributed(L.Dense(2))),
    "simple_rnn": chain(floats, one("SimpleRNN"), dense()),
    "both_ways": chain(
        floats, lambda: L.Bidirectional(L.LSTM(5, return_sequences=True)), lambda: L.Bidirectional(L.LSTM(3)), dense()
    ),
    "both_ways_gru": chain(
        floats,
        lambda: L.Bidirectional(L.GRU(5, return_sequences=True), merge_mode="sum"),
        lambda: L.GlobalMaxPooling1D(),
        dense(),
    ),
    "words": chain(words, EMBEDDED, one("LSTM"), dense(1, "sigmoid")),
    "words_masked": chain(words, MASKED, one("LSTM"), dense(1, "sigmoid")),
    "words_masked_gru": chain(lambda: words(T), MASKED, one("GRU"), dense(1, "sigmoid")),
    "masking": chain(FIXED, lambda: L.Masking(0.0), one("LSTM"), dense()),
    "convolution": chain(
        lambda: floats(12, 4),
        lambda: L.Conv1D(6, 3, activation="relu", padding="same"),
        lambda: L.MaxPooling1D(2),
        lambda: L.BatchNormalization(),
        one("LSTM"),
        dense(),
    ),
    "convolution_causal": chain(
        floats, lambda: L.Conv1D(6, 3, activation="elu", padding="causal", dilation_rate=2), one("GRU"), dense()
    ),
    "autoencoder": chain(FIXED, one("LSTM"), lambda: L.RepeatVector(T), sequence("LSTM"), dense(4)),
    "layer_norm": chain(
        floats,
        sequence("LSTM"),
        lambda: L.LayerNormalization(),
        lambda: L.GlobalAveragePooling1D(),
        dense(2, "gelu"),
    ),
    "flatten": chain(FIXED, sequence("GRU"), lambda: L.Flatten(), dense()),
    "states": states,
    "encoder_decoder": encoder_decoder,
    "attention": attention,
}


def data(model: Any, masked: bool) -> list[Any]:
    rng = np.random.default_rng(1)
    found = []
    for entry in model.inputs:
        shape = [3, *[T if n is None else n for n in entry.shape[1:]]]
        whole = "int" in str(entry.dtype)
        array = rng.integers(1, 11, shape).astype("int32") if whole else rng.normal(size=shape).astype("float32")
        if masked:
            array[0, -3:] = array[1, -1:] = 0
            if not whole:
                array[2, 1] = 0
        found.append(array)
    return found


def export(name: str, path: Path) -> None:
    import onnx

    keras.utils.set_random_seed(3)
    model = MODELS[name]()
    rng = np.random.default_rng(2)
    model.set_weights([w + np.abs(rng.normal(size=w.shape)).astype(w.dtype) / 9 for w in model.get_weights()])
    given = data(model, "mask" in name)
    model(given if len(given) > 1 else given[0])
    if WRITER == "tf_keras":
        import tf2onnx

        tf2onnx.convert.from_keras(model, opset=17, output_path=str(path))
    else:
        model.export(str(path), format="onnx", verbose=False)
    names = [entry.name for entry in onnx.load(path).graph.input]
    np.savez(path.with_suffix(".npz"), **dict(zip(names, given, strict=True)))


if __name__ == "__main__":
    for key in MODELS:
        file = Path(sys.argv[2]) / f"keras_{key}~{WRITER}.onnx"
        try:
            export(key, file)
        except Exception as error:  # exporters have exceptions of their own
            file.unlink(missing_ok=True)
            print(f"not exported: {file.stem}: {type(error).__name__}")
