"""What the trainings that Keras judges share; `keras_judge` is a module beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def keras(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What real Keras makes of the ``CASES`` of a test file, by name."""
    from keras_judge import judge

    return judge(request.module.CASES, tmp_path_factory.mktemp("keras"))
