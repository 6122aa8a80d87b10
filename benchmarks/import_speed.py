"""How long the import of a large weight file takes, and how much memory: beside reading its arrays alone.

``python benchmarks/import_speed.py [--mib 1024] [--rounds 5] [--shape table|stack] [FORMAT ...]`` makes a model of that
size, writes it in each format of `FORMATS`, and reads it back in fresh processes, in turn: with lstmcore, and with the
format's own library. Medians, and the ratios that are asked for: time <= 1.3, memory <= 1.2. ``table`` is an Embedding
of nearly that size, ``stack`` LSTMs whose weights have 64 MiB each and another layout in most formats.

The time is that of the processor, then the clock's: the file is in the machine's cache, and other processes may run.
Memory is what the process came to above what it had after reading a small file in the same way. The last column is how
long ``lstmcore inspect --no-values`` takes, by the clock, with the start of Python.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One format: the file's suffix, and how its own library reads the arrays: code that makes ``read(path)``.

    ``spec`` says whether the file is read into a model that is described beside it.
    """

    suffix: str
    reads: str
    spec: bool = False


_WALK = """
import h5py
def walk(file):
    found = []
    file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found
"""
_KERAS = (
    _WALK
    + """
import io, zipfile
def read(path):
    return walk(h5py.File(io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5"))))
"""
)
_HDF5 = (
    _WALK
    + """
def read(path):
    return walk(h5py.File(path))
"""
)
_SAFETENSORS = """
from safetensors.numpy import load_file
def read(path):
    return load_file(path)
"""
_TORCH = """
import torch
def read(path):
    return {name: tensor.numpy() for name, tensor in torch.load(path, weights_only=True, mmap=False).items()}
"""
_ONNX = """
import onnx
from onnx import numpy_helper
def read(path):
    return [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
"""
_NPZ = """
import numpy
def read(path):
    with numpy.load(path) as file:
        return {name: file[name] for name in file.files}
"""

FORMATS: Mapping[str, Row] = {
    "keras": Row(".keras", _KERAS),
    "weights.h5": Row(".weights.h5", _HDF5, spec=True),
    "h5": Row(".h5", _HDF5),
    "lstmcore": Row(".safetensors", _SAFETENSORS),
    "pt": Row(".pt", _TORCH, spec=True),
    "state_dict": Row(".state.safetensors", _SAFETENSORS),
    "onnx": Row(".onnx", _ONNX),
    "npz": Row(".npz", _NPZ),
}

_WRITE = """
import sys
import numpy as np
import lstmcore as lc
from lstmcore.layers import LSTM, Dense, Embedding, Input
from lstmcore.layers.base import placeholder_weights
from lstmcore.models import Sequential
path, shape, mib, row = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if shape == "table":
    layers = [Input((None,), dtype="int32"), Embedding(max(mib, 1) * 1365, 192), LSTM(64 if not mib else 256), Dense(8)]
else:
    units = 2048 if mib else 16
    layers = [Input((None, units))]
    layers += [LSTM(units, return_sequences=True) for _ in range(max(mib // 128, 1))] + [Dense(8)]
with placeholder_weights():
    made = Sequential(layers)
    made.program
rng = np.random.default_rng(2)
made.replace_weights({name: rng.random(array.shape, np.float32) * np.float32(0.02) - np.float32(0.01)
                      for name, array in made.weights.items()})
formats = {"state_dict": "pytorch", "lstmcore": "lstmcore"}
lc.export_model(made, path, **({"format": formats[row]} if row in formats else {}))
open(path + ".json", "w").write(made.to_json())
"""

_OURS = """
import lstmcore as lc
def read(path):
    return lc.import_model(path{spec})
"""

_MEASURED = """
import json, resource, sys, time
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = read(sys.argv[1])
before, begun, clock = peak(), time.process_time(), time.perf_counter()
large = read(sys.argv[2])
print(json.dumps([time.process_time() - begun, time.perf_counter() - clock, peak() - before]))
"""
COLUMNS = ("CPU", "clock", "MiB")


def python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def measure(row: Row, small: Path, large: Path, rounds: int) -> list[tuple[float, float]]:
    """Medians, ours and theirs, of each column; taken in turn."""
    ours = _OURS.replace("{spec}", ', spec=path + ".json"' if row.spec else "")
    runs: dict[str, list[list[float]]] = {ours: [], row.reads: []}
    for _ in range(rounds):
        for reads, found in runs.items():
            found.append(json.loads(python(reads + _MEASURED, str(small), str(large))))
    medians = [[statistics.median(column) for column in zip(*found, strict=True)] for found in runs.values()]
    return list(zip(*medians, strict=True))


def inspected(path: Path) -> float:
    """How long ``lstmcore inspect --no-values`` takes: the median of three."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "lstmcore", "inspect", "--no-values", str(path)], check=True, capture_output=True
        )
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}; all by default")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=("table", "stack"), default="table")
    asked = parser.parse_args()
    print(f"{'format':<12}" + "".join(f"{name:>8}{'alone':>8}{'ratio':>7}" for name in COLUMNS) + f"{'inspect':>9}")
    for name in asked.formats or FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            row = FORMATS[name]
            small, large = Path(folder) / f"small{row.suffix}", Path(folder) / f"large{row.suffix}"
            for path, mib in ((small, 0), (large, asked.mib)):
                python(_WRITE, str(path), asked.shape, str(mib), name)
            found = measure(row, small, large, asked.rounds)
            cells = "".join(
                f"{ours:>8.{d}f}{theirs:>8.{d}f}{ours / theirs:>7.2f}"
                for (ours, theirs), d in zip(found, (2, 2, 0), strict=True)
            )
            print(f"{name:<12}{cells}{inspected(large):>8.2f}s", flush=True)


if __name__ == "__main__":
    main()
