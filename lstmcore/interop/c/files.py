"""Models to headers of C99, and back from those that were written here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import lstmcore
from lstmcore.errors import SpecError
from lstmcore.interop import vectors
from lstmcore.interop.c import header
from lstmcore.interop.c.text import identifier
from lstmcore.interop.presented import present
from lstmcore.layers.options import FLAG, checked
from lstmcore.models.files import unbuilt_description
from lstmcore.storage.atomic import PathLike, replacing

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel


def write(model: BaseModel, path: PathLike, *, name: str | None = None, streaming: bool = False) -> None:
    """Writes the model as one header of C99: its weights as arrays, and functions that run it, atomically.

    ``NAME_predict(x, steps, y, scratch)`` takes all steps of a sample, ``NAME_step(state, x, y)`` one step, where the
    model can stream. They allocate nothing and write to nothing but what they are given. Ids are not checked.

    Args:
        name: what all names in C begin with; the model's by default.
        streaming: refuse a model that has no ``NAME_step``. Otherwise a remark in the file says why there is none.

    Raises:
        ExportError: the model has what is not written in C yet; the message names the layer.
        SpecError: ``name`` is no name in C; ``streaming``, of a model that must see the whole sequence.
        OSError: it cannot be written; what was there is unchanged.
    """
    data = text(model, checked("write", "streaming", FLAG, streaming), name).encode("ascii")
    with replacing(path) as file:
        file.write(data)


def text(model: BaseModel, streams: bool = False, name: str | None = None) -> str:
    """The header of a model; always the same for the same model."""
    prefix = identifier(model.name) if name is None else name
    if identifier(prefix) != prefix:
        raise SpecError(f"name is {name!r}; expected letters, digits and underscores, and no word of C's")
    if streams and isinstance(why := header.streaming(model), str):
        raise SpecError(why)
    shown = present(model)
    about: dict[str, Any] = {
        "lstmcore": lstmcore.__version__,
        "name": prefix,
        "streaming": streams,
        "model": json.loads(unbuilt_description(model)),
        "vectors": json.loads(vectors.make(shown, model.every_path(), 1)),
    }
    return header.text(model, prefix, about, vectors.enough(shown.program, 1))
