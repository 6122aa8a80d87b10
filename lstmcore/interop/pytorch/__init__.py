"""PyTorch: state_dicts read without it and without unpickling; models written as one and as a module's source."""

from lstmcore.interop.pytorch.files import explain

__all__ = ["explain"]
