"""The suite itself: its cases, its verdicts, its command and its pytest face."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from lstmcore_conformance import cases, data, paper, report, rule, specs, suite
from lstmcore_conformance.command import conformance
from lstmcore_conformance.relations import RELATIONS
from lstmcore_conformance.results import Judge, Result
from lstmcore_conformance.subjects import subject

from lstmcore import activations, layers, ops, plugins
from lstmcore.contract import Backend, Kernel

PACKAGE = "lstmcore_conformance"
SMOKE = suite.cases("smoke")
STANDARD = suite.cases("standard")
FORWARD = suite.cases("standard", levels=("forward",))


# Cases.


def test_ids_are_unique_and_smoke_is_small_and_comes_first() -> None:
    ids = [case.id for case in STANDARD]
    assert len(set(ids)) == len(ids)
    assert len(SMOKE) <= 320
    assert [case.id for case in STANDARD[: len(SMOKE)]] == [case.id for case in SMOKE]


def test_ids_read_as_documented() -> None:
    ids = {case.id for case in STANDARD}
    assert "lstm/nobias-seq-state-back-carried-T5-B3-H4/float32" in ids
    assert "smoke_gru/before-seq-state-given/float64" in ids
    assert "grid/lstm-seq-back-unroll-mask=holes-given/float32" in ids
    assert "smoke_rule/rnn-lstmcell,units=4+grucell,units=3-seq-mask=left-given/float64" in ids
    assert "smoke_ops_more/Select-bool.5x1,5x4,1x4-values=nan/float32" in ids
    assert "smoke_relations/two_runs-bidirectional-gru-seq-state-mask=holes-given-merge_mode=mul/float64" in ids


def test_every_op_and_every_activation_is_examined() -> None:
    """In the smoke profile already; in the standard one each op by itself too."""
    smoke = suite.cases("smoke", levels=("forward",))
    nodes = [node for case in smoke for node in subject(case).program.nodes]
    assert {type(node.op).__name__ for node in nodes} == set(ops.Op.registry)
    used = {str(node.op.function.name) for node in nodes if isinstance(node.op, ops.Activate)}
    assert used | {"linear"} == set(activations.PARAMETERS)  # a linear layer has no node
    alone = {case.subject[1] for case in FORWARD[len(smoke) :] if case.subject[0] == "op"}
    assert alone | {"Parameter"} == set(ops.Op.registry)  # a Parameter is an input of others


def test_the_options_of_recurrent_layers_are_crossed_in_full() -> None:
    for family in ("lstm", "gru", "gru_before", "rnn"):
        rows = [case for case in STANDARD if case.family == family]
        flags = ("use_bias", "return_sequences", "return_state", "go_backwards")
        seen = {
            (*(case.options[flag] for flag in flags), *(case.settings[s] for s in ("T", "B", "H", "dtype")))
            for case in rows
        }
        assert len(seen) == len(rows) == 2**4 * 3 * 2 * 2 * 2


def _layers(value: object) -> Iterator[str]:
    """The names of all layers in a description."""
    if specs.is_layer(value):
        name, options = value  # type: ignore[misc]  # it is a pair
        yield name
        yield from _layers(list(options.values()))
    elif isinstance(value, list):
        for one in value:
            yield from _layers(one)


@pytest.mark.parametrize("oracle", ["keras", None])
def test_every_layer_is_examined(oracle: str | None) -> None:
    used = {
        name
        for case in STANDARD
        if case.subject[0] == "layer" and oracle in (None, case.oracle)
        for name in _layers(specs.of(case))
    }
    own = {name for name, layer in layers.Layer.registry.items() if layer.is_own()}
    # Keras, whose numbers the suite holds, has no ProjectedLSTMCell, and operations instead of Operation; these are
    # judged by PyTorch (tests/interop/pytorch) and by models of Keras with operations (tests/interop).
    assert used == own - {"InputLayer", "ProjectedLSTMCell", "Operation"}


def test_the_grid_is_the_480_configurations_on_which_the_backends_of_keras_differ() -> None:
    """Each configuration once, in both dtypes, judged by the rule."""
    rows = [case for case in STANDARD if case.family == "grid"]
    flags = ("go_backwards", "unroll", "zero_output_for_mask", "return_sequences")
    seen = {(c.subject[1], *(c.options[f] for f in flags), c.settings["mask"], c.settings["states"]) for c in rows}
    assert len(seen) == 3 * 2**4 * 5 * 2 == 480
    assert len(rows) == 2 * 480
    assert {case.oracle for case in rows} == {"rule"}
    cells = {case.key for case in STANDARD if case.family == "grid_cells"}
    assert len(cells) == 3 * 2**4 * 6 * 2


@pytest.mark.parametrize("name", [name for name, sheet in paper.SHEETS.items() if sheet().layer in rule.STEPS])
def test_the_rule_agrees_with_paper(name: str) -> None:
    sheet = paper.SHEETS[name]()
    step, count = rule.STEPS[sheet.layer]
    options = {"reset_after": False} if sheet.options.get("reset_after") is False else {}
    run = partial(rule.stacked, [partial(step, sheet.weights, **options)], [count])
    units = sheet.options["units"]
    for sample, x in enumerate(sheet.inputs):
        states = [list(state[sample]) for state in sheet.states] or [[0.0] * units] * count
        steps = x[::-1] if sheet.options.get("go_backwards") else x
        mask = sheet.mask[sample] if sheet.mask else [True] * len(x)
        y, after = rule.over_time(run, steps, mask, states, units, zeroed=False)
        wanted = sheet.expected["y"][sample]
        np.testing.assert_allclose(y if sheet.options.get("return_sequences") else y[-1], wanted, rtol=1e-14)
        for state, given in zip(("h", "c"), after, strict=False):
            np.testing.assert_allclose(given, sheet.expected[state][sample], rtol=1e-14)


def test_the_rule_shares_no_code_with_an_engine() -> None:
    imported = {name.partition(".")[0] for name in re.findall(r"^(?:from|import) (\S+)", _source(rule), re.M)}
    assert imported == {"__future__", "math", "collections", "functools", "types", "typing", "numpy", PACKAGE}
    called = set(re.findall(r"\bnp\.(\w+)", _source(rule)))
    assert called == {"array"}


def _source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text("utf-8")


def test_no_output_hides_another() -> None:
    for case in STANDARD:
        if case.family.startswith(("keras_bidirectional", "keras_heads", "keras_merge", "relation")):
            names = subject(case).names
            assert len(set(names)) == len(names)


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


# Relation -> an op whose kernel is made wrong, and how: change(call, op, inputs, outputs) -> outputs.
Change = Callable[[int, Any, tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]
RECURRENT = (ops.Lstm, ops.Gru, ops.SimpleRnn)
WRONG: dict[str, tuple[tuple[type[ops.Op], ...], Change]] = {
    "permuted": (RECURRENT, lambda call, op, inputs, y: (y[0] + y[0][:1] / 100, *y[1:])),
    "split": (RECURRENT, lambda call, op, inputs, y: (y[0], *(0 * state for state in y[1:]))),
    "padded": (RECURRENT, lambda call, op, inputs, y: (y[0] + inputs[0][:, -1:, :1] / 100, *y[1:])),
    "flipped": ((ops.Reverse,), lambda call, op, inputs, y: inputs if inputs[0].dtype == bool else y),
    "rolled": (RECURRENT, lambda call, op, inputs, y: (y[0] + call, *y[1:])),
    "as_scan": ((ops.Scan,), lambda call, op, inputs, y: (y[0], *(2 * state for state in y[1:]))),
    "two_runs": ((ops.Concat,), lambda call, op, inputs, y: (np.concatenate(inputs[::-1], op.axis),)),
    "one_by_one": (
        (ops.Scan,),
        lambda call, op, inputs, y: y if len(y) < 4 else (y[0], y[2], y[1], *y[3:]),
    ),
    "per_step": ((ops.Fold,), lambda call, op, inputs, y: (y[0][::-1],)),
}


def _wrong(kinds: tuple[type[ops.Op], ...], change: Change) -> Backend:
    """The reference with a fault in some of its kernels."""
    base = plugins.load(plugins.reference())
    calls = itertools.count()

    def broken(run: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        return lambda op, w, *inputs, **body: change(next(calls), op, inputs, run(op, w, *inputs, **body))

    kernels = {
        kind: tuple(Kernel(k.name, broken(k.run) if kind in kinds else k.run, k.when) for k in rows)
        for kind, rows in base.kernels.items()
    }
    return type("Wrong", (base,), {"name": "wrong", "kernels": kernels})()


@pytest.mark.parametrize("relation", RELATIONS)
def test_each_relation_finds_a_fault(relation: str) -> None:
    rows = [case for case in STANDARD if case.check == relation]
    assert any(result.status == "failed" for result in suite.run(_wrong(*WRONG[relation]), rows))


@pytest.mark.parametrize("name", plugins.names())
def test_every_installed_backend_passes_smoke(name: str) -> None:
    if {info.name: info.status for info in plugins.backends()}[name] == "missing":
        pytest.skip(f"the framework of {name} is not installed")
    failed = {r.id: r.message for r in suite.run(name, SMOKE) if r.status != "passed"}
    assert failed == {}


def test_the_reference_passes_standard_with_room_to_spare() -> None:
    """Its own float32 error is small in every case: the data are well conditioned."""
    results = list(suite.run(plugins.reference(), (c for c in FORWARD if c.check != "files")))
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


def test_the_command_runs_families_by_name() -> None:
    arguments = ["--backend", plugins.reference(), "--family", "paper", "--family", "smoke_rule", "--json"]
    told = json.loads(CliRunner().invoke(conformance, arguments).output)
    assert {case["family"] for case in told["cases"]} == {"paper", "smoke_rule"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a backend"),
        (["--backend", "nonsense"], "unknown backend 'nonsense'"),
        (["--backend", "numpy", "--filter", "nonsense"], "no case"),
        (["--profile", "nonsense"], "nonsense"),
        (["--backend", "numpy", "--family", "gird"], "no family 'gird'. Did you mean 'grid'"),
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
