"""Keras' files with bits turned over, as many as asked for: ``python tests/interop/fuzz_keras.py 10000``.

Each is refused with a FileError or makes a model, within a second, and does nothing else. Exit status 1 otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras_files as make

DATA = Path(__file__).parent / "data"
BATCH = 100


def jobs(folder: Path) -> list[dict[str, Any]]:
    """The files to begin with."""
    json_file = folder / "m.json"
    json_file.write_text(json.dumps(make.SMALL))
    weights = folder / "w.weights.h5"
    weights.write_bytes(make.hdf5())
    found = [make.archive(folder / "m.keras"), DATA / "tf_keras_translator.h5", DATA / "tf_keras_23.keras"]
    found += [DATA / "dl4j-test-resources__bidirectional_lstm_tensorflow_1.h5"]
    copies = []
    for path in found:
        copy = folder / path.name
        copy.write_bytes(path.read_bytes())
        copies.append({"path": str(copy)})
    return [*copies, {"path": str(json_file), "weights": str(weights)}, {"path": str(weights), "spec": str(json_file)}]


def main(count: int) -> int:
    """How many files went wrong."""
    wrong = models = 0
    slowest = rise = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = make.archive(folder / "warm.keras")
        command = [sys.executable, str(Path(__file__).with_name("reading.py")), str(warm)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        assert process.stdin and process.stdout
        kinds = jobs(folder)
        for batch in range(0, count, BATCH):
            job = {**kinds[batch // BATCH % len(kinds)], "flips": list(range(batch, min(batch + BATCH, count)))}
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if answer["result"] != "flipped" or answer["odd"]:
                wrong += max(len(answer.get("odd", [])), 1)
                print(json.dumps({"job": job["path"], "seeds": [batch, batch + BATCH], **answer})[:2000])
            else:
                models += answer["models"]
                slowest, rise = max(slowest, answer["slowest"]), max(rise, answer["rise"])
        process.stdin.close()
        process.wait()
    print(f"{count} files, {models} of them models, {wrong} wrong; the slowest {slowest:.2f} s, {rise:.0f} MiB at most")
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1])) else 0)
