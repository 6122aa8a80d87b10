"""The formats of files that this engine writes and runs. Importing this module does not import tensorflow."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore.hookspecs import Format, Judge, hookimpl


@hookimpl
def lstmcore_formats() -> Sequence[Format]:
    return ()


@hookimpl
def lstmcore_judges() -> Sequence[Judge]:
    return tuple(_keras(format, *row) for format in ("keras", "hdf5") for row in _KERAS)


_KERAS = (("Keras", "run", "keras", 'pip install "lstmcore[tensorflow]"'), ("tf_keras", "run_legacy", "tf_keras", ""))


def _keras(format: str, name: str, run: str, module: str, install: str) -> Judge:
    return Judge(
        format,
        name,
        f"lstmcore_tensorflow.keras_files:{run}",
        requires=("tensorflow", module),
        install=install or "pip install tf_keras",
    )
