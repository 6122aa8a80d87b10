"""Models to and from files and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstmcore import configs, initializers
from lstmcore.errors import ForeignFileError, SpecError, UnsupportedFileError, shortened
from lstmcore.layers.base import placeholder_weights
from lstmcore.layers.module import Module
from lstmcore.layers.serialization import DERIVED
from lstmcore.models.base import BaseModel
from lstmcore.models.functional import Model
from lstmcore.models.program_model import ProgramModel
from lstmcore.models.sequential import Sequential
from lstmcore.storage.description import read_description
from lstmcore.weights import WeightFile, write

MODELS: Mapping[str, type[Sequential] | type[Model] | type[ProgramModel]] = {
    "Sequential": Sequential,
    "Functional": Model,
    "Model": Model,
    "ProgramModel": ProgramModel,
}

# What the names of a checkpoint's tensors that are no weights begin with.
BESIDE_WEIGHTS = ("optimizer/", "states/", "scores/", "callbacks/")

PathLike = str | os.PathLike[str]


def save(model: BaseModel, path: PathLike) -> None:
    """Writes the model to a ``.safetensors`` file."""
    if Path(path).suffix != ".safetensors":
        raise SpecError(
            f"models are saved to .safetensors files; given {Path(path).name!r}. "
            "lc.export_model writes the formats of others."
        )
    check_shared(model)
    write(path, model.weights, unbuilt_description(model))


MAX_LAYERS = 1024
"""The most layers of a model that is written or read, those of nested models among them."""


def unbuilt_description(model: BaseModel) -> str:
    """The JSON that goes with the weights in a file: without the arrays that they start from."""
    description = model.serialize()
    _check_count(description)
    return json.dumps(without_arrays(description))


def _check_count(description: Any) -> None:
    """SpecError for more layers than are read: a megabyte can describe so many that building them takes hours."""
    count, left = 0, [description]
    while left:
        entry = left.pop()
        if isinstance(entry, Mapping):
            count += len(entry["layers"]) if isinstance(entry.get("layers"), list) else 0
            left.extend(entry.values())
        elif isinstance(entry, list):
            left.extend(entry)
    if count > MAX_LAYERS:
        raise SpecError(f"a model of {count} layers; at most {MAX_LAYERS} are written and read")


def check_shared(model: BaseModel) -> None:
    """SpecError where a layer with weights is a part of two others: read back, it would be two."""
    outers: dict[Module, Module] = {}
    for outer in model.modules():
        for part in dict.fromkeys(outer.parts.values()):
            first = outers.setdefault(part, outer)
            if first is not outer and any(True for _ in part.owners()):
                raise SpecError(
                    f"{part.called()} is a part of {first.called()} and of {outer.called()}, which a file cannot say: "
                    "read back, they would not share it. Save the models one by one, or make each layer part of one."
                )


def without_arrays(config: Any) -> Any:
    """The description without the arrays that initializers hold: the file has the weights themselves."""
    if isinstance(config, list):
        return [without_arrays(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    value = config.get("config")
    if isinstance(value, dict) and isinstance(value.get("value"), dict):  # Constant(array)
        return initializers.serialize(initializers.Zeros())
    return {key: without_arrays(entry) for key, entry in config.items()}


def load_model(path: PathLike) -> BaseModel:
    """The model in a ``.safetensors`` file written by ``model.save``. FileError says what is wrong with it."""
    with WeightFile.open(path) as file, placeholder_weights():
        _check_weights(file)
        try:
            model = deserialize(read_description(file.model, f"{file.header.name}, its model"))
            model.program  # noqa: B018  builds the weights
        except SpecError as error:
            raise UnsupportedFileError(shortened(f"{file.header.name}: {error}")) from None
        _take(model, file)
    return model


def load_weights(model: BaseModel, path: PathLike) -> None:
    """Takes the weights from a file; all of them or none."""
    with WeightFile.open(path) as file:
        _check_weights(file)
        _take(model, file)


def _take(model: BaseModel, file: WeightFile) -> None:
    """The file's weights; a checkpoint holds more than these, which is left alone."""
    wanted = expected(model)
    more = file.header.tensors if file.header.metadata.get("holds") == "training" else {}
    beside = {
        name: (entry.shape, entry.dtype)
        for name, entry in more.items()
        if name not in wanted and name.startswith(BESIDE_WEIGHTS)
    }
    arrays = file.read({**wanted, **beside})
    model.replace_weights({name: arrays[name] for name in wanted})


def _check_weights(file: WeightFile) -> None:
    if file.header.metadata.get("holds") == "state":
        raise ForeignFileError(
            f"{file.header.name} holds the state of a stream, not the weights of a model; stream.load_state reads it"
        )


def expected(model: BaseModel) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> shape and dtype of every weight."""
    return {name: (array.shape, array.dtype.name) for name, array in model.weights.items()}


def model_from_json(text: str) -> BaseModel:
    """A model from Keras 3's JSON, as ``to_json`` writes it; weights are new. SpecError if it is none."""
    if not isinstance(text, str):
        raise SpecError(f"the JSON of a model is a string, not {type(text).__name__}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not the JSON of a model: {error}") from None
    return deserialize(data)


def deserialize(data: Any) -> BaseModel:
    """A model from Keras 3's serialized form."""
    if not isinstance(data, Mapping):
        raise SpecError(f"a model is a mapping with class_name and config, not {type(data).__name__}")
    if "keras_version" in data:
        raise SpecError(
            f"this is the JSON of Keras {data['keras_version']}; expected that of Keras 3, where names and numbers "
            "such as hard_sigmoid's differ from Keras 2. Load it in Keras 3 and take its to_json()."
        )
    _check_count(data)
    kept = {key: value for key, value in data.items() if key not in DERIVED}
    name, config = configs.unwrap(kept, "model")
    try:
        return configs.lookup(name, MODELS, "model").from_config(config)
    except RecursionError:
        raise SpecError("a model whose description is nested too deeply") from None
