"""Keras' own files as Keras itself runs them: whether what was written, or read, computes what it should.

A file is shown to Keras only after lstmcore has read it, which refuses what could do harm, and then in Keras' safe
mode.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lstmcore.errors import UnsupportedFileError
from lstmcore.interop.keras.files import read_whole
from lstmcore.models.base import BaseModel
from lstmcore.models.functional import Model
from lstmcore.storage.atomic import PathLike

Ran = tuple[list[Any], dict[str, Any]]


def run(path: PathLike, inputs: Sequence[Any]) -> Ran:
    """What Keras 3 computes: the outputs, and by layer's name what came out of it; see `hookspecs.Judge`.

    Of a layer that is called once, with several outputs the first; those within other layers are not there.

    Raises:
        FileError: lstmcore does not read the file; or it is of Keras 1 or 2, and holds what Keras 3 takes for another
            thing without a word.
    """
    found = read_whole(path)
    if found.generation.major < 3 and (told := _otherwise(found.model)):
        raise UnsupportedFileError(
            f"{os.path.basename(os.fspath(path))} is of {found.generation.name}, whose {told} Keras 3 takes for "
            "another one; tf_keras can judge it: pip install tf_keras"
        )
    import keras

    return _run(keras, path, found.model, inputs)


def run_legacy(path: PathLike, inputs: Sequence[Any]) -> Ran:
    """The same with tf_keras, which is Keras 2, for files of Keras 2."""
    found = read_whole(path)
    if found.generation.major != 2:
        raise UnsupportedFileError(
            f"{os.path.basename(os.fspath(path))} is of {found.generation.name}; tf_keras judges files of Keras 2."
        )
    import tf_keras

    return _run(tf_keras, path, found.model, inputs)


def _otherwise(model: BaseModel) -> str | None:
    """What of Keras 2 in a model Keras 3 reads as something else."""
    if any("hard_sigmoid_0_2" in str(node.op) for node in model.program.nodes):
        return "hard_sigmoid"
    graphs = [inner.graph for inner in model.modules() if isinstance(inner, Model)]
    if any(call.arguments.get("mask") == "implied" for graph in graphs for call in graph.calls):
        return "mask beside initial_state"
    return None


def _run(keras: Any, path: PathLike, model: BaseModel, inputs: Sequence[Any]) -> Ran:
    with _quiet():
        loaded = _loaded(keras, path)
        taps = _tapped(loaded)
        made = loaded(_in_their_order(loaded, model, inputs), training=False)
    outputs = [np.asarray(one) for one in _leaves(made)]
    return outputs, {name: np.asarray(next(_leaves(found[0]))) for name, found in taps.items() if len(found) == 1}


def _loaded(keras: Any, path: PathLike) -> Any:
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        told = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise UnsupportedFileError(
            f"{os.path.basename(os.fspath(path))}: {keras.__name__} {keras.__version__} does not load it: {told}"
        ) from None


def _tapped(loaded: Any) -> dict[str, list[Any]]:
    """What comes out of each layer from now on, call by call."""
    taps: dict[str, list[Any]] = {}

    def tap(layer: Any) -> None:
        inner, found = layer.call, taps.setdefault(layer.name, [])

        def call(*args: Any, **kwargs: Any) -> Any:
            made = inner(*args, **kwargs)
            found.append(made)
            return made

        layer.call = call

    for layer in loaded.layers:
        if type(layer).__name__ != "InputLayer":
            tap(layer)
    return taps


def _in_their_order(loaded: Any, model: BaseModel, inputs: Sequence[Any]) -> Any:
    if len(inputs) == 1:
        return np.asarray(inputs[0])
    ours = dict(zip(getattr(model, "input_names", model.program.inputs), inputs, strict=True))
    return [np.asarray(ours[tensor.name.partition(":")[0]]) for tensor in loaded.inputs]


def _leaves(structure: Any) -> Iterator[Any]:
    """Keras' order: that of lists, and of dicts by their keys."""
    if isinstance(structure, dict):
        structure = [structure[key] for key in sorted(structure)]
    if isinstance(structure, (list, tuple)):
        for entry in structure:
            yield from _leaves(entry)
    else:
        yield structure


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
