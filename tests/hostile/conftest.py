"""Makes the modules beside the tests importable, and those that make files of other programs by hand."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop"), str(HERE.parent / "interop" / "pytorch")]

from collections.abc import Iterator

import pytest
from reader import Reader, reading


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One reader for all tests of all formats."""
    with reading(tmp_path_factory.mktemp("reader")) as made:
        yield made
