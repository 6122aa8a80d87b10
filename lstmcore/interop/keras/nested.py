"""Nested files, ``.keras`` and ``.weights.h5``: groups within groups as the objects lay in Keras, arrays by number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lstmcore.interop.keras.arrays import Match
from lstmcore.layers.module import Module
from lstmcore.naming import snake, unique
from lstmcore.storage.hdf5 import Dataset

_LAYERS = ("layers", "_layer_checkpoint_dependencies")

# Class -> where its own weights lie, and under which attribute its parts.
_OWN: Mapping[str, str] = {"LSTM": "cell/vars", "GRU": "cell/vars", "SimpleRNN": "cell/vars"}
_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "Bidirectional": {"forward": "forward_layer", "backward": "backward_layer"},
    "TimeDistributed": {"": "layer"},
    "RNN": {"": "cell"},
}
_HEADS: Mapping[str, tuple[str, ...]] = {
    name: (f"{name.removeprefix('attention_')}_dense", f"_{name.removeprefix('attention_')}_dense")
    for name in ("query", "key", "value", "attention_output", "gate")
}
_KINDS: Mapping[str, tuple[str, ...]] = {"Model": ("functional", "model"), "Sequential": ("sequential",)}


def nested(match: Match, orders: Mapping[frozenset[str], list[str]]) -> None:
    """The weights of a file whose groups lie as Keras' objects do.

    ``orders`` has the layers of models in the order of the file, by the set of their names.
    """
    _Nested(match, orders).model(match.model, "")


def places(model: Module) -> Iterator[tuple[str, Module, list[str]]]:
    """Where Keras 3 keeps the weights: a group, whose they are, and their names in the order of its arrays."""
    seen: set[int] = set()

    def inside(module: Module, place: str) -> Iterator[tuple[str, Module, list[str]]]:
        if id(module) in seen:
            return
        seen.add(id(module))
        kind = type(module).__name__
        if kind in _KINDS:
            yield from numbered(module.parts.values(), _under(place, _LAYERS[0]))
            return
        if kind == "StackedRNNCells":
            yield from numbered(module.parts.values(), f"{place}/cells")
            return
        for attribute, own in _groups(module, kind).items():
            yield f"{place}/{attribute}", module, own
        for prefix, part in module.parts.items():
            yield from inside(part, f"{place}/{_ATTRIBUTES[kind][prefix]}")

    def numbered(modules: Iterable[Module], container: str) -> Iterator[tuple[str, Module, list[str]]]:
        taken: set[str] = set()
        for module in modules:
            kind = type(module).__name__
            name = unique(_KINDS[kind][0] if kind in _KINDS else snake(kind), taken)
            taken.add(name)
            yield from inside(module, f"{container}/{name}")

    yield from inside(model, "")


def _groups(module: Module, kind: str) -> dict[str, list[str]]:
    """The weights that are a layer's own, by the group within its own that holds them."""
    groups: dict[str, list[str]] = {}
    for weight in module.own_weights:
        projection = weight.partition("/")[0]
        attribute = f"{_HEADS.get(projection, (projection,))[0]}/vars" if kind == "MultiHeadAttention" else "vars"
        groups.setdefault(_OWN.get(kind, attribute), []).append(weight)
    return groups


def _under(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


class _Nested:
    def __init__(self, match: Match, orders: Mapping[frozenset[str], list[str]]) -> None:
        self._match, self._orders = match, orders
        self._inside: dict[str, dict[str, Dataset]] = {}
        self._groups: dict[str, dict[str, None]] = {}
        for path, dataset in match.file.datasets.items():
            place, _, name = path.rpartition("/")
            self._inside.setdefault(place, {})[name] = dataset
            while place:
                place, _, name = place.rpartition("/")
                self._groups.setdefault(place, {})[name] = None

    def model(self, model: Module, place: str) -> None:
        """A model: its layers by class, numbered within it."""
        container = next((at for at in (_under(place, name) for name in _LAYERS) if at in self._groups), None)
        if container is None:
            return
        named = dict(model.parts)
        order = self._orders.get(frozenset(named)) or next(
            (names for known, names in self._orders.items() if frozenset(named) == known - _inputs(names, named)), None
        )
        modules = [named[name] for name in order or named if name in named]
        self._numbered(modules, container)

    def _numbered(self, modules: Sequence[Module], container: str) -> None:
        by_kind: dict[tuple[str, ...], list[Module]] = {}
        for module in modules:
            kind = type(module).__name__
            by_kind.setdefault(_KINDS.get(kind, (snake(kind),)), []).append(module)
        for kinds, same in by_kind.items():
            found = self._places(container, kinds)
            exact = all(number < len(same) for number in found)
            numbers = range(len(same)) if exact else sorted(found)
            for module, number in zip(same, numbers, strict=False):
                if number in found:
                    self.layer(module, found[number])

    def _places(self, container: str, kinds: Sequence[str]) -> dict[int, str]:
        """Number -> group of the layers of a class: ``lstm``, ``lstm_1``, ..."""
        found: dict[int, str] = {}
        for name in self._groups[container]:
            for kind in kinds:
                number = re.fullmatch(rf"{re.escape(kind)}(?:_([1-9]\d{{0,6}}))?", name)
                if number:
                    found[int(number[1] or 0)] = f"{container}/{name}"
        return found

    def layer(self, module: Module, place: str) -> None:
        """A layer: its own arrays by number, its parts by the attribute that held them."""
        kind = type(module).__name__
        if kind in _KINDS:
            return self.model(module, place)
        if kind == "StackedRNNCells":
            cells = f"{place}/cells"
            return self._numbered(list(module.parts.values()), cells) if cells in self._groups else None
        own = list(module.own_weights)
        if kind == "MultiHeadAttention":
            self._heads(module, own, place)
        elif own:
            self._own(module, own, f"{place}/{_OWN.get(kind, 'vars')}")
        for prefix, part in module.parts.items():
            self.layer(part, f"{place}/{_ATTRIBUTES[kind][prefix]}")
        return None

    def _own(self, module: Module, own: Sequence[str], place: str) -> None:
        found = self._inside.get(place, {})
        arrays = {int(name): dataset for name, dataset in found.items() if re.fullmatch(r"\d{1,6}", name)}
        if set(arrays) == set(range(len(own))):
            self._match.leaf(module, {weight: arrays[k] for k, weight in enumerate(own)})
        elif arrays:
            raise self._match.error(f"{module.called()} has the weights {', '.join(own)}; {place} has {len(arrays)}")

    def _heads(self, module: Module, own: Sequence[str], place: str) -> None:
        found: dict[str, Dataset] = {}
        for projection in dict.fromkeys(weight.split("/")[0] for weight in own):
            names = [weight for weight in own if weight.split("/")[0] == projection]
            for attribute in _HEADS.get(projection, (projection,)):
                arrays = self._inside.get(f"{place}/{attribute}/vars", {})
                found |= {name: arrays[str(k)] for k, name in enumerate(names) if str(k) in arrays}
        if found:
            self._match.leaf(module, found)


def _inputs(names: Sequence[str], named: Mapping[str, Module]) -> frozenset[str]:
    """The names in a description that are not among the layers: a Sequential's input."""
    return frozenset(name for name in names if name not in named)
