"""A model written for PyTorch: a ``state_dict``, and beside it the source of the module that loads it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lstmcore.errors import ExportError, FileError
from lstmcore.interop import vectors
from lstmcore.interop.pytorch.archive import write_archive, write_safetensors
from lstmcore.interop.pytorch.source import HEAD, source
from lstmcore.interop.pytorch.state import to_state
from lstmcore.interop.pytorch.states import SPEC, VECTORS
from lstmcore.storage.atomic import PathLike, replacing

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

WRITERS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {".pt": write_archive, ".pth": write_archive, ".safetensors": write_safetensors}
)
_IMPORTED = "torch safetensors numpy"
_HIDES = frozenset([*sys.stdlib_module_names, *_IMPORTED.split()])


def write(model: BaseModel, path: PathLike) -> None:
    """Writes the weights as a ``state_dict``, .pt or .safetensors, and the module beside them: NAME.py.

    PyTorch is not needed. ``python NAME.py`` or ``from NAME import load`` gives the module with its weights. It
    computes what the model does outside training, with `nn.Dropout` and its like where the model has them; it holds
    no state of an optimizer and no loss. The weights are in place before the source is.

    Raises:
        ExportError: PyTorch cannot hold this model, and why.
        FileError: another suffix; NAME.py is there already and is not one of these; NAME would hide a module.
        OSError: it cannot be written; what was there is unchanged.
    """
    target = Path(os.fspath(path))
    suffix = target.suffix.lower()
    if suffix not in WRITERS:
        raise FileError(f"{target.name}: a state_dict is written to {', '.join(WRITERS)}; give one of these suffixes.")
    beside = module_beside(target)
    made = source(model, target.name)
    state = to_state(made.entries, model.every_path(), model.dtype)
    _check(state)
    proof = vectors.of_model(model)
    with replacing(beside) as code:
        code.write(made.text.encode())
        with replacing(target) as file:
            WRITERS[suffix](file, state, {SPEC: made.spec, VECTORS: proof})


def module_beside(target: Path) -> Path:
    """Where the source goes; FileError where it would replace or hide something else."""
    beside = target.with_suffix(".py")
    if target.stem in _HIDES:
        raise FileError(
            f"{target.name}: the source beside it would be {beside.name}, and hide the module of that name from every "
            "program that runs there; give another name."
        )
    if beside.is_file() and not is_ours(beside):
        raise FileError(
            f"{beside.name} is there already, and lstmcore did not write it; the source of the module would replace "
            f"it. Give {target.name} another name, or move {beside.name} away."
        )
    return beside


def is_ours(path: Path) -> bool:
    """Whether a source file is one that was written here."""
    with open(path, "rb") as file:
        return file.read(len(HEAD)) == HEAD.encode()


def _check(state: Mapping[str, Any]) -> None:
    for key, array in state.items():
        if array.size == 0:
            raise ExportError(f"weight {key!r} has shape {array.shape}, and so no numbers")
