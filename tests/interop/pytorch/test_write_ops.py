"""Every op, option and layer of the conformance suite, written as a PyTorch module and run there against float64."""

from __future__ import annotations

import sys
from itertools import groupby, islice
from typing import Any

import numpy as np
import pytest
import torch
from lstmcore_conformance import subjects
from lstmcore_conformance.cases import Case, load

from lstmcore import plugins
from lstmcore.interop.pytorch.source import Source, source_of
from lstmcore.interop.pytorch.state import from_state, to_state
from lstmcore.interop.pytorch.writers import WRITERS
from lstmcore.ops import Op
from lstmcore.runtime.compare import limit, scale_error

torch.set_num_threads(1)
FORWARD = [case for case in load("standard") if case.dtype == "float32" and case.level == "forward"]
# All of the first profile, and of the others each 61st and the first four of each family. All 7,202 take half a
# minute: `python test_write_ops.py`, or with "float64" behind it.
FIRST = {case.id for _, group in groupby(FORWARD, lambda case: case.family) for case in islice(group, 4)}
CASES = [case for k, case in enumerate(FORWARD) if k % 61 == 0 or case.id in FIRST or case.id.startswith("smoke")]
# F.gelu makes NaN of infinity in float32 (2.13, measured).
LOSES = ("activation/gelu-values=infinite/float32",)


def test_every_op_has_a_writer() -> None:
    assert set(WRITERS) == set(Op.registry.values())


def live(made: Source, state: dict[str, Any]) -> Any:
    """The module with its weights."""
    namespace: dict[str, Any] = {"__name__": "case", "__file__": "case.py"}
    exec(compile(made.text, "case.py", "exec"), namespace)
    module = namespace["Model"]().eval()
    module.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in state.items()}, strict=True)
    return module


def agrees(case: Case, dtype: str) -> None:
    if case.subject[0] not in subjects.BUILDERS or case.check != "values" or case.id in LOSES:
        return  # the suite checks something else than a program, such as what is refused
    subject = subjects.subject(case)
    program = subject.program
    reference = plugins.get(plugins.reference())
    exact, own = subject.run(reference, "float64"), subject.run(reference, dtype)
    states = [carry.name for carry in program.carries] if subject.carries else []
    made = source_of(program, dtype, "case.pt", states)
    weights = {path: array.astype(dtype) for path, array in subject.weights.items()}
    state = to_state(made.entries, weights, dtype)
    for path, array in from_state(made.entries, state, dtype).items():
        assert np.ascontiguousarray(array).tobytes() == np.ascontiguousarray(weights[path]).tobytes(), path
    module = live(made, state)
    for name, array in subject.carries.items():
        setattr(module, made.states[name], torch.from_numpy(array.astype(dtype)))
    kinds = {"float": dtype, "int": "int32", "bool": "bool"}
    given = [np.array(subject.inputs[name], kinds[program.values[name].kind]) for name in program.inputs]
    with torch.no_grad():
        found = module(*map(torch.from_numpy, given))
    ys = [*(found if isinstance(found, tuple) else (found,)), *(getattr(module, made.states[name]) for name in states)]
    wanted = [*exact.outputs, *(exact.carries[name] for name in states)]
    singles = [*own.outputs, *(own.carries[name] for name in states)]
    most = limit(max([0.0, *(_error(a, b, dtype) for a, b in zip(singles, wanted, strict=True))]))
    for y, exact_y, own_y in zip(ys, wanted, singles, strict=True):
        if exact_y.dtype.kind != "f":
            np.testing.assert_array_equal(y.numpy(), own_y)
        else:
            assert y.dtype is getattr(torch, dtype)
            assert (error := _error(y.numpy(), exact_y, dtype)) <= most, f"E = {error:.3g}"


def _error(y: Any, reference: Any, dtype: str) -> float:
    return scale_error(y, reference, dtype) if np.asarray(reference).dtype.kind == "f" else 0.0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_pytorch_agrees(case: Case) -> None:
    agrees(case, "float32")


@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.id)
def test_pytorch_agrees_in_float64(case: Case) -> None:
    agrees(case, "float64")


def main() -> None:
    """All cases, and which of them do not come out."""
    failed = []
    for case in FORWARD:
        try:
            agrees(case, sys.argv[1] if len(sys.argv) > 1 else "float32")
        except AssertionError as error:
            failed.append(f"{case.id}: {error}")
    print(f"{len(FORWARD)} cases, {len(failed)} failed", *failed, sep="\n")


if __name__ == "__main__":
    main()
