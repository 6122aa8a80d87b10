"""Where the mask rules of Keras 1 and 2 differ from ours, which are Keras 3's: refused, or said in a warning.

A merge layer of Keras 1 and 2 takes numbers as they are, masked or not, and its mask is the *and* of those it gets
(tf-keras, layers/merging/base_merge.py; measured). In Keras 3 it is the *or*, and what is masked is left out of
products and of the largest and least.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from lstmcore.errors import UnsupportedFileError
from lstmcore.interop.keras.generations import Generation
from lstmcore.layers.symbolic import Call, SymbolicTensor
from lstmcore.models.base import BaseModel
from lstmcore.models.functional import Model

_NUMBERS = ("Multiply", "Maximum", "Minimum")
_MERGES = (*_NUMBERS, "Add", "Subtract", "Average", "Concatenate")
_MAKERS = ("Masking", "Embedding")


def check_masks(model: BaseModel, row: Generation, name: str) -> None:
    """UnsupportedFileError for a merge of masked tensors that comes to other numbers than it did."""
    if row.major == 3:
        return
    for inner in model.modules():
        for call in inner.graph.calls if isinstance(inner, Model) else ():
            kind = type(call.module).__name__
            masked = [tensor for tensor in call.tensors if tensor.mask is not None]
            if masked and kind in _MERGES and (kind in _NUMBERS or len(set(map(_origin, call.tensors))) > 1):
                raise UnsupportedFileError(
                    f"{name}: {call.module.called()} merges masked tensors, and {row.name} did so by another rule than "
                    "Keras 3, which lstmcore has. Take the masks away before it, or make the model anew."
                )
            if masked and isinstance(call.module, BaseModel) and any(_merges(call.module)):
                raise UnsupportedFileError(
                    f"{name}: {call.module.called()} gets a mask and merges tensors, for which {row.name} had another "
                    "rule than Keras 3, which lstmcore has. Take the mask away before it."
                )
            if masked and kind == "Bidirectional" and not row.zeros_in_bidirectional and call.outputs[0].mask:
                warnings.warn(
                    f"{name}: {call.module.called()} gives zeros at masked steps, where {row.name} repeated the last "
                    "output; what follows it without a mask may see the difference",
                    UserWarning,
                    stacklevel=2,
                )


def _merges(model: BaseModel) -> Iterator[bool]:
    return (type(part).__name__ in _MERGES for part in model.modules())


def _origin(tensor: SymbolicTensor) -> Call | None:
    """The call that made the mask of a tensor."""
    while tensor.mask is not None and type(tensor.call.module).__name__ not in _MAKERS and tensor.call.tensors:
        tensor = tensor.call.tensors[0]
    return None if tensor.mask is None else tensor.call
