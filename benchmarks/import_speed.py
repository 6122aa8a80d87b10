"""How long the import of a large weight file takes, and how much memory: beside reading its arrays alone.

``python benchmarks/import_speed.py [--mib 1024] [--rounds 5] [FORMAT ...]`` makes a model with an Embedding of that
size, writes it in each format of `FORMATS`, and reads it back in fresh processes, in turn: with lstmcore, and with the
format's own library. Medians, and the ratios that are asked for: time <= 1.3, memory <= 1.2.

The time is that of the processor: the file is in the machine's cache, and other processes may run. Memory is what the
process came to above what it had once its libraries were loaded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One format: the file's suffix, and how its own library reads the arrays, as code that gets ``path``.

    ``ready`` loads the libraries; ``spec`` says whether the file is read into a model given.
    """

    suffix: str
    ready: str
    reads: str
    spec: bool = False


_WALK = """
def walk(file):
    found = []
    file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found
"""

FORMATS: Mapping[str, Row] = {
    "keras": Row(
        ".keras",
        f"import h5py, io, zipfile{_WALK}",
        "arrays = walk(h5py.File(io.BytesIO(zipfile.ZipFile(path).read('model.weights.h5'))))",
    ),
    "weights.h5": Row(".weights.h5", f"import h5py{_WALK}", "arrays = walk(h5py.File(path))", spec=True),
    "h5": Row(".h5", f"import h5py{_WALK}", "arrays = walk(h5py.File(path))"),
}

_MODEL = """
import numpy as np
import lstmcore as lc
from lstmcore.layers import LSTM, Dense, Embedding, Input
from lstmcore.layers.base import placeholder_weights
from lstmcore.models import Sequential
def model(rows):
    return Sequential([Input((None,), dtype="int32"), Embedding(rows, 256), LSTM(64), Dense(8)])
"""

_WRITE = """
import sys
lc.set_random_seed(1)
made = model(int(sys.argv[2]))
rng = np.random.default_rng(2)
made.set_weights([rng.random(array.shape, np.float32) for array in made.get_weights()])
lc.export_model(made, sys.argv[1])
"""

_MEASURED = """
import json, resource, sys, time
path, rows = sys.argv[1], int(sys.argv[2])
{given}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, begun = peak(), time.process_time()
{reads}
print(json.dumps([time.process_time() - begun, peak() - before]))
"""


def python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def measured(ready: str, given: str, reads: str, path: Path, rows: int) -> tuple[float, float]:
    seconds, mib = json.loads(python(ready + _MEASURED.format(given=given, reads=reads), str(path), str(rows)))
    return seconds, mib


def measure(row: Row, path: Path, rows: int, rounds: int) -> dict[str, float]:
    """Medians of seconds and MiB, ours and theirs, taken in turn."""
    given = "with placeholder_weights():\n    spec = model(rows)" if row.spec else ""
    ours_reads = "arrays = lc.import_model(path, spec=spec)" if row.spec else "arrays = lc.import_model(path)"
    warm = _MODEL + "import lstmcore.interop.keras.files, h5py\n"
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(measured(warm, given, ours_reads, path, rows))
        theirs.append(measured(row.ready, "", row.reads, path, rows))
    medians = [statistics.median(column) for runs in (ours, theirs) for column in zip(*runs, strict=True)]
    return dict(zip(("seconds", "MiB", "their seconds", "their MiB"), medians, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}; all by default")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    rows = asked.mib * 1024
    print(f"{'format':<12}{'ours':>9}{'alone':>9}{'ratio':>7}{'MiB':>9}{'alone':>9}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.formats or FORMATS:
            path = Path(folder) / f"model{FORMATS[name].suffix}"
            python(_MODEL + _WRITE, str(path), str(rows))
            found = measure(FORMATS[name], path, rows, asked.rounds)
            path.unlink()
            times, sizes = (found["seconds"], found["their seconds"]), (found["MiB"], found["their MiB"])
            print(
                f"{name:<12}{times[0]:>8.2f}s{times[1]:>8.2f}s{times[0] / times[1]:>7.2f}"
                f"{sizes[0]:>9.0f}{sizes[1]:>9.0f}{sizes[0] / sizes[1]:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
