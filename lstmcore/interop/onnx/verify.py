"""Whether an ONNX file still computes what the model did that it was written from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from lstmcore.errors import ForeignFileError, InputError
from lstmcore.interop import vectors
from lstmcore.interop.onnx.library import onnxruntime
from lstmcore.interop.onnx.loading import load
from lstmcore.interop.onnx.write import AXES
from lstmcore.interop.pieces import piecewise
from lstmcore.interop.vectors import Verification
from lstmcore.storage.atomic import PathLike


def verify(path: PathLike) -> Verification:
    """Runs a file that lstmcore wrote on ONNX Runtime, on the test vectors that it carries.

    Raises:
        ForeignFileError: it carries no test vectors.
        DamagedFileError: they cannot be read.
        MissingLibraryError: ONNX Runtime is not installed.
    """
    engine = onnxruntime()
    loaded = load(path)
    if "lstmcore.vectors" not in loaded.metadata:
        raise ForeignFileError(f"{loaded.name} carries no test vectors: lstmcore did not write it")
    session = engine.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    worst, limit = vectors.check(
        loaded.metadata["lstmcore.vectors"], lambda given: _batched(session, given), loaded.name
    )
    return Verification(loaded.name, f"{engine.__name__} {engine.__version__}", worst, limit)


def run(path: PathLike, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The outputs of a file on ONNX Runtime, of inputs in the file's order, and the floats that its nodes make.

    See `hookspecs.Judge`. What is inside comes from a second session: an engine that must show it fuses less.
    """
    session = onnxruntime().InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    if len(names) != len(inputs):
        raise InputError(f"{os.path.basename(os.fspath(path))} takes {', '.join(names)}; given {len(inputs)} arrays")
    given = dict(zip(names, inputs, strict=True))
    cut = _cut(session, given)
    if cut is not None:
        return list(piecewise(partial(_run, session), given, *cut).values()), {}
    return list(_batched(session, given).values()), {} if _axes(session) else _inside(path, given)


def _cut(session: Any, inputs: Mapping[str, Any]) -> tuple[int, dict[str, int]] | None:
    """Of a file that fixes fewer samples than are given: how many it takes, and their axis in each input and output.

    None where all fit, or where it does not tell which axis they are on.
    """
    declared = {entry.name: entry.shape for entry in (*session.get_inputs(), *session.get_outputs())}
    odd = {
        name: [k for k, n in enumerate(declared[name]) if isinstance(n, int) and n != array.shape[k]]
        for name, array in inputs.items()
        if len(declared[name]) == array.ndim
    }
    sizes = {(declared[name][k], inputs[name].shape[k]) for name, axes in odd.items() for k in axes}
    if len(odd) != len(inputs) or any(len(axes) != 1 for axes in odd.values()) or len(sizes) != 1:
        return None
    ((samples, given),) = sizes
    ends = {e.name: [k for k, n in enumerate(e.shape) if n == samples] for e in session.get_outputs()}
    if given % samples or any(len(axes) != 1 for axes in ends.values()):
        return None
    return samples, {name: axes[0] for name, axes in {**odd, **ends}.items()}


def _inside(path: PathLike, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the nodes of the graph itself make; nothing for a file that is large, or has its weights beside it."""
    if os.path.getsize(path) > MOST_SHOWN:
        return {}
    loaded = load(path, whole=True)
    graph = loaded.model.graph
    if any(tensor.external_data for tensor in graph.initializer):
        return {}
    known = {entry.name for entry in graph.output}
    made = [name for node in graph.node for name in node.output if name and name not in known]
    for name in made:
        graph.output.add().name = name
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime().InferenceSession(loaded.model.SerializeToString(), options, ["CPUExecutionProvider"])
        found = _run(session, given)
    except Exception:  # it need not be able to show everything; the outputs were computed without this
        return {}
    return {name: y for name, y in found.items() if getattr(getattr(y, "dtype", None), "kind", "") == "f"}


def _axes(session: Any) -> dict[str, int | None]:
    """Where a file of `write` has its batch, if not first."""
    axes: dict[str, int | None] = json.loads(session.get_modelmeta().custom_metadata_map.get(AXES, "{}"))
    return axes


def _batched(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of inputs with the batch first; of a file without one, sample by sample."""
    axes = _axes(session)
    if None not in axes.values():
        moved = {name: np.moveaxis(array, 0, axes.get(name) or 0) for name, array in inputs.items()}
        return {name: np.moveaxis(y, axes.get(name) or 0, 0) for name, y in _run(session, moved).items()}
    samples = len(next(iter(inputs.values())))
    runs = [_run(session, {name: array[k] for name, array in inputs.items()}) for k in range(samples)]
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def _run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    types = {entry.name: _DTYPES[entry.type] for entry in session.get_inputs() if entry.type in _DTYPES}
    names = [entry.name for entry in session.get_outputs()]
    cast = {name: array.astype(types.get(name, array.dtype)) for name, array in inputs.items()}
    return dict(zip(names, session.run(names, cast), strict=True))


_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int32)": "int32", "tensor(bool)": "bool"}
_DTYPES |= {f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
MOST_SHOWN = 256 << 20
