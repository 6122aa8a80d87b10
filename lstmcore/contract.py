"""What a backend is. The normative text with an example is ``docs/backend-contract.md``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

from lstmcore import sweep
from lstmcore.errors import DeviceError, UnsupportedOp
from lstmcore.ops import Op, Tensor
from lstmcore.program import Node, Program, interpret
from lstmcore.sweep import Pull, pulled_body

API_VERSION = 1

# What a compiled function is called with: for each argument a dict of tensors by name, or of such dicts.
Signature = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Facts:
    """What is known of one node before it runs; kernels are chosen by it, once.

    ``inputs`` has an entry per input of the op, None for an absent optional one.
    """

    inputs: tuple[Tensor | None, ...]
    masked: bool
    dtype: str
    device: str
    training: bool = False


def always(op: Op, facts: Facts) -> bool:
    """any options"""
    return True


@dataclass(frozen=True)
class Kernel:
    """One way to execute one op on one backend.

    ``run(op, weights, *inputs) -> outputs`` is pure: tensors in, a tuple of tensors out.
    ``when(op, facts)`` says whether it can; the first line of its docstring completes "needs ...".
    The kernel of an op that has a body program gets ``body=``, a function ``(weights, *inputs) -> outputs``.
    ``pull(op, weights, *inputs) -> outputs, vjp`` is for backends without automatic differentiation: the outputs
    of ``run``, and ``vjp(*output_gradients) -> weight_gradients, input_gradients``. An output's gradient may be
    None: nothing uses it. The gradients of weights are a dict by the op's names; those of inputs a tuple, None for
    an input that is absent, not float, or without influence. It writes neither to what it is given nor to what
    it gave. The body of an op has the same form: ``body(weights, *inputs) -> outputs, vjp``.
    """

    name: str
    run: Callable[..., tuple[Any, ...]]
    when: Callable[[Any, Facts], bool] = always
    pull: Callable[..., tuple[tuple[Any, ...], Callable[..., Any]]] | None = None

    @property
    def needs(self) -> str:
        """The condition in words."""
        text = self.when.__doc__ or str(getattr(self.when, "__name__", "its condition"))
        return text.strip().splitlines()[0].rstrip(".")


class Backend:
    """Base of all backends: a table of kernels and two conversions.

    One instance serves one device; ``devices()`` lists those present, the default first.
    """

    name: ClassVar[str] = ""
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64")
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType({})
    # What the optimizers' and constraints' formulas use beside operators; docs/backend-contract.md lists them.
    maths: ClassVar[Any] = None

    def __init__(self, device: str | None = None) -> None:
        present = self.devices()
        self.device = present[0] if device is None else self.find_device(device, present)

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """The devices present, the default first."""
        return ("cpu",)

    @classmethod
    def find_device(cls, wanted: str, present: Sequence[str]) -> str:
        """The device called ``wanted``; ``"cuda"`` also finds ``"cuda:0"``."""
        for device in present:
            if wanted.lower() in (device, device.removesuffix(":0")):
                return device
        raise DeviceError(f"backend {cls.name!r} has no device {wanted!r} here. Present: {', '.join(present)}.")

    def tensor(self, array: Any) -> Any:
        """A NumPy array as this engine's tensor on this device; float, int32 or bool. May share memory."""
        raise NotImplementedError

    def numpy(self, tensor: Any) -> Any:
        """The way back. May share memory."""
        raise NotImplementedError

    def compile(self, function: Callable[..., Any], signature: Signature, dtype: str) -> Callable[..., Any]:
        """Makes ``function``, from dicts of tensors to dicts of tensors, fast to call again.

        ``signature`` says what each argument is: by name a `Tensor`, or a dict of them; None is an open length.
        """
        return function

    def differentiate(
        self, program: Program, choices: tuple[Choice, ...], loss: str, wrt: Sequence[str]
    ) -> Callable[..., Any]:
        """``function(weights, values) -> (outputs, carries, gradients)``: the gradients of output ``loss``.

        ``wrt`` names the weights that they are for.
        By default the reverse sweep over the kernels' ``pull``; engines with automatic differentiation use theirs.
        A weight that the loss does not depend on has the gradient zero.
        """
        return sweep.differentiate(program, pulls(choices), loss, wrt)


@dataclass(frozen=True)
class Choice:
    """The kernel chosen for a node, and why those before it in the table were not."""

    node: Node
    kernel: Kernel
    passed_over: tuple[Kernel, ...] = field(default=())
    body: tuple[Choice, ...] = field(default=())  # for the nodes of the op's body, where it has one
    backend: str = ""

    @property
    def run(self) -> Callable[..., tuple[Any, ...]]:
        """The kernel's ``run``, with the op's body ready to be called."""
        program = getattr(self.node.op, "body", None)
        return self.kernel.run if program is None else partial(self.kernel.run, body=_body(program, self.body))

    @property
    def pull(self) -> Pull:
        """The kernel's ``pull``, with the op's body ready to be called. UnsupportedOp where it has none."""
        if self.kernel.pull is None:
            raise UnsupportedOp(
                f"backend {self.backend!r} cannot differentiate {self.node.op} (node {self.node.name!r}): "
                f"its kernel {self.kernel.name!r} has no pull"
            )
        program = getattr(self.node.op, "body", None)
        return (
            self.kernel.pull
            if program is None
            else partial(self.kernel.pull, body=pulled_body(program, pulls(self.body)))
        )

    def __str__(self) -> str:
        reasons = [f"not {kernel.name!r}: needs {kernel.needs}" for kernel in self.passed_over]
        if self.kernel.when is not always:
            reasons.insert(0, f"holds: {self.kernel.needs}")
        return f"{self.kernel.name}" + (f"  ({'; '.join(reasons)})" if reasons else "")


def _body(program: Program, choices: tuple[Choice, ...]) -> Callable[..., tuple[Any, ...]]:
    """``body(weights, *inputs) -> outputs`` of a program that is the body of an op."""
    runs = tuple(choice.run for choice in choices)

    def body(weights: Mapping[str, Any], *inputs: Any) -> tuple[Any, ...]:
        outputs, _ = interpret(program, runs, weights, dict(zip(program.inputs, inputs, strict=True)))
        return tuple(outputs[name] for name in program.outputs)

    return body


def pulls(choices: Sequence[Choice]) -> tuple[Pull, ...]:
    """What `sweep.pull` takes: one ``pull`` per node. UnsupportedOp names the first op that has none."""
    return tuple(choice.pull for choice in choices)


def choose(backend: Backend, program: Program, dtype: str, training: bool = False) -> tuple[Choice, ...]:
    """The first kernel in the backend's table that can run each node.

    UnsupportedOp names the op, its options and what would be needed.
    """
    if dtype not in backend.dtypes:
        raise UnsupportedOp(f"backend {backend.name!r} computes in {', '.join(backend.dtypes)}; asked for {dtype}")
    return tuple(_choose(backend, node, _facts(backend, program, node, dtype, training)) for node in program.nodes)


def _facts(backend: Backend, program: Program, node: Node, dtype: str, training: bool) -> Facts:
    inputs = tuple(None if name is None else program.values[name] for name in node.inputs)
    ports = dict(zip((*node.op.inputs, *node.op.optional), inputs, strict=True))
    return Facts(inputs, ports.get("mask") is not None, dtype, backend.device, training)


def _choose(backend: Backend, node: Node, facts: Facts) -> Choice:
    candidates = backend.kernels.get(type(node.op), ())
    for k, kernel in enumerate(candidates):
        if kernel.when(node.op, facts):
            body = getattr(node.op, "body", None)
            inner = () if body is None else choose(backend, body, facts.dtype, facts.training)
            return Choice(node, kernel, candidates[:k], inner, backend.name)
    if not candidates:
        known = ", ".join(sorted(op.__name__ for op in backend.kernels))
        why = f"it has no kernel for {type(node.op).__name__}. It has: {known}."
    else:
        why = "; ".join(f"kernel {kernel.name!r} needs {kernel.needs}" for kernel in candidates) + "."
    masked = " with a mask" if facts.masked else ""
    raise UnsupportedOp(f"backend {backend.name!r} cannot run {node.op}{masked} (node {node.name!r}): {why}")


def capabilities(backend: Backend | type[Backend]) -> dict[str, Any]:
    """What follows from the table: the ops with their kernels, the dtypes, and whether it can train."""
    return {
        "ops": {op.__name__: [kernel.name for kernel in table] for op, table in backend.kernels.items()},
        "dtypes": list(backend.dtypes),
        "trains": not why_untrained(backend),
    }


def why_untrained(backend: Backend | type[Backend]) -> str:
    """Why a backend cannot train anything, and what it needs; "" if it can."""
    cls = backend if isinstance(backend, type) else type(backend)
    own = cls.differentiate is not Backend.differentiate
    if not own and not any(kernel.pull for table in cls.kernels.values() for kernel in table):
        return "no kernel has a pull, and differentiate is not its own"
    return "" if cls.maths is not None else "it lends the optimizers no maths"
