"""The suite catches wrong losses, optimizers and training loops of the core, which every engine would share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import training_faults
from lstmcore_conformance import suite
from lstmcore_conformance.subjects import Sessions

from lstmcore import plugins

SMOKE = suite.cases("smoke")
STANDARD = suite.cases("standard")[len(SMOKE) :]

# Faults -> the families that must notice one of them, smoke first; a name is also the start of others.
GROUPS = {
    "losses": (training_faults.LOSSES, ("smoke_loss", "loss")),
    "optimizers": (training_faults.OPTIMIZERS, ("smoke_optimizer", "optimizer", "schedule")),
    "loop": (training_faults.LOOP, ("smoke_training", "smoke_gradient", "training")),
}
FAULTS = [(group, name) for group, (faults, _) in GROUPS.items() for name in faults]


def cases(families: tuple[str, ...]) -> Iterator[suite.Case]:
    for family in families:
        for case in (*SMOKE, *STANDARD):
            if case.family.startswith(family):
                yield case


@pytest.mark.parametrize(("group", "name"), FAULTS, ids=lambda word: word)
def test_a_fault_is_noticed(group: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faults, families = GROUPS[group]
    engine, sessions = plugins.get(plugins.reference()), Sessions()
    with monkeypatch.context() as patch:
        faults[name](patch)
        results = (suite.examine(case, engine, sessions) for case in cases(families))
        failed = next((result for result in results if result.status == "failed"), None)
    assert failed is not None, f"no case notices: {name}"
    assert failed.message and "Error: " not in failed.message


def test_without_a_fault_they_pass() -> None:
    engine, sessions = plugins.get(plugins.reference()), Sessions()
    chosen = [case for _, families in GROUPS.values() for case in cases(families[:1])]
    assert [c.id for c in chosen if suite.examine(c, engine, sessions).status != "passed"] == []


@pytest.mark.parametrize(
    ("group", "name", "words"),
    [
        ("optimizers", "Adamax: no bias correction", "every movement is 1/10 times what it should be"),
        ("optimizers", "gathered gradients: the sum", "momentum of lstm/kernel after step 2: "),
        ("loop", "a value used twice has one gradient", "the number itself has the slope"),
        ("loop", "a partial batch counts as a whole one", "loss of each epoch: "),
    ],
)
def test_a_failure_says_what_is_wrong(group: str, name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faults, families = GROUPS[group]
    engine, sessions = plugins.get(plugins.reference()), Sessions()
    with monkeypatch.context() as patch:
        faults[name](patch)
        messages = [suite.examine(case, engine, sessions).message for case in cases(families[:2]) if case in SMOKE]
    assert any(words in message for message in messages), messages
