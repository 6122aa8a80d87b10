"""The text of a header: remarks, weights, helpers, functions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstmcore.errors import ExportError, SpecError
from lstmcore.interop.c.code import Array, Helpers
from lstmcore.interop.c.function import Function, macro, written
from lstmcore.interop.c.text import identifier, literals, remark, wrapped
from lstmcore.interop.presented import Presented, present
from lstmcore.ops import Recurrent
from lstmcore.program import Program

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

BEGIN, END = "/* lstmcore.c 1", "lstmcore.c end */"
_LINE = 110


def text(model: BaseModel, name: str, about: Mapping[str, Any], steps: int) -> str:
    """The whole header of a model, under names that begin with ``name``; ``steps`` are the least it can run on."""
    shown = present(model)
    weights = weight_names(model, name)
    own = {path: Array(weights[first], model.weights[first].shape) for path, first in model.one_path().items()}
    helpers = Helpers(name, model.dtype, own)
    predict = written(helpers, shown, f"{name}_predict", f"{name}_states", True)
    step, why = _step(helpers, model, name)
    guard = f"LSTMCORE_{name.upper()}_H"
    parts = [
        _title(model, shown, name),
        f"#ifndef {guard}\n#define {guard}\n\n#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n"
        "#include <string.h>",
        "\n\n".join(_arrays(model, shown.program, weights)),
        "\n\n".join(_helpers(helpers)),
        _predict(predict, shown, name, helpers.real, steps),
        f"/* There is no {name}_step: {remark(why)} */" if step is None else _stepping(step, name, helpers.real),
        _about(about),
        f"#endif /* {guard} */\n",
    ]
    return "\n\n".join(part for part in parts if part)


def weight_names(model: BaseModel, name: str) -> dict[str, str]:
    """What the array of each weight is called."""
    found: dict[str, str] = {}
    for path in model.weights:
        found[path] = identifier(f"{name}_w_{path}", set(found.values()))
    return found


def streaming(model: BaseModel) -> Presented | str:
    """The model one step at a time; or why it cannot."""
    try:
        return present(model, True)
    except SpecError as error:
        return str(error)


def _step(helpers: Helpers, model: BaseModel, name: str) -> tuple[Function | None, str]:
    shown = streaming(model)
    if isinstance(shown, str):
        return None, shown
    try:
        return written(helpers, shown, f"{name}_step", f"{name}_state", False), ""
    except ExportError as error:
        return None, str(error)


def _title(model: BaseModel, shown: Presented, name: str) -> str:
    lines = [
        f"{name}: a model written by lstmcore. C99, with libm alone; nothing is allocated, and no global is written.",
        "",
        "Each weight is an array in row-major order, its numbers hexadecimal and so exact to the bit. What stands in",
        "comments is the model's own naming, with % and two digits for what a comment cannot hold.",
        "",
        *(remark(line) for line in str(shown.program).splitlines()),
    ]
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def _arrays(model: BaseModel, program: Program, names: Mapping[str, str]) -> Iterator[str]:
    one_path, axes = model.one_path(), _axes(program)
    found = {one_path[path]: words for path, words in axes.items()}
    kind = "float" if model.dtype == "float32" else "double"
    for path, array in model.weights.items():
        shape = "(" + ", ".join(map(str, array.shape)) + ")"
        words = f", {found[path]}" if path in found else ""
        numbers = wrapped(literals(array)) or "    0"
        yield (
            f"/* {remark(path)}: {shape} {array.dtype.name}{remark(words)} */\n"
            f"static const {kind} {names[path]}[{max(array.size, 1)}] = {{\n{numbers}\n}};"
        )


def _axes(program: Program) -> dict[str, str]:
    """What the axes of each weight are, and the order of the gates, as the ops say it."""
    found = {}
    for node in program.nodes:
        for port, path in node.weights.items():
            words = f"axes {node.op.weights[port]}" if port in node.op.weights else ""
            gates = f", gates {' '.join(node.op.gates)}" if isinstance(node.op, Recurrent) and "gate" in words else ""
            found[path] = f"{words}{gates}"
    return found


def _helpers(helpers: Helpers) -> Iterator[str]:
    yield from (body.replace("@NAME", name) for body, name in helpers.functions.items())


def _predict(function: Function, shown: Presented, name: str, real: str, steps: int) -> str:
    prefix = name.upper()
    symbols = f"({', '.join(function.symbols)})" if function.symbols else ""
    lines = [
        f"All steps of one sample. {_inputs_and_outputs(function)}",
        f"scratch has {prefix}_SCRATCH{symbols} numbers.",
    ]
    least = ""
    if function.symbols:
        lines.append(f"There must be {prefix}_MIN_STEPS steps or more.")
        least = f"#define {prefix}_MIN_STEPS {steps}\n"
    struct = ""
    if function.states:
        lines.append("The states go in and come out in *state; all zero is the start.")
        struct = _struct(function, f"{name}_states", real, 0)
    need = macro(function.memory, function.symbols) if function.memory != 0 else "1"
    return f"{least}#define {prefix}_SCRATCH{symbols} ({need})\n\n{struct}{_comment(lines)}\n{function.text}"


def _stepping(function: Function, name: str, real: str) -> str:
    lines = [
        f"One step of one sample. {_inputs_and_outputs(function)}",
        f"What it knows of the steps before is in *state, which {name}_start() makes ready for a new sequence.",
    ]
    memory = function.memory if isinstance(function.memory, int) else 0
    struct = _struct(function, f"{name}_state", real, max(memory, 1))
    start = f"static inline void {name}_start({name}_state *state)\n{{\n    memset(state, 0, sizeof(*state));\n}}\n\n"
    return f"{struct}{start}{_comment(lines)}\n{function.text}"


def _struct(function: Function, name: str, real: str, scratch: int) -> str:
    members = [
        f"    {real} {member}[{size}]; /* {remark(carry)} */" for carry, (member, size) in function.states.items()
    ]
    members += [f"    {real} scratch[{scratch}]; /* no part of the state */"] if scratch else []
    return "typedef struct {\n" + "\n".join(members) + f"\n}} {name};\n\n"


def _inputs_and_outputs(function: Function) -> str:
    def shapes(arrays: Sequence[Array]) -> str:
        return ", ".join(f"{a.pointer} ({', '.join(map(str, a.shape[1:])) or 1})" for a in arrays)

    return f"In: {shapes(list(function.inputs.values()))}. Out: {shapes(list(function.outputs.values()))}."


def _comment(lines: Sequence[str]) -> str:
    return "/* " + "\n   ".join(lines) + " */"


def _about(about: Mapping[str, Any]) -> str:
    """JSON in a comment: an asterisk is written as the escape of one, so that none ends the comment."""
    raw = json.dumps(about, separators=(",", ":")).replace("*", "\\u002a").replace("?", "\\u003f")
    lines = [raw[begin : begin + _LINE] for begin in range(0, len(raw), _LINE)]
    return "\n".join([BEGIN, *lines, END])
