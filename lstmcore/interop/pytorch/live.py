"""Modules that live in this process: their tensors, as arrays, into models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstmcore.errors import SpecError, WeightsMismatchError
from lstmcore.interop.pytorch.described import Storage, Tensor, contiguous
from lstmcore.interop.pytorch.files import fill
from lstmcore.interop.pytorch.matching import Match, match
from lstmcore.interop.pytorch.states import State
from lstmcore.interop.pytorch.targets import Target
from lstmcore.interop.pytorch.units import find_units
from lstmcore.layers.module import Module
from lstmcore.models.base import BaseModel


class ArrayState(State):
    """A state_dict of arrays."""

    def read(self, name: str) -> Any:
        return np.array(self.about[name])

    def blocks(self, name: str) -> Iterator[Any]:
        yield self.about[name]


def array_state(name: str, arrays: Mapping[str, Any]) -> ArrayState:
    """The arrays of a module's state_dict, by name; they are copied only where a weight lies otherwise."""
    tensors = {}
    for entry, array in arrays.items():
        array = np.asarray(array)
        storage = Storage(entry, array.dtype.name, array.itemsize, array.size)
        tensors[entry] = Tensor(storage, 0, array.shape, contiguous(array.shape))
    return ArrayState(name, tensors, True, _no_numbers, about=dict(arrays))


def _no_numbers(storage: Storage, check: bool) -> Any:
    raise SpecError(f"{storage.key} is an array, and not in a file")


def taken(
    spec: BaseModel, name: str, arrays: Mapping[str, Any], map: Mapping[str, Any] | None, ignore: Sequence[str]
) -> BaseModel:
    """The model with the weights of a module's state_dict, matched as those of a file."""
    spec.program  # noqa: B018  builds the weights, or says that there is no input shape yet
    state = array_state(name, arrays)
    fill(spec, state, match(spec, state, map, ignore))
    return spec


def filled(model: BaseModel, places: Sequence[tuple[Module, str]], name: str, arrays: Mapping[str, Any]) -> None:
    """Gives each layer the weights of the module that it was made for."""
    state = array_state(name, arrays)
    units = {unit.label: unit for unit in find_units(state.tensors).units}
    found = Match(name)
    for layer, label in places:
        if not any(True for _ in layer.owners()):
            continue
        unit = units[label]
        plan = Target(label, layer).plan(unit)
        if isinstance(plan, str):
            raise WeightsMismatchError(f"{name}: {label}: {plan}.")
        found.fills += [(rule, tuple(unit.tensors[role] for role in rule.roles)) for rule in plan]
    fill(model, state, found)
