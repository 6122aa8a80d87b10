"""Models that are a program: whose arrays their weights are."""

from __future__ import annotations

import numpy as np

from lstmcore import ops
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Builder


def test_the_arrays_that_it_is_made_with_stay_the_callers() -> None:
    build = Builder()
    (y,) = build.op(ops.Affine(4, use_bias=False), build.input("x", (None, 5, 3)), weights={"kernel": "w"})
    given = np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    model = ProgramModel(build.finish([y.name]), {"w": given})
    kept = given.copy()
    given += 1
    np.testing.assert_array_equal(model.get_weights()[0], kept)
