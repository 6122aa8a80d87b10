"""The weight file: one ``.safetensors`` file, by name, verified. Its normative text is docs/weight-file.md."""

from lstmcore.weights.file import WeightFile, read, read_header, write
from lstmcore.weights.header import Header, is_own

__all__ = ["Header", "WeightFile", "is_own", "read", "read_header", "write"]
