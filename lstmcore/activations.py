"""The activation functions, by Keras 3's names: which exist, their parameters, what they compute.

A `Function` is a name with its parameters filled in; every backend holds a table from name to its
own way of computing it. Formulas and defaults: Keras 3.15, measured; ``hard_sigmoid_0_2`` is the
``hard_sigmoid`` of Keras 1 and 2, which differs from Keras 3's.

==================  ==============================================================================
celu                max(x, 0) + alpha (exp(min(x, 0) / alpha) - 1)
elu                 x where x >= 0, else alpha (exp(x) - 1)
exponential         exp(x)
gelu                x Φ(x); approximate: x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))
glu                 a σ(b), where a and b are the two halves of the axis
hard_shrink         x where |x| > threshold, else 0
hard_sigmoid        clip(x/6 + 1/2, 0, 1)
hard_sigmoid_0_2    clip(0.2 x + 0.5, 0, 1)
hard_silu           x hard_sigmoid(x)
hard_tanh           clip(x, -1, 1)
leaky_relu          x where x >= 0, else negative_slope x
linear              x
log_sigmoid         -softplus(-x)
log_softmax         x - log Σ exp(x) over the axis
mish                x tanh(softplus(x))
relu                x where x > threshold, else negative_slope (x - threshold); at most max_value
relu6               clip(x, 0, 6)
selu                1.0507009873554805 elu(x, 1.6732632423543772)
sigmoid             σ(x) = 1 / (1 + exp(-x))
silu                x σ(x)
soft_shrink         x - threshold above it, x + threshold below -threshold, else 0
softmax             exp(x) / Σ exp(x) over the axis
softplus            log(1 + exp(x))
softsign            x / (1 + |x|)
sparse_plus         0 below -1, x above 1, else (x + 1)² / 4
sparse_sigmoid      clip((x + 1) / 2, 0, 1)
sparsemax           the Euclidean projection of x onto the simplex, over the axis
squareplus          (x + √(x² + b)) / 2
tanh                tanh(x)
tanh_shrink         x - tanh(x)
threshold           x where x > threshold, else default_value
==================  ==============================================================================

A gradient needs a slope at kinks too: at 0 relu and leaky_relu have negative_slope, elu alpha, selu and celu that of
the side above; hard_tanh, hard_sigmoid_0_2 and relu's max_value pass the gradient on at their bounds, while
hard_sigmoid, hard_silu's factor, sparse_sigmoid and relu6 do not; at their thresholds the shrinks and threshold have 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lstmcore.errors import SpecError, near

Number = float | int | bool | None

REQUIRED = object()
ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
ALONG_AXIS = ("softmax", "log_softmax", "sparsemax", "glu")
PARAMETERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "celu": {"alpha": 1.0},
        "elu": {"alpha": 1.0},
        "exponential": {},
        "gelu": {"approximate": False},
        "glu": {"axis": -1},
        "hard_shrink": {"threshold": 0.5},
        "hard_sigmoid": {},
        "hard_sigmoid_0_2": {},
        "hard_silu": {},
        "hard_tanh": {},
        "leaky_relu": {"negative_slope": 0.2},
        "linear": {},
        "log_sigmoid": {},
        "log_softmax": {"axis": -1},
        "mish": {},
        "relu": {"negative_slope": 0.0, "max_value": None, "threshold": 0.0},
        "relu6": {},
        "selu": {},
        "sigmoid": {},
        "silu": {},
        "soft_shrink": {"threshold": 0.5},
        "softmax": {"axis": -1},
        "softplus": {},
        "softsign": {},
        "sparse_plus": {},
        "sparse_sigmoid": {},
        "sparsemax": {"axis": -1},
        "squareplus": {"b": 4.0},
        "tanh": {},
        "tanh_shrink": {},
        "threshold": {"threshold": REQUIRED, "default_value": REQUIRED},
    }
)


@dataclass(frozen=True)
class Function:
    """An activation function: its name and those parameters that are not at their defaults."""

    name: str
    changed: tuple[tuple[str, Number], ...] = ()

    @property
    def parameters(self) -> dict[str, Number]:
        """All parameters, filled in."""
        return {**PARAMETERS[self.name], **dict(self.changed)}

    def __repr__(self) -> str:
        return repr(str(self))

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.changed)
        return f"{self.name}({inside})" if inside else self.name


def function(name: str, **parameters: Number) -> Function:
    """A `Function` by name; SpecError for a name or a parameter that does not exist."""
    name = ALIASES.get(name, name)
    if name not in PARAMETERS:
        raise SpecError(f"unknown activation {name!r}.{near(name, PARAMETERS)}")
    defaults = PARAMETERS[name]
    for key, value in parameters.items():
        if key not in defaults:
            raise SpecError(f"activation {name!r} has no parameter {key!r}.{near(key, defaults)}")
        if not _fits(value, defaults[key]):
            raise SpecError(f"activation {name!r}: {key} is {value!r}; expected {_EXPECTED[type(defaults[key])]}")
    if parameters.get("alpha") == 0 and name == "celu":
        raise SpecError("activation 'celu': alpha is 0; expected another number, it divides by it")
    missing = [key for key, value in defaults.items() if value is REQUIRED and key not in parameters]
    if missing:
        raise SpecError(f"activation {name!r} needs {' and '.join(missing)}, so it cannot be given by name alone")
    return Function(name, tuple((k, v) for k, v in sorted(parameters.items()) if v != defaults[k]))


_EXPECTED = {bool: "True or False", int: "an integer", float: "a number"}
_EXPECTED |= {type(None): "None or a number", type(REQUIRED): "a number"}


def _fits(value: object, default: object) -> bool:
    if value is None or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return (
        isinstance(value, int)
        if type(default) is int
        else type(default) is not bool and isinstance(value, (int, float))
    )


LINEAR = Function("linear")


def get(identifier: object) -> Function:
    """What a layer's ``activation=`` means: None is linear; a name; a `Function`; Keras' serialized form."""
    if identifier is None:
        return LINEAR
    if isinstance(identifier, Function):
        return identifier
    if isinstance(identifier, str):
        return function(identifier)
    if isinstance(identifier, Mapping):
        config = identifier.get("config", identifier.get("class_name"))
        if isinstance(config, str):
            return function(config)
        if isinstance(identifier.get("name"), str):
            return function(**{str(key): value for key, value in identifier.items()})
    raise SpecError(
        f"activation must be a name, a Function or None, not {type(identifier).__name__} {identifier!r}; "
        "code cannot travel between engines, so a callable is refused: "
        f"name one of {', '.join(sorted(PARAMETERS))}"
    )


def serialize(function: Function) -> str | dict[str, Number | str]:
    """The form for a config: the name, as Keras writes it, or a mapping where parameters differ."""
    return {"name": function.name, **dict(function.changed)} if function.changed else function.name
