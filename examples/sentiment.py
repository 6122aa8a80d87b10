"""Is a text kind or unkind? Texts of any length through a tokenizer, padding, a mask and a bidirectional LSTM.

::

    python examples/sentiment.py

The padding that makes a batch of texts of unequal length is id 0, which ``Embedding(mask_zero=True)`` masks. So a
text means the same alone and in a batch, however it is padded: shown here on every installed engine, and beside it
what the padding does to the same weights without a mask.

``train_sentiment.py`` made the weights, with Keras, from sentences that `reviews` below makes up.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.layers import LSTM, Bidirectional, Dense, Embedding, Input
from lstmcore.models import Sequential
from lstmcore.text import Tokenizer, pad_sequences

WEIGHTS = Path(__file__).parent / "weights" / "sentiment.safetensors"
WORDS = Path(__file__).parent / "weights" / "sentiment_words.json"

TEXTS = [
    "Great!",
    "The soup was cold.",
    "Our guide was not rude.",
    "I did not like the hotel, to be honest.",
    "The room was dirty, but the breakfast was superb!",
    "The band was clever and funny, but in the end I hated the music, and nobody would call the hall clean.",
]

THINGS = (
    *("film", "food", "room", "plot", "service", "book", "music", "guide", "hotel", "breakfast", "soup", "band"),
    *("ending", "tea", "view", "staff", "menu", "garden", "song", "story", "cake", "bar", "cast", "trip", "talk"),
    *("hall", "boat", "map", "camera", "bread", "town", "beach", "lamp", "coat", "clock", "bridge", "museum", "bus"),
)
KIND = ("good", "great", "lovely", "superb", "fresh", "clean", "funny", "clever", "warm", "perfect", "charming")
UNKIND = ("bad", "dull", "awful", "poor", "stale", "dirty", "rude", "boring", "cold", "broken", "dreadful")
OPENINGS = ("well", "honestly", "in the end", "to be honest", "as we all know", "this time")


def clause(draw: random.Random, kind: bool) -> str:
    """One statement, kind or unkind."""
    weights = [1 / (3 + rank) for rank in range(len(THINGS))]  # the last ones are rare, and become unknown words
    thing = f"{draw.choice(('the', 'our', 'this'))} {draw.choices(THINGS, weights)[0]}"
    same, other = (KIND, UNKIND) if kind else (UNKIND, KIND)
    felt = ("loved", "liked", "enjoyed") if kind else ("hated", "disliked")
    unfelt = ("hate", "dislike") if kind else ("love", "like", "enjoy")
    forms = [
        f"{thing} was {draw.choice(('', 'very ', 'so ', 'really '))}{draw.choice(same)}",
        f"{thing} was not {draw.choice(('', 'at all ', 'that '))}{draw.choice(other)}",
        f"nobody would call {thing} {draw.choice(other)}",
        f"i {draw.choice(felt)} {thing}",
        f"i did not {draw.choice(unfelt)} {thing}",
        f"{draw.choice(same)}",
    ]
    return draw.choice(forms)


def reviews(count: int, seed: int) -> tuple[list[str], list[int]]:
    """Made-up reviews, and 1 for a kind one, 0 for an unkind one; after a "but" the last word counts."""
    draw = random.Random(seed)
    texts, labels = [], []
    for _ in range(count):
        kind = draw.random() < 0.5
        parts = [clause(draw, kind)]
        if draw.random() < 0.4:
            parts = [clause(draw, not kind), "but", *parts]
        if draw.random() < 0.3:
            parts += ["and", clause(draw, kind)]
        if draw.random() < 0.3:
            parts.insert(draw.choice((0, len(parts))), draw.choice(OPENINGS))
        texts.append(" ".join(parts))
        labels.append(int(kind))
    return texts, labels


def build(words: int, mask_zero: bool = True) -> Sequential:
    """The model for ids below ``words``; 0 is padding."""
    return Sequential(
        [Input((None,)), Embedding(words, 12, mask_zero=mask_zero), Bidirectional(LSTM(12)), Dense(1, "sigmoid")],
        name="sentiment",
    )


def padded_in_every_way(ids: Sequence[Sequence[int]]) -> list[np.ndarray[Any, Any]]:
    """The texts as batches: padded before or after, to the longest or to 40 steps."""
    return [pad_sequences(ids, maxlen, padding=side) for side in ("pre", "post") for maxlen in (None, 40)]


def main() -> None:
    """The example."""
    model = lc.load_model(WEIGHTS)
    tokenizer = Tokenizer.from_json(WORDS.read_text())
    ids = tokenizer.texts_to_sequences(TEXTS)

    print("kind?  text")
    for text, score in zip(TEXTS, model.predict(pad_sequences(ids, padding="post"))[:, 0], strict=True):
        print(f"{score:5.3f}  {text}")

    unmasked = build(tokenizer.num_words, mask_zero=False)
    unmasked.set_weights(model.get_weights())
    print("\nHow far padding moves a prediction, at most")
    print(f"{'engine':<12}{'with mask':>10}{'without':>10}")
    for engine in (info.name for info in lc.backends() if info.status == "available"):
        moved = []
        for one in (model, unmasked):
            alone = np.concatenate([one.predict(np.array([text]), backend=engine) for text in ids])
            moved.append(max(np.abs(one.predict(x, backend=engine) - alone).max() for x in padded_in_every_way(ids)))
        print(f"{engine:<12}{moved[0]:>10.1e}{moved[1]:>10.1e}")


if __name__ == "__main__":
    main()
