"""Models from the files that commands are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstmcore.cli.failures import CommandFailed
from lstmcore.errors import SpecError
from lstmcore.layers.base import placeholder_weights
from lstmcore.models import model_from_json
from lstmcore.models.base import BaseModel
from lstmcore.models.training import TrainableModel
from lstmcore.weights import read_header


def read_model(path: Path) -> BaseModel:
    """The model in a file of any format that holds one with its weights."""
    from lstmcore.interop import import_model

    with naming(path):
        model = import_model(path)
        model.program  # noqa: B018  builds the weights, or says that there is no input shape yet
        return model


def read_trainable(path: Path) -> TrainableModel:
    """The model in a file, with its weights; or that of a ``.json`` file, with new ones."""
    if path.suffix != ".json":
        model = read_model(path)
    else:
        with naming(path):
            model = model_from_json(_text(path))
    assert isinstance(model, TrainableModel)
    return model


def read_description(path: Path) -> BaseModel:
    """The model that a file describes. Of our own files, and ``.json``, the weights take no memory and say nothing."""
    from lstmcore.interop.reading import OWN, format_of

    if path.suffix != ".json" and format_of(path) != OWN:
        return read_model(path)
    with naming(path):
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
def naming(path: Path) -> Iterator[None]:
    """Within it, what is wrong with a model is said to be wrong with that file."""
    try:
        yield
    except SpecError as error:
        raise CommandFailed(f"{path.name}: {error}") from error
