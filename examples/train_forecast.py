"""Trains the weights of ``forecast.py``: with Keras, on series that the example itself makes up.

::

    pip install "lstmcore[tensorflow]"
    python examples/train_forecast.py
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from forecast import WEIGHTS, build, error, series

import lstmcore as lc

SEED = 2
EPOCHS = 30
BATCH = 32


def main() -> None:
    """The command."""
    data, unseen = series(1000, 121, SEED), series(200, 121, SEED + 1)

    lc.set_random_seed(SEED)
    keras.utils.set_random_seed(SEED)
    model = build()
    trained = keras.models.model_from_json(model.to_json())
    trained.set_weights(model.get_weights())
    rate = keras.optimizers.schedules.CosineDecay(5e-3, EPOCHS * -(-len(data) // BATCH))
    trained.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mse")
    trained.fit(data[:, :-1], data[:, 1:], batch_size=BATCH, epochs=EPOCHS, verbose=2)
    model.set_weights(trained.get_weights())
    model.save(WEIGHTS)

    x, y = unseen[:, :-1], unseen[:, 1:]
    forecasts = model.predict(x)
    print(f"Keras {keras.__version__}, {EPOCHS} epochs on {len(data)} series, seed {SEED}")
    print(f"{len(unseen)} unseen series, from step 60 on: error {error(forecasts[:, 60:], y[:, 60:]):.4f}")
    print(f"the next is as this one: error {error(x[:, 60:], y[:, 60:]):.4f}")
    print(f"largest difference from Keras: {np.abs(trained.predict(x, verbose=0) - forecasts).max():.1e}")


if __name__ == "__main__":
    main()
