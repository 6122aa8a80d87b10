"""The kinds of option a layer can have: how each is checked, and how it is written to a config.

A layer declares ``units: int = option(POSITIVE)``; checks, ``get_config`` and ``from_config`` follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lstmcore import activations, configs, constraints, initializers, regularizers
from lstmcore.errors import SpecError
from lstmcore.layers.module import Module
from lstmcore.random import SeedGenerator, check_seed

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform as dataclass_transform
else:

    def dataclass_transform(**_):
        """Only type checkers need the real one, and they bring it."""
        return lambda function: function


T = TypeVar("T")


def _as_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Option:
    """One kind: ``read`` checks and normalises (ValueError or SpecError), ``write`` gives the JSON value."""

    expected: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = _as_is


def option(
    kind: Option, *, default: Any = MISSING, config: bool = True, omit: bool = False, kw_only: bool = False
) -> Any:
    """A dataclass field of that kind. ``config=False``: not a config key; ``omit``: only when not the default."""
    metadata = {"kind": kind, "config": config, "omit": omit}
    if default is MISSING:
        return field(metadata=metadata, kw_only=kw_only)
    return field(default=default, metadata=metadata, kw_only=kw_only)


def _refuse_change(self: object, name: str, value: object) -> None:
    raise SpecError(
        f"a {type(self).__name__} is a description and does not change: cannot assign {name!r}. "
        f"Make a new one with {name}={value!r}."
    )


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(option,))
def spec(cls: type[T]) -> type[T]:
    """Makes a layer class of one whose fields are options: frozen, compared by identity."""
    made = dataclass(frozen=True, eq=False, repr=False)(cls)
    made.__setattr__ = _refuse_change  # type: ignore[method-assign]  # the dataclass' own does not say what to do
    return made


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError
    return int(value)


def _positive(value: Any) -> int:
    number = _integer(value)
    if not 0 < number < 2**31:
        raise ValueError
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError
    return bool(value)


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise ValueError
    return float(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < float("inf"):
        raise ValueError
    return float(value)


def _lengths(value: Any) -> tuple[int, ...]:
    return tuple(_positive(n) for n in ((value,) if isinstance(value, (int, np.integer)) else value))


def _target_shape(value: Any) -> tuple[int, ...]:
    lengths = tuple(_integer(n) for n in ((value,) if isinstance(value, (int, np.integer)) else value))
    if any(n < 1 and n != -1 for n in lengths) or lengths.count(-1) > 1:
        raise ValueError
    return lengths


def _length(value: Any) -> tuple[int]:
    (length,) = value if isinstance(value, (list, tuple)) else (value,)
    return (_positive(length),)


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, (list, tuple)) else (value, value)
    pair = _integer(first), _integer(second)
    if not all(0 <= n < 2**31 for n in pair):
        raise ValueError
    return pair


def _axes(value: Any) -> int | tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        return _integer(value)
    if not value:
        raise ValueError
    return tuple(map(_integer, value))


def _axes_tuple(value: Any) -> tuple[int, ...]:
    return several(_axes(value))


def _shared_axes(value: Any) -> tuple[int, ...]:
    return tuple(map(_positive, several(value)))


def several(value: Any) -> tuple[Any, ...]:
    """One or a sequence of them as a tuple."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _as_list(value: Any) -> Any:
    return [_as_list(entry) for entry in value] if isinstance(value, tuple) else value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not abs(value) < float("inf"):
        raise ValueError
    return value if isinstance(value, (int, float)) else value.item()


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tuple__"):  # Keras' forms
        value = value["config"]["value"]
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(value, (list, tuple)):
        return _finite(value)
    numbers = tuple(map(_numbers, value))
    if 0 in np.shape(numbers):  # which raises where rows are of different lengths
        raise ValueError
    return numbers


def _optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


MAX_NAME = 512
"""The most characters of a name: a weight file has room for no more."""


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or "/" in value or not value.isprintable():
        raise ValueError
    return value


def _absent(value: Any) -> None:
    if value is not None:
        raise ValueError


def _noise_shape(value: Any) -> tuple[int | None, ...]:
    return tuple(_optional(_positive)(n) for n in value)


def _seed(value: Any) -> Any:
    return value if isinstance(value, SeedGenerator) else check_seed(value)


def _write_seed(value: Any) -> Any:
    return value.seed if isinstance(value, SeedGenerator) else value


def _arrays(value: Any) -> list[Any]:
    arrays = [np.asarray(array) for array in value]
    if any(array.dtype.kind not in "fiub" for array in arrays):
        raise ValueError
    return arrays


def _shape(value: Any) -> tuple[int | None, ...]:
    sequence = (value,) if isinstance(value, (int, np.integer)) else tuple(value)
    return tuple(None if n is None else _positive(n) for n in sequence)


FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64", "uint8", "int8", "uint16", "int16")


def _dtype(value: Any) -> str:
    if value is None:
        return "float32"
    if isinstance(value, Mapping):  # Keras' dtype policy
        name, config = configs.unwrap(value, "dtype policy")
        value = config["name"] if name in ("DTypePolicy", "Policy") and "name" in config else value
    name = value if isinstance(value, str) else np.dtype(value).name
    if name not in FLOATS:
        raise ValueError
    return name


def _write_dtype(name: str) -> dict[str, Any]:
    return configs.wrap("keras", "DTypePolicy", {"name": name})


def _input_dtype(value: Any) -> str:
    name = value if isinstance(value, str) else np.dtype(value).name
    if name not in (*FLOATS, *INTEGERS, "bool"):
        raise ValueError
    return name


def _layer(value: Any) -> Module:
    if isinstance(value, Mapping):
        from lstmcore.layers.serialization import deserialize

        value = deserialize(value)
    if not isinstance(value, Module):
        raise ValueError
    return value


def _write_layer(value: Module | None) -> Any:
    return None if value is None else value.serialize()


def _layers(value: Any) -> tuple[Module, ...]:
    return tuple(_layer(entry) for entry in value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(entry) for key, entry in value.items()}
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError
    return value


def choice(*values: Any) -> Option:
    """One of a few values."""

    def read(value: Any) -> Any:
        if not any(value is v or (value == v and type(value) is type(v)) for v in values):
            raise ValueError
        return value

    listed = ", ".join(map(repr, values))
    return Option(f"one of {listed}" if len(values) > 1 else listed, read)


def word(*words: str) -> Option:
    """One of a few words, in any case."""
    plain = choice(*words)
    return Option(plain.expected, lambda value: plain.read(value.lower() if isinstance(value, str) else value))


def _data_format(value: Any) -> Any:
    return word("channels_last", "channels_first").read("channels_last" if value is None else value)


POSITIVE = Option("a positive integer below 2^31", _positive)
FLAG = Option("True or False", _flag)
INTEGER = Option("an integer", _integer)
NON_NEGATIVE = Option("a number that is not negative", _number)
OPTIONAL_NON_NEGATIVE = Option("None or a number that is not negative", _optional(_number))
LENGTHS = Option("a tuple of positive integers", _lengths, list)
OPTIONAL_LENGTHS = Option(f"None or {LENGTHS.expected}", _optional(_lengths), _as_list)
LENGTH = Option("a positive integer, alone or in a tuple", _length, list)
OPTIONAL_LENGTH = Option(f"None or {LENGTH.expected}", _optional(_length), list)
PAIR = Option("an integer that is not negative, or two of them", _pair, list)
AXES = Option("an integer or a list of integers", _axes, _as_list)
OPTIONAL_AXES = Option("None, an integer or a tuple of integers", _optional(_axes_tuple), _as_list)
SHARED_AXES = Option("None, or axes counted from 1", _optional(_shared_axes), _as_list)
FINITE = Option("a finite number", _finite)
NUMBERS = Option("a finite number, or lists of them of one length", _numbers, _as_list)
DATA_FORMAT = Option("one of 'channels_last', 'channels_first', None", _data_format)
TARGET_SHAPE = Option("a tuple of positive integers, one of them perhaps -1", _target_shape, list)
RATE = Option("a number from 0 to 1", _rate)
SEED = Option("None, a non-negative integer or a SeedGenerator", _optional(_seed), _write_seed)
NAME = Option(f"a name without '/', of at most {MAX_NAME} characters", _optional(_name))
DTYPE = Option("'float32' or 'float64'", _dtype, _write_dtype)
PLAIN_DTYPE = Option(DTYPE.expected, _dtype)
INPUT_DTYPE = Option("the name of a float, integer or bool dtype", _optional(_input_dtype))
COUNT = Option("None or a positive integer", _optional(_positive))
SHAPE = Option("a tuple of positive integers and None", _optional(_shape))
NOISE_SHAPE = Option("None or a tuple of positive integers and None", _optional(_noise_shape))
ABSENT = Option("None: lstmcore has no such feature", _absent)
ACTIVATION = Option("an activation", activations.get, activations.serialize)
INITIALIZER = Option("an initializer", initializers.get, initializers.serialize)
REGULARIZER = Option("a regularizer", regularizers.get, regularizers.serialize)
CONSTRAINT = Option("a constraint", constraints.get, constraints.serialize)
ARRAYS = Option("None or a list of arrays", _optional(_arrays))


LAYER = Option("a layer", _layer, _write_layer)
OPTIONAL_LAYER = Option("None or a layer", _optional(_layer), _write_layer)
LAYERS = Option("a list of layers", _layers, lambda layers: [layer.serialize() for layer in layers])
PLAIN = Option("None, a number, a text, True or False, or a list or dict of these", _plain)


def checked(owner: str, name: str, kind: Option, value: Any) -> Any:
    """The option's normalised value; SpecError says what was given and what was expected."""
    try:
        return kind.read(value)
    except SpecError as error:
        raise SpecError(f"{owner}: {name}: {error}") from None
    except (ValueError, TypeError, KeyError):
        raise SpecError(f"{owner}: {name} is {value!r}; expected {kind.expected}") from None
