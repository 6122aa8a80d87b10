"""Trains the weights of ``sentiment.py``: with Keras, on sentences that the example itself makes up.

::

    pip install "lstmcore[tensorflow]"
    python examples/train_sentiment.py
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from sentiment import WEIGHTS, WORDS, build, reviews

import lstmcore as lc
from lstmcore.text import Tokenizer, pad_sequences

SEED = 11
EPOCHS = 8
NUM_WORDS = 80


def main() -> None:
    """The command."""
    texts, labels = reviews(6000, SEED)
    unseen_texts, unseen_labels = reviews(1500, SEED + 1)
    known = set(texts)
    kept = [k for k, text in enumerate(unseen_texts) if text not in known]

    tokenizer = Tokenizer(NUM_WORDS, oov_token="<?>")
    tokenizer.fit_on_texts(texts)

    def ids(sentences: list[str]) -> np.ndarray[Any, Any]:
        return pad_sequences(tokenizer.texts_to_sequences(sentences), padding="post")

    lc.set_random_seed(SEED)
    keras.utils.set_random_seed(SEED)
    model = build(NUM_WORDS)
    trained = keras.models.model_from_json(model.to_json())
    trained.set_weights(model.get_weights())
    trained.compile(
        keras.optimizers.Adam(3e-3), keras.losses.BinaryCrossentropy(label_smoothing=0.05), metrics=["accuracy"]
    )
    trained.fit(ids(texts), np.array(labels)[:, None], batch_size=32, epochs=EPOCHS, verbose=2)
    model.set_weights(trained.get_weights())
    model.save(WEIGHTS)
    WORDS.write_text(tokenizer.to_json() + "\n")

    x, y = ids([unseen_texts[k] for k in kept]), np.array([unseen_labels[k] for k in kept])
    probabilities = model.predict(x)[:, 0]
    print(f"Keras {keras.__version__}, {EPOCHS} epochs, seed {SEED}; {len(tokenizer.word_index)} words seen")
    print(f"{len(kept)} sentences not in the training data: {np.mean((probabilities > 0.5) == y):.4f} right")
    print(f"largest difference from Keras: {np.abs(trained.predict(x, verbose=0)[:, 0] - probabilities).max():.1e}")


if __name__ == "__main__":
    main()
