"""Backends found, loaded, chosen: and what a bad plugin can and cannot do."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import plugins
from lstmcore.errors import (
    BrokenBackendError,
    DeviceError,
    MissingBackendError,
    UnknownBackendError,
    UnsupportedOp,
)
from lstmcore.layers import LSTM, Dense, Input
from lstmcore.models import Sequential

GOOD = """
from lstmcore.contract import Backend
from lstmcore.hookspecs import BackendPlugin, hookimpl
from lstmcore_numpy.backend import NumpyBackend

class Other(NumpyBackend):
    name = "{name}"

@hookimpl
def lstmcore_backend():
    return BackendPlugin(name="{name}", load=lambda: Other, api_version={api}, requires={requires},
                         install="pip install the-framework")
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one backend plugin on the path, as pip would lay it out."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def put(name: str, source: str, module: str = "", distribution: str = "", group: str = plugins.GROUP) -> None:
        module = module or f"plugin_{name}"
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution or module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution or module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")

    yield put
    for module in modules:
        sys.modules.pop(module, None)
    for name in [n for n in plugins._classes if n not in ("numpy", "torch", "tensorflow")]:
        del plugins._classes[name]
    for key in [k for k in plugins._instances if k[0] not in ("numpy", "torch", "tensorflow")]:
        del plugins._instances[key]


def row(name: str, status: str) -> lc.BackendInfo:
    return next(info for info in lc.backends() if (info.name, info.status) == (name, status))


def works(name: str) -> bool:
    model = Sequential([Input((3, 2)), LSTM(4)])
    x = np.ones((2, 3, 2), np.float32)
    return bool(np.allclose(model.predict(x, backend=name), model.predict(x, backend="numpy")))


def test_the_built_in_backends_are_listed_with_versions() -> None:
    infos = {info.name: info for info in lc.backends()}
    assert {"numpy", "torch", "tensorflow"} <= set(infos)
    assert infos["numpy"].status == "available"
    assert infos["numpy"].version == np.__version__
    assert infos["numpy"].devices == ("cpu",)
    assert infos["numpy"].capabilities["ops"]["Lstm"] == ["hoisted"]
    assert infos["numpy"].capabilities["dtypes"] == ["float32", "float64"]


def test_a_third_party_backend_is_listed_and_runs(install: Install) -> None:
    install("acme", GOOD.format(name="acme", api=1, requires=()))
    assert row("acme", "available").version == "1.0"
    assert works("acme")


def test_a_plugin_that_raises_on_import_is_a_row_and_harms_no_other(install: Install) -> None:
    install("acme", "raise RuntimeError('no luck today')")
    assert "RuntimeError: no luck today" in row("acme", "broken").error
    with pytest.raises(BrokenBackendError, match="no luck today"):
        lc.set_backend("acme") or plugins.get("acme")
    lc.set_backend(None)
    assert works("numpy")


def test_even_exiting_on_import_is_only_a_row(install: Install) -> None:
    install("acme", "import sys\nsys.exit('odd')")
    assert "SystemExit: odd" in row("acme", "broken").error


def test_a_plugin_for_another_contract_is_a_row(install: Install) -> None:
    install("acme", GOOD.format(name="acme", api=99, requires=()))
    assert "contract version 99; this lstmcore has 1" in row("acme", "broken").error
    with pytest.raises(BrokenBackendError, match="contract version 99"):
        plugins.get("acme")


def test_a_plugin_without_its_framework_is_missing_and_says_what_adds_it(install: Install) -> None:
    install("acme", GOOD.format(name="acme", api=1, requires=("no_such_framework",)))
    info = row("acme", "missing")
    assert "no_such_framework" in info.error
    assert info.install == "pip install the-framework"
    with pytest.raises(MissingBackendError, match="pip install the-framework"):
        plugins.get("acme")


def test_a_plugin_without_the_hook_is_a_row(install: Install) -> None:
    install("acme", "x = 1")
    assert "must implement the hook lstmcore_backend" in row("acme", "broken").error


def test_a_plugin_that_answers_something_else_is_a_row(install: Install) -> None:
    source = "from lstmcore.hookspecs import hookimpl\n@hookimpl\ndef lstmcore_backend():\n    return 'me'\n"
    install("acme", source)
    assert "return one BackendPlugin" in row("acme", "broken").error


def test_a_plugin_whose_load_fails_is_broken_when_asked_for(install: Install) -> None:
    source = GOOD.format(name="acme", api=1, requires=()).replace("lambda: Other", "lambda: 1 / 0")
    install("acme", source)
    with pytest.raises(BrokenBackendError, match="ZeroDivisionError"):
        plugins.get("acme")


def test_a_plugin_must_use_its_entry_points_name(install: Install) -> None:
    install("acme", GOOD.format(name="other", api=1, requires=()))
    assert "calls itself 'other'" in row("acme", "broken").error


@pytest.mark.parametrize("distribution", ["aaa-squatter", "zzz-squatter"])
def test_a_name_already_taken_is_a_row_and_its_holder_still_works(install: Install, distribution: str) -> None:
    install("numpy", GOOD.format(name="numpy", api=1, requires=()), "squatter", distribution)
    assert "is taken by 'lstmcore_numpy' of distribution 'lstmcore'" in row("numpy", "broken").error
    assert row("numpy", "available").version == np.__version__
    assert type(plugins.get("numpy")).__module__ == "lstmcore_numpy.backend"


def test_of_two_strangers_with_one_name_the_first_by_alphabet_holds_it(install: Install) -> None:
    install("acme", GOOD.format(name="acme", api=1, requires=()), "second", "bbb")
    install("acme", "raise RuntimeError", "first", "aaa")
    broken = [info for info in lc.backends() if info.name == "acme"]
    assert [info.status for info in broken] == ["broken", "broken"]
    assert "does not load" in broken[0].error and "is taken by 'first'" in broken[1].error


def test_an_unknown_backend_lists_near_misses_and_all_names() -> None:
    with pytest.raises(UnknownBackendError, match=r"unknown backend 'pytorch'\. Did you mean 'torch'\?.*numpy"):
        plugins.get("pytorch")
    with pytest.raises(UnknownBackendError, match="tensorflow"):
        lc.set_backend("tensorfow")
    with pytest.raises(UnknownBackendError), lc.use_backend("nump"):
        pass


@pytest.mark.parametrize("bad", ["", "  ", 3, None.__class__, "numpy:"])
def test_what_is_no_backend_name_is_refused(bad: object) -> None:
    with pytest.raises(UnknownBackendError):
        plugins.get(bad)  # type: ignore[arg-type]


def test_an_absent_device_lists_those_present() -> None:
    with pytest.raises(DeviceError, match=r"'numpy' has no device 'cuda:0' here\. Present: cpu"):
        plugins.get("numpy:cuda:0")
    model = Sequential([Input((3, 2)), LSTM(4)])
    with pytest.raises(DeviceError, match="Present: cpu"):
        model.predict(np.ones((1, 3, 2), np.float32), backend="torch:cuda:7")
    with pytest.raises(DeviceError, match="Present: cpu"):
        plugins.get("tensorflow:gpu:7")


def test_a_device_reaches_the_backend() -> None:
    assert plugins.get("numpy:cpu").device == "cpu"
    assert plugins.get("torch:cpu").device == "cpu"
    assert plugins.get("torch:cpu") is plugins.get("torch:cpu")


def test_choice_by_call_context_process_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lc.get_backend() == "numpy"
    monkeypatch.setenv("LSTMCORE_BACKEND", "torch:cpu")
    assert lc.get_backend() == "torch:cpu" and plugins.get().name == "torch"
    lc.set_backend("tensorflow")
    try:
        assert lc.get_backend() == "tensorflow"
        with lc.use_backend("numpy"):
            assert lc.get_backend() == "numpy"
            with lc.use_backend("torch"):
                assert plugins.get().name == "torch"
            assert lc.get_backend() == "numpy"
            assert plugins.get("tensorflow").name == "tensorflow"
        assert lc.get_backend() == "tensorflow"
    finally:
        lc.set_backend(None)
    assert lc.get_backend() == "torch:cpu"


def test_a_context_is_this_threads_own() -> None:
    seen: list[str] = []
    with lc.use_backend("torch"):
        thread = threading.Thread(target=lambda: seen.append(lc.get_backend()))
        thread.start()
        thread.join()
    assert seen == ["numpy"]


def test_the_environment_variable_reaches_a_new_process() -> None:
    code = "import lstmcore as lc; print(lc.get_backend())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"LSTMCORE_BACKEND": "tensorflow", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "tensorflow"


ORDERS = ["numpy torch tensorflow", "tensorflow torch numpy", "torch tensorflow numpy"]


@pytest.mark.parametrize("order", ORDERS)
def test_several_in_one_process_in_any_order_back_and_forth(order: str) -> None:
    code = f"""
import numpy as np, lstmcore as lc
from lstmcore.layers import LSTM, Dense, Input
lc.set_random_seed(3)
model = lc.Sequential([Input((4, 3)), LSTM(5, return_sequences=True), LSTM(2)])
x = np.linspace(-1, 1, 24, dtype="float32").reshape(2, 4, 3)
names = "{order}".split()
first = [model.predict(x, backend=name) for name in names]
again = [model.predict(x, backend=name) for name in reversed(names)][::-1]
assert all((a == b).all() for a, b in zip(first, again))
assert max(abs(y - first[0]).max() for y in first) < 1e-6
print("same")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip().endswith("same"), run.stderr


def test_an_op_without_a_kernel_is_refused_by_name() -> None:
    backend = plugins.get("numpy")
    poorer = type("Poorer", (type(backend),), {"name": "poorer", "kernels": dict(list(backend.kernels.items())[:1])})
    model = Sequential([Input((3, 2)), LSTM(4), Dense(2)])
    with pytest.raises(UnsupportedOp, match=r"'poorer' cannot run Lstm\(units=4\) \(node 'lstm'\).*no kernel for Lstm"):
        model.predict(np.ones((1, 3, 2), np.float32), backend=poorer())


FORMATS = """
from lstmcore.hookspecs import Format, Judge, hookimpl

@hookimpl
def lstmcore_formats():
    return [Format("notes", (".notes",), reads="{name}:reads", writes="{name}:writes")]

@hookimpl
def lstmcore_judges():
    return [Judge("notes", "a reader", "{name}:runs", requires=("no_such_module",))]

def reads(path, weights, spec, tone=None):
    from lstmcore.models import model_from_json
    assert tone == "loud"
    return model_from_json(path.read_text())

def writes(model, path):
    path.write_text(model.to_json())
"""


def test_a_plugin_adds_a_format_and_its_judge(install: Install, tmp_path: Path) -> None:
    install("notes", FORMATS.replace("{name}", "plugin_notes"), group=plugins.FORMATS_GROUP)
    model = Sequential([Input((None, 2)), LSTM(3)])
    lc.export_model(model, tmp_path / "m.notes")
    assert lc.import_model(tmp_path / "m.notes", tone="loud").to_json() == model.to_json()
    (judge,) = [row for row in plugins.files().judges if row.format == "notes"]
    assert plugins.lacks(judge) == ("no_such_module",)


def test_a_plugin_of_formats_that_raises_harms_no_other(install: Install, tmp_path: Path) -> None:
    before = plugins.files()
    install("hurt", "raise RuntimeError('ouch')", group=plugins.FORMATS_GROUP)
    found = plugins.files()
    assert found.formats == before.formats
    assert "ouch" in found.broken[0]
    assert "plugin_hurt" in found.broken[0]
    lc.export_model(Sequential([Input((None, 2)), LSTM(3)]), tmp_path / "m.onnx")
