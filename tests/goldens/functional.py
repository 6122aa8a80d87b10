"""What real Keras says and computes of functional models, in float64."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import keras
import numpy as np
from graphs import GRAPHS
from pool import Pool, mapped, mask, numbers, weight


def data(shape: Any, dtype: str, name: str, k: int) -> np.ndarray:
    """Numbers; words that are padded at the end, at the start, in the middle; steps that are 0 for Masking."""
    shape = [n or size for n, size in zip(shape, (4, 6), strict=False)] + list(shape[2:])
    if dtype == "bool":
        return mask("holes", *shape)  # type: ignore[return-value]
    if dtype == "int32":
        ids = np.random.default_rng([*shape, k]).integers(1, 9, shape).astype(np.int32)
        return ids * (mask("right", *shape) if k else mask("left", *shape))
    x = numbers(shape, k)
    return x * mask("holes", *shape[:2])[..., None] if name == "masking_layer" else x  # type: ignore[index]


def tensor(array: np.ndarray) -> Any:
    return keras.ops.convert_to_tensor(array, "float64" if array.dtype.kind == "f" else array.dtype.name)


def summaries(model: Any) -> list[str]:
    os.environ["COLUMNS"] = "80"
    texts: list[str] = []
    for nested in (False, True):
        model.summary(print_fn=texts.append, expand_nested=nested)
    return texts


def record(name: str, pool: Pool) -> dict[str, Any]:
    model = GRAPHS[name](keras)
    weights = [weight(w.name, w.shape, k) for k, w in enumerate(model.weights)]
    model.set_weights(weights)
    flat = keras.tree.flatten(model.inputs)
    arrays = [data(x.shape, x.dtype, name, k) for k, x in enumerate(flat)]
    x = keras.tree.pack_sequence_as(model._inputs_struct, arrays)
    batches = [x, x] if name == "stateful" else [x]
    outputs = [model(keras.tree.map_structure(tensor, batch), training=False) for batch in batches]
    read = keras.models.model_from_json(model.to_json())
    assert json.loads(read.to_json()) == json.loads(model.to_json()), name
    return {
        "json": model.to_json(),
        "layers": [[one.name, type(one).__name__] for one in model.layers],
        "weights": [[w.path, pool.keep(a)] for w, a in zip(model.weights, weights, strict=True)],
        "shapes": [list(w.shape) for w in model.weights],
        "count": model.count_params(),
        "input_shape": mapped(lambda t: list(t.shape), model._inputs_struct),
        "output_shape": mapped(lambda t: list(t.shape), model._outputs_struct),
        "x": mapped(pool.keep, x),
        "y": [mapped(lambda t: pool.keep(np.asarray(t)), y) for y in outputs],
        "summary": summaries(model),
    }


def functional() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The models by name, and the arrays that they point to."""
    pool = Pool()
    cases: dict[str, Any] = {}
    keras.config.set_floatx("float64")
    for name in GRAPHS:
        keras.backend.clear_session()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of masks that end
            cases[name] = record(name, pool)
    keras.config.set_floatx("float32")
    return cases, pool.arrays
