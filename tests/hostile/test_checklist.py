"""Each number of the checklist has a test, and that test exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checklist import CHECKLIST

TESTS = Path(__file__).parents[1]


def test_every_number_is_there() -> None:
    assert list(CHECKLIST) == list(range(1, 85))


@pytest.mark.parametrize("number", CHECKLIST)
def test_its_tests_exist(number: int) -> None:
    what, tests = CHECKLIST[number]
    assert what and tests
    for test in tests:
        place, _, case = test.partition("#")
        file, _, function = place.partition("::")
        text = (TESTS / file).read_text()
        assert re.search(rf"^def {function}", text, re.MULTILINE), test
        assert not case or re.search(rf'["\']{re.escape(case)}', text), test
