"""Makes the modules beside the tests importable, and those that make files of other programs by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop"), str(HERE.parent / "interop" / "pytorch")]


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One reader for all tests of all formats."""
    from reader import reading

    with reading(tmp_path_factory.mktemp("reader")) as made:
        yield made
