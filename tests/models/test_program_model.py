"""Models that are a program: whose arrays their weights are."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcore import ops
from lstmcore.errors import SpecError
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


@pytest.mark.parametrize(("op", "rows"), [(ops.Fold(), 10), (ops.Constant((1.0, 2.0, 3.0), (3,)), 3)], ids=repr)
@pytest.mark.parametrize("samples", [2, 3, 5])
def test_an_output_without_an_entry_for_each_sample_is_refused(op: ops.Op, rows: int, samples: int) -> None:
    """Such as the steps of all samples in a row, or a constant: no batches of them can be joined."""
    build = Builder()
    (y,) = build.op(op, build.input("x", (None, 5, 3)))
    model = ProgramModel(build.finish([y.name]))
    x = np.ones((samples, 5, 3), "float32")
    if rows == samples:
        assert model.predict(x).shape == (3,)  # which may be what is wanted
        return
    with pytest.raises(SpecError, match="expected an entry for each"):
        model.predict(x)
