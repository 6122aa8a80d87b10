"""Layers called as Keras 3.15 on TensorFlow was called: outputs, the masks that go on, shapes, weights."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lstmcore import layers, plugins
from lstmcore.layers import symbolic
from lstmcore.program import Builder
from lstmcore.runtime.compare import LIMIT, scale_error
from lstmcore.runtime.session import Session
from lstmcore.tree import alike, leaves, transform

GOLDENS = Path(__file__).parents[1] / "goldens"
CASES: dict[str, Any] = json.loads((GOLDENS / "calls.json").read_text(encoding="utf-8"))["cases"]
ARRAYS = load_file(GOLDENS / "calls.safetensors")
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
RECORDED = {
    *(*MERGES, "LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "TimeDistributed"),
    *("Masking", "RepeatVector", "PReLU", "Rescaling", "Softmax", "BatchNormalization", "LayerNormalization"),
    *("Conv1D", "MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D"),
    *("ZeroPadding1D", "Cropping1D", "UpSampling1D", "MultiHeadAttention", "Attention", "AdditiveAttention"),
    *("Dense", "Activation", "Dropout", "Flatten", "Reshape", "Permute", "ReLU", "LeakyReLU", "ELU"),
    *("SpatialDropout1D", "GaussianNoise", "GaussianDropout"),
}


def array(leaf: Any, dtype: str) -> Any:
    """The array that a string points to, floats in ``dtype``; anything else as it is."""
    if not (isinstance(leaf, str) and leaf.startswith("@")):
        return leaf
    found = ARRAYS[leaf[1:]]
    return found.astype(dtype) if found.dtype.kind == "f" else found


def option(value: Any, dtype: str) -> Any:
    """An option of the layer; the layers in it compute in ``dtype`` too."""
    if isinstance(value, list):
        return [option(one, dtype) for one in value]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    config = {key: option(one, dtype) for key, one in value["config"].items()}
    return getattr(layers, value["class_name"])(**config, dtype=dtype)


def arguments(case: dict[str, Any], dtype: str) -> tuple[list[Any], dict[str, Any]]:
    told = {} if case["mask"] is None else {"mask": case["mask"]}
    both = transform(lambda leaf: array(leaf, dtype), [case["args"], {**case["kwargs"], **told}])
    return both[0], both[1]


def made(case: dict[str, Any], dtype: str = "float64") -> Any:
    """The layer, built and with the weights of the golden."""
    options = {key: option(value, dtype) for key, value in case["options"].items()}
    layer = getattr(layers, case["class"])(**options, dtype=dtype)
    args, kwargs = arguments(case, dtype)
    layer(*args, **kwargs)
    layer.set_weights([array(pointer, dtype) for _, pointer in case["weights"]])
    return layer


def meant(case: dict[str, Any], y: np.ndarray) -> np.ndarray:
    """The numbers that mean something: an attention that may look at nothing has none."""
    if case["valid"] is None:
        return y
    return (np.moveaxis(y, 1, 2) if y.ndim == 4 else y)[ARRAYS[case["valid"][1:]]]


def errors(case: dict[str, Any], outputs: Any, dtype: str) -> list[float]:
    golden = transform(lambda leaf: array(leaf, "float64"), case["y"])
    assert alike(outputs, golden)
    pairs = zip(leaves(outputs), leaves(golden), strict=True)
    return [scale_error(meant(case, np.asarray(y)), meant(case, ref), dtype) for y, ref in pairs]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_keras(name: str, dtype: str) -> None:
    case = CASES[name]
    args, kwargs = arguments(case, dtype)
    outputs = made(case, dtype)(*args, **kwargs)
    assert {y.dtype.name for y in leaves(outputs)} == {dtype}
    assert max(errors(case, outputs, dtype)) <= LIMIT


@pytest.mark.parametrize("name", CASES)
def test_weights_stand_in_the_order_of_keras(name: str) -> None:
    case = CASES[name]
    theirs = [(path.rpartition("/")[2], ARRAYS[pointer[1:]].shape) for path, pointer in case["weights"]]
    assert [(path.rpartition("/")[2], array.shape) for path, array in made(case).weights.items()] == theirs


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["output_shape"] is not None])
def test_shapes_are_those_of_keras(name: str) -> None:
    case = CASES[name]
    args, kwargs = arguments(case, "float64")
    args += [kwargs["key"]] if "key" in kwargs else []
    shapes = transform(lambda x: (None, *x.shape[1:]), args)
    told = made(case).compute_output_shape(*shapes)
    assert json.loads(json.dumps(told)) == case["output_shape"]


def masks_after(case: dict[str, Any]) -> list[Any]:
    """The mask of each output, computed by the reference."""
    layer, build, fed = made(case), Builder(), {}
    args, kwargs = arguments(case, "float64")
    told = kwargs.pop("mask", None)
    several = isinstance(args[0], list)
    first, masks = (args[0], told or []) if several else (args[:1], [told])
    implied = {id(x): mask for x, mask in zip(first, masks, strict=False)}
    implied |= {id(kwargs[n]): kwargs.pop(f"{n}_mask") for n in ("key",) if f"{n}_mask" in kwargs}
    for k, n in enumerate(("query", "value")):  # of MultiHeadAttention
        if f"{n}_mask" in kwargs:
            implied[id(args[k])] = kwargs.pop(f"{n}_mask")

    def placed(data: Any) -> Any:
        if not isinstance(data, np.ndarray):
            return data
        fed[f"x{len(fed)}"] = data
        return build.input(f"x{len(fed) - 1}", data.shape, "bool" if data.dtype == bool else "float")

    given = symbolic.bind(layer, args, kwargs)
    outputs, masks = symbolic.lower_call(layer, build, given, placed, lambda leaf: placed(implied.get(id(leaf))))
    program = build.finish([value.name for value in (*outputs, *masks) if value is not None])
    session = Session(program, plugins.get(plugins.reference()), "float64")
    session.load(layer.every_path(), layer.version())
    found = iter(session.run({name: fed[name] for name in program.inputs})[0][len(outputs) :])
    return [None if mask is None else np.asarray(next(found)) for mask in masks]


@pytest.mark.parametrize("name", CASES)
def test_masks_that_go_on_are_those_of_keras(name: str) -> None:
    case = CASES[name]
    golden = [array(pointer, "float64") for pointer in case["y_mask"]]
    found = masks_after(case)
    assert [mask is None for mask in found] == [mask is None for mask in golden]
    for ours, theirs in zip(found, golden, strict=True):
        assert theirs is None or np.array_equal(np.broadcast_to(ours, theirs.shape), theirs)


def test_every_golden_is_there_and_every_array_in_use() -> None:
    """No case is left out for a class that does not exist: its tests fail instead."""
    assert {case["class"] for case in CASES.values()} == RECORDED
    assert min(Counter(case["class"] for case in CASES.values()).values()) >= 1
    used = {leaf[1:] for leaf in leaves(list(CASES.values())) if isinstance(leaf, str) and leaf.startswith("@")}
    assert used == set(ARRAYS)
    assert all(np.isfinite(data).all() for data in ARRAYS.values())


@pytest.mark.parametrize("name", ["LSTM", "Concatenate", "BatchNormalization", "MultiHeadAttention"])
def test_a_wrong_number_is_seen(name: str) -> None:
    case = CASES[f"{name}_1"]
    wrong = transform(lambda leaf: array(leaf, "float64").copy(), case["y"])
    next(leaves(wrong)).flat[0] += 1e-9
    assert max(errors(case, wrong, "float64")) > LIMIT
