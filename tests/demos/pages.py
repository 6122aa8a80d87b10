"""Pages whose code runs: ``python pages.py FOLDER PAGE ...`` runs them and prints as JSON what their blocks printed.

A block of ``python`` is run, in one namespace for the page; a block of ``text`` right after it is what it printed. Of
a block of ``console`` the lines that begin with ``$`` are commands, here of lstmcore alone, and the others what they
print. All pages run in one process, each in a copy of docs/demos of its own, in FOLDER.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted((DOCS / "demos").glob("*.md")), *sorted(DOCS.glob("migrate-*.md"))]
_FENCE = re.compile(r"^```(python|text|console)\n(.*?)^```$(?=(\n*^```text\n)?)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Something to run, where it stands, and what the page says that it prints; None where it does not say."""

    kind: str
    code: str
    line: int
    printed: str | None


def blocks(page: Path) -> list[Block]:
    """What is to be run in a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    made = []
    for k, match in enumerate(found):
        kind, body = match[1], match[2]
        line = text.count("\n", 0, match.start()) + 2
        if kind == "console":
            made += [Block(kind, command, line, printed) for command, printed in _commands(body)]
        elif kind == "python":
            made.append(Block(kind, body, line, found[k + 1][2] if match[3] else None))
    return made


def _commands(body: str) -> list[tuple[str, str]]:
    pieces = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)
    assert not pieces[0].strip(), f"printed before the first command: {pieces[0]}"
    return list(zip(pieces[1::2], pieces[2::2], strict=True))


def modules(page: Path) -> set[str]:
    """What the code of a page imports, by the first part of its name."""
    code = "\n".join(block.code for block in blocks(page) if block.kind == "python")
    return set(re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE))


def run(page: Path, folder: Path) -> list[str]:
    """What each block prints; the last is a traceback where one fails."""
    place = folder / page.stem / "docs" / "demos"
    shutil.copytree(DOCS / "demos", place)
    (folder / page.stem / "tests").symlink_to(ROOT / "tests")
    os.chdir(place)
    sys.path.insert(0, str(place))
    names: dict[str, object] = {"__name__": page.stem}
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()  # which counts the layers of a process for their names
    told: list[str] = []
    for block in blocks(page):
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                if block.kind == "python":
                    exec(compile("\n" * (block.line - 1) + block.code, page.name, "exec"), names)
                else:
                    _command(block.code)
        except BaseException:
            told.append(out.getvalue() + traceback.format_exc())
            break
        told.append(out.getvalue())
    sys.path.remove(str(place))
    return told


def _command(line: str) -> None:
    """A command of lstmcore, what it says on both streams; ``; echo $?`` after it prints its exit status."""
    from click.testing import CliRunner

    from lstmcore.cli import cli

    command, _, after = line.partition("; ")
    program, *arguments = shlex.split(command)
    assert program == "lstmcore" and after in ("", "echo $?"), line
    result = CliRunner().invoke(cli, arguments)
    print(result.output, end="")
    if after:
        print(result.exit_code)


if __name__ == "__main__":
    print(json.dumps({page: run(Path(page), Path(sys.argv[1])) for page in sys.argv[2:]}))
