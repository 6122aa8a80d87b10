"""The command line: what it prints, where, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lstmcore import plugins, weights
from lstmcore.cli import cli, commands
from lstmcore.layers import GRU, LSTM, Dense, Input
from lstmcore.models import Sequential, load_model
from lstmcore.random import Stream, set_random_seed


def lstmcore(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def process(*arguments: object, code: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    start = ["-m", "lstmcore"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def refused(result: Result, status: int, *words: str) -> None:
    """One clear line, no traceback, nothing on stdout."""
    assert result.exit_code == status, result.output
    assert "Error: " in result.stderr and "Traceback" not in result.stderr
    assert not result.stdout
    for word in words:
        assert word in result.stderr


@pytest.fixture
def model() -> Sequential:
    set_random_seed(3)
    return Sequential([Input((6, 3)), LSTM(4, return_sequences=True), GRU(5), Dense(2)], name="small")


@pytest.fixture
def x() -> np.ndarray[Any, Any]:
    return Stream(5).normal((40, 6, 3)).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path, model: Sequential, x: np.ndarray[Any, Any]) -> Path:
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "m.json").write_text(model.to_json())
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "one.npz", data=x)
    np.savez(tmp_path / "two.npz", first=x, second=x[:7])
    return tmp_path


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes an installed package: a module, and metadata that name it in an entry-point group."""
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))

    def make(group: str, name: str, module: str, source: str, attribute: str = "") -> None:
        (root / f"{module}.py").write_text(source)
        info = root / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}{attribute and ':' + attribute}\n")

    return make


BACKEND = """
from lstmcore import plugins
from lstmcore.contract import Backend
from lstmcore.hookspecs import BackendPlugin, hookimpl

def load():
    {load}

@hookimpl
def lstmcore_backend():
    return BackendPlugin("{name}", load, 1, requires={requires}, install="pip install {name}-engine")
"""

WRONG = """
    class Wrong(plugins.load("numpy")):
        name = "wrongly"
        def numpy(self, tensor):
            return super().numpy(tensor) * 1.001
    return Wrong
"""


# The group.


@pytest.mark.parametrize("name", commands.OWN)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = lstmcore(name, "--help")
    assert result.exit_code == 0
    assert f"  lstmcore {name}" in result.stdout.partition("Example")[2]


def test_the_list_of_commands_comes_from_the_table_and_the_metadata() -> None:
    result = lstmcore("--help")
    assert result.exit_code == 0
    for name in (*commands.OWN, "conformance"):
        assert f"\n  {name} " in result.stdout


LOADED = "import sys, lstmcore.cli as c\ntry: c.cli({arguments})\nfinally: print('LOADED', *sys.modules)"


@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        (["--help"], {"numpy", "rich", "pluggy", "torch", "tensorflow", "keras", "lstmcore_conformance"}),
        (["--version"], {"numpy", "rich", "pluggy", "torch", "tensorflow", "keras", "lstmcore_conformance"}),
        (["backends"], {"torch", "tensorflow", "keras", "pooch", "lstmcore_conformance", "lstmcore.models"}),
    ],
)
def test_nothing_heavy_is_loaded(arguments: list[str], never: set[str]) -> None:
    done = process(code=LOADED.format(arguments=arguments))
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert "lstmcore.cli.commands" in loaded, done.stderr
    assert not loaded & never


def test_python_m_is_the_same_command() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lstmcore {weights_version()}\n", "")


def weights_version() -> str:
    import lstmcore

    return lstmcore.__version__


def test_an_unknown_command_shows_near_misses() -> None:
    refused(lstmcore("sumary"), 2, "'sumary'", "Did you mean 'summary'")


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plugins, "backends", interrupt)
    result = lstmcore("backends")
    assert result.exit_code == 130 and "Traceback" not in result.output


def test_an_unforeseen_exception_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(plugins, "backends", fail)
    refused(lstmcore("backends"), 1, "ZeroDivisionError: no such luck", "LSTMCORE_DEBUG=1")


def test_debug_shows_the_traceback(files: Path) -> None:
    (files / "bad.json").write_text("{}")
    assert "Traceback" not in process("summary", files / "bad.json").stderr
    done = process("summary", files / "bad.json", LSTMCORE_DEBUG="1")
    assert done.returncode == 1 and "Traceback" in done.stderr and "Error: bad.json" in done.stderr


def test_a_broken_pipe_is_quiet(files: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "lstmcore", "inspect", str(files / "m.safetensors")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""


def test_a_pipe_gets_no_escape_codes(files: Path) -> None:
    for arguments in (["--help"], ["backends"], ["inspect", files / "m.safetensors"], ["predct"]):
        done = process(*arguments, FORCE_COLOR="", TERM="xterm-256color")
        assert done.stdout + done.stderr and "\x1b" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX'")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_terminal_gets_colour_and_what_it_can_show(encoding: str) -> None:
    import pty

    main, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": encoding, "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "lstmcore", "backends"], stdout=terminal, stderr=terminal, env=environment
    ) as running:
        assert running.wait(timeout=60) == 0
    os.close(terminal)
    text = os.read(main, 1 << 16)
    os.close(main)
    assert b"\x1b[" in text and b"numpy" in text
    assert text.isascii() == (encoding == "ascii")


# Commands of other packages.


def test_a_contributed_command_runs(plugin: Any) -> None:
    source = "import click\n@click.command()\ndef hello():\n    '''Says hello.'''\n    click.echo('hello there')\n"
    plugin("lstmcore.commands", "hello", "hello_command", source, "hello")
    assert lstmcore("hello").stdout == "hello there\n"
    assert "Says hello." in lstmcore("hello", "--help").stdout
    assert "hello" in lstmcore("--help").stdout


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise OSError('it is broken')\n", "OSError: it is broken"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("other = 1\n", "AttributeError"),
        ("hello = 'text'\n", "expected a click.Command, found str"),
    ],
)
def test_a_broken_command_breaks_no_other(plugin: Any, source: str, words: str) -> None:
    plugin("lstmcore.commands", "hello", "broken_command", source, "hello")
    sys.modules.pop("broken_command", None)
    assert "hello" in lstmcore("--help").stdout
    assert lstmcore("backends").exit_code == 0
    refused(lstmcore("hello"), 1, words, "'hello'", "broken_command")
    sys.modules.pop("broken_command", None)


def test_our_own_names_cannot_be_taken(plugin: Any) -> None:
    plugin("lstmcore.commands", "backends", "takes_backends", "raise OSError\n", "command")
    assert lstmcore("backends").exit_code == 0
    assert "Not used: 'backends' from takes_backends:command" in lstmcore("--help").stdout


def test_completion_loads_no_command(plugin: Any) -> None:
    plugin("lstmcore.commands", "hello", "incomplete_command", "raise OSError\n", "hello")
    found = cli.shell_complete(click.Context(cli), "")
    assert {"demo", "hello"} <= {item.value for item in found}


# backends


def test_backends_says_how_to_add_what_is_missing(plugin: Any) -> None:
    plugin("lstmcore.backends", "absent", "absent_plugin", BACKEND.format(name="absent", requires=("nowhere",), load=0))
    plugin("lstmcore.backends", "broken", "broken_plugin", "raise OSError('too old')\n")
    result = lstmcore("backends")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert lines["absent"].split()[1:] == ["missing", "pip", "install", "absent-engine"]
    assert "OSError: too old" in lines["broken"] and "available" in lines["numpy"]
    rows = {row["name"]: row for row in json.loads(lstmcore("backends", "--json").stdout)}
    assert rows["absent"]["status"] == "missing" and rows["absent"]["install"] == "pip install absent-engine"
    assert rows["numpy"]["reference"] and "devices" not in rows["numpy"]


def test_backends_probe_loads_and_reports(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = "raise RuntimeError('no driver')"
    plugin(
        "lstmcore.backends",
        "driverless",
        "driverless_plugin",
        BACKEND.format(name="driverless", requires=(), load=load),
    )
    wanted = [info for info in plugins.backends() if info.name in ("numpy", "driverless")]
    monkeypatch.setattr(plugins, "backends", lambda: wanted)
    result = lstmcore("backends", "--probe", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["numpy"]["devices"] == ["cpu"] and "Lstm" in rows["numpy"]["capabilities"]["ops"]
    assert rows["driverless"]["status"] == "broken" and "no driver" in rows["driverless"]["error"]
    assert result.exit_code == 1
    assert "no driver" in lstmcore("backends", "--probe").stdout


# summary


def test_summary_prints_what_the_model_prints(files: Path, model: Sequential) -> None:
    printed: list[str] = []
    model.summary(print_fn=printed.append)
    for name in ("m.safetensors", "m.json"):
        result = lstmcore("summary", files / name)
        assert result.exit_code == 0
        assert "Total params: 305" in result.stdout and "gru (GRU)" in result.stdout
        assert [line for line in result.stdout.splitlines() if "(GRU)" in line] == [
            line for line in "\n".join(printed).splitlines() if "(GRU)" in line
        ]
    assert model.count_params() == 305


def test_summary_as_data(files: Path) -> None:
    for name in ("m.safetensors", "m.json"):
        facts = json.loads(lstmcore("summary", files / name, "--json").stdout)
        assert (facts["name"], facts["params"], facts["input_shape"]) == ("small", 305, [None, 6, 3])
        assert [layer["params"] for layer in facts["layers"]] == [128, 165, 12]
        assert facts["layers"][1]["output_shape"] == [None, 5]
        assert facts["layers"][0]["weights"]["kernel"] == [3, 16]


def test_summary_of_a_model_without_an_input_shape(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(Sequential([LSTM(4)]).to_json())
    facts = json.loads(lstmcore("summary", tmp_path / "m.json", "--json").stdout)
    assert not facts["built"] and facts["layers"][0]["params"] is None
    assert "unbuilt" in lstmcore("summary", tmp_path / "m.json").stdout


def test_summary_refuses_what_is_no_model(files: Path) -> None:
    (files / "bad.json").write_text('{"class_name": "Sequentiell", "config": {}}')
    (files / "latin.json").write_bytes(b'{"name": "\xe9"}')
    refused(lstmcore("summary", files / "bad.json"), 1, "bad.json", "Sequentiell")
    refused(lstmcore("summary", files / "latin.json"), 1, "latin.json")
    refused(lstmcore("summary", files / "x.npy"), 1, "x.npy", "NumPy .npy file")
    refused(lstmcore("summary", files / "absent.json"), 2, "absent.json")
    refused(lstmcore("summary", files), 1, "directory")


# predict


def test_predict_writes_what_the_model_predicts(files: Path, model: Sequential, x: np.ndarray[Any, Any]) -> None:
    y = files / "y.npy"
    for given in (("x.npy",), ("one.npz",), ("two.npz", "--key", "first")):
        result = lstmcore("predict", files / "m.safetensors", "--input", files / given[0], *given[1:], "--output", y)
        assert result.exit_code == 0, result.output
        assert "(40, 2)" in result.stdout and "numpy" in result.stdout
        assert np.array_equal(np.load(y), model.predict(x))
        y.unlink()
    assert not [path for path in files.iterdir() if path.suffix == ".tmp"]


def test_predict_takes_a_backend_and_a_batch_size(files: Path, model: Sequential, x: np.ndarray[Any, Any]) -> None:
    y = files / "y.npy"
    arguments = ["--backend", "numpy:cpu", "--batch-size", 7, "--json"]
    result = lstmcore("predict", files / "m.safetensors", "--input", files / "x.npy", "--output", y, *arguments)
    facts = json.loads(result.stdout)
    assert (facts["backend"], facts["device"], facts["samples"]) == ("numpy", "cpu", 40)
    assert [output["shape"] for output in facts["outputs"].values()] == [[40, 2]]
    assert np.array_equal(np.load(y), model.predict(x, batch_size=7))


def test_predict_several_outputs_to_npz(tmp_path: Path, x: np.ndarray[Any, Any]) -> None:
    model = Sequential([Input((6, 3)), LSTM(4, return_state=True)])
    model.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", x)
    start = ["predict", tmp_path / "m.safetensors", "--input", tmp_path / "x.npy", "--output"]
    refused(lstmcore(*start, tmp_path / "y.npy"), 2, "3 outputs", ".npz")
    assert lstmcore(*start, tmp_path / "y.npz").exit_code == 0
    with np.load(tmp_path / "y.npz") as found:
        for name, y in zip(model.program.outputs, model.predict(x), strict=True):
            assert np.array_equal(found[name], y)


def make_bad_arrays(folder: Path, x: np.ndarray[Any, Any]) -> None:
    np.save(folder / "flat.npy", x[0])
    np.save(folder / "text.npy", np.array(["a", "b"]))
    np.save(folder / "objects.npy", np.array([{}, 1], object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:-1])
    (folder / "header.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': oops  ")
    (folder / "huge.npy").write_bytes((folder / "x.npy").read_bytes().replace(b"(40, 6, 3)", b"(9**9, 3) "))
    (folder / "cut.npz").write_bytes((folder / "one.npz").read_bytes()[:-50])
    (folder / "words.npy").write_text("1, 2, 3")
    (folder / "empty.npy").write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("flat.npy", 2, "has 2 axes"),
        ("text.npy", 2, "not an array of numbers"),
        ("objects.npy", 1, "pickled Python objects"),
        ("cut.npy", 1, "bytes of data"),
        ("header.npy", 1, "damaged"),
        ("huge.npy", 1, "damaged"),
        ("cut.npz", 1, "damaged"),
        ("words.npy", 1, "looks like a text file"),
        ("empty.npy", 1, "is empty"),
        ("m.safetensors", 1, "not a .npy or .npz file"),
        ("two.npz", 2, "first, second"),
        ("absent.npy", 2, "does not exist"),
    ],
)
def test_predict_refuses_a_bad_input(files: Path, x: np.ndarray[Any, Any], name: str, status: int, words: str) -> None:
    make_bad_arrays(files, x)
    y = files / "y.npy"
    result = lstmcore("predict", files / "m.safetensors", "--input", files / name, "--output", y)
    refused(result, status, words, name if status == 1 else "")
    assert not y.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "two.npz", "--key", "third", "--output", "y.npy"], "first, second"),
        (["--input", "x.npy", "--key", "first", "--output", "y.npy"], "--key is for .npz"),
        (["--input", "x.npy", "--output", "x.npy"], "the file that is read"),
        (["--input", "x.npy", "--output", "alias.npy"], "the file that is read"),
        (["--input", "x.npy", "--output", "y.txt"], ".npy or .npz"),
        (["--input", "x.npy", "--output", "nowhere/y.npy"], "no directory nowhere"),
        (["--input", "x.npy"], "--output"),
        (["--output", "y.npy"], "--input"),
        (["--input", "x.npy", "--output", "y.npy", "--batch-size", "0"], "batch-size"),
        (["--input", "x.npy", "--output", "y.npy", "--backend", "numppy"], "Did you mean 'numpy'"),
        (["--input", "x.npy", "--output", "y.npy", "--backend", "numpy:"], "names no device"),
        (["--input", "x.npy", "--output", "y.npy", "--backend", "numpy:tpu"], "no device 'tpu'"),
    ],
)
def test_predict_refuses_wrong_use(
    files: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(files)
    os.link("x.npy", "alias.npy")
    before = (files / "x.npy").read_bytes()
    refused(lstmcore("predict", "m.safetensors", *arguments), 2, words)
    assert (files / "x.npy").read_bytes() == before and not (files / "y.npy").exists()


def test_predict_obeys_the_environment(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSTMCORE_BACKEND", "numppy")
    start = ["predict", files / "m.safetensors", "--input", files / "x.npy", "--output", files / "y.npy"]
    refused(lstmcore(*start), 2, "Did you mean 'numpy'")
    assert lstmcore(*start, "--backend", "numpy").exit_code == 0


def test_a_damaged_model_is_refused(files: Path) -> None:
    whole = (files / "m.safetensors").read_bytes()
    (files / "cut.safetensors").write_bytes(whole[:-1])
    (files / "bent.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for name in ("cut", "bent"):
        path = files / f"{name}.safetensors"
        for start in (["predict", path, "--output", files / "y.npy"], ["compare", path]):
            refused(lstmcore(*start, "--input", files / "x.npy"), 1, path.name)
        refused(lstmcore("inspect", path), 1, path.name)
    assert not (files / "y.npy").exists()


# compare


def test_compare_agrees(files: Path) -> None:
    start = ["compare", files / "m.safetensors", "--input", files / "x.npy", "--backend", "numpy"]
    result = lstmcore(*start)
    assert result.exit_code == 0 and "agrees" in result.stdout and "Lstm" in result.stdout
    facts = json.loads(lstmcore(*start, "--json").stdout)
    assert facts["ok"] and [row["backend"] for row in facts["rows"]] == ["numpy"] and facts["rows"][0]["error"] < 16


def test_compare_finds_the_engine_that_differs(files: Path, plugin: Any) -> None:
    plugin("lstmcore.backends", "wrongly", "wrong_plugin", BACKEND.format(name="wrongly", requires=(), load=WRONG))
    start = ["compare", files / "m.safetensors", "--input", files / "x.npy", "--backend", "wrongly"]
    result = lstmcore(*start, "--backend", "numpy")
    assert result.exit_code == 1 and "DIFFERS" in result.stdout and "agrees" in result.stdout
    facts = json.loads(lstmcore(*start, "--json").stdout)
    assert not facts["ok"] and facts["rows"][0]["status"] == "DIFFERS"


def test_compare_lists_what_is_missing(files: Path, plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin("lstmcore.backends", "absent", "absent_plugin", BACKEND.format(name="absent", requires=("nowhere",), load=0))
    start = ["compare", files / "m.safetensors", "--input", files / "x.npy"]
    named = lstmcore(*start, "--backend", "absent", "--backend", "numpy")
    assert named.exit_code == 1 and "absent  pip install absent-engine" in named.stdout
    here = [info for info in plugins.backends() if info.name in ("numpy", "absent")]
    monkeypatch.setattr(plugins, "backends", lambda: here)
    result = lstmcore(*start)
    assert result.exit_code == 0 and "absent  pip install absent-engine" in result.stdout


def test_compare_refuses_wrong_use(files: Path) -> None:
    start = ["compare", files / "m.safetensors", "--input"]
    refused(lstmcore(*start, files / "x.npy", "--backend", "numpi"), 2, "Did you mean 'numpy'")
    refused(lstmcore(*start, files / "two.npz"), 2, "--key")
    np.save(files / "wide.npy", np.zeros((2, 6, 4), np.float32))
    refused(lstmcore(*start, files / "wide.npy"), 2, "expected (batch, 6, 3)")


# inspect


def rows_of(path: Path, *options: str) -> dict[str, dict[str, Any]]:
    facts = json.loads(lstmcore("inspect", path, "--json", *options).stdout)
    return {row["name"]: row for row in facts["weights"]}


def test_inspect_shows_every_weight_gate_by_gate(files: Path, model: Sequential) -> None:
    rows = rows_of(files / "m.safetensors")
    assert list(rows) == list(model.weights)
    kernel = model.weights["lstm/kernel"]
    assert [gate["name"] for gate in rows["lstm/kernel"]["gates"]] == list("ifco")
    for k, gate in enumerate(rows["lstm/kernel"]["gates"]):
        part = kernel[:, 4 * k : 4 * k + 4]
        assert gate["shape"] == [3, 4]
        assert (gate["min"], gate["max"]) == (float(part.min()), float(part.max()))
        assert gate["mean"] == pytest.approx(float(part.mean(dtype=np.float64)))
    assert [gate["mean"] for gate in rows["lstm/bias"]["gates"]] == [0, 1, 0, 0]
    assert rows["dense/kernel"]["gates"] == [] and rows["dense/kernel"]["shape"] == [5, 2]
    assert rows["dense/kernel"]["mean"] == pytest.approx(float(model.weights["dense/kernel"].mean(dtype=np.float64)))


@pytest.mark.parametrize(
    ("reset_after", "labels"),
    [
        (True, ["input z", "input r", "input h", "recurrent z", "recurrent r", "recurrent h"]),
        (False, ["z", "r", "h"]),
    ],
)
def test_inspect_shows_the_gru_bias_row_by_row(tmp_path: Path, reset_after: bool, labels: list[str]) -> None:
    model = Sequential([Input((6, 3)), GRU(2, reset_after=reset_after)])
    bias = np.arange(2 * 3 * 2 if reset_after else 3 * 2).reshape((2, 6) if reset_after else (6,))
    model.set_weights([*model.get_weights()[:2], bias])
    model.save(tmp_path / "m.safetensors")
    gates = rows_of(tmp_path / "m.safetensors")["gru/bias"]["gates"]
    assert [gate["name"] for gate in gates] == labels
    assert [gate["mean"] for gate in gates] == [2 * k + 0.5 for k in range(len(labels))]
    assert all(gate["shape"] == [2] for gate in gates)


def test_inspect_reads_the_numbers_of_large_files_when_asked(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstmcore.cli.inspect.SMALL", (files / "m.safetensors").stat().st_size - 1)
    assert all("mean" not in row for row in rows_of(files / "m.safetensors").values())
    assert all("mean" in row for row in rows_of(files / "m.safetensors", "--values").values())


def test_inspect_counts_what_is_not_finite(files: Path, model: Sequential) -> None:
    text = lstmcore("inspect", files / "m.safetensors").stdout
    assert "nan" not in text
    values = model.get_weights()
    values[0][1, 5] = np.nan
    values[0][2, 15] = -np.inf
    values[-1][:] = np.inf
    model.set_weights(values)
    model.save(files / "m.safetensors")
    rows = rows_of(files / "m.safetensors")
    assert (rows["lstm/kernel"]["nan"], rows["lstm/kernel"]["inf"]) == (1, 1)
    assert [gate["nan"] for gate in rows["lstm/kernel"]["gates"]] == [0, 1, 0, 0]
    assert rows["dense/bias"] == rows["dense/bias"] | {"min": None, "mean": None, "max": None, "inf": 2}
    assert "nan" in lstmcore("inspect", files / "m.safetensors").stdout


def test_inspect_tells_of_the_file(files: Path) -> None:
    path = files / "m.safetensors"
    facts = json.loads(lstmcore("inspect", path, "--json").stdout)
    assert (facts["model"], facts["tensors"], facts["format_version"]) == ("small", 8, 1)
    assert facts["bytes"] == path.stat().st_size
    text = lstmcore("inspect", path).stdout
    assert f"{path.stat().st_size:,} bytes, 8 tensors" in text and "model small" in text
    assert "lstm/recurrent_kernel" in text and "(2, 15)" in text


def test_inspect_no_values_reads_the_header_alone(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr(weights.WeightFile, "read", never)
    rows = rows_of(files / "m.safetensors", "--no-values")
    assert [gate["shape"] for gate in rows["lstm/kernel"]["gates"]] == [[3, 4]] * 4
    assert "min" not in rows["lstm/kernel"]
    text = lstmcore("inspect", files / "m.safetensors", "--no-values").stdout
    assert "lstm/kernel" in text and "mean" not in text
    assert lstmcore("inspect", files / "m.safetensors").exit_code == 1


def test_inspect_lists_even_what_it_cannot_use(files: Path, model: Sequential) -> None:
    arrays = dict(model.weights)
    other = Sequential([Input((6, 3)), LSTM(5)]).to_json()
    weights.write(files / "other.safetensors", arrays, other)
    weights.write(files / "none.safetensors", arrays, '{"class_name": "Nothing", "config": {}}')
    for name, words in (("other", "not those of its model: dense/bias"), ("none", "cannot be used")):
        result = lstmcore("inspect", files / f"{name}.safetensors")
        assert result.exit_code == 1 and words in result.stderr
        assert "lstm/kernel" in result.stdout and "gru/bias" in result.stdout


def test_names_in_a_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    Sequential([Input((6, 3)), LSTM(2)], name="[bold]title").save(tmp_path / "m.safetensors")
    for name in ("inspect", "summary"):
        assert "[bold]title" in lstmcore(name, tmp_path / "m.safetensors").stdout


def test_control_characters_in_a_file_are_refused_and_not_printed(tmp_path: Path) -> None:
    model = Sequential([Input((6, 3)), LSTM(2)], name="m")
    text = model.to_json().replace('"name": "m"', '"name": "m\\u001b]0;title\\u0007"')
    weights.write(tmp_path / "m.safetensors", model.weights, text)
    for name in ("inspect", "summary"):
        result = lstmcore(name, tmp_path / "m.safetensors")
        assert result.exit_code == 1
        assert "title" in result.stderr and "\x1b" not in result.stderr + result.stdout


# What engines print from native code.

NOISY = """
import os, sys, warnings
from lstmcore.cli.quiet import quiet_engines
try:
    with quiet_engines():
        os.write(2, b"native note\\n")
        print("python note", file=sys.stderr)
        warnings.warn("python warning")
        if {fails}:
            raise RuntimeError("engine failed")
except RuntimeError:
    pass
os.write(2, b"afterwards\\n")
print("afterwards too", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("fails", "debug", "shown"), [(False, "", False), (True, "", True), (False, "1", True), (False, "0", False)]
)
def test_native_notes_are_held_back_unless_needed(fails: bool, debug: str, shown: bool) -> None:
    done = process(code=NOISY.format(fails=fails), LSTMCORE_DEBUG=debug)
    assert done.returncode == 0 and done.stdout == ""
    assert ("native note" in done.stderr) == shown
    for word in ("python note", "python warning", "afterwards", "afterwards too"):
        assert word in done.stderr


def test_a_closed_stderr_is_no_reason_to_fail(files: Path) -> None:
    code = "import os, sys; os.close(2); from lstmcore.cli import cli; cli(sys.argv[1:])"
    arguments = ["predict", files / "m.safetensors", "--input", files / "x.npy", "--output", files / "y.npy"]
    assert process(*arguments, code=code).returncode == 0
    assert load_model(files / "m.safetensors").name == "small" and (files / "y.npy").exists()


def test_inspect_shows_a_spec_in_as_many_lines_as_it_has(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    weights = {"enc.weight_ih_l0": (20, 3), "enc.weight_hh_l0": (20, 5), "enc.bias_ih_l0": 20, "enc.bias_hh_l0": 20}
    save_file({name: np.ones(shape, "float32") for name, shape in weights.items()}, tmp_path / "net.safetensors")
    shown = lstmcore("inspect", tmp_path / "net.safetensors").output
    assert "\nlc.Sequential([\n    Input((None, 3)),\n    LSTM(5),  # or return_sequences=True\n])\n" in shown
