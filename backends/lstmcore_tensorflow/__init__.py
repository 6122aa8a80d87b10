"""lstmcore on TensorFlow. Importing this module does not import tensorflow."""

from __future__ import annotations

import importlib
from typing import Any

from lstmcore.contract import Backend
from lstmcore.hookspecs import BackendPlugin, hookimpl

WRITTEN_FOR = 1


def _load() -> type[Backend]:
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its start-up notes are not the user's business
    from lstmcore_tensorflow.backend import TensorflowBackend

    return TensorflowBackend


@hookimpl
def lstmcore_backend() -> BackendPlugin:
    return BackendPlugin(
        name="tensorflow",
        load=_load,
        api_version=WRITTEN_FOR,
        requires=("tensorflow",),
        distribution="tensorflow",
        install='pip install "lstmcore[tensorflow]"',
    )


# What deals with models that live in Keras needs it, and is imported when it is asked for.
_OBJECTS = ("from_keras", "to_keras")


def __getattr__(name: str) -> Any:
    if name not in _OBJECTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.objects"), name)


def __dir__() -> list[str]:
    return [*globals(), *_OBJECTS]
