"""The house rules: who may import whom, what the core may not name, and what importing it may not load."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "lstmcore"

# Rooms from left to right: nothing may import from a room further right. Rooms on one line may not
# import each other unless the order on the line says so.
ROOMS = """
    errors
    naming tables random text tree
    axes activations
    ops
    program
    layouts
    sweep formulas
    streaming contract
    configs
    orthogonal
    initializers regularizers constraints optimizers losses metrics
    layers
    storage weights
    callbacks
    hookspecs
    plugins
    models
    runtime
    interop
    datasets
    interop
    cli
"""
ORDER = ROOMS.split()

# The few places where a facade reaches to the right, inside a function.
REACHES_RIGHT = {
    ("layers", "models"),  # a layer called on an array
    ("models", "runtime"),  # predict, explain, session
}

FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "onnx", "onnxruntime"}
# The one room that may reach a framework, inside functions: the files of that format are its subject.
REACHES_FRAMEWORK = {("interop", "onnx"), ("interop", "onnxruntime")}
BACKENDS = {path.name for path in (ROOT / "backends").iterdir() if path.name.startswith("lstmcore_")}
BACKEND_MAY_IMPORT = {"errors", "ops", "program", "contract", "layouts", "hookspecs", "activations"}
# A backend's files of its own formats, and its framework's live models to ours and back, have models to deal with.
MODELS_MAY_IMPORT = {"interop", "models", "layers", "storage"}
WITH_MODELS = {"files", "keras_files", "listing", "modules", "objects"}


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module imported, whether at the top level); imports for type checkers do not count."""

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                yield from ((name if child.module == "lstmcore" else str(child.module), top) for name in names)
            inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from walk(child, top and not inner)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "lstmcore"


def own_room(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


CORE_MODULES = [path for path in modules(CORE) if own_room(path) not in ("__init__", "__main__")]


def test_every_room_has_its_place_in_the_order() -> None:
    assert {own_room(path) for path in CORE_MODULES} == set(ORDER)


@pytest.mark.parametrize("path", CORE_MODULES, ids=lambda p: str(p.relative_to(CORE)))
def test_no_room_imports_from_the_right(path: Path) -> None:
    here = own_room(path)
    for module, top in imports(path):
        if not module.startswith("lstmcore.") or room(module) == here or room(module) not in ORDER:
            continue
        rightwards = ORDER.index(room(module)) > ORDER.index(here)
        assert not rightwards or (not top and (here, room(module)) in REACHES_RIGHT), (
            f"{path.name} in room {here!r} imports {module}, which stands further right"
        )


@pytest.mark.parametrize("path", modules(CORE), ids=lambda p: str(p.relative_to(CORE)))
def test_the_core_imports_no_framework_no_backend_and_no_conformance(path: Path) -> None:
    for module, at_top in imports(path):
        top = module.split(".")[0]
        allowed = not at_top and (own_room(path), top) in REACHES_FRAMEWORK
        assert allowed or top not in FRAMEWORKS, f"{path.name} imports {module}"
        assert not top.startswith("lstmcore_"), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", modules(CORE), ids=lambda p: str(p.relative_to(CORE)))
def test_the_core_names_no_backend(path: Path) -> None:
    """No string in the code is a backend's name; docstrings may give examples."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr)
    }
    names = {name.removeprefix("lstmcore_") for name in BACKENDS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            assert node.value not in names, f"{path.name}:{node.lineno} names the backend {node.value!r}"


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_backend_sees_only_the_contract_and_its_own_framework(name: str) -> None:
    for path in modules(ROOT / "backends" / name):
        place = path.relative_to(ROOT / "backends" / name).parts[0].removesuffix(".py")
        allowed = BACKEND_MAY_IMPORT | (MODELS_MAY_IMPORT if place in WITH_MODELS else set())
        for module, _ in imports(path):
            if module.startswith("lstmcore."):
                assert room(module) in allowed, f"{path} imports {module}"
            elif module.startswith("lstmcore_"):
                assert module.split(".")[0] == name, f"{path} imports another backend: {module}"


def test_the_conformance_suite_names_no_framework_and_no_backend() -> None:
    for path in modules(ROOT / "conformance" / "lstmcore_conformance"):
        for module, _ in imports(path):
            top = module.split(".")[0]
            assert top not in FRAMEWORKS, f"{path} imports {module}"
            assert top not in BACKENDS, f"{path} imports {module}"


@pytest.mark.parametrize(
    "name",
    ["lstmcore", "lstmcore.layers", "lstmcore.models", "lstmcore.plugins", "lstmcore.datasets", "lstmcore.callbacks"],
)
def test_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        assert getattr(module, public, None) is not None, f"{name}.__all__ promises {public}"


def loaded_by(code: str) -> set[str]:
    """The top-level modules loaded in a fresh interpreter that ran ``code``."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import lstmcore",
        "import lstmcore.models, lstmcore.layers",
        "import lstmcore; lstmcore.backends()",
        "import lstmcore; [repr(info) for info in lstmcore.backends()]",
        "import lstmcore; lstmcore.set_backend('torch')",
        "import lstmcore_torch, lstmcore_tensorflow, lstmcore_numpy",
    ],
)
def test_loads_no_framework(code: str) -> None:
    assert not loaded_by(code) & FRAMEWORKS


def test_asking_for_one_backend_loads_only_that_one() -> None:
    loaded = loaded_by("import lstmcore.plugins; lstmcore.plugins.load('numpy')")
    assert not loaded & FRAMEWORKS


def test_importing_lstmcore_is_cheap() -> None:
    """It loads nothing beyond itself; the time as a ratio is in benchmarks/import_time.py."""
    assert not loaded_by("import lstmcore") & {"pluggy", "rich", "click", "pooch", "safetensors", "numpy"}
