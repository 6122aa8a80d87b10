"""The layer: a frozen, declarative spec, with its weights beside it.

A subclass declares options as dataclass fields, says which op holds its weights and how each weight
starts, and writes itself in canonical ops (`lower`). Checks, configs, shapes, counts and initial
values follow from these.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, Field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import SpecError, WeightsError, near
from lstmcore.initializers import Initializer
from lstmcore.layers.options import COUNT, DTYPE, FLAG, NAME, SHAPE, checked, option, spec
from lstmcore.ops import Kind, Op, Shape, Tensor
from lstmcore.program import Builder, Value
from lstmcore.random import next_stream

Array = NDArray[Any]
Lowered = tuple[tuple[Value, ...], Value | None]


class LayerType(type):
    """Gives every layer class its other spellings, and a clear error for an option it does not have."""

    spellings: Mapping[str, str]
    positional: tuple[str, ...]

    @property
    def __signature__(cls) -> inspect.Signature:
        """What ``help`` and editors show: the options, not this class's ``__call__``."""
        _, *parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        parameters = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) if p.name in cls.positional else p for p in parameters]
        parameters.sort(key=lambda p: (p.kind, cls.positional.index(p.name) if p.name in cls.positional else 0))
        return inspect.Signature(parameters)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # every layer is a dataclass
        options = {cls.spellings.get(key, key): value for key, value in kwargs.items()}
        for key, value in zip(cls.positional, args, strict=False):
            if options.setdefault(key, value) is not value:
                raise SpecError(f"{cls.__name__}: {key} is given twice, by position and by name")
        args = args[len(cls.positional) :]
        for key in options:
            if key not in known:
                raise SpecError(f"{cls.__name__} has no option {key!r}.{near(key, known)}")
        return super().__call__(*args, **options)


class LayerState:
    """The weights of one layer, by name, read-only arrays; ``version`` changes whenever they do.

    Beside them what calls on arrays leave: the ``sessions`` that ran and the ``carries`` of a stateful layer.
    """

    def __init__(self) -> None:
        self.input_shape: Shape | None = None
        self.weights: dict[str, Array] = {}
        self.version = 0
        self.auto_named = False
        self.sessions: dict[Hashable, Any] = {}
        self.carries: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Copies share no session: those hold what the engines compiled."""
        return {**self.__dict__, "sessions": {}}

    def replace(self, weights: Mapping[str, Array]) -> None:
        """Takes these arrays as they are, and for its own."""
        for array in weights.values():
            array.flags.writeable = False
        self.weights = dict(weights)
        self.version += 1


_placeholders: ContextVar[bool] = ContextVar("lstmcore_placeholders", default=False)


@contextmanager
def placeholder_weights() -> Iterator[None]:
    """Within it, layers build with weights that take no memory, to be replaced by those of a file."""
    token = _placeholders.set(True)
    try:
        yield
    finally:
        _placeholders.reset(token)


@spec
class Layer(metaclass=LayerType):
    """Base of all layers.

    ``autocast`` is taken for Keras' sake: data are cast where they enter the model in any case.
    ``input_shape`` (without batch), ``input_dim``, ``input_length``, ``batch_size`` and
    ``batch_input_shape`` describe the model's input when the layer is the first of a Sequential.
    """

    registry: ClassVar[dict[str, type[Layer]]] = {}
    initializers: ClassVar[Mapping[str, str]] = {}
    spellings: ClassVar[Mapping[str, str]] = {}
    positional: ClassVar[tuple[str, ...]] = ()
    input_kind: ClassVar[Kind | None] = "float"

    name: str | None = option(NAME, default=None, kw_only=True)
    trainable: bool = option(FLAG, default=True, kw_only=True)
    dtype: Any = option(DTYPE, default=None, kw_only=True)
    input_shape: Any = option(SHAPE, default=None, config=False, kw_only=True)
    input_dim: Any = option(SHAPE, default=None, config=False, kw_only=True)
    input_length: Any = option(SHAPE, default=None, config=False, kw_only=True)
    batch_size: int | None = option(COUNT, default=None, config=False, kw_only=True)
    batch_input_shape: Any = option(SHAPE, default=None, config=False, kw_only=True)
    autocast: bool = option(FLAG, default=True, config=False, kw_only=True)

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            Layer.registry[cls.__name__] = cls

    def __post_init__(self) -> None:
        for f in fields(self):
            value = checked(self._owner(), f.name, f.metadata["kind"], getattr(self, f.name))
            object.__setattr__(self, f.name, value)
        object.__setattr__(self, "_state", LayerState())
        self.check()

    def name_as(self, name: str) -> None:
        """Gives a name to a layer that has none."""
        if self.name is None:
            object.__setattr__(self, "name", name)
            self.state.auto_named = True

    def _owner(self) -> str:
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    def __repr__(self) -> str:
        changed = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.default is MISSING or getattr(self, f.name) != f.metadata["kind"].read(f.default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    # What a subclass says.

    def check(self) -> None:
        """Raises SpecError where options do not go together."""

    def op(self) -> Op | None:
        """The op that holds the weights, if there are any."""
        return None

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        """Writes the layer in canonical ops: (outputs, the mask of the first output)."""
        raise NotImplementedError

    def initializer(self, weight: str) -> Initializer:
        """How a weight starts."""
        initializer: Initializer = getattr(self, self.initializers[weight])
        return initializer

    # Config.

    @classmethod
    def config_fields(cls) -> tuple[Field[Any], ...]:
        """The options that Keras writes to configs."""
        return tuple(f for f in fields(cls) if f.metadata["config"])

    def get_config(self) -> dict[str, Any]:
        """The options under Keras 3's keys, as JSON values."""
        return {
            f.name: f.metadata["kind"].write(getattr(self, f.name))
            for f in self.config_fields()
            if not (f.metadata["omit"] and getattr(self, f.name) == f.default)
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The layer that has this config. SpecError for a key that it does not have."""
        if not isinstance(config, Mapping):
            raise SpecError(f"{cls.__name__}: the config is {config!r}; expected a mapping")
        known = [f.name for f in fields(cls)]
        config = {cls.spellings.get(key, key): value for key, value in config.items()}
        for key in config:
            if key not in known:
                raise SpecError(f"{cls.__name__} has no config key {key!r}.{near(key, known)}")
        required = [f.name for f in fields(cls) if f.default is MISSING and f.name not in config]
        if required:
            raise SpecError(f"{cls.__name__}: the config lacks {', '.join(required)}")
        return cls(**config)

    # Weights.

    @property
    def state(self) -> LayerState:
        """The layer's weights and their version."""
        state: LayerState = self._state  # type: ignore[attr-defined]  # set in __post_init__
        return state

    @property
    def built(self) -> bool:
        """True once the weights exist."""
        return self.state.input_shape is not None

    def inventory(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shape of each weight, in Keras' order."""
        op = self.op()
        shape = self._checked_shape(input_shape)
        return {} if op is None else op.inventory(Tensor(shape, self.input_kind or "float"))

    def _checked_shape(self, shape: Any) -> Shape:
        result: Shape | None = None if isinstance(shape, int) else checked(self._owner(), "input_shape", SHAPE, shape)
        if not result:
            raise SpecError(f"{self._owner()}: input_shape is {shape!r}; expected a tuple, the batch axis first")
        return result

    def build(self, input_shape: Shape) -> None:
        """Makes the weights for inputs of that shape (with batch axis), once.

        SpecError if they exist already for another number of features.
        """
        try:
            shapes = self.inventory(input_shape)
        except SpecError as error:
            raise SpecError(f"{self._owner()}: {error}") from None
        if not self.built:
            self.state.replace(dict(self._initial(shapes)))
        elif {name: array.shape for name, array in self.state.weights.items()} != shapes:
            raise SpecError(
                f"{self._owner()} was built for inputs of shape {self.state.input_shape} and cannot also take "
                f"{tuple(input_shape)}: its weights would need the shapes {shapes}"
            )
        self.state.input_shape = tuple(input_shape)

    def _initial(self, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Array]]:
        for name, shape in shapes.items():
            if math.prod(shape) > 2**40:
                raise SpecError(f"{self._owner()}: weight {name!r} of shape {shape} would not fit in any memory")
            if _placeholders.get():
                yield name, np.broadcast_to(np.zeros((), self.dtype), shape)
            else:
                yield name, self.initializer(name).sample(shape, next_stream()).astype(self.dtype)

    def _need_built(self) -> None:
        if not self.built:
            raise SpecError(
                f"{self._owner()} has no weights yet; call build(input_shape), or put it in a model with an Input"
            )

    @property
    def weights(self) -> dict[str, Array]:
        """The weights by name; read-only arrays."""
        return dict(self.state.weights)

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras' order."""
        return [array.copy() for array in self.state.weights.values()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replaces all weights, in Keras' order. WeightsError where number or shapes differ."""
        self._need_built()
        self.state.replace(fitting(self._owner(), self.state.weights, weights))

    def count_params(self) -> int:
        """The number of weights."""
        self._need_built()
        return sum(array.size for array in self.state.weights.values())

    # Use.

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """The shape of the output, or the list of shapes where there are several."""
        build = Builder()
        x = build.input("x", self._checked_shape(input_shape), self.input_kind or "float")
        outputs, _ = self.lower(build, x, None)
        return outputs[0].shape if len(outputs) == 1 else [output.shape for output in outputs]

    def reset_states(self) -> None:
        """Sets the states that a stateful layer keeps between calls back to zero."""
        self.state.carries.clear()

    def __call__(self, inputs: Any, **call: Any) -> Any:
        """Runs the layer on an array, on the current backend; see `lstmcore.models.eager`."""
        from lstmcore.models import eager

        return eager.call(self, inputs, **call)


def fitting(owner: str, current: Mapping[str, Array], given: Sequence[Any]) -> dict[str, Array]:
    """Copies of ``given``, one per weight of ``current`` and of its shape and dtype."""
    names = ", ".join(f"{name} {array.shape}" for name, array in current.items()) or "none"
    if not isinstance(given, (list, tuple)) or len(given) != len(current):
        count = f"{len(given)} arrays" if isinstance(given, (list, tuple)) else f"a {type(given).__name__}"
        raise WeightsError(f"{owner}: {count} given; expected a list of {len(current)} arrays: {names}")
    result = {}
    for (name, array), new in zip(current.items(), given, strict=True):
        try:
            values = np.array(new)
        except ValueError:
            values = np.empty(0, object)
        if values.dtype.kind not in "fiu" or values.shape != array.shape:
            raise WeightsError(
                f"{owner}: weight {name!r} given as {values.dtype} of shape {values.shape}; expected numbers "
                f"of shape {array.shape}"
            )
        with np.errstate(over="ignore"):
            result[name] = values.astype(array.dtype)
        if np.isinf(result[name]).sum() > np.isinf(values).sum():
            raise WeightsError(
                f"{owner}: weight {name!r} holds {np.abs(values).max():g}; expected numbers that fit {array.dtype}"
            )
    return result
