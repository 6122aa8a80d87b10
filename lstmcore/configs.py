"""The dicts in which Keras writes its objects: {"module", "class_name", "config", "registered_name"}."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import SpecError, near
from lstmcore.random import SeedGenerator

Config = dict[str, Any]
T = TypeVar("T")

_OWN_MODULE = re.compile(r"(tensorflow\.(python\.)?)?(tf_)?keras(\.|$)")

# shared_object_id says which objects of a model were one and the same: for values it means nothing
_KEYS = ("class_name", "config", "module", "registered_name", "shared_object_id")


def wrap(module: str, class_name: str, config: Config) -> Config:
    """What Keras 3 writes for an object of its own."""
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def unwrap(wrapped: Mapping[str, Any], kind: str) -> tuple[Any, Config]:
    """The class name in `wrapped`, and its config as it stands.

    Keras 2 wrote only "class_name" and "config".

    Args:
        wrapped: what Keras wrote.
        kind: such as "initializer", for messages.

    Raises:
        SpecError: it is something else, or an object of the user's own class. Nothing is ever imported.
    """
    config = wrapped.get("config")
    if "class_name" not in wrapped or set(wrapped) - set(_KEYS) or not isinstance(config or {}, Mapping):
        raise SpecError(f"{dict(wrapped)!r} is not the config of a Keras {kind}; expected a dict of {_KEYS}.")
    name, module = wrapped["class_name"], wrapped.get("module", "keras")
    if not _OWN_MODULE.match(str(module)) or wrapped.get("registered_name") not in (None, name):
        raise SpecError(
            f"The {kind} {name!r} of module {module!r} is not one of Keras' own, so its config does not say "
            f"what it does; replace it."
        )
    return name, dict(config or {})


def lookup(name: object, table: Mapping[str, T], kind: str) -> T:
    """The entry of a table of classes; SpecError lists those there are."""
    if not isinstance(name, str) or name not in table:
        raise SpecError(f"Unknown {kind} {name!r}.{near(name, table)}")
    return table[name]


def read(identifier: object, table: Mapping[str, type[T]], kind: str, obsolete: Sequence[str] = ()) -> T:
    """One of the frozen dataclasses of a table, wherever Keras takes one.

    Args:
        identifier: an object or a class of the table, a name in it, or what `write` or Keras writes.
        table: name -> class; the fields of a class are its config keys.
        kind: such as "regularizer", for messages.
        obsolete: config keys of older Keras that say nothing any more.

    Raises:
        SpecError: it is none of these, or names a class or a config key that does not exist.
    """
    classes = tuple(set(table.values()))
    if isinstance(identifier, classes):
        return identifier
    if isinstance(identifier, type) and identifier in classes:
        return identifier()
    if isinstance(identifier, str):
        return lookup(identifier, table, kind)()
    if not isinstance(identifier, Mapping):
        raise SpecError(f"{identifier!r} is no {kind}; expected an object, a name or a config.{near('', table)}")
    name, config = unwrap(identifier, kind)
    cls = lookup(name, table, kind)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # the tables hold dataclasses
    config = {key: value for key, value in config.items() if key not in obsolete}
    for key in config:
        if key not in known:
            raise SpecError(f"{name}: unknown config key {key!r}.{near(key, known)}")
    return cls(**{key: decode(value) for key, value in config.items()})


def write(module: str, value: Any) -> Config:
    """What Keras writes for a frozen dataclass whose fields are its config."""
    config = {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    return wrap(module, type(value).__name__, config)


def encode(value: object) -> object:
    """A value as Keras writes it in a config."""
    if isinstance(value, SeedGenerator):
        return wrap("keras.random", "SeedGenerator", {"seed": value.seed, "name": value.name})
    if isinstance(value, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": value.dtype.name}}
    return list(value) if isinstance(value, tuple) else value


def decode(value: object) -> object:
    """The value that Keras wrote so in a config.

    Raises:
        SpecError: a nested object is of a class not known here, or damaged.
    """
    if not isinstance(value, Mapping):
        return value
    decoder = _DECODERS.get(str(value.get("class_name")))
    if decoder is None:
        raise SpecError(f"Cannot read {dict(value)!r} in a config.{near('', _DECODERS)}")
    try:
        return decoder(**value["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(f"Cannot read {dict(value)!r} in a config: {error}") from error


def _array(value: Any, dtype: str) -> NDArray[Any]:
    return np.array(value, dtype=dtype)


_DECODERS: dict[str, Callable[..., object]] = {
    "SeedGenerator": SeedGenerator,
    "__numpy__": _array,
    "__tensor__": _array,
}
