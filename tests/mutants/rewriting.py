"""Plants a fault in a lowering, by pytest's ``monkeypatch``: most rewrite one node as it is built, found by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lstmcore import ops
from lstmcore.program import Builder, Value

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
# change(build, op, inputs) -> the op and inputs that are built instead; None in place of an op: nothing is built
Change = Callable[[Builder, Any, tuple[Any, ...]], tuple[Any, tuple[Any, ...]]]


def rewriting(name: str, change: Change, kind: type[ops.Op] = ops.Op, within: str = "") -> Plant:
    """Changes the nodes of that name and kind whose path holds ``within``."""

    def plant(patch: Patch) -> None:
        right = Builder.op

        def op(self: Builder, op: Any, *inputs: Any, name: str = "", **more: Any) -> Any:
            if name == wanted and isinstance(op, kind) and within in self.path(name):
                op, inputs = change(self, op, inputs)
            return right(self, op, *inputs, name=name, **more) if op is not None else inputs

        patch.setattr(Builder, "op", op)

    wanted = name
    return plant


def left_out(name: str, kind: type[ops.Op] = ops.Op, within: str = "") -> Plant:
    """What should be computed is its first input as it is."""
    return rewriting(name, lambda build, op, inputs: (None, inputs[:1]), kind, within)


def with_inputs(name: str, change: Callable[..., tuple[Any, ...]], kind: type[ops.Op] = ops.Op) -> Plant:
    return rewriting(name, lambda build, op, inputs: (op, change(*inputs)), kind)


def with_op(name: str, change: Callable[[Any], Any], kind: type[ops.Op] = ops.Op) -> Plant:
    return rewriting(name, lambda build, op, inputs: (change(op), inputs), kind)


def method(owner: Any, name: str, wrong: Callable[..., Any]) -> Plant:
    """``wrong(right, *args)`` is the method instead; ``right`` is the sound one."""

    def plant(patch: Patch) -> None:
        right = vars(owner)[name]
        patch.setattr(owner, name, lambda *args, **kwargs: wrong(right, *args, **kwargs))

    return plant


def during(owner: Any, name: str, fault: Plant) -> Plant:
    """A fault that is there only while that method runs."""

    def wrong(right: Any, *args: Any, **kwargs: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            fault(patch)
            return right(*args, **kwargs)

    return method(owner, name, wrong)


def lowered(owner: Any, change: Callable[[Any, Any], Any]) -> Plant:
    """``change(outputs, masks)`` is what ``lower`` returns."""
    return method(owner, "lower", lambda right, *args, **kwargs: change(*right(*args, **kwargs)))


def attribute(owner: Any, name: str, value: Any) -> Plant:
    return lambda patch: patch.setattr(owner, name, value)


def inverted(build: Builder, mask: Value) -> Value:
    return build.op(ops.Unary("not"), mask, name="inverted")[0]


def everywhere(build: Builder, mask: Value) -> Value:
    """A mask of that shape that is True."""
    return build.op(ops.Binary("or"), mask, inverted(build, mask), name="everywhere")[0]
