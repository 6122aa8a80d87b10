"""The suite as tests: ``pytest --pyargs lstmcore_conformance --backend NAME``."""

from __future__ import annotations

from typing import Any

import pytest

from lstmcore_conformance.cases import Case
from lstmcore_conformance.subjects import Sessions
from lstmcore_conformance.suite import examine

SESSIONS = Sessions()


def test_case(case: Case, conformance_engine: Any) -> None:
    result = examine(case, conformance_engine, SESSIONS)
    if result.status == "unsupported":
        pytest.skip(f"unsupported: {result.message}")
    assert result.status == "passed", result.message
