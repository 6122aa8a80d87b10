"""Models to TensorFlow's SavedModel folders, and back from those that were written here.

A folder is what ``tf.saved_model.load``, TensorFlow Serving and Keras' ``TFSMLayer`` run, with TensorFlow's own ops
alone. Two files travel in ``assets.extra``, which TensorFlow leaves alone: ``lstmcore.model.json``, the model's JSON,
and ``lstmcore.json``: the names in order, two test vectors (`lstmcore.interop.vectors`), and the SHA-256 of each file.

Files of others are read here, not by TensorFlow: see `variables`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

import lstmcore
from lstmcore.errors import (
    DamagedFileError,
    ForeignFileError,
    UnsafeFileError,
    UnsupportedFileError,
    WeightsMismatchError,
)
from lstmcore.interop import vectors
from lstmcore.interop.presented import present
from lstmcore.interop.specs import specified, unfilled
from lstmcore.interop.vectors import Verification
from lstmcore.layers.options import FLAG, checked
from lstmcore.models.files import expected, unbuilt_description
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import show
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.folder import replacing_folder
from lstmcore.storage.opening import Window, open_regular
from lstmcore_tensorflow.files import graphs
from lstmcore_tensorflow.files.serving import Served, clean, signature
from lstmcore_tensorflow.listing.folder import (
    ABOUT,
    EXTRA,
    FORMAT,
    GRAPH,
    INDEX,
    MODEL,
    NUMBERS,
    VERSION,
    called,
    check_folder,
    content,
    opened,
    sizes,
)
from lstmcore_tensorflow.listing.saved_model import SIGNATURE, said
from lstmcore_tensorflow.listing.variables import VALUE, read_index, read_numbers

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

_KNOWN = {GRAPH, "fingerprint.pb", "keras_metadata.pb", "variables", "assets", EXTRA}
_CHUNK = 1 << 20


def write(model: BaseModel, path: PathLike, *, streaming: bool = False, batch_size: int | None = None) -> None:
    """Writes the model as a SavedModel folder, in the place of one that is there.

    Its signature ``serving_default`` takes and gives tensors by the model's names, where letters, digits and
    underscores stand for themselves and an underscore for anything else. What the model leaves open, batch and time,
    is open. The states of stateful layers enter as ``layer_h`` and leave as ``layer_h_next``; with ``streaming`` the
    function takes a piece of a sequence, and all its past is in such states, zeros at first. The weights are variables.

    Raises:
        FileError: ``path`` is a file, or a folder that is no SavedModel.
        SpecError: ``streaming``, of a model that must see the whole sequence.
        OSError: it cannot be written; what was there is unchanged.
    """
    streams = checked("write", "streaming", FLAG, streaming)
    shown = present(model, streams, batch_size, clean)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "lstmcore": lstmcore.__version__,
        "streaming": streams,
        **shown.names,
        "vectors": json.loads(vectors.make(shown, model.every_path())),
    }
    with replacing_folder(path, _foreign) as folder, tf.device("/cpu:0"):
        served = Served(model, shown)
        made = served.serve.get_concrete_function(**signature(model, shown))
        tf.saved_model.save(served, folder, signatures={SIGNATURE: made})
        os.makedirs(os.path.join(folder, EXTRA), exist_ok=True)
        Path(folder, MODEL).write_text(unbuilt_description(model), encoding="utf-8")
        about["files"] = _digests(folder)
        Path(folder, ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _foreign(folder: str) -> str:
    """Why a folder may not be replaced."""
    held = set(os.listdir(folder))
    if GRAPH not in held:
        return "holds something, and no SavedModel"
    others = sorted(held - _KNOWN)
    return f"holds {others[0]!r} beside a SavedModel" if others else ""


def read(path: PathLike, weights: PathLike | None, spec: Any) -> BaseModel:
    """The model in a folder that `write` made: its description, and the variables; nothing of its graph is run.

    Raises:
        ForeignFileError: lstmcore did not write it.
        DamagedFileError: it is not what was written.
    """
    name = called(path)
    if weights is not None:
        raise UnsupportedFileError(f"{name} holds weights itself; weights= goes with the JSON of a model.")
    about = _about(path)
    _check_others(path, about, name)
    raw = _text(path, MODEL, about)
    if spec is None:
        model = unfilled(read_description(raw, f"{name}, {MODEL}"))
    else:
        model = specified(spec)
    model.replace_weights(_variables(path, model, about, name))
    if spec is None:
        _check(model, about, name)
    return model


def _variables(path: PathLike, model: BaseModel, about: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The variables by the weights' paths, once names, shapes and dtypes fit."""
    entries = read_index(_text(path, INDEX, about), f"{name}, {INDEX}")
    keys = {_key(weight): weight for weight in expected(model)}
    held = {key for key in entries if key.endswith(VALUE)}
    faults = [f"{weight} is missing" for key, weight in keys.items() if key not in held]
    faults += [f"{show(key.removesuffix(VALUE))} is not of this model" for key in sorted(held - set(keys))]
    for key, weight in keys.items():
        shape, dtype = expected(model)[weight]
        if key in held and (entries[key].shape, entries[key].dtype) != (shape, dtype):
            faults.append(f"{weight} is {entries[key].dtype} of shape {entries[key].shape}; expected {dtype}, {shape}")
    if faults:
        raise WeightsMismatchError(f"{name} holds the weights of another model:\n  " + "\n  ".join(faults[:40]))
    with opened(path, NUMBERS) as file:
        arrays, digest = read_numbers(file, entries, keys, f"{name}, {NUMBERS}")
    _compare(about, NUMBERS, digest, name)
    return arrays


def _key(weight: str) -> str:
    """What TensorFlow's object graph calls a variable in a dict."""
    return f"weights/{weight.replace('.', '..').replace('/', '.S')}{VALUE}"


def _check(model: BaseModel, about: Mapping[str, Any], name: str) -> None:
    shown = present(model, about.get("streaming") is True, None, clean)
    vectors.hold(json.dumps(about.get("vectors")), shown, model.every_path(), name)


def verify(path: PathLike) -> Verification:
    """Runs a folder that lstmcore wrote, on the test vectors that it carries, in TensorFlow."""
    about, run = _running(path)
    worst, limit = vectors.check(json.dumps(about.get("vectors")), run, called(path))
    return Verification(called(path), f"TensorFlow {tf.__version__}", worst, limit)


def run(path: PathLike, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The outputs of a folder in TensorFlow, of inputs in the model's order; see `hookspecs.Judge`.

    States may follow, and then come out behind the outputs; without them they begin at zero. A graph is code: one
    that lstmcore did not write is not run.
    """
    about, function = _running(path)
    given, wanted = ends(about, inputs)
    outputs = function(given)
    return [outputs[name] for name in wanted], {}


def ends(about: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """The inputs by name, and the names of the outputs: with the states, if these are among the inputs.

    States are in the order of their names in the model, which the folder's own may not keep.
    """
    told = about["states"] if len(inputs) > len(about["inputs"]) else {}
    states = [told[name] for name in sorted(told)]
    names = [*about["inputs"], *(before for before, _ in states)]
    return dict(zip(names, inputs, strict=True)), [*about["outputs"], *(after for _, after in states)]


def _running(path: PathLike) -> tuple[dict[str, Any], Any]:
    """What is said of the folder, and its function in TensorFlow, which gets a copy: of what was checked, no other."""
    about = _about(path)
    with tempfile.TemporaryDirectory() as folder, tf.device("/cpu:0"):
        copy = os.path.join(folder, called(path))
        _copy(path, copy)
        read(copy, None, None)
        graphs.check(os.path.join(copy, GRAPH), called(path))
        loaded = tf.saved_model.load(copy)
    function = loaded.signatures[SIGNATURE]
    specs = function.structured_input_signature[1]

    def call(given: Mapping[str, Any]) -> dict[str, Any]:
        count = len(next(iter(given.values())))
        absent = {name: np.zeros([n or count for n in specs[name].shape]) for name in specs if name not in given}
        made = function(**{name: tf.constant(array, specs[name].dtype) for name, array in {**absent, **given}.items()})
        return {name: tensor.numpy() for name, tensor in made.items()}

    call.loaded = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    return about, call


def _copy(path: PathLike, to: str) -> None:
    for inner, size in sizes(os.fspath(path), called(path)).items():
        os.makedirs(os.path.dirname(os.path.join(to, inner)), exist_ok=True)
        with opened(path, inner) as file, open(os.path.join(to, inner), "wb") as new:
            shutil.copyfileobj(Window(file, 0, size), new, _CHUNK)


# The files of a folder.


def _about(path: PathLike) -> dict[str, Any]:
    """What lstmcore wrote about the folder, whose files are those that were written."""
    name = called(path)
    check_folder(path)
    if not os.path.exists(os.path.join(os.fspath(path), ABOUT)):
        raise ForeignFileError(
            f"{name} was not written by lstmcore: it has no {ABOUT}. Give the file it was made from."
        )
    sizes(os.fspath(path), name)  # no links
    about = said(content(path, ABOUT, MAX_BYTES), name)
    if not isinstance(about.get("files"), dict):
        raise DamagedFileError(f"{name}: its {ABOUT} does not say which files it has.")
    return about


def _compare(about: Mapping[str, Any], inner: str, digest: str, name: str) -> None:
    if about["files"].get(inner) != digest:
        raise DamagedFileError(f"{name}: its files are not those that were written ({inner}); use another copy.")


def _check_others(path: PathLike, about: Mapping[str, Any], name: str) -> None:
    """Compares the files that are not read here; those that are, are compared as they are read."""
    files = sizes(os.fspath(path), name)
    read = (MODEL, INDEX, NUMBERS)
    if odd := sorted((set(about["files"]) ^ (set(files) - {ABOUT})) | (set(read) - set(files))):
        raise DamagedFileError(f"{name}: its files are not those that were written ({show(odd[0])}); use another copy.")
    others = {inner: size for inner, size in files.items() if inner not in (ABOUT, *read)}
    if sum(others.values()) > graphs.MOST_BYTES:
        raise UnsafeFileError(
            f"{name} has {sum(others.values())} bytes beside its weights, which is more than is read."
        )
    for inner in others:
        _compare(about, inner, _digest(os.path.join(os.fspath(path), inner), graphs.MOST_BYTES), name)


def _text(path: PathLike, inner: str, about: Mapping[str, Any]) -> bytes:
    raw = content(path, inner, MAX_BYTES)
    _compare(about, inner, hashlib.sha256(raw).hexdigest(), called(path))
    return raw


def _digests(folder: str) -> dict[str, str]:
    """The SHA-256 of each file of a folder that was just written."""
    return {inner: _digest(os.path.join(folder, inner), None) for inner in sizes(folder, called(folder))}


def _digest(path: str, most: int | None) -> str:
    digest, size = hashlib.sha256(), 0
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if most is not None and size > most:
                raise UnsafeFileError(f"{os.path.basename(path)} grows while it is read.")
    return digest.hexdigest()
