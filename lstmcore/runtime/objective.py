"""What is trained on: a model's program with its losses and penalties behind it, ending in one number."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.constraints import Constraint
from lstmcore.errors import SpecError
from lstmcore.layers.module import Module
from lstmcore.losses import Loss
from lstmcore.ops import Shape
from lstmcore.program import Builder, Program, Value

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = NDArray[Any]


@dataclass(frozen=True)
class Goal:
    """The loss of one output and how much it counts; None: the output is not trained on."""

    loss: Loss | None
    weight: float = 1.0


@dataclass(frozen=True)
class Objective:
    """A program whose outputs are the total loss, each output's own loss, the predictions, their masks, and updates.

    A prediction without a mask has None in ``masks``. ``targets`` and ``sample_weights`` are its further inputs, one
    for each output that is trained on. ``updates`` says which weight becomes which output after a training step:
    running statistics. ``constraints`` says by what a trained weight is projected then. A weight with several paths
    has one in the program, its first.
    """

    program: Program
    loss: str
    losses: tuple[str, ...]
    predictions: tuple[str, ...]
    masks: tuple[str | None, ...]
    targets: tuple[str, ...]
    sample_weights: tuple[str, ...]
    updates: Mapping[str, str]
    constraints: Mapping[str, Constraint]


def objective(
    model: BaseModel,
    goals: Sequence[Goal],
    targets: Sequence[Array],
    sample_weights: Sequence[Array | None],
    training: bool,
) -> Objective:
    """The objective for targets and weights of the shapes of these, one for each goal that has a loss."""
    build = Builder()
    build.training = training
    build.penalties = []
    build.frozen = model.frozen()
    build.one_path = model.one_path()
    shapes = [model.program.values[name].shape for name in model.program.inputs]
    outputs, masks = model.lower_into(build, shapes)
    if len(goals) != len(outputs):
        raise SpecError(f"{model.called()} has {len(outputs)} outputs; compile was given {len(goals)} losses")
    trained = [k for k, goal in enumerate(goals) if goal.loss is not None]
    losses: list[Value] = []
    weights: list[str] = []
    for k, y, w in zip(trained, targets, sample_weights, strict=True):
        loss, output = goals[k].loss, outputs[k]
        assert loss is not None
        target = build.input(f"target {k}", _open(y, output.shape), "int" if y.dtype.kind in "iub" else "float")
        weight = None
        if w is not None:
            weight = build.input(f"sample weight {k}", _open(w, output.shape))
            weights.append(weight.name)
        for doubt in loss.doubts(build, output):
            warnings.warn(f"{model.called()}: {doubt}", stacklevel=2)
        with build.scope(f"loss {k}"):
            losses.append(loss.total(build, target, output, weight, masks[k]))
    total = _sum(build, [_scaled(build, loss, goals[k].weight) for k, loss in zip(trained, losses, strict=True)])
    total = _sum(build, [total, *build.penalties, *_penalties(build, model)])
    yielded = [value.name for value in (total, *losses, *outputs, *(mask for mask in masks if mask is not None))]
    program = build.finish(list(dict.fromkeys([*yielded, *build.updates.values()])))
    return Objective(
        program,
        total.name,
        tuple(loss.name for loss in losses),
        tuple(output.name for output in outputs),
        tuple(None if mask is None else mask.name for mask in masks),
        tuple(f"target {k}" for k in trained),
        tuple(weights),
        dict(build.updates),
        _constraints(model, program),
    )


def _open(array: Array, like: Shape) -> Shape:
    """The shape of an array without its batch, open where the output is open."""
    lengths = [None if axis < len(like) and like[axis] is None else n for axis, n in enumerate(array.shape)]
    return (None, *lengths[1:])


def _scaled(build: Builder, loss: Value, weight: float) -> Value:
    if weight == 1:
        return loss
    (factor,) = build.op(ops.Constant(shape=(), values=(float(weight),)), loss, name="loss weight")
    return build.op(ops.Binary("multiply"), loss, factor, name="weighted loss")[0]


def _sum(build: Builder, terms: Sequence[Value]) -> Value:
    first, *others = terms
    for other in others:
        (first,) = build.op(ops.Binary("add"), first, other, name="total loss")
    return first


def _penalties(build: Builder, model: BaseModel) -> list[Value]:
    """What the regularizers of the weights add, each weight once."""
    found: list[Value] = []
    for path, owner, name in _trained(model):
        regularizer = owner.regularizer(name)
        if regularizer is not None:
            shape = owner.own_weights[name].shape
            (weight,) = build.op(ops.Parameter(shape), name=f"penalty of {path}", weights={"value": path})
            found.append(regularizer.lower(build, weight))
    return found


def _trained(model: BaseModel) -> list[tuple[str, Module, str]]:
    """The weights that a gradient moves, each once: the path that stands for it, its owner, its name there."""
    one_path, trained = model.one_path(), set(model.trained_paths())
    return [entry for entry in model.owners() if entry[0] in trained and one_path[entry[0]] == entry[0]]


def _constraints(model: BaseModel, program: Program) -> dict[str, Constraint]:
    """By what each trained weight of the program is projected, if it is."""
    found: dict[str, Constraint] = {}
    for path, owner, name in _trained(model):
        constraint: Constraint | None = owner.constraint(name)
        if constraint is not None and path in program.weights:
            constraint.check(f"{owner.called()}: the constraint of {name!r}", program.weights[path])
            found[path] = constraint
    return found
