"""How far exported files are from the reference, run by their own engines: figures in docs/export-*.md, embedded.md.

Usage: nice python benchmarks/exported_files.py FORMAT [--every N] [--dtype float32] [--profile standard]

FORMAT is one of pytorch, saved_model, tflite, c, onnx. Every Nth program of the conformance suite's forward cases is
written as a file of that format, and run by its engine, on the case's inputs. E is against the reference in float64, at
most what `lc.compare` allows: 16, or more where the reference itself is farther off in that dtype. Exit status 1 where
one is beyond. What the format cannot hold is counted, by the reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from lstmcore_conformance import cases, subjects

import lstmcore as lc
from lstmcore import plugins
from lstmcore.errors import ExportError, FileError
from lstmcore.interop import formats
from lstmcore.models.program_model import ProgramModel
from lstmcore.runtime.compare import limit, scale_error

SUFFIXES = {"pytorch": ".pt", "saved_model": "", "tflite": ".tflite", "c": ".h", "onnx": ".onnx"}
# What the engine itself does otherwise: part of a case's name, and the reason.
KNOWN = {
    "pytorch": {"activation/gelu-values=infinite": "F.gelu makes NaN of infinity (2.13, measured)"},
    "c": {"op_constant": "what the judge runs gives something for each sample, and a constant is of none"},
    "tflite": {"values=nan": "maxima and means pass over NaN (2.21, measured)"},
}
# TFLite's converter wants the batch where there is a loop.
FIXED = {"tflite": lambda batch: {"batch_size": batch}}


def chosen(profile: str, every: int, dtype: str) -> list[Any]:
    """Programs whose inputs are values: the suite also checks refusals, and states that are carried on."""
    found = [
        case
        for case in cases.load(profile)
        if case.level == "forward"
        and case.dtype == "float32"
        and case.check == "values"
        and case.subject[0] in subjects.BUILDERS
        and case.settings["states"] != "carried"
        and "unfold" not in case.id.lower()  # a program of that op alone has no test vectors, which a file carries
    ]
    return found[::every]


def error(case: Any, form: str, dtype: str, folder: str) -> tuple[float, float]:
    """E of the file, and the largest that counts as agreement."""
    it = subjects.subject(case)
    if it.carries or not all(it.program.values[name].shape for name in it.program.outputs):
        raise ExportError("not asked: its states come from outside, or an output has no batch")
    reference = plugins.get(plugins.reference())
    exact, single = it.run(reference, "float64").outputs, it.run(reference, dtype).outputs
    weights = {name: np.asarray(array, dtype) for name, array in it.weights.items()}
    kinds = {"float": dtype, "int": "int32", "bool": "bool"}
    given = [np.asarray(it.inputs[name], kinds[it.program.values[name].kind]) for name in it.program.inputs]
    path = Path(folder, f"m{SUFFIXES[form]}")
    options = FIXED[form](len(given[0])) if form in FIXED else {}
    lc.export_model(ProgramModel(it.program, weights, name="m", dtype=dtype), path, format=form, **options)
    judge = next(row for row in formats.judges() if row.format == form)
    found, _ = formats.function(judge.run)(path, given)
    return _worst(found, exact, dtype), limit(_worst(single, exact, dtype))


def _worst(found: Any, exact: Any, dtype: str) -> float:
    pairs = [(y, wanted) for y, wanted in zip(found, exact, strict=True) if np.asarray(wanted).dtype.kind == "f"]
    return max((scale_error(np.asarray(y), wanted, dtype) for y, wanted in pairs), default=0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=SUFFIXES)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--profile", default="standard")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    errors: dict[str, float] = {}
    refused: Counter[str] = Counter()
    known: Counter[str] = Counter()
    beyond: list[str] = []
    for case in chosen(given.profile, given.every, given.dtype):
        with tempfile.TemporaryDirectory() as folder:
            try:
                far, most = error(case, given.format, given.dtype, folder)
            except (ExportError, FileError) as refusal:
                refused[str(refusal).splitlines()[0][:100]] += 1
                continue
            except Exception as failure:  # an engine may fail in any way; it is told, and the rest goes on
                beyond.append(f"{case.id}: {type(failure).__name__}: {str(failure)[:200]}")
                continue
        excused = [why for part, why in KNOWN.get(given.format, {}).items() if part in case.id and not far <= most]
        known.update(excused)
        if excused:
            continue
        errors[case.id] = far
        if not far <= most:
            beyond.append(f"{case.id}: E = {far:.3g}, at most {most:.3g}")
    within = {name: far for name, far in errors.items() if far <= 16}
    worst = max(within, key=lambda name: within[name]) if within else "none"
    print(f"{given.format}, {given.dtype}: {len(errors)} cases run, {sum(refused.values())} refused")
    print(f"worst E {within.get(worst, 0):.2f} ({worst}); {len(errors) - len(within)} above 16", *beyond, sep="\n")
    print(*(f"known {count}: {why}" for why, count in known.items()), sep="\n")
    print(*(f"refused {count}: {why}" for why, count in refused.most_common(12)), sep="\n")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
