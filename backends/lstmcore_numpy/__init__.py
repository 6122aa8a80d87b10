"""lstmcore on NumPy: the reference, in float64, that judges all other backends."""

from __future__ import annotations

from lstmcore.contract import Backend
from lstmcore.hookspecs import BackendPlugin, hookimpl

WRITTEN_FOR = 1


def _load() -> type[Backend]:
    from lstmcore_numpy.backend import NumpyBackend

    return NumpyBackend


@hookimpl
def lstmcore_backend() -> BackendPlugin:
    return BackendPlugin(
        name="numpy",
        load=_load,
        api_version=WRITTEN_FOR,
        requires=("numpy",),
        distribution="numpy",
        install="pip install lstmcore",
    )
