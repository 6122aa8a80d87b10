"""Files that commands are given: their formats, ours among them, and the models in them."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lstmcore.errors import WeightsAloneError
from lstmcore.interop import formats
from lstmcore.models.base import BaseModel
from lstmcore.storage.atomic import PathLike

OWN = "lstmcore"


@dataclass(frozen=True)
class File:
    """A file and its format."""

    path: PathLike
    format: str

    @classmethod
    def at(cls, path: PathLike, format: str | None = None) -> File:
        """The format as it is named, or told from the file."""
        return cls(path, format or format_of(path))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(os.path.normpath(os.fspath(self.path)))

    @property
    def streams(self) -> bool:
        """Whether it was written to be streamed, its states among its inputs and outputs."""
        return bool(self._about.get("streaming"))

    @property
    def ours(self) -> bool:
        """Whether lstmcore wrote it: its data are laid out as those of the program, the batch first.

        Of a format whose files nothing lists, only those are run.
        """
        return "streaming" in self._about or formats.row_of(self.path, self.format).lists is None

    @cached_property
    def _about(self) -> Mapping[str, Any]:
        """What its headers say."""
        lists = formats.row_of(self.path, self.format).lists
        return {} if lists is None else formats.function(lists)(self.path).about


def format_of(path: PathLike) -> str:
    """The name of the format of a file. FileError where it is none that is known."""
    return formats.row_of(path).name


def read_back(file: File, model: BaseModel) -> tuple[BaseModel | None, bool]:
    """The model in a file that ``model`` was written to, None where files of this format are not read; and whether
    the file holds weights alone: then it was read into a copy of the model, whose own weights are gone.
    """
    if not formats.row_of(file.path, file.format).reads:
        return None, False
    try:
        return formats.import_model(file.path, format=file.format), False
    except WeightsAloneError:
        pass
    blank = copy.deepcopy(model)
    blank.replace_weights({path: np.zeros_like(array) for path, array in blank.every_path().items()})
    return formats.import_model(file.path, format=file.format, spec=blank), True
