"""Weights in a file beside the model, ONNX's "external data", for models that one protocol buffer cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstmcore.interop.onnx.library import onnx

Array = NDArray[Any]
LEAST = 1 << 10  # bytes; smaller ones stay in the model
ALIGNED = 1 << 12  # so that an engine can map each into memory
_PIECE = 1 << 26


@dataclass
class Beside:
    """A file of weights in the making: where in it each will be."""

    location: str
    arrays: list[tuple[int, Array]] = field(default_factory=list)
    end: int = 0

    def tensor(self, array: Array, name: str) -> Any:
        """The entry in the model for an array that goes into the file."""
        start = -(-self.end // ALIGNED) * ALIGNED
        self.arrays.append((start, array))
        self.end = start + array.nbytes
        types, helper = onnx().TensorProto, onnx().helper
        found = types(dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), name=name)
        found.data_location = types.EXTERNAL
        for key, value in (("location", self.location), ("offset", str(start)), ("length", str(array.nbytes))):
            entry = found.external_data.add()
            entry.key, entry.value = key, value
        return found

    def write(self, file: BinaryIO) -> None:
        """The bytes, little-endian, zeros between them."""
        for start, array in self.arrays:
            file.write(b"\0" * (start - file.tell()))
            flat = np.ascontiguousarray(array).reshape(-1)
            step = max(_PIECE // array.itemsize, 1)
            for at in range(0, flat.size, step):
                part = flat[at : at + step]
                file.write(part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes())
