"""The proof that a model arrived: the target, as its own engine and we ourselves read it, against the source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lstmcore
from lstmcore.interop.proof.engines import Observed, judged, read_by_us
from lstmcore.interop.proof.inputs import cases as generated
from lstmcore.interop.proof.judgement import Judgement
from lstmcore.interop.proof.report import Proof
from lstmcore.interop.proof.signature import Pairing, pairing
from lstmcore.interop.proof.subject import Subject
from lstmcore.interop.proof.weights import compare_weights
from lstmcore.interop.reading import File, read_back
from lstmcore.models.base import BaseModel
from lstmcore.storage.atomic import PathLike

Array = NDArray[Any]


def prove(
    model: BaseModel,
    path: PathLike,
    *,
    format: str | None = None,
    source: PathLike | None = None,
    source_format: str | None = None,
    streaming: bool = False,
    inputs: Any = None,
) -> Proof:
    """Whether the file at ``path`` computes what ``model`` does in float64.

    The file is read back, and run by the engines of its format that are installed (`formats.judges`); so is
    ``source``, the file that the model came from. The inputs are generated, unless given as `BaseModel.predict` takes
    them. ``streaming``: the file was written with it.

    Raises:
        FileError: the file cannot be read back.
        SpecError: it takes or gives other things than the model.
    """
    file = File.at(path, format)
    back, alone = read_back(file, model)
    origin = None if source is None or streaming else File.at(source, source_format)
    ours = Subject.of(model, streaming)
    theirs = None if back is None else Subject.of(back, streaming and _as_many(model, back))
    return against(ours, theirs, origin, file, inputs, strict=not alone)  # no engine runs weights alone


def compare_models(
    first: BaseModel, second: BaseModel, files: tuple[PathLike, PathLike], *, inputs: Any = None
) -> Proof:
    """Whether two files, of which these are the models, compute the same; the first is the reference.

    Where one of them was written to be streamed, both are compared as such.
    """
    one, other = (File.at(path) for path in files)
    streaming = one.streams or other.streams
    return against(Subject.of(first, streaming), Subject.of(second, streaming), one, other, inputs)


def made_up(model: BaseModel) -> dict[str, Array]:
    """Inputs of the right shapes and kinds for a model, by name, as `BaseModel.predict` takes them; from a seed."""
    subject = Subject.of(model)
    case = _cases(subject, pairing(subject, subject, ("", "")))[-1]
    return {name: subject.outward(name, case[name]) for name in subject.program.inputs}


def against(
    source: Subject, target: Subject | None, origin: File | None, file: File, inputs: Any = None, strict: bool = False
) -> Proof:
    """The proof. ``origin`` is the file of the source, where that has engines to run it.

    ``strict``: where engines of the target's format are installed, one must be able to run it.
    """
    names = _names(origin, file, source)
    pair = pairing(source, target or source, names)
    cases = [_given(source, inputs)] if inputs is not None else _cases(source, pair)
    right = [source.run(case, "float64") for case in cases]
    single = [source.run(case, "float32") for case in cases]
    theirs = [pair.given(case) for case in cases]
    found: list[Observed] = []
    if target is not None:
        found.append(replace(read_by_us(target, theirs, names[1]), version=lstmcore.__version__))
    if origin is None or file.streams or not origin.streams:
        found += [replace(seen, file=names[1]) for seen in judged(file, pair.target, theirs)]
    found = [_as_source(seen, pair) for seen in found]
    if origin is not None and origin.streams == file.streams:
        found += [replace(seen, file=names[0]) for seen in judged(origin, source, cases)]
    weights = None if target is None else compare_weights(source, target)
    judgement = Judgement(source, cases, right, single, names, weights, strict)
    return judgement.shaken_where_doubtful(found).proof(found)


def _as_source(seen: Observed, pair: Pairing) -> Observed:
    """What leaves the target, by the names that it has in the source."""
    return replace(seen, leaving=[pair.made(case) for case in seen.leaving])


def _as_many(model: BaseModel, back: BaseModel) -> bool:
    """Whether what was read back is the model itself, not its graph with states as inputs."""
    return len(back.program.inputs) == len(model.program.inputs)


def _names(origin: File | None, file: File, source: Subject) -> tuple[str, str]:
    """What the two are called: by their last names, unless these are the same."""
    if origin is None:
        return str(source.model.name), file.name
    if origin.name == file.name:
        return os.fspath(origin.path), os.fspath(file.path)
    return origin.name, file.name


def _cases(source: Subject, pair: Pairing) -> list[Mapping[str, Array]]:
    return [case.values for case in generated(source, pair.shapes(), pair.limits())]


def _given(source: Subject, inputs: Any) -> Mapping[str, Array]:
    """The user's inputs, the states zero."""
    from lstmcore.runtime.feed import feed

    model = source.model
    fed = feed(source.program, model._by_input(inputs), "float64")
    samples = len(next(iter(fed.values())))
    model._batch_size(samples, samples)
    states = {
        name: np.zeros((samples, *(n or 0 for n in source.program.values[name].shape[1:])))
        for name in source.entering
        if name not in fed
    }
    single = {
        name: array.astype(np.float32).astype(np.float64) for name, array in fed.items() if array.dtype.kind == "f"
    }
    return {**fed, **(single if model.dtype == "float32" else {}), **states}
