"""lstmcore's own weight file as one of the formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.interop.listing import Listed, Listing
from lstmcore.interop.specs import specified
from lstmcore.models import load_model
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import FILE_DTYPES
from lstmcore.weights import read_header

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

_ABOUT = ("format", "format_version", "lstmcore_version", "opset", "gates", "holds", "steps")


def read(path: PathLike, weights: PathLike | None, spec: Any) -> BaseModel:
    """The model in a weight file; with ``spec``, that model with the file's weights."""
    if weights is not None:
        raise UnsupportedFileError("weights= is given; a weight file holds description and weights itself.")
    if spec is None:
        return load_model(path)
    model = specified(spec)
    model.load_weights(path)
    return model


def write(model: BaseModel, path: PathLike) -> None:
    """The same as ``model.save``."""
    model.save(path)


def lists(path: PathLike) -> Listing:
    """What a weight file holds, from its header."""
    header = read_header(path)
    rows = tuple(Listed(name, entry.shape, FILE_DTYPES[entry.dtype]) for name, entry in header.tensors.items())
    return Listing(rows, {key: header.metadata[key] for key in _ABOUT if key in header.metadata})
