"""Told of the same trainings, each callback does what Keras 3.15's does; its doings are in goldens/callbacks.json."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Model, drive
from safetensors.numpy import load_file

from lstmcore import callbacks, metrics
from lstmcore.callbacks.monitor import direction

GOLDENS = Path(__file__).parents[1] / "goldens"
MADE = json.loads((GOLDENS / "callbacks.json").read_text("utf-8"))["cases"]
WEIGHTS = load_file(GOLDENS / "callbacks.safetensors")
SCHEDULES = {"half": lambda epoch, rate: rate * 0.5, "third": lambda epoch: 0.25 if epoch < 3 else 0.0625}


def made_from(case: dict[str, Any]) -> Any:
    arguments = dict(case["arguments"])
    if "filepath" in arguments:
        arguments["filepath"] += ".safetensors"
    if "schedule" in arguments:
        arguments["schedule"] = SCHEDULES[arguments["schedule"]]
    return getattr(callbacks, case["class"])(**arguments)


def test_there_are_cases_of_every_outcome() -> None:
    """The trainings are such that callbacks act in some and not in others, and early as well as late."""
    of = {kind: [case for case in MADE["cases"] if case["class"] == kind] for kind in ("EarlyStopping",)}
    lengths = {len(case["epochs"]) for case in of["EarlyStopping"]}
    assert len(lengths) >= 6 and max(lengths) == 9
    rates = [len({epoch["rate"] for epoch in case["epochs"]}) for case in MADE["cases"]]
    assert {1, 2, 3} <= set(rates)


@pytest.mark.parametrize("kind", sorted({case["class"] for case in MADE["cases"]}))
def test_it_does_what_keras_does(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = []
    for number, case in enumerate(MADE["cases"]):
        if case["class"] != kind:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        model = Model()
        seen = drive(made_from(case), model, MADE["trainings"][case["training"]])
        files = [path for path in folder.rglob("*") if path.is_file()]
        same = [alike(own, theirs) for own, theirs in zip(seen, case["epochs"], strict=False)]
        ended = len(seen) == len(case["epochs"]) and model.saved == case["saved"] and len(files) == case["files"]
        if not all(same) or not ended or not same_weights(model, WEIGHTS.get(str(number))):
            wrong.append((case["arguments"], seen, case["epochs"], model.saved, case["saved"]))
    assert not wrong, wrong[0]


def alike(own: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Equal, but for learning rates, which Keras keeps in float32."""
    exact = [name for name in theirs if "rate" not in name]
    assert set(own) == set(theirs)
    rates = [(own[name], theirs[name]) for name in theirs if "rate" in name and theirs[name] is not None]
    return all(own[n] == theirs[n] for n in exact) and all(a == pytest.approx(b, rel=2e-7) for a, b in rates)


def same_weights(model: Model, expected: np.ndarray | None) -> bool:
    own = np.concatenate([array.ravel() for array in model.get_weights()])
    return expected is None or np.array_equal(own, expected)


@pytest.mark.parametrize("case", MADE["tables"], ids=lambda case: json.dumps(case["arguments"]))
def test_csv_files_are_those_of_keras_byte_by_byte(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    if case["before"] is not None:
        path.write_bytes(case["before"].encode())
    drive(callbacks.CSVLogger(path, **case["arguments"]), Model(), case["training"])
    assert path.read_bytes().decode() == case["text"]


@pytest.mark.parametrize("name", MADE["directions"])
def test_auto_knows_which_way_a_metric_is_better_as_keras(name: str) -> None:
    metric = getattr(metrics, name)()
    expected = {"up": "max", "down": "min", None: None}[MADE["directions"][name]]
    assert direction(f"val_{metric.name}", Model()) == expected
    assert metric.direction == MADE["directions"][name]


@pytest.mark.parametrize(
    "kind",
    [
        *("EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "LearningRateScheduler", "CSVLogger"),
        *("TensorBoard", "TerminateOnNaN", "LambdaCallback", "History", "ProgbarLogger"),
    ],
)
def test_arguments_and_defaults_are_those_of_keras(kind: str) -> None:
    more = {"LambdaCallback": {"reads_weights": "True"}}
    parameters = inspect.signature(getattr(callbacks, kind)).parameters.values()
    own = {p.name: repr(p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    theirs = MADE["signatures"][kind]
    assert {n: d for n, d in own.items() if n not in more.get(kind, {})} == theirs
    assert [n for n in own if n in theirs] == list(theirs)
