"""An ONNX file read as a model.

A file that lstmcore wrote holds the description of its model. It is believed only after the proof: the model that it
describes, with the weights of the file, is written once more, and if that gives the very same graph the model is
what the file holds. Any other graph is read node by node, into a `ProgramModel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import layouts
from lstmcore.errors import DamagedFileError, LstmcoreError, SpecError, UnsupportedFileError
from lstmcore.interop import vectors
from lstmcore.interop.onnx import patterns
from lstmcore.interop.onnx.budget import Budget
from lstmcore.interop.onnx.lengths import Length, Open, opened
from lstmcore.interop.onnx.loading import DTYPES, Loaded, load
from lstmcore.interop.onnx.program import Written, write_program
from lstmcore.interop.onnx.reader import KINDS, Reader, give
from lstmcore.interop.onnx.values import Array, Flow, Known
from lstmcore.interop.onnx.write import batch_axes, presented
from lstmcore.interop.presented import Presented, output_names, to_write
from lstmcore.layers.base import placeholder_weights
from lstmcore.models.files import deserialize
from lstmcore.models.program_model import ProgramModel
from lstmcore.naming import unique
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.description import read_description

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

MOST_ENDS = 1024


Batch = str | int | Mapping[str, int]


def read(path: PathLike, *, lengths: Mapping[str, int] | None = None, batch: Batch | None = None) -> BaseModel:
    """The model in an ONNX file.

    A file of `write` gives back the model that was written, its weights to the bit. Any other gives a
    `ProgramModel`, whose inputs and outputs are those of the file: the data have the file's shapes. ``lengths`` gives
    a number to lengths that the file leaves open, by their names; ``batch`` is the name of the one that is the batch
    (by default the first axis of the first input, if it is open in all inputs). Without one, the model runs as one
    call on data of the file's shapes. A file that was made for a fixed number of samples is read for any number with
    ``batch=0``, the axis that they are on in every input, or ``batch={"x": 0, "h0": 1}``.

    Raises as `loading.load`, and UnsupportedFileError, which names the node that is not read and why;
    DamagedFileError where the test vectors in the file do not come out.
    """
    loaded = load(path)
    restored = _restored(loaded) if "lstmcore.model" in loaded.metadata and not lengths and batch is None else None
    if restored is not None:
        _check_vectors(loaded, *restored)
        return restored[0]
    return _imported(loaded, dict(lengths or {}), batch, Budget(array.size for array in loaded.arrays.values()))


# A file of our own.


def _restored(loaded: Loaded) -> tuple[BaseModel, Presented] | None:
    """The model that the metadata describe, if writing it gives the graph of the file; None if not.

    The graph is written without the numbers of weights; these are compared one constant at a time.
    """
    streams = loaded.metadata.get("lstmcore.streaming") == "true"
    with placeholder_weights():
        try:
            model = deserialize(read_description(loaded.metadata["lstmcore.model"], loaded.name))
            program, states = to_write(model, streams, None)
        except LstmcoreError:
            return None  # the graph says what the file holds
    held = sum(array.nbytes for array in loaded.arrays.values())
    if 4 * sum(map(math.prod, program.weights.values())) > 2 * held + (1 << 20):
        return None
    names = output_names(model, program)
    axes = batch_axes(model, names, streams)
    outline = write_program(program, model.every_path(), model.dtype, model.name, names, states, bare=True, axes=axes)
    if _bare(loaded.graph, outline) != outline.graph.SerializeToString(deterministic=True):
        return None
    arrays = _own_weights(loaded, outline, program.weights, model.dtype)
    if arrays is None:
        return None
    model.replace_weights(arrays)
    if not all(_holds(loaded, name, outline, arrays) for name in outline.made):
        return None
    return model, presented(program, outline)


def _bare(graph: Any, outline: Written) -> bytes:
    """The graph without the numbers of the constants that are made of weights."""
    copy = type(graph)()
    copy.CopyFrom(graph)
    for tensor in copy.initializer:
        if tensor.name in outline.made:
            for part in ("raw_data", "external_data", "data_location"):
                tensor.ClearField(part)
    found: bytes = copy.SerializeToString(deterministic=True)
    return found


def _holds(loaded: Loaded, name: str, outline: Written, arrays: Mapping[str, Any]) -> bool:
    """Whether a constant of the file is, to the bit, what the weights are written as.

    It is where the weight was read from it, for then its numbers were put in another order and no more; but of a bias,
    which ONNX has in two parts.
    """
    op, port, paths = outline.made[name]
    parts = loaded.arrays[name] if op is not None else loaded.arrays[name][None]
    for part, path in zip(parts, paths, strict=True):
        if outline.kept[path][0] == name and port != "bias":
            continue
        wanted = arrays[path] if op is None else layouts.to_foreign("onnx", op, port, arrays[path])[0]
        if part.shape != wanted.shape or part.tobytes() != wanted.tobytes():
            return False
    return True


def _own_weights(
    loaded: Loaded, outline: Written, shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> dict[str, Any] | None:
    """The weights by path, out of the constants that hold them; None where these are not as the outline has them."""
    found = {}
    sizes = {tensor.name: tuple(tensor.dims) for tensor in outline.graph.initializer}
    for path in shapes:
        if path not in outline.kept:
            return None
        name, op, port, direction = outline.kept[path]
        array = loaded.arrays.get(name)
        if array is None or array.shape != sizes[name] or array.dtype != np.dtype(dtype):
            return None
        if op is not None:
            array = layouts.from_foreign("onnx", op, port, array[direction : direction + 1])
        found[path] = _owned(array)
    return found


def _check_vectors(loaded: Loaded, model: BaseModel, shown: Presented) -> None:
    """DamagedFileError where the model does not compute what it did when it was written."""
    if "lstmcore.vectors" not in loaded.metadata:
        return
    vectors.hold(loaded.metadata["lstmcore.vectors"], shown, model.every_path(), loaded.name)


# Any other file.


def _imported(loaded: Loaded, lengths: dict[str, int], batch: Batch | None, budget: Budget) -> ProgramModel:
    """Read with the batch that is most likely the one; where that cannot be, with another, or without.

    Some exporters call lengths open for which the file then has a number: it is read for that number.
    """
    inputs = [entry for entry in loaded.graph.input if entry.name not in loaded.arrays]
    if max(len(inputs), len(loaded.graph.output)) > MOST_ENDS:
        raise UnsupportedFileError(f"{loaded.name} has more than {MOST_ENDS} inputs or outputs")
    own = _symbols(loaded, inputs, lengths)
    named = batch if isinstance(batch, str) else None
    samples: int | None = None
    if batch is not None and not isinstance(batch, str):
        own, named, samples = _with_open_batch(own, batch)
    symbols = own if named is not None else _one_batch(own)
    choices = _batches(loaded, symbols, named)
    refused: list[tuple[int, dict[str, int], UnsupportedFileError]] = []
    for axis in choices:
        reader = Reader(loaded, _dtype(loaded, inputs), axis, budget, samples)
        try:
            return _read_with(reader, inputs, own if axis is None else symbols)
        except UnsupportedFileError as error:
            refused.append((reader.done, reader.fixed, error.with_traceback(None)))  # it holds the weights
    _, fixed, told = max(refused, key=lambda entry: entry[0])
    if set(fixed) - set(lengths):
        return _imported(loaded, {**fixed, **lengths}, batch, budget)
    raise told


def _read_with(reader: Reader, inputs: Any, symbols: Mapping[str, list[Length]]) -> ProgramModel:
    for name, array in reader.loaded.arrays.items():
        reader.known[name] = Known(array, name)
    for entry in inputs:
        _declare(reader, entry, symbols[entry.name], reader.batch)
    found = patterns.find(reader.loaded)
    reader.gives = found.gives
    reader.run_nodes(found.nodes)
    return _model(reader.loaded, reader, inputs)


def _symbols(loaded: Loaded, inputs: Any, lengths: dict[str, int]) -> dict[str, list[Length]]:
    """The lengths of each input; one that is open in several places by the same name is one."""
    known: dict[str, Length] = dict(lengths)
    found: dict[str, list[Length]] = {}
    for entry in inputs:
        tensor = entry.type.tensor_type
        if not entry.type.HasField("tensor_type") or not tensor.HasField("shape"):
            raise UnsupportedFileError(f"{loaded.name}: input {entry.name!r} has no shape")
        found[entry.name] = []
        for k, dim in enumerate(tensor.shape.dim):
            name = dim.dim_param or f"{entry.name}[{k}]"
            if dim.HasField("dim_value") and dim.dim_value > 0:
                found[entry.name].append(int(dim.dim_value))
            else:
                found[entry.name].append(known.setdefault(name, opened(name)))
    named = {d.dim_param for e in inputs for d in e.type.tensor_type.shape.dim if d.dim_param}
    named |= {f"{e.name}[{k}]" for e in inputs for k, _ in enumerate(e.type.tensor_type.shape.dim)}
    unused = set(lengths) - named
    if unused:
        raise SpecError(f"there are no lengths called {sorted(unused)}; open are {sorted(named)}")
    return found


def _with_open_batch(
    symbols: dict[str, list[Length]], batch: int | Mapping[str, int]
) -> tuple[dict[str, list[Length]], str, int | None]:
    """With the axes of the samples open, as one length; its name, and how many the file has, if it fixes that.

    SpecError where they are not of one length.
    """
    axes = dict(batch) if isinstance(batch, Mapping) else dict.fromkeys(symbols, batch)
    told = {name: tuple(row) for name, row in symbols.items()}
    fits = set(axes) == set(symbols) and all(type(k) is int and 0 <= k < len(told[name]) for name, k in axes.items())
    if not fits or len({told[name][k] for name, k in axes.items()}) != 1:
        raise SpecError(
            f"batch is {batch!r}; expected the axis of the samples, of the same length in every input, "
            f"or the axis in each by name; the inputs have {told}"
        )
    taken = {n.name for row in told.values() for n in row if isinstance(n, Open)}
    name = unique("batch", taken)
    found = {own: [*row[: axes[own]], opened(name), *row[axes[own] + 1 :]] for own, row in symbols.items()}
    samples = told[next(iter(axes))][next(iter(axes.values()))]
    return found, name, samples if isinstance(samples, int) else None


def _one_batch(symbols: dict[str, list[Length]]) -> dict[str, list[Length]]:
    """Where every input has an open first axis, and each calls it otherwise, these are the batch: one length."""
    rows = list(symbols.values())
    firsts = [row[0] for row in rows if row and isinstance(row[0], Open)]
    shared = rows and any(isinstance(n, Open) and all(n in row for row in rows) for n in rows[0])
    if shared or len(firsts) != len(rows) or len(set(firsts)) != len(rows):
        return symbols
    return {name: [firsts[0], *row[1:]] for name, row in symbols.items()}


def _batches(loaded: Loaded, symbols: Mapping[str, list[Length]], wanted: str | None) -> list[Open | None]:
    """The lengths that may be the batch, the likeliest first: open, and once in every input."""
    rows = list(symbols.values())
    if wanted is not None:
        found = next((n for row in rows for n in row if isinstance(n, Open) and n.name == wanted), None)
        if found is None or any(row.count(found) != 1 for row in rows):
            raise SpecError(f"{loaded.name}: {wanted!r} is not an open length of every input: {dict(symbols)}")
        return [found]
    shared = [n for n in rows[0] if isinstance(n, Open) and all(row.count(n) == 1 for row in rows)] if rows else []
    named = [n for n in shared if "batch" in n.name.lower() or n.name in ("N", "B", "n", "b", "unk__0")]
    first = [n for n in shared if rows[0][0] == n]
    likely = [*named, *first]
    others = [n for n in shared if n not in likely]
    return list(dict.fromkeys([*likely, *others[:MOST_TRIED], None] if likely else [None, *others[:MOST_TRIED]]))


MOST_TRIED = 4
"""How many lengths are tried as the batch of which nothing says so."""


def _dtype(loaded: Loaded, inputs: Any) -> str:
    types = {DTYPES.get(entry.type.tensor_type.elem_type, "") for entry in inputs}
    types |= {array.dtype.str[1:] for array in loaded.arrays.values()}
    floats = sorted(types & {"f4", "f8"})
    if "f2" in types or len(floats) > 1:
        raise UnsupportedFileError(f"{loaded.name} mixes {sorted(t for t in types if t.startswith('f'))}")
    return "float64" if floats == ["f8"] else "float32"


def _declare(reader: Reader, entry: Any, lengths: list[Length], batch: Open | None) -> None:
    code = DTYPES.get(entry.type.tensor_type.elem_type)
    if code is None:
        raise UnsupportedFileError(f"{reader.loaded.name}: input {entry.name!r} has a type that is not read")
    place = None if batch is None else lengths.index(batch)
    rest = [None if isinstance(n, Open) else n for k, n in enumerate(lengths) if k != place]
    name = entry.name
    value = reader.build.input(name, (None, *rest), KINDS[code[0] if code[0] != "?" else "b"])
    if name in reader.known:
        raise DamagedFileError(f"{reader.loaded.name}: two values are called {name!r}")
    reader.known[name] = flow = Flow(value, place, tuple(lengths))
    reader.like = reader.like or flow


def _model(loaded: Loaded, reader: Reader, inputs: Any) -> ProgramModel:
    outputs: list[tuple[str, Flow]] = []
    like = next((v for v in reader.known.values() if isinstance(v, Flow)), None)
    for entry in loaded.graph.output:
        given = reader.known.get(entry.name)
        if given is None:
            raise DamagedFileError(f"{loaded.name}: its output {entry.name!r} is made by no node")
        try:
            outputs.append((entry.name, reader.flow(given, like)))
        except SpecError as error:
            raise UnsupportedFileError(f"{loaded.name}: output {entry.name!r}: {error}") from None
    for name, flow in outputs:
        if flow.counts:
            raise UnsupportedFileError(f"{loaded.name}: output {name!r} is of whole numbers, for which there is no op")
        if flow.value.name in reader.folded:
            told = give(*reader.lengths(flow))
            raise UnsupportedFileError(
                f"{loaded.name}: output {name!r} has all steps of all samples in one axis; {told}"
            )
    taken = {entry.name for entry in inputs}
    names: list[str] = []
    for name, _ in outputs:
        names.append(unique(name, taken))
        taken.add(names[-1])
    axes = {entry.name: reader.known[entry.name].batch for entry in inputs}  # type: ignore[union-attr]  # a Flow
    axes |= {name: flow.batch for name, (_, flow) in zip(names, outputs, strict=True)}
    program = reader.build.finish([flow.value.name for _, flow in outputs])
    weights = {path: _owned(reader.weights[path]) for path in program.weights}
    title = "".join(c for c in loaded.name.rsplit(".", 1)[0] if c.isalnum() or c in "_-") or "model"
    with placeholder_weights():
        model = ProgramModel(program, name=title, dtype=reader.dtype, output_names=names, batch_axes=axes)
    model.replace_own(weights)
    return model


def _owned(array: Array) -> Array:
    """The array itself, or a copy where it lies among the bytes of the file."""
    return array if array.flags.writeable else array.copy()
