"""Every exception lstmcore raises by itself.

::

    LstmcoreError
    ├── SpecError (ValueError)            a layer, a model or a program is described wrongly
    ├── InputError (ValueError)           data handed to a model does not fit it
    ├── WeightsError (ValueError)         arrays handed to a model are not its weights
    ├── FileError (ValueError)            a file cannot be used
    │   ├── DamagedFileError              truncated, altered, or not what its header says
    │   ├── ForeignFileError              whole, but of another format
    │   ├── FileVersionError              written by a version this one cannot read
    │   ├── UnsafeFileError               asks for what no model needs: code, other files, memory beyond its size
    │   ├── UnsupportedFileError          whole, but its model needs what lstmcore lacks
    │   │   └── WeightsAloneError         it holds weights, and not the model they are for
    │   └── WeightsMismatchError          whole, but for another model: names, shapes, dtypes
    ├── ExportError (ValueError)          a format cannot hold a model without loss
    ├── MissingLibraryError (ImportError) a package that a file format needs is not installed
    ├── DatasetError (OSError)            a data set is not there, or is not what it should be
    ├── TrainingError (RuntimeError)      training came to numbers with which it cannot go on
    └── BackendError (RuntimeError)       an engine cannot be used
        ├── UnknownBackendError (also ValueError)   no plugin has that name
        ├── MissingBackendError           its framework is not installed
        ├── BrokenBackendError            its plugin does not load, or breaks the contract
        ├── DeviceError (also ValueError) it has no such device
        └── UnsupportedOp (also NotImplementedError)   it cannot run this op with these options

Messages say what was given, what was expected and what to do. Exceptions of other libraries pass
through as they are.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LstmcoreError(Exception):
    """Base of all of the above."""


class SpecError(LstmcoreError, ValueError):
    """A layer, a model or a program is described wrongly."""


class InputError(LstmcoreError, ValueError):
    """Data handed to a model does not fit it."""


class WeightsError(LstmcoreError, ValueError):
    """Arrays handed to a model are not its weights."""


class FileError(LstmcoreError, ValueError):
    """A file cannot be used."""


class DamagedFileError(FileError):
    """A file is truncated, altered, or not what its own header says."""


class ForeignFileError(FileError):
    """A file is whole, but of another format than the one asked for."""


class FileVersionError(FileError):
    """A file was written by a version that this one cannot read."""


class UnsafeFileError(FileError):
    """A file asks for what no model needs: code to run, other files, more memory than its model has weights."""


class UnsupportedFileError(FileError):
    """A file is whole, but its model needs what lstmcore lacks, or is no model."""


class WeightsAloneError(UnsupportedFileError):
    """A file holds weights, and does not say what computes with them: ``spec=`` must."""


class WeightsMismatchError(FileError):
    """A weight file is whole, but for another model."""


class ExportError(LstmcoreError, ValueError):
    """A format cannot hold a model without loss."""


class MissingLibraryError(LstmcoreError, ImportError):
    """A package that a file format needs is not installed."""


class DatasetError(LstmcoreError, OSError):
    """A data set is not there, or is not what it should be."""


class TrainingError(LstmcoreError, RuntimeError):
    """Training came to numbers with which it cannot go on."""


class BackendError(LstmcoreError, RuntimeError):
    """An engine cannot be used."""


class UnknownBackendError(BackendError, ValueError):
    """No plugin has that name."""


class MissingBackendError(BackendError):
    """The framework that a backend needs is not installed."""


class BrokenBackendError(BackendError):
    """A backend's plugin does not load, or breaks the contract."""


class DeviceError(BackendError, ValueError):
    """A backend has no such device."""


class UnsupportedOp(BackendError, NotImplementedError):  # noqa: N818  the name is public
    """A backend cannot run an op with the options given."""


def near(name: object, known: Iterable[str]) -> str:
    """The end of an "unknown name" message: near misses first, then all that is known."""
    names = sorted(known)
    folded = {known_name.lower(): known_name for known_name in reversed(names)}
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    close = close or [folded[c] for c in difflib.get_close_matches(str(name).lower(), folded, n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


def shortened(text: str) -> str:
    """A message that a file has a part in, cut to a length that can be shown."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


_LONGEST = 3600
