"""Models to TFLite files, by TensorFlow's own converter, which runs here without a network.

Metadata of the file hold, under ``lstmcore.model``, the model's JSON, and under ``lstmcore.about`` the names in order,
two test vectors (`lstmcore.interop.vectors`), and the SHA-256 of the file with 64 zeros in its place: TFLite itself
ends the process on some altered files, and is given none.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

import lstmcore
from lstmcore.errors import DamagedFileError, ExportError, ForeignFileError, UnsafeFileError
from lstmcore.interop import vectors
from lstmcore.interop.pieces import piecewise
from lstmcore.interop.presented import Presented, present
from lstmcore.interop.vectors import Verification
from lstmcore.layers.options import FLAG, POSITIVE, checked
from lstmcore.models.files import unbuilt_description
from lstmcore.storage.atomic import PathLike, replacing
from lstmcore.storage.opening import open_regular, read_all
from lstmcore_tensorflow.files.saved_model import ends
from lstmcore_tensorflow.files.serving import Served, clean, signature
from lstmcore_tensorflow.listing.tflite import ABOUT, FORMAT, MODEL, VERSION, said

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

DIGEST, _NO_DIGEST = "digest", "0" * 64
SIGNATURE = "serving_default"
MOST_BYTES = (1 << 31) - 1  # offsets in a flatbuffer have 31 bits


def write(
    model: BaseModel,
    path: PathLike,
    *,
    streaming: bool = False,
    batch_size: int | None = 1,
    steps: int | None = None,
    select_tf_ops: bool = False,
) -> None:
    """Writes the model as a TFLite file of TFLite's builtin ops, atomically; recurrent layers are loops.

    Its signature is that of `saved_model.write`: the same names, and the states with ``streaming``.

    Args:
        streaming: a piece of a sequence at a time, its past in states that enter and leave.
        batch_size: the number of samples, which the converter needs for recurrent layers; None leaves it open.
        steps: the number of time steps; None leaves it open.
        select_tf_ops: lets ops through that TFLite lacks; whoever runs the file then needs TensorFlow's "flex" ops.

    Raises:
        ExportError: the model is float64, or the converter refuses it.
        SpecError: ``streaming``, of a model that must see the whole sequence.
        OSError: it cannot be written; what was there is unchanged.
    """
    streams = checked("write", "streaming", FLAG, streaming)
    selected = checked("write", "select_tf_ops", FLAG, select_tf_ops)
    batch = None if batch_size is None else checked("write", "batch_size", POSITIVE, batch_size)
    count = None if steps is None else checked("write", "steps", POSITIVE, steps)
    if model.dtype != "float32":
        raise ExportError(f"TFLite computes in float32; the model is {model.dtype}, whose numbers would be rounded")
    shown = present(model, streams, batch if streams else None, clean)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "lstmcore": lstmcore.__version__,
        "streaming": streams,
        **shown.names,
        "vectors": json.loads(vectors.make(shown, model.every_path(), batch, count)),
        DIGEST: _NO_DIGEST,
    }
    data = _converted(model, shown, batch, count, selected)
    data = _with_metadata(data, {MODEL: unbuilt_description(model), ABOUT: json.dumps(about)})
    data = data.replace(_entry(_NO_DIGEST), _entry(hashlib.sha256(data).hexdigest()))
    if len(data) > MOST_BYTES:
        raise ExportError(
            f"model {model.name!r} takes {len(data)} bytes in TFLite; one file holds at most {MOST_BYTES}"
        )
    with replacing(path) as file:
        file.write(data)


def _converted(model: BaseModel, shown: Presented, batch: int | None, steps: int | None, selected: bool) -> bytes:
    with tf.device("/cpu:0"):
        served = Served(model, shown)
        made = served.serve.get_concrete_function(**signature(model, shown, batch, steps))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([made], served)
    if selected:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter has several of its own, without public names
        hint = "" if selected else "; select_tf_ops=True lets TensorFlow's own ops through"
        raise ExportError(
            f"TensorFlow {tf.__version__} cannot convert model {model.name!r} to TFLite with batch_size={batch}, "
            f"steps={steps}{hint}: {_reason(str(error))}"
        ) from error


def _reason(text: str) -> str:
    """The line of the converter's message that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if "error:" in line or "is neither" in line] or [text.strip()]
    return lines[0].partition("error: ")[2][:300] or lines[0][:300]


def _with_metadata(data: bytes, texts: Mapping[str, str]) -> bytes:
    whole = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    whole.metadata = whole.metadata or []
    for name, text in texts.items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        buffer.data = text.encode()
        entry.name, entry.buffer = name, len(whole.buffers)
        whole.buffers.append(buffer)
        whole.metadata.append(entry)
    builder = flatbuffers.Builder(len(data) + 1024)
    builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def verify(path: PathLike) -> Verification:
    """Runs a file that lstmcore wrote, on the test vectors that it carries, in TFLite's interpreter."""
    name = os.path.basename(os.fspath(path))
    about, call = _running(path, name)
    worst, limit = vectors.check(json.dumps(about.get("vectors")), call, name)
    return Verification(name, f"TFLite of TensorFlow {tf.__version__}", worst, limit)


def run(path: PathLike, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The outputs of a file in TFLite's interpreter, of inputs in the model's order; see `hookspecs.Judge`.

    States may follow, and then come out behind the outputs; without them they begin at zero.
    """
    about, call = _running(path, os.path.basename(os.fspath(path)))
    given, wanted = ends(about, inputs)
    outputs = call(given)
    return [outputs[name] for name in wanted], {}


def _running(path: PathLike, name: str) -> tuple[dict[str, Any], Any]:
    with open_regular(path) as file:
        data = read_all(file, MOST_BYTES)
    if data is None:
        raise UnsafeFileError(f"{name} has more than {MOST_BYTES} bytes, which is more than is read.")
    about = _about(data, name)
    with warnings.catch_warnings():
        # it announces its successor, another package, at each call (2.21)
        warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated", UserWarning)
        try:
            interpreter = tf.lite.Interpreter(model_content=data)
        except ValueError as error:
            raise DamagedFileError(f"{name}: TFLite does not take it: {error}") from None
    runner = interpreter.get_signature_runner(SIGNATURE)
    details = runner.get_input_details()

    def call(given: Mapping[str, Any]) -> dict[str, Any]:
        absent = {name: np.zeros(details[name]["shape"]) for name in details if name not in given}
        # an input that the outputs do not depend on is none of the converted file
        known = {name: array for name, array in {**absent, **given}.items() if name in details}
        return dict(runner(**{name: array.astype(details[name]["dtype"]) for name, array in known.items()}))

    return about, _in_pieces(call, runner.get_input_details())


def _in_pieces(call: Callable[..., dict[str, Any]], details: Mapping[str, Any]) -> Callable[..., dict[str, Any]]:
    """A file of fixed shapes takes so many samples at a time, one mostly, and no others."""

    def calls(given: Mapping[str, Any]) -> dict[str, Any]:
        samples = {len(array) for name, array in given.items() if name in details}
        fixed = {int(details[name]["shape_signature"][0]) for name in given if name in details}
        step = min(fixed) if fixed else -1
        if len(fixed | samples) != 2 or len(samples) != 1 or step < 1 or max(samples) % step:
            return call(given)
        return piecewise(call, given, step, defaultdict(int))

    return calls


def _about(data: bytes, name: str) -> dict[str, Any]:
    """What lstmcore wrote about the file."""
    if data[4:8] != b"TFL3":
        raise ForeignFileError(f"{name} is no TFLite file.")
    try:
        whole = schema.Model.GetRootAsModel(data, 0)
        entries = [whole.Metadata(k) for k in range(whole.MetadataLength())]
        buffers = {entry.Name(): whole.Buffers(entry.Buffer()) for entry in entries if entry is not None}
        raw = buffers[ABOUT.encode()].DataAsNumpy().tobytes() if ABOUT.encode() in buffers else None
    except Exception as error:  # flatbuffers' Python code fails in any way on a damaged file
        raise DamagedFileError(f"{name} is damaged: {type(error).__name__}: {error}") from None
    if raw is None:
        raise ForeignFileError(f"{name} carries no test vectors: lstmcore did not write it")
    about = said(raw, name)
    told = str(about.get(DIGEST))
    without = data.replace(_entry(told), _entry(_NO_DIGEST))
    if data.count(_entry(told)) != 1 or hashlib.sha256(without).hexdigest() != told:
        raise DamagedFileError(f"{name} is not what was written: its digest is another one. Use another copy.")
    return about


def _entry(digest: str) -> bytes:
    return f'"{DIGEST}": "{digest}"'.encode()
