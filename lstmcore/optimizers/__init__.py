"""Optimisers with Keras 3.15's names, defaults, formulas and configs; the formulas run on every engine's tensors.

An optimiser is a description. Its state, the slots of each weight, goes in and comes out::

    optimizer = Adam(0.01, clipnorm=1.0)
    slots = {name: optimizer.slots(w.shape, w.dtype) for name, w in weights.items()}
    scalars = numpy_scalars(optimizer.scalars(step), "float32")
    weights, slots = optimizer.apply(NUMPY, weights, gradients, slots, scalars)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lstmcore import configs
from lstmcore.errors import SpecError, near
from lstmcore.optimizers import schedules
from lstmcore.optimizers.base import Optimizer
from lstmcore.optimizers.maths import NUMPY, Maths, numpy_scalars
from lstmcore.optimizers.rules import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Nadam, RMSprop

_CLASSES: tuple[type[Optimizer], ...] = (SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, Nadam)
OPTIMIZERS: dict[str, type[Optimizer]] = {cls.__name__.lower(): cls for cls in _CLASSES}

# Keras 2 wrote them; they say nothing about what is computed
_OBSOLETE = ("jit_compile", "is_legacy_optimizer")


def get(identifier: object) -> Optimizer:
    """An optimiser from an object, a class, a name in any case, or Keras' serialized form.

    Raises:
        SpecError: it is none of these, or its config does not fit.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier()
    if isinstance(identifier, str):
        return configs.lookup(identifier.lower(), OPTIMIZERS, "optimizer")()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    raise SpecError(f"{identifier!r} is no optimizer; expected an object, a name or a config.{near('', OPTIMIZERS)}")


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """Keras' serialized form; SpecError for one of the user's own, or whose rate is the user's own function."""
    if type(optimizer) not in _CLASSES:
        raise SpecError(f"{optimizer!r} is not one of Keras' optimizers, so no config can say what it does.")
    return configs.wrap("keras.optimizers", type(optimizer).__name__, optimizer.config())


def deserialize(config: Mapping[str, Any]) -> Optimizer:
    """An optimiser from what `serialize` or Keras wrote; SpecError."""
    name, arguments = configs.unwrap(config, "optimizer")
    known = configs.lookup(str(name).lower(), OPTIMIZERS, "optimizer")
    rate = arguments.get("learning_rate")
    if isinstance(rate, Mapping):
        arguments["learning_rate"] = schedules.deserialize(rate)
    if arguments.pop("decay", None):
        raise SpecError(f"{name}: decay is not in Keras 3; give learning_rate=InverseTimeDecay(...) instead.")
    for key in _OBSOLETE:
        arguments.pop(key, None)
    keys = [f.name for f in fields(known)]
    for key in arguments:
        if key not in keys:
            raise SpecError(f"{known.__name__}: unknown config key {key!r}.{near(key, keys)}")
    return known(**arguments)


__all__ = [
    "NUMPY",
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Maths",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "numpy_scalars",
    "schedules",
    "serialize",
]
