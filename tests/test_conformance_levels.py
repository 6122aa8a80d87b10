"""The levels *gradient* and *training* of the suite: who judges them, what they cover, how they are told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from lstmcore_conformance import cases, data, descent, gradients, loss_rule, report, suite
from lstmcore_conformance.command import conformance
from lstmcore_conformance.likeness import likeness
from lstmcore_conformance.subjects import subject
from safetensors.numpy import load_file

from lstmcore import activations, losses, ops, optimizers, plugins
from lstmcore.contract import Backend, Kernel, capabilities
from lstmcore.optimizers import schedules

GOLDENS = Path(__file__).parent / "goldens"
KERAS = json.loads((GOLDENS / "optimizers.json").read_text(encoding="utf-8"))["cases"]
ARRAYS = load_file(GOLDENS / "optimizers.safetensors")
WEIGHTS = sorted(key.removeprefix("weights/") for key in ARRAYS if key.startswith("weights/"))
SMOKE = suite.cases("smoke", levels=("gradient", "training"))
GRADIENT = suite.cases("standard", levels=("gradient",))
TRAINING = suite.cases("standard", levels=("training",))
REFERENCE = plugins.get(plugins.reference())


# Who judges.


@pytest.mark.parametrize("case", KERAS["steps"])
def test_the_rule_of_the_optimizers_agrees_with_keras(case: str) -> None:
    told = KERAS["steps"][case]
    words = [word.lstrip("^") for word in told["options"].get("exclude_from_weight_decay", ())]
    rule = descent.Descent(
        told["class"],
        {**told["options"], **({"exclude_from_weight_decay": words} if words else {})},
        {name: ARRAYS[f"weights/{name}"] for name in WEIGHTS},
    )
    for step in range(12):
        rule.step({name: ARRAYS[f"gradients/{name}"][step] for name in WEIGHTS})
        for name in WEIGHTS:
            made = {name: rule.weights[name], **{f"{name}/{slot}": array for slot, array in rule.slots[name].items()}}
            for key, array in made.items():
                golden = ARRAYS[f"{case}/float64/{key}"][step]
                np.testing.assert_allclose(array, golden, rtol=1e-11, atol=1e-24, err_msg=f"{key} after step {step}")


@pytest.mark.parametrize("told", KERAS["schedules"], ids=lambda told: told["serialized"]["class_name"])
def test_the_rule_of_the_schedules_agrees_with_keras(told: dict[str, Any]) -> None:
    """Whose own numbers are those of float32."""
    for step, rate in told["rates"]:
        assert descent.rate(told["serialized"], step) == pytest.approx(rate, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("rule", [descent, loss_rule])
def test_the_rules_share_no_code_with_what_they_judge(rule: Any) -> None:
    source = Path(str(rule.__file__)).read_text("utf-8")
    imported = {name.partition(".")[0] for name in re.findall(r"^(?:from|import) (\S+)", source, re.M)}
    standard = {"__future__", "collections", "itertools", "math", "types", "typing", "numpy"}
    assert imported <= {*standard, "lstmcore_conformance"}


def differences(asked: gradients.Question, name: str) -> np.ndarray[Any, Any]:
    """The gradient of one weight, entry by entry, by central differences."""
    array, number, step = asked.weights[name], asked.program.outputs[0], 1e-5
    found = np.zeros_like(array)
    for at in np.ndindex(array.shape):
        ends = []
        for sign in (-1, 1):
            moved = array.copy()
            moved[at] += sign * step
            changed = gradients.Question(asked.program, {**asked.weights, name: moved}, asked.values, asked.wrt)
            ends.append(float(gradients.answer(changed, REFERENCE, "float64", gradients._sessions).outputs[number]))
        found[at] = (ends[1] - ends[0]) / (2 * step)
    return found


# Ops, layers and models that between them have every op.
SAMPLE = [c for c in SMOKE if c.level == "gradient" and c.settings["values"] in data.AWAY_FROM_KINKS]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.id)
def test_the_reference_s_gradients_are_differences(case: suite.Case) -> None:
    """Of every entry, in float64, without a ``pull``."""
    asked = gradients.question(case.key, subject(case))
    right = gradients.answer(asked, REFERENCE, "float64", gradients._sessions).gradients
    most = max(np.abs(g).max(initial=0) for g in right.values())
    for name, gradient in right.items():
        np.testing.assert_allclose(gradient, differences(asked, name), rtol=0, atol=1e-7 * max(most, 1), err_msg=name)


def test_nearly_all_gradients_in_float64_are_judged_by_differences_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few lie at a kink: a gradient that is 1 % too large is noticed in 90 of 100, without any oracle."""
    asked = [c for c in GRADIENT if c.dtype == "float64" and c.settings["values"] in data.AWAY_FROM_KINKS][::20]
    assert len(asked) > 100
    noticed = 0
    for case in asked:
        one = gradients.question(case.key, subject(case))

        def wrong(question: gradients.Question) -> gradients.Answer:
            found = gradients.answer(question, REFERENCE, "float64", gradients._sessions)
            return found._replace(gradients={name: 1.01 * g for name, g in found.gradients.items()})

        noticed += bool(gradients.bent(case.key, one, wrong))
    assert noticed > 0.9 * len(asked)


def test_the_reference_passes_both_levels() -> None:
    """Every fifth case; the limit is far."""
    results = list(suite.run(REFERENCE, [*GRADIENT[::5], *TRAINING[::3]]))
    assert {r.id: r.message for r in results if r.status != "passed"} == {}
    assert max(r.error or 0 for r in results if r.level == "gradient") < 40


# What they cover.


def test_every_op_loss_optimizer_and_schedule_is_examined() -> None:
    nodes = [node for case in SMOKE if case.level == "gradient" for node in subject(case).program.nodes]
    # The others have no gradient, and are in the standard profile.
    flat = {"Causal", "Constant", "OneHot", "Cast", "NotEqual", "Zeros"}
    assert {type(node.op).__name__ for node in nodes} | flat == set(ops.Op.registry)
    classes = {loss.__name__ for loss in losses.LOSSES.values()}
    assert {case.subject[1] for case in SMOKE if case.subject[0] == "loss"} == classes
    named = {name for case in SMOKE if case.subject[0] == "optimizer" for name in [_class(case.subject[1])]}
    assert named == {rule.__name__ for rule in optimizers.OPTIMIZERS.values()}
    rates = [case.subject[1]["config"].get("learning_rate") for case in TRAINING if isinstance(case.subject[1], dict)]
    assert {rate["class_name"] for rate in rates if isinstance(rate, dict)} == set(schedules.SCHEDULES)


def _class(described: Any) -> str:
    return described if isinstance(described, str) else str(described["class_name"])


def test_every_activation_has_its_gradient_examined() -> None:
    used = [c.options["function"] for c in GRADIENT if c.subject == ("op", "Activate")]
    names = {one if isinstance(one, str) else one["name"] for one in used}
    assert names | {"linear"} == set(activations.PARAMETERS)


def test_a_family_can_have_the_cases_of_another() -> None:
    again = [case for case in GRADIENT if case.family == "gradient_grid"]
    first = [case for case in suite.cases("standard") if case.family == "grid"]
    assert [case.id for case in again] == [f"gradient_grid/{case.id}" for case in first]
    assert {(case.level, case.check, case.oracle) for case in again} == {("gradient", "gradient", "reference")}
    some = [case for case in GRADIENT if case.family == "gradient_grid_cells"]
    assert {case.dtype for case in some} == {"float64"}


def test_limits() -> None:
    """1e-5 of the largest gradient in float32; what the levels say, or a family."""
    assert cases.LIMITS["gradient"] * np.finfo("float32").eps == pytest.approx(1e-5, rel=0.01)
    assert {case.limit for case in GRADIENT} == {84.0}
    assert {case.limit for case in TRAINING if case.family != "training_adam"} == {16.0}
    assert {case.limit for case in TRAINING if case.family == "training_adam"} == {1024.0}


def test_noise_is_given() -> None:
    """A dropped feature has no gradient; one that stays has it enlarged."""
    (case,) = [c for c in SMOKE if c.subject == ("layer", "Dropout")]
    asked = gradients.question(case.key, subject(case))
    (noise,) = subject(case).noise.values()
    assert set(np.unique(noise)) == {0.0, 2.0}
    found = gradients.answer(asked, REFERENCE, "float64").gradients["inputs"]
    assert np.array_equal(found == 0, noise == 0)


# How they are told.


class Forward(Backend):
    """What `examples/new_backend` is: kernels that run, and no gradients."""

    name = "forward"
    kernels: ClassVar[Any] = {kind: (Kernel(row[0].name, row[0].run),) for kind, row in REFERENCE.kernels.items()}
    tensor = staticmethod(np.asarray)  # type: ignore[assignment]
    numpy = staticmethod(np.asarray)  # type: ignore[assignment]


def test_a_backend_that_does_not_train_is_told_so_once() -> None:
    results = list(suite.run(Forward(), suite.cases("smoke")))
    assert {r.status for r in results if r.level == "forward"} == {"passed"}
    others = [r for r in results if r.level != "forward"]
    assert {r.status for r in others} == {"unsupported"} and len({r.message for r in others}) == 1
    assert "does not train: no kernel has a pull, and differentiate is not its own" in others[0].message
    (told,) = report.details(results)
    assert told.startswith(f"UNSUPPORTED in {len(others)} cases")
    assert "--level forward" in told


def test_whether_it_trains_follows_from_the_table() -> None:
    assert capabilities(REFERENCE)["trains"] and not capabilities(Forward)["trains"]
    own = type("Own", (Forward,), {"differentiate": lambda self, *args: None, "maths": REFERENCE.maths})
    assert capabilities(own)["trains"]
    (message,) = {r.message for r in suite.run(type("Bare", (own,), {"maths": None})(), SMOKE)}
    assert "it lends the optimizers no maths" in message


def run(*arguments: str) -> Any:
    return CliRunner().invoke(conformance, ["--backend", plugins.reference(), "--profile", "smoke", *arguments])


@pytest.mark.parametrize("level", ["forward", "gradient", "training"])
def test_the_command_takes_a_level(level: str) -> None:
    told = json.loads(run("--level", level, "--json", "--filter", "lstm").output)
    assert {case["level"] for case in told["cases"]} == {level}


def test_the_command_sums_up_each_level() -> None:
    result = run("--filter", "smoke_")
    assert result.exit_code == 0, result.output
    for level, limit in (("forward", 16), ("gradient", 84), ("training", 16)):
        assert re.search(
            rf"^  {level}: \d+ passed, 0 failed, 0 unsupported; worst E \S+ of {limit}$", result.output, re.M
        )


def test_a_family_of_another_level_is_wrong_use() -> None:
    result = run("--level", "training", "--family", "smoke_lstm")
    assert result.exit_code == 2 and "has no family 'smoke_lstm' at level 'training'" in result.output


RIGHT = np.arange(1.0, 31.0).reshape(3, 5, 2) * np.where(np.arange(30).reshape(3, 5, 2) % 3, 1, -1)
MASK = np.arange(5) < np.array([5, 3, 2])[:, None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: 0 * g, "it is zero, as if nothing depended on it"),
        (lambda g: -g, "its sign is wrong"),
        (lambda g: g / 2, "every entry is 1/2 times what it should be"),
        (lambda g: 2 * g, "every entry is 2 times what it should be"),
        (lambda g: g * 0.8765, "every entry is 0.8765 times what it should be"),
        (lambda g: g[:, ::-1], "it is reversed in time"),
        (lambda g: g * (np.arange(5) == 4)[:, None], "it is zero but at step 4, as if nothing went from step to step"),
        (lambda g: g * np.array([1.0, 2, 1])[:, None, None], "only the sample or row 1 of 3 differs"),
        (lambda g: np.where(g == 8, np.nan, g), "it is not finite"),
        (lambda g: g + np.sin(np.arange(30.0)).reshape(3, 5, 2), ""),
    ],
)
def test_a_difference_in_words(change: Callable[[Any], Any], words: str) -> None:
    assert likeness(change(RIGHT), RIGHT) == (f"; {words}" if words else "")


def test_a_difference_beside_a_mask_in_words() -> None:
    right = RIGHT * MASK[:, :, None]
    assert likeness(right + 1, right, MASK) == "; it is not zero at masked steps"
    at_masked = np.where(MASK[:, :, None], right, np.nan)
    assert likeness(at_masked, right, MASK) == "; it is not finite at masked steps, which should have no influence"
    square = np.arange(9.0).reshape(3, 3)
    assert likeness(square.T, square) == "; it is transposed"
