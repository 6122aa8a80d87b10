"""HDF5 files of plain arrays and texts, written through h5py. The same content gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import MissingLibraryError

Array = NDArray[Any]

MOST_BESIDE = 64000
"""The most bytes of a list of texts in one piece: the header that holds it has 64 KiB."""


@dataclass(frozen=True)
class Group:
    """A group of the file: its place ("" is the root), arrays by name, and the texts and lists of texts beside them.

    Names of arrays may lead into groups within it.
    """

    place: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    texts: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


def write_hdf5(file: IO[bytes], groups: Iterable[Group]) -> None:
    """Writes the groups, in order, to a file that is open for reading and writing.

    Raises:
        MissingLibraryError: h5py is not installed.
        OSError: it cannot be written.
    """
    h5py = _library()
    with h5py.File(file, "w") as root:
        for entry in groups:
            group = root.require_group(entry.place) if entry.place else root
            for key, value in entry.texts.items():
                for name, piece in _pieces(key, value):
                    group.attrs[name] = piece
            for name, array in entry.arrays.items():
                group.create_dataset(name, data=array)


def _pieces(key: str, value: str | Sequence[str]) -> list[tuple[str, Any]]:
    """A text as it is; a list in pieces that fit beside a group, ``key0``, ``key1``, ..., where one is not enough."""
    if isinstance(value, str):
        return [(key, value.encode())]
    texts = np.asarray([text.encode() for text in value])
    count = max(-(-texts.nbytes // MOST_BESIDE), 1)
    pieces = np.array_split(texts, count)
    return [(key, pieces[0])] if count == 1 else [(f"{key}{k}", piece) for k, piece in enumerate(pieces)]


def _library() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        if error.name != "h5py":
            raise
        raise MissingLibraryError(
            "h5py writes HDF5 files, and is not installed: pip install 'lstmcore[hdf5]'"
        ) from None
    return h5py
