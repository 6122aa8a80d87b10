"""Trains the weights of ``translate.py``: with Keras, on dates that the example itself makes up.

::

    pip install "lstmcore[tensorflow]"
    python examples/train_translate.py
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from translate import START, WEIGHTS, build, letters, signs, split, translate

import lstmcore as lc

SEED = 5
EPOCHS = 40
BATCH = 64


def main() -> None:
    """The command."""
    training, held_out = split()
    source, answer = letters([text for text, _ in training]), signs([date for _, date in training])
    so_far = np.concatenate([np.full((len(answer), 1), START), answer[:, :-1]], axis=1)

    lc.set_random_seed(SEED)
    keras.utils.set_random_seed(SEED)
    model = build()
    trained = keras.models.model_from_json(model.to_json())
    trained.set_weights(model.get_weights())
    rate = keras.optimizers.schedules.CosineDecay(4e-3, EPOCHS * -(-len(source) // BATCH))
    trained.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    trained.fit([source, so_far], answer, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    model.set_weights(trained.get_weights())
    model.save(WEIGHTS)

    answers = translate(model, [text for text, _ in held_out])
    right = np.mean([a == date for a, (_, date) in zip(answers, held_out, strict=True)])
    x = [source[:200], so_far[:200]]
    print(f"Keras {keras.__version__}, {EPOCHS} epochs on {len(training)} dates, seed {SEED}")
    print(f"{len(held_out)} held-out dates: {right:.4f} right")
    print(f"largest difference from Keras: {np.abs(trained.predict(x, verbose=0) - model.predict(x)).max():.1e}")


if __name__ == "__main__":
    main()
