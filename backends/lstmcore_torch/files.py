"""Files for PyTorch, run by PyTorch: what `lstmcore.interop.pytorch` writes, judged by the engine it is for."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lstmcore.errors import ForeignFileError, LstmcoreError
from lstmcore.interop.pytorch.source import MARK, source
from lstmcore.layers.base import placeholder_weights
from lstmcore.models.files import model_from_json
from lstmcore.storage.atomic import PathLike
from lstmcore_torch.modules import run as defined

MOST_BYTES = 4 << 20


def run(path: PathLike, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The outputs of a written model on PyTorch, of inputs in the model's order; see `hookspecs.Judge`.

    No file is run: the source beside the weights must be, to the byte, what lstmcore makes of the description in
    it, and that is what runs.

    Raises:
        ForeignFileError: it is anything else, or is not there.
    """
    target = Path(os.fspath(path))
    beside = target.with_suffix(".py")
    text = _text(beside)
    model = _model(text, beside.name)
    if source(model, target.name).text != text:
        raise ForeignFileError(
            f"{beside.name} is not what lstmcore writes for the model that it describes; it was altered, or written "
            "by another version, and is not run. Export the model again."
        )
    namespace = defined(source(model, target.name, traced=True).text, str(beside.resolve()))
    module = namespace["load"](target)
    program = model.program
    kinds = {"float": model.dtype, "int": "int32", "bool": "bool"}
    given = [
        torch.from_numpy(np.array(array, kinds[program.values[name].kind]))
        for name, array in zip(program.inputs, inputs, strict=True)
    ]
    with torch.no_grad():
        outputs = module(*given)
    layers = {name: y.numpy() for name, y in namespace["TRACE"].items()}
    return [y.numpy() for y in (outputs if isinstance(outputs, tuple) else (outputs,))], layers


def _text(beside: Path) -> str:
    try:
        with open(beside, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ForeignFileError(
            f"{beside.name} is not there: a state_dict alone says nothing of what is computed with it"
        ) from None
    if len(data) > MOST_BYTES:
        raise ForeignFileError(f"{beside.name} has more than {MOST_BYTES} bytes; lstmcore did not write it")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ForeignFileError(f"{beside.name} is not text; lstmcore did not write it") from None


def _model(text: str, name: str) -> Any:
    """The model that a source describes, its weights without numbers; nothing of the source is run."""
    spec = None
    try:
        last = ast.parse(text).body[-1]
        if isinstance(last, ast.Assign) and ast.unparse(last.targets[0]) == f"Model.{MARK}":
            spec = ast.literal_eval(last.value)
        if not isinstance(spec, str):
            raise ForeignFileError(f"{name} does not end with Model.{MARK} = ...; lstmcore did not write it")
        with placeholder_weights():
            return model_from_json(spec)
    except ForeignFileError:
        raise
    except (LstmcoreError, SyntaxError, ValueError, RecursionError, MemoryError, IndexError) as error:
        raise ForeignFileError(f"{name} holds no description of a model that can be read: {error}") from None
