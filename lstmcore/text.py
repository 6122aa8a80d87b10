"""Texts as sequences of integers: `Tokenizer` and `pad_sequences`, in Keras' manner.

::

    tokenizer = Tokenizer(num_words=10_000, oov_token="<oov>")
    tokenizer.fit_on_texts(texts)
    x = pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=80)  # (texts, 80), for an Embedding(10_000, ...)
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lstmcore.errors import InputError, SpecError, near

__all__ = ["Tokenizer", "pad_sequences"]

_ENDS = ("pre", "post")
_FORMAT, _VERSION = "lstmcore.text.Tokenizer", 1
_UNFIT = (IndexError, KeyError, OverflowError, TypeError, ValueError)


def pad_sequences(
    sequences: Sequence[Any] | NDArray[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Sequences of different lengths as one array, padded with `value` or cut to `maxlen` steps.

    Args:
        sequences: (samples), each of (steps) or (steps, ...); only the number of steps may differ.
        maxlen: the number of steps of the result; None: that of the longest sequence.
        dtype: of the result; `object` for strings of any length.
        padding: "pre" or "post": where the padding goes.
        truncating: "pre" or "post": where a sequence that is too long is cut.
        value: what to pad with.

    Returns:
        Array of (samples, maxlen) or (samples, maxlen, ...).

    Raises:
        SpecError: an option is not one of the above, or `value` is not of the dtype.
        InputError: a sequence has no length, holds what is not of the dtype, or has steps of another shape than
            those of the first sequence that is not empty; there is no sequence, and no `maxlen`.

    Source: keras.utils.pad_sequences of Keras 3.15, measured. Unlike there, ``maxlen=0`` cuts everything for both
    values of `truncating` (there "pre" fails).
    """
    for name, end in (("padding", padding), ("truncating", truncating)):
        if end not in _ENDS:
            raise SpecError(f"pad_sequences: {name} is {end!r}; expected 'pre' or 'post'")
    lengths = _lengths(sequences)
    steps = _steps(maxlen, lengths)
    step_shape = next((_array(s, None, i).shape[1:] for i, s in enumerate(sequences) if lengths[i]), ())
    padded = _filled((len(lengths), steps, *step_shape), value, dtype)
    for position, sequence in enumerate(sequences):
        kept = min(lengths[position], steps)
        if not kept:
            continue
        cut = slice(-kept, None) if truncating == "pre" else slice(kept)
        array = _array(sequence, padded.dtype, position, cut)
        if array.shape[1:] != step_shape:
            raise InputError(
                f"pad_sequences: the steps of the sequence at position {position} have shape {array.shape[1:]}; "
                f"expected {step_shape}, as in the first sequence that is not empty"
            )
        padded[position, slice(-kept, None) if padding == "pre" else slice(kept)] = array
    return padded


def _lengths(sequences: Any) -> list[int]:
    if not hasattr(sequences, "__len__"):
        raise InputError(f"pad_sequences: got {type(sequences).__name__}; expected a list of sequences")
    return [_length(sequence, position) for position, sequence in enumerate(sequences)]


def _length(sequence: Any, position: int) -> int:
    try:
        return len(sequence)
    except TypeError:
        raise InputError(
            f"pad_sequences: at position {position} is {sequence!r}; expected a sequence. "
            f"For a single sequence give [sequence]."
        ) from None


def _steps(maxlen: int | None, lengths: list[int]) -> int:
    if maxlen is None:
        if not lengths:
            raise InputError("pad_sequences: no sequences; expected at least one, or a maxlen")
        return max(lengths)
    return _integer("pad_sequences: maxlen", maxlen, 0)


def _array(sequence: Any, dtype: DTypeLike | None, position: int, cut: slice = slice(None)) -> NDArray[Any]:
    try:
        array = np.asarray(sequence[cut], dtype=dtype)
    except _UNFIT as error:
        expected = "steps of one shape" if dtype is None else f"steps of one shape and of dtype {dtype}"
        raise InputError(f"pad_sequences: the sequence at position {position}: {error}; expected {expected}") from None
    if not array.ndim:
        raise InputError(f"pad_sequences: at position {position} is {sequence!r}; expected a list or array of steps")
    return array


def _filled(shape: tuple[int, ...], value: Any, dtype: DTypeLike) -> NDArray[Any]:
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise SpecError(f"pad_sequences: dtype is {dtype!r}; expected a NumPy dtype ({error})") from None
    if isinstance(value, str) and kind.kind not in "OSU":
        raise SpecError(f"pad_sequences: value is {value!r}, dtype {kind}; expected dtype=object for strings")
    try:
        return np.full(shape, value, dtype=kind)
    except (OverflowError, TypeError, ValueError) as error:
        raise SpecError(f"pad_sequences: value is {value!r}; expected one of dtype {kind} ({error})") from None


@dataclass
class Tokenizer:
    """Words, or characters, numbered by how often they occur.

    The most frequent word has index 1, or 2 where there is an `oov_token`, whose index is always 1; of equally frequent
    words the one seen first comes first. Index 0 is no word's: it is for padding.

    Args:
        num_words: indices below this one are used: the ``num_words - 1`` most frequent words, `oov_token` among them;
            None: all. An ``Embedding(num_words, ...)`` fits. `word_index` holds all words anyway.
        filters: characters that separate words just as `split` does.
        lower: whether to lower the case of texts and tokens.
        split: what separates words.
        char_level: whether every character of a text is a word; nothing is then filtered or split.
        oov_token: stands for every word that is unknown or beyond `num_words`; None: such words are left out.

    Attributes:
        word_counts: word -> how often it was seen, in order of first appearance.
        word_index: word -> index, by index.
        index_word: index -> word.
        document_count: the number of texts seen.

    A text is a string, or a list (or tuple) of tokens, which are neither filtered nor split.

    Raises:
        SpecError: an argument is of another type, `num_words` leaves no room, or `split` is empty.

    Source: the Tokenizer of Keras 2, kept in Keras 3.15 as keras.src.legacy, measured. Unlike there, an `oov_token`
    that occurs in the texts keeps index 1 and is not listed twice, and nothing is encoded before a text was seen.
    """

    num_words: int | None = None
    filters: str = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
    lower: bool = True
    split: str = " "
    char_level: bool = False
    oov_token: str | None = None
    word_counts: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    word_index: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    index_word: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    document_count: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, kind in (("filters", str), ("lower", bool), ("split", str), ("char_level", bool)):
            if not isinstance(getattr(self, name), kind):
                raise SpecError(f"Tokenizer: {name} is {getattr(self, name)!r}; expected a {kind.__name__}")
        if not isinstance(self.oov_token, str | None):
            raise SpecError(f"Tokenizer: oov_token is {self.oov_token!r}; expected a str or None")
        if not self.split:
            raise SpecError("Tokenizer: split is ''; expected at least one character, or char_level=True")
        if self.num_words is not None:
            self.num_words = _integer("Tokenizer: num_words", self.num_words, 1 if self.oov_token is None else 2)

    def fit_on_texts(self, texts: Iterable[str | Sequence[str]]) -> None:
        """Counts the words of more texts, and numbers all words anew.

        Raises:
            InputError: `texts` is one string (but for `char_level`, where each of its characters is a text) or holds
                something that is not a text; nothing is then counted.
        """
        counts, documents = dict(self.word_counts), self.document_count
        for tokens in self._tokenized(texts):
            documents += 1
            for token in tokens:
                counts[token] = counts.get(token, 0) + 1
        self._number(counts, documents)

    def texts_to_sequences(self, texts: Iterable[str | Sequence[str]]) -> list[list[int]]:
        """The indices of the words of each text: one list a text, of at most as many indices as it has words.

        Raises:
            InputError: as `fit_on_texts`, or no text was seen yet.
        """
        self._check_fitted()
        oov = self._oov()
        indices = {word: index for index, word in self._used().items()}
        encoded = ([indices.get(token, oov) for token in tokens] for tokens in self._tokenized(texts))
        return [[index for index in row if index is not None] for row in encoded]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of each sequence, joined by blanks.

        An index that is no word's, the 0 of padding too, gives `oov_token`, or nothing where there is none.

        Raises:
            InputError: an index is not a whole number, a sequence is none, or no text was seen yet.
        """
        self._check_fitted()
        words, missing = self._used(), self.oov_token
        decoded = ([words.get(index, missing) for index in _indices(sequence)] for sequence in _each(sequences))
        return [" ".join(word for word in row if word is not None) for row in decoded]

    def to_json(self) -> str:
        """This tokenizer as JSON, for `from_json`.

        An object of exactly these keys: "format", which is "lstmcore.text.Tokenizer"; "version", 1; "config", an
        object of the arguments; "document_count"; "word_counts", a list of ``[word, count]`` in order of first
        appearance, from which the indices follow.
        """
        return json.dumps(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "config": {name: getattr(self, name) for name in _CONFIG},
                "document_count": self.document_count,
                "word_counts": [[word, count] for word, count in self.word_counts.items()],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer that `to_json` wrote.

        Raises:
            SpecError: it is not JSON, not this format or version, or a key is missing, unknown, twice there or damaged.
        """
        data = _parse(text)
        if data.get("format") != _FORMAT or data.get("version") is True or data.get("version") != _VERSION:
            raise SpecError(
                f"the JSON of a Tokenizer has format {data.get('format')!r}, version {data.get('version')!r}; "
                f"expected {_FORMAT!r}, version {_VERSION}, as Tokenizer.to_json writes it"
            )
        _check_keys(data, ("format", "version", "config", "document_count", "word_counts"))
        config = data["config"]
        if not isinstance(config, dict):
            raise SpecError(f"the JSON of a Tokenizer: config is {config!r}; expected an object")
        _check_keys(config, _CONFIG)
        documents = _integer("the JSON of a Tokenizer: document_count", data["document_count"], 0)
        counts = _read_counts(data["word_counts"])
        if counts and not documents:
            raise SpecError("the JSON of a Tokenizer: document_count is 0, yet there are words; expected at least 1")
        tokenizer = cls(**config)
        if documents:
            tokenizer._number(counts, documents)
        return tokenizer

    def _number(self, counts: dict[str, int], documents: int) -> None:
        first = [] if self.oov_token is None else [self.oov_token]
        ranked = sorted(counts, key=counts.__getitem__, reverse=True)
        words = first + [word for word in ranked if word != self.oov_token]
        self.word_counts, self.document_count = counts, documents
        self.index_word = dict(enumerate(words, 1))
        self.word_index = {word: index for index, word in self.index_word.items()}

    def _used(self) -> dict[int, str]:
        limit = self.num_words
        return {index: word for index, word in self.index_word.items() if limit is None or index < limit}

    def _oov(self) -> int | None:
        return None if self.oov_token is None else self.word_index[self.oov_token]

    def _check_fitted(self) -> None:
        if not self.document_count:
            raise InputError("Tokenizer: no text was seen yet; expected fit_on_texts first")

    def _tokenized(self, texts: Iterable[Any]) -> Iterator[list[str]]:
        if isinstance(texts, str) and not self.char_level:
            raise InputError("Tokenizer: got one string; expected a list of texts. For a single text give [text].")
        if not isinstance(texts, Iterable):
            raise InputError(f"Tokenizer: got {type(texts).__name__}; expected a list of texts")
        for position, text in enumerate(texts):
            yield self._tokens(text, position)

    def _tokens(self, text: Any, position: int) -> list[str]:
        if isinstance(text, (list, tuple)):
            for token in text:
                if not isinstance(token, str):
                    raise InputError(f"Tokenizer: a token at position {position} is {token!r}; expected a string")
            return [token.lower() for token in text] if self.lower else list(text)
        if not isinstance(text, str):
            raise InputError(f"Tokenizer: at position {position} is {text!r}; expected a string or a list of strings")
        text = text.lower() if self.lower else text
        if self.char_level:
            return list(text)
        separated = text.translate(str.maketrans(dict.fromkeys(self.filters, self.split)))
        return [word for word in separated.split(self.split) if word]


_CONFIG = tuple(f.name for f in fields(Tokenizer) if f.init)


def _integer(what: str, number: Any, least: int) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        whole = least - 1
    if whole < least or isinstance(number, bool):
        raise SpecError(f"{what} is {number!r}; expected an integer of at least {least}")
    return whole


def _each(sequences: Any) -> Iterator[Any]:
    if not isinstance(sequences, Iterable):
        raise InputError(f"Tokenizer: got {sequences!r}; expected a list of sequences of indices")
    for position, sequence in enumerate(sequences):
        if not isinstance(sequence, Iterable) or isinstance(sequence, str):
            raise InputError(f"Tokenizer: at position {position} is {sequence!r}; expected a sequence of indices")
        yield sequence


def _indices(sequence: Iterable[Any]) -> Iterator[int]:
    for index in sequence:
        if not isinstance(index, (int, float, np.integer, np.floating)) or not float(index).is_integer():
            raise InputError(f"Tokenizer: an index is {index!r}; expected a whole number")
        yield int(index)


def _parse(text: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        raise SpecError(f"the JSON of a Tokenizer is {type(text).__name__}; expected a string")
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not the JSON of a Tokenizer: {error}") from None
    if not isinstance(data, dict):
        raise SpecError(f"not the JSON of a Tokenizer: {type(data).__name__}; expected an object")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a key is there twice")
    return data


def _check_keys(data: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in data:
        if key not in known:
            raise SpecError(f"the JSON of a Tokenizer: unknown key {key!r}.{near(key, known)}")
    if missing := [key for key in known if key not in data]:
        raise SpecError(f"the JSON of a Tokenizer: no key {missing[0]!r}; expected {', '.join(known)}")


def _read_counts(pairs: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or pair[0] in counts:
            raise SpecError(
                f"the JSON of a Tokenizer: in word_counts is {pair!r}; expected [word, count], each word once"
            )
        counts[pair[0]] = _integer(f"the JSON of a Tokenizer: the count of {pair[0]!r}", pair[1], 1)
    return counts
