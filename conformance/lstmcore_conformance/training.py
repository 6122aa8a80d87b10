"""Level *training*: optimizers by themselves on recorded gradients, and a few steps of small models.

A model is trained by ``fit``, as users do, and must end with the weights and the losses that the oracle says: the
reference, which is ``fit`` in float64; or the rule, a training loop written here, around the reference's gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmcore import losses, optimizers
from lstmcore.contract import Backend
from lstmcore.models.training import TrainableModel
from lstmcore.ops import Tensor
from lstmcore.program import Noise
from lstmcore.random import Stream, set_random_seed
from lstmcore.runtime.objective import Goal, Objective, objective
from lstmcore_conformance import data, objectives
from lstmcore_conformance.cases import Case
from lstmcore_conformance.descent import Descent
from lstmcore_conformance.gradients import Question, answer, reference
from lstmcore_conformance.likeness import likeness
from lstmcore_conformance.results import Judge
from lstmcore_conformance.subjects import Sessions, chain, graph, inputs, noise_shape

Array = NDArray[Any]
Arrays = dict[str, Array]
STEPS = 12
# How a model is trained where its case says nothing else: with B = 10, twelve steps, each third on two samples.
USUAL: Mapping[str, Any] = MappingProxyType(
    {
        "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1, "momentum": 0.9}},
        "loss_weights": None,
        "weighted": None,
        "batch_size": 4,
        "epochs": 4,
        "shuffle": False,
    }
)
# Of the recorded gradients: weights of every rank, and entries of all sizes in one of them.
SHAPES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"lstm/kernel": (3, 4), "lstm/bias": (4,), "table": (2, 4), "scale": ()}
)
SIZES = np.array([[1e-8, 1e-4, 1.0, 40.0], [1.0, 0.0, 1e-8, 1e-2]])
SEED = 1997
_sessions = Sessions()


# An optimizer by itself.


def described(given: Any) -> tuple[str, dict[str, Any]]:
    """Class and options of an optimizer, written as its name or as a config."""
    return (given, {}) if isinstance(given, str) else (given["class_name"], dict(given["config"]))


def recorded(case: Case) -> tuple[Arrays, list[Arrays]]:
    """Where the weights start, and the gradients of each step, exact in float32."""
    start = {name: data.weight(case.key, name, shape) for name, shape in SHAPES.items()}
    drawn = {name: data.stream(case.key, "gradient", name).normal((STEPS, *shape)) for name, shape in SHAPES.items()}
    drawn["table"] *= SIZES
    drawn["table"][::3, 1] = 0  # a row that is not looked up at every step
    return start, [{name: data.float32_exact(g[step]) for name, g in drawn.items()} for step in range(STEPS)]


def optimizer(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """Weights and slots after each step are those of the rule, measured by the largest numbers that each has had."""
    kind, options = described(case.subject[1])
    start, gradients = recorded(case)
    right = Descent(kind, options, start)
    steps, peaks = _applied(backend, kind, options, case.dtype, start, gradients), dict[str, float]()

    def check(name: str, given: Array, expected: Array, hint: Callable[[Array, Array], str]) -> None:
        peaks[name] = max(peaks.get(name, 0.0), float(np.abs(expected).max()))
        judge.values(f"{name} after step {number}", given, expected, least=peaks[name], hint=hint)

    for number, (weights, slots) in enumerate(steps):
        before = {name: w.copy() for name, w in right.weights.items()}
        right.step(gradients[number])
        for name, w in right.weights.items():
            check(name, weights[name], w, partial(_moved, before[name]))
            judge.check(slots[name].keys() == right.slots[name].keys(), f"slots {list(slots[name])}")
            for slot, array in right.slots[name].items():
                check(f"{slot} of {name}", slots[name][slot], array, likeness)
        if judge.problems:  # all later steps follow from this one
            return


def _moved(before: Array, given: Array, expected: Array) -> str:
    """What is wrong with how far it moved."""
    words = likeness(np.asarray(given, np.float64) - before, expected - before)
    return words.replace("; it is", "; its movement is").replace("; every entry", "; every movement")


def _applied(
    backend: Backend, kind: str, options: Mapping[str, Any], dtype: str, start: Arrays, gradients: list[Arrays]
) -> Any:
    """Weights and slots after each step, as arrays."""
    rule = optimizers.get({"class_name": kind, "config": dict(options)})
    put: Callable[[Any], Any] = lambda array: backend.tensor(np.asarray(array, dtype))  # noqa: E731
    weights = {name: put(w) for name, w in start.items()}
    slots = {name: {slot: put(a) for slot, a in rule.slots(w.shape, dtype).items()} for name, w in start.items()}
    tensors = {name: Tensor(w.shape) for name, w in start.items()}
    kept = {name: dict.fromkeys(own, tensors[name]) for name, own in slots.items()}
    signature = (tensors, tensors, kept, {name: Tensor(()) for name in rule.scalars(0)})
    step = backend.compile(partial(rule.apply, backend.maths), signature, dtype)
    for number, given in enumerate(gradients):
        scalars = {name: put(n) for name, n in rule.scalars(number).items()}
        weights, slots = step(weights, {name: put(g) for name, g in given.items()}, slots, scalars)
        yield (
            {name: np.array(backend.numpy(w)) for name, w in weights.items()},
            {name: {slot: np.array(backend.numpy(a)) for slot, a in own.items()} for name, own in slots.items()},
        )


# A model.


class Lesson(NamedTuple):
    """What a model is trained on: a target and perhaps weights for each output; and how."""

    inputs: Arrays
    targets: list[Array]
    weights: list[Array] | None
    losses: list[losses.Loss]
    loss_weights: list[float] | None
    optimizer: tuple[str, dict[str, Any]]
    batch_size: int
    epochs: int
    shuffle: bool


class Learned(NamedTuple):
    """The weights after it, and the loss of each epoch."""

    weights: Arrays
    losses: Array


MODELS: Mapping[str, Callable[..., TrainableModel]] = MappingProxyType({"model": chain, "graph": graph})


def lesson(case: Case, model: TrainableModel) -> Lesson:
    """The data of a case, by its ``loss`` and the options in `USUAL`."""
    o = {**USUAL, **case.options}
    program, samples = model.program, case.settings["B"]
    given = o["loss"] if isinstance(o["loss"], list) else [o["loss"]]
    found = [loss for loss in map(losses.get, given) if loss is not None]
    shapes = [
        (samples, *(case.settings["T"] if n is None else n for n in program.values[name].shape[1:]))
        for name in program.outputs
    ]
    pairs = enumerate(zip(found, shapes, strict=True))
    return Lesson(
        inputs(case, program),
        [objectives.target(case.key, k, loss, shape) for k, (loss, shape) in pairs],
        [objectives.weights(case.key, k, o["weighted"], s) for k, s in enumerate(shapes)] if o["weighted"] else None,
        found,
        o["loss_weights"],
        described(o["optimizer"]),
        o["batch_size"],
        o["epochs"],
        o["shuffle"],
    )


def fitted(case: Case, backend: Backend, dtype: str) -> Learned:
    """What ``fit`` makes of it. It sets the process's random seed."""
    model = MODELS[case.subject[0]](case, dtype)
    x, y, w, loss, loss_weights, (kind, options), size, epochs, shuffle = lesson(case, model)
    model.compile({"class_name": kind, "config": options}, loss, loss_weights)
    set_random_seed(SEED)
    history = model.fit(
        list(x.values()) if len(x) > 1 else next(iter(x.values())),
        y if len(y) > 1 else y[0],
        size,
        epochs,
        verbose=0,
        shuffle=shuffle,
        sample_weight=None if w is None else w if len(w) > 1 else w[0],
        backend=backend,
    )
    return Learned(dict(model.weights), np.array(history.history["loss"], dtype))


def ruled(case: Case) -> Learned:
    """The same by hand: batch after batch, gradients of the reference in float64, the rule's optimizer."""
    model = MODELS[case.subject[0]](case, "float64")
    one = lesson(case, model)
    parts = list(_parts(model, one))
    weights, samples = model.every_path(), case.settings["B"]
    trained = tuple(path for path in model.trained_paths() if any(path in goal.program.weights for _, goal, _ in parts))
    rule = Descent(*one.optimizer, {name: weights[name] for name in trained})
    stream, means = Stream(SEED, ("generator", 0, "process", "training")), []
    for epoch in range(one.epochs):
        order = stream.child("epoch", epoch).permutation(samples) if one.shuffle else np.arange(samples)
        total = 0.0
        for start in range(0, samples, one.batch_size):
            rows, step = order[start : start + one.batch_size], stream.child("step", rule.taken)
            gradients = {name: np.zeros_like(w) for name, w in rule.weights.items()}
            for share, goal, arrays in parts:
                values = {name: array[rows] for name, array in arrays.items()}
                values |= _entering(goal.program, values, len(rows), step)
                wrt = tuple(name for name in trained if name in goal.program.weights)
                asked = Question(goal.program, {**weights, **rule.weights}, values, wrt)
                found = answer(asked, reference(), "float64", _sessions)
                total += share * len(rows) * float(found.outputs[goal.loss])
                for name, gradient in found.gradients.items():
                    gradients[name] += share * gradient
            rule.step(gradients)
        means.append(total / samples)
    return Learned({**weights, **rule.weights}, np.array(means))


def _parts(model: TrainableModel, one: Lesson) -> Iterator[tuple[float, Objective, Arrays]]:
    """How much it counts, an objective, and its arrays: one of all losses, or with ``loss_weights`` one of each."""
    weights: list[Any] = one.weights or [None] * len(one.losses)
    every = range(len(one.losses))
    chosen = [(1.0, list(every))] if one.loss_weights is None else [(one.loss_weights[k], [k]) for k in every]
    for share, outputs in chosen:
        goals = [Goal(loss if k in outputs else None) for k, loss in enumerate(one.losses)]
        targets, own = [one.targets[k] for k in outputs], [weights[k] for k in outputs]
        goal = objective(model, goals, targets, own, training=True)
        arrays = {**one.inputs, **dict(zip(goal.targets, targets, strict=True))}
        yield share, goal, {**arrays, **dict(zip(goal.sample_weights, own if one.weights else [], strict=True))}


def _entering(program: Any, values: Arrays, size: int, stream: Stream) -> Arrays:
    """States of zeros, and the noise of the step."""
    known = program.infer({name: array.shape for name, array in values.items()}) if program.noise else {}
    states = {carry.before: np.zeros((size, *program.values[carry.before].shape[1:])) for carry in program.carries}
    drawn = {
        noise.name: _drawn(noise, noise_shape(program.values[noise.name].shape, known[noise.like].shape), stream)
        for noise in program.noise
    }
    return {**states, **drawn}


def _drawn(noise: Noise, shape: tuple[int, ...], stream: Stream) -> Array:
    return PORTABLE[noise.kind](stream.child(noise.name), shape, noise.rate)


# The noise of a step from its stream, which is the same on every engine: a promise of the core.
PORTABLE: Mapping[str, Callable[[Stream, tuple[int, ...], float], Array]] = MappingProxyType(
    {
        "dropout": lambda stream, shape, rate: np.where(stream.bernoulli(shape, 1 - rate), 1 / (1 - rate), 0.0),
        "normal": lambda stream, shape, rate: rate * stream.normal(shape),
    }
)


def fit(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """Weights and losses are those of the oracle; a weight is measured by the largest number it starts or ends with."""
    right = ruled(case) if case.oracle == "rule" else fitted(case, reference(), "float64")
    given = fitted(case, backend, case.dtype)
    start = MODELS[case.subject[0]](case, "float64").weights
    judge.values("loss of each epoch", given.losses, right.losses, hint=likeness)
    for name, array in right.weights.items():
        least = float(np.abs(start[name]).max())
        judge.values(
            f"{name} after training", given.weights[name], array, least=least, hint=partial(_moved, start[name])
        )
    if case.dtype != "float64":
        own, single = Judge(case.dtype), fitted(case, reference(), case.dtype)
        own.all({"loss": single.losses, **single.weights}, {"loss": right.losses, **right.weights})
        judge.headroom = own.error
