"""lstmcore on PyTorch. Importing this module does not import torch."""

from __future__ import annotations

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
