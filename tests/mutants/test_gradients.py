"""The suite catches backends whose forward pass is right and whose gradients are not, and says where."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import planting
import pull_faults
import pytest
from lstmcore_conformance import suite

from lstmcore import ops

FAULTS = pull_faults.FAULTS
SMOKE = suite.cases("smoke", levels=("gradient",))
STANDARD = suite.cases("standard", levels=("gradient",))[len(SMOKE) :]


@lru_cache
def alone(kind: str) -> tuple[suite.Case, ...]:
    """The cases of the standard profile of an op by itself."""
    return tuple(case for case in STANDARD if case.subject == ("op", kind))


def cases(name: str) -> Iterator[suite.Case]:
    """The cases that must notice a fault: those of the smoke profile, or else those of the ops that are wrong."""
    kinds = [kind.__name__ for kind in FAULTS[name][0]]
    yield from sorted(SMOKE, key=lambda case: case.subject not in [("op", kind) for kind in kinds])
    for kind in kinds:
        yield from alone(kind)


def planted(name: str) -> planting.Backend:
    return planting.backward(name, *FAULTS[name])


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_gradient_fails(name: str) -> None:
    failed = next((result for result in suite.run(planted(name), cases(name)) if result.status == "failed"), None)
    assert failed is not None, f"no case notices: {name}"
    assert failed.message and "Error: " not in failed.message


def test_its_forward_pass_is_right() -> None:
    """So that it is the level that notices."""
    for name in ("Lstm: d kernel: halved", "the mask is ignored backwards", "Affine: d bias: negated"):
        forward = suite.cases("smoke", levels=("forward",))
        assert [r.id for r in suite.run(planted(name), forward) if r.status != "passed"] == []


def test_every_op_with_a_gradient_has_faults() -> None:
    known = {kind.__name__ for kinds, _ in FAULTS.values() for kind in kinds}
    assert known == set(ops.Op.registry)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Lstm: d recurrent_kernel: halved", "d it/recurrent_kernel (of Lstm): "),
        ("Lstm: d recurrent_kernel: halved", "every entry is 1/2 times what it should be"),
        ("Lstm: d recurrent_kernel: halved", "by itself, Lstm 'it' has a wrong gradient of it/recurrent_kernel"),
        ("Affine: d bias: negated", "its sign is wrong"),
        ("Gru: d h: dropped", "d state_0 (of Gru): "),
        ("Gru: d h: dropped", "it is zero, as if nothing depended on it"),
        ("masked steps have a gradient", "it is not zero at masked steps"),
        ("NaN at masked steps reaches the weights", "it is not finite"),
        ("Affine: the first sample alone", "by itself, Affine"),
        ("Reverse: not turned back", "it is reversed in time"),
        ("Affine: kernel by the mean over samples", "every entry is 1/3 times what it should be"),
        ("Lstm: pull gives other outputs than run", "is wrong forwards"),
    ],
)
def test_a_failure_says_what_is_wrong(name: str, words: str) -> None:
    messages = [r.message for r in suite.run(planted(name), SMOKE) if r.status == "failed"]
    assert any(words in message for message in messages), messages[:3]


def test_a_kernel_without_a_pull_is_unsupported() -> None:
    base = planting.sound()
    bare = {kind: tuple(planting.replace(k, pull=None) for k in rows) for kind, rows in base.kernels.items()}
    backend = type("Partial", (base,), {"name": "partial", "kernels": {**base.kernels, ops.Gru: bare[ops.Gru]}})()
    results = list(suite.run(backend, suite.cases("smoke")))
    assert {result.status for result in results} == {"passed", "unsupported"}
    lacking = [result for result in results if result.status == "unsupported"]
    assert lacking and all("has no pull" in r.message and "Gru" in r.message for r in lacking)
    assert {result.level for result in lacking} == {"gradient", "training"}
