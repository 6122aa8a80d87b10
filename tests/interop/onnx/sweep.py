"""Models of others through their exporters, read and run: ``python tests/interop/onnx/sweep.py FOLDER``.

PyTorch's (`torch_models`) by TorchScript in several opsets and by torch.export, Keras' (`sweep_keras`) by Keras 3 on
TensorFlow and on PyTorch, and by tf2onnx; each with open lengths and with all known. What an exporter does not export,
or ONNX Runtime does not run, is counted apart. The files stay in FOLDER, by ``--read-only`` they are read again. It
takes some ten minutes, and needs torch, onnxscript, and for Keras tensorflow, tf2onnx and tf_keras.
"""

from __future__ import annotations

import argparse
import collections
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ort
import torch
import torch_models

from lstmcore.errors import LstmcoreError
from lstmcore.interop.onnx import read
from lstmcore.runtime.compare import scale_error

OPSETS = (9, 11, 13, 17, 20)
KERAS = ("keras3", "tf_keras", "keras3_torch")
LIMIT = 16


def torchscript(name: str, path: Path, opset: int, opened: bool) -> None:
    example = torch_models.example(name)
    axes = {key: dict(value) for key, value in example.opened.items()} if opened else {}
    names = {"input_names": list(example.inputs), "output_names": list(example.outputs), "dynamic_axes": axes}
    given = tuple(example.inputs.values())
    torch.onnx.export(example.module, given, str(path), dynamo=False, opset_version=opset, **names)


def dynamo(name: str, path: Path, opset: int, opened: bool) -> None:
    example = torch_models.example(name)
    auto = torch.export.Dim.AUTO
    shapes = tuple(dict.fromkeys(example.opened.get(key, {}), auto) if opened else {} for key in example.inputs)
    torch.onnx.export(
        example.module,
        tuple(example.inputs.values()),
        str(path),
        dynamo=True,
        opset_version=opset,
        dynamic_shapes=(shapes,),  # of the module's *given
        external_data=False,
        verbose=False,
        input_names=list(example.inputs),
        output_names=list(example.outputs),
    )


def of_torch(folder: Path) -> Iterator[str]:
    """Exports all models of PyTorch; what could not be exported."""
    runs = [("torchscript", torchscript, opset, True) for opset in OPSETS]
    runs += [("torchscript", torchscript, 17, False), ("dynamo", dynamo, 18, True), ("dynamo", dynamo, 18, False)]
    for name in torch_models.MODELS:
        for title, export, opset, opened in runs:
            path = folder / f"{name}~{title} {opset}{'' if opened else ' fixed'}.onnx"
            try:
                export(name, path, opset, opened)
            except Exception as error:  # exporters have exceptions of their own
                path.unlink(missing_ok=True)
                yield f"{path.stem}: {type(error).__name__}"
                continue
            example = torch_models.example(name)
            np.savez(path.with_suffix(".npz"), **{key: value.numpy() for key, value in example.inputs.items()})


def other(session: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Inputs of other lengths, where they are open."""
    rng, sizes = np.random.default_rng(0), {}
    found = {}
    for entry in session.get_inputs():
        array = given[entry.name]
        shape = [
            n if isinstance(n, int) else sizes.setdefault(n, m + 2)
            for n, m in zip(entry.shape, array.shape, strict=True)
        ]
        made = np.resize(array, shape)
        made = (made + rng.normal(size=shape) * 0.3).astype(made.dtype) if made.dtype.kind == "f" else made
        found[entry.name] = np.sort(made)[::-1].copy() if entry.name == "lengths" else made
    return found


def judged(path: Path) -> str:
    """'ok', or what happened."""
    given = dict(np.load(path.with_suffix(".npz")))
    try:
        session = ort.session(path)
        wanted = [session.run(None, {entry.name: given[entry.name] for entry in session.get_inputs()})]
    except Exception as error:  # the engine has its own
        return f"not run by ONNX Runtime: {str(error).splitlines()[0][:80]}"
    try:
        model = read(path)
    except LstmcoreError as error:
        return f"refused: {str(error).split(': ', 1)[-1][:150]}"
    inputs = [{entry.name: given[entry.name] for entry in session.get_inputs()}]
    if "fixed" not in path.stem:
        more = other(session, given)
        try:
            wanted.append(session.run(None, more))
            inputs.append(more)
        except Exception:  # the file calls lengths open that are not
            pass
    return max((_error(model, x, y) for x, y in zip(inputs, wanted, strict=True)), key=lambda text: text != "ok")


def _error(model: Any, inputs: dict[str, Any], expected: list[Any]) -> str:
    found = model.predict(inputs if len(inputs) > 1 else next(iter(inputs.values())))
    for y, reference in zip(found if isinstance(found, list) else [found], expected, strict=True):
        if y.shape != reference.shape:
            return f"WRONG: shape {y.shape}, expected {reference.shape}"
        error = (
            scale_error(y, reference, "float32") if reference.dtype.kind == "f" else float((y != reference).any()) * 99
        )
        if error > LIMIT:
            return f"WRONG: E = {error:.3g}"
    return "ok"


def table(results: dict[str, str]) -> Iterator[str]:
    """The results by exporter, in Markdown, and what is not ok."""
    rows: dict[str, collections.Counter[str]] = {}
    for name, result in results.items():
        rows.setdefault(name.split("~")[1], collections.Counter())[result.split(":")[0]] += 1
    words = ("ok", "refused", "WRONG", "not run by ONNX Runtime")
    yield f"| exporter | {' | '.join(words)} |"
    yield "|---" * (len(words) + 1) + "|"
    for title, counts in sorted(rows.items()):
        yield f"| {title} | {' | '.join(str(counts[word]) for word in words)} |"
    for name, result in sorted(results.items()):
        if result != "ok":
            yield f"* {name}: {result}"


def main() -> int:
    about = argparse.ArgumentParser(description=__doc__)
    about.add_argument("folder", type=Path)
    about.add_argument("--read-only", action="store_true")
    given = about.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if not given.read_only:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        script = Path(__file__).with_name("sweep_keras.py")
        for writer in KERAS:
            subprocess.run([sys.executable, str(script), writer, str(given.folder)], check=False)
        for line in of_torch(given.folder):
            print("not exported:", line)
    results = {path.stem: judged(path) for path in sorted(given.folder.glob("*.onnx"))}
    print("\n".join(table(results)))
    return 1 if any(result.startswith("WRONG") for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
