"""Writes ``lstmcore_conformance/redrawn.json``: which draw of data a case uses, where the first is ill-conditioned.

::

    python conformance/measure_conditioning.py [FAMILY ...]

measures all families, or those named, and leaves the others' lines as they are. With one unit and one sample, an
output may happen to lie near zero; E then measures cancellation, on any engine. A draw is taken if the reference's
own float32 E, and what changing every number by half its last place does to the float64 result, stay below 3, or
below 8 where gradients are measured; after training, where its own E stays below 5. The file is data: no engine's
rounding chooses at run time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from lstmcore_conformance import data, gradients, oracles, training
from lstmcore_conformance.cases import Case, load
from lstmcore_conformance.results import Judge
from lstmcore_conformance.subjects import Sessions, Subject, subject

from lstmcore.runtime.compare import scale_error

PATH = Path(data.__file__).with_name("redrawn.json")
SESSIONS = Sessions()
ALONE = ("batch", "padded")  # checks that look at each sample by itself
GOOD = {"forward": 3.0, "gradient": 8.0, "training": 5.0}
TRIES = 200
MEASURED = ("plain", "positive", "share", "gaps", "nan_where_masked")


def nudged(it: Subject, seed: int) -> Subject:
    """Every float changed by at most half a unit in the last place of float32, but targets and their weights."""
    random = np.random.default_rng(seed)

    def nudge(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        return array * (1 + np.finfo("float32").eps / 2 * random.choice([-1, 1], array.shape))

    parts = {
        part: {k: v if k in it.fixed else nudge(v) for k, v in getattr(it, part).items()}
        for part in ("weights", "inputs", "carries")
    }
    return replace(it, **parts)


def samples(it: Subject) -> Iterator[Subject]:
    """Each sample alone."""
    for k in range(len(next(iter(it.inputs.values())))):
        parts = {part: {n: a[k : k + 1] for n, a in getattr(it, part).items()} for part in ("inputs", "carries")}
        yield replace(it, **parts)


def conditioning(case: Case) -> float:
    if case.level == "training":
        return _of_training(case)
    it = subject(case)
    if case.level == "gradient":
        return _of_gradients(case, it)
    return max(_conditioning(one) for one in (it, *(samples(it) if case.check in ALONE else ())))


def _of_training(case: Case) -> float:
    """E of weights and losses."""
    judge = Judge("float32", case.limit)
    training.fit(case, gradients.reference(), judge, SESSIONS)
    return judge.error


def _of_gradients(case: Case, it: Subject) -> float:
    """E of every gradient, as the suite measures it."""

    def answered(it: Subject, dtype: str = "float64") -> gradients.Answer:
        return gradients.answer(gradients.question(case.key, it), gradients.reference(), dtype, SESSIONS)

    asked, right, judge = gradients.question(case.key, it), answered(it), Judge("float32")
    for other in (answered(it, "float32"), *(answered(nudged(it, seed)) for seed in range(4))):
        single = gradients.Answer(
            *({name: a.astype("float32") if a.dtype.kind == "f" else a for name, a in part.items()} for part in other)
        )
        gradients.judge_answer(asked, single, right, judge)
    return judge.error


def _conditioning(it: Subject) -> float:
    right = oracles.named(it, oracles.reference(it))
    others = [oracles.reference(it, "float32"), *(oracles.reference(nudged(it, seed)) for seed in range(4))]
    return max(
        (
            scale_error(oracles.named(it, other)[name], array, "float32")
            for name, array in right.items()
            if array.dtype.kind == "f" and array.any()
            for other in others
        ),
        default=0.0,
    )


def main() -> None:
    table = data._redrawn()
    families = set(sys.argv[1:]) or {case.family for case in load()}
    cases = {
        case.key: case
        for case in load()
        if (case.level != "training" or (case.check == "fit" and case.dtype == "float32"))
        and case.oracle != "paper"
        and case.settings["values"] in MEASURED
        and case.family in families
    }
    for key in [key for key in table if key.partition("/")[0] in families]:
        del table[key]
    for key, case in cases.items():
        good = GOOD[case.level]
        best = (conditioning(case), 0)
        while best[0] > good and table.get(key, 0) < TRIES:
            table[key] = table.get(key, 0) + 1
            best = min(best, (conditioning(case), table[key]))
            if best[1] == table[key] and best[0] <= good:
                break
        table[key] = best[1]
        if not best[1]:
            del table[key]
        if best[0] > good:
            print(f"{key}: {best[0]:.1f} at best")
    PATH.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", "utf-8")
    print(f"{sum(key in table for key in cases)} of {len(cases)} redrawn")


if __name__ == "__main__":
    main()
