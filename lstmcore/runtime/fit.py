"""compile, fit, evaluate: the training loop, once for all engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins, tree
from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers import Cell
from lstmcore.losses import get as get_loss
from lstmcore.optimizers import Optimizer
from lstmcore.random import Stream, next_stream
from lstmcore.runtime.data import Batch, shuffled
from lstmcore.runtime.objective import Goal, Objective, objective
from lstmcore.runtime.session import Session
from lstmcore.runtime.trainer import Slots, Trainer

if TYPE_CHECKING:
    from lstmcore.models.base import BackendName, BaseModel

Array = NDArray[Any]


@dataclass
class Training:
    """What ``compile`` said, and how far training has come: the step, the slots, the seed of its random numbers."""

    optimizer: Optimizer
    goals: list[Goal]
    step: int = 0
    epochs: int = 0
    slots: Slots = field(default_factory=dict)
    stream: Stream | None = None
    trainers: dict[Any, Trainer] = field(default_factory=dict)
    testers: dict[Any, tuple[Objective, Session]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Copies share nothing that an engine compiled."""
        return {**self.__dict__, "trainers": {}, "testers": {}}

    def classes(self, model: BaseModel) -> list[int | None]:
        """For each output that has a loss, how many classes its targets number; None where they are any numbers."""
        found: list[int | None] = []
        for goal, name in zip(self.goals, model.program.outputs, strict=True):
            if goal.loss is not None:
                numbered = goal.loss.targets == "int" and getattr(goal.loss, "ignore_class", None) is None
                found.append(model.program.values[name].shape[-1] if numbered else None)
        return found

    def random(self) -> Stream:
        """The stream of this training's shuffles and noise."""
        if self.stream is None:
            self.stream = next_stream().child("training")
        return self.stream


@dataclass
class History:
    """What ``fit`` returns: ``history`` maps each log's name to its values, one an epoch; ``epoch`` the epochs."""

    epoch: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)

    def add(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Adds an epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


def goals(model: BaseModel, loss: Any, loss_weights: Any) -> list[Goal]:
    """A goal for each output, from what ``compile`` takes: one for all, a list, or a dict by output name."""
    check_trainable(model)
    names = model.output_names
    losses = _each_output(names, loss, "loss")
    weights = _each_output(names, loss_weights, "loss_weights") if loss_weights is not None else [1.0] * len(names)
    made = [
        Goal(None if one is None else get_loss(one), 1.0 if w is None else w)
        for one, w in zip(losses, weights, strict=True)
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
        for name in given:
            if name not in names:
                raise SpecError(f"compile: {what} names an output {name!r}.{near(name, names)}")
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        entries = list(tree.leaves(given))
        if len(entries) != len(names):
            raise SpecError(f"compile: {what} has {len(entries)} entries; the model has {len(names)} outputs")
        return entries
    if what == "loss_weights" and len(names) > 1:
        raise SpecError("compile: loss_weights is one number; expected one for each output")
    return [given] * len(names)


def _key(batch: Batch) -> tuple[Any, ...]:
    arrays = [*batch.targets, *batch.weights]
    return tuple(None if a is None else (a.shape[1:], a.dtype.kind) for a in arrays)


def trainer(model: BaseModel, training: Training, batch: Batch, backend: BackendName) -> Trainer:
    """The step for batches like this one on a backend, with the weights and slots there."""
    engine = plugins.get(backend)
    key = (engine.name, engine.device, model.dtype, _key(batch))
    found = training.trainers.get(key)
    if found is None or found.backend is not engine:
        goal = objective(model, training.goals, batch.targets, batch.weights, training=True)
        paths = [path for path in model.trained_paths() if path in goal.program.weights]
        found = Trainer(goal, engine, model.dtype, training.optimizer, paths)
        training.trainers[key] = found
    found.load(model.every_path(), training.slots)
    return found


def tester(model: BaseModel, training: Training, batch: Batch, backend: BackendName) -> tuple[Objective, Session]:
    """The objective without noise and gradients, with the weights in place."""
    engine = plugins.get(backend)
    key = (engine.name, engine.device, model.dtype, _key(batch))
    found = training.testers.get(key)
    if found is None or found[1].backend is not engine:
        goal = objective(model, training.goals, batch.targets, batch.weights, training=False)
        found = training.testers[key] = goal, Session(goal.program, engine, model.dtype)
    found[1].load(model.every_path(), model.version())
    return found


def _values(goal: Objective, batch: Batch) -> dict[str, Array]:
    weights = [w for w in batch.weights if w is not None]
    return {
        **batch.inputs,
        **dict(zip(goal.targets, batch.targets, strict=True)),
        **dict(zip(goal.sample_weights, weights, strict=True)),
    }


class Means:
    """Running means of the losses, each batch counted by its samples."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._sums = np.zeros(len(names))
        self._count = 0

    def add(self, values: Sequence[Any], samples: int) -> None:
        """Adds a batch."""
        self._sums += samples * np.array([float(value) for value in values])
        self._count += samples

    def logs(self) -> dict[str, float]:
        """The means so far, by name."""
        return dict(zip(self._names, (self._sums / max(self._count, 1)).tolist(), strict=True))


def _names(model: BaseModel, training: Training) -> list[str]:
    """``loss``, and where several outputs are trained on, that of each."""
    own = [f"{name}_loss" for name, goal in zip(model.output_names, training.goals, strict=True) if goal.loss]
    return ["loss", *(own if len(own) > 1 else [])]


def _losses(goal: Objective, outputs: Mapping[str, Array], count: int) -> list[Any]:
    return [outputs[goal.loss], *(outputs[name] for name in goal.losses)][:count]


def run_epoch(
    model: BaseModel, training: Training, one: Trainer, batches: Any, told: Callable[[int], None]
) -> dict[str, float]:
    """Trains on the batches; the means of the losses. Weights and slots are the model's again at the end."""
    names = _names(model, training)
    means = Means(names)
    kept = {carry.name for carry in one.objective.program.carries if carry.stateful}
    carries: dict[str, Any] = {name: one.backend.tensor(array) for name, array in model.states.items() if name in kept}
    try:
        for batch in batches:
            stream = training.random().child("step", training.step)
            outputs, after = one.step(_values(one.objective, batch), carries, training.step, stream)
            carries = {name: after[name] for name in kept}
            training.step += 1
            means.add(_losses(one.objective, outputs, len(names)), batch.size)
            told(batch.size)
    finally:  # what was trained before an interruption is kept
        model.replace_weights(one.weights_now())
        training.slots = one.slots_now()
        if kept:
            model.states = {name: np.array(one.backend.numpy(tensor)) for name, tensor in carries.items()}
    return means.logs()


def evaluate(model: BaseModel, training: Training, whole: Batch, size: int, backend: BackendName) -> dict[str, float]:
    """The means of the losses over the data. The states of stateful layers start at zero, and are as before after."""
    goal, session = tester(model, training, whole, backend)
    names = _names(model, training)
    means = Means(names)
    kept = {carry.name for carry in goal.program.carries if carry.stateful}
    carries: dict[str, Any] = {}
    for batch in shuffled(whole, size, None):
        made, after = session.run(_values(goal, batch), carries)
        carries = {name: after[name] for name in kept}
        means.add(_losses(goal, dict(zip(goal.program.outputs, made, strict=True)), len(names)), batch.size)
    return means.logs()


def split(whole: Batch, share: float) -> tuple[Batch, Batch]:
    """The first samples, and the last ``share`` of them, as Keras splits."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise InputError(f"validation_split is {share!r}; expected a number between 0 and 1")
    cut = int(whole.size * (1 - share))
    if cut in (0, whole.size):
        raise InputError(f"validation_split {share} of {whole.size} samples leaves none for one of the parts")
    return whole.take(slice(0, cut)), whole.take(slice(cut, None))
