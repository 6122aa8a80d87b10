"""What ``compile`` said, and how far training has come, as Keras keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import losses, metrics, optimizers
from lstmcore.errors import ExportError, SpecError
from lstmcore.models.training import TrainableModel
from lstmcore.optimizers import Nadam, Optimizer, RMSprop

Array = NDArray[Any]
Entry = dict[str, Any]

_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")  # which one is meant, the shapes of the data say


def compile_config(model: TrainableModel, names: bool = True) -> Entry | None:
    """The arguments of ``compile`` as Keras 3 writes them; None where the model is not compiled.

    ``names=False`` writes objects where ``compile`` was given names: Keras 3.15 cannot read ``loss="mse"`` in ``.h5``.
    """
    if model.compiled_with is None:
        return None
    rule, loss, loss_weights, plain, weighted = model.compiled_with
    serialized = _written(model, rule, optimizers.serialize)
    if "exclude_from_weight_decay" in serialized["config"]:
        raise ExportError(
            f"{model.called()}: {rule.name} leaves weights out of its decay, which Keras keeps in no file; "
            "export with compiled=False"
        )
    return {
        "optimizer": serialized,
        "loss": _leaves(loss, lambda one: _written(model, one, _loss), names),
        "loss_weights": loss_weights,
        "metrics": _leaves(plain, lambda one: _written(model, one, _metric), names),
        "weighted_metrics": _leaves(weighted, lambda one: _written(model, one, _metric), names),
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": "auto",
    }


def _loss(given: Any) -> Any:
    return losses.serialize(losses.get(given))


def _metric(given: Any) -> Any:
    if callable(given) and not isinstance(given, (metrics.Metric, type)):
        raise SpecError(f"{given!r} is a function of your own")
    found = metrics.serialize(metrics.get(given))
    if found is not None and isinstance(given, str):
        found["config"]["name"] = given  # as logs call it
    return found


def _leaves(structure: Any, written: Callable[[Any], Any], names: bool) -> Any:
    """A list, a dict, or one, with each entry written; with ``names``, those stand as they are."""
    if structure is None or (isinstance(structure, str) and (names or structure.lower() in _BY_SHAPE)):
        return structure
    if isinstance(structure, (list, tuple)):
        return [_leaves(entry, written, names) for entry in structure]
    if isinstance(structure, Mapping) and "class_name" not in structure:
        return {key: _leaves(entry, written, names) for key, entry in structure.items()}
    return written(structure)


def _written(model: TrainableModel, given: Any, serialize: Callable[[Any], Any]) -> Any:
    try:
        return serialize(given)
    except SpecError as error:
        raise ExportError(
            f"{model.called()}: how it trains cannot be written for Keras: {error}; export with compiled=False"
        ) from None


def optimizer_variables(model: TrainableModel) -> dict[str, Array]:
    """The variables of the optimizer as it stands, by name, in the order in which Keras 3.15 makes them."""
    rule, step, slots = model.progress()
    found: dict[str, Array] = {"iteration": np.asarray(step, np.int64)}
    if not callable(rule.learning_rate):
        found["learning_rate"] = np.asarray(rule.learning_rate, np.float32)
    weights = model.every_path()
    trained = [path for path in model.trained_paths() if model.one_path()[path] == path]
    for group in _groups(rule):
        for path in trained:
            for slot in group:
                start = rule.slots((), model.dtype)[slot]
                name = f"{path.replace('/', '_')}_{slot}"
                found[name] = np.asarray(slots.get(path, {}).get(slot, np.broadcast_to(start, weights[path].shape)))
    if isinstance(rule, Nadam):
        found["u_product"] = np.asarray(_product(rule, step), model.dtype)
    return found


def _groups(rule: Optimizer) -> list[list[str]]:
    """The slots, those together that Keras makes weight by weight."""
    own = list(rule.own_slots())
    rest: list[str] = [slot for slot in ("average", "gradient_accumulator") if slot in rule.slots(())]
    together = 1 if isinstance(rule, RMSprop) else 2
    return [[slot] for slot in rest] + [own[:together]] + [[slot] for slot in own[together:]]


def _product(rule: Nadam, step: int) -> float:
    """Nadam's Π u_t over the updates so far."""
    updates = step // (rule.gradient_accumulation_steps or 1)
    factors = [rule.beta_1 * (1 - 0.5 * 0.96**t) for t in range(1, updates + 1)]
    return float(np.prod(factors)) if factors else 1.0
