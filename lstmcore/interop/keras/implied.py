"""Masks that act beside ``initial_state``, written for Keras 3: as tensors that its operations compute.

In Keras 3 a mask that comes with the input has no effect there, and one that is given as ``mask=`` has. What makes the
mask says how it is computed: an Embedding ``ids != 0``, a Masking ``any(x != mask_value, axis=-1)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmcore.layers.symbolic import IMPLIED
from lstmcore.naming import unique

Entry = dict[str, Any]

_TENSOR = "__keras_tensor__"


def computed(value: Any) -> Any:
    """A description with each implied mask computed, in the graphs where what makes it stands too."""
    if isinstance(value, list):
        return [computed(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    made = {key: computed(entry) for key, entry in value.items()}
    if isinstance(made.get("layers"), list) and "output_layers" in made:
        made["layers"] = _Graph(made["layers"]).written()
    return made


class _Graph:
    """The layers of one functional model, with the operations that compute masks."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = {str(entry["name"]): entry for entry in entries}
        self._made: dict[str, list[Entry]] = {name: [] for name in self._entries}
        self._names = set(self._entries)

    def written(self) -> list[Entry]:
        result: list[Entry] = []
        for entry in self._entries.values():
            nodes = [self._node(node) for node in entry["inbound_nodes"]]
            result.append({**entry, "inbound_nodes": nodes})
        return [one for entry in result for one in (entry, *self._made[str(entry["name"])])]

    def _node(self, node: Entry) -> Entry:
        if node["kwargs"].get("mask") != IMPLIED:
            return node
        mask = self._mask(node["args"][0])
        return node if mask is None else {**node, "kwargs": {**node["kwargs"], "mask": mask}}

    def _mask(self, tensor: Any) -> Entry | None:
        """The mask of a tensor as another tensor; None where no one layer makes it."""
        if not _is_tensor(tensor):
            return None
        name, use, _ = tensor["config"]["keras_history"]
        entry = self._entries[name]
        nodes = entry["inbound_nodes"]
        if use >= len(nodes):
            return None
        (x, *more), kwargs = nodes[use]["args"], nodes[use]["kwargs"]
        if more or not _is_tensor(x) or "layers" in entry["config"]:
            return None
        if entry["class_name"] == "Embedding" and entry["config"]["mask_zero"]:
            return self._operation(name, "NotEqual", [x, 0], {}, x["config"]["shape"])
        if entry["class_name"] == "Masking":
            number, shape = entry["config"]["mask_value"], x["config"]["shape"]
            differs = self._operation(name, "NotEqual", [x, number], {}, shape)
            return self._operation(name, "Any", [differs], {"axis": -1, "keepdims": False}, shape[:-1])
        mask = kwargs.get("mask")
        return mask if _is_tensor(mask) else self._mask(x)

    def _operation(self, of: str, kind: str, args: list[Any], options: Entry, shape: list[Any]) -> Entry:
        """An operation beside the layer whose mask it computes; its output."""
        base = f"{of}_{'mask' if len(shape) == 2 else 'differs'}"  # not_equal and any are names that Keras gives
        calls = [{"args": args, "kwargs": {}}]
        same = [one["name"] for one in self._made[of] if (one["class_name"], one["inbound_nodes"]) == (kind, calls)]
        name = same[0] if same else unique(base, self._names)
        if not same:
            self._names.add(name)
            entry = {"module": "keras.src.ops.numpy", "class_name": kind, "config": {"name": name, **options}}
            self._made[of].append({**entry, "registered_name": kind, "name": name, "inbound_nodes": calls})
        return {"class_name": _TENSOR, "config": {"shape": shape, "dtype": "bool", "keras_history": [name, 0, 0]}}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class_name") == _TENSOR
