"""The layer: a frozen, declarative spec, with its weights beside it.

A subclass declares options as dataclass fields, says which op holds its weights and how each weight
starts, and writes itself in canonical ops (`lower`). Checks, configs, shapes, counts and initial
values follow from these.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from lstmcore import configs, tree
from lstmcore.errors import SpecError, near
from lstmcore.initializers import Initializer
from lstmcore.layers import symbolic
from lstmcore.layers.module import Array, Module
from lstmcore.layers.options import COUNT, DTYPE, FLAG, NAME, SHAPE, checked, option, spec
from lstmcore.layers.symbolic import Call, SymbolicTensor
from lstmcore.ops import Kind, Op, Shape
from lstmcore.program import Builder, Value
from lstmcore.random import next_stream


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


@dataclass
class Lent:
    """Weights that somebody else has; they changed if the stamp is not the one ``seen``."""

    weights: Callable[[], dict[str, Array]]
    stamp: Callable[[], Hashable]
    seen: Hashable = None


class LayerState:
    """The weights of one layer, by name, read-only arrays; ``version`` changes whenever they do.

    Beside them what calls on arrays leave: the ``sessions`` that ran and the ``carries`` of a stateful layer.
    """

    def __init__(self) -> None:
        self.built = False
        self.input_shape: Any = None
        self.weights: dict[str, Array] = {}
        self.lent: Lent | None = None
        self.version = 0
        self.auto_named = False
        self.sessions: dict[Hashable, Any] = {}
        self.carries: dict[str, Any] = {}
        self.calls: list[Call] = []
        self.declared: dict[str, Initializer] = {}  # how the weights of a cell start

    def __getstate__(self) -> dict[str, Any]:
        """Copies share no session, which holds what the engines compiled, and no model."""
        return {**self.__dict__, "sessions": {}, "calls": [], "weights": self.now(), "lent": None}

    def now(self) -> dict[str, Array]:
        """The weights as they are."""
        if self.lent is not None and (stamp := self.lent.stamp()) != self.lent.seen:
            self.weights = self.lent.weights()
            self.lent.seen = stamp
            self.version += 1
        return self.weights

    def replace(self, weights: Mapping[str, Array]) -> None:
        """Takes these arrays as they are, and for its own."""
        for array in weights.values():
            array.flags.writeable = False
        self.weights = dict(weights)
        self.lent = None
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


def placeholders_wanted() -> bool:
    """Whether weights are to take no memory, as those of a file will replace them."""
    return _placeholders.get()


@spec
class Layer(Module, metaclass=LayerType):
    """Base of all layers.

    ``autocast`` is taken for Keras' sake: data are cast where they enter the model in any case.
    ``input_shape`` (without batch), ``input_dim``, ``input_length``, ``batch_size`` and
    ``batch_input_shape`` describe the model's input when the layer is the first of a Sequential.
    """

    registry: ClassVar[dict[str, type[Layer]]] = {}
    initializers: ClassVar[Mapping[str, str]] = {}
    untrained: ClassVar[tuple[str, ...]] = ()  # weights that no optimizer touches
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
        if abstract:
            return
        known = Layer.registry.get(cls.__name__)
        if known is not None and known.is_own() and not cls.is_own():
            raise SpecError(f"lstmcore has a layer {cls.__name__} itself; call yours differently")
        Layer.registry[cls.__name__] = cls

    @classmethod
    def is_own(cls) -> bool:
        """Whether lstmcore itself defines it."""
        return cls.__module__.partition(".")[0] == __name__.partition(".")[0]

    def __post_init__(self) -> None:
        for f in fields(self):
            value = checked(self.called(), f.name, f.metadata["kind"], getattr(self, f.name))
            object.__setattr__(self, f.name, value)
        object.__setattr__(self, "_state", LayerState())
        self.check()

    @property
    def auto_named(self) -> bool:
        return self.state.auto_named

    def name_as(self, name: str) -> None:
        if self.name is None:
            object.__setattr__(self, "name", name)
            self.state.auto_named = True

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

    def wanted_kind(self) -> Kind | None:
        return self.input_kind

    def initializer(self, weight: str) -> Initializer:
        """How a weight starts."""
        initializer: Initializer = getattr(self, self.initializers[weight])
        return initializer

    def regularizer(self, weight: str) -> Any:
        return getattr(self, self.option_of(weight, "regularizer"), None)

    def constraint(self, weight: str) -> Any:
        return getattr(self, self.option_of(weight, "constraint"), None)

    def option_of(self, weight: str, kind: str) -> str:
        """What the regularizer, or the constraint, of a weight is called."""
        return self.initializers.get(weight, f"{weight}_initializer").replace("_initializer", f"_{kind}")

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

    def serialize(self) -> dict[str, Any]:
        data = configs.wrap("keras.layers", type(self).__name__, self.get_config())
        if not self.is_own():
            data |= {"module": type(self).__module__, "registered_name": f"Custom>{type(self).__name__}"}
        if self.built and self.state.input_shape is not None:
            data["build_config"] = {"input_shape": tree.transform(lambda n: n, self.state.input_shape)}
        return data

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
    def calls(self) -> list[Call]:
        return self.state.calls

    @property
    def built(self) -> bool:
        """True once the weights exist."""
        return self.state.built

    def outline(self, input_shape: Any) -> tuple[Builder, tuple[Value, ...]]:
        """The layer lowered for inputs of that shape (with batch axis), or of those shapes: program and outputs."""
        build = Builder()
        names = itertools.count()

        def enter(shape: Any) -> Any:
            if isinstance(shape, (list, tuple)) and any(isinstance(n, (list, tuple)) for n in shape):
                return [enter(entry) for entry in shape]
            return build.input(f"input {next(names)}", self._checked_shape(shape), self.input_kind or "float")

        x = enter(input_shape)
        outputs, _ = self.lower(build, x, tree.transform(lambda _: None, x))
        return build, outputs

    def inventory(self, input_shape: Any) -> dict[str, tuple[int, ...]]:
        """The shape of each weight for inputs of that shape."""
        build, _ = self.outline(input_shape)
        return dict(build.weights)

    def _checked_shape(self, shape: Any) -> Shape:
        result: Shape | None = None if isinstance(shape, int) else checked(self.called(), "input_shape", SHAPE, shape)
        if not result:
            raise SpecError(f"{self.called()}: input_shape is {shape!r}; expected a tuple, the batch axis first")
        return result

    def build(self, input_shape: Any) -> None:
        """Makes the weights for inputs of that shape (with batch axis), once; a list of shapes for several inputs.

        SpecError if they exist already for another number of features.
        """
        try:
            build, _ = self.outline(input_shape)
        except SpecError as error:
            raise SpecError(f"{self.called()}: {str(error).removeprefix(f'{self.called()}: ')}") from None
        self.take(build.weights, input_shape)

    @property
    def own_weights(self) -> Mapping[str, Array]:
        return self.state.now()

    @property
    def own_version(self) -> int:
        self.state.now()
        return self.state.version

    def lend(self, weights: Callable[[], dict[str, Array]], stamp: Callable[[], Hashable]) -> None:
        """From now on the weights are what the function gives, until the layer gets other ones.

        So they can belong to a framework's live module. They are asked for anew whenever ``stamp()`` is another.
        """
        self.state.lent = Lent(weights, stamp)

    def take_own(self, shapes: Mapping[str, tuple[int, ...]], input_shape: Any) -> None:
        if not self.built:
            order = [name for name in self.initializers if name in shapes]
            self.state.replace(dict(self._initial({name: shapes[name] for name in dict.fromkeys([*order, *shapes])})))
            self.state.built = True
        elif {name: array.shape for name, array in self.state.weights.items()} != shapes:
            what = f"inputs of shape {self.state.input_shape}" if self.state.input_shape else "other inputs"
            raise SpecError(
                f"{self.called()} was built for {what} and cannot also take "
                f"{'these' if input_shape is None else input_shape}: its weights would need the shapes {dict(shapes)}"
            )
        if input_shape is not None:
            self.state.input_shape = input_shape

    def replace_own(self, weights: Mapping[str, Array]) -> None:
        self.state.replace({**self.state.now(), **weights})

    def _initial(self, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Array]]:
        for name, shape in shapes.items():
            if math.prod(shape) > 2**40:
                raise SpecError(f"{self.called()}: weight {name!r} of shape {shape} would not fit in any memory")
            if _placeholders.get():
                yield name, np.broadcast_to(np.zeros((), self.dtype), shape)
            else:
                with np.errstate(over="ignore"):
                    yield name, self.initializer(name).sample(shape, next_stream()).astype(self.dtype)

    def set_weights(self, weights: Sequence[Any]) -> None:
        self._need_built()
        super().set_weights(weights)

    def count_params(self) -> int:
        self._need_built()
        return super().count_params()

    def _need_built(self) -> None:
        if not self.built:
            raise SpecError(
                f"{self.called()} has no weights yet; call build(input_shape), or put it in a model with an Input"
            )

    # Use.

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output, or the list of shapes where there are several."""
        _, outputs = self.outline(input_shape)
        return self.arrange([output.shape for output in outputs])

    def reset_states(self) -> None:
        """Sets the states that a stateful layer keeps between calls back to zero."""
        self.state.carries.clear()

    reset_state = reset_states  # Keras 3 has both names

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The layer on symbolic tensors: a part of a model; or on arrays, run at once on the current backend.

        Both take ``mask=``; what else, is in ``call_arguments``. See `lstmcore.models.eager` for arrays.
        """
        if any(isinstance(leaf, SymbolicTensor) for leaf in tree.leaves([args, kwargs])):
            return symbolic.call(self, args, kwargs)
        from lstmcore.models import eager

        return eager.call(self, args, kwargs)
