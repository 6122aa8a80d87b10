"""Reads files one by one, each in a process of its own, and says how that went: ``python reading.py WARM...`` < jobs.

The files WARM are read first, so that what a format loads is there before anything is measured. A job is JSON:
``{"path": ..., "weights": ..., "spec": ...}``, with ``"use"`` "load" or "take" for `load_model` or `load_weights`;
with ``"flips": [seed, ...]`` the file once for each seed, some of its bits turned over; with ``"format"`` and
``"altered": [seed, ...]`` or ``"cut": [length, ...]`` as `mutations` says; ``"part"`` is the file of a folder that
this concerns. The answer says what came of it, how many seconds of the processor it took,
how far its memory rose above what was there before, in MiB, and what it did beside reading its file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "hostile"))

import h5py  # noqa: F401  loaded before the memory is measured
import mutations
import samples

import lstmcore as lc
import lstmcore.interop.keras.files
from lstmcore.errors import FileError
from lstmcore.models import model_from_json

AMONG = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pickle.find_class")
AMONG += (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "socket.getaddrinfo",
)
AMONG += ("ctypes.dlopen", "os.fork", "os.kill", "shutil.copyfile", "shutil.rmtree", "tempfile.mkdtemp")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
LIMIT = 1 << 30


class Watched:
    """What one import did, as an audit hook sees it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.given: set[str] = set()
        self.folder = "\0"

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in AMONG:
            self.done.append(f"{event} {arguments[0]!r}")
        elif event == "exec" and not installed(arguments[0].co_filename):
            self.done.append(f"exec {arguments[0].co_filename}")
        elif event == "open" and isinstance(arguments[0], str):
            path = os.path.realpath(arguments[0])
            if path in self.given or path.startswith(self.folder):
                return
            if not installed(path) or arguments[2] & WRITES:
                self.done.append(f"open {path}")


watched = Watched()


def installed(path: str) -> bool:
    roots = (sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(lc.__file__)), "/proc", "<frozen")
    return path.startswith(roots)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One import, in this process."""
    watched.given = {os.path.realpath(job[key]) for key in ("path", "weights", "spec") if isinstance(job.get(key), str)}
    watched.folder = job["path"] + os.sep if os.path.isdir(job["path"]) else "\0"
    watched.done = done = []
    if BATCHES & set(job):
        return {**many(job), "done": []}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = USES[job.get("use", "import")](job)
        return {"result": "model", "count": model.count_params(), "done": done}
    except FileError as error:
        return {"result": "refused", "type": type(error).__name__, "told": str(error), "done": done}
    except BaseException as error:
        return {"result": "raised", "type": type(error).__name__, "told": str(error)[:500], "done": done}


def take(job: dict[str, Any]) -> Any:
    with open(job["spec"]) as file:
        model = model_from_json(file.read())
    model.load_weights(job["path"])
    return model


USES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "import": lambda job: lc.import_model(job["path"], weights=job.get("weights"), spec=job.get("spec")),
    "load": lambda job: lc.load_model(job["path"]),
    "take": take,
}
BATCHES = {"flips", "altered", "cut"}


def many(job: dict[str, Any]) -> dict[str, Any]:
    """The file again and again, altered: how many models, and what was raised that is no FileError."""
    source = os.path.join(job["path"], job["part"]) if "part" in job else job["path"]
    with open(source, "rb") as file:
        data = file.read()
    target = source if "part" in job else f"{source}.{os.getpid()}{os.path.splitext(source)[1]}"
    kind = next(key for key in ("flips", "altered", "cut") if key in job)
    change: Callable[[int], bytes] = {
        "flips": lambda seed: mutations.flipped(data, seed),
        "altered": lambda seed: mutations.altered(job.get("format", ""), data, seed),
        "cut": lambda length: data[:length],
    }[kind]
    models, odd, slow, most = 0, [], 0.0, 0.0
    for seed in job[kind]:
        with open(target, "wb") as file:
            file.write(change(seed))
        if "part" in job and job.get("seal"):
            samples.seal(job["path"])
        path = job["path"] if "part" in job else target
        before, begun = resident(), time.process_time()
        answer = run({"path": path, **{key: job[key] for key in ("weights", "spec", "use") if key in job}})
        took, rise = time.process_time() - begun, resident() - before
        slow, most = max(slow, took), max(most, rise)
        models += answer["result"] == "model"
        if answer["result"] == "raised" or answer["done"] or took > job.get("seconds", 1) or rise > job.get("most", 64):
            odd.append([seed, rise, took, answer])
    if "part" in job:
        with open(target, "wb") as file:
            file.write(data)
    else:
        os.unlink(target)
    return {"result": "flipped", "models": models, "odd": odd, "slowest": slow, "largest": most}


def resident() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(job: dict[str, Any]) -> dict[str, Any]:
    """One import in a child of this process, whose memory is limited."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT,) * 2)
        signal.alarm(500 if BATCHES & set(job) else 30)
        sys.addaudithook(watched)
        before, begun = resident(), time.process_time()
        answer = run(job)
        answer |= {"seconds": time.process_time() - begun, "rise": resident() - before}
        with os.fdopen(writer, "w") as file:
            file.write(json.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        told = file.read()
    _, status = os.waitpid(child, 0)
    if not told:
        return {"result": "died", "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else status, "done": []}
    return json.loads(told)  # type: ignore[no-any-return]


def warm() -> None:
    """Loads whatever the first import loads."""
    for module in pkgutil.walk_packages(lc.__path__, "lstmcore."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    model = lc.Sequential([lc.layers.Input((2, 1)), lc.layers.LSTM(1), lc.layers.Dense(1)])
    config = json.dumps({"class_name": "Sequential", "config": model.get_config(), "module": "keras"})
    for spec in (config, "{", "[]"):
        USES["import"]({"path": sys.argv[1]})
        with contextlib.suppress(FileError):
            USES["import"]({"path": sys.argv[1], "spec": spec})
    for more in sys.argv[2:]:
        USES["import"](json.loads(more))


if __name__ == "__main__":
    warm()
    for line in sys.stdin:
        print(json.dumps(apart(json.loads(line))), flush=True)
