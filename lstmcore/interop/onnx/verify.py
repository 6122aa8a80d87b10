"""Whether an ONNX file still computes what the model did that it was written from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstmcore.errors import ForeignFileError
from lstmcore.interop import vectors
from lstmcore.interop.onnx.library import onnxruntime
from lstmcore.interop.onnx.loading import load
from lstmcore.storage.atomic import PathLike


@dataclass(frozen=True)
class Verification:
    """What came of a file's test vectors on an engine: the worst E, and the limit that the file sets."""

    file: str
    engine: str
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the file computes what it was written to compute."""
        return self.error <= self.limit

    def __str__(self) -> str:
        word = "agrees" if self.ok else "DIFFERS"
        far = "other shapes, NaN or infinities" if math.isinf(self.error) else f"E = {self.error:.2f}"
        return f"{self.file} on {self.engine}: {word}, {far}, limit {self.limit:.3g}"


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
