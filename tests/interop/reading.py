"""Imports files one by one, each in a process of its own, and says how that went: ``python reading.py`` < jobs.

A job is JSON: ``{"path": ..., "weights": ..., "spec": ...}``, or with ``"flips": [seed, ...]`` the file once for
each seed, some of its bits turned over. The answer says what came of it, how many seconds of the processor it took,
how far its memory rose above what was there before, in MiB, and what it did beside reading its file.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
import warnings
from typing import Any

import h5py  # noqa: F401  loaded before the memory is measured

import lstmcore as lc
import lstmcore.interop.keras.files
from lstmcore.errors import FileError

AMONG = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pickle.find_class")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
LIMIT = 1 << 30


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One import, in this process."""
    done: list[str] = []
    given = {os.path.realpath(job[key]) for key in ("path", "weights", "spec") if isinstance(job.get(key), str)}

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in AMONG:
            done.append(f"{event} {arguments[0]!r}")
        elif event == "open" and isinstance(arguments[0], str):
            path = os.path.realpath(arguments[0])
            own = path.startswith((sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(lc.__file__)), "/proc"))
            if path not in given and (not own or arguments[2] & WRITES):
                done.append(f"open {path}")

    sys.addaudithook(watch)
    if "flips" in job:
        return {**flips(job), "done": done}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = lc.import_model(job["path"], weights=job.get("weights"), spec=job.get("spec"))
        return {"result": "model", "count": model.count_params(), "done": done}
    except FileError as error:
        return {"result": "refused", "type": type(error).__name__, "told": str(error), "done": done}
    except BaseException as error:
        return {"result": "raised", "type": type(error).__name__, "told": str(error)[:500], "done": done}


def flips(job: dict[str, Any]) -> dict[str, Any]:
    """The file again and again, some bits turned over: how many models, and what was raised that is no FileError."""
    with open(job["path"], "rb") as file:
        data = file.read()
    target = f"{job['path']}.{os.getpid()}{os.path.splitext(job['path'])[1]}"
    models, odd, slow = 0, [], 0.0
    for seed in job["flips"]:
        generator = random.Random(seed)
        altered = bytearray(data)
        for _ in range(generator.choice((1, 1, 2, 8, 64))):
            altered[generator.randrange(len(altered))] ^= 1 << generator.randrange(8)
        with open(target, "wb") as file:
            file.write(altered)
        before, begun = resident(), time.process_time()
        answer = run({"path": target, **{key: job[key] for key in ("weights", "spec") if key in job}})
        slow = max(slow, time.process_time() - begun)
        models += answer["result"] == "model"
        wild = resident() - before > job.get("most", 64)
        if answer["result"] == "raised" or any(target not in entry for entry in answer["done"]) or wild:
            odd.append([seed, resident() - before, answer])
    os.unlink(target)
    return {"result": "flipped", "models": models, "odd": odd, "slowest": slow}


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
        signal.alarm(300 if "flips" in job else 30)
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
    model = lc.Sequential([lc.layers.Input((2, 1)), lc.layers.LSTM(1), lc.layers.Dense(1)])
    config = json.dumps({"class_name": "Sequential", "config": model.get_config(), "module": "keras"})
    for spec in (config, "{", "[]"):
        run({"path": sys.argv[1], "spec": spec})


if __name__ == "__main__":
    warm()
    for line in sys.stdin:
        print(json.dumps(apart(json.loads(line))), flush=True)
