"""docs/demos/self-checking.md: an ONNX file one bit of whose weights changed is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import lstmcore as lc
from lstmcore.errors import DamagedFileError
from lstmcore.interop.onnx import verify
from lstmcore.layers import GRU, LSTM, Dense, Embedding, Input
from lstmcore.models import Sequential

WEIGHTS = ["embedding/embeddings", "lstm/kernel", "lstm/recurrent_kernel", "gru/bias", "dense/kernel"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequential, bytes]:
    lc.set_random_seed(7)
    layers = [Input((None,), dtype="int32"), Embedding(9, 4), LSTM(5, return_sequences=True), GRU(6), Dense(2)]
    model = Sequential(layers)
    model.set_weights([array + np.linspace(0.1, 0.4, array.size).reshape(array.shape) for array in model.get_weights()])
    path = tmp_path_factory.mktemp("written") / "m.onnx"
    lc.export_model(model, path)
    return model, path.read_bytes()


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("bit", [20, 23, 31])
def test_a_bit_that_turned_over_is_noticed(
    weight: str, bit: int, written: tuple[Sequential, bytes], tmp_path: Path
) -> None:
    model, data = written
    number = model.weights[weight].reshape(-1)[3].tobytes()
    assert data.count(number) == 1
    altered, at = bytearray(data), data.index(number)
    altered[at + bit // 8] ^= 1 << bit % 8
    path = tmp_path / "m.onnx"
    path.write_bytes(altered)
    onnx.checker.check_model(path, full_check=True)
    assert not verify(path).ok
    with pytest.raises(DamagedFileError, match="does not compute what it did when it was written"):
        lc.import_model(path)


def test_two_vectors_travel_in_the_file(written: tuple[Sequential, bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(written[1])
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    told = json.loads(metadata["lstmcore.vectors"])
    assert len(told["vectors"]) == 2 and told["limit"] >= 16
    assert verify(path).ok
