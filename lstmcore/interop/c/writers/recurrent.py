"""The recurrent ops in C: a helper for each set of functions, called for each sample."""

from __future__ import annotations

from lstmcore import ops
from lstmcore.interop.c.code import Array, Code
from lstmcore.interop.c.functions import ROOM, recurrent, scalar
from lstmcore.interop.c.writers.pointwise import Given
from lstmcore.ops import Recurrent
from lstmcore.program import Node


def run(code: Code, node: Node, inputs: Given) -> list[Array]:
    """Lstm, Gru and SimpleRnn: the states are copied, and the copies go through the steps."""
    op = node.op
    assert isinstance(op, Recurrent)
    ports = dict(zip((*op.inputs, *op.optional), inputs, strict=True))
    x = ports["x"]
    assert x is not None
    batch, steps, size = x.shape
    states = [_copied(code, ports[state]) for state in op.states]
    w = {port: code.helpers.weights[path].pointer for port, path in node.weights.items()}
    y, z = code.make((batch, steps, op.units)), code.make((ROOM[_kind(op)], op.units))
    name = recurrent(code.helpers, _kind(op), *_functions(code, op))

    def each(array: Array | None, per: str) -> str:
        return "NULL" if array is None else array.pointer + ("" if batch == 1 else f" + b * {per}")

    h, c = each(states[0], f"{op.units}"), each(states[1], f"{op.units}") if len(states) > 1 else "NULL"
    one = "" if batch == 1 else "    "
    if batch != 1:
        code.say(f"for (int b = 0; b < {batch}; b++)")
    code.say(
        f"{one}{name}({each(x, f'{steps} * {size}')}, {steps}, {size}, {op.units}, {w['kernel']}, "
        f"{w['recurrent_kernel']},",
        f"{one}    {w.get('bias', 'NULL')}, {each(ports['mask'], f'{steps}')}, "
        f"{each(ports['previous'], f'{op.units}')}, {int(op.zero_output_for_mask)}, {h}, {c}, {z.pointer}, "
        f"{each(y, f'{steps} * {op.units}')});",
    )
    code.release(z)
    return [y, *states]


def _kind(op: Recurrent) -> str:
    return ("GruAfter" if op.reset_after else "GruBefore") if isinstance(op, ops.Gru) else type(op).__name__


def _functions(code: Code, op: Recurrent) -> tuple[str, str]:
    """The functions of the gates and of the rest. ExportError for one that looks at all units at once."""
    wanted = [getattr(op, "recurrent_activation", op.activation), op.activation]
    names = [scalar(code.helpers, function) for function in wanted]
    for function, name in zip(wanted, names, strict=True):
        if name is None:
            raise code.refuse(f"its activation {function} mixes the units of a step")
    return str(names[0]), str(names[1])


def _copied(code: Code, state: Array | None) -> Array:
    assert state is not None
    copy = code.make(state.shape)
    if state.pointer == "0":
        code.say(f"memset({copy.pointer}, 0, sizeof(*{copy.pointer}) * {copy.size});")
        return copy
    code.say(f"memcpy({copy.pointer}, {state.pointer}, sizeof(*{copy.pointer}) * {state.size});")
    return copy
