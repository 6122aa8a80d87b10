"""Models to files and back: by name, whole or not at all, on every engine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lstmcore as lc
from lstmcore import initializers
from lstmcore.errors import DamagedFileError, FileError, ForeignFileError, SpecError, WeightsMismatchError
from lstmcore.layers import GRU, LSTM, Dense, Embedding, Input
from lstmcore.models import Sequential
from lstmcore.runtime.compare import LIMIT, scale_error


def small(units: int = 4, dtype: str = "float32") -> Sequential:
    return Sequential([Input((5, 3)), LSTM(units, dtype=dtype), Dense(2, dtype=dtype)])


X = np.random.default_rng(8).normal(size=(3, 5, 3)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back_the_same_byte_for_byte(tmp_path: Path, dtype: str) -> None:
    model = small(dtype=dtype)
    model.save(tmp_path / "m.safetensors")
    again = lc.load_model(tmp_path / "m.safetensors")
    assert {name: array.tobytes() for name, array in again.weights.items()} == {
        name: array.tobytes() for name, array in model.weights.items()
    }
    assert again.get_config() == model.get_config()
    assert again.predict(X).tobytes() == model.predict(X).tobytes()
    assert again.weights["lstm/kernel"].dtype == dtype


@pytest.mark.parametrize("saved_on", ["numpy", "torch", "tensorflow"])
@pytest.mark.parametrize("loaded_on", ["numpy", "torch", "tensorflow"])
def test_what_one_engine_saves_every_engine_loads(tmp_path: Path, saved_on: str, loaded_on: str) -> None:
    model = Sequential([Input((6,)), Embedding(9, 3), GRU(4)])
    ids = np.arange(18).reshape(3, 6) % 9
    with lc.use_backend(saved_on):
        before = model.predict(ids)
        model.save(tmp_path / "m.safetensors")
    with lc.use_backend(loaded_on):
        after = lc.load_model(tmp_path / "m.safetensors").predict(ids)
    assert scale_error(after, before, "float32") <= LIMIT


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "m.safetensors")
    arrays = load_file(tmp_path / "m.safetensors")
    assert set(arrays) == {"lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "dense/kernel", "dense/bias"}
    assert all((arrays[name] == array).all() for name, array in model.weights.items())


def test_weights_load_by_name_into_a_model_built_elsewhere(tmp_path: Path) -> None:
    model = small()
    model.save_weights(tmp_path / "m.safetensors")
    other = small()
    assert not (other.weights["lstm/kernel"] == model.weights["lstm/kernel"]).all()
    other.load_weights(tmp_path / "m.safetensors")
    assert other.predict(X).tobytes() == model.predict(X).tobytes()


def _other_units(path: Path) -> None:
    small(5).save(path)


def _more_layers(path: Path) -> None:
    Sequential([Input((5, 3)), LSTM(4), Dense(2), Dense(2)]).save(path)


def _fewer_layers(path: Path) -> None:
    Sequential([Input((5, 3)), LSTM(4)]).save(path)


def _other_dtype(path: Path) -> None:
    small(dtype="float64").save(path)


MISFITS = [
    (_other_units, r"lstm/kernel.*\(3, 20\).*\(3, 16\)"),
    (_more_layers, "dense_1/kernel"),
    (_fewer_layers, "dense/kernel"),
    (_other_dtype, "float64.*float32"),
]


@pytest.mark.parametrize(("make", "says"), MISFITS)
def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    path = tmp_path / "m.safetensors"
    make(path)
    model = small()
    before = {name: array.tobytes() for name, array in model.weights.items()}
    with pytest.raises(WeightsMismatchError, match=f"(?s)m.safetensors.*{says}"):
        model.load_weights(path)
    assert {name: array.tobytes() for name, array in model.weights.items()} == before


def test_one_damaged_byte_is_located_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = small()
    model.save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    before = model.get_weights()
    with pytest.raises(DamagedFileError, match=r"lstm/|dense/"):
        model.load_weights(path)
    with pytest.raises(DamagedFileError):
        lc.load_model(path)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_foreign_safetensors_file_is_told_from_ours(tmp_path: Path) -> None:
    save_file({"lstm/kernel": np.zeros((3, 16), np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(ForeignFileError, match=r"m\.safetensors"):
        lc.load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m", "m.pt"])
def test_saving_under_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="safetensors"):
        small().save(tmp_path / name)
    assert not os.listdir(tmp_path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises((FileNotFoundError, FileError)):
        lc.load_model(tmp_path / "no.safetensors")


def test_loading_draws_no_initial_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small().save(tmp_path / "m.safetensors")

    def draw(*_: object) -> None:
        raise AssertionError("loading drew initial weights")

    monkeypatch.setattr(initializers.GlorotUniform, "sample", draw)
    assert lc.load_model(tmp_path / "m.safetensors").predict(X).shape == (3, 2)


def test_pretrained_embeddings_are_in_the_file_once(tmp_path: Path) -> None:
    table = np.random.default_rng(1).normal(size=(20000, 8)).astype(np.float32)
    for layer in (
        Embedding(20000, 8, embeddings_initializer=initializers.Constant(table)),
        Embedding(20000, 8, weights=[table]),
    ):
        model = Sequential([Input((4,)), layer, LSTM(3)])
        path = tmp_path / "m.safetensors"
        model.save(path)
        assert path.stat().st_size < table.nbytes * 1.1
        assert (lc.load_model(path).weights["embedding/embeddings"] == table).all()


def test_json_is_read_back_and_code_in_it_is_not_run(tmp_path: Path) -> None:
    model = small()
    again = lc.models.model_from_json(model.to_json())
    assert again.get_config() == model.get_config()
    data = json.loads(model.to_json())
    data["config"]["layers"][1]["class_name"] = "Lambda"
    with pytest.raises(SpecError, match="Lambda"):
        lc.models.model_from_json(json.dumps(data))
    data = json.loads(model.to_json())
    data["config"]["layers"][1]["module"] = "os"
    with pytest.raises(SpecError, match="os"):
        lc.models.model_from_json(json.dumps(data))
