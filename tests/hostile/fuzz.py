"""Every reader on files altered at random, for some minutes: ``python tests/hostile/fuzz.py --minutes 5``.

Each file is refused with a FileError or makes a model, within a second of the processor and 64 MiB, and does nothing
else: an audit hook sees files, processes, connections and code. What does not is printed with its format and seed, and
the exit status is 1. ``--format NAME`` takes one format, ``--seed K`` begins there; see `mutations`.
"""

from __future__ import annotations

import argparse
import json
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
PARTS = (
    "assets.extra/lstmcore.json",
    "assets.extra/lstmcore.model.json",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
)


def jobs(name: str, folder: Path) -> list[dict[str, Any]]:
    """The file of a format to begin with; of a folder, once for each of its files, their digests right and not."""
    folder.mkdir()
    job = {**samples.FORMATS[name](folder), "format": name}
    if name != "saved_model":
        return [job]
    return [{**job, "part": part, "seal": seal} for part in PARTS for seal in (part != PARTS[0], False)]


def fuzz(ask: Reader, folder: Path, names: list[str], seconds: float, seed: int) -> int:
    """How many files went wrong; the formats take turns."""
    kinds = {name: jobs(name, folder / name) for name in names}
    counts = {name: [0, 0, 0, 0.0, 0.0] for name in names}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in names:
            job = kinds[name][seed // BATCH % len(kinds[name])]
            answer = ask({**job, "altered": list(range(seed, seed + BATCH))})
            count = counts[name]
            count[0] += BATCH
            if answer["result"] != "flipped" or answer["odd"]:
                count[2] += max(len(answer.get("odd", [])), 1)
                print(json.dumps({"format": name, "part": job.get("part"), "from": seed, **answer})[:3000], flush=True)
            count[1] += answer.get("models", 0)
            count[3], count[4] = max(count[3], answer.get("slowest", 0)), max(count[4], answer.get("largest", 0))
        seed += BATCH
    for name, (files, models, wrong, slow, large) in counts.items():
        print(f"{name:13} {files} files, {models} models, {wrong} wrong; {slow:.2f} s, {large:.0f} MiB at most")
    return sum(int(count[2]) for count in counts.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--format", choices=list(samples.FORMATS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    names = [given.format] if given.format else list(samples.FORMATS)
    with tempfile.TemporaryDirectory() as folder, reading(Path(folder), names) as ask:
        return 1 if fuzz(ask, Path(folder), names, 60 * given.minutes, given.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
