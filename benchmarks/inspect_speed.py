"""How long ``lstmcore inspect`` takes on files of 1 GB, and how much memory: the headers alone are read.

Usage: python benchmarks/inspect_speed.py [--megabytes 1024]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

MEGABYTE = 1 << 20


def onnx_file(path: Path, count: int) -> None:
    """Initializers of 16 MB each, with numbers in them."""
    import onnx
    from onnx import helper, numpy_helper

    numbers = np.random.default_rng(0).random(4 * MEGABYTE, np.float32)
    arrays = [numpy_helper.from_array(numbers.reshape(2048, -1), f"layer_{k}/kernel") for k in range(count // 16)]
    y = helper.make_tensor_value_info("y", 1, [1])
    onnx.save(
        helper.make_model(helper.make_graph([helper.make_node("Identity", ["y0"], ["y"])], "g", [], [y], arrays)), path
    )


def h5_file(path: Path, count: int) -> None:
    """Datasets of 16 MB each."""
    import h5py

    numbers = np.random.default_rng(0).random((2048, 2 * 1024), np.float32)
    with h5py.File(path, "w") as file:
        for k in range(count // 16):
            file.create_dataset(f"layer_{k}/layer_{k}/kernel:0", data=numbers)


def keras_file(path: Path, count: int) -> None:
    """The same in a ``.keras`` archive."""
    import zipfile

    h5_file(path.with_suffix(".inner"), count)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.4.1"}')
        archive.writestr("config.json", '{"class_name": "Sequential", "config": {"name": "m", "layers": []}}')
        archive.write(path.with_suffix(".inner"), "model.weights.h5")
    path.with_suffix(".inner").unlink()


FILES: Mapping[str, Callable[[Path, int], None]] = {"m.onnx": onnx_file, "m.h5": h5_file, "m.keras": keras_file}


def measured(path: Path) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, and MB of memory at most, of ``lstmcore inspect`` in a process of its own."""
    code = (
        "import resource, sys\n"
        "from lstmcore.cli import cli\n"
        "cli(['inspect', sys.argv[1]], standalone_mode=False)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    processor, kilobytes = done.stdout.splitlines()[-1].split()
    return seconds, float(processor), int(kilobytes) / 1024


def main() -> None:
    """Prints a line a format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)  # in a process of its own: a child inherits the peak
    told = parser.parse_args()
    if told.make:
        FILES[told.make[0]](Path(told.make[1]), told.megabytes)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            path = Path(folder, name)
            make = [sys.executable, __file__, "--megabytes", str(told.megabytes), "--make", name, path]
            subprocess.run(make, check=True)
            seconds, processor, most = measured(path)
            size = os.path.getsize(path) / MEGABYTE
            print(
                f"{name:8} {size:6.0f} MB  {seconds:5.2f} s, {processor:.2f} s of processor  {most:5.0f} MB of memory"
            )
            path.unlink()


if __name__ == "__main__":
    main()
