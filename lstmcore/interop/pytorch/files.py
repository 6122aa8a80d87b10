"""PyTorch's files to models: ``.pt`` and ``.pth`` of torch.save, and ``.safetensors``, into a given model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import axes
from lstmcore.errors import ExportError, FileError, UnsupportedFileError, WeightsAloneError, WeightsMismatchError
from lstmcore.interop import vectors
from lstmcore.interop.listing import Listed, Listing
from lstmcore.interop.pytorch.described import FLOATS
from lstmcore.interop.pytorch.matching import Match, match
from lstmcore.interop.pytorch.sketch import sketched
from lstmcore.interop.pytorch.source import source
from lstmcore.interop.pytorch.state import Entry, from_state
from lstmcore.interop.pytorch.states import State, open_state
from lstmcore.interop.pytorch.targets import Fill
from lstmcore.interop.pytorch.units import describe_all, find_units
from lstmcore.interop.specs import in_file, specified
from lstmcore.layers.module import Module
from lstmcore.models.base import BaseModel
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import show

Array = NDArray[Any]


def read(
    path: PathLike,
    weights: PathLike | None = None,
    spec: Any = None,
    *,
    map: Mapping[str, Any] | None = None,
    key: str | None = None,
    ignore: Sequence[str] = (),
) -> BaseModel:
    """The model ``spec`` with the weights of a state_dict.

    Args:
        path: a file of ``torch.save(model.state_dict(), ...)``, a checkpoint around one, or a ``.safetensors``.
        weights: is not for this format.
        spec: the model, its JSON, or the path of that. A model is given the weights and returned.
        map: layer -> module, where names, shapes and order do not tell: ``{"lstm_1": "encoder.lstm"}``; a layer of a
            deep LSTM is ``"encoder.lstm.l1"``, a backward half ``"encoder.lstm.l1_reverse"``. Also weight -> tensor:
            ``{"dense/kernel": "fc.weight"}``. Where it names all layers, other modules stay in the file.
        key: where in a checkpoint the state_dict is, if there are several.
        ignore: modules and tensors to leave in the file.

    Raises:
        FileError: it cannot be imported; WeightsMismatchError says what is on both sides.
    """
    if weights is not None:
        raise UnsupportedFileError(
            "weights= is given; a state_dict holds weights itself: give it as the path, and spec=."
        )
    with open_state(path, key) as state:
        if spec is None and state.spec is None:
            raise WeightsAloneError(_no_spec(state))
        model = specified(_own_spec(state) if spec is None else spec)
        entries = () if map or ignore else written(model, state)
        if entries:
            take(model, entries, state)
        else:
            fill(model, state, match(model, state, map, ignore))
        if spec is None and state.vectors is not None:
            vectors.hold_model(state.vectors, model, state.name)
    return model


def explain(
    path: PathLike,
    spec: Any = None,
    *,
    map: Mapping[str, Any] | None = None,
    key: str | None = None,
    ignore: Sequence[str] = (),
) -> Match:
    """Which module `read` takes for each layer, and why; no number is read. ``print`` it."""
    with open_state(path, key) as state:
        if spec is None and state.spec is None:
            raise WeightsAloneError(_no_spec(state))
        model = specified(_own_spec(state) if spec is None else spec)
        return match(model, state, map, ignore)


def lists(path: PathLike) -> Listing:
    """The tensors of a state_dict and the modules that they are of; no number is read."""
    with open_state(path) as state:
        arrays = tuple(Listed(name, tensor.shape, tensor.dtype) for name, tensor in state.tensors.items())
        about: dict[str, Any] = {"modules": describe_all(find_units(state.tensors))}
        about |= {"key": state.key, "beside": list(state.beside)} if state.key else {}
        about |= {"prefix": state.prefix} if state.prefix else {}
        return Listing(arrays, {**about, **state.about})


def _own_spec(state: State) -> Mapping[str, Any]:
    """What the file itself says of its model."""
    return in_file(str(state.spec), f"{state.name}, its spec")


def _no_spec(state: State) -> str:
    found = find_units(state.tensors)
    lines = "\n  ".join(describe_all(found)[:40])
    return (
        f"{state.name} holds weights alone, and does not say what computes with them. It has\n  {lines}\n"
        f"Give the model they are for, spec=model. Perhaps it is this one; the code that trained it knows:\n"
        f"{sketched(found)}"
    )


def written(model: BaseModel, state: State) -> tuple[Entry, ...]:
    """The entries of the state_dict that lstmcore writes for the model, if the file holds just these; else none.

    A module that it wrote has parts that PyTorch has no module for, such as a GRU with reset_after=False.
    """
    try:
        entries = source(model, state.name).entries
    except ExportError:
        return ()
    shapes = {name: tensor.shape for name, tensor in state.tensors.items()}
    return entries if {entry.key: entry.shape for entry in entries} == shapes else ()


def take(model: BaseModel, entries: Sequence[Entry], state: State) -> None:
    """Gives the model the weights of a state_dict with just these entries; as `fill`."""
    _check_floats(state, [entry.key for entry in entries if entry.path])
    places = {path: (owner, weight) for path, owner, weight in model.owners()}
    own: dict[str, list[Entry]] = {}
    for entry in entries:
        own.setdefault(entry.path, []).append(entry)

    def given(path: str) -> tuple[Module, str, str, Array]:
        owner, weight = places[path]
        gates = own[path][0].gates
        if gates:
            turned = _turned(owner.own_weights[weight], gates, state, own[path][0].key, path)
            return owner, weight, path, turned
        read = {entry.key: state.read(entry.key) for entry in own[path]}
        wide = np.result_type(*(array.dtype for array in read.values()))
        array = from_state(own[path], read, wide.name)[path]
        return owner, weight, path, _array(owner.own_weights[weight], array, path, state.name)

    _give((given(path) for path in own if path), state.name)


def fill(model: Module, state: State, found: Match) -> None:
    """Gives the model the weights that the match says; all of them or, after an error, none.

    A warning names weights that hold NaN or infinity.
    """
    paths = {(id(owner), weight): path for path, owner, weight in model.owners()}
    for _, names in found.fills:
        _check_floats(state, names)

    def made(rule: Fill, names: Sequence[str]) -> tuple[Module, str, str, Array]:
        path = paths[id(rule.owner), rule.weight]
        target = rule.owner.own_weights[rule.weight]
        if rule.gates:
            return rule.owner, rule.weight, path, _turned(target, rule.gates, state, names[0], path)
        array = _array(target, rule.make([state.read(name) for name in names]), path, state.name)
        return rule.owner, rule.weight, path, array

    _give((made(*fill) for fill in found.fills), state.name)


def _check_floats(state: State, names: Iterable[str]) -> None:
    for name in names:
        if state.tensors[name].dtype not in FLOATS:
            raise WeightsMismatchError(
                f"{state.name}: {show(name)} holds {state.tensors[name].dtype}; expected floats."
            )


def _give(found: Iterable[tuple[Module, str, str, Array]], name: str) -> None:
    made: dict[int, tuple[Module, dict[str, Array]]] = {}
    odd = []
    for owner, weight, path, array in found:
        odd += [] if _is_finite(array) else [path]
        made.setdefault(id(owner), (owner, {}))[1][weight] = array
    for owner, arrays in made.values():
        owner.replace_own(arrays)
    if odd:
        warnings.warn(f"{name}: NaN or infinity in {', '.join(odd)}", UserWarning, stacklevel=5)


def _turned(target: Array, gates: Sequence[int], state: State, name: str, path: str) -> Array:
    """A matrix of theirs, transposed and its gates sorted while it is read, so that it is in memory once.

    ``gates`` are as those of `Fill`; the shape and dtype are those of the target.
    """
    made = np.empty(target.shape, target.dtype)
    units = len(made.T) // len(gates)
    places = {theirs: ours * units for ours, theirs in enumerate(gates)}
    at = 0
    for block in state.blocks(name):
        cast = _cast(block, target.dtype, path, state.name)
        while len(cast):
            gate, within = divmod(at, units)
            piece = cast[: units - within]
            start = places[gate] + within
            axes.copy_columns(piece.T, made[:, start : start + len(piece)])
            cast, at = cast[len(piece) :], at + len(piece)
    return made


def _array(target: Array, array: Array, path: str, name: str) -> Array:
    if array.shape != target.shape:
        raise FileError(f"{name}: {path} has shape {array.shape} where {target.shape} is wanted.")
    cast = axes.contiguous(_cast(array, target.dtype, path, name))
    return cast if cast.flags.writeable else cast.copy()


def _cast(array: Array, dtype: np.dtype[Any], path: str, name: str) -> Array:
    """The same numbers in that dtype; WeightsMismatchError where they do not fit."""
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    if array.dtype.itemsize > cast.dtype.itemsize and not np.array_equal(cast, array, equal_nan=True):
        raise WeightsMismatchError(
            f"{name}: {path} is of {dtype}, and the file's {array.dtype} does not fit into it; "
            "give a spec whose layers have dtype='float64'."
        )
    return cast


def _is_finite(array: Array) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())
