"""Listed files, ``.h5`` of every generation: a group for each layer, with the list of its arrays' names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from typing import Any

from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError
from lstmcore.interop.keras.arrays import BESIDE, Arrays, Match
from lstmcore.interop.keras.layouts import as_it_is, candidates
from lstmcore.layers.module import Module
from lstmcore.storage.container import show
from lstmcore.storage.hdf5 import Dataset

_MODELS = ("Model", "Sequential")

Array = NDArray[Any]
Named = tuple[tuple[str, ...], Dataset]
"""The name of an array, in parts, and where it is."""


def listed(match: Match, root: str, renamed: Mapping[str, tuple[str, str]] | None = None) -> None:
    """The weights of a file whose groups list their arrays; ``root`` is the group that lists the layers.

    ``renamed`` says of arrays, by ``LAYER_WEIGHT`` or ``LAYER/WEIGHT``, which layer here they are of, and which weight.
    """
    file = match.file
    names = file.texts(root, "layer_names")
    if names is None:
        raise DamagedFileError(f"{file.name} lists no layers; it is not what Keras writes.")
    layers = match.model.parts
    groups = {}
    for name in names:
        entries = [
            (_new_name(parts, renamed or {}), dataset)
            for parts, dataset in _entries(file, root, name)
            if not BESIDE.search("/".join(parts))
        ]
        if name in layers and not _is_unnamed(layers[name]):
            _share(match, layers[name], entries)
        elif entries:
            groups[name] = entries
    _share_unnamed(match, groups)
    top = _join(root, "top_level_model_weights")
    if top in file.groups and file.texts(top, "weight_names"):
        raise match.error("it has weights that belong to no layer")


def _new_name(parts: tuple[str, ...], renamed: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    new = renamed.get(parts[-1]) or renamed.get("/".join(parts[-2:]))
    return (*parts[:-1], *new) if new else parts


def _is_unnamed(module: Module) -> bool:
    """Whether it is a model whose name here need not be the file's: before 2.2, Keras kept that of no Sequential."""
    return type(module).__name__ in _MODELS and module.auto_named


def _share_unnamed(match: Match, groups: Mapping[str, list[Named]]) -> None:
    """Gives the arrays of models whose names are not known to the layers in them: by their names, or in order."""
    layers = match.model.parts
    inner = dict(_layers_within(match.model))
    labels = _labels(inner)
    models = [part for part in layers.values() if _is_unnamed(part) and any(True for _ in part.owners())]
    rest = {}
    for name, entries in groups.items():
        found = [_labelled(labels, parts) for parts, _ in entries]
        if not all(found):
            rest[name] = entries
            continue
        for prefix in dict.fromkeys(found):
            _share(match, inner[str(prefix)], [e for e, own in zip(entries, found, strict=True) if own == prefix])
    models = [model for model in models if not match.has(model)]
    for name, entries in rest.items():
        if name in layers and layers[name] in models:
            _share(match, layers[name], entries)
        elif len(models) == len(rest):
            _share(match, models[list(rest).index(name)], entries)
        else:
            raise match.error(f"it has weights for a layer {show(name)}, which the model does not have")


def _layers_within(module: Module, prefix: str = "") -> Iterator[tuple[str, Module]]:
    """The layers of a model and of the models in it, by their paths."""
    for name, part in module.parts.items():
        if type(part).__name__ in _MODELS:
            yield from _layers_within(part, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", part


def lists(model: Module) -> Iterator[tuple[str, dict[str, Array]]]:
    """The arrays of each layer by name, in Keras' order for such files: those that training changes come first."""
    frozen = model.frozen()
    for name, layer in model.parts.items():
        yield name, {path: owner.own_weights[weight] for path, owner, weight in _ordered(layer, name, frozen)}


def _ordered(layer: Module, name: str, frozen: Set[int]) -> list[tuple[str, Module, str]]:
    """The weights of a layer in Keras' order: what each is called, whose it is, and its name there."""
    found: dict[tuple[int, str], tuple[str, Module, str]] = {}
    for path, owner, weight in _paths(layer, name):
        found.setdefault((id(owner), weight), (path, owner, weight))
    return sorted(found.values(), key=lambda entry: id(entry[1]) in frozen or entry[2] in entry[1].untrained)


def _paths(module: Module, at: str) -> Iterator[tuple[str, Module, str]]:
    """What each weight is called: by the names of all that it lies in."""
    for weight in module.own_weights:
        yield f"{at}/{weight}", module, weight
    names = Counter(part.name for part in module.parts.values())
    for prefix, part in module.parts.items():
        yield from _paths(part, f"{at}/{part.name if names[part.name] == 1 and part.name else f'{prefix}_{part.name}'}")


def _entries(file: Arrays, root: str, name: str) -> Iterator[Named]:
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
    if shares is None and _in_keras_order(match, module, entries):
        return
    if shares is None:
        told = ", ".join("/".join(parts) for parts, _ in entries[:6])
        raise match.error(f"{module.called()}: its parts {', '.join(holders)} cannot be told apart among {told}")
    for prefix, part in holders.items():
        _share(match, part, shares[prefix])


def _labels(holders: Mapping[str, Module]) -> dict[str, set[str]]:
    """The names by which each part can be told from the others: its own, and of what is within it."""
    labels = {
        prefix: {f"{prefix}_{part.name}", *(name for inner in part.modules() for name in _names(inner))}
        for prefix, part in holders.items()
    }
    count = Counter(label for own in labels.values() for label in own)
    return {prefix: {label for label in own if count[label] == 1} for prefix, own in labels.items()}


def _names(module: Module) -> Iterator[str]:
    """What a layer was called; Keras 1.0 wrote of what a Bidirectional holds the name that it had made of it."""
    for start in ("forward_forward_", "backward_forward_"):
        if module.name and module.name.startswith(start):
            yield module.name.replace("_forward_", "_", 1)
    if module.name:
        yield module.name


def _by_label(labels: Mapping[str, set[str]], entries: list[Named]) -> dict[str, list[Named]] | None:
    """The arrays by the part whose name stands in theirs; None unless each has one, and each part some."""
    shares: dict[str, list[Named]] = {prefix: [] for prefix in labels}
    for parts, dataset in entries:
        found = _labelled(labels, parts)
        if found is None:
            return None
        shares[found].append((parts, dataset))
    return shares if all(shares.values()) else None


def _labelled(labels: Mapping[str, set[str]], parts: tuple[str, ...]) -> str | None:
    """The part whose label stands in the name of an array, outermost; Keras 1 joined the two: forward_lstm_1_W_i."""
    found = [prefix for part in parts for prefix, own in labels.items() if part in own]
    if found:
        return found[0]
    joined = {label: prefix for prefix, own in labels.items() for label in own if parts[-1].startswith(f"{label}_")}
    return joined[max(joined, key=len)] if joined else None


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


def _in_keras_order(match: Match, module: Module, entries: list[Named]) -> bool:
    """Takes the arrays in the order in which Keras loads them, where names and shapes do not speak against it."""
    wanted = _ordered(module, "", match.model.frozen())
    ours = [(weight.split("/")[-1], owner.own_weights[weight].shape) for _, owner, weight in wanted]
    if ours != [(parts[-1], dataset.shape) for parts, dataset in entries]:
        return False
    for (_, owner, weight), (_, dataset) in zip(wanted, entries, strict=True):
        match.take(owner, weight, as_it_is(weight), [dataset])
    return True


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
