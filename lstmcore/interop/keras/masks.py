"""Where the mask rules of Keras 1 and 2 differ from ours, which are Keras 3's: refused, or said in a warning.

A merge layer of Keras 1 and 2 takes numbers as they are, masked or not, and its mask is the *and* of those it gets
(tf-keras, layers/merging/base_merge.py; measured). In Keras 3 it is the *or*, and what is masked is left out of
products and of the largest and least. ``mask="every"`` in a call asks for the older rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from lstmcore.errors import ExportError, UnsupportedFileError
from lstmcore.interop.keras.generations import Generation
from lstmcore.layers.module import Module
from lstmcore.layers.symbolic import EVERY, Call, history
from lstmcore.models.base import BaseModel
from lstmcore.models.functional import Model
from lstmcore.models.sequential import Sequential
from lstmcore.models.wiring import every_matters

_MERGES = ("Multiply", "Maximum", "Minimum", "Add", "Subtract", "Average", "Concatenate")


def check_masks(model: BaseModel, row: Generation, name: str) -> None:
    """UnsupportedFileError for a merge of masked tensors that comes to other numbers than it did."""
    if row.major == 3:
        return
    for inner in model.modules():
        for call in _calls(inner):
            kind = type(call.module).__name__
            masked = [tensor for tensor in call.tensors if tensor.mask is not None]
            if masked and isinstance(call.module, BaseModel) and any(_merges(call.module)):
                raise UnsupportedFileError(
                    f"{name}: {call.module.called()} gets a mask and merges tensors, for which {row.name} had another "
                    "rule than Keras 3, which lstmcore has. Take the mask away before it."
                )
            if masked and kind == "Rescaling":
                raise UnsupportedFileError(
                    f"{name}: {call.module.called()} gets a mask, which ended there in {row.name} and goes on in "
                    "Keras 3 and lstmcore. Put it before what makes the mask."
                )
            if masked and kind == "Bidirectional" and not row.zeros_in_bidirectional and call.outputs[0].mask:
                warnings.warn(
                    f"{name}: {call.module.called()} gives zeros at masked steps, where {row.name} repeated the last "
                    "output; what follows it without a mask may see the difference",
                    UserWarning,
                    stacklevel=2,
                )


def check_merges(model: BaseModel, name: str) -> None:
    """ExportError for a merge of masked tensors that Keras 2 would make by its own rule, and lstmcore does not."""
    for inner in model.modules():
        for call in _calls(inner):
            if call.arguments.get("mask") != EVERY and every_matters(call.module, call.tensors):
                raise ExportError(
                    f"{call.module.called()} merges masked tensors, for which {name} has another rule than Keras 3, "
                    "which lstmcore has."
                )


def _calls(module: Module) -> Iterator[Call]:
    """The calls of layers in a model."""
    if isinstance(module, Model):
        yield from module.graph.calls
    elif isinstance(module, Sequential) and module.built:
        yield from history(module.outputs)


def _merges(model: BaseModel) -> Iterator[bool]:
    return (type(part).__name__ in _MERGES for part in model.modules())
