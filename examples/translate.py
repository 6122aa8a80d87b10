"""Sequence to sequence with attention: dates as people write them, to ISO 8601.

::

    python examples/translate.py

An encoder LSTM reads the letters; a decoder LSTM starts from its final states and writes the ten characters of
the date one by one, looking back at the letters by attention. The model as it was trained is one graph that sees the
whole answer (`build`). To translate, two models are cut out of it that share its layers, and so its weights: one that
reads, run once, and one that writes a character, run ten times (`cut`).

``train_translate.py`` made the weights, with Keras, from dates that `examples` below makes up.
"""

from __future__ import annotations

import datetime
import random
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.layers import LSTM, AdditiveAttention, Concatenate, Dense, Embedding, Input
from lstmcore.models import Model
from lstmcore.text import pad_sequences

WEIGHTS = Path(__file__).parent / "weights" / "translate.safetensors"
UNITS = 40

LETTERS = " abcdefghijklmnopqrstuvwxyz0123456789.,'"  # id 0 is padding, so the first letter has id 1
SIGNS = "0123456789-"
START = len(SIGNS)  # stands before the first character of an answer
LENGTH = len("2014-03-05")

MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FIRST, LAST = datetime.date(1970, 1, 1), datetime.date(2029, 12, 31)


def ordinal(day: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    return f"{day}{'th' if day in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def spellings(date: datetime.date) -> list[str]:
    """The ways to write a date that the model knows."""
    month, weekday = MONTHS[date.month - 1], DAYS[date.weekday()]
    return [
        f"{date.day} {month} {date.year}",
        f"{month} {date.day}, {date.year}",
        f"the {ordinal(date.day)} of {month} {date.year}",
        f"{weekday} the {ordinal(date.day)} of {month}, {date.year}",
        f"{date.day}.{date.month}.{date.year}",
        f"{weekday[:3]} {month[:3]} {date.day} '{date.year % 100:02}",
    ]


def examples(count: int, seed: int) -> list[tuple[str, str]]:
    """So many different dates, each in one spelling, with the answer."""
    draw = random.Random(seed)
    days = draw.sample(range((LAST - FIRST).days + 1), count)
    dates = [FIRST + datetime.timedelta(day) for day in days]
    return [(draw.choice(spellings(date)), date.isoformat()) for date in dates]


def split(seed: int = 3, held_out: int = 500) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(training, held out); no date is in both."""
    pairs = examples(12_000, seed)
    return pairs[held_out:], pairs[:held_out]


def letters(texts: list[str]) -> np.ndarray[Any, Any]:
    """Ids of the letters, (texts, longest), padded after the end."""
    return pad_sequences([[LETTERS.index(letter) + 1 for letter in text.lower()] for text in texts], padding="post")


def signs(dates: list[str]) -> np.ndarray[Any, Any]:
    """Ids of the characters of ISO dates, (dates, 10)."""
    return np.array([[SIGNS.index(sign) for sign in date] for date in dates])


def build() -> Model:
    """The model as it is trained: letters, and the answer one step late, to the answer."""
    source = Input((None,), dtype="int32", name="source")
    so_far = Input((None,), dtype="int32", name="so_far")
    read, h, c = LSTM(UNITS, return_sequences=True, return_state=True, name="encoder")(
        Embedding(len(LETTERS) + 1, 12, mask_zero=True, name="letters")(source)
    )
    written, _, _ = LSTM(UNITS, return_sequences=True, return_state=True, name="decoder")(
        Embedding(len(SIGNS) + 1, 8, name="signs")(so_far), initial_state=[h, c]
    )
    found = AdditiveAttention(name="attention")([written, read])
    both = Concatenate(name="both")([written, found])
    return Model([source, so_far], Dense(len(SIGNS), "softmax", name="answer")(both), name="translate")


def cut(model: Any) -> tuple[Model, Model]:
    """(reader, writer) with the layers of the trained model.

    The reader gives what the encoder saw at every letter, and its final states. The writer takes one character, all
    that, and where the letters are; it gives the next character's probabilities and the states after it.
    """
    source = Input((None,), dtype="int32")
    reader = Model(source, model.get_layer("encoder")(model.get_layer("letters")(source)))

    last = Input((1,), dtype="int32", name="last")
    read = Input((None, UNITS), name="read")
    is_letter = Input((None,), dtype="bool", name="is_letter")
    h, c = Input((UNITS,), name="h"), Input((UNITS,), name="c")
    written, *states = model.get_layer("decoder")(model.get_layer("signs")(last), initial_state=[h, c])
    found = model.get_layer("attention")([written, read], mask=[None, is_letter])
    answer = model.get_layer("answer")(model.get_layer("both")([written, found]))
    return reader, Model([last, read, is_letter, h, c], [answer, *states])


def translate(model: Any, texts: list[str]) -> list[str]:
    """The dates, written greedily: each time the most probable character."""
    reader, writer = cut(model)
    x = letters(texts)
    read, h, c = reader.predict(x, batch_size=len(x))
    last, answers = np.full((len(x), 1), START), []
    for _ in range(LENGTH):
        probabilities, h, c = writer.predict([last, read, x != 0, h, c], batch_size=len(x))
        last = probabilities.argmax(axis=-1)
        answers.append(last)
    return ["".join(SIGNS[sign] for sign in row) for row in np.concatenate(answers, axis=1)]


def main() -> None:
    """The example."""
    model = lc.load_model(WEIGHTS)
    _, held_out = split()
    texts, dates = [text for text, _ in held_out], [date for _, date in held_out]
    answers = translate(model, texts)
    for text, answer in list(zip(texts, answers, strict=True))[:8]:
        print(f"{text:<42} {answer}")
    right = sum(answer == date for answer, date in zip(answers, dates, strict=True))
    print(f"\n{right} of {len(dates)} dates right; none of them was in the training data")


if __name__ == "__main__":
    main()
