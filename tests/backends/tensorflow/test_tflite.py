"""TFLite files: what TFLite's own interpreter makes of them, and what travels in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import plugins
from lstmcore.errors import DamagedFileError, ExportError, FileError, ForeignFileError, UnsupportedFileError
from lstmcore.layers import GRU, LSTM, Bidirectional, Conv1D, Dense, Embedding, Input, Masking, SimpleRNN
from lstmcore.models import Sequential
from lstmcore.runtime.compare import scale_error

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
from lstmcore_tensorflow.files import tflite

WORDS = Input((None,), dtype="int32")


def filled(model: Any) -> Any:
    random = np.random.default_rng(5)
    model.set_weights(
        [random.uniform(0.1, 0.7, a.shape) * random.choice([-1, 1], a.shape) for a in model.get_weights()]
    )
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "stack": lambda: [Input((None, 3)), LSTM(4, return_sequences=True), GRU(3, reset_after=False), Dense(2, "softmax")],
    "both_ways": lambda: [Input((None, 3)), Bidirectional(LSTM(4, return_sequences=True)), SimpleRNN(3)],
    "masking": lambda: [Input((None, 3)), Masking(0.5), GRU(4, return_sequences=True), Dense(1)],
    "words": lambda: [WORDS, Embedding(9, 4, mask_zero=True), LSTM(4), Dense(2)],
}


def given(model: Any, samples: int, steps: int) -> Any:
    random = np.random.default_rng(6)
    if model.program.values[model.program.inputs[0]].kind == "int":
        return random.integers(0, 9, (samples, steps)).astype("int32")
    return random.choice([0.5, *random.normal(size=30)], (samples, steps, 3)).astype("f4")


def exact(model: Any, x: Any) -> Any:
    session = model.session(plugins.reference(), "float64")
    return session.run({model.program.inputs[0]: x.astype("f8") if x.dtype.kind == "f" else x})[0][0]


@pytest.mark.parametrize("name", MODELS)
def test_tflite_computes_what_the_model_does_in_builtin_ops(name: str, tmp_path: Path) -> None:
    model, path = filled(Sequential(MODELS[name]())), tmp_path / "m.tflite"
    lc.export_model(model, path)
    for steps in (7, 2):
        x = given(model, 1, steps)
        (y,), _ = tflite.run(path, [x])
        assert scale_error(y, exact(model, x), "float32") <= 16
    assert tflite.verify(path).ok
    assert b"Flex" not in path.read_bytes()
    with pytest.raises(UnsupportedFileError, match="written, not read"):
        lc.import_model(path)


def test_lengths_can_be_fixed_or_open(tmp_path: Path) -> None:
    model, path = filled(Sequential(MODELS["stack"]())), tmp_path / "m.tflite"
    lc.export_model(model, path, batch_size=3, steps=5)
    x = given(model, 3, 5)
    assert scale_error(tflite.run(path, [x])[0][0], exact(model, x), "float32") <= 16
    assert tflite.verify(path).ok
    dense = filled(Sequential([Input((6, 3)), Conv1D(4, 2), Dense(2)]))
    lc.export_model(dense, path, batch_size=None)
    x = given(dense, 4, 6)
    assert scale_error(tflite.run(path, [x])[0][0], exact(dense, x), "float32") <= 16


def test_streaming_gives_step_by_step_what_the_sequence_gives(tmp_path: Path) -> None:
    layers = [Conv1D(3, 3, padding="causal"), LSTM(4, return_sequences=True), GRU(3, return_sequences=True)]
    model, path = filled(Sequential([Input((None, 3)), *layers])), tmp_path / "m.tflite"
    lc.export_model(model, path, streaming=True, steps=1)
    x, pieces = given(model, 1, 6), []
    program, _ = model.streaming_program(1)
    states = [
        np.zeros((1, *program.values[c.before].shape[1:]), "f4") for c in sorted(program.carries, key=lambda c: c.name)
    ]
    for t in range(6):
        (y, *states), _ = tflite.run(path, [x[:, t : t + 1], *states])
        pieces.append(y)
    assert scale_error(np.concatenate(pieces, 1), exact(model, x), "float32") <= 16
    assert tflite.verify(path).ok


def test_what_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    with pytest.raises(ExportError, match="float32"):
        lc.export_model(Sequential([Input((3,)), Dense(2, dtype="float64")]), path)
    with pytest.raises(ExportError, match=r"batch_size=None.*select_tf_ops=True"):
        lc.export_model(Sequential([Input((None, 3)), LSTM(2)]), path, batch_size=None)
    assert not path.exists()


def sealed(data: bytes) -> bytes:
    """An altered file with the digest that it would have."""
    found = re.search(rb'"digest": "([0-9a-f]{64})"', data)
    assert found
    return data.replace(found[1], hashlib.sha256(data.replace(found[1], b"0" * 64)).hexdigest().encode())


def test_altered_and_foreign_files_are_told(tmp_path: Path) -> None:
    import tensorflow as tf

    model, path = filled(Sequential([Input((None, 3)), LSTM(4)])), tmp_path / "m.tflite"
    lc.export_model(model, path)
    whole = path.read_bytes()
    kernel = model.weights["lstm/recurrent_kernel"]
    rows = [row.tobytes() for row in kernel.T]  # the converter turns it
    assert rows[0] in whole
    altered = whole.replace(rows[0], (2 * kernel.T[0]).tobytes())
    path.write_bytes(altered)
    with pytest.raises(DamagedFileError, match="not what was written"):  # before TFLite sees it
        tflite.verify(path)
    path.write_bytes(sealed(altered))
    assert not tflite.verify(path).ok
    path.write_bytes(b"no model at all")
    with pytest.raises(FileError):
        tflite.verify(path)
    for cut in (9, 60, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises((DamagedFileError, ForeignFileError)):
            tflite.verify(path)
    function = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec((1, 2))])
    made = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()
    path.write_bytes(made)
    with pytest.raises(ForeignFileError, match="did not write it"):
        tflite.verify(path)


def test_a_file_of_fixed_shapes_is_judged_on_any_number_of_samples(tmp_path: Path) -> None:
    """One sample at a time, as it takes them."""
    made = filled(Sequential([Input((5, 3)), LSTM(4, return_sequences=True), Dense(2)]))
    lc.export_model(made, tmp_path / "m.tflite")
    x = np.random.default_rng(1).normal(size=(3, 5, 3)).astype("f4")
    (y,), _ = tflite.run(tmp_path / "m.tflite", [x])
    assert y.shape == (3, 5, 2) and scale_error(y, exact(made, x), "float32") <= 16
