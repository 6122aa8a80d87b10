"""lstmcore on PyTorch. Importing this module does not import torch."""

from __future__ import annotations

from typing import Any

from lstmcore.contract import Backend
from lstmcore.hookspecs import BackendPlugin, hookimpl

WRITTEN_FOR = 1


def _load() -> type[Backend]:
    from lstmcore_torch.backend import TorchBackend

    return TorchBackend


@hookimpl
def lstmcore_backend() -> BackendPlugin:
    return BackendPlugin(
        name="torch",
        load=_load,
        api_version=WRITTEN_FOR,
        requires=("torch",),
        distribution="torch",
        install='pip install "lstmcore[torch]"',
    )


_LIVE = {"from_module": "objects", "to_module": "modules"}


def __getattr__(name: str) -> Any:
    """What deals with live modules is imported, and PyTorch with it, when it is asked for."""
    if name not in _LIVE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LIVE[name]}"), name)
