"""Who this backend is. Nothing is imported until it is used."""

from lstmcore.hookspecs import BackendPlugin, hookimpl


def load():
    from lstmcore_einsum.engine import EinsumBackend

    return EinsumBackend


@hookimpl
def lstmcore_backend():
    return BackendPlugin("einsum", load, api_version=1, requires=("numpy",), install="pip install lstmcore-einsum")
