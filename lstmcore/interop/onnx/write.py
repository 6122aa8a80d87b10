"""A model written as an ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import lstmcore
from lstmcore.errors import ExportError
from lstmcore.interop import vectors
from lstmcore.interop.onnx.beside import Beside
from lstmcore.interop.onnx.graph import OPSET
from lstmcore.interop.onnx.library import onnx
from lstmcore.interop.onnx.program import Written, write_program
from lstmcore.interop.presented import Presented, output_names, to_write
from lstmcore.layers.options import FLAG, checked
from lstmcore.models.files import unbuilt_description
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Program
from lstmcore.storage.atomic import PathLike, replacing

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

IR_VERSION = 8  # that of onnx 1.12, which brought opset 17
MOST_BYTES = (1 << 31) - 1
VERSION = "1"
AXES = "lstmcore.batch_axes"


def write(
    model: BaseModel,
    path: PathLike,
    *,
    streaming: bool = False,
    batch_size: int | None = None,
    largest: int = MOST_BYTES,
) -> None:
    """Writes the model as an ONNX file of opset 17, atomically.

    Inputs and outputs have the model's names, batch and time stay open where the model leaves them open. The states of
    stateful layers are inputs ``layer/h`` and outputs ``layer/h/next``. With ``streaming`` the graph takes a piece of
    a sequence, one step or many, and all its past is in such states (docs/streaming.md): zeros at first.

    Recurrent layers are one LSTM, GRU or RNN node each, both directions of a Bidirectional too, whatever their masks;
    with functions that these nodes have no name for, they are a Scan. The metadata hold the model's description and
    two test vectors, which `verify` and `read` check.

    The weights of a model that would take more than ``largest`` bytes, 2 GiB, which is the most that one such file
    holds, go into ``NAME.onnx.data`` beside it, as ONNX has it: the two belong together, and the first names the
    second by its name alone. Both are written whole before either takes the place of what was there.

    Raises:
        ExportError: ONNX cannot hold this model, and what would be lost.
        SpecError: ``streaming``, of a model that must see the whole sequence.
        MissingLibraryError: the package onnx is not installed.
        OSError: it cannot be written; what was there is unchanged.
    """
    streams = checked("write", "streaming", FLAG, streaming)
    program, states = to_write(model, streams, batch_size)
    vectors.affordable(program)
    names = output_names(model, program)
    axes = batch_axes(model, names, streams)
    data = os.path.basename(os.fspath(path)) + ".data"
    written = write_program(
        program,
        model.every_path(),
        model.dtype,
        model.name,
        names,
        states,
        axes=axes,
        beside=Beside(data),
        largest=largest - (largest >> 4),  # what else is in the file is small
    )
    metadata = {
        "lstmcore.format": VERSION,
        "lstmcore.version": lstmcore.__version__,
        "lstmcore.model": unbuilt_description(model),
        "lstmcore.streaming": json.dumps(streams),
        "lstmcore.states": json.dumps({name: list(pair) for name, pair in written.carries.items()}),
        "lstmcore.limits": json.dumps(dict(program.limits)),
        "lstmcore.vectors": vectors.make(presented(program, written), model.every_path()),
    }
    if axes:
        metadata[AXES] = json.dumps(axes)
    whole = serialized(written, metadata, model.name)
    with replacing(path) as file:
        file.write(whole)
        if written.beside is not None:
            with replacing(os.path.join(os.path.dirname(os.path.realpath(path)), data)) as weights:
                written.beside.write(weights)


def batch_axes(model: BaseModel, outputs: Sequence[str], streams: bool) -> dict[str, int | None]:
    """By the name of each input and output, where in the data the batch is, if not first; None: nowhere.

    A stream is given pieces in the program's own layout.
    """
    if streams or not isinstance(model, ProgramModel):
        return {}
    own = model.batch_axes
    pairs = [*((name, name) for name in model.program.inputs), *zip(outputs, model.output_names, strict=True)]
    return {name: own[known] for name, known in pairs if own[known] != 0}


def presented(program: Program, written: Written) -> Presented:
    """What each value that enters or leaves is called in the file."""
    inputs, outputs = written.inputs[: len(program.inputs)], written.outputs[: len(program.outputs)]
    return Presented(program, inputs, outputs, written.carries)


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
            f"model {name!r} takes {model.ByteSize()} bytes in ONNX without its weights; one file holds at most "
            f"{MOST_BYTES}"
        )
    _check(library, model)
    data: Any = model.SerializeToString(deterministic=True)
    return bytes(data)


def _check(library: Any, model: Any) -> None:
    """ONNX's checker; of weights beside the model it sees the shapes, as if they were inputs."""
    outside = [tensor for tensor in model.graph.initializer if tensor.external_data]
    if not outside:
        library.checker.check_model(model, full_check=True)
        return
    copy = type(model)()
    copy.CopyFrom(model)
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(tensor for tensor in model.graph.initializer if not tensor.external_data)
    for tensor in outside:
        info = library.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        copy.graph.input.append(info)
    library.checker.check_model(copy, full_check=True)
