"""A program as one function of C: what goes in and out, its memory, its statements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lstmcore.errors import ExportError
from lstmcore.interop.c.code import Array, Code, Helpers
from lstmcore.interop.c.lengths import Length, add, product
from lstmcore.interop.c.text import identifier, remark
from lstmcore.interop.c.writers import write
from lstmcore.interop.presented import Presented
from lstmcore.ops import Recurrent
from lstmcore.program import Carry, Program

ZERO = "0"
_TYPES: Mapping[str, str] = {"int": "int32_t", "bool": "unsigned char"}


@dataclass(frozen=True)
class Function:
    """A function's text, and what goes with it.

    ``symbols`` are the lengths that are arguments; ``memory`` is how much scratch memory it needs, in them.
    ``states`` are the members of its struct: by carry, their names and lengths.
    """

    text: str
    symbols: tuple[str, ...]
    memory: Length
    states: Mapping[str, tuple[str, Length]]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def written(helpers: Helpers, shown: Presented, name: str, struct: str, at_once: bool) -> Function:
    """The program as the function ``name``; ``struct`` is the type of the states that it is given, if there are any.

    ``at_once`` is for all steps, with the scratch memory as an argument; otherwise it is for one step, with the scratch
    memory in the struct.
    """
    program = shown.program
    code = Code(helpers, program, {})
    symbols: list[str] = []
    inputs = _inputs(code, shown, at_once, symbols)
    states = _states(shown)
    for carry in program.carries:
        code.values[carry.before] = _before(code, carry, states)
    for position, node in enumerate(program.nodes):
        code.say(f"/* {remark(node.name)}: {remark(type(node.op).__name__)} */")
        write(code, node)
        code.release_after(position)
    outputs = _leave(code, shown, states)
    real = helpers.real
    parameters = [f"{struct} *state"] if states or not at_once else []
    for value, array in inputs.items():
        parameters.append(f"const {_TYPES.get(program.values[value].kind, real)} *{_argument(shown, value)}")
        parameters += [f"int {symbol}" for symbol in dict.fromkeys(_symbols(array)) if at_once]
    parameters += [f"{_TYPES.get(a.kind, real)} *{a.pointer}" for a in outputs.values()]
    parameters += [f"{real} *scratch"] if at_once else []
    memory = code.memory()
    begin, lines = "scratch" if at_once else "state->scratch", []
    for k, (pointer, _) in enumerate(memory):
        place = begin if k == 0 else f"{memory[k - 1][0]} + {memory[k - 1][1]}"
        lines.append(f"{real} *const {pointer} = {place};")
    lines += [] if memory or not at_once else ["(void)scratch;"]
    body = "\n".join(f"    {line}" for line in (*lines, *code.lines))
    total: Length = 0
    for _, size in memory:
        total = add(total, size)
    text = f"static inline void {name}({', '.join(parameters)})\n{{\n{body}\n}}"
    return Function(text, tuple(symbols), total, states, inputs, outputs)


def _argument(shown: Presented, value: str) -> str:
    """``x`` for the only input, else its name after ``in_``, so that no other name can be the same."""
    position = shown.program.inputs.index(value)
    names: list[str] = []
    for name in shown.inputs:
        names.append(identifier(f"in_{name}", names))
    return "x" if len(names) == 1 else names[position]


def lengths_of(shown: Presented) -> dict[str, dict[int, str]]:
    """What the open lengths of each input are called, by axis: ``steps`` where there is one."""
    shapes = {value: shown.program.values[value].shape for value in shown.program.inputs}
    opened = {value: [axis for axis, n in enumerate(shape) if axis and n is None] for value, shape in shapes.items()}
    found = {}
    for value, axes in opened.items():
        base = "steps" if sum(map(bool, opened.values())) == 1 else f"{_argument(shown, value)}_steps"
        found[value] = {axis: base if axis == 1 else f"{base}_{axis}" for axis in axes}
    return found


def _symbols(array: Array) -> list[str]:
    return [n for n in array.shape if isinstance(n, str)]


def _inputs(code: Code, shown: Presented, at_once: bool, symbols: list[str]) -> dict[str, Array]:
    program = shown.program
    names = lengths_of(shown)
    found = {}
    for value in program.inputs:
        tensor = program.values[value]
        pointer = _argument(shown, value)
        if tensor.shape and tensor.shape[0] not in (None, 1):
            raise ExportError(f"input {value!r} has batches of {tensor.shape[0]}; C code takes one sample at a time")
        shape: list[Length] = [1]
        for axis, length in enumerate(tensor.shape[1:], 1):
            shape.append(length if length is not None else names[value][axis] if at_once else 1)
        found[value] = code.values[value] = Array(pointer, tuple(shape), tensor.kind)
        symbols += [symbol for symbol in _symbols(found[value]) if symbol not in symbols]
        if tensor.kind == "bool":  # the helpers take masks of the type of all other numbers
            copy = code.make(shape, "bool")
            code.say(f"for (int i = 0; i < {copy.size}; i++)", f"    {copy.pointer}[i] = {pointer}[i] != 0;")
            code.values[value] = copy
    return found


def _states(shown: Presented) -> dict[str, tuple[str, Length]]:
    found: dict[str, tuple[str, Length]] = {}
    for carry in shown.program.carries:
        if shown.has(carry.name):
            shape = shown.program.values[carry.before].shape
            taken = {name for name, _ in found.values()} | {"scratch"}
            found[carry.name] = (identifier(carry.name, taken), product(n or 0 for n in shape[1:]))
    return found


def _before(code: Code, carry: Carry, states: Mapping[str, tuple[str, Length]]) -> Array:
    """What a state is before the call: a member of the struct, or zero."""
    shape = (1, *(n or 0 for n in code.program.values[carry.before].shape[1:]))
    if carry.name in states:
        return Array(f"state->{states[carry.name][0]}", shape)
    if _only_states(code.program, carry.before):
        return Array(ZERO, shape)
    zeros = code.make(shape)
    code.say(f"memset({zeros.pointer}, 0, sizeof(*{zeros.pointer}) * {zeros.size});")
    return zeros


def _only_states(program: Program, value: str) -> bool:
    """Whether that value is read by recurrent ops alone, as a state: they copy it."""
    for node in program.nodes:
        ports = dict(zip((*node.op.inputs, *node.op.optional), node.inputs, strict=True))
        read = {port for port, name in ports.items() if name == value}
        if read and not (isinstance(node.op, Recurrent) and read <= set(node.op.states)):
            return False
    return value not in program.outputs and all(carry.after != value for carry in program.carries)


def _leave(code: Code, shown: Presented, states: Mapping[str, tuple[str, Length]]) -> dict[str, Array]:
    """Copies outputs and states to where they go. A state that was another one is first copied, as that may change."""
    program = shown.program
    names: list[str] = []
    outputs: dict[str, Array] = {}
    for value, called in zip(program.outputs, shown.outputs, strict=True):
        made = code.values[value]
        names.append(identifier(f"out_{called}", names))
        pointer = "y" if len(shown.outputs) == 1 else names[-1]
        there = Array(pointer, made.shape, program.values[value].kind)
        outputs[pointer] = there
        source = "0" if made.pointer == ZERO else f"{made.pointer}[i]"
        code.say(f"for (int i = 0; i < {there.size}; i++)", f"    {pointer}[i] = {source};")
    carried = [carry for carry in program.carries if carry.name in states]
    for carry in carried:
        after = code.values[carry.after]
        if after.pointer.startswith("state->"):
            copy = code.make(after.shape)
            code.say(f"memcpy({copy.pointer}, {after.pointer}, sizeof(*{copy.pointer}) * {copy.size});")
            code.values = {**code.values, carry.after: copy} if carry.after != carry.before else code.values
    for carry in carried:
        after, name = code.values[carry.after], f"state->{states[carry.name][0]}"
        if after.pointer != name:
            code.say(f"memcpy({name}, {after.pointer}, sizeof({name}));")
    return outputs


def macro(length: Length, symbols: Sequence[str]) -> str:
    """A length as the text of a macro with these parameters."""
    text = str(length)
    for symbol in symbols:
        text = re.sub(rf"\b{symbol}\b", f"({symbol})", text)
    return text
