"""Reads files one by one, each in a process of its own, and says how that went: ``python reading.py WARM...`` < jobs.

The jobs WARM are done first, so that what a format loads is there before anything is measured. A job is JSON:
``{"path": ..., "weights": ..., "spec": ...}``, with ``"use"`` one of `USES`. A batch reads the file again and again:
``"flips": [seed, ...]`` with bits turned over, ``"cut": [length, ...]`` cut short, ``"altered": [seed, ...]`` and
``"built": [seed, count]`` as `mutations` and `strategies` say for its ``"format"``; ``"part"`` is the file of a folder
that this concerns. The answer says what came of it, how many seconds of the processor it took, how far its memory
rose above what was there before, in MiB, and what it did beside reading its file.
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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop")]

import h5py  # noqa: E402, F401  loaded before the memory is measured
import mutations  # noqa: E402
import samples  # noqa: E402
import strategies  # noqa: E402
from watched import watched  # noqa: E402

import lstmcore as lc  # noqa: E402
import lstmcore.interop.keras.files  # noqa: E402
from lstmcore.errors import FileError  # noqa: E402
from lstmcore.interop.formats import function, row_of  # noqa: E402
from lstmcore.models import model_from_json  # noqa: E402

LIMIT = 1 << 30
FILES = ("path", "weights", "spec")
BATCHES = {"flips", "altered", "cut", "built"}
SECONDS, MEBIBYTES = 1.0, 64.0
HANGS = 30
"""Seconds by the clock after which a file that is being read ends its process."""


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One import, in this process."""
    if BATCHES & set(job):
        return {**many(job), "done": []}
    beside = job.get("beside", [])
    with watched([*(job[key] for key in FILES if isinstance(job.get(key), str)), *beside], bool(beside)) as done:
        before, begun = settled(), time.process_time()
        answer = told(job)
        answer |= {"seconds": time.process_time() - begun, "rise": most() - before}
    return {**answer, "done": done}


def told(job: dict[str, Any]) -> dict[str, Any]:
    """What came of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = USES[job.get("use", "import")](job)
        return {"result": "model", "count": model.count_params() if hasattr(model, "count_params") else 0}
    except FileError as error:
        return {"result": "refused", "type": type(error).__name__, "told": str(error)}
    except BaseException as error:
        return {"result": "raised", "type": type(error).__name__, "told": str(error)[:500]}


def take(job: dict[str, Any]) -> Any:
    with open(job["spec"]) as file:
        model = model_from_json(file.read())
    model.load_weights(job["path"])
    return model


def lists(job: dict[str, Any]) -> Any:
    row = row_of(job["path"])
    return None if row.lists is None else function(row.lists)(job["path"])


def command(job: dict[str, Any]) -> Any:
    """A command of `lstmcore`, its words in ``words``; one that ends with status 1 has refused."""
    from click.testing import CliRunner

    from lstmcore.cli import cli

    done = CliRunner().invoke(cli, [word.format(**job) for word in job["words"]])
    if done.exit_code == 0:
        return None
    if not done.stderr.startswith("Error: ") or "Traceback" in done.stderr:
        raise AssertionError(done.stderr[:2000])
    raise FileError(done.stderr)


USES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "import": lambda job: lc.import_model(job["path"], weights=job.get("weights"), spec=job.get("spec")),
    "load": lambda job: lc.load_model(job["path"]),
    "take": take,
    "lists": lists,
    "command": command,
    "resume": lambda job: samples.resumed(job["path"]),
}


# One file after another.


def many(job: dict[str, Any]) -> dict[str, Any]:
    """The file again and again: how many models, what was raised that is no FileError, and what took too much."""
    source = os.path.normpath(os.path.join(job["path"], job["part"])) if "part" in job else job["path"]
    with open(source, "rb") as file:
        data = file.read()
    target = source if "part" in job else f"{source}.{os.getpid()}{samples.suffix(source)}"
    asked = {"path": job["path"] if "part" in job else target}
    asked |= {key: job[key] for key in ("weights", "spec", "beside", "use", "words") if key in job}
    count = Count(job)

    def read(content: bytes) -> bool:
        with open(target, "wb") as file:
            file.write(content)
        if "part" in job and job.get("seal"):
            samples.seal(job["path"])
        signal.alarm(HANGS)
        return count.add(run(asked), content)

    if "built" in job:
        seed, examples = job["built"]
        strategies.each(strategies.FORMATS[job["format"]](data), seed, examples, read)
    else:
        for content in contents(job, data):
            read(content)
    signal.alarm(0)
    if "part" in job:
        with open(target, "wb") as file:
            file.write(data)
    elif os.path.exists(target):
        os.unlink(target)
    return {"result": "flipped", **count.facts}


def contents(job: dict[str, Any], data: bytes) -> Iterable[bytes]:
    if "flips" in job:
        return (mutations.flipped(data, seed) for seed in job["flips"])
    if "cut" in job:
        return (data[:length] for length in job["cut"])
    return (mutations.altered(job.get("format", ""), data, seed) for seed in job["altered"])


class Count:
    """What came of a batch."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.keep = job.get("keep")
        self.facts: dict[str, Any] = {"files": 0, "models": 0, "odd": [], "slowest": 0.0, "largest": 0.0}

    def add(self, answer: dict[str, Any], content: bytes) -> bool:
        """Whether nothing is wrong with it."""
        facts = self.facts
        facts["slowest"], facts["largest"] = (
            max(facts["slowest"], answer["seconds"]),
            max(facts["largest"], answer["rise"]),
        )
        facts["models"] += answer["result"] == "model"
        facts["files"] += 1
        dear = answer["seconds"] > SECONDS or answer["rise"] > MEBIBYTES
        if answer["result"] != "raised" and not answer["done"] and not dear and len(answer.get("told", "")) < 4000:
            return True
        facts["odd"].append([facts["files"] - 1, answer])
        if self.keep is not None:
            Path(self.keep, f"{len(os.listdir(self.keep))}.bin").write_bytes(content)
        return False


# Memory.


def most() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def settled() -> float:
    """The same, counted from now on where the system lets it."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return most()


def apart(job: dict[str, Any]) -> dict[str, Any]:
    """One job in a child of this process, whose memory is limited."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT,) * 2)
        signal.alarm(HANGS)
        answer = run(job)
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
        USES["import"](json.loads(sys.argv[1]))
        with contextlib.suppress(FileError):
            USES["import"]({**json.loads(sys.argv[1]), "spec": spec})
    for more in map(json.loads, sys.argv[2:]):
        USES[more.get("use", "import")](more)
        if more.get("use", "import") == "import":
            lists(more)


if __name__ == "__main__":
    warm()
    for line in sys.stdin:
        print(json.dumps(apart(json.loads(line))), flush=True)
