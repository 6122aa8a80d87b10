"""Random models of a real Keras, in each of its formats: ``python tests/interop/sweep_keras.py --models 200``.

Once a night, or after a change to the reader of Keras' files. ``--tf-keras`` asks tf_keras, where that is installed.
Prints what lstmcore refuses or computes otherwise, and exits with 1 where that is anything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from test_against_keras import FORMATS, LIMIT


def made(folder: Path, names: list[str], old: bool) -> list[str]:
    """The names of the models that Keras made; it does not take all combinations."""
    command = [sys.executable, str(Path(__file__).with_name("keras_models.py")), str(folder), *names]
    done = subprocess.run([*command, *["--tf-keras"] * old], capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return [name for name, text in json.loads(done.stdout.splitlines()[-1]).items() if not text.startswith("refused")]


def faults(base: Path) -> list[str]:
    """What is wrong with one model, by format."""
    with np.load(f"{base}.npz") as data:
        inputs, expected = [data[name] for name in sorted(data) if name.startswith("in")], data["out0"]
    scale = np.finfo(np.float32).eps * max(np.abs(expected).max(), 1e-30)
    found = []
    for form, load in FORMATS.items():
        try:
            y = load(base).predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
            error = np.abs(y.astype("float64") - expected).max() / scale
            found += [f"{form}: {error:.1f} units off"] if not error <= LIMIT else []
        except Exception as error:
            found.append(f"{form}: {type(error).__name__}: {error}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--tf-keras", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seeds = range(given.start, given.start + given.models)
        names = [f"{'wide' if seed % 2 else ''}{seed}" for seed in seeds]
        names = made(Path(folder), names, given.tf_keras)
        wrong = {name: found for name in names if (found := faults(Path(folder) / name))}
    for name, found in wrong.items():
        print(name, *found, sep="\n    ")
    print(f"{len(names)} models in {len(FORMATS)} formats, {len(wrong)} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
