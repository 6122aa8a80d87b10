"""Models from the files that commands are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstmcore.cli.failures import CommandFailed
from lstmcore.errors import SpecError
from lstmcore.layers.base import placeholder_weights
from lstmcore.models import load_model, model_from_json
from lstmcore.models.base import BaseModel
from lstmcore.models.training import TrainableModel
from lstmcore.weights import read_header


def read_model(path: Path) -> BaseModel:
    """The model in a weight file, with its weights."""
    with _naming(path):
        return load_model(path)


def read_trainable(path: Path) -> TrainableModel:
    """The model in a weight file, with its weights; or that of a ``.json`` file, with new ones."""
    with _naming(path):
        model = model_from_json(_text(path)) if path.suffix == ".json" else load_model(path)
    assert isinstance(model, TrainableModel)
    return model


def read_description(path: Path) -> BaseModel:
    """The model that a weight file, or a ``.json`` file, describes; its weights take no memory and say nothing."""
    with _naming(path):
        text = _text(path) if path.suffix == ".json" else read_header(path).model
        return described(text)


def described(text: str) -> BaseModel:
    """The model that JSON describes, as above. SpecError if it describes none."""
    with placeholder_weights():
        return model_from_json(text)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path.name} is not a text file: {error}.") from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except SpecError as error:
        raise CommandFailed(f"{path.name}: {error}") from error
