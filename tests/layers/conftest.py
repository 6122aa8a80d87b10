"""Weights that are drawn are the same at every run: some draws are worse conditioned than others."""

from __future__ import annotations

import pytest

import lstmcore as lc


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    lc.set_random_seed(1997)
