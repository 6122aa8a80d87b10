"""Scan: a class with the cell as its method ``step``, written by the same writers."""

from __future__ import annotations

from dataclasses import replace

from lstmcore.interop.pytorch.scope import File, Layers, Scope, Site
from lstmcore.interop.pytorch.text import camel, identifier, lines
from lstmcore.interop.pytorch.writers.recurrent import call_over_time
from lstmcore.program import Program


def write(site: Site) -> None:
    name, layers = _class(site)
    call_over_time(site, site.add(f"{name}()", [replace(entry, key=f".{entry.key}") for entry in layers.entries]))


def _class(site: Site) -> tuple[str, Layers]:
    """The cell over time as a class of its own."""
    from lstmcore.interop.pytorch.source import attributes, write_nodes

    op, file = site.op, site.file
    layers = Layers(file, freezes=False)
    taken: list[str] = []
    for value in op.body.inputs:
        taken.append(identifier(value, {*taken, *file.taken}))
    paths = {own: site.path(own) for own in op.body.weights}
    inner = Scope(layers, op.body, paths, taken)
    write_nodes(inner)
    made = [inner.read(value).text for value in op.body.outputs]
    helper = file.helper("over_time")
    text = [
        "class NAME(nn.Module):",
        '    """A cell over time."""',
        "",
        *attributes(layers),
        f"    def step(self, {', '.join(taken)}):",
        '        """One step: x and the states -> y and the next states."""',
        *(line for statement in inner.lines for line in lines(statement)),
        *lines(f"return {', '.join(made)}"),
        "",
        "    def forward(self, x, states=None, mask=None, zero_output=False, held=None):",
        '        """x (batch, time, ...), mask (batch, time) -> y and the last states."""',
        *_start(file, op.body),
        f"        return {helper}(self.step, x, states, mask, zero_output, held)",
    ]
    return file.own_class(camel(identifier(site.home())) + "Cell", "\n".join(text)), layers


def _start(file: File, body: Program) -> list[str]:
    """The states at zero, where none are given."""
    kind = body.values[body.inputs[0]].kind
    zeros = [file.zeros("x", kind, body.values[name].shape) for name in body.inputs[1:]]
    if not zeros:
        return ["        states = ()"]
    if len(zeros) == 1 and len(zeros[0]) < 60:
        return ["        if states is None:", f"            states = ({zeros[0]},)"]
    return [
        "        if states is None:",
        "            states = (",
        *(f"                {z}," for z in zeros),
        "            )",
    ]
