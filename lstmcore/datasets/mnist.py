"""MNIST: 28 x 28 grey images of handwritten digits, in Keras' form.

The data are by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, derived from NIST's Special
Databases 1 and 3, under CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/). The sample that
is shipped with lstmcore is under the same licence: see MNIST.md beside this file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lstmcore.datasets.files import read_idx, read_npz
from lstmcore.errors import DatasetError

__all__ = ["ENV", "SOURCE", "Data", "Source", "load_data", "load_sample"]

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Data = tuple[Split, Split]

ENV = "LSTMCORE_DATA"
"""The environment variable that says where the file, or the directory with the files, is."""


@dataclass(frozen=True)
class Source:
    """A file on the network, and what it must be."""

    url: str
    sha256: str
    name: str


SOURCE = Source(
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    name="mnist.npz",
)
"""The file that ``keras.datasets.mnist`` uses (Keras 3.15)."""


@dataclass(frozen=True)
class _Part:
    key: str
    idx: str
    shape: tuple[int, ...]
    """of one item"""

    def names(self) -> tuple[str, ...]:
        """The file names in use for this part in IDX form, the preferred one first."""
        stems = (self.idx, self.idx.replace("-idx", ".idx"))
        return tuple(stem + suffix for suffix in ("", ".gz") for stem in stems)


_PARTS = (
    _Part("x_train", "train-images-idx3-ubyte", (28, 28)),
    _Part("y_train", "train-labels-idx1-ubyte", ()),
    _Part("x_test", "t10k-images-idx3-ubyte", (28, 28)),
    _Part("y_test", "t10k-labels-idx1-ubyte", ()),
)
_KEYS = tuple(part.key for part in _PARTS)


def load_data(path: str | os.PathLike[str] | None = None) -> Data:
    """``(x_train, y_train), (x_test, y_test)``, as ``keras.datasets.mnist.load_data`` gives them.

    Shapes, all uint8: x_train (60000, 28, 28), y_train (60000,), x_test (10000, 28, 28), y_test (10000,);
    grey levels 0 to 255, labels 0 to 9. A file with fewer or more images is read as it is.

    The data come from the first of these that is given; one that is given and unusable is an error, never
    a reason to try the next:

    1. ``path``: an ``.npz`` file, or a directory that holds ``mnist.npz`` or the four IDX files
       (``train-images-idx3-ubyte`` and so on, also with ``.idx``, also with ``.gz``). In Keras ``path`` is
       the name of a file in its cache; here it is where the data are.
    2. The environment variable ``LSTMCORE_DATA``: the same. Empty is as good as unset.
    3. lstmcore's cache directory; where the file is not there, it is downloaded once (11 MB) and its sha256
       is checked.

    Raises DatasetError if there are no data, or if they are not MNIST's: the message says which file, what
    was found and what was expected. ``load_sample`` needs neither file nor network.
    """
    if path is not None:
        return _load(Path(path), "path")
    if place := os.environ.get(ENV):
        return _load(Path(place), ENV)
    return _load_npz(_download(SOURCE))


def load_sample() -> Data:
    """A small part of MNIST, shipped with lstmcore: ``(x_train, y_train), (x_test, y_test)``.

    Shapes, all uint8: x_train (2000, 28, 28), y_train (2000,), x_test (1000, 28, 28), y_test (1000,). Every
    digit is there 200 times in the training part and 100 times in the test part, taken at equal distances
    from MNIST's own two parts and kept in their order (the rule: ``make_sample.pick``).

    By Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0: see MNIST.md.
    """
    with resources.as_file(resources.files("lstmcore.datasets") / "mnist_sample.npz") as path:
        return _load_npz(path)


def _load(place: Path, origin: str) -> Data:
    place = place.expanduser()
    if place.is_file():
        return _load_npz(place)
    if not place.is_dir():
        fault = "is neither a file nor a directory" if place.exists() else "does not exist"
        raise DatasetError(f"{origin}={str(place)!r} {fault}; expected {_accepted()}.")
    npz = place / SOURCE.name
    return _load_npz(npz) if npz.exists() else _load_idx(place, origin)


def _load_npz(path: Path) -> Data:
    return _checked(read_npz(path, _KEYS), {key: f"{path.name}: {key}" for key in _KEYS})


def _load_idx(folder: Path, origin: str) -> Data:
    found = {part: next((folder / n for n in part.names() if (folder / n).exists()), None) for part in _PARTS}
    missing = ", ".join(part.idx for part, file in found.items() if file is None)
    if missing:
        raise DatasetError(
            f"{origin}={str(folder)!r} holds no {SOURCE.name}, and of the IDX files it lacks {missing}; "
            f"expected {_accepted()}."
        )
    files = {part: file for part, file in found.items() if file is not None}
    arrays = {part.key: read_idx(file, 1 + len(part.shape)) for part, file in files.items()}
    return _checked(arrays, {part.key: file.name for part, file in files.items()})


def _checked(arrays: Mapping[str, NDArray[np.uint8]], names: Mapping[str, str]) -> Data:
    """``arrays`` as pairs, once they have the shapes and the labels of MNIST; ``names`` is for messages."""
    for part in _PARTS:
        shape = arrays[part.key].shape
        if len(shape) != 1 + len(part.shape) or shape[1:] != part.shape or not shape[0]:
            expected = ", ".join(map(str, ("n", *part.shape)))
            raise DatasetError(f"{names[part.key]} has shape {shape}; expected ({expected}) with n > 0.")
    for x, y in (("x_train", "y_train"), ("x_test", "y_test")):
        if len(arrays[x]) != len(arrays[y]):
            raise DatasetError(
                f"{names[x]} has {len(arrays[x])} images and {names[y]} has {len(arrays[y])} labels; "
                "expected as many of one as of the other."
            )
        if arrays[y].max() > 9:
            raise DatasetError(f"{names[y]} has the label {arrays[y].max()}; expected the digits 0 to 9.")
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _accepted() -> str:
    return (
        f"an .npz file with {', '.join(_KEYS)}, or a directory with {SOURCE.name} or with the IDX files "
        f"{', '.join(part.idx for part in _PARTS)} (each may end in .gz)"
    )


def _download(source: Source) -> Path:
    """The file in the cache, fetched first if it is not there with the right checksum."""
    import pooch  # type: ignore[import-untyped]  # it ships no stubs

    cache = Path(pooch.os_cache("lstmcore"))
    target = cache / source.name
    try:
        return Path(pooch.retrieve(source.url, known_hash=f"sha256:{source.sha256}", fname=source.name, path=cache))
    except OSError as error:  # also what requests raises: all its exceptions are OSErrors
        stale = " (the file there now has another checksum)" if target.exists() else ""
        raise DatasetError(
            f"MNIST is not on this machine and {source.url} could not be fetched "
            f"({type(error).__name__}: {error}). Put that file at {target}{stale}, {_or_else()}"
        ) from error
    except ValueError as error:
        raise DatasetError(
            f"{source.url} gave another file than expected, and it was not kept ({error}). "
            f"Expected sha256 {source.sha256}. Put the right file at {target}, {_or_else()}"
        ) from error


def _or_else() -> str:
    return f"or set {ENV} to where you have it: {_accepted()}. mnist.load_sample() needs no file."
