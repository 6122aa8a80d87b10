"""Images of digits as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]

BLOCKS = " ▀▄█"
RAMP = " .:-=+*#%@"

_EDGE = 3
_INK = 96
_GAP = 3
_SIDE = 28 - 2 * _EDGE


def draw(images: Sequence[Image], captions: Sequence[str], blocks: bool) -> list[str]:
    """Images uint8 (28, 28) side by side, each over its caption: lines of text, 22 columns an image.

    A line shows two rows of pixels, because characters are twice as high as wide: in half blocks, or
    where the terminal has none, in ASCII from light to dark.
    """
    pictures = [_blocks(image) if blocks else _ramp(image) for image in images]
    gap = " " * _GAP
    lines = [gap.join(row) for row in zip(*pictures, strict=True)]
    return [line.rstrip() for line in [*lines, gap.join(caption.center(_SIDE) for caption in captions)]]


def _pairs(image: Image) -> Image:
    """The middle of the image, (11, 2, 22): lines, upper and lower row, columns."""
    middle: Image = np.asarray(image)[_EDGE:-_EDGE, _EDGE:-_EDGE].reshape(-1, 2, _SIDE)
    return middle


def _blocks(image: Image) -> list[str]:
    ink = _pairs(image) >= _INK
    return ["".join(BLOCKS[k] for k in line) for line in ink[:, 0] + 2 * ink[:, 1]]


def _ramp(image: Image) -> list[str]:
    levels = _pairs(image).mean(axis=1) * len(RAMP) // 256
    return ["".join(RAMP[int(k)] for k in line) for line in levels]
