"""A description of any generation in our words: Keras 3's serialized form, as `models.files.deserialize` reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.interop.keras import keras_1, operations
from lstmcore.interop.keras.classes import ALIASES, CLASSES, FUNCTIONS, REFUSED, Row
from lstmcore.interop.keras.describe import STEEP
from lstmcore.interop.keras.generations import Generation
from lstmcore.interop.keras.nodes import Graph
from lstmcore.storage.container import show

MAX_LAYERS = 512
"""The most layers that a description may have, counting each use of a shared model anew."""

MODELS = ("Sequential", "Functional", "Model")
_INNER = ("layer", "backward_layer", "cell")
_ACTIVATIONS = ("activation", "recurrent_activation")
_BESIDE = ("keras_version", "backend", "build_config", "compile_config", "name", "inbound_nodes")
_OF_ANY_LAYER = ("name", "trainable", "dtype", "batch_input_shape")
_OPERATIONS = "keras.src.ops"
_POLICIES = ("Policy", "PolicyV1", "DTypePolicy", "FloatDTypePolicy")
_HALVES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
_MASK_OPERATIONS = (
    *("NotEqual", "Any", "LogicalOr", "LogicalAnd", "ExpandDims", "OnesLike", "ZerosLike", "Cast", "Max"),
    "ConvertToTensor",
)

Entry = dict[str, Any]


@dataclass
class Translator:
    """Translates one description. ``orders`` gathers each model's layers in the order of the file, by their names.

    ``reset_after(name)`` says of a GRU whose config does not, from the shape of its bias; None where it cannot.
    ``features(name)`` says how many features a Highway has, from the shape of its kernel.
    ``time_major`` gathers the names of the layers that take time from the first axis, ``turns`` of what stands for
    operations that exchange the first two axes; ``warnings`` what is not quite as it was; ``renamed`` the names of
    weights whose layer is several here -> that of the layer and the weight's own.
    """

    name: str
    row: Generation
    reset_after: Callable[[str], bool | None] = lambda _: None
    features: Callable[[str], int | None] = lambda _: None
    orders: dict[frozenset[str], list[str]] = field(default_factory=dict)
    time_major: set[str] = field(default_factory=set)
    turns: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    renamed: dict[str, tuple[str, str]] = field(default_factory=dict)
    _met: int = 0

    def model(self, data: Any) -> Entry:
        """A whole model. UnsupportedFileError names what lstmcore lacks."""
        entry, _ = self._entry(data)
        if entry["class_name"] not in MODELS:
            raise self._error(f"it describes a {show(entry['class_name'])}; expected a Sequential or functional model")
        return entry

    def _entry(self, data: Any) -> tuple[Entry, int]:
        """A layer or model, and how many layers it comes to."""
        kind = data.get("class_name") if isinstance(data, Mapping) else None
        if not isinstance(kind, str):
            raise self._error(f"{show(data)} describes no layer; expected a class_name and a config")
        if kind in REFUSED:
            raise self._error(f"it has a layer of class {kind}: {REFUSED[kind]}")
        config = data.get("config")
        entry = {key: data[key] for key in ("module", "registered_name") if key in data}
        unknown = [key for key in data if key not in (*entry, *_BESIDE, "class_name", "config", "shared_object_id")]
        if unknown:
            raise self._error(f"a layer of class {show(kind)} has the unknown key {show(unknown[0])}")
        if self.row.major < 3 and kind == "Sequential" and keras_1.is_merging(config):
            made, count = self._functional(keras_1.flat(config, self.name, self.row.major > 1, MAX_LAYERS))
            return {"module": "keras", "class_name": "Functional", "config": made}, count
        if kind in MODELS:
            made, count = self._sequential(config) if kind == "Sequential" else self._functional(config)
            return {"module": "keras", "class_name": kind, "config": made}, count
        if not isinstance(config, Mapping):
            raise self._error(f"a layer of class {show(kind)} has the config {show(config)}")
        if self.row.major < 3 and kind in keras_1.MADE:
            made = self._of_layers(kind, config)
            return {"module": "keras", "class_name": "Sequential", "config": made}, len(made["layers"])
        kind, made, count = self._layer(kind, config)
        if entry.get("registered_name") == data["class_name"]:
            entry["registered_name"] = kind
        return {**entry, "class_name": kind, "config": made}, count

    # Models.

    def _sequential(self, config: Any) -> tuple[Entry, int]:
        config = {"layers": config} if isinstance(config, list) else config
        entries = self._entries(config)
        kept = {key: config[key] for key in config if key in ("name", "trainable", "dtype", "build_input_shape")}
        if self.row.major < 3:
            kept.pop("dtype", None)
        self._only(config, (*kept, "layers", "dtype"))
        layers, count = [], 0
        for data in entries:
            met = self._met
            entry, more = self._entry(data)
            self._note_time(entry, met)
            layers.append(entry)
            count = self._counted(count + more)
        self._note_order([entry["config"].get("name") for entry in layers])
        return {**kept, "layers": layers}, count

    def _functional(self, config: Any) -> tuple[Entry, int]:
        entries = self._entries(config)
        self._only(config, ("name", "trainable", "dtype", "layers", "input_layers", "output_layers"))
        if self.row.major < 3:
            entries = [entry for data in entries for entry in keras_1.unmerged(data, self.name)]
        graph = Graph(self.name, self.row, entries)
        numbers = operations.computing(entries, config.get("output_layers"), self._is_operation)
        masks = {str(data.get("name")) for data in entries if self._is_operation(data)} - numbers
        if strange := operations.strange_mask(entries, masks):
            raise self._error(f"the operation {show(strange)} computes a mask that no Masking and no Embedding makes")
        layers, count = [], 0
        for data in entries:
            name = data.get("name", data["config"].get("name") if isinstance(data.get("config"), Mapping) else None)
            if not isinstance(name, str):
                raise self._error(f"a layer in it is called {show(name)}")
            if data.get("class_name") in operations.TENSORFLOW or name in numbers:
                entry = operations.translated({**data, "inbound_nodes": graph.nodes(data, "")}, self.name)
                layers.append(self._without_turn(entry))
                count = self._counted(count + 1)
                continue
            if self._is_operation(data):  # it computes a mask; `models.wiring` reads those
                layers.append({**data, "module": _OPERATIONS})
                continue
            met = self._met
            entry, more = self._entry(data)
            self._note_time(entry, met)
            nodes = graph.nodes(data, entry["class_name"])
            count = self._counted(count + more * max(len(nodes), 1))
            entry["config"] = {**entry["config"], "name": name}
            layers.append({**entry, "name": name, "inbound_nodes": nodes})
        self._note_order([entry.get("name") for entry in layers])
        kept = {key: config[key] for key in ("name", "trainable") if key in config}
        return {**kept, "layers": layers, **graph.ends(config)}, count

    def _without_turn(self, entry: Entry) -> Entry:
        """Where time and batch change places, nothing changes but what the axes are called; that is noted."""
        config = entry["config"]
        axes = (config.get("arguments") or {}).get("axes") if config.get("function") == "transpose" else None
        if not isinstance(axes, list) or len(axes) < 2 or axes != [1, 0, *range(2, len(axes))]:
            return entry
        self.turns.add(str(entry["name"]))
        config = {"name": entry["name"], "activation": "linear"}
        return {**entry, "class_name": "Activation", "config": config}

    def _is_operation(self, data: Mapping[str, Any]) -> bool:
        """Whether it is how Keras 3 writes what it computes between layers, of numbers or of masks."""
        kind, config = data.get("class_name"), data.get("config")
        known = kind in _MASK_OPERATIONS or kind in operations.KERAS_3
        # .h5 has no module there; a layer of that name has more to say
        legacy = "module" not in data and known and isinstance(config, Mapping) and "trainable" not in config
        return self.row.major == 3 and (legacy or str(data.get("module")).startswith((_OPERATIONS, "keras.ops")))

    def _entries(self, config: Any) -> list[Any]:
        entries = config.get("layers") if isinstance(config, Mapping) else None
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise self._error("a model in it has no list of layers")
        self._counted(len(entries))
        for entry in entries:
            kind, name = entry.get("class_name"), entry.get("name")
            if not isinstance(kind, str) or not isinstance(name, (str, type(None))):
                raise self._error(f"a layer in it is called {show(name)} and is a {show(kind)}; expected texts")
        return entries

    def _counted(self, count: int) -> int:
        if count > MAX_LAYERS:
            raise self._error(f"it has more than {MAX_LAYERS} layers")
        return count

    def _note_order(self, names: list[Any]) -> None:
        known = [name for name in names if isinstance(name, str)]
        self.orders[frozenset(known)] = known

    def _note_time(self, entry: Entry, met: int) -> None:
        if self._met > met:
            self.time_major.add(str(entry["config"].get("name")))

    def _only(self, config: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for key in config:
            if key not in known:
                raise self._error(f"a model in it has the unknown key {show(key)}")

    # Layers.

    def _layer(self, theirs: str, config: Mapping[str, Any]) -> tuple[str, Entry, int]:
        if theirs == "TimeDistributedDense":
            inner = {**config, "name": f"{config.get('name')}_inner"}
            first: Entry = {key: inner.pop(key) for key in ("name", "batch_input_shape") if key in inner}
            return self._layer(
                "TimeDistributed",
                {**first, "name": config.get("name"), "layer": {"class_name": "Dense", "config": inner}},
            )
        rows = CLASSES[self.row.major]
        row = rows.get(theirs) or rows.get(ALIASES.get(theirs, "")) or Row(ALIASES.get(theirs, theirs))
        if config.get("time_major") is True and "time_major" in row.gone:
            config = {**config, "time_major": False}
            self._met += 1
        first_1 = {"input_dtype": config.get("input_dtype")} if self.row.major == 1 and theirs not in rows else {}
        made = row.translate(theirs, {key: v for key, v in config.items() if key not in first_1}, self.name)
        if "dtype" in made:
            made["dtype"] = self._dtype(made["dtype"])
        for key, lost in row.training.items():
            if config.get(key):
                self.warnings.append(f"{show(config.get('name'))} {lost}")
        if row.warns:
            self.warnings.append(f"{show(config.get('name'))} {row.warns}")
        for key, value in self.row.missing.get(row.ours, {}).items():
            if key not in made:
                told = self.reset_after(str(config.get("name"))) if key == "reset_after" else None
                made[key] = value if told is None else told
        count = 1
        for key in _INNER:
            if isinstance(made.get(key), Mapping):
                made[key], more = self._entry(made[key])
                count += more
        if isinstance(made.get("cells"), list):
            self._counted(len(made["cells"]))
            cells = [self._entry(cell) for cell in made["cells"]]
            made["cells"] = [cell for cell, _ in cells]
            count += sum(more for _, more in cells)
        for key in _ACTIVATIONS:
            if key in made:
                made[key] = self._activation(made[key])
        if self.row.major == 1:
            made = {key: keras_1.penalty(value) for key, value in made.items()}
        return row.ours, made, count

    def _of_layers(self, kind: str, config: Mapping[str, Any]) -> Entry:
        """A layer that is several here; notes where its weights go."""
        make, weights = keras_1.MADE[kind]
        name = str(config.get("name"))
        for weight, (part, ours) in weights.items():
            for theirs in (f"{name}_{weight}", f"{name}/{weight}"):  # of Keras 1, of Keras 2
                self.renamed[theirs] = (f"{name}_{part}", ours)
        given = {key: keras_1.penalty(value) for key, value in config.items()}
        given["input_dim"] = config.get("input_dim") or self.features(name)
        return make({**given, "activation": self._activation(config.get("activation", "linear"))}, self.name)

    def _dtype(self, value: Any) -> Any:
        """What a layer computes in; half precision is float32 here, and a warning says so."""
        kind = value.get("class_name") if isinstance(value, Mapping) else None
        config = value.get("config") if kind in _POLICIES else None
        name = config.get("name") if isinstance(config, Mapping) else value
        if name not in _HALVES:
            return value
        self._tell(f"computes in {name}; here it does in float32, which is nearer to the exact numbers")
        return "float32"

    def _tell(self, told: str) -> None:
        """A warning, once."""
        if told not in self.warnings:
            self.warnings.append(told)

    def _activation(self, value: Any) -> Any:
        """An activation in our words: a name of another meaning, or a layer that stands for its function."""
        if isinstance(value, str):
            return self.row.activations.get(value, value)
        kind = value.get("class_name") if isinstance(value, Mapping) else None
        if kind == "Pipeline" and _same(value, STEEP):
            return "hard_sigmoid_0_2"
        if isinstance(kind, str) and kind in FUNCTIONS and isinstance(value["config"], Mapping):
            return self._function(kind, value["config"])
        if isinstance(value, Mapping) and isinstance(value.get("config"), str):
            return {**value, "config": self.row.activations.get(value["config"], value["config"])}
        return value

    def _function(self, kind: str, config: Mapping[str, Any]) -> Entry:
        """A layer given as an activation, as the function that it is."""
        ours, defaults, renamed = FUNCTIONS[kind]
        given = {renamed.get(key, key): v for key, v in config.items() if key not in _OF_ANY_LAYER and v is not None}
        return {"name": ours, **defaults, **given}

    def _error(self, fault: str) -> UnsupportedFileError:
        return UnsupportedFileError(f"{self.name}: {fault}.")


def _same(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is found."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(key in found and _same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_same, found, wanted))
    return bool(found == wanted)
