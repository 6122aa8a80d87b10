"""Files that commands are given: their formats, ours among them, and the models in them."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lstmcore.errors import FileError, UnsupportedFileError
from lstmcore.interop import formats
from lstmcore.models import load_model
from lstmcore.models.base import BaseModel
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import read_container
from lstmcore.storage.opening import open_regular
from lstmcore.weights.header import FORMAT

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
        lists = None if self.format == OWN else formats.row_of(self.path, self.format).lists
        return {} if lists is None else formats.function(lists)(self.path).about


def format_of(path: PathLike) -> str:
    """The name of the format of a file. FileError where it is none that is known."""
    return OWN if is_own(path) else formats.row_of(path).name


def is_own(path: PathLike) -> bool:
    """Whether a file is one of ours, or was to be one: what is called .safetensors and is damaged."""
    name = os.path.basename(os.fspath(path))
    called = name.lower().endswith(".safetensors")
    if os.path.isdir(path):
        return False
    with open_regular(path) as file:
        try:
            container = read_container(file, name)
        except FileError:
            return called
    others = any(".safetensors" in row.suffixes and row.name != OWN and row.reads for row in formats.formats())
    return container.metadata().get("format") == FORMAT or (called and not others)


def read_model(
    path: PathLike, weights: PathLike | None = None, format: str | None = None, spec: Any = None, **options: Any
) -> BaseModel:
    """The model in a file of any format, our own too; as `import_model`."""
    if format in (None, OWN) and weights is None and spec is None and not options and is_own(path):
        return load_model(path)
    return formats.import_model(path, weights, format, spec, **options)


def read_back(file: File, model: BaseModel) -> BaseModel | None:
    """The model in a file that ``model`` was written to; None where files of this format are not read.

    A file of weights alone is read into a copy of the model, whose own weights are gone.
    """
    if file.format != OWN and not formats.row_of(file.path, file.format).reads:
        return None
    try:
        return read_model(file.path, format=file.format)
    except UnsupportedFileError as error:
        if "spec" not in str(error):
            raise
    blank = copy.deepcopy(model)
    blank.replace_weights({path: np.zeros_like(array) for path, array in blank.every_path().items()})
    return formats.import_model(file.path, format=file.format, spec=blank)
