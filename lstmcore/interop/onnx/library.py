"""The packages that ONNX files need, and only here: optional, and imported when they are used."""

from __future__ import annotations

from typing import Any

from lstmcore.errors import MissingLibraryError


def onnx() -> Any:
    """The onnx package; an error with the command that installs it where it is missing."""
    try:
        import onnx
        import onnx.numpy_helper
    except ModuleNotFoundError as error:
        raise _missing("ONNX files need the package onnx", error) from None
    return onnx


def onnxruntime() -> Any:
    """ONNX Runtime, the engine that judges what was written."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise _missing("to run an ONNX file takes ONNX Runtime", error) from None
    return onnxruntime


def _missing(why: str, error: ModuleNotFoundError) -> ModuleNotFoundError | MissingLibraryError:
    if error.name not in ("onnx", "onnxruntime"):
        return error
    return MissingLibraryError(f"{why}, which is not installed: pip install 'lstmcore[onnx]'")
