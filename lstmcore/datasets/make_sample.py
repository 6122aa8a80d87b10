"""Writes the sample of MNIST that lstmcore ships::

    python -m lstmcore.datasets.make_sample PATH_TO_MNIST OUT

The same data give the same bytes wherever zlib is the same: the file carries no clock and no user.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lstmcore.datasets import mnist
from lstmcore.errors import DatasetError

TRAIN_PER_DIGIT = 200
TEST_PER_DIGIT = 100

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def pick(labels: NDArray[np.uint8], per_digit: int) -> NDArray[np.intp]:
    """Which images to take: of each digit's n images, in file order, numbers ``n * i // per_digit``.

    That is ``per_digit`` of each digit at equal distances through the whole file, because MNIST's two
    sources of writers do not mix evenly along it. The result is sorted, so the images keep the order, and
    with it the mixture of digits, of the original.

    Raises DatasetError if a digit has fewer than ``per_digit`` images.
    """
    chosen = []
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        if len(places) < per_digit:
            raise DatasetError(f"the digit {digit} has {len(places)} images; expected at least {per_digit}.")
        chosen.append(places[len(places) * np.arange(per_digit) // per_digit])
    return np.sort(np.concatenate(chosen))


def sample(data: mnist.Data) -> dict[str, NDArray[np.uint8]]:
    """The arrays of the sample, by their names in the file."""
    (x_train, y_train), (x_test, y_test) = data
    train, test = pick(y_train, TRAIN_PER_DIGIT), pick(y_test, TEST_PER_DIGIT)
    return {
        "x_train": x_train[train],
        "y_train": y_train[train],
        "x_test": x_test[test],
        "y_test": y_test[test],
    }


def write(arrays: Mapping[str, NDArray[np.uint8]], out: Path) -> None:
    """An ``.npz`` file in which everything but the arrays is fixed: dates, modes, order, level."""
    with zipfile.ZipFile(out, "w") as archive:
        for key, array in arrays.items():
            content = io.BytesIO()
            npy.write_array(content, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy", date_time=_EPOCH)
            info.create_system, info.external_attr = _UNIX, 0o644 << 16
            archive.writestr(info, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


def main(argv: Sequence[str] | None = None) -> None:
    """The command; ``argv`` defaults to the process's own."""
    parser = argparse.ArgumentParser(
        prog="python -m lstmcore.datasets.make_sample", description="Write the sample of MNIST."
    )
    parser.add_argument("mnist", type=Path, help="the full set: mnist.npz, or a directory with the IDX files")
    parser.add_argument("out", type=Path, help="the .npz file to write")
    options = parser.parse_args(argv)
    write(sample(mnist.load_data(options.mnist)), options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
