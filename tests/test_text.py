"""Tokenizer and pad_sequences: against figures worked out on paper, and against Keras where it is installed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from lstmcore.errors import InputError, SpecError
from lstmcore.text import Tokenizer, pad_sequences

TEXTS = ["The cat sat; the DOG ran.", "A dog, a cat, the end!"]
# the 3; cat, dog and a 2 each, in this order of appearance; then sat, ran, end
INDEX = {"the": 1, "cat": 2, "dog": 3, "a": 4, "sat": 5, "ran": 6, "end": 7}


def fitted(*texts: Any, **options: Any) -> Tokenizer:
    tokenizer = Tokenizer(**options)
    tokenizer.fit_on_texts(texts or TEXTS)
    return tokenizer


# pad_sequences


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [4, 5, 6]]),
        ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6]]),
        ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5]]),
        ({"maxlen": 4, "value": -1}, [[-1, -1, -1, 1], [-1, -1, 2, 3], [-1, 4, 5, 6]]),
        ({"maxlen": 0}, [[], [], []]),
        ({"maxlen": 0, "truncating": "post"}, [[], [], []]),
    ],
)
def test_padding(options: dict[str, Any], expected: list[list[int]]) -> None:
    padded = pad_sequences([[1], [2, 3], [4, 5, 6]], **options)
    assert padded.dtype == np.int32 and padded.tolist() == expected


def test_trailing_axes_are_kept() -> None:
    padded = pad_sequences([[], [[1.5, 2]], [[3, 4], [5, 6]]], dtype="float32", value=9)
    assert padded.dtype == np.float32
    assert padded.tolist() == [[[9, 9], [9, 9]], [[9, 9], [1.5, 2]], [[3, 4], [5, 6]]]


def test_no_sequences_but_a_maxlen() -> None:
    assert pad_sequences([], maxlen=3).shape == (0, 3)


SAMPLES: dict[str, Any] = {
    "lists": [[1, 2, 3, 4, 5], [], [6], [7, 8, 9]],
    "tuples": ((1, 2), (3.75, -4.5, 5)),
    "arrays": [np.arange(4), np.arange(2)],
    "array": np.arange(12).reshape(3, 4),
    "empty": [[], []],
    "features": [[], np.arange(8).reshape(4, 2), [[8, 9]]],
    "images": [np.arange(12).reshape(2, 2, 3), np.arange(18).reshape(3, 2, 3)],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_padding_as_keras(name: str) -> None:
    keras = pytest.importorskip("keras")
    ends = ("pre", "post")
    grid = itertools.product((None, 1, 2, 3, 7), ("int32", "float32", np.int64, "int8"), ends, ends, (0.0, 2.75, 1))
    for options in grid:
        theirs, ours = keras.utils.pad_sequences(SAMPLES[name], *options), pad_sequences(SAMPLES[name], *options)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), options
        np.testing.assert_array_equal(ours, theirs, err_msg=str(options))


@pytest.mark.parametrize(
    "options", [{"dtype": object, "value": "-"}, {"dtype": object}, {"dtype": "U3", "value": "ab"}]
)
def test_strings_as_keras(options: dict[str, Any]) -> None:
    keras = pytest.importorskip("keras")
    words = [["one"], ["two", "three"], []]
    theirs, ours = keras.utils.pad_sequences(words, **options), pad_sequences(words, **options)
    assert ours.dtype == theirs.dtype and ours.tolist() == theirs.tolist()


REFUSED: dict[str, tuple[type[Exception], Any, dict[str, Any], str]] = {
    "padding": (SpecError, [[1]], {"padding": "left"}, "padding is 'left'; expected 'pre' or 'post'"),
    "truncating": (SpecError, [[1]], {"truncating": None}, "truncating is None; expected 'pre' or 'post'"),
    "dtype": (SpecError, [[1]], {"dtype": "int33"}, "dtype is 'int33'; expected a NumPy dtype"),
    "string": (SpecError, [[1]], {"value": "x"}, "value is 'x', dtype int32; expected dtype=object"),
    "value": (SpecError, [[1]], {"value": None}, "value is None; expected one of dtype int32"),
    "negative": (SpecError, [[1]], {"maxlen": -1}, "maxlen is -1; expected an integer of at least 0"),
    "fraction": (SpecError, [[1]], {"maxlen": 2.0}, "maxlen is 2.0; expected an integer"),
    "truth": (SpecError, [[1]], {"maxlen": True}, "maxlen is True; expected an integer"),
    "nothing": (InputError, [], {}, "no sequences; expected at least one, or a maxlen"),
    "iterator": (InputError, iter([[1]]), {}, "got list_iterator; expected a list of sequences"),
    "single": (InputError, [1, 2], {}, r"at position 0 is 1; expected a sequence\. .* give \[sequence\]"),
    "texts": (InputError, ["ab"], {}, "at position 0 is 'ab'; expected a list or array of steps"),
    "tokens": (InputError, [[1], ["a"]], {}, "the sequence at position 1: .*; expected steps .* of dtype int32"),
    "ragged": (InputError, [[[1, 2], [1]]], {}, "the sequence at position 0: .*; expected steps of one shape"),
    "features": (InputError, [[[1, 2]], [[1, 2, 3]]], {}, r"position 1 have shape \(3,\); expected \(2,\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_padding_refuses(name: str) -> None:
    error, sequences, options, message = REFUSED[name]
    with pytest.raises(error, match=message):
        pad_sequences(sequences, **options)


# Tokenizer


def test_words_are_numbered_by_frequency_then_appearance() -> None:
    tokenizer = fitted()
    assert tokenizer.word_index == INDEX and list(tokenizer.word_index) == list(INDEX)
    assert tokenizer.index_word == {index: word for word, index in INDEX.items()}
    assert list(tokenizer.word_counts.items()) == [
        ("the", 3), ("cat", 2), ("sat", 1), ("dog", 2), ("ran", 1), ("a", 2), ("end", 1),
    ]  # fmt: skip
    assert tokenizer.document_count == 2
    assert tokenizer.texts_to_sequences(["the end", "THE-bird\tran"]) == [[1, 7], [1, 6]]
    assert tokenizer.sequences_to_texts([[1, 7], [0, 6, 99]]) == ["the end", "ran"]


def test_fitting_again_adds_to_the_counts() -> None:
    tokenizer = fitted("b a")
    assert tokenizer.word_index == {"b": 1, "a": 2}
    tokenizer.fit_on_texts(["c a c", "c"])
    assert tokenizer.word_index == {"c": 1, "a": 2, "b": 3}
    assert tokenizer.word_counts == {"b": 1, "a": 2, "c": 3} and tokenizer.document_count == 3


def test_num_words_limits_what_is_encoded_not_what_is_known() -> None:
    tokenizer = fitted(num_words=3)
    assert tokenizer.word_index == INDEX
    assert tokenizer.texts_to_sequences(["the cat and the dog"]) == [[1, 2, 1]]
    assert tokenizer.sequences_to_texts([[1, 2, 3, 4]]) == ["the cat"]


def test_the_oov_token_is_1_and_stands_for_the_unknown_and_the_rare() -> None:
    tokenizer = fitted(num_words=4, oov_token="<oov>")
    assert tokenizer.word_index == {"<oov>": 1, **{word: index + 1 for word, index in INDEX.items()}}
    assert tokenizer.texts_to_sequences(["the cat and the dog"]) == [[2, 3, 1, 2, 1]]
    assert tokenizer.sequences_to_texts([[0, 2, 3, 4, 99]]) == ["<oov> the cat <oov> <oov>"]
    assert "<oov>" not in tokenizer.word_counts


def test_an_oov_token_in_the_texts_keeps_its_index() -> None:
    tokenizer = fitted(["a", "unk", "a"], ["b", "unk"], oov_token="unk", num_words=3)
    assert tokenizer.word_index == {"unk": 1, "a": 2, "b": 3}
    assert tokenizer.word_counts == {"a": 2, "unk": 2, "b": 1}
    assert tokenizer.texts_to_sequences([["a", "unk", "b", "c"]]) == [[2, 1, 1, 1]]


def test_token_lists_are_lowered_but_neither_filtered_nor_split() -> None:
    tokenizer = fitted(["New York!", "a"], ("new york!",))
    assert tokenizer.word_index == {"new york!": 1, "a": 2}
    assert fitted(["A", "a"], lower=False).word_index == {"A": 1, "a": 2}


def test_characters() -> None:
    tokenizer = fitted("Abba !", char_level=True)
    assert tokenizer.word_index == {"a": 1, "b": 2, " ": 3, "!": 4}
    assert tokenizer.texts_to_sequences("ab") == [[1], [2]]
    assert tokenizer.sequences_to_texts(np.array([[1.0, 2.0]])) == ["a b"]


def test_filters_and_split() -> None:
    assert fitted("a-b_,c,,d", filters="-", split=",").word_index == {"a": 1, "b_": 2, "c": 3, "d": 4}
    assert fitted("a-b. c", filters="").word_index == {"a-b.": 1, "c": 2}


@pytest.mark.parametrize("num_words", [None, 2, 4, 100])
@pytest.mark.parametrize("oov_token", [None, "<oov>"])
@pytest.mark.parametrize("char_level", [False, True])
@pytest.mark.parametrize("options", [{}, {"lower": False}, {"filters": "aE"}, {"split": "t"}])
def test_as_keras(num_words: int | None, oov_token: str | None, char_level: bool, options: dict[str, Any]) -> None:
    legacy = pytest.importorskip("keras.src.legacy.preprocessing.text")
    texts = [*TEXTS, "", "Die Straße\r\nist naß -- İstanbul", ["The", "cat sat", "Σ"], "the the the dog_dog"]
    unseen = ["the bird sat on a dog", ["the", "bird"], "", "E\tE"]
    arguments = {"num_words": num_words, "oov_token": oov_token, "char_level": char_level, **options}
    ours, theirs = Tokenizer(**arguments), legacy.Tokenizer(**arguments)
    for part in (texts[:2], texts[2:]):
        ours.fit_on_texts(part)
        theirs.fit_on_texts(part)
        for name in ("word_counts", "word_index", "index_word"):
            assert list(getattr(ours, name).items()) == list(getattr(theirs, name).items()), name
    assert ours.document_count == theirs.document_count
    assert ours.texts_to_sequences(texts + unseen) == theirs.texts_to_sequences(texts + unseen)
    numbers = [[0, 1, 2, 3, 4], [], [5, 1000]]
    assert ours.sequences_to_texts(numbers) == theirs.sequences_to_texts(numbers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_words": 0}, "num_words is 0; expected an integer of at least 1"),
        ({"num_words": 1, "oov_token": "?"}, "num_words is 1; expected an integer of at least 2"),
        ({"num_words": True}, "num_words is True; expected an integer"),
        ({"num_words": 10.0}, "num_words is 10.0; expected an integer"),
        ({"filters": None}, "filters is None; expected a str"),
        ({"lower": 1}, "lower is 1; expected a bool"),
        ({"split": None}, "split is None; expected a str"),
        ({"split": ""}, "split is ''; expected at least one character, or char_level=True"),
        ({"char_level": "no"}, "char_level is 'no'; expected a bool"),
        ({"oov_token": 1}, "oov_token is 1; expected a str or None"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Tokenizer(**options)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("the cat", r"got one string; expected a list of texts\. For a single text give \[text\]"),
        (3, "got int; expected a list of texts"),
        (["new", None], "at position 1 is None; expected a string or a list of strings"),
        (["new", b"x"], "at position 1 is b'x'; expected a string or a list of strings"),
        (["new", ["a", 1]], "a token at position 1 is 1; expected a string"),
    ],
)
def test_wrong_texts_change_nothing(texts: Any, message: str) -> None:
    tokenizer = fitted()
    for method in (tokenizer.fit_on_texts, tokenizer.texts_to_sequences):
        with pytest.raises(InputError, match=message):
            method(texts)
    assert tokenizer == fitted()


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (3, "got 3; expected a list of sequences"),
        ([[1], 2], "at position 1 is 2; expected a sequence of indices"),
        (["12"], "at position 0 is '12'; expected a sequence of indices"),
        ([[1.5]], "an index is 1.5; expected a whole number"),
        ([["the"]], "an index is 'the'; expected a whole number"),
        ([[float("inf")]], "an index is inf; expected a whole number"),
    ],
)
def test_wrong_sequences(sequences: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted().sequences_to_texts(sequences)


def test_nothing_is_encoded_before_fitting() -> None:
    tokenizer = Tokenizer(oov_token="?")
    for method in (tokenizer.texts_to_sequences, tokenizer.sequences_to_texts):
        with pytest.raises(InputError, match="no text was seen yet; expected fit_on_texts first"):
            method([])


# JSON


def test_the_json_is_as_documented() -> None:
    assert json.loads(fitted("b a b", num_words=np.int64(5), oov_token="?").to_json()) == {
        "format": "lstmcore.text.Tokenizer",
        "version": 1,
        "config": {
            "num_words": 5,
            "filters": '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n',
            "lower": True,
            "split": " ",
            "char_level": False,
            "oov_token": "?",
        },
        "document_count": 1,
        "word_counts": [["b", 2], ["a", 1]],
    }


@pytest.mark.parametrize("options", [{}, {"num_words": 3, "oov_token": "é", "lower": False}, {"char_level": True}])
def test_json_brings_it_back(options: dict[str, Any]) -> None:
    tokenizer = fitted(*TEXTS, "naïve \ud800 日本", **options)
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again == tokenizer and list(again.word_index.items()) == list(tokenizer.word_index.items())
    for each in (tokenizer, again):
        each.fit_on_texts(["ran ran end zebra sat"])
    assert list(again.word_counts) == list(tokenizer.word_counts) and again.word_index == tokenizer.word_index


def test_json_of_an_unfitted_one() -> None:
    assert Tokenizer.from_json(Tokenizer(oov_token="?").to_json()) == Tokenizer(oov_token="?")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, r"has format 'x', version 1; expected 'lstmcore.text.Tokenizer', version 1"),
        ({"version": 2}, "version 2; expected"),
        ({"version": True}, "version True; expected"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"config": None}, "config is None; expected an object"),
        ({"config": {}}, "no key 'num_words'; expected num_words, filters"),
        ({"config": {"num_word": 3}}, "unknown key 'num_word'. Did you mean 'num_words'"),
        ({"document_count": -1}, "document_count is -1; expected an integer of at least 0"),
        ({"document_count": 0}, "document_count is 0, yet there are words"),
        ({"document_count": 1.0}, "document_count is 1.0; expected an integer"),
        ({"word_counts": {"a": 1}}, r"in word_counts is \{'a': 1\}; expected \[word, count\]"),
        ({"word_counts": [["a", 1], ["a", 2]]}, r"in word_counts is \['a', 2\]; .* each word once"),
        ({"word_counts": [["a"]]}, r"in word_counts is \['a'\]"),
        ({"word_counts": [[1, 1]]}, r"in word_counts is \[1, 1\]"),
        ({"word_counts": [["a", 0]]}, "the count of 'a' is 0; expected an integer of at least 1"),
        ({"word_counts": [["a", True]]}, "the count of 'a' is True; expected an integer"),
    ],
)
def test_altered_json(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Tokenizer.from_json(json.dumps({**json.loads(fitted().to_json()), **change}))


@pytest.mark.parametrize("key", ["config", "document_count", "word_counts"])
def test_a_missing_key(key: str) -> None:
    data = json.loads(fitted().to_json())
    del data[key]
    with pytest.raises(SpecError, match=f"no key '{key}'; expected format, version"):
        Tokenizer.from_json(json.dumps(data))


def test_a_config_is_checked_as_arguments_are() -> None:
    with pytest.raises(SpecError, match="lower is 'yes'; expected a bool"):
        Tokenizer.from_json(fitted().to_json().replace('"lower": true', '"lower": "yes"'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{}", "is bytes; expected a string"),
        ("", "not the JSON of a Tokenizer: Expecting value"),
        ("[]", "not the JSON of a Tokenizer: list; expected an object"),
        ("[" * 100_000, "not the JSON of a Tokenizer"),
        ('{"format": 1, "format": 1}', "a key is there twice"),
        ('{"class_name": "Tokenizer", "config": {}}', "has format None, version None; expected"),
    ],
)
def test_other_json(text: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Tokenizer.from_json(text)
