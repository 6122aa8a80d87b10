"""lstmcore: recurrent models described once, run on any engine, carried between them, proved equal.

Importing it imports no engine, and of itself only what is used: the names below load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmcore import (
        callbacks,
        constraints,
        datasets,
        errors,
        initializers,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        regularizers,
        text,
    )
    from lstmcore.interop import export_model, import_model
    from lstmcore.models import Sequential, load_model
    from lstmcore.plugins import BackendInfo, backends, get_backend, set_backend, use_backend
    from lstmcore.random import set_random_seed
    from lstmcore.runtime.compare import Comparison, compare

__version__ = "0.1.0"

_HOMES = {
    "BackendInfo": "lstmcore.plugins",
    "Comparison": "lstmcore.runtime.compare",
    "Sequential": "lstmcore.models",
    "backends": "lstmcore.plugins",
    "compare": "lstmcore.runtime.compare",
    "export_model": "lstmcore.interop",
    "get_backend": "lstmcore.plugins",
    "import_model": "lstmcore.interop",
    "load_model": "lstmcore.models",
    "set_backend": "lstmcore.plugins",
    "set_random_seed": "lstmcore.random",
    "use_backend": "lstmcore.plugins",
}
_MODULES = (
    "callbacks",
    "constraints",
    "datasets",
    "errors",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "text",
)

__all__ = [
    "BackendInfo",
    "Comparison",
    "Sequential",
    "__version__",
    "backends",
    "callbacks",
    "compare",
    "constraints",
    "datasets",
    "errors",
    "export_model",
    "get_backend",
    "import_model",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "set_backend",
    "set_random_seed",
    "text",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"lstmcore.{name}")
    raise AttributeError(f"module 'lstmcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
