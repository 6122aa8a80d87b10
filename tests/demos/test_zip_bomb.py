"""docs/demos/zip-bomb.md: some kB that hold gigabytes are refused, soon and in little memory. Keras never sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bomb
import pytest

READ = """
import json, resource, sys, time
import h5py
import lstmcore as lc
import lstmcore.interop.keras.files
lc.import_model(sys.argv[1])
before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    lc.import_model(sys.argv[2])
    told = "a model"
except lc.errors.FileError as error:
    told = f"{type(error).__name__}: {error}"
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"told": told, "MiB": (after - before) / 1024, "seconds": time.process_time() - begun}))
"""
GOOD = Path(__file__).parents[1] / "interop" / "data" / "CDT406-EMG-2__model.keras"


@pytest.mark.parametrize("layers", [1, 3, 7])
def test_it_is_refused_in_little_memory(layers: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    bomb.write(path, layers)
    assert path.stat().st_size < 6_000 * layers
    command = [sys.executable, "-c", READ, str(GOOD), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["told"] == (
        f"UnsafeFileError: bomb.keras has {path.stat().st_size} bytes, and its weights would take {layers << 30}."
    )
    assert told["MiB"] < 64
    assert told["seconds"] < 30  # a guard against a hang
