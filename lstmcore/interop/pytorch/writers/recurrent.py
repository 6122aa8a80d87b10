"""Lstm, Gru, SimpleRnn: PyTorch's modules, or a class of the file with their weights where they lack something."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lstmcore import layouts, ops
from lstmcore.activations import ALONG_AXIS, Function
from lstmcore.interop.pytorch.scope import Expr, File, Site
from lstmcore.interop.pytorch.state import FORM, Entry
from lstmcore.interop.pytorch.text import atom, camel
from lstmcore.interop.pytorch.writers import functions
from lstmcore.ops import Recurrent

KINDS: Mapping[type[Recurrent], str] = MappingProxyType({ops.Lstm: "LSTM", ops.Gru: "GRU", ops.SimpleRnn: "RNN"})
TANH, SIGMOID, RELU = Function("tanh"), Function("sigmoid"), Function("relu")
# The functions that the modules have, by op: activation, recurrent_activation.
NATIVE: Mapping[type[Recurrent], set[tuple[Function, Function | None]]] = MappingProxyType(
    {ops.Lstm: {(TANH, SIGMOID)}, ops.Gru: {(TANH, SIGMOID)}, ops.SimpleRnn: {(TANH, None), (RELU, None)}}
)


def is_native(op: Recurrent) -> bool:
    """Whether PyTorch's module computes this op, masks aside."""
    named = (op.activation, getattr(op, "recurrent_activation", None))
    return named in NATIVE[type(op)] and getattr(op, "reset_after", True)


def write(site: Site) -> None:
    """The statement that runs it."""
    partner = site.scope.partners.get(site.node.name)
    if partner is not None:
        _both(site, Site(site.scope, partner))
    elif is_native(site.op) and site.port("previous") is None:
        _native(site)
    else:
        _by_hand(site)


# Weights.


def entries(site: Site, suffix: str) -> list[Entry]:
    """Its weights, as the modules have them: two biases, of which the second is often zero."""
    op, found = site.op, []
    for port in site.node.weights:
        words = layouts.names(FORM, type(op), port)
        shape = layouts.foreign_shape(FORM, op, port, site.shape(port))
        own = shape[1:] if len(words) > 1 else shape
        for part, word in enumerate(words):
            found.append(Entry(f".{word}_l0{suffix}", own, site.path(port), "gates", op, port, part))
    return found


def _maker(site: Site, kind: str, *more: str) -> str:
    op = site.op
    options = [str(site.shape("kernel")[0]), str(op.units)]
    options += [] if op.use_bias else ["bias=False"]
    options += ['nonlinearity="relu"'] if kind == "nn.RNN" and op.activation == RELU else []
    return f"{kind}({', '.join([*options, *more, 'batch_first=True'])})"


# PyTorch's modules.


def _native(site: Site) -> None:
    scope = site.scope
    module = site.add(_maker(site, f"nn.{KINDS[type(site.op)]}"), entries(site, ""))
    called = _called(site, module, _states([site]), site.op.zero_output_for_mask)
    y, *states = site.node.outputs
    name = scope.variable(y) if scope.used(y) else "_"
    names = [scope.variable(s, beside=[name]) if scope.used(s) else "_" for s in states]
    if len(set(names) - {"_"}) < len([n for n in names if n != "_"]):
        names[1] = scope.variable(states[1], beside=[name, names[0]])
    scope.line(f"{name}, {_targets(names)} = {called}")
    scope.known[y] = Expr(name)
    scope.known |= {s: Expr(f"{n}[0]", stacked=n) for s, n in zip(states, names, strict=True)}


def _targets(names: Sequence[str]) -> str:
    if set(names) == {"_"}:
        return "_"
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _called(site: Site, module: str, state: str, zero: bool) -> str:
    mask = site.port("mask")
    if mask is None:
        return f"{module}({', '.join([site.text(), *([state] if state else [])])})"
    arguments = [module, site.text(), site.scope.read(mask).text]
    arguments += [state] if state else []
    arguments += ["zero_output=True"] if zero else []
    return f"{site.file.helper('run_masked')}({', '.join(arguments)})"


def _states(sites: Sequence[Site]) -> str:
    """The initial states as the modules take them; "" where they are zeros."""
    if all(_starts_at_zero(site) for site in sites):
        return ""
    parts = []
    for port in sites[0].op.states:
        exprs = [site.scope.read(str(site.port(port))) for site in sites]
        if len(exprs) == 1:
            parts.append(exprs[0].stacked or f"{atom(exprs[0].text)}.unsqueeze(0)")
        else:
            parts.append(f"torch.stack(({', '.join(expr.text for expr in exprs)}))")
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def _starts_at_zero(site: Site) -> bool:
    return all(site.port(port) in site.scope.zeros for port in site.op.states)


def _both(forward: Site, backward: Site) -> None:
    """Two directions in one module: the variables that hold what is read of both, and what each value is in them."""
    scope, op = forward.scope, forward.op
    maker = _maker(forward, f"nn.{KINDS[type(op)]}", "bidirectional=True")
    module = forward.add(maker, [*entries(forward, ""), *entries(backward, "_reverse")], [backward.node])
    called = _called(forward, module, _states([forward, backward]), op.zero_output_for_mask)
    ahead, behind = forward.node.outputs[0], backward.node.outputs[0]
    in_time = scope.turned(behind)
    final = forward.port("mask") is None or not op.zero_output_for_mask
    lasts = [scope.lasts(y) if final else [] for y in (ahead, behind)]
    whole = scope.reads(ahead, lasts[0]) or scope.reads(behind, lasts[1], in_time) or any(map(scope.used, in_time))
    pairs = list(zip(forward.node.outputs[1:], backward.node.outputs[1:], strict=True))
    home = forward.home([backward.node]).split("/")[0]
    name = scope.variable(ahead, wanted=home) if whole else "_"
    names: list[str] = []
    for k, pair in enumerate(pairs):
        used = any(map(scope.used, pair)) or (k == 0 and any(lasts))
        wanted = f"{home}_{op.states[k]}"
        names.append(scope.variable(pair[0], beside=[name, *names], wanted=wanted) if used else "_")
    scope.line(f"{name}, {_targets(names)} = {called}")
    halves = [f"{name}[..., :{op.units}]", f"{name}[..., {op.units}:]"]
    scope.hold_in(name, {ahead: halves[0], behind: f"{halves[1]}.flip(1)", **dict.fromkeys(in_time, halves[1])})
    scope.halves |= {(ahead, value): name for value in in_time}
    for held, pair in zip(names, pairs, strict=True):
        scope.hold_in(held, {value: f"{held}[{k}]" for k, value in enumerate(pair)})
    scope.hold_in(names[0], {value: f"{names[0]}[{k}]" for k in (0, 1) for value in lasts[k]})


# Classes of the file.


@dataclass(frozen=True)
class _Step:
    """What one step of an op looks like: formulas with the gates' functions in them."""

    file: File
    op: Recurrent

    def gate(self, x: str) -> list[str]:
        """The statement that makes a gate of the sum in a variable."""
        return self._made(x, self.op.recurrent_activation)  # type: ignore[attr-defined]  # a gated op

    def out(self, x: str) -> list[str]:
        """The same with the other function."""
        return self._made(x, self.op.activation)

    def _made(self, x: str, function: Function) -> list[str]:
        text = self.apply(function, x)
        return [] if text == x else [f"    {x} = {text}"]

    def apply(self, function: Function, x: str) -> str:
        """A function of a variable, along the units where it works along an axis."""
        if function.name in ALONG_AXIS:
            function = Function(function.name)
        return functions.written(self.file, function, x)


def _lstm(s: _Step) -> list[str]:
    return [
        f"z = {_of_input(s.op)}",
        "",
        "def step(z, h, c):",
        f"    z = z + {_of_state(s.op)}",
        "    i, f, g, o = z.chunk(4, dim=1)",
        *s.gate("i"),
        *s.gate("f"),
        *s.out("g"),
        *s.gate("o"),
        "    c = f * c + i * g",
        f"    h = o * {atom(s.apply(s.op.activation, 'c'))}",
        "    return h, h, c",
    ]


def _of_input(op: Recurrent) -> str:
    return f"F.linear(x, self.weight_ih_l0{', self.bias_ih_l0' if op.use_bias else ''})"


def _of_state(op: Recurrent) -> str:
    return f"F.linear(h, self.weight_hh_l0{', self.bias_hh_l0' if op.use_bias else ''})"


def _gru_after(s: _Step) -> list[str]:
    return [
        f"z = {_of_input(s.op)}",
        "",
        "def step(x, h):",
        "    x_r, x_z, x_n = x.chunk(3, dim=1)",
        f"    sums = {_of_state(s.op)}",
        "    h_r, h_z, h_n = sums.chunk(3, dim=1)",
        "    r = x_r + h_r",
        *s.gate("r"),
        "    z = x_z + h_z",
        *s.gate("z"),
        "    n = x_n + r * h_n",
        *s.out("n"),
        "    h = z * h + (1 - z) * n",
        "    return h, h",
    ]


def _gru_before(s: _Step) -> list[str]:
    bias = s.op.use_bias
    return [
        "z = F.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)"
        if bias
        else "z = F.linear(x, self.weight_ih_l0)",
        "units = self.hidden_size",
        "gates, candidate = self.weight_hh_l0.split((2 * units, units))",
        "",
        "def step(x, h):",
        "    x_r, x_z, x_n = x.chunk(3, dim=1)",
        "    h_r, h_z = F.linear(h, gates).chunk(2, dim=1)",
        "    r = x_r + h_r",
        *s.gate("r"),
        "    z = x_z + h_z",
        *s.gate("z"),
        "    n = x_n + F.linear(r * h, candidate)",
        *s.out("n"),
        "    h = z * h + (1 - z) * n",
        "    return h, h",
    ]


def _rnn(s: _Step) -> list[str]:
    return [
        f"z = {_of_input(s.op)}",
        "",
        "def step(z, h):",
        f"    h = z + {_of_state(s.op)}",
        *s.out("h"),
        "    return h, h",
    ]


def _steps(op: Recurrent) -> Callable[[_Step], list[str]]:
    if isinstance(op, ops.Gru):
        return _gru_after if op.reset_after else _gru_before
    return _lstm if isinstance(op, ops.Lstm) else _rnn


def _by_hand(site: Site) -> None:
    call_over_time(site, site.add(_maker(site, _class(site)), entries(site, "")))


def call_over_time(site: Site, module: str) -> None:
    """Calls a class of the file that goes over time: with the states, the mask and the output held before."""
    arguments = [site.text(), *_given_states(site)]
    for word, port in (("mask", "mask"), ("held", "previous")):
        value = site.port(port)
        if value is not None:
            arguments.append(f"{word}={site.scope.read(value).text}")
    if site.op.zero_output_for_mask and site.port("mask") is not None:
        arguments.append("zero_output=True")
    unpack(site, f"{module}({', '.join(arguments)})")


def _given_states(site: Site) -> list[str]:
    """The states to start from as an argument for a class of the file; nothing where they are zeros."""
    if _starts_at_zero(site):
        return []
    states = [site.scope.read(str(site.port(port))).text for port in site.op.states]
    return [f"states=({', '.join(states)}{',' if len(states) == 1 else ''})"]


def unpack(site: Site, called: str) -> None:
    """A call that gives y and the states, in variables for those that are read."""
    scope = site.scope
    names: list[str] = []
    for value in site.node.outputs:
        names.append(scope.variable(value, beside=names) if scope.used(value) else "_")
    scope.known |= {value: Expr(name) for value, name in zip(site.node.outputs, names, strict=True)}
    shown = ", ".join(names) if set(names[1:]) != {"_"} else f"{names[0]}, *_"
    scope.line(f"{shown} = {called}")


def _class(site: Site) -> str:
    """The class of the file for this op; made once for the same functions."""
    op, file = site.op, site.file
    kind = KINDS[type(op)]
    step = _Step(file, op)
    body = _steps(op)(step)
    words = [f.name for f in (getattr(op, "recurrent_activation", None), op.activation) if f is not None]
    wanted = "".join(map(camel, dict.fromkeys(words))) + kind
    if not getattr(op, "reset_after", True):
        wanted = f"ResetBefore{wanted}"
    states = ", ".join(op.states)
    zeros = ", ".join(["zero"] * len(op.states)) + ("," if len(op.states) == 1 else "")
    text = [
        f"class NAME(nn.{kind}):",
        f'    """The weights of an nn.{kind}, and formulas that it does not have."""',
        "",
        "    def forward(self, x, states=None, mask=None, zero_output=False, held=None):",
        f'        """x (batch, time, features), mask (batch, time) -> y, {states}."""',
        "        if mask is not None:",
        "            x = silenced(x, mask)",
        *(f"        {line}" if line else "" for line in body),
        "",
        "        if states is None:",
        "            zero = x.new_zeros(x.shape[0], self.hidden_size)",
        f"            states = ({zeros})",
        f"        return {file.helper('over_time')}(step, z, states, mask, zero_output, held)",
    ]
    return file.own_class(wanted, "\n".join(text))
