"""What the demo does, step by step: each step tells it and returns it as data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.cli import agreement, output
from lstmcore.cli.digits import BLOCKS, draw
from lstmcore.cli.quiet import quiet_engines
from lstmcore.cli.summary import facts as summary_facts
from lstmcore.cli.tutorials import SEED, TUTORIALS
from lstmcore.datasets import mnist
from lstmcore.models import load_model
from lstmcore.models.base import BaseModel
from lstmcore.random import Stream, set_random_seed
from lstmcore.runtime.compare import HEADER, NUMBERS, Comparison, Row, compare

Array = NDArray[Any]

TRAINED = "digits_rnn.safetensors"
LEAST = 0.95
"""The share of the sample's test digits that the trained model must read; it reads 0.955."""

_SHOWN = 4


@dataclass
class Story:
    """Prints, or with ``told=False`` does not."""

    told: bool

    def say(self, text: str = "") -> None:
        """A line."""
        if self.told:
            output.say(text)

    def chapter(self, text: str) -> None:
        """A heading."""
        if self.told:
            output.heading(text)

    def end(self, facts: dict[str, Any], keep: Path | None) -> None:
        """The last words; the data instead where nothing was told."""
        if not self.told:
            output.show_json(facts)
            return
        engines = {row["backend"] for run in facts["engines"] for row in run["rows"] if row["error"] is not None}
        output.heading("Done" if facts["ok"] else "Failed")
        self.say(f"{facts['seconds']:.1f} s; {len(engines)} engine{'s' * (len(engines) != 1)} ran.")
        self.say()
        self.say("Next:")
        kept = str(keep or "digits.safetensors")
        steps = [] if keep else [(f"lstmcore demo --keep {kept}", "keep the weight file")]
        steps += [
            (f"lstmcore inspect {kept}", "look into it, weight by weight"),
            ("lstmcore backends", "the engines, and how to add one"),
            ("lstmcore --help", "everything else"),
        ]
        width = max(len(command) for command, _ in steps)
        for command, why in steps:
            self.say(f"  {command.ljust(width)}  {why}")


@dataclass
class Checks:
    """What the demo asserts; ``failed`` in words."""

    failed: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> bool:
        """Notes ``otherwise`` unless it holds."""
        if not holds:
            self.failed.append(otherwise)
        return holds


@dataclass(frozen=True)
class Digits:
    """The trained model, the images as sequences (n, 28, 28), their labels, and what was found."""

    model: BaseModel
    x: Array
    labels: Array
    probabilities: Array
    facts: dict[str, Any]


def describe_models(story: Story, checks: Checks) -> list[dict[str, Any]]:
    """Builds the tutorials' models and counts their weights."""
    story.chapter("1. The models of the tutorials")
    found = []
    for tutorial in TUTORIALS:
        model = tutorial.build()
        params = model.count_params()
        right = checks.check(
            params == tutorial.params, f"{tutorial.title}: {params} weights; expected {tutorial.params}"
        )
        if story.told:
            story.say()
            story.say(tutorial.title)
            model.summary(print_fn=output.say)
            story.say(f" On paper: {tutorial.sum} = {tutorial.params:,}{'' if right else ', WRONG'}")
        found.append({**summary_facts(model), "expected_params": tutorial.params})
    return found


def read_digits(story: Story, checks: Checks) -> Digits:
    """Reads the sample's test digits with the trained model that is shipped."""
    story.chapter("2. Reading handwritten digits")
    _, (images, labels) = mnist.load_sample()
    with resources.as_file(resources.files("lstmcore.datasets") / TRAINED) as path:
        model = load_model(path)
    x = images.astype(np.float32) / 255
    start = time.perf_counter()
    with quiet_engines():
        probabilities = model.predict(x)
    seconds = time.perf_counter() - start
    read = probabilities.argmax(axis=1)
    accuracy = float(np.mean(read == labels))
    checks.check(accuracy >= LEAST, f"only {accuracy:.1%} of the digits were read; expected {LEAST:.0%}")
    story.say(f"{len(x):,} images of MNIST's test part, shipped with lstmcore; none was seen in training.")
    story.say("The SimpleRNN above, with weights trained in Keras on the 60,000 training images,")
    story.say(f"reads {accuracy:.1%} of them, in {seconds:.2f} s:")
    story.say()
    shown = _telling(read, labels)
    captions = [f"read {read[k]}" + (f", is {labels[k]}" if read[k] != labels[k] else "") for k in shown]
    for line in draw([images[k] for k in shown], captions, output.can_show(BLOCKS)):
        story.say(f"  {line}")
    facts = {
        "samples": len(x),
        "accuracy": accuracy,
        "seconds": seconds,
        "shown": [{"index": int(k), "read": int(read[k]), "label": int(labels[k])} for k in shown],
    }
    return Digits(model, x, labels, probabilities, facts)


def _telling(read: Array, labels: Array) -> list[int]:
    """Some that were read rightly, and the first that was not."""
    right, wrong = np.flatnonzero(read == labels), np.flatnonzero(read != labels)
    shown = [int(k) for k in (*right[: _SHOWN - 1], *wrong[:1])]
    return [*shown, *(int(k) for k in right[_SHOWN - 1 :])][:_SHOWN]


def save_and_load(story: Story, checks: Checks, digits: Digits, path: Path) -> tuple[BaseModel, dict[str, Any]]:
    """Saves the trained model, loads it back, and sees that not a bit has changed."""
    story.chapter("3. The weight file")
    digits.model.save(path)
    written = path.read_bytes()
    loaded = load_model(path)
    again = path.with_name(f".{path.stem}.again.safetensors")
    try:
        loaded.save(again)
        same_file = again.read_bytes() == written
    finally:
        again.unlink(missing_ok=True)
    before = digits.model.weights
    same = list(before) == list(loaded.weights) and all(
        before[name].tobytes() == array.tobytes() for name, array in loaded.weights.items()
    )
    with quiet_engines():
        predicts = bool(np.array_equal(loaded.predict(digits.x), digits.probabilities))
    checks.check(same, "the weights that were loaded are not those that were saved")
    checks.check(same_file, "saving what was loaded gives other bytes")
    checks.check(predicts, "the model that was loaded predicts other numbers")
    story.say(
        f"Saved {path.name}: {len(written):,} bytes, {len(before)} tensors by name; any safetensors reader reads it."
    )
    story.say(f"Loaded: {'the same bits' if same else 'OTHER BITS'}. Saved again: {_same(same_file)} file.")
    story.say(f"Predicted again: {_same(predicts)} numbers.")
    facts = {"bytes": len(written), "tensors": len(before), "weights_equal": same}
    return loaded, {**facts, "file_equal": same_file, "predictions_equal": predicts}


def _same(equal: bool) -> str:
    return "the same" if equal else "ANOTHER"


def compare_engines(story: Story, checks: Checks, loaded: BaseModel, digits: Digits) -> list[dict[str, Any]]:
    """Runs the loaded model, and the others from seeded weights, on every engine installed."""
    story.chapter("4. The same model on every engine")
    set_random_seed(SEED)
    first, stack = TUTORIALS[0].build(), TUTORIALS[3].build()
    series = Stream(SEED).normal((1000, 13, 5)).astype(np.float32)
    plan = (
        (loaded, digits.x, "the weights just loaded"),
        (stack, digits.x, "seeded weights"),
        (first, series, "seeded weights"),
    )
    runs = []
    for model, x, weights in plan:
        with quiet_engines(f"running {model.name} on every engine"):
            runs.append((model, weights, compare(model, x)))
    _tell_engines(story, runs)
    for model, _, comparison in runs:
        bad = [f"{row.backend} ({row.status})" for row in comparison.rows if not row.ok and row.status != "broken"]
        checks.check(not bad, f"{model.name}: not in agreement on {', '.join(bad)}")
    return [{"model": model.name, "weights": weights, **run.to_dict()} for model, weights, run in runs]


def _tell_engines(story: Story, runs: Sequence[tuple[BaseModel, str, Comparison]]) -> None:
    if not story.told:
        return
    first = runs[0][2]
    story.say(f"E = max|y - ref| / (eps max|ref|): how far an engine in {first.dtype} is from {first.reference} in")
    story.say("float64, in units of rounding. Time: one run of all samples, after a first one that compiles.")
    for model, weights, comparison in runs:
        story.say()
        story.say(f"{model.name}, {weights}, {comparison.samples:,} samples; E up to {comparison.limit:.3g} agrees")
        story.say()
        ran: list[Row] = [row for row in comparison.rows if row.status != "missing"]
        output.show_table(HEADER, [row.cells() for row in ran], NUMBERS)
    agreement.show_missing(first.rows)
