"""Trains the digit reader that ``lstmcore demo`` runs: with Keras, on all of MNIST, saved by lstmcore.

::

    pip install "lstmcore[tensorflow]"
    python examples/train_digits_rnn.py digits_rnn.safetensors          # downloads MNIST (11 MB)
    python examples/train_digits_rnn.py digits_rnn.safetensors mnist.npz

An image is a sequence of 28 rows with 28 grey levels each, divided by 255. The model is the SimpleRNN
of many a tutorial, 2,282 weights; the optimiser is Keras' Adam.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from lstmcore.datasets import mnist
from lstmcore.layers import Dense, Input, SimpleRNN
from lstmcore.models import Sequential

SEED = 7
EPOCHS = 30
BATCH = 64


def rows(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Images uint8 (n, 28, 28) as sequences of rows, float32, 0 to 1."""
    return images.astype("float32") / 255


def train(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], epochs: int) -> keras.Model:
    """The Keras model, trained from a fixed seed; the learning rate falls to 0 along a cosine.

    Smoothed labels and an L2 penalty keep logits and states small. Without them the logits reach 60, and
    the rounding of float32 shows in the probabilities (E up to 19 on each engine; with them up to 10).
    """
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    l2 = keras.regularizers.L2(1e-4)
    model = keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.SimpleRNN(32, activation="relu", kernel_regularizer=l2, recurrent_regularizer=l2),
            keras.layers.Dense(10, activation="softmax", kernel_regularizer=l2),
        ]
    )
    steps = epochs * -(-len(x) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate, clipnorm=1.0),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.4),
        metrics=["accuracy"],
    )
    model.fit(x, keras.utils.to_categorical(y, 10), batch_size=BATCH, epochs=epochs, verbose=2)
    return model


def carried_over(trained: keras.Model) -> Sequential:
    """The same model in lstmcore, with the same weights."""
    model = Sequential(
        [Input((28, 28)), SimpleRNN(32, activation="relu"), Dense(10, activation="softmax")], name="digits_rnn"
    )
    model.set_weights(trained.get_weights())
    return model


def accuracy(model: Any, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """The share of images whose most probable digit is the right one."""
    return float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == y))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train the demo's digit reader.")
    parser.add_argument("out", help="the .safetensors file to write")
    parser.add_argument("mnist", nargs="?", help="mnist.npz, or a directory with the IDX files; else downloaded")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()

    (x, y), (x_test, y_test) = mnist.load_data(options.mnist)
    trained = train(rows(x), y, options.epochs)
    model = carried_over(trained)
    model.save(options.out)

    _, (x_sample, y_sample) = mnist.load_sample()
    print(f"Keras {keras.__version__} on TensorFlow {tf.__version__}, {options.epochs} epochs, seed {SEED}")
    print(f"Keras    on {len(y_test)} test digits: {accuracy(trained, rows(x_test), y_test):.4f}")
    print(f"lstmcore on {len(y_test)} test digits: {accuracy(model, rows(x_test), y_test):.4f}")
    print(f"lstmcore on the {len(y_sample)} of the sample: {accuracy(model, rows(x_sample), y_sample):.4f}")
    difference = np.abs(trained.predict(rows(x_sample), verbose=0) - model.predict(rows(x_sample))).max()
    print(f"largest difference of a probability: {difference:.1e}")


if __name__ == "__main__":
    main()
