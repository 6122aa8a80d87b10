"""Files are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstmcore.errors import FileError
from lstmcore.storage.atomic import replacing

UNCHANGED = "nothing was written, and what was there before is unchanged"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def replace(path: Path, content: bytes = b"new") -> None:
    with replacing(path) as file:
        file.write(content)


def test_the_new_file_appears_when_it_is_whole(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


def test_a_file_where_none_was(tmp_path: Path) -> None:
    replace(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing(path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), replacing(path) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_an_error_of_the_system(path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), "/somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match=f"{os.strerror(code)}; {UNCHANGED}") as caught:
            replace(path)
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_it_is_on_the_disk_before_it_is_renamed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    replace(path)
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize(("where", "error"), [("none/file", FileNotFoundError), ("file/file", NotADirectoryError)])
def test_a_directory_that_is_none(path: Path, where: str, error: type[OSError]) -> None:
    with pytest.raises(error, match=UNCHANGED):
        replace(path.parent / where)


def test_a_directory_without_permission(anybodys: Path) -> None:
    """In another process, which gives up root where it has it, and may read the file, but not write beside it."""
    code = (
        "import os, sys; from lstmcore.storage.atomic import replacing\n"
        "os.geteuid() or os.setuid(65534)\n"
        "assert open(sys.argv[1], 'rb').read() == b'old'\n"
        "with replacing(sys.argv[1]) as file: file.write(b'new')"
    )
    path = anybodys / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    path.parent.chmod(0o555)
    try:
        command = [sys.executable, "-c", code, str(path)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    finally:
        path.parent.chmod(0o755)
    assert f"PermissionError: [Errno 13] Permission denied; {UNCHANGED}" in done.stderr
    assert path.read_bytes() == b"old"


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, what in ((".", "a directory"), ("pipe", "a pipe"), ("/dev/null", "a device")):
        with pytest.raises(FileError, match=f"is not a file but {what}"):
            replace(tmp_path / name)


def test_a_read_only_file_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write to any
    with pytest.raises(PermissionError, match="The file is read-only"):
        replace(path)
    assert path.read_bytes() == b"old"


def test_modes(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace(tmp_path / "file")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
        for mode in (0o600, 0o666):
            (tmp_path / "file").chmod(mode)
            replace(tmp_path / "file")
            assert (tmp_path / "file").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to("there/file")
    replace(link)
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link", "there"] and os.listdir(target.parent) == ["file"]


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=UNCHANGED):
        replace(tmp_path / "a")


def test_names_as_long_as_the_system_allows(tmp_path: Path) -> None:
    for name in ("x" * 255, "核" * 85):
        replace(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"


def test_a_path_without_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    replace(Path("file"))
    assert path.read_bytes() == b"new"
