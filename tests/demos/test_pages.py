"""The pages of docs/demos and docs/migrate-*.md: their code runs as it stands and prints what they say it prints."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest

MASKS = (
    (r"\bE = \d+(\.\d+)?(e[+-]\d+)?", "E = N"),  # rounding: differs from one processor to another
    (r"\b\d+\.\d+\.\d+(\+\w+)?\b", "VERSION"),
)
IN_TABLES = ((r"(?<![\w.])\d+\.\d\d?(?![\w.])", "N"), (r"-{2,}", "--"), (r" +", " "))


def masked(text: str, kind: str) -> str:
    """The text without what differs from one machine to another."""
    for pattern, instead in (*MASKS, *(IN_TABLES if kind == "console" else ())):
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def lacks(page: Path) -> list[str]:
    """The modules that a page needs and that are not installed."""
    return sorted(name for name in pages.modules(page) if not _is_there(name, page))


def _is_there(name: str, page: Path) -> bool:
    written = any(f"{name}.pt" in block.code for block in pages.blocks(page))  # by the page itself
    return written or importlib.util.find_spec(name) is not None


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


def test_a_wrong_number_is_found() -> None:
    assert masked("E = 1.48, off by 0.32", "python") != masked("E = 1.48, off by 0.33", "python")
    assert masked("off by 3.2e+05", "console") != masked("off by 3.3e+05", "console")
    assert masked("torch 2.13.0+cpu, E = 1.48", "python") == masked("torch 2.14.1, E = 2.9", "python")
