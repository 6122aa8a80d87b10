"""What ``compile`` said and how far training has come: all that a checkpoint keeps, but for the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from lstmcore import losses, metrics, optimizers, plugins, tree
from lstmcore.errors import SpecError, near
from lstmcore.layers import Cell
from lstmcore.ops import Shape
from lstmcore.optimizers import Optimizer
from lstmcore.optimizers.schedules import LearningRateSchedule
from lstmcore.random import Stream, next_stream
from lstmcore.runtime.data import Batch
from lstmcore.runtime.objective import Goal, Objective, objective
from lstmcore.runtime.scores import Scores
from lstmcore.runtime.session import Session
from lstmcore.runtime.trainer import Slots, Trainer

if TYPE_CHECKING:
    from lstmcore.models.base import BackendName, BaseModel

Array = NDArray[Any]


@dataclass
class Position:
    """Where in the data training is: ``passes`` over them before this one, ``offset`` batches into it.

    ``consumed`` counts all batches: an iterator that cannot start anew goes on after so many. ``validated`` counts
    those of the validation, for one such.
    """

    passes: int = 0
    offset: int = 0
    consumed: int = 0
    validated: int = 0


@dataclass(frozen=True)
class Loaded:
    """What a single step left on the device: of use to the next one if the model has the same weights and states.

    ``has_slots``: the optimizer's slots are there alone.
    """

    trainer: Trainer
    version: tuple[int, ...]
    states: Mapping[str, Array]
    carries: Mapping[str, Any]
    has_slots: bool = True


@dataclass
class Training:
    """What ``compile`` said, and how far training has come: the step, the slots, the seed of its random numbers."""

    optimizer: Optimizer
    goals: list[Goal]
    metrics: list[list[Any]]
    weighted: list[list[Any]]
    description: dict[str, Any]
    step: int = 0
    position: Position = field(default_factory=Position)
    stream: Stream | None = None
    stopping: bool = False
    trainers: dict[Any, Trainer] = field(default_factory=dict)
    testers: dict[Any, tuple[Objective, Session]] = field(default_factory=dict)
    loaded: Loaded | None = None
    _slots: Slots = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Copies share nothing that an engine compiled."""
        return {**self.__dict__, "trainers": {}, "testers": {}, "loaded": None, "_slots": self.slots}

    @property
    def slots(self) -> Slots:
        """The optimizer's slots by weight; fetched from the device where they are there alone."""
        if self.loaded is not None and self.loaded.has_slots:
            self._slots, self.loaded = self.loaded.trainer.slots_now(), replace(self.loaded, has_slots=False)
        return self._slots

    @slots.setter
    def slots(self, slots: Slots) -> None:
        self._slots, self.loaded = slots, None

    def classes(self, model: BaseModel) -> dict[str, int | None]:
        """For each output that has a loss, how many classes its targets number; None where they are any numbers."""
        found: dict[str, int | None] = {}
        for goal, name, value in zip(self.goals, model.output_names, model.program.outputs, strict=True):
            if goal.loss is not None:
                numbered = goal.loss.targets == "int" and getattr(goal.loss, "ignore_class", None) is None
                found[name] = model.program.values[value].shape[-1] if numbered else None
        return found

    @property
    def numbered(self) -> bool:
        """Whether the first output that has a loss has targets that are numbers of classes."""
        return next(goal.loss.targets == "int" for goal in self.goals if goal.loss is not None)

    def random(self) -> Stream:
        """The stream of this training's shuffles and noise."""
        if self.stream is None:
            self.stream = next_stream().child("training")
        return self.stream

    def scores(self, model: BaseModel) -> Scores:
        """The losses and metrics, from nothing."""
        return Scores(model.output_names, self.goals, self.metrics, self.weighted)


def compiled(
    model: BaseModel, optimizer: Any, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any
) -> Training:
    """A training from what ``compile`` takes; SpecError says which argument does not fit."""
    rule = optimizers.get(optimizer)
    made = goals(model, loss, loss_weights)
    plain, weighted = (
        _metrics_of(model, made, given, what)
        for given, what in ((metrics, "metrics"), (weighted_metrics, "weighted_metrics"))
    )
    description = {
        "optimizer": _described_rule(rule),
        "losses": [_described(goal.loss, losses.serialize) for goal in made],
        "loss_weights": [goal.weight for goal in made],
        "metrics": [[_described(entry, _metric) for entry in entries] for entries in plain],
        "weighted_metrics": [[_described(entry, _metric) for entry in entries] for entries in weighted],
    }
    return Training(rule, made, plain, weighted, description)


def _metric(entry: Any) -> Any:
    return entry if isinstance(entry, str) else metrics.serialize(metrics.get(entry))


def _described_rule(rule: Optimizer) -> Any:
    """Its config; where the learning rate is a function of the user's own, with the name of that."""
    rate = rule.learning_rate
    if not callable(rate) or isinstance(rate, LearningRateSchedule):
        return optimizers.serialize(rule)
    name = getattr(rate, "__qualname__", type(rate).__qualname__)
    return {**optimizers.serialize(rule.with_learning_rate(0.0)), "learning_rate": f"the function {name}"}


def _described(entry: Any, serialize: Any) -> Any:
    """Its config, or its name where it has none: a function of the user's own."""
    try:
        return serialize(entry)
    except SpecError:
        return getattr(entry, "__qualname__", type(entry).__qualname__)


def goals(model: BaseModel, loss: Any, loss_weights: Any) -> list[Goal]:
    """A goal for each output, from what ``compile`` takes: one for all, a list, or a dict by output name."""
    check_trainable(model)
    names = model.output_names
    wanted = _each_output(names, loss, "loss")
    weights = _each_output(names, loss_weights, "loss_weights") if loss_weights is not None else [1.0] * len(names)
    made = [
        Goal(None if one is None else losses.get(one), 1.0 if w is None else w)
        for one, w in zip(wanted, weights, strict=True)
    ]
    for name, goal in zip(names, made, strict=True):
        if goal.loss is not None and goal.loss.reduction in (None, "none"):
            raise SpecError(
                f"compile: the loss of output {name!r} has no reduction to one number, which training needs"
            )
    if all(goal.loss is None for goal in made):
        raise SpecError(f"{model.called()}: compile was given no loss; give one, such as loss='mse'")
    return made


def check_trainable(model: BaseModel) -> None:
    """SpecError names an option that training cannot honour."""
    for module in model.modules():
        if isinstance(module, Cell) and module.activity_regularizer is not None:
            raise SpecError(
                f"{module.called()}: activity_regularizer of a cell is not added to the loss, as Keras 3.15 fails to; "
                "give it to the RNN around the cell, whose outputs it then penalizes"
            )


def _each_output(names: Sequence[str], given: Any, what: str) -> list[Any]:
    if isinstance(given, Mapping) and "class_name" not in given:
        _check_names(names, given, what)
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        entries = list(tree.leaves(given))
        if len(entries) != len(names):
            raise SpecError(f"compile: {what} has {len(entries)} entries; the model has {len(names)} outputs")
        return entries
    if what == "loss_weights" and len(names) > 1:
        raise SpecError("compile: loss_weights is one number; expected one for each output")
    return [given] * len(names)


def _check_names(names: Sequence[str], given: Mapping[str, Any], what: str) -> None:
    for name in given:
        if name not in names:
            raise SpecError(f"compile: {what} names an output {name!r}.{near(name, names)}")


def _metrics_of(model: BaseModel, made: Sequence[Goal], given: Any, what: str) -> list[list[Any]]:
    """The metrics of each output: from a list for one output, a list of them for several, or a dict by name."""
    names = model.output_names
    found = [_listed(entry) for entry in _metric_entries(names, given, what)]
    for name, goal, entries in zip(names, made, found, strict=True):
        for entry in entries:
            if str(entry).lower() not in ("accuracy", "acc"):
                metrics.get(entry)
        if entries and goal.loss is None:
            raise SpecError(f"compile: output {name!r} has {what} but no loss; give it a loss, and loss_weights 0")
    return found


def _metric_entries(names: Sequence[str], given: Any, what: str) -> list[Any]:
    if given is None:
        return [None] * len(names)
    if isinstance(given, Mapping) and "class_name" not in given:
        _check_names(names, given, what)
        return [given.get(name) for name in names]
    if len(names) == 1:
        return [given[0] if _nested(given) else given]
    if not isinstance(given, (list, tuple)) or len(given) != len(names):
        raise SpecError(f"compile: {what} is {given!r}; expected a list for each of the outputs {', '.join(names)}")
    return list(given)


def _nested(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and len(given) == 1 and isinstance(given[0], (list, tuple))


def _listed(given: Any) -> list[Any]:
    return [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]


def _key(model: BaseModel, training: Training, batch: Batch) -> tuple[Any, ...]:
    """Alike for batches that one objective fits: of any size, and any length where the output has any."""
    shapes = [
        model.program.values[name].shape
        for goal, name in zip(training.goals, model.program.outputs, strict=True)
        if goal.loss is not None
    ]
    pairs = [*zip(batch.targets, shapes, strict=True), *zip(batch.weights, shapes, strict=True)]
    return tuple(None if array is None else (_fixed(array, shape), array.dtype.kind) for array, shape in pairs)


def _fixed(array: Array, like: Shape) -> Shape:
    return tuple(None if k < len(like) and like[k] is None else n for k, n in enumerate(array.shape) if k)


def known_trainer(model: BaseModel, training: Training, batch: Batch, backend: BackendName) -> Trainer | None:
    """The step for batches like this one on a backend, if there was one before."""
    engine = plugins.get(backend)
    found = training.trainers.get((engine.name, engine.device, model.dtype, _key(model, training, batch)))
    return found if found is not None and found.backend is engine else None


def trainer(model: BaseModel, training: Training, batch: Batch, backend: BackendName) -> Trainer:
    """The step for batches like this one on a backend; its weights and slots are yet to be loaded."""
    found = known_trainer(model, training, batch, backend)
    if found is None:
        engine = plugins.get(backend)
        key = (engine.name, engine.device, model.dtype, _key(model, training, batch))
        goal = objective(model, training.goals, batch.targets, batch.weights, training=True)
        paths = [path for path in model.trained_paths() if path in goal.program.weights]
        found = Trainer(goal, engine, model.dtype, training.optimizer, paths)
        training.trainers[key] = found
    return found


def tester(model: BaseModel, training: Training, batch: Batch, backend: BackendName) -> tuple[Objective, Session]:
    """The objective without noise and gradients, with the weights in place."""
    engine = plugins.get(backend)
    key = (engine.name, engine.device, model.dtype, _key(model, training, batch))
    found = training.testers.get(key)
    if found is None or found[1].backend is not engine:
        goal = objective(model, training.goals, batch.targets, batch.weights, training=False)
        found = training.testers[key] = goal, Session(goal.program, engine, model.dtype)
    found[1].load(model.every_path(), model.version())
    return found


def entering(goal: Objective, batch: Batch) -> dict[str, Array]:
    """The values of a batch by the names of the objective's inputs."""
    weights = [w for w in batch.weights if w is not None]
    return {
        **batch.inputs,
        **dict(zip(goal.targets, batch.targets, strict=True)),
        **dict(zip(goal.sample_weights, weights, strict=True)),
    }


def kept_states(goal: Objective) -> frozenset[str]:
    """The states that go on from batch to batch."""
    return frozenset(carry.name for carry in goal.program.carries if carry.stateful)
