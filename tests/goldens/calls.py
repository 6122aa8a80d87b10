"""What real Keras computes where a layer is called, in float64: outputs, their masks, and shapes."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from typing import Any

import keras
import numpy as np
from cases import Call, every
from keras.src.backend import get_keras_mask, set_keras_mask
from pool import Pool, mapped, weight
from serialized import revived


def tensor(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        return array
    return keras.ops.convert_to_tensor(array, "float64" if array.dtype.kind == "f" else array.dtype.name)


def given(call: Call, layer: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as tensors; a mask by name where the layer takes it so, else on the tensor."""
    args, kwargs = mapped(tensor, call.args), mapped(tensor, call.kwargs)
    for name, mask in call.masks.items():
        set_keras_mask(kwargs[name] if name in kwargs else args[("query", "value").index(name)], tensor(mask))
    if call.mask is not None and layer._call_has_mask_arg:
        kwargs["mask"] = mapped(tensor, call.mask)
    elif call.mask is not None:
        several = isinstance(args[0], list)
        for x, mask in zip(args[0] if several else args, call.mask if several else [call.mask], strict=True):
            set_keras_mask(x, tensor(mask))
    return args, kwargs


def shapes(call: Call) -> list[Any]:
    """The arguments of compute_output_shape, the batch left open."""
    arrays = [*call.args, *([call.kwargs["key"]] if "key" in call.kwargs else [])]
    return [[open_batch(x) for x in one] if isinstance(one, list) else open_batch(one) for one in arrays]


def open_batch(array: Any) -> tuple[Any, ...]:
    return (None, *array.shape[1:])


def told_shape(layer: Any, call: Call, outputs: Any) -> Any:
    """What compute_output_shape says, or None where Keras cannot say or is wrong."""
    try:
        told = layer.compute_output_shape(*shapes(call))
    except Exception:
        return None
    real = mapped(open_batch, outputs if not call.kwargs.get("return_attention_scores") else outputs[0])
    return jsonable(told) if jsonable(told) == jsonable(real) else None


def jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value))


def record(call: Call, pool: Pool) -> dict[str, Any]:
    options = {key: revived(value) for key, value in call.options.items()}
    layer = getattr(keras.layers, call.kind)(**options, name="given")
    keep = lambda leaf: pool.keep(leaf) if isinstance(leaf, np.ndarray) else leaf  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of masks that end here
        args, kwargs = given(call, layer)
        layer(*args, **kwargs)
        weights = [weight(w.name, w.shape, k) for k, w in enumerate(layer.weights)]
        layer.set_weights(weights)
        args, kwargs = given(call, layer)
        outputs = layer(*args, **kwargs)
    masks = [get_keras_mask(y) for y in keras.tree.flatten(outputs)]
    if call.kind == "MultiHeadAttention":  # its inner Softmax leaves a mask on the scores
        masks[1:] = [None] * len(masks[1:])
    arrays = mapped(np.asarray, outputs)
    return {
        "class": call.kind,
        "options": call.options,
        "args": mapped(keep, call.args),
        "kwargs": mapped(keep, {**call.kwargs, **{f"{name}_mask": one for name, one in call.masks.items()}}),
        "mask": mapped(keep, call.mask),
        "weights": [[w.path.removeprefix("given/"), pool.keep(x)] for w, x in zip(layer.weights, weights, strict=True)],
        "y": mapped(keep, arrays),
        "y_mask": [None if one is None else pool.keep(np.asarray(one)) for one in masks],
        "valid": None if call.valid is None or call.valid.all() else pool.keep(call.valid),
        "output_shape": told_shape(layer, call, arrays),
    }


def calls() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The cases by name, and the arrays that they point to."""
    pool, seen = Pool(), Counter()
    cases: dict[str, Any] = {}
    keras.config.set_floatx("float64")
    for call in every():
        keras.backend.clear_session()
        seen[call.kind] += 1
        try:
            cases[f"{call.kind}_{seen[call.kind]}"] = record(call, pool)
        except Exception as error:
            raise RuntimeError(f"Keras cannot do {call}") from error
    keras.config.set_floatx("float32")
    return cases, pool.arrays
