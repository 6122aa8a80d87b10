"""The examples: each runs as a user would run it, and what it prints is so."""

from __future__ import annotations

import ast
import datetime
import hashlib
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.layers import RNN, Input
from lstmcore.models import Sequential

FOLDER = Path(__file__).resolve().parents[1] / "examples"
WEIGHTS = FOLDER / "weights"
SHOWN = ("custom_cell", "forecast", "resume_elsewhere", "sentiment", "translate")
TUTORIALS = ("tutorial_simple_rnn", "tutorial_lstm")
TRAINED = ("forecast", "sentiment", "translate")
PUBLIC = {
    "lstmcore",
    "lstmcore.callbacks",
    "lstmcore.datasets",
    "lstmcore.layers",
    "lstmcore.models",
    "lstmcore.optimizers",
    "lstmcore.text",
}
ENGINES = [info.name for info in lc.backends() if info.status == "available"]

Array = np.ndarray[Any, Any]

ALONE = """
import runpy, sys
for name in ("torch", "tensorflow", "keras"):
    sys.modules[name] = None
sys.path[0], name = sys.argv[1:]
del sys.argv[1:]
runpy.run_path(f"{sys.path[0]}/{name}.py", run_name="__main__")
"""


def run(folder: Path, *arguments: str) -> str:
    """What a script prints, run in an empty folder, which it leaves empty."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(folder.iterdir()) == []
    return done.stdout


def shown(folder: Path, name: str) -> str:
    return run(folder, str(FOLDER / f"{name}.py"))


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a file of the examples, as a script beside it would."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def table(text: str, *columns: str) -> list[list[str]]:
    """The rows under the line that begins with these columns."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.split()[: len(columns)] == list(columns))
    rows = []
    for line in lines:
        if not line.strip():
            break
        rows.append(line.split())
    return rows


def number(text: str, before: str) -> float:
    """The number that follows these words on their line."""
    found = re.search(rf"{re.escape(before)}:? +(\S+)", text)
    assert found is not None, f"{before!r} is not in\n{text}"
    return float(found[1])


# What each shows.


def test_sentiment(tmp_path: Path) -> None:
    text = shown(tmp_path, "sentiment")
    verdicts = {line[7:]: float(line[:5]) > 0.5 for line in text.splitlines() if re.match(r"[01]\.\d{3}  ", line)}
    assert verdicts == {
        "Great!": True,
        "The soup was cold.": False,
        "Our guide was not rude.": True,
        "I did not like the hotel, to be honest.": False,
        "The room was dirty, but the breakfast was superb!": True,
        "The band was clever and funny, but in the end I hated the music, and nobody would call the hall clean.": False,
    }
    rows = table(text, "engine", "with")
    assert [engine for engine, _, _ in rows] == ENGINES
    for engine, masked, unmasked in rows:
        assert float(masked) < 1e-6, engine
        assert float(unmasked) > 0.1, engine


MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"


def read(text: str) -> str:
    """An English date as ISO 8601."""
    words = re.findall(r"[a-z]+|\d+", text)
    numbers = [int(word) for word in words if word.isdigit()]
    spelled = [
        k + 1 for k in range(12) for word in words if word[:3] == datetime.date(2000, k + 1, 1).strftime("%b").lower()
    ]
    day, month, year = numbers if len(numbers) == 3 else (numbers[0], *spelled, numbers[1])
    century = 0 if year > 99 else 1900 if year > 69 else 2000
    return datetime.date(century + year, month, day).isoformat()


def test_translate(tmp_path: Path) -> None:
    text = shown(tmp_path, "translate")
    pairs = [re.split(r"  +", line) for line in text.split("\n\n")[0].splitlines()]
    assert len(pairs) == 8
    assert [answer for _, answer in pairs] == [read(spelled) for spelled, _ in pairs]
    found = re.search(r"(\d+) of (\d+) dates right", text)
    assert found is not None
    assert int(found[1]) >= 0.97 * int(found[2]) >= 400


def test_what_translate_holds_out_is_not_in_its_training_data(example: Any) -> None:
    training, held_out = example("translate").split()
    assert not {date for _, date in training} & {date for _, date in held_out}
    assert all(read(text) == date for text, date in held_out)


def test_translate_counts_wrong_answers(example: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    translate = example("translate")
    untrained = translate.build()
    monkeypatch.setattr(translate.lc, "load_model", lambda path: untrained)
    translate.main()
    assert "\n0 of 500 dates right" in capsys.readouterr().out


def test_the_parts_that_translate_cuts_out_compute_what_the_whole_does(example: Any) -> None:
    translate = example("translate")
    model = lc.load_model(translate.WEIGHTS)
    _, pairs = translate.split()
    x, dates = translate.letters([text for text, _ in pairs[:20]]), translate.signs([date for _, date in pairs[:20]])
    so_far = np.concatenate([np.full((20, 1), translate.START), dates[:, :-1]], axis=1)
    reader, writer = translate.cut(model)
    read_, h, c = reader.predict(x)
    steps = []
    for k in range(translate.LENGTH):
        y, h, c = writer.predict([so_far[:, k : k + 1], read_, x != 0, h, c])
        steps.append(y)
    assert np.abs(np.concatenate(steps, axis=1) - model.predict([x, so_far])).max() < 1e-6


def test_forecast(tmp_path: Path, example: Any) -> None:
    text = shown(tmp_path, "forecast")
    forecast = example("forecast")
    values = forecast.series(1, forecast.STEPS, seed=99)
    whole = lc.load_model(forecast.WEIGHTS).predict(values)
    rows = table(text, "step", "engine")
    second = "torch" if "torch" in ENGINES else "numpy"
    half = forecast.STEPS // 2
    assert [int(row[0]) for row in rows] == list(range(half - 4, half + 4))
    assert [row[1] for row in rows] == ["numpy"] * 4 + [second] * 4
    for step, _, value, predicted in rows:
        assert float(value) == pytest.approx(float(values[0, int(step), 0]), abs=1e-3)
        assert float(predicted) == pytest.approx(float(whole[0, int(step), 0]), abs=1e-3)
    assert f"state moved at step {half}: numpy to {second}" in text
    assert number(text, "at once") < 1e-5
    assert number(text, "error of the forecasts") < 0.4 * number(text, 'as this one"')


def test_forecast_would_show_a_state_that_is_lost(example: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    forecast = example("forecast")
    stream = type(lc.load_model(forecast.WEIGHTS).stream())
    monkeypatch.setattr(stream, "load_state", lambda self, path: None)
    forecast.main()
    assert number(capsys.readouterr().out, "at once") > 1e-2


def test_custom_cell(tmp_path: Path) -> None:
    text = shown(tmp_path, "custom_cell")
    assert "PeepholeLSTMCell: 804 weights" in text  # 4 x 12 x (3 + 12 + 1) + 3 x 12
    assert "MinimalGatedCell: 384 weights" in text  # 2 x 12 x (3 + 12 + 1)
    for engine in ENGINES:
        rows = [line for line in text.splitlines() if line.split()[:1] == [engine]]
        assert len(rows) == 2
        assert all(line.endswith("agrees") and "Scan" in line for line in rows)
    assert text.count("every engine agrees: yes") == text.count("the same numbers: yes") == 2
    differences = [float(found) for found in re.findall(r"largest difference: (\S+)", text)]
    assert len(differences) == 2
    assert max(differences) < 1e-6


@pytest.mark.parametrize("name", SHOWN)
def test_numpy_alone_is_enough(tmp_path: Path, name: str) -> None:
    text = run(tmp_path, "-W", "error", "-c", ALONE, str(FOLDER), name)
    assert "NO" not in text
    assert "torch" not in [line.split()[0] for line in text.splitlines() if "agrees" in line]
    if name == "resume_elsewhere":
        assert number(text, "at the end") == 0
    if name == "forecast":
        assert "numpy to numpy" in text
        assert number(text, "at once") < 1e-5


def test_resume_elsewhere(tmp_path: Path) -> None:
    text = shown(tmp_path, "resume_elsewhere")
    assert "killed in its first epoch" in text
    rows = table(text, "epoch", "engine")
    assert [row[1] for row in rows] == [
        name if name in ENGINES else "numpy" for name in ("numpy", "torch", "tensorflow")
    ]
    for _, _, loss, stayed, _ in rows:
        assert float(loss) == pytest.approx(float(stayed), rel=1e-5)
    assert float(rows[-1][2]) < 0.7 * float(rows[0][2])
    assert 0 < number(text, "at the end") < 1e-4


# The tutorials, on the digits that are shipped.

IN_KERAS = """
import re, sys
import keras
from lstmcore.datasets import mnist
keras.datasets.mnist.load_data = mnist.load_sample
source = re.sub("^from lstmcore[.]", "from keras.", open(sys.argv[1]).read(), flags=re.M)
exec(compile(source, sys.argv[1], "exec"), {"__name__": "__main__"})
"""


@pytest.mark.parametrize(("name", "params"), [("tutorial_simple_rnn", "2,282"), ("tutorial_lstm", "216,426")])
def test_a_tutorial_runs_here_and_in_keras(
    tmp_path: Path, example: Any, name: str, params: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(lc.datasets.mnist, "load_data", lc.datasets.mnist.load_sample)
    lc.set_random_seed(3)
    module = example(name)
    sys.modules.pop(name)
    assert f"Total params: {params} " in capsys.readouterr().out
    assert len(module.history.history["val_accuracy"]) == 3
    assert module.history.history["loss"][-1] < module.history.history["loss"][0]
    text = run(tmp_path, "-c", IN_KERAS, str(FOLDER / f"{name}.py"))
    assert re.search(rf"Total params: {params} ", text) and re.search(r"[\d.]+% of 1000 test digits read", text)


# The two cells, against their formulas written out.


def logistic(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def peephole(x: Array, states: list[Array], kernel: Array, recurrent: Array, bias: Array, peep: Array) -> list[Array]:
    h, c = states
    W, U, b = (np.split(array, 4, axis=-1) for array in (kernel, recurrent, bias))
    i = logistic(x @ W[0] + h @ U[0] + peep[0] * c + b[0])
    f = logistic(x @ W[1] + h @ U[1] + peep[1] * c + b[1])
    c = f * c + i * np.tanh(x @ W[2] + h @ U[2] + b[2])
    o = logistic(x @ W[3] + h @ U[3] + peep[2] * c + b[3])
    return [o * np.tanh(c), c]


def minimal(x: Array, states: list[Array], kernel: Array, recurrent: Array, bias: Array) -> list[Array]:
    (h,) = states
    W, U, b = (np.split(array, 2, axis=-1) for array in (kernel, recurrent, bias))
    f = logistic(x @ W[0] + h @ U[0] + b[0])
    return [(1 - f) * h + f * np.tanh(x @ W[1] + (f * h) @ U[1] + b[1])]


@pytest.mark.parametrize(("cell", "formula"), [("PeepholeLSTMCell", peephole), ("MinimalGatedCell", minimal)])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_cell_computes_its_formula(example: Any, cell: str, formula: Any, engine: str) -> None:
    made = getattr(example("cells"), cell)(4)
    model = Sequential([Input((None, 3)), RNN(made, return_sequences=True, dtype="float64")])
    draw = np.random.default_rng(1)
    weights = [draw.normal(size=array.shape) for array in model.get_weights()]
    model.set_weights(weights)
    x = draw.normal(size=(2, 6, 3))
    states, expected = [np.zeros((2, 4))] * len(made.state_sizes), []
    for t in range(6):
        states = formula(x[:, t], states, *weights)
        expected.append(states[0])
    assert np.abs(model.predict(x, backend=engine) - np.stack(expected, axis=1)).max() < 1e-12


# The files.


@pytest.mark.parametrize("name", TRAINED)
def test_the_weight_file_fits_the_model_of_its_example(example: Any, name: str) -> None:
    module = example(name)
    assert module.WEIGHTS.stat().st_size < 100_000
    loaded = lc.load_model(module.WEIGHTS)
    described = module.build(80) if name == "sentiment" else module.build()
    assert described.to_json() == loaded.to_json()
    described.load_weights(module.WEIGHTS)
    for path, array in described.weights.items():
        assert np.array_equal(array, loaded.weights[path]), path


def test_every_trained_file_is_listed_with_its_digest() -> None:
    told = dict(
        reversed(line.split()) for line in re.findall(r"[0-9a-f]{64}  \S+", (WEIGHTS / "README.md").read_text())
    )
    files = {path.name: path for path in WEIGHTS.iterdir() if path.name != "README.md"}
    assert told == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


@pytest.mark.parametrize("name", [*SHOWN, *TUTORIALS, "cells"])
def test_an_example_uses_public_names_only(name: str) -> None:
    beside = {path.stem for path in FOLDER.glob("*.py")}
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in names:
            allowed = PUBLIC | beside | {"__future__", "numpy"} | sys.stdlib_module_names
            assert module in allowed or module.split(".")[0] in sys.stdlib_module_names, f"{name} imports {module}"
        if isinstance(node, ast.ImportFrom) and node.module in PUBLIC:
            public = importlib.import_module(node.module).__all__ if node.module != "lstmcore.text" else None
            assert public is None or {alias.name for alias in node.names} <= set(public)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr.startswith("__"), f"{name} uses {node.attr}"


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained_has_a_script_that_trains_it(name: str) -> None:
    text = (FOLDER / f"train_{name}.py").read_text()
    assert f"from {name} import " in text
    assert "WEIGHTS" in text
    compile(text, name, "exec")


def test_every_example_is_in_the_readme() -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for name in (*SHOWN, *TUTORIALS):
        assert f"(examples/{name}.py)" in readme
