"""How each node of ONNX is read: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lstmcore.interop.onnx.readers import (
    constants,
    convolution,
    counts,
    elements,
    linear,
    loop,
    normalize,
    padding,
    parts,
    pooling,
    recurrent,
    reduce,
    scan,
    shape,
)
from lstmcore.interop.onnx.values import Given

Read = Callable[[Any, Any], tuple[Given, ...]]

READERS: Mapping[str, Read] = MappingProxyType(
    {
        **elements.TABLE,
        **shape.TABLE,
        **parts.TABLE,
        **padding.TABLE,
        **constants.TABLE,
        **counts.TABLE,
        **linear.TABLE,
        **normalize.TABLE,
        **reduce.TABLE,
        **convolution.TABLE,
        **pooling.TABLE,
        **recurrent.TABLE,
        **scan.TABLE,
        **loop.TABLE,
    }
)
