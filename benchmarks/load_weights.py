"""Time and memory of reading a weight file, beside safetensors.numpy.load_file, which checks no digests.

    python benchmarks/load_weights.py --megabytes 1000 --runs 5

Every run is a process of its own; the two take turns; the file is in the page cache. Memory is by how
much the process' peak grew, in parts of the file's size.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

READERS = ("lstmcore", "safetensors", "header")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the file (default 1000)")
    parser.add_argument("--tensors", type=int, default=16, help="number of tensors in it (default 16)")
    parser.add_argument("--runs", type=int, default=5, help="of each side (default 5)")
    parser.add_argument("--once", nargs=2, metavar=("READER", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(*options.once)))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "weights.safetensors"
        make(path, options.megabytes, options.tensors)
        compare(path, options.runs)


def make(path: Path, megabytes: int, tensors: int) -> None:
    """A file of random float32, written in this process; prints what that took."""
    import numpy as np

    from lstmcore.weights import write

    rng = np.random.default_rng(0)
    shape = (megabytes * 1_000_000 // (4 * 256 * tensors), 256)
    arrays = {f"layer_{index}/kernel": rng.random(shape, np.float32) for index in range(tensors)}
    before, start = peak(), time.perf_counter()
    write(path, arrays, "{}")
    seconds, grown = time.perf_counter() - start, peak() - before
    size = path.stat().st_size
    print(f"{size / 1e6:.0f} MB in {tensors} tensors; written in {seconds:.2f} s, peak + {grown / size:.2f} of it")


def compare(path: Path, runs: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {reader: [] for reader in READERS}
    for _ in range(runs):
        for reader in READERS:
            command = [sys.executable, __file__, "--once", reader, str(path)]
            found[reader].append(tuple(json.loads(subprocess.check_output(command))))
    for reader, pairs in found.items():
        seconds, memory = zip(*pairs, strict=True)
        print(
            f"{reader:12} {statistics.median(seconds):6.3f} s ({min(seconds):.3f} to {max(seconds):.3f})   "
            f"memory {statistics.median(memory):5.2f} of the file ({min(memory):.2f} to {max(memory):.2f})"
        )


def once(reader: str, path: str) -> tuple[float, float]:
    """Seconds, and peak memory in parts of the file, of one reading."""
    from safetensors.numpy import load_file

    from lstmcore.weights import read, read_header

    readers: dict[str, Callable[[str], object]]
    readers = {"lstmcore": read, "safetensors": load_file, "header": read_header}
    load = readers[reader]
    before, start = peak(), time.perf_counter()
    kept = load(path)
    seconds, grown = time.perf_counter() - start, peak() - before
    del kept
    return seconds, grown / Path(path).stat().st_size


def peak() -> int:
    """The most memory this process has had so far, in bytes.

    On Linux ru_maxrss would be the parent's peak where that is higher: it survives fork and exec.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
