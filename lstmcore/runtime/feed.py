"""Data at the edge: checked, cast and cut into batches before any backend sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import InputError
from lstmcore.ops import Shape, Tensor
from lstmcore.program import Program, Value

Array = NDArray[Any]


def feed(program: Program, x: Any, dtype: str) -> dict[str, Array]:
    """``x`` as the program's inputs: one array, or a list or a mapping of them; InputError if it does not fit.

    Arrays of any memory order and byte order are taken; NaN and infinity pass through.
    """
    given = _by_name(program, x)
    arrays = {name: fit(array, program.values[name], dtype, program.limits.get(name)) for name, array in given.items()}
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the inputs hold different numbers of samples: {lengths}")
    return arrays


def _by_name(program: Program, x: Any) -> dict[str, Any]:
    names = program.inputs
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise InputError(f"inputs given: {sorted(x)}; expected {sorted(names)}")
        return {name: x[name] for name in names}
    if len(names) == 1:
        alone = isinstance(x, (list, tuple)) and len(x) == 1 and isinstance(x[0], np.ndarray)
        wrapped = alone and x[0].ndim == len(program.values[names[0]].shape)
        return {names[0]: x[0] if wrapped else x}
    if not isinstance(x, (list, tuple)) or len(x) != len(names):
        count = len(x) if isinstance(x, (list, tuple)) else 1
        raise InputError(f"{count} inputs given; the model takes {len(names)}: {', '.join(names)}")
    return dict(zip(names, x, strict=True))


def fit(x: Any, value: Value, dtype: str, limit: int | None = None) -> Array:
    """One array for one input: its shape, kind and range checked, cast to what the program computes in.

    Any number of samples fits here, whatever the batch size that the program was built for.
    """
    array = as_array(x, value.name)
    check_shape(array.shape, (None, *value.shape[1:]), value.name)
    if value.kind == "float":
        return _floats(array, dtype, value.name)
    if value.kind == "bool":
        return _mask(array, value.name)
    return _integers(array, limit, value.name)


def as_array(x: Any, name: str) -> Array:
    """``x`` as an array of numbers; InputError if it is none."""
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise InputError(f"input {name!r} is a masked array, and its mask would be lost; use x.filled(...)")
    try:
        array = np.asarray(x)
    except ValueError:
        raise InputError(
            f"input {name!r} holds sequences of different lengths, which must be padded to one length"
        ) from None
    if array.dtype.kind not in "fiub":
        given = f"dtype {array.dtype}" if array.ndim else f"a {type(x).__name__}"
        raise InputError(
            f"input {name!r} is not an array of numbers but {given}; convert it first, e.g. by x.astype('float32')"
        )
    return array


def check_shape(given: Shape, expected: Shape, name: str) -> None:
    """InputError unless ``given`` fits ``expected``, where None stands for any length but zero."""
    wanted = tuple("batch" if k == 0 and n is None else "any" if n is None else n for k, n in enumerate(expected))
    told = f"expected ({', '.join(map(str, wanted))})"
    if len(given) != len(expected):
        hint = " For one sample, add the batch axis: x[None]." if len(given) == len(expected) - 1 else ""
        raise InputError(f"input {name!r} has {len(given)} axes, shape {given}; {told}.{hint}")
    if 0 in given:
        empty = "no samples" if given[0] == 0 else "no time steps" if given.index(0) == 1 else "an empty axis"
        raise InputError(f"input {name!r} has {empty}: shape {given}; {told}, every length at least 1.")
    wrong = [k for k, (g, e) in enumerate(zip(given, expected, strict=True)) if e is not None and g != e]
    if wrong:
        raise InputError(f"input {name!r} has shape {given}; {told}: axis {wrong[0]} must be {expected[wrong[0]]}.")


def _floats(array: Array, dtype: str, name: str) -> Array:
    if array.dtype.kind != "f":
        raise InputError(
            f"input {name!r} holds {array.dtype}; expected floating-point numbers. Convert (and scale) it first, "
            f"e.g. x.astype({dtype!r})."
        )
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, np.dtype(dtype))
    if cast.dtype.itemsize < array.dtype.itemsize and np.isinf(cast).sum() > np.isinf(array).sum():
        raise InputError(
            f"input {name!r} holds {np.abs(array[np.isfinite(array)]).max():g}, which {dtype} cannot; "
            "expected smaller ones: scale them, or build the model of layers with dtype='float64'."
        )
    return cast


def _mask(array: Array, name: str) -> Array:
    if array.dtype.kind != "b":
        raise InputError(f"mask {name!r} holds {array.dtype}; expected bool, True at the steps that count.")
    return np.ascontiguousarray(array)


def _integers(array: Array, limit: int | None, name: str) -> Array:
    if array.dtype.kind == "b" or (
        array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.rint(array))).all()
    ):
        raise InputError(f"input {name!r} holds {array.dtype} values that are no token ids; expected integers.")
    low, high = array.min(), array.max()
    bound = 2**31 if limit is None else limit
    if (limit is not None and low < 0) or low < -bound or high >= bound:
        bad = low if low < 0 else high
        where = tuple(int(k) for k in np.argwhere(array == bad)[0])
        known = f"0 to {bound - 1}" if limit is not None else "32-bit integers"
        raise InputError(
            f"input {name!r} holds the id {int(bad)} at {where}; expected {known}. "
            + ("Raise the Embedding's input_dim, or map unknown tokens to a known id." if limit is not None else "")
        )
    return np.ascontiguousarray(array, np.int32)


def batches(arrays: Mapping[str, Array], size: int) -> Iterator[tuple[slice, dict[str, Array]]]:
    """Consecutive slices of ``size`` samples, the last one perhaps smaller."""
    count = next(iter(arrays.values())).shape[0]
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        yield rows, {name: array[rows] for name, array in arrays.items()}


def fixed_batch(program: Program) -> int | None:
    """The batch size that the program was built for, if it was for one."""
    tensors: list[Tensor] = [program.values[name] for name in program.inputs]
    return next((t.shape[0] for t in tensors if t.shape[0] is not None), None)
