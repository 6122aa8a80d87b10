"""Oracle "rule": the recurrences and their masks number by number, in plain Python loops over float64.

It follows the formulas in the docstrings of `lstmcore.ops` and shares no code with any engine, so that the
reference is judged by it too. Activations are tanh and sigmoid: the others have oracles of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore_conformance import specs
from lstmcore_conformance.cases import Case
from lstmcore_conformance.subjects import Subject

Array = NDArray[Any]
Numbers = list[float]
States = list[Numbers]
Weights = Mapping[str, Any]
# step(x, states) -> the next states of one sample; the first is the output
Step = Callable[[Numbers, States], States]


def _sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a))


def _times(x: Numbers, matrix: Any, column: int) -> float:
    """One entry of ``x @ matrix``."""
    return math.fsum(number * row[column] for number, row in zip(x, matrix, strict=True))


def _bias(w: Weights, column: int, part: int = 0) -> float:
    if "bias" not in w:
        return 0.0
    bias = w["bias"]
    if isinstance(bias[0], list):
        return float(bias[part][column])
    return float(bias[column]) if part == 0 else 0.0


def lstm(w: Weights, x: Numbers, states: States) -> States:
    h, c = states
    after: States = [[], []]
    for k in range(len(h)):
        i, f, g, o = (
            _times(x, w["kernel"], n) + _times(h, w["recurrent_kernel"], n) + _bias(w, n)
            for n in (k, len(h) + k, 2 * len(h) + k, 3 * len(h) + k)
        )
        after[1].append(_sigmoid(f) * c[k] + _sigmoid(i) * math.tanh(g))
        after[0].append(_sigmoid(o) * math.tanh(after[1][k]))
    return after


def gru(w: Weights, x: Numbers, states: States, reset_after: bool = True) -> States:
    (h,) = states
    units = len(h)

    def gate(column: int) -> float:
        own = _times(x, w["kernel"], column) + _bias(w, column)
        return _sigmoid(own + _times(h, w["recurrent_kernel"], column) + _bias(w, column, 1))

    z, r = [gate(k) for k in range(units)], [gate(units + k) for k in range(units)]
    after: Numbers = []
    for k in range(units):
        column = 2 * units + k
        if reset_after:
            inner = r[k] * (_times(h, w["recurrent_kernel"], column) + _bias(w, column, 1))
        else:
            inner = _times([a * b for a, b in zip(r, h, strict=True)], w["recurrent_kernel"], column)
        g = math.tanh(_times(x, w["kernel"], column) + _bias(w, column) + inner)
        after.append(z[k] * h[k] + (1 - z[k]) * g)
    return [after]


def simple_rnn(w: Weights, x: Numbers, states: States) -> States:
    (h,) = states
    return [
        [
            math.tanh(_times(x, w["kernel"], k) + _times(h, w["recurrent_kernel"], k) + _bias(w, k))
            for k in range(len(h))
        ]
    ]


def stacked(steps: Sequence[Step], counts: Sequence[int], x: Numbers, states: States) -> tuple[Numbers, States]:
    """Each cell takes the output of the one below."""
    after: States = []
    for step, count in zip(steps, counts, strict=True):
        own = step(x, states[len(after) : len(after) + count])
        x, after = own[0], [*after, *own]
    return x, after


def over_time(
    step: Callable[[Numbers, States], tuple[Numbers, States]],
    steps: Sequence[Numbers],
    mask: Sequence[bool],
    states: States,
    units: int,
    zeroed: bool,
) -> tuple[list[Numbers], States]:
    """One sample: the outputs and the last states. A masked step changes no state and repeats the output before."""
    outputs: list[Numbers] = []
    y = [0.0] * units
    for x, counts in zip(steps, mask, strict=True):
        if counts:
            y, states = step(x, states)
            outputs.append(y)
        else:
            outputs.append([0.0] * units if zeroed else y)
    return outputs, states


# Layer or cell -> its step and how many states it has.
STEPS: Mapping[str, tuple[Callable[..., States], int]] = MappingProxyType(
    {"LSTM": (lstm, 2), "GRU": (gru, 1), "SimpleRNN": (simple_rnn, 1)}
)


def outputs(case: Case, it: Subject) -> dict[str, Array]:
    """What the layer of a case must give: y, then the states if it returns them."""
    name, options = specs.of(case)
    cells = _cells(name, options)
    parts = [f"it/cell_{k}" for k in range(len(cells))] if len(cells) > 1 else ["it"]
    steps = [_step(kind, own, it, path) for (kind, own), path in zip(cells, parts, strict=True)]
    run = partial(stacked, steps, [STEPS[kind][1] for kind, _ in cells])
    sizes = [own["units"] for kind, own in cells for _ in range(STEPS[kind][1])]
    flags = {key: options.get(key, False) for key in ("go_backwards", "zero_output_for_mask", "return_sequences")}
    x = it.inputs["inputs"]
    results = []
    for sample, numbers in enumerate(x):
        mask = it.inputs["mask"][sample].tolist() if "mask" in it.inputs else [True] * len(numbers)
        states = [_state(it, k, sample, size) for k, size in enumerate(sizes)]
        order = slice(None, None, -1 if flags["go_backwards"] else 1)
        y, after = over_time(
            run, numbers.tolist()[order], mask[order], states, cells[-1][1]["units"], flags["zero_output_for_mask"]
        )
        results.append([y if flags["return_sequences"] else y[-1], *after])
    made = [np.array([result[k] for result in results]) for k in range(1 + len(sizes))]
    return dict(zip(it.names, made, strict=False))


def _cells(name: str, options: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The steps from below to above: (LSTM, GRU or SimpleRNN, options)."""
    given = options["cell"] if name == "RNN" else [name, options]
    listed = [given] if specs.is_layer(given) else given
    return [(kind.removesuffix("Cell"), dict(own)) for kind, own in listed]


def _step(kind: str, options: Mapping[str, Any], it: Subject, path: str) -> Step:
    if unknown := {key for key in options if key.endswith("activation")}:
        raise NotImplementedError(f"the rule knows tanh and sigmoid; given {', '.join(unknown)}")
    weights = {port: it.weights[f"{path}/{port}"].tolist() for port in _ports(it, path)}
    more = {"reset_after": options["reset_after"]} if "reset_after" in options else {}
    return partial(STEPS[kind][0], weights, **more)


def _ports(it: Subject, path: str) -> list[str]:
    return [name.rpartition("/")[2] for name in it.weights if name.rpartition("/")[0] == path]


def _state(it: Subject, k: int, sample: int, size: int) -> Numbers:
    """A state to start from: given, carried over, or zeros."""
    if f"state_{k}" in it.inputs:
        return [float(n) for n in it.inputs[f"state_{k}"][sample]]
    if it.carries:
        return [float(n) for n in it.carries[it.program.carries[k].name][sample]]
    return [0.0] * size
