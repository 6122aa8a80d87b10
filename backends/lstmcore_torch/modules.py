"""Models of lstmcore as live modules of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lstmcore.errors import SpecError
from lstmcore.interop.pytorch.source import Source, source
from lstmcore.interop.pytorch.state import Entry, from_state, to_state
from lstmcore.layers.base import Layer

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = np.ndarray[Any, Any]


def to_module(model: BaseModel, share: bool = True) -> nn.Module:
    """The model as an `nn.Module`: that of the source which ``export_model(model, "model.pt")`` writes.

    ::

        module = lstmcore_torch.to_module(model)
        module(torch.randn(2, 7, 3))  # batch first; several inputs in the model's order
        optimizer = torch.optim.Adam(module.parameters())  # layers that are not trainable here are not there

    With ``share`` model and module have one set of weights: what training makes of the module's, the model predicts
    with, on any engine, until it gets weights of its own (`fit`, `set_weights`, `load_weights`). Their memory is one
    where PyTorch stores a weight as it is here, or transposed; the gates of a GRU stand in another order there, and
    two biases are added: these are copied whenever they changed. The same holds once the module is on another device
    or of another dtype. What is done to ``parameter.data`` is not noticed: PyTorch does not count it. Without
    ``share``, and for a `ProgramModel`, all is copied once.

    The module predicts (``eval()``); ``train()`` switches Dropout and its like on. PyTorch's recurrent modules have
    two biases where the model has one: training moves their sum twice as fast.

    Raises:
        ExportError: PyTorch cannot hold this model, and why.
        SpecError: the model has no weights yet.
    """
    if not model.built:
        raise SpecError(f"{model.called()} has no weights yet; call build(input_shape), or give it an Input")
    made = source(model, "model.pt")
    module: nn.Module = run(made.text)["Model"]().eval()
    state = to_state(made.entries, model.every_path(), model.dtype)
    module.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in state.items()}, strict=True)
    if share:
        _lend(model, module, made)
    return module


def run(text: str, path: str = "model.pt") -> dict[str, Any]:
    """What a source defines. Only for what `source` gave in this very process."""
    namespace: dict[str, Any] = {"__name__": "lstmcore_module", "__file__": path, "TRACE": {}}
    exec(compile(text, "<written by lstmcore>", "exec"), namespace)
    return namespace


def _lend(model: BaseModel, module: nn.Module, made: Source) -> None:
    """Lets the layers take their weights from the module, whenever they are asked for them."""
    paths = model.one_path()
    owned: dict[int, tuple[Layer, dict[str, str]]] = {}
    for path, owner, name in model.owners():
        if isinstance(owner, Layer):
            owned.setdefault(id(owner), (owner, {}))[1].setdefault(name, paths[path])
    for layer, names in owned.values():
        layer.lend(*_lender(module, made.entries, names, model.dtype))


def _lender(
    module: nn.Module, entries: tuple[Entry, ...], names: Mapping[str, str], dtype: str
) -> tuple[Callable[[], dict[str, Array]], Callable[[], Hashable]]:
    """What gives the weights of one layer, and what tells whether they changed."""
    wanted = [entry for entry in entries if entry.path in names.values()]

    def held() -> dict[str, torch.Tensor]:
        parts = [entry.key.rpartition(".") for entry in wanted]
        return {e.key: getattr(module.get_submodule(at), name) for e, (at, _, name) in zip(wanted, parts, strict=True)}

    def stamp() -> Hashable:
        return tuple((tensor.data_ptr(), tensor._version) for tensor in held().values())

    def now() -> dict[str, Array]:
        state = {key: tensor.detach().cpu().numpy() for key, tensor in held().items()}
        found = from_state(wanted, state, dtype)
        for array in found.values():
            array.flags.writeable = False
        return {name: found[path] for name, path in names.items()}

    return now, stamp
