"""What is told of a training: the losses and the metrics, over the batches so far."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import SpecError
from lstmcore.metrics import Metric, resolve
from lstmcore.runtime.data import Batch
from lstmcore.runtime.objective import Goal, Objective

Array = NDArray[Any]
Log = float | list[float]


@dataclass
class _Scored:
    """A metric of one output: the place of its target among those that are trained on, and of its prediction."""

    name: str
    metric: Metric
    target: int
    output: int
    weighted: bool


class Scores:
    """Running means of the losses, each batch counted by its samples, and metrics of the predictions.

    Metrics are made at the first batch, whose shapes tell what "accuracy" means. Those that were given as objects
    are copied: training and validation do not share sums.
    """

    def __init__(
        self,
        names: Sequence[str],
        goals: Sequence[Goal],
        metrics: Sequence[Sequence[Any]],
        weighted: Sequence[Sequence[Any]],
    ) -> None:
        self._outputs = list(names)
        self._trained = [k for k, goal in enumerate(goals) if goal.loss is not None]
        own = [f"{names[k]}_loss" for k in self._trained]
        self._losses = ["loss", *(own if len(own) > 1 else [])]
        self._wanted = [
            (k, entry, which)
            for which, entries in ((False, metrics), (True, weighted))
            for k, of_output in enumerate(entries)
            for entry in of_output
        ]
        self._scored: list[_Scored] | None = None if self._wanted else []
        self._kept: Mapping[str, Array] = {}
        self._sums = np.zeros(len(self._losses))
        self._samples = 0.0

    def add(self, goal: Objective, made: Mapping[str, Array], batch: Batch) -> None:
        """Takes in the outputs of an objective for a batch."""
        losses = [made[goal.loss], *(made[name] for name in goal.losses)][: len(self._losses)]
        self._sums += batch.size * np.array([float(loss) for loss in losses])
        self._samples += batch.size
        if self._scored is None:
            self._scored = list(self._made(goal, made, batch))
            self._restore_metrics()
        for one in self._scored:
            mask = goal.masks[one.output]
            one.metric.update(
                batch.targets[one.target],
                made[goal.predictions[one.output]],
                batch.weights[one.target] if one.weighted else None,
                None if mask is None else made[mask],
            )

    def _made(self, goal: Objective, made: Mapping[str, Array], batch: Batch) -> Iterator[_Scored]:
        taken: dict[str, int] = {}
        for k, entry, weighted in self._wanted:
            target = self._trained.index(k)
            found = resolve(entry, batch.targets[target].shape, made[goal.predictions[k]].shape)
            metric = copy.deepcopy(found)
            metric.reset()
            name = f"{self._outputs[k]}_{metric.name}" if len(self._outputs) > 1 else metric.name
            name = f"weighted_{name}" if weighted and name in taken else name
            again = taken.setdefault(name, 0)
            taken[name] += 1
            yield _Scored(f"{name}_{again}" if again else name, metric, target, k, weighted)

    def logs(self) -> dict[str, Any]:
        """All by name: ``loss``, where several outputs are trained on that of each, then the metrics."""
        found: dict[str, Any] = dict(zip(self._losses, (self._sums / max(self._samples, 1)).tolist(), strict=True))
        for one in self._scored or ():
            value = one.metric.result()
            found[one.name] = value.tolist() if isinstance(value, np.ndarray) else value
        return found

    @property
    def state(self) -> dict[str, Array]:
        """All that it remembers, float64 arrays by name."""
        if self._scored is None:
            return {**self._kept, "losses": self._sums.copy(), "samples": np.array(self._samples)}
        return {
            "losses": self._sums.copy(),
            "samples": np.array(self._samples),
            **{f"{one.name}/{name}": array for one in self._scored for name, array in one.metric.state.items()},
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes on from what ``state`` was; SpecError where that is of other losses."""
        losses, samples = state.get("losses"), state.get("samples")
        if losses is None or samples is None or losses.shape != self._sums.shape or samples.shape != ():
            raise SpecError(f"the state of the losses and metrics is {sorted(state)}; it is of another training")
        self._sums, self._samples = losses.astype(np.float64), float(samples)
        self._kept = {name: array for name, array in state.items() if "/" in name}
        if self._scored is not None:
            self._restore_metrics()

    def _restore_metrics(self) -> None:
        for one in self._scored or ():
            own = {
                name.removeprefix(f"{one.name}/"): array
                for name, array in self._kept.items()
                if name.rpartition("/")[0] == one.name
            }
            if own:
                one.metric.state = own
        self._kept = {}
