"""The model that ``spec=`` gives or describes, for files that hold weights alone."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lstmcore.errors import UnsafeFileError, UnsupportedFileError
from lstmcore.layers.base import placeholder_weights
from lstmcore.models.files import deserialize
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import show
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.opening import open_regular, read_all

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel


def specified(spec: Any) -> BaseModel:
    """A model itself, or one from its JSON, of any generation of Keras: a string, what it says, or the path of a file.

    Raises FileError where it is none of these, SpecError where the JSON is not that of a model, OSError as ``open``.
    """
    from lstmcore.interop.keras.files import built
    from lstmcore.models.base import BaseModel

    if isinstance(spec, BaseModel):
        spec.program  # noqa: B018  builds the weights, or says that there is no input shape yet
        return spec
    description = described(spec)
    if not (isinstance(description, Mapping) and "module" in description):  # not ours, which is Keras 3's
        return built(description, None, "spec").model
    return unfilled(description)


def unfilled(description: Any) -> BaseModel:
    """The model that our own description says, its weights still without memory."""
    with placeholder_weights():
        model = deserialize(description)
        model.program  # noqa: B018  builds the weights
    return model


def described(spec: Any) -> Any:
    """What the JSON of a model says; see `specified`."""
    if isinstance(spec, (Mapping, list)):
        return spec
    if isinstance(spec, str) and spec.lstrip().startswith("{"):
        return read_description(spec, "spec")
    if not isinstance(spec, (str, os.PathLike)):
        raise UnsupportedFileError(f"spec is {show(spec)}; expected a model, its JSON, or the path of that.")
    return json_in(spec)


def json_in(path: PathLike) -> Any:
    """What a file of JSON says, its size bounded; of JSON within JSON (``json.dump(model.to_json(), f)``) the inner.

    What it says is never taken for the path of another file.
    """
    from lstmcore.interop.keras.forms import refuse_yaml

    name = os.path.basename(os.fspath(path))
    with open_regular(path) as file:
        raw = read_all(file, MAX_BYTES)
    if raw is None:
        raise UnsafeFileError(f"{name} has more than {MAX_BYTES} bytes of JSON, which is more than is read.")
    raw = raw.removeprefix(codecs.BOM_UTF8)
    refuse_yaml(raw, name)
    description = read_description(raw, name)
    if isinstance(description, str):
        description = read_description(description, name)
    if not isinstance(description, (Mapping, list)):
        raise UnsupportedFileError(f"{name} says {show(description)}; expected the description of a model.")
    return description


def in_file(text: bytes | str, owner: str) -> Mapping[str, Any]:
    """What a text in a file says, which describes a model itself: it is never the path of another file."""
    description = read_description(text, owner)
    if not isinstance(description, Mapping):
        raise UnsupportedFileError(f"{owner} is {show(description)}; expected the description of a model.")
    return description
