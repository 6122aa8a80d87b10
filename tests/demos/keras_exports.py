"""What Keras' own ONNX export makes of a GRU over words: ``KERAS_BACKEND=torch python keras_exports.py``.

Needs tf2onnx (on TensorFlow) or onnxscript (on PyTorch) beside Keras, which the tests do not install.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers


def count(graph: Any) -> int:
    """The nodes of a graph, those of the graphs within them too."""
    inner = (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))
    return len(graph.node) + sum(map(count, inner))


def tried(session: Any, model: Any, steps: int) -> str:
    """How far the file is from Keras on so many steps."""
    words = np.random.default_rng(steps).integers(1, 50, (3, steps)).astype("int32")
    try:
        (y,) = session.run(None, {session.get_inputs()[0].name: words})
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:90]}"
    return f"off by {np.abs(y - keras.ops.convert_to_numpy(model(words))).max():.1e}"


def measure(steps: int | None, mask: bool, folder: Path) -> None:
    keras.utils.set_random_seed(7)
    words = [keras.Input((steps,), dtype="int32"), layers.Embedding(50, 8, mask_zero=mask)]
    model = keras.Sequential([*words, layers.GRU(16), layers.Dense(3)])
    model(np.ones((2, steps or 6), "int32"))
    path = folder / f"{steps}_{mask}.onnx"
    model.export(str(path), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    told = ", ".join(f"{n} steps: {tried(session, model, n)}" for n in (1, 20, 50))
    nodes = count(onnx.load(path).graph)
    print(f"{keras.backend.backend()}, time {steps}, mask {mask}: {nodes} nodes, {path.stat().st_size} bytes; {told}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(4)
    print(f"Keras {keras.__version__}, onnxruntime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory() as place:
        for options in ((50, True), (None, True), (None, False)):
            measure(*options, Path(place))
