"""Folders are replaced whole: whoever looks, and whatever kills the writer, finds the old one or the new one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstmcore.errors import FileError
from lstmcore.storage import folder
from lstmcore.storage.folder import replacing_folder


def holds(path: Path) -> str:
    return (path / "a").read_text() + (path / "b").read_text()


def put(path: Path, text: str) -> None:
    with replacing_folder(path, lambda old: "" if "a" in os.listdir(old) else "is another") as fresh:
        for name in "ab":
            Path(fresh, name).write_text(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    put(tmp_path / "m", "old")
    return tmp_path / "m"


@pytest.mark.parametrize("exchanges", [True, False])
def test_the_new_one_takes_the_place(path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanges:
        monkeypatch.setattr(folder, "_exchange", lambda one, other: False)
    put(path, "new")
    assert holds(path) == "newnew" and os.listdir(path.parent) == ["m"]


def test_an_error_changes_nothing(path: Path) -> None:
    with pytest.raises(KeyError), replacing_folder(path, lambda old: "") as fresh:
        Path(fresh, "a").write_text("new")
        raise KeyError
    with pytest.raises(FileError, match="is another"), replacing_folder(path, lambda old: "is another"):
        pass
    assert holds(path) == "oldold" and os.listdir(path.parent) == ["m"]


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_on_linux_there_is_a_folder_at_every_instant(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is renamed away: the two change names in one call."""
    monkeypatch.setattr(os, "rename", None)
    put(path, "new")
    assert holds(path) == "newnew"


KILLED = """
import os, sys
from pathlib import Path
from lstmcore.storage import folder
path, place, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if place == "rename":
    folder._exchange = lambda one, other: False
module, name = {"rename": (os, "rename"), "exchange": (folder, "_exchange"), "rmtree": (folder.shutil, "rmtree")}[place]
own, calls = getattr(module, name), []
def dies(*args, **more):
    calls.append(0)
    if len(calls) == when:
        os._exit(9)
    return own(*args, **more)
setattr(module, name, dies)
with folder.replacing_folder(path, lambda old: "") as fresh:
    for inner in "ab":
        Path(fresh, inner).write_text("new")
"""
# Where the writer is killed, and what is there then: at the folder's name, and beside it.
DEATHS = [
    ("exchange", 1, "oldold", ["newnew"]),
    ("rmtree", 1, "newnew", ["oldold"]),
    ("rename", 1, "oldold", ["newnew"]),
    ("rename", 2, None, ["newnew", "oldold"]),
]


@pytest.mark.parametrize(("place", "when", "there", "beside"), DEATHS)
def test_a_killed_writer_leaves_both_whole(
    path: Path, place: str, when: int, there: str | None, beside: list[str]
) -> None:
    if sys.platform != "linux" and place == "exchange":
        pytest.skip("renameat2 is Linux's")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), place, str(when)], check=False)
    assert done.returncode == 9
    assert (holds(path) if path.exists() else None) == there
    assert sorted(holds(other) for other in path.parent.iterdir() if other != path) == beside
    put(path, "next")
    assert holds(path) == "nextnext"
