"""A model written as an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import lstmcore
from lstmcore.errors import ExportError
from lstmcore.interop.onnx import vectors
from lstmcore.interop.onnx.graph import OPSET
from lstmcore.interop.onnx.library import onnx
from lstmcore.interop.onnx.program import Written, write_program
from lstmcore.layers.options import FLAG, POSITIVE, checked
from lstmcore.models.files import unbuilt_description
from lstmcore.naming import unique
from lstmcore.program import Program
from lstmcore.storage.atomic import PathLike, replacing

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

IR_VERSION = 8  # that of onnx 1.12, which brought opset 17
MOST_BYTES = (1 << 31) - 1
VERSION = "1"


def write(model: BaseModel, path: PathLike, *, streaming: bool = False, batch_size: int | None = None) -> None:
    """Writes the model as an ONNX file of opset 17, atomically.

    Inputs and outputs have the model's names, batch and time stay open where the model leaves them open. The states of
    stateful layers are inputs ``layer/h`` and outputs ``layer/h/next``. With ``streaming`` the graph takes a piece of
    a sequence, one step or many, and all its past is in such states (docs/streaming.md): zeros at first.

    Recurrent layers are one LSTM, GRU or RNN node each, both directions of a Bidirectional too, whatever their masks;
    with functions that these nodes have no name for, they are a Scan. The metadata hold the model's description and
    two test vectors, which `verify` and `read` check.

    Raises:
        ExportError: ONNX cannot hold this model, and what would be lost.
        SpecError: ``streaming``, of a model that must see the whole sequence.
        MissingLibraryError: the package onnx is not installed.
        OSError: it cannot be written; what was there is unchanged.
    """
    streams = checked("write", "streaming", FLAG, streaming)
    program, states = to_write(model, streams, batch_size)
    names = output_names(model, program)
    written = write_program(program, model.every_path(), model.dtype, model.name, names, states)
    called = _called(program, written, states)
    metadata = {
        "lstmcore.format": VERSION,
        "lstmcore.version": lstmcore.__version__,
        "lstmcore.model": unbuilt_description(model),
        "lstmcore.streaming": json.dumps(streams),
        "lstmcore.states": json.dumps({name: list(pair) for name, pair in written.carries.items()}),
        "lstmcore.limits": json.dumps(dict(program.limits)),
        "lstmcore.vectors": vectors.make(program, model.every_path(), called, states),
    }
    data = serialized(written, metadata, model.name)
    with replacing(path) as file:
        file.write(data)


def to_write(model: BaseModel, streams: bool, batch_size: int | None) -> tuple[Program, list[str]]:
    """The program, and its states that are inputs and outputs."""
    if not streams:
        if batch_size is not None:
            raise ExportError("batch_size is for streaming=True; the batch size of the model is in its Input")
        program = model.program
        return program, [carry.name for carry in program.carries if carry.stateful]
    from lstmcore.runtime.feed import fixed_batch

    size = fixed_batch(model.program) or 1
    program, _ = model.streaming_program(checked("write", "batch_size", POSITIVE, batch_size or size))
    return program, [carry.name for carry in program.carries]


def output_names(model: BaseModel, program: Program) -> list[str]:
    """The model's names for its outputs; one that is also an input's gets a number."""
    taken = set(program.inputs)
    names: list[str] = []
    for name in model.output_names:
        names.append(unique(name, taken))
        taken.add(names[-1])
    return names


def _called(program: Program, written: Written, states: list[str]) -> dict[str, str]:
    """What each value that enters or leaves is called in the file."""
    befores = [written.carries[name][0] for name in states]
    entering = [carry.before for name in states for carry in program.carries if carry.name == name]
    leaving = [carry.after for name in states for carry in program.carries if carry.name == name]
    inputs = dict(zip((*program.inputs, *entering), (*written.inputs[: len(program.inputs)], *befores), strict=True))
    afters = [written.carries[name][1] for name in states]
    # a value that is an output too is checked under that name
    return {
        **dict(zip(leaving, afters, strict=True)),
        **dict(zip(program.outputs, written.outputs, strict=False)),
        **inputs,
    }


def serialized(written: Written, metadata: Mapping[str, str], name: str) -> bytes:
    """The bytes of the file, after ONNX's own checker has had no objection."""
    library = onnx()
    model = library.helper.make_model(
        written.graph,
        opset_imports=[library.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lstmcore",
        producer_version=lstmcore.__version__,
    )
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    if model.ByteSize() > MOST_BYTES:
        raise ExportError(
            f"model {name!r} takes {model.ByteSize()} bytes in ONNX; one file holds at most {MOST_BYTES}, and weights "
            "beside the file are not written"
        )
    _check(library, model)
    data: Any = model.SerializeToString(deterministic=True)
    return bytes(data)


def _check(library: Any, model: Any) -> None:
    library.checker.check_model(model, full_check=True)
