"""The suite itself: its cases, its verdicts, its command and its pytest face."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from lstmcore_conformance import cases, data, report, suite
from lstmcore_conformance.command import conformance
from lstmcore_conformance.results import Judge, Result
from lstmcore_conformance.subjects import subject

from lstmcore import activations, ops, plugins

SMOKE = suite.cases("smoke")
STANDARD = suite.cases("standard")


# Cases.


def test_ids_are_unique_and_smoke_is_small_and_comes_first() -> None:
    ids = [case.id for case in STANDARD]
    assert len(set(ids)) == len(ids)
    assert len(SMOKE) <= 100
    assert [case.id for case in STANDARD[: len(SMOKE)]] == [case.id for case in SMOKE]


def test_ids_read_as_documented() -> None:
    ids = {case.id for case in STANDARD}
    assert "lstm/nobias-seq-state-back-carried-T5-B3-H4/float32" in ids
    assert "smoke_gru/before-seq-state-given/float64" in ids


@pytest.mark.parametrize("profile", [SMOKE, STANDARD], ids=["smoke", "standard"])
def test_every_op_and_every_activation_is_examined(profile: tuple[cases.Case, ...]) -> None:
    nodes = [node for case in profile for node in subject(case).program.nodes]
    assert {type(node.op).__name__ for node in nodes} == set(ops.Op.registry)
    used = {str(node.op.function.name) for node in nodes if isinstance(node.op, ops.Activate)}
    assert used | {"linear"} == set(activations.PARAMETERS)  # a linear layer has no node


def test_the_options_of_recurrent_layers_are_crossed_in_full() -> None:
    for family in ("lstm", "gru", "gru_before", "rnn"):
        rows = [case for case in STANDARD if case.family == family]
        flags = ("use_bias", "return_sequences", "return_state", "go_backwards")
        seen = {
            (*(case.options[flag] for flag in flags), *(case.settings[s] for s in ("T", "B", "H", "dtype")))
            for case in rows
        }
        assert len(seen) == len(rows) == 2**4 * 3 * 2 * 2 * 2


def test_pairs_covers_every_pair() -> None:
    axes = {"a": [1, 2, 3], "b": [1, 2], "c": [1, 2, 3, 4], "d": [True, False]}
    rows = list(cases.pairs(axes))
    for one in axes:
        for other in axes:
            if one != other:
                seen = {(row[one], row[other]) for row in rows}
                assert len(seen) == len(axes[one]) * len(axes[other])
    assert len(rows) < 3 * 2 * 4 * 2 / 2
    assert rows == list(cases.pairs(axes))


def test_two_cases_of_one_id_are_refused() -> None:
    family = {"name": "twice", "profile": "smoke", "layer": "LSTM", "rows": [{"T": 5}, {"T": 5}]}
    with pytest.raises(ValueError, match="two cases"):
        cases._read(family)


def test_data_are_exact_in_float32_and_the_same_for_both_dtypes() -> None:
    case = next(case for case in SMOKE if case.family == "smoke_lstm")
    it = subject(case)
    for array in (*it.weights.values(), *it.inputs.values()):
        assert np.array_equal(array, array.astype(np.float32))
        assert len(np.unique(array)) == array.size  # no two numbers are alike
    assert {len(set(array.shape)) == array.ndim for array in it.inputs.values()} == {True}


@pytest.mark.parametrize("pattern", ["right", "left", "holes", "first", "full_row"])
def test_rows_of_a_mask_differ(pattern: str) -> None:
    mask = data.mask(pattern, 3, 5)
    assert mask.any() and not mask.all()
    assert pattern == "first" or len(np.unique(mask, axis=0)) > 1


# Verdicts.


def _judged(given: object, expected: object, dtype: str = "float32") -> Judge:
    judge = Judge(dtype)
    judge.values("y", np.asarray(given), np.asarray(expected))
    return judge


def test_a_difference_is_told_with_its_place_and_both_values() -> None:
    expected = np.array([[1.0, 2.0], [3.0, 4.0]])
    given = expected.astype(np.float32)
    assert _judged(given, expected).problems == []
    given[1, 0] = 3.5
    (problem,) = _judged(given, expected).problems
    assert "y: at [1, 0] given 3.5, expected 3" in problem
    assert "shape (2, 2)" in problem


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ones((2, 2), np.float64), "dtype is float64; expected float32"),
        (np.ones((2, 3), np.float32), "shape is (2, 3); expected (2, 2)"),
        (np.array([[1, np.nan], [1, 1]], np.float32), "given nan"),
    ],
)
def test_wrong_dtypes_shapes_and_nans_are_problems(given: np.ndarray, words: str) -> None:
    assert any(words in problem for problem in _judged(given, np.ones((2, 2))).problems)


def test_the_limit_is_16_units_of_the_largest_value() -> None:
    eps = float(np.finfo("float32").eps)
    expected = np.array([1.0, 0.01])
    assert _judged(np.array([1.0, 0.01 + 15 * eps], np.float32), expected).problems == []
    assert _judged(np.array([1.0, 0.01 + 18 * eps], np.float32), expected).problems


@pytest.mark.parametrize("name", plugins.names())
def test_every_installed_backend_passes_smoke(name: str) -> None:
    if {info.name: info.status for info in plugins.backends()}[name] == "missing":
        pytest.skip(f"the framework of {name} is not installed")
    failed = {r.id: r.message for r in suite.run(name, SMOKE) if r.status != "passed"}
    assert failed == {}


def test_the_reference_passes_standard_with_room_to_spare() -> None:
    """Its own float32 error is small in every case: the data are well conditioned."""
    results = list(suite.run(plugins.reference(), (c for c in STANDARD if c.check != "files")))
    assert {r.id: r.message for r in results if r.status != "passed"} == {}
    assert max(r.error or 0 for r in results) < 9


# The command.


def test_the_command_passes_and_reports() -> None:
    result = CliRunner().invoke(
        conformance, ["--backend", plugins.reference(), "--profile", "smoke", "--filter", "paper"]
    )
    assert result.exit_code == 0, result.output
    assert "8 passed, 0 failed, 0 unsupported" in result.output


def test_the_command_gives_json() -> None:
    arguments = ["--backend", plugins.reference(), "--profile", "smoke", "--filter", "paper", "--json"]
    result = CliRunner().invoke(conformance, arguments)
    told = json.loads(result.output)
    assert told["passed"] == len(told["cases"]) == 8
    assert {"id", "level", "error", "limit", "headroom", "status", "message"} <= set(told["cases"][0])


def test_the_command_lists_cases() -> None:
    result = CliRunner().invoke(conformance, ["--list", "--profile", "smoke"])
    assert result.output.split() == [case.id for case in SMOKE]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a backend"),
        (["--backend", "nonsense"], "unknown backend 'nonsense'"),
        (["--backend", "numpy", "--filter", "nonsense"], "no case"),
        (["--profile", "nonsense"], "nonsense"),
    ],
)
def test_wrong_use_of_the_command_is_2(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(conformance, arguments)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("status", "strict", "code"),
    [("passed", True, 0), ("failed", False, 1), ("unsupported", False, 0), ("unsupported", True, 1)],
)
def test_the_exit_status(monkeypatch: pytest.MonkeyPatch, status: str, strict: bool, code: int) -> None:
    results = [Result("a/b/float32", "a", "forward", status, message="why")]  # type: ignore[arg-type]
    monkeypatch.setattr("lstmcore_conformance.command.run", lambda *_: iter(results))
    arguments = ["--backend", plugins.reference(), *(["--strict"] if strict else [])]
    result = CliRunner().invoke(conformance, arguments)
    assert result.exit_code == code
    assert status == "passed" or "why" in result.output


def test_the_report_counts() -> None:
    results = [Result(f"a/{k}/float32", "a", "forward", "passed", error=float(k)) for k in range(3)]
    assert "3 passed, 0 failed, 0 unsupported; worst E 2.00 of 16" in report.summary("it", results, 1.0)


# The pytest face.


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--pyargs", "lstmcore_conformance", "-q", "-p", "no:cacheprovider"]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_pytest_runs_the_installed_suite_from_anywhere(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--backend", plugins.reference(), "--profile", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SMOKE)} passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a backend: --backend"),
        (["--backend", "nonsense"], "unknown backend"),
        (["--backend", "numpy", "--profile", "nonsense"], "known: smoke, standard"),
    ],
)
def test_wrong_use_of_pytest_is_told(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run_pytest(tmp_path, *arguments)
    assert done.returncode == 4
    assert words in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("paper/gelu_exact/float64  # it passes, so this is wrong", 1, "XPASS(strict)"),
        ("paper/gelu_exact/float64", 4, "has no reason"),
        ("paper/nonsense/float64  # no such case", 4, "no case is called 'paper/nonsense/float64'"),
    ],
)
def test_expected_failures_are_strict(tmp_path: Path, line: str, code: int, words: str) -> None:
    (tmp_path / "xfails.txt").write_text(f"# known\n\n{line}\n")
    done = run_pytest(tmp_path, "--backend", plugins.reference(), "--profile", "smoke", "--xfails", "xfails.txt")
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr


def test_other_projects_keep_their_option(tmp_path: Path) -> None:
    """A project with a ``--backend`` of its own is not disturbed by the installed plugin."""
    (tmp_path / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--backend')\n")
    (tmp_path / "test_it.py").write_text("def test_it(pytestconfig):\n    assert pytestconfig.option.backend == 'x'\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--backend", "x", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
