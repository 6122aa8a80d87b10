"""Models from recipes: lists of ``[class, arguments]``, as ``tests/goldens/generate.py`` records them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore.models import Sequential

Recipe = Sequence[tuple[str, dict[str, Any]]]


@pytest.fixture
def make() -> Callable[..., Sequential]:
    def made(recipe: Recipe, dtype: str | None = None) -> Sequential:
        extra = {} if dtype is None else {"dtype": dtype}
        given = [(kind, options if kind == "Input" else {**options, **extra}) for kind, options in recipe]
        return Sequential([getattr(layers, kind)(**options) for kind, options in given])

    return made


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    """Some draws are worse conditioned than others."""
    lc.set_random_seed(1997)
