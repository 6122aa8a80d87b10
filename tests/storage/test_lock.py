"""A folder that one process holds alone."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lstmcore.storage.lock import Taken, locked

HOLDER = """
import sys
from lstmcore.storage.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""

FORKS = """
import os, sys, time
from lstmcore.storage.lock import locked
with locked(sys.argv[1]):
    child = os.fork()
    if not child:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os._exit(0)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    pipe = subprocess.PIPE
    run = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(run, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_told_who_holds_it(holder: Any, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(Taken, match=f"process {holder.pid}$|another process"), locked(tmp_path):
            pass
    holder.stdin.close()
    holder.wait()
    with locked(tmp_path):
        assert os.listdir(tmp_path) == []


def test_a_killed_holder_locks_nobody_out(holder: Any, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        pass


def test_a_process_that_was_forked_holds_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, tmp_path], stdout=subprocess.PIPE, text=True, check=True)
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_nor_does_the_same_process_hold_it_twice(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with locked(tmp_path / "folder"), pytest.raises(Taken), locked(tmp_path / "link"):
        pass
    with pytest.raises(KeyError), locked(tmp_path / "folder"):
        raise KeyError
    with locked(tmp_path / "folder"):
        pass


def test_where_there_are_no_locks_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.warns(UserWarning, match="cannot be locked .No locks available"), locked(tmp_path):
        pass
