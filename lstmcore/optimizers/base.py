"""What all optimisers have in common: Keras' options, and the order in which they act.

One step, as in Keras 3.15: divide the gradients by the loss' scale; gather them over several steps, if asked;
clip them; decay the weights; the optimiser's own formula; the moving averages of the weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.configs import Config, encode
from lstmcore.errors import SpecError, WeightsError
from lstmcore.naming import snake
from lstmcore.optimizers import checks, schedules
from lstmcore.optimizers.checks import checked, optional
from lstmcore.optimizers.clipping import CLIPPINGS, clip
from lstmcore.optimizers.maths import Maths, Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

Schedule = Callable[[int], float]
Weights = Mapping[str, Tensor]
Slots = Mapping[str, Mapping[str, Tensor]]
Scalars = Mapping[str, Tensor]


def _read_rate(value: Any) -> float | Schedule:
    if isinstance(value, type) or not callable(value):
        return float(checks.NOT_NEGATIVE.read(value))
    return value  # type: ignore[no-any-return]  # what it gives is checked at each step


RATE = checks.Kind("a number >= 0, a schedule, or a function of the step, which counts from 0", _read_rate)


@dataclass
class Optimizer:
    """Base of the optimisers: a description; all state goes in and comes out.

    Only ``learning_rate`` may be assigned to later, and only a number to a number: it holds from the next step on.

    Args:
        learning_rate: a number, a schedule, or a function ``step -> rate``; steps count from 0.
        weight_decay: each step first takes ``weight · weight_decay · learning_rate`` off each weight.
        clipnorm: the L2 norm that each gradient may have; 0 is none. At most one of the three is given.
        global_clipnorm: the L2 norm that all gradients together may have.
        clipvalue: the absolute value that an entry may have.
        use_ema: keep a moving average of each weight.
        ema_momentum: how much of the average stays at each step.
        ema_overwrite_frequency: with `use_ema`, after every so many steps the weights become their averages; None:
            only in `finalize`.
        loss_scale_factor: the loss, and so the gradients given, are this many times too large (`scale_loss`).
        gradient_accumulation_steps: only every so many steps, the weights move, by the mean of the gradients.
        name: as Keras has it.
        exclude_from_weight_decay: regular expressions; weights in whose name one is found do not decay. Keras has
            a method for it and loses it in its config; here the key is written where it is not empty.

    Raises:
        SpecError: an argument is not as above.
    """

    learning_rate: float | Schedule = field(default=0.001, metadata={"kind": RATE})
    _: KW_ONLY
    weight_decay: float | None = checked(optional(checks.NOT_NEGATIVE), None)
    clipnorm: float | None = checked(optional(checks.NOT_NEGATIVE), None)
    global_clipnorm: float | None = checked(optional(checks.NOT_NEGATIVE), None)
    clipvalue: float | None = checked(optional(checks.NOT_NEGATIVE), None)
    use_ema: bool = checked(checks.FLAG, False)
    ema_momentum: float = checked(checks.UP_TO_ONE, 0.99)
    ema_overwrite_frequency: int | None = checked(optional(checks.FROM_ONE), None)
    loss_scale_factor: float | None = checked(optional(checks.POSITIVE), None)
    gradient_accumulation_steps: int | None = checked(optional(checks.FROM_TWO), None)
    name: str | None = checked(optional(checks.WORD), None)
    exclude_from_weight_decay: tuple[str, ...] = checked(checks.WORDS, ())

    def __post_init__(self) -> None:
        checks.check(self)
        if self.name is None:
            object.__setattr__(self, "name", snake(type(self).__name__))
        clips = {name: getattr(self, name) for name in CLIPPINGS if getattr(self, name) is not None}
        if len(clips) > 1:
            given = " and ".join(f"{name}={value!r}" for name, value in clips.items())
            raise SpecError(f"{type(self).__name__}: {given} are given; expected only one of {', '.join(CLIPPINGS)}.")
        try:
            re.compile("|".join(self.exclude_from_weight_decay))
        except re.error as error:
            raise SpecError(
                f"{type(self).__name__}: exclude_from_weight_decay is {self.exclude_from_weight_decay!r}; "
                f"expected regular expressions: {error}."
            ) from error
        object.__setattr__(self, "_described", True)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_described" in vars(self):
            if name != "learning_rate":
                raise SpecError(f"{type(self).__name__}: {name} cannot be changed; make another optimizer")
            if callable(self.learning_rate):
                raise SpecError(
                    f"{type(self).__name__}: the learning rate follows {self.learning_rate!r}; to set it by hand, "
                    "compile with a number"
                )
            try:
                value = float(checks.NOT_NEGATIVE.read(value))
            except ValueError:
                raise SpecError(
                    f"{type(self).__name__}: learning_rate is {value!r}; expected {checks.NOT_NEGATIVE.expected}."
                ) from None
        object.__setattr__(self, name, value)

    def with_learning_rate(self, learning_rate: float | Schedule) -> Self:
        """The same optimiser with another rate. Its slots go on to fit."""
        return replace(self, learning_rate=learning_rate)

    def rate(self, step: int) -> float:
        """The learning rate of a step, which counts from 0; SpecError if the schedule gives none."""
        if not callable(self.learning_rate):
            return self.learning_rate
        value = self.learning_rate(step)
        try:
            return float(checks.NOT_NEGATIVE.read(float(value)))
        except (TypeError, ValueError):
            raise SpecError(
                f"{type(self).__name__}: learning_rate gave {value!r} at step {step}; expected a number >= 0."
            ) from None

    def config(self) -> Config:
        """The arguments under Keras' keys; SpecError for a rate that is a function of the user's own."""
        config = {"name": self.name, **{f.name: encode(getattr(self, f.name)) for f in fields(self)}}
        if callable(self.learning_rate):
            config["learning_rate"] = _schedule_config(self.learning_rate)
        if not self.exclude_from_weight_decay:
            del config["exclude_from_weight_decay"]
        return config

    # What the optimisers themselves say

    def own_slots(self) -> dict[str, float]:
        """The optimiser's slots and the number that each is filled with at the start."""
        return {}

    def own_scalars(self, rate: float, t: int) -> dict[str, float]:
        """The numbers of its formula, of the t-th update, which counts from 1."""
        return {}

    def update(
        self, maths: Maths, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], scalars: Scalars
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One weight's new value, and those of the optimiser's own slots."""
        raise NotImplementedError

    # What the training loop calls

    def scalars(self, step: int) -> dict[str, float]:
        """All numbers that step `step`, counted from 0, computes with, in float64.

        They depend on nothing else, so a run that is resumed at a step has the same. `apply` takes them as 0-d
        tensors of the weights' dtype; the names do not change from step to step.
        """
        every = self.gradient_accumulation_steps or 1
        update = step // every  # how many there were before
        rate = self.rate(step)
        given = ("weight_decay", *CLIPPINGS, "loss_scale_factor", "gradient_accumulation_steps")
        scalars = {name: float(getattr(self, name)) for name in given if getattr(self, name)}
        if every > 1:
            scalars |= {"due": float((step + 1) % every == 0), "zero": 0.0}
        if self.use_ema:
            often = self.ema_overwrite_frequency
            scalars["ema_momentum"] = self.ema_momentum if update else 0.0
            scalars["overwrite"] = float(often is not None and (update + 1) % often == 0)
        if self.use_ema or self.global_clipnorm:
            scalars["one"] = 1.0
        return {"learning_rate": rate, **scalars, **self.own_scalars(rate, update + 1)}

    def slots(self, shape: tuple[int, ...], dtype: Any = "float32") -> dict[str, NDArray[Any]]:
        """The slot arrays of a weight of that shape, as they start: name -> array of the same shape."""
        fills = self.own_slots()
        if self.use_ema:
            fills = {"average": 0.0, **fills}
        if self.gradient_accumulation_steps:
            fills = {"gradient_accumulator": 0.0, **fills}
        return {name: np.full(shape, fill, dtype) for name, fill in fills.items()}

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss whose gradients `apply` expects."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def apply(
        self, maths: Maths, weights: Weights, gradients: Weights, slots: Slots, scalars: Scalars
    ) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
        """One step of all weights: pure, and only in Python's operators and `maths`.

        Args:
            maths: the engine's functions.
            weights: name -> tensor; those that are trained.
            gradients: name -> tensor; a weight without one, or with None, stays as it is.
            slots: weight -> slot -> tensor; at the start those of `slots`.
            scalars: those of `scalars(step)`, as 0-d tensors of the weights' dtype.

        Returns:
            The weights and the slots after the step.

        Raises:
            WeightsError: there is a gradient of a weight that is not there.
        """
        if strangers := set(gradients) - set(weights):
            raise WeightsError(
                f"gradients of {', '.join(sorted(strangers))}, but the weights are {', '.join(sorted(weights))}."
            )
        known = {name: g for name in weights if (g := gradients.get(name)) is not None}
        if self.loss_scale_factor is not None:
            known = {name: g / scalars["loss_scale_factor"] for name, g in known.items()}
        step = self._gather if self.gradient_accumulation_steps else self._step
        moved, state = step(maths, weights, known, slots, scalars)
        return self._average(maths, moved, state, scalars) if self.use_ema else (moved, state)

    def finalize(self, weights: Weights, slots: Slots) -> dict[str, Tensor]:
        """The weights at the end of a training: with `use_ema` their averages."""
        return {name: slots[name]["average"] if self.use_ema else weight for name, weight in weights.items()}

    def decays(self, name: str) -> bool:
        """Whether the weight of that name decays."""
        patterns = self.exclude_from_weight_decay
        return bool(self.weight_decay) and not (patterns and re.search("|".join(patterns), name))

    def _step(
        self, maths: Maths, weights: Weights, gradients: dict[str, Tensor], slots: Slots, scalars: Scalars
    ) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
        moved, state = dict(weights), {name: dict(own) for name, own in slots.items()}
        for name, gradient in clip(maths, gradients, scalars).items():
            weight = weights[name]
            if self.decays(name):
                weight = weight - weight * scalars["weight_decay"] * scalars["learning_rate"]
            moved[name], own = self.update(maths, weight, gradient, slots.get(name, {}), scalars)
            state[name] = {**state.get(name, {}), **own}
        return moved, state

    def _gather(
        self, maths: Maths, weights: Weights, gradients: dict[str, Tensor], slots: Slots, scalars: Scalars
    ) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
        """Adds to the gradients gathered; where the step is due, moves by their mean and starts again."""
        due = scalars["due"] > 0
        sums = {name: g + slots[name]["gradient_accumulator"] for name, g in gradients.items()}
        means = {name: total / scalars["gradient_accumulation_steps"] for name, total in sums.items()}
        moved, state = self._step(maths, weights, means, slots, scalars)
        for name, total in sums.items():
            moved[name] = maths.where(due, moved[name], weights[name])
            state[name] = {slot: maths.where(due, new, slots[name][slot]) for slot, new in state[name].items()}
            state[name]["gradient_accumulator"] = maths.where(due, scalars["zero"], total)
        return moved, state

    def _average(
        self, maths: Maths, weights: dict[str, Tensor], slots: dict[str, dict[str, Tensor]], scalars: Scalars
    ) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
        momentum = scalars["ema_momentum"]
        for name, weight in weights.items():
            average = momentum * slots[name]["average"] + (scalars["one"] - momentum) * weight
            slots[name]["average"] = average
            if self.ema_overwrite_frequency:
                weights[name] = maths.where(scalars["overwrite"] > 0, average, weight)
        return weights, slots


def _schedule_config(schedule: Schedule) -> Config:
    if isinstance(schedule, schedules.LearningRateSchedule):
        return schedules.serialize(schedule)
    raise SpecError(
        f"learning_rate is the function {getattr(schedule, '__name__', schedule)!r}, which no config can hold. "
        f"Use a number or one of {', '.join(schedules.SCHEDULES)}, or do not save the optimiser."
    )
