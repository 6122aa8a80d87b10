"""The table that ``model.summary()`` prints: Keras 3's, line by line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lstmcore.errors import SpecError
from lstmcore.layers.base import Layer
from lstmcore.ops import Shape

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel


def print_summary(
    model: BaseModel,
    line_length: int | None,
    positions: Sequence[float] | None,
    print_fn: Callable[[str], Any] | None,
    show_trainable: bool,
    layer_range: Sequence[str] | None,
) -> None:
    """Prints the model's name, its table and the totals; ``print_fn`` gets all of it as one text."""
    from rich.console import Console
    from rich.markup import escape

    width = line_length or min(88 + 12 * show_trainable, shutil.get_terminal_size().columns - 4)
    table = _table(_rows(model, layer_range), width, positions, show_trainable)
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


def _table(rows: Iterable[list[str]], width: int, positions: Sequence[float] | None, show_trainable: bool) -> Any:
    from rich.table import Column, Table
    from rich.text import Text

    headers = ["Layer (type)", "Output Shape", "Param #", "Trainable"][: 3 + show_trainable]
    shares = list(positions or (0.45, 0.80, 1.0))
    if not isinstance(width, int) or not all(isinstance(share, (int, float)) for share in shares):
        raise SpecError(f"line_length is {width!r} and positions {positions!r}; expected an integer, and shares of it")
    if show_trainable:
        shares = [0.9 * share for share in shares] + [1.0]
    ends = [int(share * width) for share in shares]
    widths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if len(widths) != len(headers) or min(widths) < 4:
        raise SpecError(f"{width} columns and positions {shares} leave no room for {len(headers)} columns of 4 or more")
    sides: list[Any] = ["left", "left", "right", "center"]
    columns = [Column(h, justify=side, width=w) for h, side, w in zip(headers, sides, widths, strict=False)]
    table = Table(*columns, width=width, show_lines=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row[: len(headers)]))
    return table


def _rows(model: BaseModel, layer_range: Sequence[str] | None) -> Iterator[list[str]]:
    named = model.named_layers
    for name in list(named)[_range(list(named), layer_range)]:
        layer = named[name]
        shape = model.layer_shapes.get(name)
        count = "0 (unbuilt)" if shape is None else f"{layer.count_params():,}"
        trains = "-" if not layer.weights else "Y" if layer.trainable else "N"
        yield [f"{name} ({type(layer).__name__})", "?" if shape is None else _shapes(layer, shape), count, trains]


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


def _shapes(layer: Layer, input_shape: Shape) -> str:
    found = layer.compute_output_shape(input_shape)
    shapes = [f"({', '.join(map(str, shape))})" for shape in (found if isinstance(found, list) else [found])]
    return shapes[0] if len(shapes) == 1 else f"[{', '.join(shapes)}]"


def _totals(model: BaseModel) -> Iterator[str]:
    built = [layer for layer in model.layers if layer.built]
    groups: dict[str, list[Layer]] = {
        "Total": built,
        "Trainable": [layer for layer in built if layer.trainable and model.trainable],
        "Non-trainable": [layer for layer in built if not (layer.trainable and model.trainable)],
    }
    for title, layers in groups.items():
        arrays = [array for layer in layers for array in layer.weights.values()]
        yield f"[bold] {title} params: [/]{sum(a.size for a in arrays):,} ({_bytes(sum(a.nbytes for a in arrays))})"


def _bytes(count: float) -> str:
    units = ["B", "KB", "MB", "GB", "TB"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        del units[0]
    return f"{count:.2f} {units[0]}"
