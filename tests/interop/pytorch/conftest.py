"""Fixtures of the tests of PyTorch's files."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `written`, next to the tests
