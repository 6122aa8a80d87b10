"""``summary()`` prints, line by line, what Keras 3.15 prints."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lstmcore.layers import LSTM, Dense, Dropout, Input
from lstmcore.models import Sequential

GOLDENS = Path(__file__).parents[1] / "goldens"
RECIPES = json.loads((GOLDENS / "models.json").read_text(encoding="utf-8"))["cases"]
CASES = json.loads((GOLDENS / "summaries.json").read_text(encoding="utf-8"))["cases"]


MADE: dict[str, Sequential] = {}


def built(make: Callable[..., Sequential], name: str) -> Sequential:
    """Each model once: some are large."""
    if name not in MADE:
        MADE[name] = make(RECIPES[name]["recipe"])
    return MADE[name]


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{c['model']}-{c['columns']}-{c['encoding']}-{''.join(c['options'])}" for c in CASES]
)
def test_every_line_is_that_of_keras(
    make: Callable[..., Sequential], monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]
) -> None:
    model = built(make, case["model"])
    raw = io.BytesIO()
    text = io.TextIOWrapper(raw, encoding=case["encoding"], write_through=True)
    monkeypatch.setenv("COLUMNS", str(case["columns"]))
    monkeypatch.setattr(sys, "stdout", text)
    assert model.summary(**case["options"]) is None
    monkeypatch.undo()
    printed = [line.rstrip() for line in raw.getvalue().decode(case["encoding"]).splitlines()]
    assert printed == [line.rstrip() for line in case["lines"]]


def small() -> Sequential:
    return Sequential([Input((13, 5)), LSTM(10, trainable=False), Dropout(0.5), Dense(1)], name="small")


NARROW = """
import os, resource
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
from lstmcore.errors import SpecError
from lstmcore.layers import LSTM
from lstmcore.models import Sequential
model = Sequential([LSTM(3)])
for columns in range(6, 34):
    os.environ["COLUMNS"] = str(columns)
    lines = []
    try:
        model.summary(print_fn=lines.append)
    except SpecError as error:
        assert "columns" in str(error), error
    else:
        assert lines
for length in (-5, 0.5, 3, "80"):
    try:
        model.summary(line_length=length)
    except SpecError as error:
        assert "line_length" in str(error) or "columns" in str(error), error
    else:
        raise AssertionError(f"line_length {length!r} was taken")
"""


def test_too_narrow_for_a_table() -> None:
    """Keras raises ValueError where a column is narrower than 4. In a process of its own, for it used not to end."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr[-500:]


def test_print_fn_is_given_the_lines() -> None:
    lines: list[str] = []
    assert small().summary(print_fn=lines.append) is None
    text = "\n".join(lines)
    assert text.startswith('Model: "small"\n')
    assert " Total params: 651 (2.54 KB)\n Trainable params: 11 (44.00 B)\n Non-trainable params: 640 (2.50 KB)" in text


def test_keras_arguments_are_taken() -> None:
    lines: list[str] = []
    small().summary(line_length=60, positions=None, print_fn=lines.append, expand_nested=False, layer_range=None)
    assert lines


def test_a_model_without_layers_has_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    Sequential().summary()
    assert "Total params: 0" in capsys.readouterr().out
