"""PyTorch's files with bits turned over and pieces moved: ``python tests/interop/pytorch/fuzz_pytorch.py 10000``.

Each is refused with a FileError or makes a model, within a second and 64 MiB, and does nothing else: an audit hook sees
every file that is opened, every module imported, every process begun. Exit status 1 otherwise.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch_files as make

import lstmcore as lc
import lstmcore.interop.own  # else what a broken header leads to is loaded under the watch
from lstmcore.errors import FileError

WATCHED = ("open", "import", "exec", "compile", "pickle.find_class", "os.system", "subprocess.Popen", "socket.connect")
SECONDS, MEBIBYTES = 1.0, 64.0


def files(folder: Path) -> list[Path]:
    """A file of each kind, in small."""
    packed = make.archive(folder / "m.pt", b"\x80\x02" + make.entries(("model", make.state()[2:-1])) + b".")
    old, safe = folder / "old.pth", folder / "m.safetensors"
    old.write_bytes(make.legacy())
    safe.write_bytes(make.safetensors(make.GOOD, make.WEIGHT + make.BIAS))
    return [packed, old, safe]


def altered(data: bytes, seed: int) -> bytes:
    """The file with some bits turned over, or a piece of it gone, doubled or elsewhere."""
    generator = random.Random(seed)
    made = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8, 64))):
        made[generator.randrange(len(made))] ^= 1 << generator.randrange(8)
    if seed % 4 == 3:
        start, size = generator.randrange(len(made)), generator.randrange(1, 40)
        piece = made[start : start + size]
        del made[start : start + size * generator.randrange(2)]
        at = generator.randrange(len(made) + 1)
        made[at:at] = piece * generator.randrange(3)
    return bytes(made)


def expected(path: Any, target: Path) -> bool:
    """Whether opening it is no surprise: the file itself, by descriptor too, and what pip installed."""
    installed = (sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(lc.__file__)))
    return not isinstance(path, str) or path == str(target) or path.startswith(installed)


def main(count: int) -> int:
    """How many files went wrong."""
    model = lc.Sequential([lc.layers.Input((3,)), lc.layers.Dense(2, name="dense")])
    warnings.simplefilter("ignore")
    events: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in WATCHED and not (event == "open" and expected(arguments[0], target)):
            events.append(f"{event} {arguments[0]!r}"[:200])

    wrong = models = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        kinds = [(path.read_bytes(), Path(f"{path.parent}/x{path.suffix}")) for path in files(Path(name))]
        for data, target in kinds:  # loads whatever a first import loads
            target.write_bytes(data)
            lc.import_model(target, spec=model)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.addaudithook(watch)
        for seed in range(count):
            data, target = kinds[seed % len(kinds)]
            target.write_bytes(altered(data, seed))
            fault, begun, watching = "", time.process_time(), True
            try:
                lc.import_model(target, spec=model)
                models += 1
            except FileError:
                pass
            except BaseException:
                fault = traceback.format_exc()
            watching = False
            took = time.process_time() - begun
            slowest = max(slowest, took)
            if fault or events or took > SECONDS:
                wrong += 1
                print(f"seed {seed}, {target.suffix}: {took:.2f} s {events[:5]} {fault}")
            events.clear()
        rise = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} files, {models} of them models, {wrong} wrong; the slowest {slowest:.3f} s, {rise:.0f} MiB")
    return wrong + (rise > MEBIBYTES)


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1])) else 0)
