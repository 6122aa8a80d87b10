"""A training step of the tutorials' LSTM stack beside Keras' and beside a loop by hand: processes taking turns.

    python benchmarks/training_step.py [--engines numpy torch tensorflow] [--activations tanh relu] [--json]

Input (28, 28), LSTM(128, return_sequences), Dropout(0.2), LSTM(128), Dropout(0.1), Dense(32, relu), Dropout(0.2),
Dense(10, softmax); sparse categorical crossentropy, Adam; batches of 32 rows of MNIST's sample, float32. A step is all
that there is to one: taking the batch, dropout, gradients, Adam, and the loss as a number. The sides start from the
same weights and see the same batches; each runs in a process of its own, with the same number of threads, and only one
computes at a time. A round is a block of steps of each; a ratio is that of the medians of two blocks of one round.

The overhead is what the core adds to a step, in ms: from the end of one batch to the end of the next, less the compiled
function. What depends on no step before, the batch, the noise, the way to the device, `fit` makes in a thread, ahead.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BATCH = 32
WARM = 8  # steps before the first round: tracing, caches
LOSS_LIMIT = 0.25  # how far apart the sides' mean losses may be; they draw different dropout

# (engine, our side's rival, activations, the limit of the ratio)
TARGETS = (
    ("torch", "by hand on torch", ("tanh",), 1.1),
    ("torch", "Keras on torch", ("tanh",), 0.5),
    ("torch", "Keras on torch", ("relu",), 0.75),
    ("tensorflow", "Keras on tensorflow", ("tanh", "relu"), 0.85),
    ("numpy", "Keras on tensorflow", ("tanh", "relu"), 1.5),
)
OVERHEAD_LIMIT = 0.3

Block = dict[str, list[float]]  # "ms" and "losses", one of each a step; of our side also "overhead" in ms
Steps = Callable[[Any], Block]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def now() -> float:
    return CLOCKS[os.environ.get("TRAINING_STEP_CLOCK", "wall")]()


def data() -> tuple[Any, Any]:
    from lstmcore.datasets import mnist

    (x, y), _ = mnist.load_sample()
    return x.astype("float32") / 255, y.astype("int64")


def batches(samples: int) -> Iterator[Any]:
    """The rows of one batch after the other, the same for every side; an epoch leaves out what does not fill one."""
    import numpy as np

    order = np.random.default_rng(0)
    while True:
        rows = order.permutation(samples)
        yield from (rows[k : k + BATCH] for k in range(0, samples - BATCH + 1, BATCH))


def our_model(activation: str) -> Any:
    import lstmcore as lc
    from lstmcore.layers import LSTM, Dense, Dropout, Input
    from lstmcore.models import Sequential

    lc.set_random_seed(1997)
    model = Sequential(
        [
            Input((28, 28)),
            LSTM(128, activation=activation, return_sequences=True),
            Dropout(0.2),
            LSTM(128, activation=activation),
            Dropout(0.1),
            Dense(32, "relu"),
            Dropout(0.2),
            Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


# The sides. Each makes a function that runs one block on the rows of its batches.


def ours(engine: str, activation: str, weights: list[Any]) -> Steps:
    """`fit`, as its users call it, and how long the engine's own part of each step is."""
    import numpy as np

    from lstmcore.callbacks import LambdaCallback
    from lstmcore.runtime.training import trainer

    model = our_model(activation)
    model.set_weights(weights)
    x, y = data()
    one = trainer(model, model._compiled(), model._batch(x[:BATCH], y[:BATCH], None), engine)
    compute, spent = one._step, [0.0]

    def watched(*arguments: Any) -> Any:
        start = now()
        result = compute(*arguments)
        spent.append(1000 * (now() - start))
        return result

    one._step = watched
    watch = Watch(LambdaCallback)

    def run(rows: Any) -> Block:
        watch.clear(), spent.clear()
        order = np.concatenate(rows)
        model.fit(
            x[order], y[order], batch_size=BATCH, shuffle=False, verbose=0, callbacks=[watch.callback], backend=engine
        )
        block = watch.block()
        return {**block, "overhead": [whole - own for whole, own in zip(block["ms"], spent, strict=True)]}

    return run


class Watch:
    """When batches end, and their losses, told by a callback that ours and Keras' ``fit`` both call alike."""

    def __init__(self, callback: Any) -> None:
        self.callback = callback(on_train_batch_end=self._end)
        self.callback.reads_weights = False  # ours need not fetch the weights for it
        self._ends: list[float] = []
        self._sums: list[float] = []

    def _end(self, k: int, logs: Any) -> None:
        self._sums.append((k + 1) * float(logs["loss"]))  # what is told is the mean so far
        self._ends.append(now())

    def clear(self) -> None:
        self._ends.clear(), self._sums.clear()

    def block(self) -> Block:
        """A step is from the end of one batch to the end of the next."""
        ms = [1000 * (b - a) for a, b in zip([math.nan, *self._ends], self._ends, strict=False)]
        return {"ms": ms, "losses": [b - a for a, b in zip([0.0, *self._sums], self._sums, strict=False)]}


def keras(engine: str, activation: str, weights: list[Any]) -> Steps:
    """`keras.Model.fit`, as its users call it."""
    import keras
    import numpy as np
    from keras import layers

    keras.utils.set_random_seed(1997)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.LSTM(128, activation=activation, return_sequences=True),
            layers.Dropout(0.2),
            layers.LSTM(128, activation=activation),
            layers.Dropout(0.1),
            layers.Dense(32, "relu"),
            layers.Dropout(0.2),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.set_weights(weights)
    x, y = data()
    watch = Watch(keras.callbacks.LambdaCallback)

    def run(rows: Any) -> Block:
        watch.clear()
        order = np.concatenate(rows)
        model.fit(x[order], y[order], batch_size=BATCH, shuffle=False, verbose=0, callbacks=[watch.callback])
        return watch.block()

    return run


def by_hand(activation: str, weights: list[Any]) -> Steps:
    """The loop that one writes with `nn.LSTM`."""
    import numpy as np
    import torch
    from torch import nn

    if activation != "tanh":
        raise SystemExit(f"nn.LSTM has no activation {activation}")
    torch.manual_seed(1997)
    # Otherwise glibc decides by chance whether a step begins with 2,300 page faults, at 10 or 17 ms (measured).
    np.empty(31 << 20, np.uint8)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.LSTM(28, 128, batch_first=True), nn.LSTM(128, 128, batch_first=True)
            self.dropouts = nn.ModuleList(map(nn.Dropout, (0.2, 0.1, 0.2)))
            self.hidden, self.out = nn.Linear(128, 32), nn.Linear(32, 10)

        def forward(self, x: Any) -> Any:
            y, _ = self.one(x)
            y, _ = self.two(self.dropouts[0](y))
            y = self.dropouts[1](y[:, -1])
            return self.out(self.dropouts[2](torch.relu(self.hidden(y))))

    model = Model()
    own = [torch.from_numpy(w.T if w.ndim == 2 else w) for w in weights]
    places = []
    for lstm in (model.one, model.two):
        nn.init.zeros_(lstm.bias_hh_l0)
        places += [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0]
    with torch.no_grad():
        places += [model.hidden.weight, model.hidden.bias, model.out.weight, model.out.bias]
        for place, w in zip(places, own, strict=True):
            place.copy_(w)
    loss_of, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), eps=1e-7)
    x, y = map(torch.from_numpy, data())

    def run(rows: Any) -> Block:
        ms, losses = [], []
        for own in map(torch.from_numpy, rows):
            start = now()
            optimizer.zero_grad()
            loss = loss_of(model(x[own]), y[own])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            ms.append(1000 * (now() - start))
        return {"ms": ms, "losses": losses}

    return run


SIDES: dict[str, Callable[[str, list[Any]], Steps]] = {
    "numpy": lambda *more: ours("numpy", *more),
    "torch": lambda *more: ours("torch", *more),
    "tensorflow": lambda *more: ours("tensorflow", *more),
    "Keras on torch": lambda *more: keras("torch", *more),
    "Keras on tensorflow": lambda *more: keras("tensorflow", *more),
    "by hand on torch": by_hand,
}


def work(side: str, activation: str, path: str) -> None:
    """A side's process: a number of steps on a line in, a block on a line out."""
    import numpy as np

    answers, sys.stdout = sys.stdout, sys.stderr
    with np.load(path) as kept:
        weights = [kept[f"arr_{k}"] for k in range(len(kept.files))]
    run, rows = SIDES[side](activation, weights), batches(len(data()[0]))
    for line in sys.stdin:
        # The first step warms the caches, and in Keras' fit sets up the loop; it is not counted.
        block = run([next(rows) for _ in range(int(line) + 1)])
        block = {name: values[1:] for name, values in block.items()}
        answers.write(json.dumps(block) + "\n")
        answers.flush()


class Worker:
    """A side's process, seen from outside."""

    def __init__(self, side: str, activation: str, path: Path, threads: int, clock: str) -> None:
        count = str(threads)
        limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", side, activation, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **dict.fromkeys(limits, count),
                "TF_NUM_INTEROP_THREADS": count,
                "TRAINING_STEP_CLOCK": clock,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "-1",
                "KERAS_BACKEND": side.removeprefix("Keras on ") if side.startswith("Keras") else "tensorflow",
            },
        )

    def block(self, steps: int) -> Block:
        time.sleep(0.02)  # the threads of the side before stop spinning
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended early, with status {self.process.wait()}: {self.process.args}")
        return json.loads(line)  # type: ignore[no-any-return]

    def end(self) -> None:
        self.process.communicate()


def measure(
    sides: list[str], activation: str, rounds: int, steps: int, threads: int, clock: str
) -> dict[str, list[Block]]:
    """For each side its blocks, one a round; the sides' order turns from round to round."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        np.savez(path, *our_model(activation).get_weights())
        workers = {side: Worker(side, activation, path, threads, clock) for side in sides}
        try:
            for worker in workers.values():
                worker.block(WARM)
            found: dict[str, list[Block]] = {side: [] for side in sides}
            for turn in range(rounds):
                for k in range(len(sides)):
                    side = sides[(k + turn) % len(sides)]
                    found[side].append(workers[side].block(steps))
        finally:
            for worker in workers.values():
                worker.end()
    check_losses(found)
    return found


def check_losses(found: dict[str, list[Block]]) -> None:
    """The sides do the same work: their losses fall, and are alike in the last third of the rounds."""
    last = {}
    for side, blocks in found.items():
        means = [statistics.fmean(block["losses"]) for block in blocks]
        late = means[-max(1, len(means) // 3) :]
        last[side] = statistics.fmean(late)
        if not (math.isfinite(last[side]) and last[side] < 0.95 * means[0]):
            raise SystemExit(f"the losses of {side} do not fall: {means}")
    low, high = min(last.values()), max(last.values())
    if high - low > LOSS_LIMIT * high:
        raise SystemExit(f"the sides do not learn alike; mean losses at the end: {last}")


def spread(values: list[float]) -> dict[str, float]:
    """The median and the quartiles."""
    ordered = sorted(values)
    low, middle, high = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else ordered * 3
    return {"median": middle, "low": low, "high": high}


def results(activation: str, found: dict[str, list[Block]], engines: list[str]) -> Iterator[dict[str, Any]]:
    medians = {side: [statistics.median(block["ms"]) for block in blocks] for side, blocks in found.items()}
    for engine, rival, activations, limit in TARGETS:
        if engine in engines and activation in activations:
            ratio = spread([a / b for a, b in zip(medians[engine], medians[rival], strict=True)])
            yield {
                "what": f"{engine} / {rival}",
                "activation": activation,
                "limit": limit,
                **ratio,
                "ms": [statistics.median(medians[engine]), statistics.median(medians[rival])],
            }
    for engine in engines:
        overhead = spread([statistics.fmean(block["overhead"]) for block in found[engine]])
        yield {
            "what": f"{engine}, overhead in ms",
            "activation": activation,
            "limit": OVERHEAD_LIMIT,
            **overhead,
        }


def show(row: dict[str, Any]) -> str:
    times = "   {:.1f} / {:.1f} ms".format(*row["ms"]) if "ms" in row else ""
    return (
        f"{row['activation']:5s} {row['what']:34s} {row['median']:5.2f} ({row['low']:.2f} to {row['high']:.2f})"
        f"   <= {row['limit']:4.2f} {'met' if row['median'] <= row['limit'] else 'NOT MET'}{times}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["numpy", "torch", "tensorflow"], choices=list(SIDES)[:3])
    parser.add_argument("--activations", nargs="+", default=["tanh", "relu"], choices=["tanh", "relu"])
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each side (default 15)")
    parser.add_argument("--steps", type=int, default=20, help="in a block (default 20)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side (default: all CPUs)")
    parser.add_argument(
        "--clock",
        choices=list(CLOCKS),
        default="wall",
        help="cpu: CPU time, for a busy machine; with --threads 1",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--work", nargs=3, metavar=("SIDE", "ACTIVATION", "WEIGHTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    rows = []
    for activation in options.activations:
        rivals = {rival: None for engine, rival, own, _ in TARGETS if engine in options.engines and activation in own}
        sides = [*options.engines, *rivals]
        found = measure(sides, activation, options.rounds, options.steps, options.threads, options.clock)
        for row in results(activation, found, options.engines):
            rows.append(row)
            if not options.json:
                print(show(row), flush=True)
    if options.json:
        given = {name: getattr(options, name) for name in ("threads", "clock", "rounds", "steps")}
        print(json.dumps({**given, "rows": rows}))


if __name__ == "__main__":
    main()
