"""The process that reads hostile files, and what must be true of its answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import samples

SCRIPT = Path(__file__).with_name("reading.py")
SECONDS, MEBIBYTES = 1.0, 64.0


class Reader:
    """``reading.py``, asked for one file after another; its folder is empty, and stays so."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, keep: Path | None) -> None:
        self._process, self.folder, self._keep = process, folder, keep

    def __call__(self, job: Any) -> dict[str, Any]:
        job = job if isinstance(job, dict) else {"path": str(job)}
        job = job if self._keep is None else {**job, "keep": str(self._keep)}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def reading(folder: Path, formats: Sequence[str] = tuple(samples.ALL), keep: Path | None = None) -> Iterator[Reader]:
    """A reader that has read a sound file of each of these formats; ``keep`` is where it puts what went wrong."""
    warm, empty = folder / "warm", folder / "empty"
    empty.mkdir()
    warm.mkdir()
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        keep = keep.resolve()
    jobs = [samples.FORMATS["keras"](_made(warm / "first"))]
    jobs += [samples.ALL[name](_made(warm / name)) for name in formats]
    command = [sys.executable, "-W", "ignore", str(SCRIPT), *map(json.dumps, jobs)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
    pipes["env"] = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis")}
    process = subprocess.Popen(command, text=True, cwd=empty, **pipes)
    try:
        yield Reader(process, empty, keep)
        assert not list(empty.iterdir())
    finally:
        assert process.stdin and process.stdout
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def harmless(answer: dict[str, Any]) -> None:
    """Refused by one clear error or read; nothing else done, nothing else touched, soon, in little memory."""
    assert answer["result"] in ("refused", "model", "flipped"), answer
    assert not answer["done"], answer
    assert not answer.get("odd"), answer
    if answer["result"] == "refused":
        assert answer["told"] and len(answer["told"]) < 4000, answer
    if answer["result"] != "flipped":
        assert answer["seconds"] < SECONDS and answer["rise"] < MEBIBYTES, answer


def refused(made: Any, ask: Reader, folder: Path, **job: Any) -> dict[str, Any]:
    """What was said of a file in that folder, which is refused, and with it whatever it would have done there."""
    made = made if isinstance(made, dict) else {"path": str(made)}
    before = sorted(folder.rglob("*"))
    answer = ask({**made, **job})
    assert answer["result"] == "refused", answer
    harmless(answer)
    told = answer["told"]
    assert os.path.basename(made["path"]) in told and str(folder) not in told, answer
    assert told.replace("\n", "").isprintable(), answer
    assert sorted(folder.rglob("*")) == before and not Path("canary").exists()
    return answer
