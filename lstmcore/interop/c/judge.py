"""A header compiled by the C compiler of this machine, and run.

C is code, so what is compiled is never the file: it is the text that its model is written as, after the proof that
the file is the same (`reading`).
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import ExportError, MissingLibraryError
from lstmcore.interop import vectors
from lstmcore.interop.c.files import text
from lstmcore.interop.c.function import lengths_of
from lstmcore.interop.c.reading import proved
from lstmcore.interop.presented import Presented, present
from lstmcore.interop.vectors import Verification
from lstmcore.storage.atomic import PathLike

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = NDArray[Any]
COMPILERS = ("cc", "gcc", "clang", "tcc")
FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")
_C = {"int": "int32", "bool": "uint8"}


def compiler() -> str:
    """The C compiler of this machine: ``$CC``, or the first of cc, gcc, clang, tcc. MissingLibraryError for none."""
    for name in (os.environ.get("CC", ""), *COMPILERS):
        if name and (found := shutil.which(name)):
            return found
    raise MissingLibraryError("to run a C header takes a C compiler, and none is here: install gcc or clang as cc")


def verify(path: PathLike) -> Verification:
    """Compiles a header that lstmcore wrote, and runs it on the test vectors that it carries.

    Raises as `reading.proved`, and MissingLibraryError where there is no C compiler.
    """
    name = os.path.basename(os.fspath(path))
    cc = compiler()
    model, again = proved(path)
    shown = present(model)
    with tempfile.TemporaryDirectory() as folder:
        call = compiled(model, again, folder)
        worst, limit = vectors.check(vectors.make(shown, model.every_path(), 1), lambda given: call(given), name)
    return Verification(name, os.path.basename(cc), worst, limit)


def run(path: PathLike, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The outputs of a header, sample by sample, of inputs in the model's order; see `hookspecs.Judge`.

    States may follow, and then come out behind the outputs; without them they begin at zero.
    """
    compiler()
    model, again = proved(path)
    return run_text(model, again, inputs), {}


def run_text(model: BaseModel, source: str, inputs: Sequence[Any]) -> list[Any]:
    """The same of a header that was made in this process."""
    shown = present(model)
    pairs = list(shown.carries.values()) if len(inputs) > len(shown.inputs) else []
    names = [*shown.inputs, *(before for before, _ in pairs)]
    with tempfile.TemporaryDirectory() as folder:
        call = compiled(model, source, folder)
        rows = [
            call({name: np.asarray(array)[k : k + 1] for name, array in zip(names, inputs, strict=True)})
            for k in range(len(inputs[0]))
        ]
    ends = [*shown.outputs, *(after for _, after in pairs)]
    return [np.concatenate([row[name] for row in rows]) for name in ends]


def compiled(model: BaseModel, source: str, folder: str) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """``NAME_predict`` of a header as a function of arrays by name, one sample at a time."""
    shown = present(model)
    prefix = json.loads(_about(source))["name"]
    header, main, library = (os.path.join(folder, name) for name in ("model.h", "main.c", "model.so"))
    with open(header, "w", encoding="ascii") as file:
        file.write(source)
    symbols = lengths_of(shown)
    with open(main, "w", encoding="ascii") as file:
        file.write(_main(model, shown, prefix, [symbol for row in symbols.values() for symbol in row.values()]))
    done = subprocess.run([compiler(), *FLAGS, main, "-o", library, "-lm"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportError(f"{os.path.basename(compiler())} does not compile the header: {done.stderr[:500]}")
    loaded = ctypes.CDLL(library)
    loaded.scratch_size.restype = ctypes.c_size_t
    return lambda given: _call(model, shown, loaded, given)


def _about(source: str) -> str:
    from lstmcore.interop.c.header import BEGIN, END

    return source[source.rindex(BEGIN) + len(BEGIN) : source.rindex(END)].replace("\n", "")


def _main(model: BaseModel, shown: Presented, prefix: str, symbols: Sequence[str]) -> str:
    """A C file that makes the static function callable, everything by pointer: inputs, lengths, states, outputs."""
    sizes = ", ".join(f"(int)n[{k}]" for k in range(len(symbols)))
    macro = f"{prefix.upper()}_SCRATCH" + (f"({sizes})" if symbols else "")
    order = {symbol: k for k, symbol in enumerate(symbols)}
    arguments = [f"({prefix}_states *)state"] if shown.carries else []
    for k, row in enumerate(lengths_of(shown).values()):
        arguments += [f"x[{k}]", *(f"n[{order[symbol]}]" for symbol in row.values())]
    arguments += [f"y[{k}]" for k in range(len(shown.outputs))] + ["scratch"]
    return (
        '#include "model.h"\n'
        f"size_t scratch_size(const int *n) {{ (void)n; return sizeof({_real(model)}) * (size_t)({macro}); }}\n"
        "void run(const void **x, const int *n, void *state, void **y, void *scratch)\n"
        f"{{\n    (void)n;\n    (void)state;\n    {prefix}_predict({', '.join(arguments)});\n}}\n"
    )


def _real(model: BaseModel) -> str:
    return "float" if model.dtype == "float32" else "double"


def _call(model: BaseModel, shown: Presented, loaded: Any, given: Mapping[str, Array]) -> dict[str, Array]:
    program, names = shown.program, shown.entering
    dtypes = {value: _C.get(program.values[value].kind, model.dtype) for value in (*names, *program.outputs)}
    inputs = [np.ascontiguousarray(given[names[value]], dtypes[value]) for value in program.inputs]
    rows = lengths_of(shown).values()
    lengths = [array.shape[axis] for array, row in zip(inputs, rows, strict=True) for axis in row]
    shapes = program.infer({v: array.shape for v, array in zip(program.inputs, inputs, strict=True)})
    outputs = [np.zeros([n or 1 for n in shapes[value].shape], dtypes[value]) for value in program.outputs]
    carried = [carry for carry in program.carries if shown.has(carry.name)]
    zeros = {carry.name: np.zeros((1, *(n or 0 for n in program.values[carry.before].shape[1:]))) for carry in carried}
    states = [np.asarray(given.get(shown.carries[c.name][0], zeros[c.name]), model.dtype) for c in carried]
    state = np.concatenate([np.zeros(0, model.dtype), *(array.reshape(-1) for array in states)])
    n = (ctypes.c_int * max(len(lengths), 1))(*lengths)
    scratch = np.zeros(loaded.scratch_size(n), np.uint8)
    loaded.run(_pointers(inputs), n, _pointer(state), _pointers(outputs), _pointer(scratch))
    made = dict(zip(shown.outputs, outputs, strict=True))
    made = {name: array.astype(bool) if array.dtype == np.uint8 else array for name, array in made.items()}
    ends = np.cumsum([0, *(array.size for array in states)])
    for k, carry in enumerate(carried):
        made[shown.carries[carry.name][1]] = state[ends[k] : ends[k + 1]].reshape(states[k].shape)
    return made


def _pointer(array: Array) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def _pointers(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


__all__ = ["compiled", "compiler", "run", "run_text", "text", "verify"]
