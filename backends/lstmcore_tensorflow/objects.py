"""Models that live in a Keras of this process to lstmcore's, and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from lstmcore.errors import UnsupportedFileError
from lstmcore.interop.keras.describe import described
from lstmcore.interop.keras.listed import lists
from lstmcore.interop.keras.live import from_live
from lstmcore.interop.keras.training import compile_config, optimizer_variables
from lstmcore.interop.layered import layered
from lstmcore.models.base import BaseModel
from lstmcore.models.training import TrainableModel

# Where Keras' classes are -> what a variable is called, and its numbers.
_LIBRARIES: Mapping[str, tuple[Callable[[Any], str], Callable[[Any], Any]]] = {
    "keras": (lambda variable: variable.path, lambda variable: sys.modules["keras"].ops.convert_to_numpy(variable)),
    "tf_keras": (lambda variable: variable.name, lambda variable: variable.numpy()),
}


def from_keras(model: Any) -> BaseModel:
    """The model of Keras 3, tf.keras or tf_keras as one of lstmcore's, with copies of its weights.

    ::

        ours = lstmcore_tensorflow.from_keras(keras_model)

    Its description goes through the same tables as that in a file (docs/import-keras.md), so that it computes what it
    computed there. It may live on any backend of Keras. It comes without what ``compile`` said.

    Raises:
        FileError: lstmcore lacks something that the model has; its subclasses and messages say what.
        TypeError: it is no Keras model.
    """
    roots = [cls.__module__.partition(".")[0] for cls in type(model).__mro__]
    library = next((root for root in roots if root in _LIBRARIES), None)
    if library is None or not hasattr(model, "to_json"):
        raise TypeError(f"from_keras takes a model of Keras; given a {type(model).__name__}: {model!r}")
    name = f"Keras' model {model.name!r}"
    if not model.built:
        raise UnsupportedFileError(f"{name} has no weights yet: give it an Input, or call it on data first.")
    try:
        description = json.loads(model.to_json())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UnsupportedFileError(f"{name} cannot be described: {error}") from None
    called, numpy = _LIBRARIES[library]
    layers = {layer.name: [(called(one), one) for one in layer.weights] for layer in model.layers}
    return from_live(description, layers, numpy, name, str(sys.modules[library].__version__))


def to_keras(model: BaseModel, *, compiled: bool = True, batch_first: bool = False) -> Any:
    """The model as one of Keras 3, with its weights, on the backend that Keras has in this process.

    ::

        keras_model = lstmcore_tensorflow.to_keras(model)
        keras_model.fit(x, y)

    Keras' variables hold copies: training one changes nothing in the other. A compiled model comes compiled, with its
    optimizer as far as it has come; ``compiled=False`` leaves that out. ``batch_first``: of a graph whose data have the
    batch elsewhere, Keras' model takes and gives them with the batch first.

    Raises:
        ExportError: Keras cannot hold this model, and what would be lost.
    """
    import keras

    model = layered(model, compiled, batch_first)
    made = keras.models.model_from_json(json.dumps(described(model)))
    for name, arrays in lists(model):
        if not arrays:
            continue  # an operation between layers is none of Keras' layers
        layer = made.get_layer(name)
        variables = [*layer.trainable_weights, *layer.non_trainable_weights]
        for variable, array in zip(variables, arrays.values(), strict=True):
            variable.assign(array)
    config = compile_config(model) if compiled and isinstance(model, TrainableModel) else None
    if config is not None:
        made.compile_from_config(config)
        for variable, array in zip(made.optimizer.variables, optimizer_variables(model).values(), strict=True):
            variable.assign(array)
    return made
