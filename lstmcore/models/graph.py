"""The graph of calls between the inputs and the outputs of a functional model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lstmcore import tree
from lstmcore.errors import SpecError
from lstmcore.layers.core import InputLayer
from lstmcore.layers.module import Mask, Module
from lstmcore.layers.symbolic import Call, SymbolicTensor, hint, lower_call, reason
from lstmcore.naming import snake, unique
from lstmcore.ops import Kind
from lstmcore.program import Builder, Value

MAX_CALLS = 2048
"""The most calls of layers in a program; models that call one another twice would double them each time."""


class Graph:
    """The calls that lead from ``inputs`` to ``outputs`` (structures of symbolic tensors), in an order to run them.

    ``names`` gives each module its name in the model, in Keras' order: by the longest way to an output, then by
    when a walk back from the outputs meets it. SpecError for outputs that need something else than the inputs.
    """

    def __init__(self, owner: str, inputs: Any, outputs: Any) -> None:
        self.owner = owner
        self.inputs: list[SymbolicTensor] = _tensors(owner, "inputs", inputs)
        self.outputs: list[SymbolicTensor] = _tensors(owner, "outputs", outputs)
        twice = [tensor.name for k, tensor in enumerate(self.inputs) if tensor in self.inputs[:k]]
        if twice:
            raise SpecError(f"{owner}: the input {twice[0]!r} is given twice")
        finished, met = self._walk()
        depths = self._depth = self._depths(finished)
        self.calls: list[Call] = sorted(depths, key=lambda call: (-depths[call], call.serial))
        self.names: dict[Module, str] = self._name(self._order(depths, met))
        self._uses: dict[Module, list[Call]] = {module: [] for module in self.names}
        for call in sorted(depths, key=lambda call: call.serial):
            self._uses[call.module].append(call)

    def uses(self, module: Module) -> list[Call]:
        """The calls of a module, the first first: Keras' node indices."""
        return self._uses[module]

    def origin(self, tensor: SymbolicTensor) -> tuple[str, int, int]:
        """Where a tensor comes from: the layer's name, which of its calls, which output."""
        module = tensor.call.module
        return self.names[module], self.uses(module).index(tensor.call), tensor.index

    @property
    def is_chain(self) -> bool:
        """Whether every layer is called once, on what one before it makes, and no two stand side by side."""
        depths = [self._depth[call] for call in self.calls]
        once = len(self.calls) == len(self.names) == len(set(depths))
        return once and all(len(call.tensors) <= 1 for call in self.calls)

    def _walk(self) -> tuple[list[Call], list[Module]]:
        """The calls, each after those it needs, and the modules as a walk back from the outputs meets them."""
        finished: dict[Call, None] = {}
        met: dict[Module, None] = {}
        for output in self.outputs:
            waiting: list[tuple[Call, Iterator[SymbolicTensor]]] = []
            self._enter(output, finished, met, waiting)
            while waiting:
                call, needs = waiting[-1]
                tensor = next(needs, None)
                if tensor is None:
                    finished[call] = None
                    waiting.pop()
                else:
                    self._enter(tensor, finished, met, waiting)
        for tensor in self.inputs:
            if tensor.call not in finished and tensor.is_input:
                met = {tensor.call.module: None, **met}
                finished[tensor.call] = None
        return list(finished), list(met)

    def _enter(
        self,
        tensor: SymbolicTensor,
        finished: Mapping[Call, None],
        met: dict[Module, None],
        waiting: list[tuple[Call, Iterator[SymbolicTensor]]],
    ) -> None:
        call = tensor.call
        if call in finished or (tensor in self.inputs and not tensor.is_input):
            return
        if tensor.is_input and tensor not in self.inputs:
            reader = waiting[-1][0].module.called() if waiting else "an output"
            raise SpecError(
                f"{self.owner}: the graph is disconnected: {reader} needs {tensor!r}, "
                f"which is not among the model's inputs: {self.inputs}"
            )
        met.setdefault(call.module)
        waiting.append((call, iter(call.tensors)))

    def _depths(self, finished: Sequence[Call]) -> dict[Call, int]:
        """The longest way from each call to an output; calls of one module share the longest."""
        depths: dict[Call, int] = {}
        shared: dict[Module, int] = {}
        known = set(finished)
        for call in reversed(finished):
            depth = max(depths.setdefault(call, 0), shared.get(call.module, 0))
            depths[call] = shared[call.module] = depth
            for tensor in call.tensors:
                if tensor.call in known:
                    depths[tensor.call] = max(depth + 1, depths.get(tensor.call, 0))
        return depths

    def _order(self, depths: Mapping[Call, int], met: Sequence[Module]) -> list[Module]:
        longest: dict[Module, int] = {}
        for call, depth in depths.items():
            longest[call.module] = max(depth, longest.get(call.module, 0))
        places = {module: k for k, module in enumerate(met)}
        return sorted(longest, key=lambda module: (-longest[module], places[module]))

    def _name(self, modules: Sequence[Module]) -> dict[Module, str]:
        """A name for each: its own, or one after its class that is free; SpecError for one name given twice."""
        own = [module.name for module in modules if module.name is not None and not module.auto_named]
        for name in own:
            if own.count(name) > 1:
                raise SpecError(f"{self.owner}: two layers are called {name!r}; names must differ")
        names: dict[Module, str] = {}
        for module in sorted(modules, key=lambda m: min(c.serial for c in m.calls) if m.calls else 0):
            if module.name is None or module.auto_named:
                names[module] = unique(snake(type(module).__name__), {*own, *names.values()})
                module.name_as(names[module])
            else:
                names[module] = module.name
        return {module: names[module] for module in modules}

    def kinds(self) -> dict[SymbolicTensor, Kind]:
        """What each input holds: as declared, or token ids where an Embedding takes it. SpecError for both at once."""
        found: dict[SymbolicTensor, Kind] = {}
        for tensor in self.inputs:
            readers = [call.module for call in self.calls if tensor in call.tensors]
            wanted = {module.wanted_kind(): module for module in readers if module.wanted_kind() is not None}
            if tensor.kind == "float" and tensor.is_input and "int" in wanted:
                if len(wanted) > 1:
                    both = " and ".join(module.called() for module in wanted.values())
                    raise SpecError(f"{self.owner}: {both} read the input {tensor.name!r}, one as ids, one as numbers")
                found[tensor] = "int"
            else:
                found[tensor] = tensor.kind
        return found

    def lower(
        self, build: Builder, given: Mapping[SymbolicTensor, tuple[Value, Mask]]
    ) -> tuple[list[Value], list[Mask]]:
        """Writes the calls in canonical ops; ``given`` says what the inputs are."""
        known = dict(given)

        def value(leaf: Any) -> Any:
            return known[leaf][0] if isinstance(leaf, SymbolicTensor) else leaf

        def mask(leaf: Any) -> Mask:
            return known[leaf][1] if isinstance(leaf, SymbolicTensor) else None

        for call in self.calls:
            if isinstance(call.module, InputLayer) or all(output in given for output in call.outputs):
                continue
            name = self.names[call.module]
            build.calls += 1
            if build.calls > MAX_CALLS:
                raise SpecError(f"{self.owner}: its layers are called more than {MAX_CALLS} times")
            try:
                with build.scope(name):
                    outputs, masks = lower_call(call.module, build, call.arguments, value, mask)
            except SpecError as error:
                hints = (hint(t.call.module, call.module, t) for t in call.tensors if not t.is_input)
                told = f"{reason(error, call.module)}{next(filter(None, hints), '')}"
                raise SpecError(f"layer {name!r}: {told.removeprefix(f'{name}: ')}") from None
            made = zip(call.outputs, zip(outputs, masks, strict=True), strict=True)
            known.update((tensor, values) for tensor, values in made if tensor not in given)
        return [known[tensor][0] for tensor in self.outputs], [known[tensor][1] for tensor in self.outputs]


def _tensors(owner: str, what: str, structure: Any) -> list[SymbolicTensor]:
    tensors = list(tree.leaves(structure))
    for tensor in tensors:
        if not isinstance(tensor, SymbolicTensor):
            raise SpecError(
                f"{owner}: {what} holds {type(tensor).__name__} {tensor!r}; expected what Input(...) or a layer "
                "called on it returns"
            )
    if not tensors:
        raise SpecError(f"{owner}: there are no {what}")
    return tensors
