"""Which array of a file is which weight of a model: by names and structure, shapes compared before a byte is read.

Two kinds of file. *Listed*: ``.h5`` of every generation, a group for each layer with the list of its arrays' names.
*Nested*: ``.keras`` and ``.weights.h5``, groups within groups as the objects lay in Keras, arrays by number.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, WeightsMismatchError
from lstmcore.interop.keras.layouts import Layout, Part, candidates
from lstmcore.layers.module import Module
from lstmcore.storage.container import show
from lstmcore.storage.hdf5 import Dataset, Hdf5File

Array = NDArray[Any]
Owner = tuple[int, str]
Named = tuple[tuple[str, ...], Dataset]
"""The name of an array, in parts, and where it is."""

# Beside weights: what training left, and the state of random generators.
_BESIDE = re.compile(
    r"(^|/)(optimizer(_weights)?|_?metrics|_?loss_tracker|seed_generator(_\d+)?)(/|$)|seed_generator_state"
)


@dataclass(frozen=True)
class Source:
    """Where one weight comes from."""

    owner: Module
    weight: str
    part: Part
    datasets: tuple[Dataset, ...]


class Match:
    """The sources of a model's weights, gathered; complete once every weight has one and every array a weight."""

    def __init__(self, file: Hdf5File, model: Module) -> None:
        self.file = file
        self.model = model
        self.sources: dict[Owner, Source] = {}
        self._used: set[str] = set()

    def take(self, owner: Module, weight: str, part: Part, datasets: Sequence[Dataset]) -> None:
        """Notes where a weight comes from; its shape must fit."""
        shape = owner.own_weights[weight].shape
        found = [dataset.shape for dataset in datasets]
        if not part.fits(shape, found):
            raise self.error(
                f"{owner.called()}: {weight} has shape {shape}; the file has {', '.join(map(str, found))} "
                f"({', '.join(dataset.path for dataset in datasets)})"
            )
        for dataset in datasets:
            if dataset.dtype is None:
                raise self.error(f"{dataset.path} does not hold floating-point numbers")
            self._used.add(dataset.path)
        self.sources.setdefault((id(owner), weight), Source(owner, weight, part, tuple(datasets)))

    def leaf(self, owner: Module, found: Mapping[str, Dataset]) -> None:
        """The weights of one layer from arrays under their names in some layout."""
        own = owner.own_weights
        rows = candidates(type(owner).__name__)
        fitting = [row for row in rows if self._names(own, row) == set(found)]
        if not fitting:
            raise self.error(
                f"{owner.called()} has the weights {', '.join(own)}; the file has {', '.join(sorted(found)) or 'none'}"
            )
        row = next((row for row in fitting if self._fits(owner, row, found)), fitting[0])
        for weight in own:
            part = row.part(weight)
            self.take(owner, weight, part, [found[source] for source in part.sources])

    def _names(self, own: Iterable[str], row: Layout) -> set[str]:
        return {source for weight in own for source in row.part(weight).sources}

    def _fits(self, owner: Module, row: Layout, found: Mapping[str, Dataset]) -> bool:
        parts = {weight: row.part(weight) for weight in owner.own_weights}
        return all(
            part.fits(owner.own_weights[weight].shape, [found[source].shape for source in part.sources])
            for weight, part in parts.items()
        )

    def check(self) -> None:
        """WeightsMismatchError unless all weights have their arrays, and no array is left over."""
        missing = [path for path, owner, weight in self.model.owners() if (id(owner), weight) not in self.sources]
        extra = [path for path in self.file.datasets if path not in self._used and not _BESIDE.search(path)]
        if missing or extra:
            lines = [f"{path} is missing" for path in missing[:20]] + [f"{path} is not of it" for path in extra[:20]]
            raise self.error("it holds the weights of another model:\n  " + "\n  ".join(lines))

    def size(self) -> int:
        """How many bytes the arrays have."""
        datasets = {d.path: d for source in self.sources.values() for d in source.datasets}
        return sum(
            int(np.prod(d.shape, dtype=object)) * np.dtype(d.dtype or "float64").itemsize for d in datasets.values()
        )

    def read(self, flip: bool = False) -> None:
        """Reads every array into its weight. ``flip``: kernels of Conv1D run against time, as Theano's do.

        A warning names weights that hold NaN or infinity.
        """
        odd: list[str] = []
        made: dict[int, tuple[Module, dict[str, Array]]] = {}
        paths = {(id(owner), weight): path for path, owner, weight in self.model.owners()}
        for key, source in self.sources.items():
            target = source.owner.own_weights[source.weight]
            array = source.part.make([self.file.read(dataset) for dataset in source.datasets], target.shape)
            if flip and type(source.owner).__name__ == "Conv1D" and source.weight == "kernel":
                array = array[::-1]
            array = self._cast(array, target.dtype, paths[key])
            if not _is_finite(array):
                odd.append(paths[key])
            made.setdefault(key[0], (source.owner, {}))[1][source.weight] = array
        for owner, arrays in made.values():
            owner.replace_own(arrays)
        if odd:
            warnings.warn(f"{self.file.name}: NaN or infinity in {', '.join(odd)}", UserWarning, stacklevel=5)

    def _cast(self, array: Array, dtype: np.dtype[Any], path: str) -> Array:
        with np.errstate(over="ignore"):
            cast = np.ascontiguousarray(array, dtype)
        if array.dtype.itemsize > cast.dtype.itemsize and not np.array_equal(cast, array, equal_nan=True):
            raise self.error(f"{path} is of {dtype}, and the file's {array.dtype} does not fit into it")
        return cast

    def error(self, fault: str) -> WeightsMismatchError:
        """What does not fit, with the name of the file."""
        return WeightsMismatchError(f"{self.file.name}: {fault}.")


def _is_finite(array: Array) -> bool:
    """Whether all numbers are finite; by their sum, which takes no memory, unless that says nothing."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


# Listed files.


def listed(match: Match, root: str) -> None:
    """The weights of a file whose groups list their arrays; ``root`` is the group that lists the layers."""
    file = match.file
    names = file.texts(root, "layer_names")
    if names is None:
        raise DamagedFileError(f"{file.name} lists no layers; it is not what Keras writes.")
    layers = match.model.parts
    for name in names:
        entries = list(_entries(file, root, name))
        entries = [entry for entry in entries if not _BESIDE.search("/".join(entry[0]))]
        if name in layers:
            _share(match, layers[name], entries)
        elif entries:
            raise match.error(f"it has weights for a layer {show(name)}, which the model does not have")
    top = _join(root, "top_level_model_weights")
    if top in file.groups and file.texts(top, "weight_names"):
        raise match.error("it has weights that belong to no layer")


def _entries(file: Hdf5File, root: str, name: str) -> Iterator[Named]:
    group = _join(root, name.replace("\\", "/"))
    if group not in file.groups:
        raise DamagedFileError(f"{file.name}: the layer {show(name)} is listed, and not there.")
    for weight in file.texts(group, "weight_names") or []:
        path = _join(group, weight.replace("\\", "/"))
        if path not in file.datasets:
            raise DamagedFileError(f"{file.name}: the array {show(path)} is listed, and not there.")
        yield tuple(re.sub(r":\d+$", "", weight).replace("\\", "/").split("/")), file.datasets[path]


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _share(match: Match, module: Module, entries: list[Named]) -> None:
    """Gives the arrays of one layer to it and its parts."""
    if not module.parts:
        if entries or module.own_weights:
            match.leaf(module, _by_weight(match, module, entries))
        return
    parts = dict(module.parts)
    if len(parts) == 1 and "" in parts:  # TimeDistributed, RNN: no name of their own within
        _share(match, parts[""], entries)
        return
    holders = {prefix: part for prefix, part in parts.items() if any(True for _ in part.owners())}
    shares = _by_label(_labels(holders), entries) or _in_order(holders, entries)
    if shares is None:
        told = ", ".join("/".join(parts) for parts, _ in entries[:6])
        raise match.error(f"{module.called()}: its parts {', '.join(holders)} cannot be told apart among {told}")
    for prefix, part in holders.items():
        _share(match, part, shares[prefix])


def _labels(holders: Mapping[str, Module]) -> dict[str, set[str]]:
    """The names by which each part can be told from the others: its own, and of what is within it."""
    labels = {
        prefix: {f"{prefix}_{part.name}", *(str(inner.name) for inner in part.modules() if inner.name)}
        for prefix, part in holders.items()
    }
    count = Counter(label for own in labels.values() for label in own)
    return {prefix: {label for label in own if count[label] == 1} for prefix, own in labels.items()}


def _by_label(labels: Mapping[str, set[str]], entries: list[Named]) -> dict[str, list[Named]] | None:
    """The arrays by the part whose name stands in theirs; None unless each has one, and each part some."""
    shares: dict[str, list[Named]] = {prefix: [] for prefix in labels}
    for parts, dataset in entries:
        # the outermost name that is one of ours; Keras 1 joined it to the weight's: forward_lstm_1_W_i
        found = [prefix for part in parts for prefix, own in labels.items() if part in own]
        found = found or [
            prefix for prefix, own in labels.items() if any(parts[-1].startswith(f"{label}_") for label in own)
        ]
        if not found:
            return None
        shares[found[0]].append((parts, dataset))
    return shares if all(shares.values()) else None


def _in_order(holders: Mapping[str, Module], entries: list[Named]) -> dict[str, list[Named]] | None:
    """The arrays in groups by all but the last part of their name, in the order of the parts, where shapes agree."""
    groups: dict[tuple[str, ...], list[Named]] = {}
    for parts, dataset in entries:
        groups.setdefault(parts[:-1], []).append((parts, dataset))
    if len(groups) != len(holders):
        return None
    shares = dict(zip(holders, groups.values(), strict=True))
    for prefix, part in holders.items():
        wanted = sorted((path.split("/")[-1], owner.own_weights[w].shape) for path, owner, w in part.owners())
        if wanted != sorted((parts[-1], dataset.shape) for parts, dataset in shares[prefix]):
            return None
    return shares


def _by_weight(match: Match, module: Module, entries: list[Named]) -> dict[str, Dataset]:
    """The arrays of one layer under the name that a layout has for each."""
    known = {
        source
        for row in candidates(type(module).__name__)
        for weight in module.own_weights
        for source in row.part(weight).sources
    }
    found: dict[str, Dataset] = {}
    for parts, dataset in entries:
        name = next((n for n in _endings(parts) if n in known), "/".join(parts))
        if name in found:
            raise match.error(f"{module.called()}: {dataset.path} and {found[name].path} are one and the same weight")
        found[name] = dataset
    return found


def _endings(parts: tuple[str, ...]) -> Iterator[str]:
    """What a weight may be called: the ends of its path, the longest first; then of ``lstm_1_W_i`` the end."""
    for start in range(len(parts)):
        yield "/".join(parts[start:])
    words = parts[-1].split("_")
    for start in range(1, len(words)):
        yield "_".join(words[start:])


# Nested files.

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


def nested(match: Match, orders: Mapping[frozenset[str], list[str]], snake: Any) -> None:
    """The weights of a file whose groups lie as Keras' objects do.

    ``orders`` has the layers of models in the order of the file, by the set of their names.
    """
    _Nested(match, orders, snake).model(match.model, "")


class _Nested:
    def __init__(self, match: Match, orders: Mapping[frozenset[str], list[str]], snake: Any) -> None:
        self._match, self._orders, self._snake = match, orders, snake
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
        container = next((at for at in (_join(place, name) for name in _LAYERS) if at in self._groups), None)
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
            by_kind.setdefault(_KINDS.get(kind, (self._snake(kind),)), []).append(module)
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
