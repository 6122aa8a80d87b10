"""The table that ``model.summary()`` prints: Keras 3's, line by line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lstmcore.errors import SpecError
from lstmcore.layers.module import Module
from lstmcore.models.base import BaseModel


def print_summary(
    model: BaseModel,
    line_length: int | None,
    positions: Sequence[float] | None,
    print_fn: Callable[[str], Any] | None,
    expand_nested: bool,
    show_trainable: bool,
    layer_range: Sequence[str] | None,
) -> None:
    """Prints the model's name, its table and the totals; ``print_fn`` gets all of it as one text."""
    from rich.console import Console
    from rich.markup import escape

    columns = [*COLUMNS, *([] if _is_chain(model) else [CONNECTED]), *([TRAINABLE] if show_trainable else [])]
    usual = (88 if _is_chain(model) else 108) + 12 * show_trainable
    width = line_length or min(usual, shutil.get_terminal_size().columns - 4)
    rows = _rows(model, layer_range, expand_nested)
    table = _table(columns, [[row[title] for title, _ in columns] for row in rows], width, positions)
    console = Console(highlight=False, force_terminal=False, color_system=None)
    parts = [f'[bold]Model: "{escape(model.name)}"[/]', table, *_totals(model)]
    if print_fn is None:
        for part in parts:
            console.print(part)
        return
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    print_fn(capture.get())


# The columns' titles, and how they are justified.
COLUMNS = (("Layer (type)", "left"), ("Output Shape", "left"), ("Param #", "right"))
CONNECTED = ("Connected to", "left")
TRAINABLE = ("Trainable", "center")


def _is_chain(model: BaseModel) -> bool:
    """Whether each layer stands once, one after the other, so that nobody asks what it is connected to."""
    graph = getattr(model, "graph", None)
    return graph is None or graph.is_chain


def _table(
    columns: Sequence[tuple[str, Any]], rows: Iterable[list[str]], width: int, positions: Sequence[float] | None
) -> Any:
    from rich.table import Column, Table
    from rich.text import Text

    shares = list(positions or ((0.3, 0.56, 0.74, 1.0) if CONNECTED in columns else (0.45, 0.80, 1.0)))
    if not isinstance(width, int) or not all(isinstance(share, (int, float)) for share in shares):
        raise SpecError(f"line_length is {width!r} and positions {positions!r}; expected an integer, and shares of it")
    if TRAINABLE in columns:
        shares = [0.9 * share for share in shares] + [1.0]
    ends = [int(share * width) for share in shares]
    widths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if len(widths) != len(columns) or min(widths) < 4:
        raise SpecError(f"{width} columns and positions {shares} leave no room for {len(columns)} columns of 4 or more")
    made = [Column(title, justify=side, width=w) for (title, side), w in zip(columns, widths, strict=True)]
    table = Table(*made, width=width, show_lines=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _rows(
    model: BaseModel, layer_range: Sequence[str] | None, expand_nested: bool, depth: int = 0
) -> Iterator[dict[str, str]]:
    named = model.named_layers
    for name in list(named)[_range(list(named), layer_range)]:
        layer = named[name]
        prefix = "   " * depth + "└ " if depth else ""
        yield {
            "Layer (type)": f"{prefix}{name} ({_type(layer)})",
            "Output Shape": _shapes(model, name, layer),
            "Param #": f"{layer.count_params():,}" if _is_built(model, name, layer) else "0 (unbuilt)",
            "Connected to": _connections(model, layer) if depth == 0 else "-",
            "Trainable": "-" if not layer.weights else "Y" if layer.trainable else "N",
        }
        if expand_nested and isinstance(layer, BaseModel):
            yield from _rows(layer, None, True, depth + 1)


def _type(layer: Module) -> str:
    return "Functional" if hasattr(layer, "graph") else type(layer).__name__


def _is_built(model: BaseModel, name: str, layer: Module) -> bool:
    return name in model.layer_shapes or getattr(layer, "built", False)


def _connections(model: BaseModel, layer: Module) -> str:
    graph = getattr(model, "graph", None)
    if graph is None or not any(call.tensors for call in graph.uses(layer)):
        return "-"
    origins = (graph.origin(tensor) for call in graph.uses(layer) for tensor in call.tensors)
    return ", ".join(f"{name}[{call}][{output}]" for name, call, output in origins)


def _range(names: list[str], layer_range: Sequence[str] | None) -> slice:
    """From the first layer that matches the first name to the last that matches the second."""
    if layer_range is None:
        return slice(None)
    if isinstance(layer_range, str) or len(layer_range) != 2:
        raise SpecError(f"layer_range is {layer_range!r}; expected (first, last)")
    first, last = ([k for k, name in enumerate(names) if re.match(bound, name)] for bound in layer_range)
    if not first or not last:
        raise SpecError(f"layer_range {tuple(layer_range)} matches none of {', '.join(names)}")
    return slice(min(*first, *last), max(*first, *last) + 1)


def _shapes(model: BaseModel, name: str, layer: Module) -> str:
    return _text(layer.arrange(model.layer_outputs[name])) if name in model.layer_outputs else "?"


def _text(found: Any) -> str:
    """One shape as (None, 3); several as Keras prints their structure."""
    if isinstance(found, tuple):
        return f"({', '.join(map(str, found))})"
    if isinstance(found, Mapping):
        return "{" + ", ".join(f"{key}: {_text(value)}" for key, value in found.items()) + "}"
    if len(found) == 1:
        return _text(found[0])
    return f"[{', '.join(map(_text, found))}]"


def _totals(model: BaseModel) -> Iterator[str]:
    trained, frozen = model.weights_by_training()
    for title, found in (("Total", trained + frozen), ("Trainable", trained), ("Non-trainable", frozen)):
        yield f"[bold] {title} params: [/]{sum(a.size for a in found):,} ({_bytes(sum(a.nbytes for a in found))})"


def _bytes(count: float) -> str:
    units = ["B", "KB", "MB", "GB", "TB"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        del units[0]
    return f"{count:.2f} {units[0]}"
