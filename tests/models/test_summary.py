"""``summary()`` prints, line by line, what Keras 3.15 prints."""

from __future__ import annotations

import io
import json
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


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{c['model']}-{c['columns']}-{c['encoding']}-{''.join(c['options'])}" for c in CASES]
)
def test_every_line_is_that_of_keras(
    make: Callable[..., Sequential], monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]
) -> None:
    model = make(RECIPES[case["model"]]["recipe"])
    raw = io.BytesIO()
    text = io.TextIOWrapper(raw, encoding=case["encoding"], write_through=True)
    monkeypatch.setenv("COLUMNS", str(case["columns"]))
    monkeypatch.setattr(sys, "stdout", text)
    assert model.summary(**case["options"]) is None
    monkeypatch.undo()
    printed = [line.rstrip() for line in raw.getvalue().decode(case["encoding"]).splitlines()]
    assert printed == [line.rstrip() for line in case["lines"]]
