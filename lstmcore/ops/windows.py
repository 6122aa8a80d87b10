"""Where the windows of Conv and Pool lie: one rule for shapes and for kernels."""

from __future__ import annotations

from typing import NamedTuple

PADDINGS = ("valid", "same", "causal")


class Windows(NamedTuple):
    """How many windows, and how many steps of padding before and after the input they need."""

    steps: int
    left: int
    right: int


def windows(time: int, size: int, strides: int, dilation: int = 1, padding: str = "valid") -> Windows:
    """The windows over ``time`` steps; steps below 1 say that no window fits."""
    reach = dilation * (size - 1) + 1
    if padding == "valid":
        return Windows((time - reach) // strides + 1, 0, 0)
    steps = -(-time // strides)
    missing = max((steps - 1) * strides + reach - time, 0)
    left = reach - 1 if padding == "causal" else missing // 2
    return Windows(steps, left, max(missing - left, 0))
