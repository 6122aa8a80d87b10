"""The pages of docs/demos and docs/migrate-*.md: their code runs as it stands and prints what they say it prints."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pages
import pytest
import traps

HERE = Path(__file__).parent
MASKS = (
    (r"\bE = \d+(\.\d+)?(e[+-]\d+)?", "E = N"),  # rounding: differs from one processor to another
    (r"\b\d+\.\d+\.\d+(\+\w+)?\b", "VERSION"),
    (r"\bhas \d+ bytes", "has N bytes"),  # packed by a zlib that may be another
    (r"\nNot installed here:\n(  .*\n)+", ""),
)
IN_TABLES = ((r"(?<![\w.])\d+\.\d\d?(?![\w.])", "N"), (r"-{2,}", "--"), (r" +", " "))


def masked(text: str, kind: str) -> str:
    """The text without what differs from one machine to another."""
    for pattern, instead in (*MASKS, *(IN_TABLES if kind == "console" else ())):
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def lacks(page: Path) -> list[str]:
    """The modules that a page needs and that are not installed."""
    code = page.read_text(encoding="utf-8")
    beside = {name for name in pages.modules(page) if f"{name}.pt" in code or (HERE / f"{name}.py").exists()}
    missing = [name for name in pages.modules(page) - beside if importlib.util.find_spec(name) is None]
    return sorted([*missing, *(["gcc"] if '"gcc"' in code and shutil.which("gcc") is None else [])])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the blocks of each page print; frameworks are loaded once for all."""
    runnable = [str(page) for page in pages.PAGES if not lacks(page)]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "100"}
    command = [sys.executable, pages.__file__, str(tmp_path_factory.mktemp("pages")), *runnable]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_a_page_prints_what_it_says(page: Path, told: dict[str, list[str]]) -> None:
    if missing := lacks(page):
        pytest.skip(f"{', '.join(missing)} not installed: pip install 'lstmcore[all]'")
    blocks, printed = pages.blocks(page), told[str(page)]
    for block, found in zip(blocks, printed, strict=False):
        expected = block.printed or ""
        assert masked(found, block.kind) == masked(expected, block.kind), f"{page.name}, line {block.line}:\n{found}"
    assert len(printed) == len(blocks)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


def rows(page: Path) -> dict[str, str]:
    """The table of traps in a page: the last cell by the first."""
    text = page.read_text(encoding="utf-8").partition("## Traps\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")][1:]
    return {row[0].strip(): row[-1].strip() for row in cells}


RECIPES = [page for page in pages.PAGES if page.stem.startswith("migrate-")]


@pytest.fixture(scope="module")
def measured() -> dict[str, str]:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install 'lstmcore[torch]'")
    return {name: measure() for name, measure in traps.TRAPS.items()}


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_a_trap_is_as_deep_as_the_page_says(page: Path, measured: dict[str, str]) -> None:
    told = rows(page)
    assert len(told) > 4
    assert told == {name: measured.get(name) for name in told}


def test_every_trap_is_in_some_page() -> None:
    assert set(traps.TRAPS) == {name for page in RECIPES for name in rows(page)}


def test_a_wrong_number_is_found() -> None:
    assert masked("E = 1.48, off by 0.32", "python") != masked("E = 1.48, off by 0.33", "python")
    assert masked("off by 3.2e+05", "console") != masked("off by 3.3e+05", "console")
    assert masked("torch 2.13.0+cpu, E = 1.48", "python") == masked("torch 2.14.1, E = 2.9", "python")
