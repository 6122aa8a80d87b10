"""Keras 3 saves, lstmcore imports, and both compute the same: every format, models of many kinds."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc

LIMIT = 16
SEEDS = ["translator", "chain", "trained", "stateful", "shared", "nested", "corners", *map(str, range(24))]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="Keras is not installed: pip install 'lstmcore[tensorflow]'"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which real Keras left its files; at most a few combinations are none that it takes."""
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).with_name("keras_models.py")
    command = [sys.executable, str(script), str(folder), *SEEDS]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "tensorflow"})
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    refused = {seed: text for seed, text in told.items() if text.startswith("refused")}
    assert len(refused) < 4, refused
    return folder


FORMATS: dict[str, Any] = {
    ".keras": lambda base: lc.import_model(f"{base}.keras"),
    ".h5": lambda base: lc.import_model(f"{base}.h5"),
    ".json and .weights.h5": lambda base: lc.import_model(f"{base}.json", weights=f"{base}.weights.h5"),
    ".json and .h5": lambda base: lc.import_model(f"{base}.json", weights=f"{base}.h5"),
    ".weights.h5 into a model": lambda base: lc.import_model(
        f"{base}.weights.h5", spec=emptied(lc.import_model(f"{base}.keras"))
    ),
}


def emptied(model: Any) -> Any:
    """The model without its weights."""
    model.set_weights([np.zeros_like(array) for array in model.get_weights()])
    return model


@pytest.mark.parametrize("seed", SEEDS)
def test_the_numbers_are_those_of_keras(seed: str, made: Path) -> None:
    if not (made / f"{seed}.npz").exists():
        return  # refused by Keras; `made` counts these
    with np.load(made / f"{seed}.npz") as data:
        inputs = [data[name] for name in sorted(data) if name.startswith("in")]
        expected = data["out0"]
    scale = np.finfo(np.float32).eps * np.abs(expected).max()
    for name, load in FORMATS.items():
        y = load(made / seed).predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
        assert y.shape == expected.shape
        assert np.abs(y.astype("float64") - expected).max() <= LIMIT * scale, name
