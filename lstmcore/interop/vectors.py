"""Test vectors that travel in a file: inputs, the outputs they must give, and how far off these may be.

They are JSON in the file's metadata, so that any program can check what it holds::

    {"limit": 16.0, "vectors": [{"inputs": {NAME: VALUE}, "outputs": {NAME: RESULT}}, ...]}
    VALUE  = {"kind": "float" | "int" | "bool", "shape": [...], "bytes": BASE64}
    RESULT = {"shape": [...], "every": k, "numbers": BASE64}

The bytes of a VALUE are int8, repeated in row-major order until the shape is full: of floats they are 64 times the
number, of ints and bools the number itself. The numbers of a RESULT are float32, little-endian: the outputs of the
reference in float64, in row-major order, each k-th of them. An output y agrees if ``E = max|y - numbers| /
(2^-23 max|numbers|)`` is at most ``limit``; bool outputs are 0 and 1, and agree if equal.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.errors import DamagedFileError, ExportError, SpecError
from lstmcore.interop.presented import Presented, present
from lstmcore.ops import Conv, Kind, Pool, Recurrent, Scan, Shape
from lstmcore.program import Program
from lstmcore.random import Stream
from lstmcore.runtime.compare import LIMIT, MOST, limit, scale_error
from lstmcore.runtime.session import Session

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = NDArray[Any]
Outputs = Mapping[str, Array]
MOST_BYTES = 1 << 14
MOST_NUMBERS = 1 << 11
MOST_VALUES = 1 << 23
"""The most numbers, of all values of a model together, that are computed to check what a file holds."""
MOST_STEPS = 1 << 15
TO_PROVE = {"values": 1 << 26, "steps": 1 << 18}
"""The same where a model is proved that is written or compared: all of it is run, some times."""
_SIZES = ((2, 5), (3, 4))  # samples and steps of each vector, where they are open
_SIZES_OF_LARGE = ((1, 2), (1, 1))  # a step goes through all of a matrix, and several samples through a copy of it
_LARGE = 1 << 25  # bytes of weights
_TYPES: Mapping[Kind, str] = {"float": "float32", "int": "int32", "bool": "bool"}


@dataclass(frozen=True)
class Verification:
    """What came of a file's test vectors on an engine: the worst E, and the limit that the file sets."""

    file: str
    engine: str
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the file computes what it was written to compute."""
        return self.error <= self.limit

    def __str__(self) -> str:
        word = "agrees" if self.ok else "DIFFERS"
        far = "other shapes, NaN or infinities" if math.isinf(self.error) else f"E = {self.error:.2f}"
        return f"{self.file} on {self.engine}: {word}, {far}, limit {self.limit:.3g}"


def make(presented: Presented, weights: Mapping[str, Array], batch: int | None = None, steps: int | None = None) -> str:
    """The vectors of a program, as JSON, under the names that its values have in the file.

    ``batch`` and ``steps`` are the lengths that the file fixes where the program has them open.
    """
    program, states = presented.program, list(presented.carries)
    affordable(program, batch, steps)
    reference = plugins.get(plugins.reference())
    vectors, baseline = [], 0.0
    large = sum(array.nbytes for array in weights.values()) > _LARGE
    for number, (samples, length) in enumerate(_SIZES_OF_LARGE if large else _SIZES):
        length = steps or enough(program, length)
        inputs = _inputs(program, states, batch or samples, length, Stream(number))
        exact = _run(program, weights, inputs, states, reference, "float64")
        single = _run(program, weights, inputs, states, reference, "float32")
        floats = [name for name in exact if exact[name].dtype.kind == "f"]
        baseline = max([baseline, *(scale_error(single[name], exact[name], "float32") for name in floats)])
        given = {presented.entering[n]: _written(program.values[n].kind, array) for n, array in inputs.items()}
        # a comparison of numbers as close as float32 has them is that of float32
        made = {name: exact[name] if name in floats else single[name] for name in exact}
        outputs = {called: _result(made[name]) for name, called in presented.leaving.items()}
        vectors.append({"inputs": given, "outputs": outputs})
    return json.dumps({"limit": limit(baseline), "vectors": vectors})


def _inputs(program: Program, states: Sequence[str], samples: int, steps: int, stream: Stream) -> dict[str, Array]:
    befores = [carry.before for carry in program.carries if carry.name in states]
    found = {}
    for name in (*program.inputs, *befores):
        value = program.values[name]
        shape = _filled(value.shape, samples, steps)
        count = math.prod(shape)
        drawn = stream.child(name).uniform((min(count, MOST_BYTES),))
        found[name] = _value(value.kind, _bytes(value.kind, drawn, program.limits.get(name, 9)), shape)
    return found


def _filled(shape: Shape, samples: int, steps: int) -> tuple[int, ...]:
    return tuple(n if n is not None else samples if axis == 0 else steps for axis, n in enumerate(shape))


def enough(program: Program, steps: int) -> int:
    """As many steps as the ops need; SpecError where no number is enough."""
    while True:
        shapes = {name: _filled(program.values[name].shape, 2, steps) for name in program.inputs}
        try:
            program.infer({name: (None, *shape[1:]) for name, shape in shapes.items()})
        except SpecError:
            if steps > 4096:
                raise
            steps *= 2
        else:
            return steps


def longest(program: Program) -> int:
    """The most steps that a vector has where the file leaves them open."""
    return max(enough(program, steps) for _, steps in _SIZES)


def _bytes(kind: Kind, drawn: Array, limit: int) -> Array:
    """Fractions in [0, 1) as the bytes of a value."""
    spans = {"float": (-128, 256), "int": (0, min(limit, 128)), "bool": (0, 2)}
    low, count = spans[kind]
    found: Array = np.floor(low + drawn * count).astype(np.int8)
    return found


def _value(kind: Kind, data: Array, shape: Sequence[int]) -> Array:
    whole = np.resize(data, math.prod(shape)).reshape(shape)
    return (whole.astype(np.float32) / 64) if kind == "float" else whole.astype(_TYPES[kind])


def _written(kind: Kind, array: Array) -> dict[str, Any]:
    data = array.reshape(-1)[:MOST_BYTES]
    data = (data * 64 if kind == "float" else data).astype(np.int8)
    return {"kind": kind, "shape": list(array.shape), "bytes": base64.b64encode(data.tobytes()).decode()}


def _result(y: Array) -> dict[str, Any]:
    every = -(-y.size // MOST_NUMBERS)
    numbers = y.reshape(-1)[::every].astype("<f4")
    return {"shape": list(y.shape), "every": every, "numbers": base64.b64encode(numbers.tobytes()).decode()}


def _run(
    program: Program, weights: Mapping[str, Array], inputs: Outputs, states: Sequence[str], backend: Any, dtype: str
) -> dict[str, Array]:
    """The outputs by value, and what the states become, by the value that they leave as."""
    session = Session(program, backend, dtype)
    session.load(weights, 0)
    cast = {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in inputs.items()}
    befores = {carry.name: cast.pop(carry.before) for carry in program.carries if carry.name in states}
    outputs, after = session.run(cast, befores)
    found = dict(zip(program.outputs, outputs, strict=True))
    leaving = {carry.after: backend.numpy(after[carry.name]) for carry in program.carries if carry.name in states}
    return {**found, **leaving}


def runner(presented: Presented, weights: Mapping[str, Array]) -> Callable[[Mapping[str, Array]], Outputs]:
    """Runs a program on inputs by the names that they have in the file; its outputs by theirs."""
    reference = plugins.get(plugins.reference())
    entering = {called: name for name, called in presented.entering.items()}

    def run(inputs: Mapping[str, Array]) -> Outputs:
        if set(inputs) != set(entering):
            raise ValueError(f"inputs {sorted(inputs)}; expected {sorted(entering)}")
        given = {entering[called]: array for called, array in inputs.items()}
        _check_lengths(presented.program, given)
        made = _run(presented.program, weights, given, list(presented.carries), reference, "float32")
        return {called: made[name] for name, called in presented.leaving.items()}

    return run


def of_model(model: BaseModel) -> str:
    """The vectors of a model, under the names that `present` gives."""
    return make(present(model), model.every_path())


def hold_model(text: str, model: BaseModel, name: str) -> None:
    """DamagedFileError where a model that was read does not give what `of_model` says."""
    hold(text, present(model), model.every_path(), name)


def hold(text: str, presented: Presented, weights: Mapping[str, Array], name: str) -> None:
    """DamagedFileError where a program with these weights does not give what the vectors say."""
    worst, limit = check(text, runner(presented, weights), name)
    if worst > limit:
        raise DamagedFileError(
            f"{name} does not compute what it did when it was written: E = {worst:.3g}, limit {limit:.3g}. "
            "Its weights or its test vectors were altered."
        )


class TooMuch(Exception):  # noqa: N818  nothing is wrong with the file
    """A model whose test vectors take more work than a file is worth before it is trusted."""


def affordable(program: Program, batch: int | None = None, steps: int | None = None) -> None:
    """ExportError where `make` would take too much, told before anything is made of the model."""
    for samples, length in _SIZES:
        length = steps or enough(program, length)
        worth(program, {name: _filled(program.values[name].shape, batch or samples, length) for name in program.inputs})


def worth(program: Program, shapes: Mapping[str, Shape]) -> None:
    """ExportError where a model would take more to run on inputs of these shapes than a proof is worth."""
    try:
        work(program, shapes, **TO_PROVE)
    except TooMuch as error:
        told = f"the model is too large to be proved: on inputs of shapes {list(map(tuple, shapes.values()))}"
        raise ExportError(f"{told} {error}; at most {TO_PROVE['values']} and {TO_PROVE['steps']} are taken") from None


def work(program: Program, shapes: Mapping[str, Shape], values: int = MOST_VALUES, steps: int = MOST_STEPS) -> None:
    """TooMuch where inputs of these shapes would give more values than are computed in passing, or more steps."""
    found = program.infer(shapes)
    count = sum(math.prod(n or 1 for n in tensor.shape) for tensor in found.values())
    count += sum(_padding(node.op, found[str(node.inputs[0])].shape) for node in program.nodes if node.inputs)
    lengths = [found[str(node.inputs[0])].shape[1] for node in program.nodes if isinstance(node.op, (Recurrent, Scan))]
    length = sum(n or 1 for n in lengths)
    if count > values or length > steps:
        raise TooMuch(f"it would take {count} numbers in {length} steps")


def _padding(op: Any, shape: Shape) -> int:
    """How many zeros may lie around an input that windows are laid over."""
    if not isinstance(op, (Conv, Pool)) or op.padding == "valid":
        return 0
    return (op.size - 1) * getattr(op, "dilation", 1) * (shape[0] or 1) * (shape[2] or 1)


def _check_lengths(program: Program, given: Mapping[str, Array]) -> None:
    """ValueError for inputs longer than those that are written; TooMuch as `work`."""
    most = longest(program)
    for name, array in given.items():
        shape = program.values[name].shape
        longer = [n for n, own in zip(array.shape[1:], shape[1:], strict=True) if own is None and n > most]
        if longer:
            raise ValueError(f"a shape of {array.shape}")
    work(program, {name: given[name].shape for name in program.inputs})


def check(text: str, run: Callable[[Mapping[str, Array]], Outputs], name: str) -> tuple[float, float]:
    """Runs all vectors: the worst E, and the limit. DamagedFileError where they cannot be read, or do not fit."""
    try:
        return _check(json.loads(text), run)
    except TooMuch as error:
        warnings.warn(f"{name} is not checked by its test vectors: {error}.", UserWarning, stacklevel=2)
        return 0.0, LIMIT
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, binascii.Error) as error:
        raise DamagedFileError(f"{name}: its test vectors cannot be read: {error}") from None


def _check(data: Any, run: Callable[[Mapping[str, Array]], Outputs]) -> tuple[float, float]:
    worst = 0.0
    if len(data["vectors"]) > len(_SIZES):
        raise ValueError(f"{len(data['vectors'])} of them")
    for vector in data["vectors"]:
        inputs = {str(name): _read(value) for name, value in vector["inputs"].items()}
        outputs = run(inputs)
        for name, result in vector["outputs"].items():
            worst = max(worst, _error(outputs[name], result))
    return worst, min(max(float(data["limit"]), LIMIT), MOST)


def _read(value: Mapping[str, Any]) -> Array:
    shape = [int(n) for n in value["shape"]]
    if any(n < 1 for n in shape) or math.prod(shape) > MOST_VALUES:
        raise ValueError(f"a shape of {shape}")
    data = np.frombuffer(base64.b64decode(value["bytes"], validate=True), np.int8)
    if not data.size:
        raise ValueError("a value without bytes")
    return _value(value["kind"], data, shape)


def _error(y: Array, result: Mapping[str, Any]) -> float:
    expected = np.frombuffer(base64.b64decode(result["numbers"], validate=True), "<f4")
    if list(y.shape) != result["shape"]:
        return math.inf
    given = y.reshape(-1)[:: int(result["every"])].astype(np.float64)
    if given.shape != expected.shape:
        return math.inf
    if y.dtype.kind != "f":
        return 0.0 if np.array_equal(given, expected) else math.inf
    return scale_error(given, expected, "float32")
