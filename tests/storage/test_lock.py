"""A file that one process holds alone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lstmcore.storage import lock
from lstmcore.storage.lock import Taken, locked

HOLDER = """
import sys
from lstmcore.storage.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    pipe = subprocess.PIPE
    run = [sys.executable, "-c", HOLDER, tmp_path / "lock"]
    with subprocess.Popen(run, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_told_who_holds_it(holder: Any, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(Taken, match=f"process {holder.pid}$"), locked(tmp_path / "lock"):
            pass
    holder.stdin.close()
    holder.wait()
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"process {os.getpid()}"


def test_a_killed_holder_locks_nobody_out(holder: Any, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock"):
        pass


def test_nor_does_the_same_process_hold_it_twice(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("lock")
    with locked(tmp_path / "lock"), pytest.raises(Taken, match="this very process"), locked(tmp_path / "link"):
        pass
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock"):
        pass


def test_where_there_are_no_locks_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(lock, "_take", fails)
    with pytest.warns(UserWarning, match="without locks"), locked(tmp_path / "lock"):
        pass
