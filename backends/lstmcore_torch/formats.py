"""The formats of files that this engine writes and runs. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore.hookspecs import Format, Judge, hookimpl


@hookimpl
def lstmcore_formats() -> Sequence[Format]:
    return ()


@hookimpl
def lstmcore_judges() -> Sequence[Judge]:
    return (
        Judge(
            "pytorch",
            "PyTorch",
            "lstmcore_torch.files:run",
            requires=("torch",),
            install='pip install "lstmcore[torch]"',
        ),
    )
