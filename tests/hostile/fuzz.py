"""Every reader on files made to break it, for some minutes: ``python tests/hostile/fuzz.py --minutes 30``.

The formats take turns; each round is a hundred files with bits turned over, as many altered in the terms of their
format (`mutations`), and as many that hypothesis builds (`strategies`). Each file is refused with a FileError whose
message is short, or makes a model, within a second of the processor and 64 MiB, and does nothing else: an audit hook
sees files, processes, connections and code. What does not is printed with its format and seed, the file is kept in
``--keep`` (of those that hypothesis builds, the simplest of that kind last), and the exit status is 1.
``--format NAME`` takes one format, ``--seed K`` begins there. With ``--bytes``, a half of the time is
`fuzz_bytes`, guided by what the readers do, if the package atheris is installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop")]

import samples  # noqa: E402
from reader import Reader, reading  # noqa: E402

BATCH = 100
WAYS = ("flips", "altered", "built")


def batch(way: str, seed: int) -> dict[str, list[int]]:
    """What a job says of the files of one round."""
    return {way: [seed, BATCH] if way == "built" else list(range(seed, seed + BATCH))}


def fuzz(ask: Reader, folder: Path, names: list[str], seconds: float, seed: int) -> int:
    """How many files went wrong; the formats take turns."""
    kinds = {name: samples.jobs(name, folder / name) for name in names}
    counts = {name: {"files": 0, "models": 0, "wrong": 0, "slowest": 0.0, "largest": 0.0} for name in names}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in names:
            job = kinds[name][seed // BATCH % len(kinds[name])]
            for way in WAYS:
                answer = ask({**job, **batch(way, seed)})
                _add(counts[name], answer, {"format": name, "part": job.get("part"), "way": way, "seed": seed})
        seed += BATCH
    for name, count in counts.items():
        print(
            f"{name:15} {count['files']} files, {count['models']} models, {count['wrong']} wrong; "
            f"{count['slowest']:.2f} s, {count['largest']:.0f} MiB at most"
        )
    return sum(int(count["wrong"]) for count in counts.values())


def _add(count: dict[str, float], answer: dict[str, Any], about: dict[str, Any]) -> None:
    if answer["result"] != "flipped" or answer["odd"]:
        count["wrong"] += max(len(answer.get("odd", [])), 1)
        print(json.dumps({**about, **answer})[:3000], flush=True)
    count["files"] += answer.get("files", 0)
    count["models"] += answer.get("models", 0)
    for key in ("slowest", "largest"):
        count[key] = max(count[key], answer.get(key, 0))


def by_bytes(names: list[str], seconds: float) -> int:
    """How many formats went wrong under `fuzz_bytes`."""
    wrong = 0
    for name in names:
        command = [sys.executable, str(HERE / "fuzz_bytes.py"), name, f"{max(seconds / len(names), 1):.0f}"]
        wrong += subprocess.run(command, check=False).returncode != 0
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--format", choices=list(samples.ALL))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where files that went wrong are kept")
    parser.add_argument("--bytes", action="store_true")
    given = parser.parse_args()
    names = [given.format] if given.format else list(samples.ALL)
    seconds = 60 * given.minutes / (2 if given.bytes else 1)
    with tempfile.TemporaryDirectory() as folder, reading(Path(folder), names, keep=given.keep) as ask:
        wrong = fuzz(ask, Path(folder), names, seconds, given.seed)
    return 1 if wrong + (by_bytes(names, seconds) if given.bytes else 0) else 0


if __name__ == "__main__":
    sys.exit(main())
