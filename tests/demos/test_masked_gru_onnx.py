"""docs/demos/masked-gru-onnx.md: one node, for any mask, batch and number of steps."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import lstmcore as lc
from lstmcore.layers import GRU, LSTM, Bidirectional, Dense, Embedding, Input, SimpleRNN
from lstmcore.models import Sequential

LAYERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "gru": ("GRU", lambda: GRU(16)),
    "sequences": ("GRU", lambda: GRU(16, return_sequences=True)),
    "lstm": ("LSTM", lambda: LSTM(16)),
    "simple": ("RNN", lambda: SimpleRNN(16)),
    "both ways": ("GRU", lambda: Bidirectional(GRU(16, return_sequences=True))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_one_node_for_any_mask(name: str, tmp_path: Path) -> None:
    kind, layer = LAYERS[name]
    lc.set_random_seed(7)
    model = Sequential(
        [Input((None,), dtype="int32", name="words"), Embedding(50, 8, mask_zero=True), layer(), Dense(3)]
    )
    model.set_weights(
        [array + np.linspace(-0.5, 0.5, array.size).reshape(array.shape) for array in model.get_weights()]
    )
    lc.export_model(model, tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    count = collections.Counter(node.op_type for node in graph.node)
    assert count[kind] == 1 and not count["Loop"] and not count["Scan"]
    (node,) = (node for node in graph.node if node.op_type == kind)
    assert node.input[4], "sequence_lens"
    assert all(dim.dim_param for dim in graph.input[0].type.tensor_type.shape.dim)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    for batch, steps in ((1, 1), (2, 3), (7, 50)):
        words = np.random.default_rng(steps).integers(0, 3, (batch, steps)).astype("int32")  # a third is padding
        words[-1] = 0
        (y,) = session.run(None, {"words": words})
        expected = model.predict(words)
        assert np.abs(y - expected).max() <= 2e-6 * np.abs(expected).max()
