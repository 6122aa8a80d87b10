"""The reverse sweep: the gradients of a program, from one ``pull`` per node.

For backends without automatic differentiation. A kernel's ``pull(op, weights, *inputs) -> outputs, vjp`` runs
the op and keeps what its backward needs; ``vjp(*output_gradients) -> weight_gradients, input_gradients`` takes a
gradient, or None, for each output, and gives gradients by the op's weights, and one, or None, for each input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lstmcore.errors import SpecError, near
from lstmcore.program import Node, Program

Vjp = Callable[..., tuple[Mapping[str, Any], tuple[Any, ...]]]
Pull = Callable[..., tuple[tuple[Any, ...], Vjp]]
Gradients = dict[str, Any]


class Sums:
    """Gradients by name, summed as they come. What is given is never written to: its giver may still use it."""

    def __init__(self, given: Iterable[tuple[str, Any]] = ()) -> None:
        self.totals: Gradients = {}
        self._own: set[str] = set()
        for name, gradient in given:
            self.add(name, gradient)

    def add(self, name: str, gradient: Any) -> None:
        """Adds one; None adds nothing."""
        if gradient is None:
            return
        if name not in self.totals:
            self.totals[name] = gradient
        elif name in self._own:
            self.totals[name] += gradient
        else:
            total = self.totals[name] + gradient
            # Two arrays without axes add up to a number, to which nothing can be added in place.
            self.totals[name] = np.asarray(total) if isinstance(total, np.generic) else total
            self._own.add(name)


def pull(
    program: Program, pulls: Iterable[Pull], weights: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], Callable[[Mapping[str, Any]], tuple[Gradients, Gradients]]]:
    """Runs a program as `interpret` does, ready to go back: (outputs by name, next carries by name, vjp).

    ``vjp(gradients)`` takes the gradients of any values by name: outputs, the carries' ``after``, or values in
    between; of one left out, or None, it is zero. It returns the gradients of the weights by path, and those of
    the inputs and of the carries' ``before`` by name, without those that nothing reaches. They are to be
    read, not written: one array may stand for several. It may be called more than once.
    """
    known = dict(values)
    vjps: list[tuple[Node, Vjp]] = []
    for node, one in zip(program.nodes, pulls, strict=True):
        own = {port: weights[path] for port, path in node.weights.items()}
        outputs, vjp = one(node.op, own, *(None if name is None else known[name] for name in node.inputs))
        known.update(zip(node.outputs, outputs, strict=True))
        vjps.append((node, vjp))
    sources = set(program.entering)

    def back(gradients: Mapping[str, Any]) -> tuple[Gradients, Gradients]:
        for name in gradients:
            if name not in program.values:
                raise SpecError(
                    f"a gradient is given for {name!r}, no value of the program.{near(name, program.values)}"
                )
        by_weight, by_value = _sweep(vjps, gradients.items())
        return by_weight, {name: gradient for name, gradient in by_value.items() if name in sources}

    made = {name: known[name] for name in program.outputs}
    return made, {carry.name: known[carry.after] for carry in program.carries}, back


def differentiate(program: Program, pulls: Iterable[Pull], loss: str, wrt: Iterable[str]) -> Callable[..., Any]:
    """``function(weights, values) -> (outputs, carries, gradients)`` of output ``loss``, for the weights ``wrt``."""
    kept, names = tuple(pulls), tuple(wrt)

    def function(weights: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[Any, Any, Gradients]:
        outputs, carries, back = pull(program, kept, weights, values)
        found, _ = back({loss: np.ones_like(outputs[loss])})
        zeros = {name: np.zeros_like(weights[name]) for name in names if name not in found}
        return outputs, carries, {name: found[name] if name in found else zeros[name] for name in names}

    return function


def _sweep(vjps: list[tuple[Node, Vjp]], given: Iterable[tuple[str, Any]]) -> tuple[Gradients, Gradients]:
    """Gradients by weight and by value: every user of a value comes before its maker, so sums are complete."""
    by_weight, by_value = Sums(), Sums(given)
    for node, vjp in reversed(vjps):
        gradients = [by_value.totals.pop(name, None) for name in node.outputs]
        if all(gradient is None for gradient in gradients):
            continue
        of_weights, of_inputs = vjp(*gradients)
        for port, gradient in of_weights.items():
            by_weight.add(node.weights[port], gradient)
        for name, gradient in zip(node.inputs, of_inputs, strict=True):
            if name is not None:
                by_value.add(name, gradient)
    return by_weight.totals, by_value.totals


def pulled_body(program: Program, pulls: tuple[Pull, ...]) -> Callable[..., tuple[tuple[Any, ...], Vjp]]:
    """``body(weights, *inputs) -> outputs, vjp`` of a program that is the body of an op."""

    def body(weights: Mapping[str, Any], *inputs: Any) -> tuple[tuple[Any, ...], Vjp]:
        outputs, _, back = pull(program, pulls, weights, dict(zip(program.inputs, inputs, strict=True)))

        def vjp(*gradients: Any) -> tuple[Gradients, tuple[Any, ...]]:
            # A value may be several outputs: its gradients add up.
            of_weights, of_inputs = back(Sums(zip(program.outputs, gradients, strict=True)).totals)
            return of_weights, tuple(of_inputs.get(name) for name in program.inputs)

        return tuple(outputs[name] for name in program.outputs), vjp

    return body
