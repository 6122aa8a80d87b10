"""The calls between the layers of a functional model: Keras 1 and 2's ``inbound_nodes`` in the form of Keras 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.interop.keras.generations import Generation
from lstmcore.layers.symbolic import EVERY
from lstmcore.storage.container import show

IF_MASKED = "if masked"  # for `models.wiring`: the mask that comes with the input, where one does
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")
_MODELS = ("Sequential", "Functional", "Model")
_LISTS = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")


class Graph:
    """The calls in one functional model's description."""

    def __init__(self, name: str, row: Generation, entries: list[Any]) -> None:
        self._name, self._row = name, row
        self._kinds = {str(entry.get("name")): entry.get("class_name") for entry in entries}
        self._first = {} if row.major == 3 else dict(self._firsts(entries))

    def nodes(self, data: Mapping[str, Any], ours: str) -> list[Any]:
        """The calls of a layer."""
        found = data.get("inbound_nodes", [])
        if not isinstance(found, list):
            raise self._error(f"the calls of {show(data.get('name'))} are {show(found)}")
        if all(isinstance(node, Mapping) and "args" in node for node in found):
            return found
        return [self._call(node, ours) for node in found]

    def ends(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Where the model begins and ends. Keras 1 and 2 took lists of one for the one."""
        found = {key: config.get(key) for key in ("input_layers", "output_layers")}
        if self._row.major == 3:
            return found
        return {key: self._end(value) for key, value in found.items()}

    def _end(self, value: Any) -> Any:
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
            return self._end(value[0])
        if self._is_tensor(value):
            # `models.wiring` counts a nested functional model's own making, as Keras 3 does
            own = 1 if self._kinds[value[0]] in ("Functional", "Model") else 0
            return [value[0], value[1] - self._first.get(value[0], 0) + own, value[2]]
        if isinstance(value, list):
            return [self._end(entry) for entry in value]
        if isinstance(value, Mapping):
            return {key: self._end(entry) for key, entry in value.items()}
        raise self._error(f"{show(value)} is no output of a layer")

    def _firsts(self, entries: list[Any]) -> Iterator[tuple[str, int]]:
        """How nested models' calls are counted: from 1, their own making being the first, or from 0."""
        used: dict[str, set[int]] = {}
        for entry in entries:
            for ref in self._references(entry.get("inbound_nodes")):
                used.setdefault(ref[0], set()).add(ref[1])
        for entry in entries:
            name = str(entry.get("name"))
            if entry.get("class_name") in _MODELS and 0 not in used.get(name, ()):
                yield name, 1

    def _references(self, value: Any) -> Iterator[Any]:
        if self._is_tensor(value):
            yield value
        elif isinstance(value, (list, Mapping)):
            for entry in value.values() if isinstance(value, Mapping) else value:
                yield from self._references(entry)

    def _is_tensor(self, value: Any) -> bool:
        """Whether it is [layer, call, output], perhaps with the call's other arguments."""
        return (
            isinstance(value, list)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and value[0] in self._kinds
            and all(type(number) is int for number in value[1:3])
            and (len(value) == 3 or isinstance(value[3], Mapping))
        )

    def _tensor(self, value: Any) -> dict[str, Any]:
        if not self._is_tensor(value):
            raise self._error(f"{show(value)} is no output of a layer; a constant cannot be an input")
        history = [value[0], value[1] - self._first.get(value[0], 0), value[2]]
        return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}

    def _decoded(self, value: Any) -> Any:
        if self._is_tensor(value):
            return self._tensor(value)
        if isinstance(value, list):
            return [self._decoded(entry) for entry in value]
        if isinstance(value, Mapping):
            return {key: self._decoded(entry) for key, entry in value.items()}
        return value

    def _call(self, node: Any, ours: str) -> dict[str, Any]:
        if isinstance(node, list) and (self._is_tensor(node) or _is_constant(node)):
            node = [node]
        references = list(node.values()) if isinstance(node, Mapping) else node
        if not isinstance(references, list) or not references:
            raise self._error(f"{show(node)} is no call of a layer")
        first = references[0]
        others = first[3] if isinstance(first, list) and len(first) == 4 and isinstance(first[3], Mapping) else {}
        kwargs = {key: self._decoded(value) for key, value in others.items() if value is not None}
        if isinstance(node, Mapping):
            return {"args": [{key: self._tensor(value) for key, value in node.items()}], "kwargs": kwargs}
        tensors = [self._nested(value) for value in references]
        if ours in _RECURRENT:
            x, *states = tensors
            if states:
                kwargs["initial_state"] = states
            if kwargs.get("initial_state") is not None and kwargs.get("mask") is None and self._row.mask_beside_states:
                kwargs["mask"] = IF_MASKED
            return {"args": [x], "kwargs": kwargs}
        if ours in _LISTS and kwargs.get("mask") is None:
            kwargs["mask"] = EVERY
        return {"args": [tensors[0] if len(tensors) == 1 and ours not in _LISTS else tensors], "kwargs": kwargs}

    def _nested(self, value: Any) -> Any:
        if isinstance(value, list) and not self._is_tensor(value) and value and isinstance(value[0], list):
            return [self._nested(entry) for entry in value]
        return value[2] if _is_constant(value) else self._tensor(value)

    def _error(self, fault: str) -> UnsupportedFileError:
        return UnsupportedFileError(f"{self._name}: {fault}.")


def _is_constant(value: Any) -> bool:
    """Whether it is how tf.keras writes a number among the inputs of an operation."""
    return isinstance(value, list) and len(value) == 4 and value[0] == "_CONSTANT_VALUE"
