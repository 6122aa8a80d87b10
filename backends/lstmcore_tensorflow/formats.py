"""The formats of files that this engine writes and runs. Importing this module does not import tensorflow."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore.hookspecs import Format, Judge, hookimpl

_INSTALL = 'pip install "lstmcore[tensorflow]"'


@hookimpl
def lstmcore_formats() -> Sequence[Format]:
    return (
        Format(
            "saved_model",
            ("/",),
            ("saved_model.pb", "assets.extra"),
            reads="lstmcore_tensorflow.files.saved_model:read",
            writes="lstmcore_tensorflow.files.saved_model:write",
            lists="lstmcore_tensorflow.listing.saved_model:lists",
        ),
        Format(
            "tflite",
            (".tflite",),
            ("tflite",),
            writes="lstmcore_tensorflow.files.tflite:write",
            lists="lstmcore_tensorflow.listing.tflite:lists",
        ),
    )


@hookimpl
def lstmcore_judges() -> Sequence[Judge]:
    return (
        Judge(
            "saved_model",
            "TensorFlow",
            "lstmcore_tensorflow.files.saved_model:run",
            requires=("tensorflow",),
            install=_INSTALL,
            states=True,
        ),
        Judge(
            "tflite",
            "TFLite",
            "lstmcore_tensorflow.files.tflite:run",
            requires=("tensorflow",),
            install=_INSTALL,
            states=True,
        ),
        *(_keras(format, *row) for format in ("keras", "hdf5") for row in _KERAS),
    )


_KERAS = (("Keras", "run", "keras", _INSTALL), ("tf_keras", "run_legacy", "tf_keras", "pip install tf_keras"))


def _keras(format: str, name: str, run: str, module: str, install: str) -> Judge:
    place = f"lstmcore_tensorflow.keras_files:{run}"
    return Judge(format, name, place, requires=("tensorflow", module), install=install)
