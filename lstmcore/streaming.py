"""A program made to run on a sequence in pieces: causal or refused, its whole past in its carries.

`streaming` follows the axis of time through a program. Where an op looks ahead, or at the whole sequence, it
refuses and names the layer; where an op looks back (a causal convolution, a masked step that repeats the output
before it), it adds a carry. What comes out gives for every piece the outputs of just those steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from lstmcore import ops
from lstmcore.activations import ALONG_AXIS
from lstmcore.errors import SpecError
from lstmcore.ops import Op, Tensor
from lstmcore.program import Builder, Node, Program, Value

# What a value is to the stream: it has the steps on axis 1; it has them folded into the batch; it is as of the
# newest step; it is given anew at every push, without steps; it is a state; or it does not depend on the data.
Role = Literal["steps", "folded", "newest", "given", "state", "constant"]


class _RefusalError(Exception):
    """Why an op cannot run in pieces."""


def is_stream(value: Tensor) -> bool:
    """Whether an input has a time axis: (batch, time, features), or ids or a mask (batch, time)."""
    return len(value.shape) > 2 or (len(value.shape) == 2 and value.kind != "float")


def check(program: Program, owner: str) -> dict[str, Role]:
    """The role of every value; SpecError names the layer that cannot run in pieces, and why."""
    roles: dict[str, Role] = {name: "steps" if is_stream(program.values[name]) else "given" for name in program.inputs}
    if "steps" not in roles.values():
        shapes = [program.values[name].shape for name in program.inputs]
        raise SpecError(f"{owner} cannot stream: its inputs have no time axis, {shapes}; expected (batch, time, ...)")
    roles |= {carry.before: "state" for carry in program.carries}
    for node in program.nodes:
        try:
            made = _roles(program, node, [None if name is None else roles[name] for name in node.inputs])
        except _RefusalError as refusal:
            layer = node.name.partition("/")[0]
            raise SpecError(f"{owner} cannot stream: layer {layer!r} {refusal}") from None
        roles |= dict(zip(node.outputs, made, strict=True))
    return roles


def streaming(program: Program, owner: str) -> tuple[Program, dict[str, Role]]:
    """The program, which has an open time axis, with all that a later piece needs of an earlier one as carries.

    Beside it the roles of the inputs and outputs.
    """
    roles = check(program, owner)
    build = Builder()
    for name in program.inputs:
        build.input(name, program.values[name].shape, program.values[name].kind)
    for carry in program.carries:
        build.carry(carry.name, program.values[carry.before].shape)
    for node in program.nodes:
        extend = _LOOK_BACK.get(type(node.op))
        looks_back = extend is not None and roles[node.inputs[0] or ""] == "steps"
        if extend is None or not looks_back or not extend(build, node):
            build.add(node)
    for note in program.notes:
        build.note(note)
    for carry in program.carries:
        build.carries[carry.name] = replace(build.carries[carry.name], after=carry.after)
    return build.finish(program.outputs), {name: roles[name] for name in (*program.inputs, *program.outputs)}


# Ops that need a part of the past: each adds its carries and itself, or says False where it needs none.


def _conv(build: Builder, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Conv)
    steps = (op.size - 1) * op.dilation
    if steps == 0:
        return False
    x = build.values[node.inputs[0] or ""]
    with build.scope(node.name):
        past = build.carry("past", (x.shape[0], steps, *_known(x.shape[2:])))
        (both,) = build.op(ops.Concat(1, 2), past, x, name="with_past")
        build.update(past, build.op(ops.Slice(1, -steps, None), both, name="next_past")[0])
    build.add(replace(node, op=replace(op, padding="valid"), inputs=(both.name,)))
    return True


def _known(lengths: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(length or 0 for length in lengths)


def _held(build: Builder, node: Node) -> bool:
    """A masked step repeats the output before it, which may be in the piece before."""
    ports = (*node.op.inputs, *node.op.optional)
    mask, previous = ports.index("mask"), ports.index("previous")
    if node.inputs[mask] is None or node.op.zero_output_for_mask:  # type: ignore[attr-defined]
        return False
    tensors = [None if name is None else build.values[name] for name in node.inputs]
    y = node.op.infer(*tensors)[0]
    with build.scope(node.name):
        before = build.carry("output", (y.shape[0], *y.shape[2:]))
    inputs = list(node.inputs)
    inputs[previous] = before.name
    build.add(replace(node, inputs=tuple(inputs)))
    with build.scope(node.name):
        (after,) = build.op(ops.Last(), build.values[node.outputs[0]], name="last_output")
    build.update(before, after)
    return True


_LOOK_BACK: Mapping[type[Op], Callable[[Builder, Node], bool]] = MappingProxyType(
    {ops.Conv: _conv, ops.Lstm: _held, ops.Gru: _held, ops.SimpleRnn: _held, ops.Scan: _held}
)

# The rules: what the outputs of each op are, from what its inputs are.

Rule = Callable[[Any, list[Role | None], list[Value | None]], Role]


def _roles(program: Program, node: Node, roles: list[Role | None]) -> list[Role]:
    inputs = [None if name is None else program.values[name] for name in node.inputs]
    present = [role for role in roles if role is not None]
    if isinstance(node.op, (ops.Parameter, ops.Constant)):
        return ["constant"]
    if isinstance(node.op, ops.Unfold):
        return [(roles[1] or "constant") if roles[0] == "folded" else _one(roles[:1])]
    if "folded" in present or isinstance(node.op, ops.Fold):
        return ["folded" if "steps" in present or "folded" in present else _one(present)] * len(node.outputs)
    if isinstance(node.op, ops.Zeros):
        return ["constant"]
    if isinstance(node.op, (ops.Recurrent, ops.Scan)):
        return _recurrent(program, node, roles)
    if "state" in present:
        raise _RefusalError("computes with a state outside of its recurrence")
    rule = _RULES.get(type(node.op))
    if rule is None:
        raise _RefusalError(f"uses {node.op}, of which is not known how it runs in pieces")
    return [rule(node.op, roles, inputs)] * len(node.outputs)


def _one(roles: Sequence[Role | None]) -> Role:
    """The role of what is made of such inputs element by element."""
    found: set[Role] = {role for role in roles if role is not None and role != "constant"}
    if "steps" in found and "newest" in found:
        raise _RefusalError("puts what is known only at the newest step together with every step")
    order: tuple[Role, ...] = ("steps", "newest", "given")
    return next((role for role in order if role in found), "constant")


def _pointwise(op: Any, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    if role == "steps":
        ranks = {len(v.shape) for v, r in zip(inputs, roles, strict=True) if v is not None and r == "steps"}
        rank = ranks.pop()
        for value, r in zip(inputs, roles, strict=True):
            if value is not None and r != "steps" and len(value.shape) >= rank - 1 and value.shape[1 - rank] != 1:
                raise _RefusalError(f"adds or multiplies something of its own to each of {value.shape[1 - rank]} steps")
        if ranks:
            raise _RefusalError("puts sequences of different numbers of axes together")
    return role


def _first(op: Any, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    return _one(roles[:1])


def _along(axes: Callable[[Any, int], Sequence[int]], what: str) -> Rule:
    """A rule for an op that works along axes: not that of time."""

    def rule(op: Any, roles: list[Role | None], inputs: list[Value | None]) -> Role:
        role = _one(roles)
        rank = max(len(value.shape) for value in inputs if value is not None)
        if role == "steps" and 1 in axes(op, rank):
            raise _RefusalError(what)
        return role

    return rule


def _concat(op: ops.Concat, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    if role == "steps" and op.axis == 1:
        raise _RefusalError("joins sequences end to end")
    if role == "steps" and set(roles) != {"steps"}:
        raise _RefusalError("puts something of its own beside each step of a sequence of fixed length")
    return role


def _activation_axes(op: ops.Activate, rank: int) -> Sequence[int]:
    axis = op.function.parameters.get("axis")
    return (axis % rank,) if op.function.name in ALONG_AXIS and isinstance(axis, int) else ()


def _reshape(op: ops.Reshape, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role, x = _one(roles), inputs[0]
    if role == "steps" and x is not None:
        rest, target = x.shape[2:], op.shape[1:]
        keeps = op.shape[:1] in ((-1,), x.shape[1:2]) and -1 not in target and None not in rest
        if not keeps or _product(rest) != _product(target):
            raise _RefusalError(f"reshapes {x.shape[1:]} to {op.shape}, across the steps")
    return role


def _product(lengths: Sequence[Any]) -> int:
    result = 1
    for length in lengths:
        result *= length
    return result


def _transpose(op: ops.Transpose, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    if role == "steps" and op.axes[1] != 1:
        raise _RefusalError("puts another axis in the place of time")
    return role


def _last(op: Any, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    return "newest" if role == "steps" else role


def _conv_rule(op: ops.Conv, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    if role == "steps" and (op.strides != 1 or (op.padding != "causal" and op.size > 1)):
        raise _RefusalError(
            f"has padding {op.padding!r}, strides {op.strides}; only causal ones with strides 1 run in pieces"
        )
    return role


def _pool_rule(op: ops.Pool, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    if role == "steps" and (op.size, op.strides) != (1, 1):
        raise _RefusalError("pools over time, so that its outputs are not one for each step")
    return role


def _einsum(op: ops.Einsum, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    operands, _, result = op.equation.partition("->")
    for letters, own in zip(operands.split(","), roles, strict=True):
        if own == "steps" and letters[1] != result[1:2]:
            raise _RefusalError("looks at the whole sequence at once, as attention does")
        if role == "steps" and own != "steps" and result[1:2] in letters:
            raise _RefusalError("puts sequences together of which only one is streamed")
    return role


def _affine(op: Any, roles: list[Role | None], inputs: list[Value | None]) -> Role:
    role = _one(roles)
    if role == "steps" and inputs[0] is not None and len(inputs[0].shape) < 3:
        raise _RefusalError("takes the steps for features")
    return role


def _recurrent(program: Program, node: Node, roles: list[Role | None]) -> list[Role]:
    states = len(node.outputs) - 1
    if roles[0] != "steps":
        raise _RefusalError("runs over a sequence that is made of the whole input, such as RepeatVector makes")
    befores = {carry.before: carry.after for carry in program.carries}
    for before, after in zip(node.inputs[1 : 1 + states], node.outputs[1:], strict=True):
        if before not in befores or befores[before] != after:
            raise _RefusalError("starts from states that the model computes (initial_state), not from its own")
    return ["steps", *["newest"] * states]  # type: ignore[list-item]  # the literals are Roles


_RULES: Mapping[type[Op], Rule] = MappingProxyType(
    {
        ops.Activate: _along(_activation_axes, "normalizes over all steps"),
        ops.Affine: _affine,
        ops.BatchNormalize: _affine,
        ops.Binary: _pointwise,
        ops.Cast: _first,
        ops.Concat: _concat,
        ops.Conv: _conv_rule,
        ops.Einsum: _einsum,
        ops.Embed: _first,
        ops.Last: _last,
        ops.LayerNormalize: _along(lambda op, rank: op.axes, "normalizes over all steps"),
        ops.NotEqual: _first,
        ops.Pad: _along(lambda op, rank: (op.axis,), "adds steps"),
        ops.Pool: _pool_rule,
        ops.Reduce: _along(lambda op, rank: op.axes, "sums up the whole sequence"),
        ops.Repeat: _along(lambda op, rank: (op.axis,), "repeats steps"),
        ops.Reshape: _reshape,
        ops.Reverse: _along(lambda op, rank: (1,), "runs backwards: its first output needs the last step"),
        ops.Select: _pointwise,
        ops.Slice: _along(lambda op, rank: (op.axis,), "cuts steps off"),
        ops.Transpose: _transpose,
        ops.Unary: _first,
    }
)
