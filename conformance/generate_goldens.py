"""Writes ``lstmcore_conformance/goldens/*.safetensors`` with real Keras, in float64.

::

    KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=-1 python conformance/generate_goldens.py [--check] [FAMILY ...]
    KERAS_BACKEND=torch CUDA_VISIBLE_DEVICES=-1 python conformance/generate_goldens.py [--check] [FAMILY ...]

Each case whose oracle is "keras" is built from Keras' own layers, given the case's weights and inputs, and
called. Each run writes its own families: those called ``..._precise`` on PyTorch, the others on TensorFlow.
``--check`` compares with the files instead of writing them. What Keras 3.15 is asked, and what not (measured):

* Masks: before the first valid step, Keras on TensorFlow gives zeros, as lstmcore does; its JAX and NumPy
  backends give the initial h there.
* ``gelu``, ``leaky_relu`` and ``relu`` with parameters are the precise families: on TensorFlow, Keras computes
  them in float64 with constants rounded to float32, which is 1e7 units off. On PyTorch, ``softplus`` and
  ``mish`` turn linear above 20, and ``keras.ops.matmul`` of float64 is 1e8 units off: neither is asked there.
* ``unroll=True`` only with ``go_backwards=False``: with a mask and ``zero_output_for_mask``, the unrolled loop zeroes
  the outputs of ``go_backwards`` by the mask not reversed; on JAX and NumPy it zeroes none. ``use_cudnn=False``.
* A mask beside ``initial_state`` is given as ``mask=``: one that only comes with the input has no effect there.
* ``MultiHeadAttention``: ``key_dim`` is 4, as 1 / √key_dim is rounded to float32 unless it is exact; ``query_mask``
  is ignored. Slopes and thresholds of ``LeakyReLU``, ``ReLU`` and ``ELU`` are exact for the same reason.
* Attention: each query may look at something; where it may not, float64 looks as if nothing were masked.
* ``GlobalAveragePooling1D``: no row is masked entirely, which gives NaN.
* ``hard_sigmoid_0_2``, Keras 2's ``hard_sigmoid``, is no name of Keras 3: its formula is given as a function.
* ``sparsemax`` is left out: Keras takes the sum of all cumulative sums where Martins & Astudillo take the last
  one, so that its result does not add up to 1 with three or more in the support. lstmcore follows the paper.
"""

# ruff: noqa: E402  Keras reads the environment when it is imported

from __future__ import annotations

import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras.src.backend import get_keras_mask, set_keras_mask
from lstmcore_conformance import goldens, specs
from lstmcore_conformance.arguments import input_shape
from lstmcore_conformance.cases import Case, load
from lstmcore_conformance.graphs import GRAPHS, Namespace
from lstmcore_conformance.subjects import NAME, Subject, chain, graph, subject, traced

from lstmcore import layers, tree
from lstmcore.models.eager import Slot

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


def layer(kind: str, **options: Any) -> keras.layers.Layer:
    given = {k: function(v) if k.endswith("activation") else v for k, v in options.items()}
    extra = {"use_cudnn": False} if kind in ("LSTM", "GRU") else {}
    return getattr(keras.layers, kind)(**given, **extra)


def outputs(case: Case, it: Subject) -> list[np.ndarray]:
    called = {"model": of_model, "graph": of_graph, "layer": of_layer}[case.subject[0]]
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(called(case, it))]


def of_model(case: Case, it: Subject) -> Any:
    entries = [layer(kind, **options) for kind, options in case.subject[1]]
    made = keras.Sequential([keras.Input(input_shape(case), dtype="int32" if _ids(it) else None), *entries])
    made.set_weights([it.weights[weight] for weight in chain(case).weights])
    return made(next(iter(it.inputs.values())))


def of_graph(case: Case, it: Subject) -> Any:
    made = GRAPHS[case.subject[1]](Namespace(keras.layers, keras.Input, keras.Model, keras.Sequential))
    made.set_weights([it.weights[weight] for weight in graph(case).weights])
    tensors = [keras.ops.convert_to_tensor(x) for x in it.inputs.values()]
    return made(tensors if len(tensors) > 1 else tensors[0])


def of_layer(case: Case, it: Subject) -> Any:
    ours, slots, program = traced(case)
    ours.take({path.removeprefix(f"{NAME}/"): shape for path, shape in program.weights.items()})
    made = specs.made(specs.of(case), layer)
    x, given = arguments_of(made, ours, slots, it)
    made(x, **given)
    made.set_weights([it.weights[f"{NAME}/{path}"] for path in ours.weights])
    x, given = arguments_of(made, ours, slots, it)
    result = made(x, **given)
    if not case.settings["mask_out"]:
        return result
    masks = [get_keras_mask(y) for y in keras.tree.flatten(result)]
    return [result, [mask for mask in masks if mask is not None]]


def arguments_of(made: Any, ours: Any, slots: dict[str, Any], it: Subject) -> tuple[Any, dict[str, Any]]:
    """The first argument, and the others by name; a mask that the layer does not take lies on the tensors."""

    def tensor(leaf: Any) -> Any:
        return keras.ops.convert_to_tensor(it.inputs[leaf.name]) if isinstance(leaf, Slot) else leaf

    given = {name: tree.transform(tensor, value) for name, value in slots.items()}
    x = given.pop(ours.call_arguments[0])
    if "initial_state" in given and isinstance(getattr(ours, "cell", None), layers.StackedRNNCells):
        given["initial_state"] = ours.cell.nest(given["initial_state"])
    if "mask" in given and not made._call_has_mask_arg:
        xs, masks = (x, given.pop("mask")) if isinstance(x, list) else ([x], [given.pop("mask")])
        for one, mask in zip(xs, masks, strict=False):
            if mask is not None:
                set_keras_mask(one, mask)
    for name in [name for name in ("query_mask", "value_mask", "key_mask") if name in given]:
        at = x if name == "query_mask" else given[name.removesuffix("_mask")]
        set_keras_mask(at, given.pop(name))  # given by name, Keras 3.15 ignores that of the query
    return x, given


def _ids(it: Subject) -> bool:
    return next(iter(it.inputs.values())).dtype.kind == "i"


def main() -> int:
    keras.config.set_floatx("float64")
    warnings.filterwarnings("ignore", message=".*destroy the mask")
    made: dict[str, dict[str, list[np.ndarray]]] = defaultdict(dict)
    digests: dict[str, dict[str, str]] = defaultdict(dict)
    named = {argument for argument in sys.argv[1:] if not argument.startswith("-")}
    for case in load():
        if named and case.family not in named:
            continue
        mine = case.oracle == "keras" and case.family.endswith("_precise") == (BACKEND == "torch")
        if mine and case.key not in made[case.family]:
            it = subject(case)
            try:
                made[case.family][case.key] = outputs(case, it)
            except Exception as error:
                raise RuntimeError(f"Keras cannot do {case.id}") from error
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
