"""Whether an ONNX file still computes what the model did that it was written from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from lstmcore.errors import ForeignFileError
from lstmcore.interop import vectors
from lstmcore.interop.onnx.library import onnxruntime
from lstmcore.interop.onnx.loading import load
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
    worst, limit = vectors.check(loaded.metadata["lstmcore.vectors"], lambda given: _run(session, given), loaded.name)
    return Verification(loaded.name, f"{engine.__name__} {engine.__version__}", worst, limit)


def run(path: PathLike, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The outputs of a file on ONNX Runtime, of inputs in the file's order; see `hookspecs.Judge`."""
    session = onnxruntime().InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return list(_run(session, dict(zip(names, inputs, strict=True))).values()), {}


def _run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    types = {entry.name: _DTYPES[entry.type] for entry in session.get_inputs() if entry.type in _DTYPES}
    names = [entry.name for entry in session.get_outputs()]
    cast = {name: array.astype(types.get(name, array.dtype)) for name, array in inputs.items()}
    return dict(zip(names, session.run(names, cast), strict=True))


_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int32)": "int32", "tensor(bool)": "bool"}
