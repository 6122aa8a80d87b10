"""What is told of a training: the losses and the metrics, over the batches so far."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import InputError, SpecError
from lstmcore.metrics import Metric, resolve
from lstmcore.ops import Shape
from lstmcore.runtime.data import Batch
from lstmcore.runtime.objective import Goal, Objective

Array = NDArray[Any]
_ANY: Shape = (1, 2)  # of targets and predictions, where they are not known yet


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
        self._fitted = not self._wanted  # to the shapes of a batch
        self._sums = np.zeros(len(self._losses))
        self._samples = 0.0

    def add(self, goal: Objective, made: Mapping[str, Array], batch: Batch) -> None:
        """Takes in the outputs of an objective for a batch."""
        losses = [made[goal.loss], *(made[name] for name in goal.losses)][: len(self._losses)]
        self._sums += batch.size * np.array([float(loss) for loss in losses])
        self._samples += batch.size
        if not self._fitted:
            shapes = {
                k: (batch.targets[self._trained.index(k)].shape, made[goal.predictions[k]].shape)
                for k, _, _ in self._wanted
            }
            before = None if self._scored is None else self._metric_states()
            self._scored = list(self._made(shapes))
            if before is not None:
                self._put_back(self._scored, before)
            self._fitted = True
        for one in self._scored or ():
            mask = goal.masks[one.output]
            one.metric.update(
                batch.targets[one.target],
                made[goal.predictions[one.output]],
                batch.weights[one.target] if one.weighted else None,
                None if mask is None else made[mask],
            )

    def _made(self, shapes: Mapping[int, tuple[Shape, Shape]]) -> Iterator[_Scored]:
        """The metrics, for targets and predictions of these shapes by output; names as Keras has them."""
        taken: dict[str, int] = {}
        for k, entry, weighted in self._wanted:
            metric = copy.deepcopy(resolve(entry, *shapes[k]))
            metric.reset()
            prefix = f"{self._outputs[k]}_" if len(self._outputs) > 1 else ""
            name = f"{prefix}{metric.name}"
            name = f"{prefix}weighted_{metric.name}" if weighted and name in taken else name
            again = taken.setdefault(name, 0)
            taken[name] += 1
            yield _Scored(f"{name}_{again}" if again else name, metric, self._trained.index(k), k, weighted)

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
        return {"losses": self._sums.copy(), "samples": np.array(self._samples), **self._metric_states()}

    def _metric_states(self) -> dict[str, Array]:
        return {f"{one.name}/{name}": array for one in self._scored or () for name, array in one.metric.state.items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes on from what ``state`` was after a batch or more; SpecError where it is not all of that, or more.

        No batch need follow. What "accuracy" means is not known before one, but all that it can mean keep alike.
        """
        metrics = dict(state)
        losses, samples = metrics.pop("losses", None), metrics.pop("samples", None)
        if losses is None or samples is None or losses.shape != self._sums.shape or samples.shape != ():
            raise SpecError(f"the state of the losses and metrics is {sorted(state)}; it is of another training")
        scored = list(self._made({k: (_ANY, _ANY) for k, _, _ in self._wanted}))
        self._put_back(scored, metrics)
        self._sums, self._samples, self._scored = losses.astype(np.float64), float(samples), scored

    def _put_back(self, scored: Sequence[_Scored], state: Mapping[str, Array]) -> None:
        left = dict(state)
        for one in scored:
            own = {name.rpartition("/")[2]: name for name in left if name.rpartition("/")[0] == one.name}
            try:
                one.metric.state = {short: left.pop(name) for short, name in own.items()}
            except InputError as error:
                raise SpecError(f"the state of {one.name!r} is not that of this metric: {error}") from None
        if left:
            raise SpecError(f"there are states of {', '.join(sorted(left))}, which are no metrics of this training")
