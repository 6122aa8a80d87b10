"""Writes ``lstmcore_conformance/goldens/*.safetensors`` with real Keras, in float64.

::

    KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=-1 python conformance/generate_goldens.py [--check]
    KERAS_BACKEND=torch CUDA_VISIBLE_DEVICES=-1 python conformance/generate_goldens.py [--check]

Each case whose oracle is "keras" is built from Keras' own layers, given the case's weights and inputs, and
called. Each run writes its own families: those called ``..._precise`` on PyTorch, the others on TensorFlow.
``--check`` compares with the files instead of writing them. What Keras 3.15 is asked, and what not (measured):

* Masks: before the first valid step, Keras on TensorFlow gives zeros, as lstmcore does; its JAX and NumPy
  backends give the initial h there.
* ``gelu``, ``leaky_relu`` and ``relu`` with parameters are the precise families: on TensorFlow, Keras computes
  them in float64 with constants rounded to float32, which is 1e7 units off. On PyTorch, ``softplus`` and
  ``mish`` turn linear above 20, and ``keras.ops.matmul`` of float64 is 1e8 units off: neither is asked there.
* ``unroll=False``: Keras' unrolled loops on JAX and NumPy ignore ``zero_output_for_mask``. ``use_cudnn=False``.
* ``hard_sigmoid_0_2``, Keras 2's ``hard_sigmoid``, is no name of Keras 3: its formula is given as a function.
* ``sparsemax`` is left out: Keras takes the sum of all cumulative sums where Martins & Astudillo take the last
  one, so that its result does not add up to 1 with three or more in the support. lstmcore follows the paper.
"""

# ruff: noqa: E402  Keras reads the environment when it is imported

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from lstmcore_conformance import goldens
from lstmcore_conformance.cases import Case, load
from lstmcore_conformance.subjects import Subject, chain, input_shape, subject

FOLDER = Path(__file__).parent / "lstmcore_conformance" / "goldens"
VERSIONS = {package: version(package) for package in ("keras", BACKEND, "numpy")}


def hard_sigmoid_0_2(x: Any) -> Any:
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def function(value: Any) -> Callable[[Any], Any]:
    """Keras' function for a name, or for a name with parameters."""
    if not isinstance(value, dict):
        return hard_sigmoid_0_2 if value == "hard_sigmoid_0_2" else keras.activations.get(value)
    parameters = {k: v for k, v in value.items() if k != "name"}
    return partial(getattr(keras.activations, value["name"]), **parameters)


def layer(name: str, options: dict[str, Any]) -> keras.layers.Layer:
    given = {k: function(v) if k.endswith("activation") else v for k, v in options.items()}
    extra = {"use_cudnn": False} if name in ("LSTM", "GRU") else {}
    return getattr(keras.layers, name)(**given, **extra)


def outputs(case: Case, it: Subject) -> list[np.ndarray]:
    what, name = case.subject
    if what == "model":
        entries = [layer(*entry) for entry in name]
        made = keras.Sequential([keras.Input(input_shape(case), dtype="int32" if _ids(it) else None), *entries])
        made.set_weights([it.weights[weight] for weight in chain(case).weights])
        return [keras.ops.convert_to_numpy(made(next(iter(it.inputs.values()))))]
    units = {"units": case.settings["H"]} if name in ("LSTM", "GRU", "SimpleRNN", "Dense") else {}
    made = layer(name, {**units, **case.options})
    x, *rest = it.inputs.values()
    call: dict[str, Any] = {}
    if case.settings["mask"]:
        call["mask"] = keras.ops.convert_to_tensor(rest.pop(0))
    if rest:
        call["initial_state"] = [keras.ops.convert_to_tensor(state) for state in rest]
    made.build(x.shape)
    made.set_weights([it.weights[f"it/{weight.name}"] for weight in made.weights])
    result = made(keras.ops.convert_to_tensor(x), **call)
    return [keras.ops.convert_to_numpy(y) for y in (result if isinstance(result, (list, tuple)) else [result])]


def _ids(it: Subject) -> bool:
    return next(iter(it.inputs.values())).dtype.kind == "i"


def main() -> int:
    keras.config.set_floatx("float64")
    made: dict[str, dict[str, list[np.ndarray]]] = defaultdict(dict)
    digests: dict[str, dict[str, str]] = defaultdict(dict)
    for case in load():
        mine = case.oracle == "keras" and case.family.endswith("_precise") == (BACKEND == "torch")
        if mine and case.key not in made[case.family]:
            it = subject(case)
            made[case.family][case.key] = outputs(case, it)
            digests[case.family][case.key] = goldens.digest(it)
    stale = []
    for family, results in made.items():
        path = FOLDER / f"{family}.safetensors"
        content = goldens.write(results, digests[family], VERSIONS)
        if "--check" not in sys.argv:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            stale.append(family)
        print(f"{family}: {len(results)} cases, {len(content)} bytes")
    if stale:
        print(f"differ from the files: {', '.join(stale)}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
