"""Headers that lstmcore wrote, read back: the description in the last comment, and the numbers of the arrays.

It is no reader of C. What it makes of a file is believed only after the proof: the model, written once more, must give
the very same text.
"""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, ForeignFileError, LstmcoreError, UnsafeFileError, UnsupportedFileError
from lstmcore.interop import vectors
from lstmcore.interop.c.files import text
from lstmcore.interop.c.header import BEGIN, END, weight_names
from lstmcore.interop.listing import Listed, Listing
from lstmcore.interop.presented import present
from lstmcore.interop.specs import specified
from lstmcore.layers.base import placeholder_weights
from lstmcore.models.files import deserialize, expected
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.opening import open_regular, read_all

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

_TAIL = 3 * MAX_BYTES
_MOST_OF_A_NUMBER, _ROOM = 40, 16 << 20
_NUMBER = re.compile(r"-?0x[01](?:\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}f?")
# The version that wrote it; and remarks, within the comment at the top, that came with the model from elsewhere.
_UNTOLD = re.compile(r'"lstmcore":"[^"]{0,40}"|^ \*   note    (?:(?!\*/)[^\\\n])*\n', re.MULTILINE)
_SPECIAL = {"NAN": np.nan, "INFINITY": np.inf, "-INFINITY": -np.inf}


def read(path: PathLike, weights: PathLike | None, spec: Any) -> BaseModel:
    """The model in a header of `write`, its weights to the bit; ``spec`` is given the weights instead.

    Raises:
        ForeignFileError: lstmcore did not write it.
        DamagedFileError: it is not what was written.
    """
    name = os.path.basename(os.fspath(path))
    if weights is not None:
        raise UnsupportedFileError(f"{name} holds weights itself; weights= goes with the JSON of a model.")
    model, _ = proved(path)
    if spec is None:
        return model
    target = specified(spec)
    wanted, given = expected(target), expected(model)
    if wanted != given:
        raise UnsupportedFileError(f"{name} holds the weights {given}; expected {wanted}")
    target.replace_weights(dict(model.weights))
    return target


def lists(path: PathLike) -> Listing:
    """The arrays of a header of `write`, as the description at its end has them; its numbers are not read."""
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as file:
        about, model = _described(file, name)
    rows = [Listed(key, shape, dtype) for key, (shape, dtype) in expected(model).items()]
    told = {"written by": f"lstmcore {about.get('lstmcore')}", "model": str(model.name), "name": about.get("name")}
    # what runs it takes all steps of a sample, as NAME_predict does
    return Listing(tuple(rows), {**told, "streaming": False})


def _described(file: io.FileIO, name: str) -> tuple[dict[str, Any], BaseModel]:
    """What the end of a header says, and the model that it describes, without weights."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(size - _TAIL, 0))
    about = _about(read_all(file, _TAIL) or b"", name)
    with placeholder_weights():
        model = deserialize(about.get("model"))
        model.program  # noqa: B018  builds the weights
    return about, model


def proved(path: PathLike) -> tuple[BaseModel, str]:
    """The model in a header, and the text that it is written as, which is that of the file."""
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as file:
        about, model = _described(file, name)
        size = os.fstat(file.fileno()).st_size
        count = sum(array.size for array in model.weights.values())
        if not 3 * count <= size <= _MOST_OF_A_NUMBER * count + _ROOM:
            raise UnsafeFileError(f"{name} has {size} bytes; the model that it describes has {count} numbers.")
        file.seek(0)
        raw = read_all(file, size)
    if raw is None:
        raise UnsafeFileError(f"{name} grows while it is read.")
    prefix, streams = about.get("name"), about.get("streaming")
    if not isinstance(prefix, str) or not isinstance(streams, bool):
        raise DamagedFileError(f"{name}: its description lacks the name, or whether it streams.")
    _check_work(model, name)
    names = weight_names(model, prefix)
    model.replace_weights({key: _array(raw, names[key], *row, name) for key, row in expected(model).items()})
    _check(model, about, name)
    try:
        again = text(model, streams, prefix)
    except LstmcoreError as error:
        raise DamagedFileError(f"{name} is not what was written: {error}") from None
    if _UNTOLD.sub("", again) != _UNTOLD.sub("", raw.decode("ascii", "replace")):
        raise DamagedFileError(
            f"{name} is not what lstmcore writes for its model: it was altered, or is of another version."
        )
    return model, again


def _about(raw: bytes, name: str) -> dict[str, Any]:
    begin, end = raw.rfind(BEGIN.encode() + b"\n"), raw.rfind(END.encode())
    if begin < 0 or end < begin:
        raise ForeignFileError(f"{name} was not written by lstmcore: it has no description of a model.")
    if end - begin > _TAIL:
        raise UnsafeFileError(f"{name} has a description of {end - begin} bytes; at most {_TAIL} are read.")
    joined = raw[begin + len(BEGIN) : end].replace(b"\n", b"")
    about = read_description(joined, name)
    if not isinstance(about, dict):
        raise DamagedFileError(f"{name}: its description is no JSON object.")
    return about


def _array(raw: bytes, called: str, shape: tuple[int, ...], dtype: str, name: str) -> NDArray[Any]:
    """The numbers of one array, whose declaration must be that of its shape."""
    count = int(np.prod(shape, dtype=object))
    kind = "float" if dtype == "float32" else "double"
    declared = f"\nstatic const {kind} {called}[{max(count, 1)}] = {{\n".encode()
    begin = raw.find(declared)
    end = raw.find(b"\n};", begin)
    if begin < 0 or end < 0:
        raise DamagedFileError(f"{name} has no array {called} of {count} numbers.")
    if end - begin > 40 * max(count, 1) + len(declared):
        raise DamagedFileError(f"{name}: array {called} is longer than {count} numbers can be.")
    items = raw[begin + len(declared) : end].decode("ascii", "replace").replace("\n", " ").split(",")
    if len(items) != max(count, 1):
        raise DamagedFileError(f"{name}: array {called} has {len(items)} numbers; expected {count}.")
    array = np.array([_number(item.strip(), called, name) for item in items[:count]], dtype)
    return array.reshape(shape)


def _number(item: str, called: str, name: str) -> float:
    if item in _SPECIAL:
        return _SPECIAL[item]
    if not _NUMBER.fullmatch(item):
        raise DamagedFileError(f"{name}: array {called} holds {item[:40]!r}; expected a hexadecimal number.")
    try:
        return float.fromhex(item.rstrip("f") if item.endswith("f") else item)
    except OverflowError:
        raise DamagedFileError(f"{name}: array {called} holds {item[:40]!r}, which is too large.") from None


def _check_work(model: BaseModel, name: str) -> None:
    """UnsafeFileError where the test vectors, which are made anew, would take too long."""
    program = present(model).program
    steps = vectors.longest(program)
    shapes = {
        key: tuple(n or (steps if axis else 1) for axis, n in enumerate(program.values[key].shape))
        for key in program.inputs
    }
    try:
        vectors.work(program, shapes)
    except vectors.TooMuch as error:
        raise UnsafeFileError(f"{name} is too large to be proved: {error}.") from None


def _check(model: BaseModel, about: dict[str, Any], name: str) -> None:
    import json

    vectors.hold_model(json.dumps(about.get("vectors")), model, name)
