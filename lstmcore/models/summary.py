"""The table that ``model.summary()`` prints, laid out as Keras 3 lays it out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lstmcore.layers.base import Layer
from lstmcore.ops import Shape

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

# Corner, line, tee, corner and wall of the header's top, its bottom, the rules between rows, the foot.
UNICODE = ("┏━┳┓", "┡━╇┩", "├─┼┤", "└─┴┘", "┃", "│")
ASCII = ("+-++", "+=++", "+-++", "+-++", "|", "|")


def summary(model: BaseModel, line_length: int | None, show_trainable: bool) -> str:
    """The whole text, without a last line break."""
    header = ["Layer (type)", "Output Shape", "Param #"]
    positions = [0.45, 0.80, 1.0]
    if show_trainable:
        header, positions = [*header, "Trainable"], [0.405, 0.72, 0.90, 1.0]
    width = line_length or min(88 + 12 * show_trainable, shutil.get_terminal_size().columns - 4)
    rows = [row[: len(header)] for row in _rows(model)]
    drawn = _draw(header, rows, [int(p * width) for p in positions], _strokes())
    return "\n".join([f'Model: "{model.name}"', *drawn, *_totals(model)])


def _strokes() -> tuple[str, ...]:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return UNICODE if "".join(UNICODE).encode(encoding, "replace").count(b"?") == 0 else ASCII


def _rows(model: BaseModel) -> Iterator[list[str]]:
    shapes = _output_shapes(model)
    for name, layer in model.named_layers.items():
        built = name in shapes
        count = f"{layer.count_params():,}" if built else "0 (unbuilt)"
        trains = "-" if not built or not layer.weights else "Y" if layer.trainable else "N"
        yield [f"{name} ({type(layer).__name__})", shapes.get(name, "?"), count, trains]


def _output_shapes(model: BaseModel) -> dict[str, str]:
    """The shapes that each layer puts out, for the layers built."""
    shapes = {}
    for name, layer in model.named_layers.items():
        if layer.state.input_shape is not None:
            found = layer.compute_output_shape(layer.state.input_shape)
            text = [_shape(shape) for shape in (found if isinstance(found, list) else [found])]
            shapes[name] = text[0] if len(text) == 1 else f"[{', '.join(text)}]"
    return shapes


def _shape(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"


def _draw(
    header: Sequence[str], rows: Sequence[Sequence[str]], ends: list[int], strokes: Sequence[str]
) -> Iterator[str]:
    top, under, between, foot, thick, thin = strokes
    widths = [end - start - 3 for start, end in zip([1, *ends], ends, strict=False)]
    widths[0] = ends[0] - 3

    def rule(stroke: str) -> str:
        left, line, tee, right = tuple(stroke)
        return left + tee.join(line * (w + 2) for w in widths) + right

    def lines(cells: Sequence[str], wall: str) -> Iterator[str]:
        wrapped = [_wrap(cell, w) for cell, w in zip(cells, widths, strict=True)]
        for k in range(max(map(len, wrapped))):
            parts = [column[k] if k < len(column) else "" for column in wrapped]
            padded = [p.rjust(w) if c == 2 else p.ljust(w) for c, (p, w) in enumerate(zip(parts, widths, strict=True))]
            yield f"{wall} " + f" {wall} ".join(padded) + f" {wall}"

    yield rule(top)
    yield from lines(header, thick)
    yield rule(under)
    for k, row in enumerate(rows):
        if k:
            yield rule(between)
        yield from lines(row, thin)
    yield rule(foot)


def _wrap(text: str, width: int) -> list[str]:
    """Breaks at spaces where it can, within words where it must."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
        while len(lines[-1]) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return lines


def _totals(model: BaseModel) -> Iterator[str]:
    built = [layer for layer in model.layers if layer.built]
    groups: dict[str, list[Layer]] = {
        "Total": built,
        "Trainable": [layer for layer in built if layer.trainable and model.trainable],
        "Non-trainable": [layer for layer in built if not (layer.trainable and model.trainable)],
    }
    for title, layers in groups.items():
        arrays = [array for layer in layers for array in layer.weights.values()]
        yield f" {title} params: {sum(a.size for a in arrays):,} ({_bytes(sum(a.nbytes for a in arrays))})"


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} TB"
