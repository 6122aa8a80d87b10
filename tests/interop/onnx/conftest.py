"""Fixtures of the tests of ONNX files."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `ort`, next to the tests
