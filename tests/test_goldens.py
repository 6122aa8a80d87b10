"""Keras' numbers judge the reference: float64 from the same weights, the limit 16."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from lstmcore_conformance import goldens, suite
from lstmcore_conformance.subjects import subject

from lstmcore import plugins

CASES = [case for case in suite.cases("standard") if case.oracle == "keras"]
FAMILIES = sorted({case.family for case in CASES})
KEYS = {case.key: case for case in CASES}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_computes_what_keras_computed(family: str) -> None:
    results = list(suite.run(plugins.reference(), [case for case in CASES if case.family == family]))
    assert results
    assert {r.id: r.message for r in results if r.status != "passed"} == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_goldens_name_the_versions_that_made_them(family: str) -> None:
    versions = goldens.versions(family)
    assert versions["keras"].startswith("3.")
    assert len(versions) == 3


def test_every_golden_belongs_to_a_case() -> None:
    for family in FAMILIES:
        arrays, about = goldens._file(family)
        assert {key.partition("#")[0] for key in arrays} == {key for key in KEYS if KEYS[key].family == family}
        assert all(np.isfinite(array).all() or "huge" in key for key, array in arrays.items())
        assert about


def test_a_golden_of_other_data_judges_nothing() -> None:
    case = next(case for case in CASES if case.family == "keras")
    it = subject(case)
    goldens.read(case, it)
    moved = dataclasses.replace(it, inputs={name: array * 2 for name, array in it.inputs.items()})
    with pytest.raises(goldens.StaleGoldenError, match="other weights or inputs"):
        goldens.read(case, moved)
