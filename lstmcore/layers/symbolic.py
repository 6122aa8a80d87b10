"""Layers called on tensors that do not exist yet: how functional models are described."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lstmcore import tree
from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers.module import Mask, Module
from lstmcore.naming import snake
from lstmcore.ops import Binary, Kind, Shape, Tensor
from lstmcore.program import Builder, Value

_serial = itertools.count()
_EVERYWHERE = ("mask", "training")
IMPLIED = "implied"  # given as mask=: the mask that comes with the input, also where it would have no effect
EVERY = "every"  # given as mask= to a layer that merges: the numbers as they are, and of all masks that come the "and"


@dataclass(frozen=True, eq=False)
class SymbolicTensor:
    """An input of a model, or what a layer makes of others: shape with batch axis, kind of number, origin.

    ``mask`` is the shape of the mask that goes with it, None if there is none.
    """

    shape: Shape
    kind: Kind
    dtype: str
    call: Call
    index: int
    mask: Shape | None = None

    @property
    def name(self) -> str:
        """The name of the layer that makes it."""
        return self.call.module.name or type(self.call.module).__name__.lower()

    @property
    def is_input(self) -> bool:
        """Whether it is what a model is fed."""
        return not self.call.arguments

    def __repr__(self) -> str:
        return f"<SymbolicTensor of {self.call.module.called()}, {self.kind} {self.shape}>"

    def _refuse(self, *_: Any) -> NoReturn:
        raise SpecError(
            f"{self!r} holds no numbers yet and takes no operators: combine it by layers, such as Add()([a, b]), "
            "Multiply, Concatenate, Rescaling(2.0)(a)"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __matmul__ = __rmatmul__ = __pow__ = __rpow__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __and__ = __rand__ = __or__ = __ror__ = __invert__ = _refuse
    __neg__ = __pos__ = __abs__ = __round__ = __getitem__ = __setitem__ = __len__ = __iter__ = _refuse
    __array__ = __bool__ = __float__ = __int__ = __index__ = _refuse


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer or a model: what it was called with, by argument name, and what came out.

    ``arguments`` hold structures of symbolic tensors and plain values, in the order of the call; ``positional``
    says how many of them were given by position. An Input has none.
    """

    module: Module
    arguments: Mapping[str, Any]
    positional: int = 0
    outputs: tuple[SymbolicTensor, ...] = ()
    serial: int = field(default_factory=lambda: next(_serial))

    @property
    def first(self) -> Any:
        """The first argument; of an Input, what it makes."""
        return next(iter(self.arguments.values())) if self.arguments else self.outputs[0]

    @property
    def tensors(self) -> list[SymbolicTensor]:
        """All tensors that it reads, in order."""
        return [leaf for leaf in tree.leaves(list(self.arguments.values())) if isinstance(leaf, SymbolicTensor)]

    def finish(self, shapes: Sequence[tuple[Tensor, Shape | None]], dtype: str) -> tuple[SymbolicTensor, ...]:
        """Gives the call its outputs: what is known of each, and the shape of its mask."""
        made = tuple(
            SymbolicTensor(tensor.shape, tensor.kind, _dtype(tensor.kind, dtype), self, k, mask)
            for k, (tensor, mask) in enumerate(shapes)
        )
        object.__setattr__(self, "outputs", made)
        self.module.calls.append(self)
        return made


def history(tensors: Sequence[SymbolicTensor]) -> list[Call]:
    """All calls that lead to these tensors, each after those it needs."""
    found: dict[Call, None] = {}
    waiting = [tensor.call for tensor in tensors]
    while waiting:
        call = waiting.pop()
        if call not in found:
            found[call] = None
            waiting += [tensor.call for tensor in call.tensors]
    return sorted(found, key=lambda call: call.serial)


def _dtype(kind: Kind, dtype: str) -> str:
    return dtype if kind == "float" else {"int": "int32", "bool": "bool"}[kind]


def bind(module: Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, those left out or None aside. SpecError for one it does not take."""
    names = module.call_arguments
    known = (*names, *(name for name in _EVERYWHERE if name not in names))
    if len(args) > len(names):
        raise SpecError(
            f"{module.called()} is called with {len(args)} arguments by position; it takes {', '.join(names)}"
        )
    bound = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in known:
            raise SpecError(f"{module.called()} takes no call argument {name!r}.{near(name, known)}")
        if name in bound:
            raise SpecError(f"{module.called()}: {name} is given twice, by position and by name")
        bound[name] = value
    if bound.get(names[0]) is None:
        raise InputError(f"{module.called()} is called on nothing; expected an array of numbers, or a symbolic tensor")
    if bound.get("training"):
        raise SpecError(
            f"{module.called()} was called with training=True; a call computes inference, and only fit trains"
        )
    return {name: value for name, value in bound.items() if value is not None and name != "training"}


def lower_call(
    module: Module,
    build: Builder,
    arguments: Mapping[str, Any],
    value: Callable[[Any], Any],
    mask: Callable[[Any], Mask],
) -> tuple[tuple[Value, ...], tuple[Mask, ...]]:
    """Lowers one use of a module. ``value`` and ``mask`` say what stands for a leaf of the arguments."""
    name, *_ = module.call_arguments
    given = {key: tree.transform(value, structure) for key, structure in arguments.items()}
    first, explicit = given.pop(name), given.pop("mask", None)
    implied = tree.transform(mask, arguments[name])
    for other in module.masked_arguments:
        found = mask(arguments[other]) if other in arguments else None
        if found is not None:
            given.setdefault(f"{other}_mask", found)
    if explicit == EVERY:
        return _merged_by_every(module, build, first, implied)
    if explicit == IMPLIED:
        explicit = implied
    if (
        explicit is None
        and module.drops_implied_mask
        and given
        and any(leaf is not None for leaf in tree.leaves(implied))
    ):
        given["mask_implied"] = True
    if isinstance(first, Value) and not isinstance(explicit, (Value, type(None))):
        raise SpecError(f"mask is {_told(explicit)}; expected a tensor of dtype bool")
    if not isinstance(first, Value) and not module.takes_several:
        raise SpecError(f"it takes one tensor; it is called on {_told(first)}")
    if not all(isinstance(leaf, Value) for leaf in tree.leaves(first)):
        raise SpecError(f"it takes tensors; it is called on {_told(first)}")
    outputs, masks = module.lowered(build, first, implied if explicit is None else explicit, **given)
    if not isinstance(masks, tuple):
        masks = (masks, *[None] * (len(outputs) - 1))
    return outputs, masks


def _merged_by_every(module: Module, build: Builder, x: Any, masks: Any) -> tuple[tuple[Value, ...], tuple[Mask, ...]]:
    """A merge as Keras 1 and 2 had it: masks have no influence on the numbers, and what counts does in every input."""
    if not module.takes_several:
        raise SpecError(f"mask={EVERY!r} is for layers that merge")
    outputs, _ = module.lowered(build, x, tree.transform(lambda _: None, x))
    result, *others = [leaf for leaf in tree.leaves(masks) if leaf is not None] or [None]
    for other in others:
        if len(other.shape) != len(result.shape):
            raise SpecError(f"masks of shapes {result.shape} and {other.shape} meet; expected as many axes in each")
        (result,) = build.op(Binary("and"), result, other, name="and")
    return outputs, (result, *[None] * (len(outputs) - 1))


def _told(structure: Any) -> str:
    """A structure of values as a message tells it."""
    return str(tree.transform(lambda leaf: leaf.shape if isinstance(leaf, Value) else leaf, structure))


def call(module: Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Records a use of a layer or model on symbolic tensors; makes its weights. SpecError where they do not fit."""
    arguments = bind(module, args, kwargs)
    record = Call(module, arguments, len(args))
    build = Builder()
    values: dict[SymbolicTensor, Value] = {}
    masks: dict[SymbolicTensor, Mask] = {}
    for k, tensor in enumerate(dict.fromkeys(record.tensors)):
        values[tensor] = build.input(f"tensor {k}", tensor.shape, wanted_kind(module, tensor))
        masks[tensor] = None if tensor.mask is None else build.input(f"mask {k}", tensor.mask, "bool")

    def value(leaf: Any) -> Any:
        return values[leaf] if isinstance(leaf, SymbolicTensor) else _plain(module, leaf)

    def mask(leaf: Any) -> Mask:
        return masks[leaf] if isinstance(leaf, SymbolicTensor) else None

    try:
        outputs, after = lower_call(module, build, arguments, value, mask)
    except SpecError as error:
        hints = (hint(t.call.module, module, t) for t in record.tensors if not t.is_input)
        raise SpecError(f"{module.called()}: {reason(error, module)}{next(filter(None, hints), '')}") from None
    module.take(build.weights, tree.transform(lambda leaf: leaf.shape, record.first))
    known = [(output, None if m is None else m.shape) for output, m in zip(outputs, after, strict=True)]
    return module.arrange(record.finish(known, str(module.dtype)))


def reason(error: SpecError, module: Module) -> str:
    """What an error says, without the names of layers that the caller puts before it."""
    own = {f"{name}: " for name in (module.called(), module.name, type(module).__name__, snake(type(module).__name__))}
    text = str(error)
    for prefix in (*own, *own):
        text = text.removeprefix(prefix)
    return f"{text.rstrip('.')}."


def hint(before: Module, module: Module, taken: Tensor | SymbolicTensor) -> str:
    """What the layer before one that does not take its output may have to do with that."""
    if module.wanted_kind() == "int" and taken.kind == "float":
        return " It takes token ids, and so stands first."
    if getattr(before, "return_sequences", None) is False and len(taken.shape) == 2:
        return f" Give {before.name or type(before).__name__!r} return_sequences=True to pass on all its outputs."
    return ""


def wanted_kind(module: Module, tensor: SymbolicTensor) -> Kind:
    """An Input that says no dtype holds token ids where an Embedding takes it."""
    return "int" if tensor.is_input and tensor.kind == "float" and module.wanted_kind() == "int" else tensor.kind


def _plain(module: Module, leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, (bool, int, float, str)):
        return leaf
    raise SpecError(
        f"{module.called()} is called on symbolic tensors together with a {type(leaf).__name__}; "
        "make that an Input of the model too"
    )
