"""A program becomes a functional model: each node by its row, its weights to the bit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lstmcore import ops
from lstmcore.errors import ExportError, SpecError
from lstmcore.interop.layered.rows import FOLDED, ROWS
from lstmcore.interop.layered.simple import simple
from lstmcore.interop.layered.site import Site
from lstmcore.interop.proof.inputs import cases
from lstmcore.interop.proof.signature import pairing
from lstmcore.interop.proof.subject import Subject
from lstmcore.layers import Input
from lstmcore.layers.base import Layer, placeholder_weights
from lstmcore.models import Model
from lstmcore.models.base import BaseModel
from lstmcore.models.program_model import ProgramModel
from lstmcore.naming import unique
from lstmcore.program import Node
from lstmcore.runtime.compare import LIMIT, scale_error

_KINDS = {"float": None, "int": "int32", "bool": "bool"}
_CARRIED = (ops.Constant, ops.Zeros, ops.Parameter)  # not tensors between layers: what they feed has them


def layered(model: BaseModel, compiled: bool = False, batch_first: bool = False) -> BaseModel:
    """The model itself; one that is a program, as the layers that compute the same, with its weights.

    ``batch_first``: the layers take and give data with the batch first, where the program has it elsewhere.

    Raises:
        ExportError: an op that no layer computes, by name, or data whose first axis is not the batch. ``compiled``:
            the program was compiled, and its layers are not.
    """
    if not isinstance(model, ProgramModel):
        return model
    if compiled and model.compiled_with is not None:
        raise ExportError(
            f"{model.called()} came as a graph, and its layers lack what compile said; compiled=False leaves that out."
        )
    return Lifting(model).made(batch_first)


class Lifting:
    """One program on its way to layers."""

    def __init__(self, model: ProgramModel) -> None:
        self.model = model
        self.program, self._given = simple(model.program), model.every_path()
        self.tensors: dict[str, Any] = {}
        self.names: set[str] = set()
        self.folded: set[str | None] = set()
        self.befores = {carry.before for carry in self.program.carries}
        self.layers: dict[Any, Layer] = {}
        self.weights: list[tuple[Layer, Mapping[str, Any]]] = []
        self.read = Counter([*(n for node in self.program.nodes for n in node.inputs), *self.program.outputs])
        self.makers = {name: node for node in self.program.nodes for name in node.outputs}

    def made(self, batch_first: bool) -> Model:
        """The functional model."""
        self._check_ends(batch_first)
        program = self.program
        with placeholder_weights():
            inputs = [self._input(name) for name in program.inputs]
            for node in program.nodes:
                if not isinstance(node.op, _CARRIED):
                    self._lift(node)
            name = re.sub(r"\W", "_", self.model.name or "model")
            model = Model(inputs if len(inputs) > 1 else inputs[0], self._outputs(), name=name)
        for layer, own in self.weights:
            layer.replace_weights(own)
        _check(self.model, model)
        return model

    def _check_ends(self, batch_first: bool) -> None:
        odd = {name: axis for name, axis in self.model.batch_axes.items() if axis != 0}
        if odd and (not batch_first or None in odd.values()):
            name, axis = min(odd.items(), key=lambda entry: entry[1] is not None)
            if axis is None:
                raise self.error(
                    f"of {name!r} the file fixes the samples; import_model(path, batch=0) or -i batch=0 opens them"
                )
            raise self.error(
                f"of {name!r} the batch is axis {axis}, in layers the first; batch_first=True turns it round"
            )
        stateful = [carry.name for carry in self.program.carries if carry.stateful]
        if stateful:
            raise self.error(f"its state {stateful[0]!r} stays from call to call")

    def error(self, text: str) -> ExportError:
        return ExportError(f"{self.model.called()} came as a graph, and cannot be put in layers: {text}.")

    def _input(self, name: str) -> Any:
        value = self.program.values[name]
        kind = _KINDS[value.kind] or self.model.dtype
        self.tensors[name] = Input(value.shape[1:], dtype=kind, name=self.called(name), batch_size=value.shape[0])
        return self.tensors[name]

    def called(self, name: str) -> str:
        """A name that a layer may have."""
        found = unique(re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "layer", self.names)
        self.names.add(found)
        return found

    def arrays(self, node: Node) -> dict[str, Any]:
        """The weights of a node, by port."""
        return {port: self._given[path] for port, path in node.weights.items()}

    def _lift(self, node: Node) -> None:
        row = ROWS.get(type(node.op))
        if row is None:
            raise self.error(f"no layer computes {node.op} of {node.name!r}")
        site = Site(self, node, self.arrays(node))
        try:
            made = row(site)
        except SpecError as error:
            raise self.error(f"{node.op} of {node.name!r}: {error}") from None
        for name, tensor in zip(node.outputs, made, strict=False):
            self.tensors[name] = tensor
        self._fold(node)

    def _fold(self, node: Node) -> None:
        """Keeps track of values whose steps are samples in the program, and steps between layers."""
        within = bool(self.folded & set(node.inputs[:1]))
        if isinstance(node.op, ops.Fold) or (within and isinstance(node.op, FOLDED)):
            self.folded |= set(node.outputs)
        elif self.folded & set(node.inputs) and not isinstance(node.op, ops.Unfold):
            raise self.error(f"{node.op} of {node.name!r} takes the steps of all samples as samples")

    def _outputs(self) -> Any:
        folded = self.folded & set(self.program.outputs)
        if folded:
            raise self.error(f"{folded.pop()!r} leaves it with the steps of all samples as samples")
        missing = [name for name in self.program.outputs if name not in self.tensors]
        if missing:
            raise self.error(f"{missing[0]!r} leaves it, which is the same for all data")
        found = [self.tensors[name] for name in self.program.outputs]
        return found if len(found) > 1 else found[0]


def _check(given: ProgramModel, made: Model) -> None:
    """ExportError unless the layers compute what the program does, in float64 and on made-up data."""
    one, other = Subject.of(given), Subject.of(made)
    pair = pairing(one, other, (given.called(), "its layers"))
    for case in cases(one, pair.shapes(), pair.limits()):
        right = one.run(case.values, "float64")
        found = pair.made(other.run(pair.given(case.values), "float64"))
        if any(scale_error(found[name], right[name], "float32") > LIMIT for name in one.leaving):
            raise ExportError(f"{given.called()}: the layers that were found for it compute something else.")
