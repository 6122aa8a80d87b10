"""The suite catches wrong backends, every one, and passes a right one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from lstmcore_conformance import suite

from lstmcore import plugins


def _faults() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lstmcore_faults", Path(__file__).with_name("faults.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


faults = _faults()
SMOKE = suite.cases("smoke")


@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_wrong_backend_fails(name: str) -> None:
    results = suite.run(faults.planted(name), SMOKE)
    failed = next((result for result in results if result.status == "failed"), None)
    assert failed is not None, f"no case of the smoke profile notices: {name}"
    assert failed.message


def test_the_unchanged_backend_passes() -> None:
    backend = type("Unchanged", (faults.sound(),), {"name": "unchanged"})()
    assert [result.id for result in suite.run(backend, SMOKE) if result.status != "passed"] == []


def test_all_wrong_orders_of_gates_are_planted() -> None:
    names = [name for name in faults.FAULTS if " gates " in name]
    assert len([name for name in names if name.startswith("lstm")]) == 23
    assert len([name for name in names if name.startswith("gru")]) == 5


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
    ],
)
def test_a_failure_names_the_mistake(name: str, words: str) -> None:
    messages = [r.message for r in suite.run(faults.planted(name), SMOKE) if r.status == "failed"]
    assert any(words in message for message in messages), messages[:3]


def test_a_missing_op_is_unsupported_neither_passed_nor_failed() -> None:
    base = plugins.load(plugins.reference())
    kernels = {kind: rows for kind, rows in base.kernels.items() if kind is not faults.ops.Gru}
    backend = type("Partial", (base,), {"name": "partial", "kernels": kernels})()
    results = list(suite.run(backend, SMOKE))
    assert {result.status for result in results} == {"passed", "unsupported"}
    with_gru = [result for result in results if "gru" in result.id.lower()]
    assert {result.status for result in with_gru} == {"unsupported"}
    assert all("no kernel for Gru" in result.message for result in with_gru)
