"""PyTorch's state_dicts, read without PyTorch and without unpickling: `files.read`, `files.explain`."""

from lstmcore.interop.pytorch.files import explain

__all__ = ["explain"]
