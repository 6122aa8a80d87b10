"""A model as one function of TensorFlow's, with names for all that enters and leaves it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from lstmcore.contract import choose
from lstmcore.interop.presented import Presented
from lstmcore.program import Carry, interpret
from lstmcore_tensorflow.backend import TensorflowBackend

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Tensor = Any


class Served(tf.Module):
    """Weights as variables by their paths in the model, and the function that uses them."""

    def __init__(self, model: BaseModel, shown: Presented) -> None:
        super().__init__()
        trained = set(model.trained_paths())
        self.weights = {
            path: tf.Variable(array, trainable=path in trained, name=clean(path))
            for path, array in model.weights.items()
        }
        self.serve = tf.function(_function(model, shown, self._all(model)), autograph=False)

    def _all(self, model: BaseModel) -> dict[str, Any]:
        """The variables by all paths: a weight that is shared has several, and is one variable."""
        return {path: self.weights[first] for path, first in model.one_path().items()}


def clean(name: str) -> str:
    """The name with underscores for what an argument's name cannot hold: ``lstm/h`` is ``lstm_h``."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    plain = plain if re.match("[A-Za-z]", plain) else f"x{plain}"
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def signature(model: BaseModel, shown: Presented, batch: int | None = None, steps: int | None = None) -> dict[str, Any]:
    """The specs of all that enters, by name; ``batch`` and ``steps`` fix lengths that are open."""
    kinds = {"float": tf.as_dtype(model.dtype), "int": tf.int32, "bool": tf.bool}
    specs = {}
    for value, name in shown.entering.items():
        tensor = shown.program.values[value]
        shape = [n or (batch if axis == 0 else steps) for axis, n in enumerate(tensor.shape)]
        specs[name] = tf.TensorSpec(shape, kinds[tensor.kind], name=name)
    return specs


def _function(model: BaseModel, shown: Presented, variables: Mapping[str, Any]) -> Callable[..., dict[str, Tensor]]:
    program = shown.program
    runs = tuple(choice.run for choice in choose(TensorflowBackend("cpu"), program, model.dtype))
    entering = shown.entering
    closed = [carry for carry in program.carries if not shown.has(carry.name)]
    first = entering[program.inputs[0]]

    def zeros(carry: Carry, like: Tensor) -> Tensor:
        batch, *rest = program.values[carry.before].shape
        batch = like.shape[0] if batch is None else batch
        return tf.zeros((tf.shape(like)[0] if batch is None else batch, *(n or 0 for n in rest)), model.dtype)

    def function(**given: Tensor) -> dict[str, Tensor]:
        weights = {path: tf.convert_to_tensor(variables[path]) for path in program.weights}
        values = {value: given[name] for value, name in entering.items()}
        values |= {carry.before: zeros(carry, given[first]) for carry in closed}
        outputs, carries = interpret(program, runs, weights, values)
        made = dict(zip(shown.outputs, (outputs[name] for name in program.outputs), strict=True))
        made |= {after: carries[state] for state, (_, after) in shown.carries.items()}
        return {name: tf.identity(tensor, name=name) for name, tensor in made.items()}

    return function
