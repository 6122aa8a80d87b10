"""ONNX Runtime as the judge of what is written, and of what is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from lstmcore.runtime.compare import scale_error

Array = NDArray[Any]
onnxruntime.set_default_logger_severity(4)


def session(model: Any) -> Any:
    """A model, its bytes or its path, ready to run on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    data = str(data) if isinstance(data, Path) else data
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(model: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by name."""
    made = session(model)
    names = [entry.name for entry in made.get_outputs()]
    return dict(zip(names, made.run(names, dict(inputs)), strict=True))


def wrapped(graph: Any, opset: int = 17) -> Any:
    """A graph as a model that ONNX's own checker takes."""
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def agree(y: Array, reference: Array, limit: float = 16) -> None:
    """Within E of the reference, or equal if not floats."""
    if reference.dtype.kind != "f":
        np.testing.assert_array_equal(y, reference)
    else:
        assert (error := scale_error(y, reference, "float32")) <= limit, f"E = {error:.3g}"
