"""Every op, option and layer of the conformance suite, written as ONNX and run on ONNX Runtime against float64."""

from __future__ import annotations

from itertools import groupby, islice
from typing import Any

import numpy as np
import ort
import pytest
from lstmcore_conformance import subjects
from lstmcore_conformance.cases import Case, load

from lstmcore import ops, plugins
from lstmcore.interop.onnx.program import write_program
from lstmcore.interop.onnx.writers import WRITERS
from lstmcore.ops import Op
from lstmcore.program import Builder
from lstmcore.runtime.compare import limit, scale_error

DTYPES = {"float": "float32", "int": "int32", "bool": "bool"}
FORWARD = [case for case in load("standard") if case.dtype == "float32" and case.level == "forward"]
# All of the first profile, and of the others each 61st and the first four of each family. All 7,202 take half a
# minute: `python test_write_ops.py`.
FIRST = {case.id for _, group in groupby(FORWARD, lambda case: case.family) for case in islice(group, 4)}
CASES = [case for k, case in enumerate(FORWARD) if k % 61 == 0 or case.id in FIRST or case.id.startswith("smoke")]
# Where ONNX Runtime 1.31 loses a NaN: its recurrent nodes clip, and its TopK and MaxPool compare.
LOSES_NAN = ("nan/", "smoke_nan/")


def test_every_op_has_a_writer() -> None:
    assert set(WRITERS) == set(Op.registry.values())


def built(case: Case) -> subjects.Subject | None:
    """None where the suite checks something else than a program, such as what is refused."""
    return subjects.subject(case) if case.subject[0] in subjects.BUILDERS and case.check == "values" else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_onnx_runtime_agrees(case: Case) -> None:
    subject = built(case)
    if subject is None or case.id.startswith(LOSES_NAN) or case.settings["values"] == "nan":
        return
    reference = plugins.get(plugins.reference())
    exact, single = subject.run(reference, "float64"), subject.run(reference, "float32")
    program = subject.program
    weights = {path: array.astype("float32") for path, array in subject.weights.items()}
    states = [carry.name for carry in program.carries] if subject.carries else None
    written = write_program(program, weights, "float32", "case", states=states)
    inputs = {name: a.astype(DTYPES[program.values[name].kind]) for name, a in subject.inputs.items()}
    inputs |= {written.carries[name][0]: array.astype("float32") for name, array in subject.carries.items()}
    found = ort.run(ort.wrapped(written.graph), inputs)
    names = [*written.outputs[: len(program.outputs)], *(after for _, after in written.carries.values())]
    wanted = [*exact.outputs, *(exact.carries[name] for name in written.carries)]
    own = [*single.outputs, *(single.carries[name] for name in written.carries)]
    baseline = max([0.0, *(_error(a, b) for a, b in zip(own, wanted, strict=True))])
    for name, reference_y, own_y in zip(names, wanted, own, strict=True):
        ort.agree(found[name], reference_y if reference_y.dtype.kind == "f" else own_y, limit(baseline))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_repeat_keeps_the_axes_around_in_their_places(axis: int) -> None:
    build = Builder()
    x = build.input("x", (None, None, 3, 2))
    (y,) = build.op(ops.Repeat(axis, 2), x)
    written = write_program(build.finish([y.name]), {}, "float32", "case")
    given = np.random.default_rng(0).normal(size=(2, 5, 3, 2)).astype("float32")
    (found,) = ort.run(ort.wrapped(written.graph), {"x": given}).values()
    np.testing.assert_array_equal(found, np.repeat(given, 2, axis))


def _error(y: Any, reference: Any) -> float:
    return scale_error(y, reference, "float32") if np.asarray(reference).dtype.kind == "f" else 0.0


def main() -> None:
    """All cases, and which of them do not come out."""
    failed = []
    for case in FORWARD:
        try:
            test_onnx_runtime_agrees(case)
        except AssertionError as error:
            failed.append(f"{case.id}: {error}")
    print(f"{len(FORWARD)} cases, {len(failed)} failed", *failed, sep="\n")


if __name__ == "__main__":
    main()
