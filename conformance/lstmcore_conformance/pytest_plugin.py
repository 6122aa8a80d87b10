"""The options of ``pytest --pyargs lstmcore_conformance``: ``--backend``, ``--profile``, ``--level``, ``--xfails``.

pytest reads options before it looks into a package, so they are registered through the entry-point group
``pytest11``; and only in runs that name this package, so that no other project's ``--backend`` is disturbed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lstmcore_conformance.cases import Case

PACKAGE = "lstmcore_conformance"
ENGINE: pytest.StashKey[Any] = pytest.StashKey()
CASES: pytest.StashKey[list[Any]] = pytest.StashKey()


def wanted(config: pytest.Config | None) -> bool:
    """True if the command line names this package with ``--pyargs``."""
    args = () if config is None else config.invocation_params.args
    return "--pyargs" in args and any(str(arg).partition(".")[0] == PACKAGE for arg in args)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    if not wanted(pluginmanager.get_plugin("pytestconfig")):
        return
    group = parser.getgroup("lstmcore conformance")
    group.addoption("--backend", metavar="NAME", help="the backend to examine: name or name:device")
    group.addoption("--profile", default="standard", help="smoke or standard (the default)")
    group.addoption("--level", default="all", help="forward, gradient, training or all (the default)")
    group.addoption("--xfails", metavar="FILE", help="cases known to fail: lines 'id  # reason'")


def read_xfails(path: str, known: set[str]) -> dict[str, str]:
    """Id -> reason. UsageError for a line without a reason and for an id that no case has."""
    table: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1):
        case, _, reason = (part.strip() for part in line.partition("#"))
        if not case:
            continue
        if not reason:
            raise pytest.UsageError(f"{path}:{number}: {case} has no reason; write 'id  # reason'")
        if case not in known:
            raise pytest.UsageError(f"{path}:{number}: no case is called {case!r}")
        table[case] = reason
    return table


def pytest_configure(config: pytest.Config) -> None:
    if wanted(config) and not config.option.help:
        config.stash[ENGINE] = backend(config)
        config.stash[CASES] = parameters(config)


def backend(config: pytest.Config) -> Any:
    """The backend named on the command line. UsageError says which there are."""
    from lstmcore import plugins
    from lstmcore.errors import BackendError

    name = config.getoption("--backend")
    if not name:
        raise pytest.UsageError(f"name a backend: --backend {' | '.join(plugins.names())}")
    try:
        return plugins.get(name)
    except BackendError as error:
        raise pytest.UsageError(str(error)) from error


def parameters(config: pytest.Config) -> list[Any]:
    """The cases as pytest parameters, those expected to fail marked so, strictly."""
    from lstmcore_conformance.cases import LEVELS, PROFILES, load

    profile, level = config.getoption("--profile"), config.getoption("--level")
    if profile not in PROFILES:
        raise pytest.UsageError(f"--profile is {profile!r}; known: {', '.join(PROFILES)}")
    if level not in (*LEVELS, "all"):
        raise pytest.UsageError(f"--level is {level!r}; known: {', '.join(LEVELS)}, all")
    cases = [case for case in load(profile) if level in (case.level, "all")]
    path = config.getoption("--xfails")
    # Ids are checked against all profiles: one file serves them all.
    expected = read_xfails(path, {case.id for case in load()}) if path else {}
    return [pytest.param(case, id=case.id, marks=_marks(case, expected)) for case in cases]


def _marks(case: Case, expected: dict[str, str]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(reason=expected[case.id], strict=True)] if case.id in expected else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if wanted(metafunc.config) and {"conformance_engine", "case"} <= set(metafunc.fixturenames):
        metafunc.parametrize("case", metafunc.config.stash[CASES])


@pytest.fixture(scope="session")
def conformance_engine(pytestconfig: pytest.Config) -> Any:
    """The backend under examination."""
    return pytestconfig.stash[ENGINE]
