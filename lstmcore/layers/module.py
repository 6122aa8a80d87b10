"""What layers and models have in common: a name, weights of their own or of their parts, and calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.errors import SpecError, WeightsError
from lstmcore.formulas import Term
from lstmcore.ops import Kind
from lstmcore.program import Builder, Value

if TYPE_CHECKING:
    from lstmcore.layers.symbolic import Call

Array = NDArray[Any]
Mask = Value | None
Lowered = tuple[tuple[Value, ...], Mask | tuple[Mask, ...]]


class Module:
    """Base of layers and models.

    ``parts`` are the layers inside by the prefix that their weights have here; the prefix "" adds none.
    """

    name: str | None
    trainable: bool
    dtype: Any

    # What layers and models say, each in its way.

    call_arguments: ClassVar[tuple[str, ...]] = ("inputs",)  # by position; every call also takes mask= and training=
    takes_several: ClassVar[bool] = False  # whether the first argument may be a list or dict of tensors
    masked_arguments: ClassVar[tuple[str, ...]] = ()  # beside the first: their masks reach ``lower`` as ``NAME_mask``
    untrained: ClassVar[tuple[str, ...]] = ()  # weights of its own that no optimizer touches
    takes_sample_masks: ClassVar[bool] = False  # whether one of whole samples, (batch,), has an effect on it
    drops_implied_mask: ClassVar[bool] = False  # with further arguments; ``lower`` is then told ``mask_implied=True``

    def wanted_kind(self) -> Kind | None:
        """The kind of number that it takes; None: any."""
        raise NotImplementedError

    @property
    def parts(self) -> Mapping[str, Module]:
        """The layers inside."""
        return {}

    @property
    def own_weights(self) -> Mapping[str, Array]:
        """The weights that belong to no part."""
        return {}

    @property
    def own_version(self) -> int:
        """Changes whenever the weights of its own do."""
        return 0

    @property
    def calls(self) -> list[Call]:
        """The calls on symbolic tensors so far."""
        raise NotImplementedError

    def lower(self, build: Builder, x: Any, mask: Any, *args: Any, **call: Any) -> Lowered:
        """Writes it in canonical ops: (outputs, the mask of the first output, or a tuple with each output's).

        ``x`` is a Value, or a list or dict of them where it takes several, and ``mask`` the mask of each.
        """
        raise NotImplementedError

    def lowered(self, build: Builder, x: Any, mask: Any, *args: Any, **call: Any) -> Lowered:
        """`lower` for one call of it, and what its activity regularizer adds to the loss."""
        outputs, masks = self.lower(build, x, mask, *args, **call)
        self.penalize(build, outputs)
        return outputs, masks

    def penalize(self, build: Builder, outputs: Sequence[Value]) -> None:
        """Adds to the loss what its activity regularizer says of its outputs, divided by the batch size (Keras 3.15).

        The batch is the model's, also inside a TimeDistributed.
        """
        regularizer = getattr(self, "activity_regularizer", None)
        if regularizer is None or build.penalties is None:
            return
        for output in outputs:
            penalty = Term(build, regularizer.lower(build, output))
            build.penalties.append((penalty / _batch_size(build, output)).value)

    def arrange(self, outputs: Sequence[Any]) -> Any:
        """The outputs as a call returns them: one alone, several in a list."""
        return outputs[0] if len(outputs) == 1 else list(outputs)

    def take_own(self, shapes: Mapping[str, tuple[int, ...]], input_shape: Any) -> None:
        """Makes the weights of its own, once; later calls check that they fit. ``input_shape`` is None for a part."""

    def replace_own(self, weights: Mapping[str, Array]) -> None:
        """Takes these arrays for the weights of its own."""

    @property
    def auto_named(self) -> bool:
        """Whether a model named it, so that another may name it differently."""
        raise NotImplementedError

    def name_as(self, name: str) -> None:
        """Gives a name to what has none."""
        raise NotImplementedError

    def regularizer(self, weight: str) -> Any:
        """What penalizes a weight of its own, or None."""
        return None

    def constraint(self, weight: str) -> Any:
        """What a weight of its own is projected by after each training step, or None."""
        return None

    def serialize(self) -> dict[str, Any]:
        """The description in Keras 3's serialized form."""
        raise NotImplementedError

    def called(self) -> str:
        """How messages call it."""
        kind = type(self).__name__
        return f"{kind} {self.name!r}" if self.name else kind

    # What follows.

    def modules(self) -> Iterator[Module]:
        """It and everything inside, each once."""
        seen: set[int] = set()
        waiting: list[Module] = [self]
        while waiting:
            module = waiting.pop(0)
            if id(module) not in seen:
                seen.add(id(module))
                waiting = [*module.parts.values(), *waiting]
                yield module

    def version(self) -> tuple[int, ...]:
        """Differs whenever the weights do."""
        return tuple(module.own_version for module in self.modules())

    def owners(self) -> Iterator[tuple[str, Module, str]]:
        """Each weight's path, the module that owns it, and its name there; a shared one under each of its paths."""
        for name in self.own_weights:
            yield name, self, name
        for prefix, part in self.parts.items():
            for path, owner, name in part.owners():
                yield (f"{prefix}/{path}" if prefix else path), owner, name

    def every_path(self) -> dict[str, Array]:
        """The weights under all their paths, as a program names them."""
        return {path: owner.own_weights[name] for path, owner, name in self.owners()}

    @property
    def weights(self) -> Mapping[str, Array]:
        """The weights by name, in Keras' order, each once; read-only arrays."""
        one_path = self.one_path()
        return {path: array for path, array in self.every_path().items() if one_path[path] == path}

    def one_path(self) -> dict[str, str]:
        """For each path of a weight the one that stands for it: its first."""
        first: dict[tuple[int, str], str] = {}
        return {path: first.setdefault((id(owner), name), path) for path, owner, name in self.owners()}

    def frozen(self) -> set[int]:
        """The ids of the modules inside that training leaves as they are."""
        return {id(part) for outer in self.modules() if not outer.trainable for part in outer.modules()}

    def weights_by_training(self) -> tuple[list[Array], list[Array]]:
        """The weights that training changes, and the others: of layers not trainable, and running statistics."""
        frozen = self.frozen()
        groups: tuple[list[Array], list[Array]] = ([], [])
        seen: set[tuple[int, str]] = set()
        for _, owner, name in self.owners():
            if (id(owner), name) not in seen:
                seen.add((id(owner), name))
                groups[id(owner) in frozen or name in owner.untrained].append(owner.own_weights[name])
        return groups

    def trained_paths(self) -> list[str]:
        """The paths of the weights that training changes, as a program names them."""
        frozen = self.frozen()
        return [path for path, owner, name in self.owners() if id(owner) not in frozen and name not in owner.untrained]

    def take(self, shapes: Mapping[str, tuple[int, ...]], input_shape: Any = None) -> None:
        """Makes the weights of these shapes, here and in the parts; those that exist must fit."""
        parts = self.parts
        shares: dict[str, dict[str, tuple[int, ...]]] = {prefix: {} for prefix in parts}
        own: dict[str, tuple[int, ...]] = {}
        for path, shape in shapes.items():
            head, _, tail = path.partition("/")
            if tail and head in parts:
                shares[head][tail] = shape
            elif "" in parts:
                shares[""][path] = shape
            else:
                own[path] = shape
        self.take_own(own, input_shape)
        for prefix, part in parts.items():
            part.take(shares[prefix])

    def replace_weights(self, weights: Mapping[str, Array]) -> None:
        """Takes over arrays that are known to fit, by name."""
        shares: dict[int, tuple[Module, dict[str, Array]]] = {}
        for path, owner, name in self.owners():
            if path in weights:
                shares.setdefault(id(owner), (owner, {}))[1].setdefault(name, weights[path])
        for owner, arrays in shares.values():
            owner.replace_own(arrays)

    def get_weights(self) -> list[Array]:
        """Copies of all weights, in Keras' order."""
        return [array.copy() for array in self.weights.values()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replaces all weights, in Keras' order. WeightsError where number or shapes differ; then none is."""
        self.replace_weights(fitting(self.called(), self.weights, weights))

    def count_params(self) -> int:
        """The number of weights."""
        return sum(array.size for array in self.weights.values())

    @property
    def input(self) -> Any:
        """What it was called on, symbolically, the last time."""
        return self._last_call().first

    @property
    def output(self) -> Any:
        """What its last call on symbolic tensors gave."""
        return self.arrange(self._last_call().outputs)

    def _last_call(self) -> Call:
        if not self.calls:
            raise SpecError(f"{self.called()} was not called on a symbolic tensor yet; it has no input and no output")
        return self.calls[-1]


def _batch_size(build: Builder, like: Value) -> Term:
    """How many samples the model's batch has, as a number of the program."""
    samples = Term(build, build.apart[0] if build.apart else like).float_like(Term(build, like))
    return (samples.apply(ops.Zeros((1,))) + 1.0).total()


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
