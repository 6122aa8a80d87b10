"""Oracle 2, Keras' own numbers: ``goldens/<family>.safetensors``, written by ``generate_goldens.py``.

A file holds the outputs of each case in float64 as ``key#0``, ``key#1``, ...; its metadata name the versions
that computed them and, per case, a digest of weights and inputs: a golden never judges other data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from lstmcore_conformance.cases import Case
from lstmcore_conformance.subjects import Subject

Array = NDArray[Any]


class StaleGoldenError(Exception):
    """No golden, or one of other data than the case has now."""


def digest(subject: Subject) -> str:
    """What weights and inputs a golden belongs to."""
    total = hashlib.sha256()
    for name, array in sorted({**subject.weights, **subject.inputs}.items()):
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()[:16]


@lru_cache(maxsize=8)
def _file(family: str) -> tuple[dict[str, Array], dict[str, dict[str, str]]]:
    path = resources.files(__package__) / "goldens" / f"{family}.safetensors"
    if not path.is_file():
        raise StaleGoldenError(f"no goldens for family {family!r}; run generate_goldens.py")
    content = path.read_bytes()
    return load(content), metadata(content)


def metadata(content: bytes) -> dict[str, dict[str, str]]:
    """What a golden file says of itself: after the length of the header, in 8 bytes, comes its JSON."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about: dict[str, dict[str, str]] = json.loads(header["__metadata__"]["about"])
    return about


def versions(family: str) -> dict[str, str]:
    """Which versions computed the goldens of a family."""
    return _file(family)[1]["versions"]


def read(case: Case, subject: Subject) -> list[Array]:
    """The outputs that Keras gave for a case. StaleGoldenError if there are none for these data."""
    arrays, about = _file(case.family)
    recorded = about["digests"].get(case.key)
    if recorded != digest(subject):
        what = "no golden" if recorded is None else "a golden of other weights or inputs"
        raise StaleGoldenError(f"{case.key}: {what}; run generate_goldens.py, and say why the data changed")
    return [arrays[f"{case.key}#{k}"] for k in range(len(subject.program.outputs))]


def write(outputs: Mapping[str, Sequence[Array]], digests: Mapping[str, str], versions: Mapping[str, str]) -> bytes:
    """The bytes of a golden file."""
    arrays = {f"{key}#{k}": np.ascontiguousarray(a) for key, made in outputs.items() for k, a in enumerate(made)}
    # One key: safetensors writes several in no fixed order.
    about = json.dumps({"versions": dict(versions), "digests": dict(digests)}, sort_keys=True)
    return save(arrays, {"about": about})
