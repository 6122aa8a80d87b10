"""The tutorials in ``examples/`` on all of MNIST: each on every engine, over several seeds, and in real Keras.

::

    LSTMCORE_DATA=mnist.npz python benchmarks/tutorials.py                      # an hour on two cores
    LSTMCORE_DATA=mnist.npz python benchmarks/tutorials.py --only simple_rnn --seeds 1

Each run is a process of its own, one at a time, that executes the script as it stands; for Keras the lines of imports
name ``keras`` instead of ``lstmcore``. Accuracy is that on the 10,000 test digits after three epochs; the time that
of ``fit``, with its three validations.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TUTORIALS = ("simple_rnn", "lstm")
SIDES = ("numpy", "torch", "tensorflow", "keras on tensorflow")

RUN = """
import json, re, sys, time
path, keras, seed = sys.argv[1], sys.argv[2] == "keras", int(sys.argv[3])
source = open(path).read()
if keras:
    import keras
    from lstmcore.datasets import mnist
    keras.datasets.mnist.load_data = mnist.load_data
    keras.utils.set_random_seed(seed)
    model = keras.Model
    source = re.sub(r"^from lstmcore\\.", "from keras.", source, flags=re.M)
else:
    import lstmcore as lc
    from lstmcore.models import Sequential as model
    lc.set_random_seed(seed)
fit, took = model.fit, []
def timed(self, *args, **kwargs):
    start = time.perf_counter()
    made = fit(self, *args, verbose=0, **kwargs)
    took.append(time.perf_counter() - start)
    return made
model.fit = timed
made = {"__name__": "__main__"}
exec(compile(source, path, "exec"), made)
print(json.dumps({"accuracy": made["history"].history["val_accuracy"][-1], "seconds": took[0]}))
"""


def run(tutorial: str, side: str, seed: int) -> dict[str, float]:
    """One training: the accuracy and the seconds."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": side.rpartition(" ")[2]}
    if "keras" not in side:
        environment["LSTMCORE_BACKEND"] = side
    code = [sys.executable, "-c", RUN, str(EXAMPLES / f"tutorial_{tutorial}.py"), side.partition(" ")[0], str(seed)]
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train the tutorials everywhere.")
    parser.add_argument("--only", choices=TUTORIALS, action="append")
    parser.add_argument("--side", choices=SIDES, action="append")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print("| tutorial | trained by | test digits read | seconds |", "|---|---|---|---|", sep="\n")
    for tutorial in options.only or TUTORIALS:
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in options.side or SIDES}
        for seed in range(1, options.seeds + 1):
            for side, found in runs.items():
                found.append(run(tutorial, side, seed))
        for side, found in runs.items():
            read = ", ".join(f"{one['accuracy']:.2%}" for one in found)
            seconds = statistics.median(one["seconds"] for one in found)
            print(f"| {tutorial} | {side} | {read} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
