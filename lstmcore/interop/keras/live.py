"""Keras models that live in this process, read through the tables of their files. Keras itself is not touched here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.interop.keras.arrays import Match
from lstmcore.interop.keras.files import built
from lstmcore.interop.keras.listed import listed
from lstmcore.interop.keras.time_major import with_time_first
from lstmcore.models.base import BaseModel
from lstmcore.storage.hdf5 import DTYPES, Dataset

Array = NDArray[Any]
Variables = Sequence[tuple[str, Any]]
"""Names, such as ``"lstm/lstm_cell/kernel"``, and whatever has a shape and a dtype."""


class Live:
    """The variables of a model's layers, in the form of a file that lists them."""

    def __init__(self, name: str, layers: Mapping[str, Variables], numpy: Callable[[Any], Array]) -> None:
        self.name = name
        self.datasets: dict[str, Dataset] = {}
        self.groups: dict[str, None] = {"": None}
        self._numpy = numpy
        self._texts: dict[tuple[str, str], list[str]] = {("", "layer_names"): list(layers)}
        for layer, variables in layers.items():
            self.groups[layer] = None
            self._texts[layer, "weight_names"] = [self._add(layer, path, one) for path, one in variables]

    def _add(self, layer: str, path: str, variable: Any) -> str:
        group, _, last = path.split(":")[0].rpartition("/")
        count = 0
        # two cells of a stack may have one name
        while f"{layer}/{path}" in self.datasets:
            count += 1
            path = f"{group}_{count}/{last}"
        # tf.float32 calls itself so; Keras 3 and tf_keras have the name alone
        dtype = getattr(variable.dtype, "name", variable.dtype)
        shape = tuple(int(n) for n in variable.shape)
        self.datasets[f"{layer}/{path}"] = Dataset(
            f"{layer}/{path}", shape, str(dtype) if dtype in DTYPES else None, variable
        )
        return path

    def texts(self, path: str, key: str) -> list[str] | None:
        """A list of texts beside a group."""
        return self._texts.get((path, key))

    def read(self, dataset: Dataset, watch: Callable[[Array], None] = lambda _: None) -> Array:
        """A copy of a variable; ``watch`` is given its numbers."""
        array = np.array(self._numpy(dataset.handle))
        watch(array)
        return array


def from_live(
    description: Any, layers: Mapping[str, Variables], numpy: Callable[[Any], Array], name: str, version: str
) -> BaseModel:
    """The model that lives in a Keras, with copies of its weights.

    Args:
        description: what its ``to_json`` says, parsed.
        layers: the variables of each layer of the model, by the layer's name.
        numpy: makes an array of a variable.
        name: what messages call it.
        version: that of Keras.

    Raises:
        FileError: lstmcore lacks what the model needs; see `lstmcore.import_model`.
    """
    file = Live(name, layers, numpy)
    made = built(description, version, name)
    match = Match(file, made.model)
    listed(match, "", made.renamed)
    match.check()
    match.read()
    return with_time_first(made.model, made.axes) if made.turned else made.model
