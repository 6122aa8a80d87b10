"""The suite catches wrong backends, every one, and passes a right one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import faults
import op_faults
import planting
import pointwise_faults
import pytest
import scan_faults
from lstmcore_conformance import suite

from lstmcore import ops, plugins

FAULTS = {**faults.FAULTS, **op_faults.FAULTS, **pointwise_faults.FAULTS, **scan_faults.FAULTS}
SMOKE = suite.cases("smoke", levels=("forward",))
STANDARD = suite.cases("standard", levels=("forward",))[len(SMOKE) :]

# Families that see what no case of an op by itself does.
BESIDE = {
    "Conv: same: as without strides": ("keras_conv",),
    "Parameter: transposed where square": ("grid_cells",),
}


@lru_cache
def standard(kind: str, families: tuple[str, ...]) -> tuple[suite.Case, ...]:
    """The cases of the op by itself, and those of the families."""
    return tuple(case for case in STANDARD if case.subject == ("op", kind) or case.family in families)


def cases(name: str) -> Iterator[suite.Case]:
    """The cases that must notice a fault: those of the smoke profile, or else those of the ops that are wrong."""
    kinds = [kind.__name__ for kind in FAULTS[name][0]]
    # Those of the ops by themselves come first: they fail at once.
    yield from sorted(SMOKE, key=lambda case: case.subject not in [("op", kind) for kind in kinds])
    if name not in faults.FAULTS:
        for kind in kinds:
            yield from standard(kind, BESIDE.get(name, ()))


def planted(name: str) -> planting.Backend:
    return planting.planted(name, FAULTS[name])


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_backend_fails(name: str) -> None:
    results = suite.run(planted(name), cases(name))
    failed = next((result for result in results if result.status == "failed"), None)
    assert failed is not None, f"no case notices: {name}"
    assert failed.message
    assert "StaleGoldenError" not in failed.message


def test_the_unchanged_backend_passes() -> None:
    backend = type("Unchanged", (planting.sound(),), {"name": "unchanged"})()
    assert [result.id for result in suite.run(backend, suite.cases("smoke")) if result.status != "passed"] == []


def test_all_wrong_orders_of_gates_are_planted() -> None:
    names = [name for name in faults.FAULTS if " gates " in name]
    assert len([name for name in names if name.startswith("lstm")]) == 23
    assert len([name for name in names if name.startswith("gru")]) == 5


def test_every_op_of_the_suite_has_faults() -> None:
    known = {kind.__name__ for kinds, _ in FAULTS.values() for kind in kinds}
    assert {name for what, name in (case.subject for case in (*SMOKE, *STANDARD)) if what == "op"} <= known


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lstm gates icfo", "the gates are ordered i c f o"),
        ("lstm gates fcoi", "the gates are ordered o i f c"),
        ("gru gates rzh", "the gates are ordered r z h"),
        ("recurrent bias dropped", "the recurrent bias is dropped"),
        ("reset_after ignored: always before", "reset_after is the other way round"),
        ("recurrent kernel transposed, lstm", "the recurrent kernel is transposed"),
        ("go_backwards ignored", "go_backwards is ignored"),
        ("hard_sigmoid with 0.2", "hard_sigmoid_0_2"),
        ("initial c ignored", "the initial c is ignored"),
        ("mask ignored", "the mask is ignored"),
        ("previous ignored", "the output before the first step is ignored"),
        ("Scan: masked outputs always zero", "masked outputs are zero"),
        ("Conv: kernel flipped", "the kernel is flipped"),
        ("Binary: subtract swapped", "the operands are swapped"),
        ("Select: branches swapped", "the branches are swapped"),
        ("Concat: order swapped", "the inputs stand in reverse"),
        ("BatchNormalize: gamma and beta swapped", "gamma and beta are swapped"),
        ("Pool: max for mean", "function is max"),
    ],
)
def test_a_failure_names_the_mistake(name: str, words: str) -> None:
    messages = [r.message for r in suite.run(planted(name), SMOKE) if r.status == "failed"]
    assert any(words in message for message in messages), messages[:3]


def test_a_missing_op_is_unsupported_neither_passed_nor_failed() -> None:
    base = plugins.load(plugins.reference())
    kernels = {kind: rows for kind, rows in base.kernels.items() if kind is not ops.Gru}
    backend = type("Partial", (base,), {"name": "partial", "kernels": kernels})()
    results = list(suite.run(backend, SMOKE))
    assert {result.status for result in results} == {"passed", "unsupported"}
    with_gru = [result for result in results if "gru" in result.id.lower().replace("grucell", "")]
    assert {result.status for result in with_gru} == {"unsupported"}
    assert all("no kernel for Gru" in result.message for result in with_gru)
