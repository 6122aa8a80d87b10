"""The example of a third-party backend: installed as a user would, and run through the suite."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "new_backend"
ALLOWED = {"lstmcore", "lstmcore.contract", "lstmcore.hookspecs", "lstmcore_einsum.engine", "math", "numpy"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(EXAMPLE)], check=True, cwd=target)
    return target


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-W", "error", "-m", "lstmcore", *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, check=False)


def test_the_installed_example_passes_the_suite(installed: Path) -> None:
    done = run(installed, "conformance", "--backend", "einsum", "--profile", "smoke", "--json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    told = json.loads(done.stdout)
    assert told["passed"] > 100
    assert told["failed"] == 0


def test_what_it_lacks_is_named(installed: Path) -> None:
    """A hundred lines hold the recurrent ops and not the whole opset; the suite says so for each case."""
    asked = ("conformance", "--backend", "einsum", "--profile", "smoke", "--level", "forward", "--json", "--strict")
    done = run(installed, *asked)
    assert done.returncode == 1
    lacking = [result for result in json.loads(done.stdout)["cases"] if result["status"] == "unsupported"]
    assert lacking
    assert all("it has no kernel for" in result["message"] for result in lacking)


def test_that_it_does_not_train_is_told_once(installed: Path) -> None:
    done = run(installed, "conformance", "--backend", "einsum", "--profile", "smoke")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stdout.count("backend 'einsum' does not train") == 1
    assert "training: 0 passed, 0 failed" in done.stdout


def test_it_is_listed_like_any_other(installed: Path) -> None:
    done = run(installed, "backends", "--json")
    assert done.returncode == 0, done.stderr
    assert "einsum" in done.stdout


def test_it_stays_short_and_uses_public_modules_only() -> None:
    files = list(EXAMPLE.rglob("*.py"))
    assert sum(len(file.read_text().splitlines()) for file in files) <= 100
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert set(names) <= ALLOWED, file


def test_its_plugin_module_imports_no_engine() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import lstmcore_einsum; "
        "print('lstmcore_einsum.engine' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLE)], capture_output=True, text=True, check=True, cwd=EXAMPLE.parent
    )
    assert done.stdout.strip() == "False"
