"""What layers are made of is judged by Keras, the rule and the relations: each wrong lowering is caught.

Cases whose oracle is the reference are left out: it runs the same lowering.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import ModuleType

import layer_lowerings
import lowerings
import numpy as np
import pytest
from lstmcore_conformance import suite

from lstmcore import layers, plugins
from lstmcore.models import Model, Sequential
from lstmcore.runtime.compare import LIMIT, scale_error

TESTS = Path(__file__).parents[1]
FAULTS = {**lowerings.FAULTS, **layer_lowerings.FAULTS}
ALONE = ("values", "nan", "repeat", "batch", "files", "count")  # checks that need an oracle, or see no lowering


def judged(case: suite.Case) -> bool:
    """Whether something else than the same lowering says what is right."""
    return case.oracle in ("keras", "rule", "paper") or case.check not in ALONE


SMOKE = tuple(case for case in suite.cases("smoke", levels=("forward",)) if judged(case))
STANDARD = tuple(case for case in suite.cases("standard", levels=("forward",)) if judged(case))

# Families of the standard profile, for faults that the smoke profile does not see.
FAMILIES = {
    "mask reversed after go_backwards": ["keras_chain"],
    "implied mask counts beside initial_state": ["keras_graph"],
    "a shared layer shares its state": ["keras_graph"],
    "Masking: masked steps stay": ["keras_masking"],
    "Masking: mask_value ignored": ["keras_masking"],
    "merge: an input without mask has no say": ["keras_graph"],
    "Subtract: swapped": ["keras_merge"],
    "Average: of two always": ["keras_merge"],
    "Average: the sum": ["keras_merge"],
    "Multiply: not zero where all are masked": ["keras_merge_masks"],
    "Softmax: masked entries share": ["keras_pointwise"],
    "Conv1D: activation ignored": ["keras_conv"],
    "Conv1D: strides for dilation": ["keras_conv"],
    "BatchNormalization: epsilon ignored": ["keras_batch_normalization"],
    "ZeroPadding1D: sides swapped": ["keras_reshaping"],
    "Cropping1D: one step more at the start": ["keras_reshaping"],
    "Permute: the other way": ["keras_reshaping"],
    "Rescaling: offset first": ["keras_pointwise"],
    "attention: causal mask without the present": ["keras_attention_causal"],
    "attention: key is the value": ["keras_attention"],
    "attention: value and key swapped": ["keras_attention"],
    "heads: not scaled": ["keras_heads"],
    "heads: query and key swapped": ["keras_heads_more"],
    "heads: gate ignored": ["keras_heads_more"],
}


# What the conformance suite cannot see, as it is about models, or about masks that go on: tests against Keras' numbers.


@lru_cache
def module(path: str) -> ModuleType:
    """Another module of tests."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_of_mutants", TESTS / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_calls(kind: str) -> Callable[[], Iterator[bool]]:
    """Masks that go on from a layer, and its outputs, as Keras has them."""

    def right() -> Iterator[bool]:
        keras = module("layers/test_keras_calls.py")
        for case in (case for case in keras.CASES.values() if case["class"] == kind):
            golden = [keras.array(pointer, "float64") for pointer in case["y_mask"]]
            found = keras.masks_after(case)
            yield [mask is None for mask in found] == [mask is None for mask in golden]
            pairs = zip(found, golden, strict=True)
            yield all(b is None or np.array_equal(np.broadcast_to(a, b.shape), b) for a, b in pairs)

    return right


def of_models(*names: str, batch_size: int | None = None, times: int = 1) -> Callable[[], Iterator[bool]]:
    """Outputs of functional models, as Keras has them, in batches of any size and however often."""

    def right() -> Iterator[bool]:
        keras = module("models/test_keras_functional.py")
        for case in (keras.CASES[name] for name in names):
            model = keras.read(case)
            for golden in case["y"] * times:
                outputs = model.predict(keras.arrays(case["x"], "float64"), batch_size, backend=plugins.reference())
                yield max(keras.errors(outputs, keras.arrays(golden, "float64"), "float64")) <= LIMIT

    return right


def streamed() -> Iterator[bool]:
    """In pieces a model gives what it gives at once."""
    x = np.random.default_rng(5).normal(size=(2, 9, 3))
    x[0, 2:6] = x[1, 3:] = 0  # what is masked goes across the cuts
    conv = [layers.Conv1D(4, 3, dilation_rate=2, padding="causal", dtype="float64")]
    held = [layers.Masking(dtype="float64"), layers.LSTM(4, return_sequences=True, dtype="float64")]
    scan = [
        layers.Masking(dtype="float64"),
        layers.RNN(layers.GRUCell(3, dtype="float64"), return_sequences=True, dtype="float64"),
    ]
    for parts in (conv, held, scan):
        model = Sequential([layers.Input((None, 3), dtype="float64"), *parts])
        whole = model.predict(x, backend=plugins.reference())
        for cuts in ([1, 2, 3, 4, 5, 6, 7, 8], [3, 4], [5], [2, 7]):
            stream = model.stream(2, plugins.reference())
            pieces = [stream.push(piece) for piece in np.split(x, cuts, 1)]
            yield scale_error(np.concatenate(pieces, 1), whole, "float64") <= LIMIT


def beside_states() -> Iterator[bool]:
    """A mask that comes with the input of Bidirectional has no effect beside initial_state (Keras 3.15, measured)."""
    ids = np.array([[1, 2, 0, 3, 0], [0, 4, 0, 0, 5]])
    states = [np.full((2, 3), value) for value in (0.5, -0.25)]
    table = np.random.default_rng(7).normal(size=(6, 2))
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True), dtype="float64")
    found = []
    for masked in (False, True):
        words, starts = layers.Input((5,), dtype="int32"), [layers.Input((3,), dtype="float64") for _ in states]
        vectors = layers.Embedding(6, 2, mask_zero=masked, weights=[table], dtype="float64")(words)
        model = Model([words, *starts], both(vectors, initial_state=starts))
        found.append(model.predict([ids, *states], backend=plugins.reference()))
    yield np.array_equal(*found)


WITNESSES: dict[str, Callable[[], Iterator[bool]]] = {
    "mask passed on after return_sequences=False": of_calls("LSTM"),
    "Bidirectional: mask passed on after return_sequences=False": of_calls("Bidirectional"),
    "Bidirectional: implied mask counts beside initial_state": beside_states,
    "Concatenate: zeros of an input without mask are masked": of_models("mask_meets_none"),
    "states leak from batch to batch": of_models("two_outputs", batch_size=1),
    "states are kept from call to call": of_models("two_outputs", times=2),
    "stateful ignored": of_models("stateful"),
    **{name: streamed for name in FAULTS if name.startswith("stream: ")},
}


def noticed(name: str) -> bool:
    if name in WITNESSES:
        return not all(WITNESSES[name]())
    families = FAMILIES.get(name)
    cases = SMOKE if families is None else (case for case in STANDARD if case.family in families)
    return any(wrong(result) for result in suite.run(plugins.reference(), cases))


def wrong(result: suite.Result) -> bool:
    """Numbers are wrong, or it does not run; that there is no golden of such data does not count."""
    return result.status == "failed" and "StaleGoldenError" not in result.message


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_lowering_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    assert noticed(name), f"nothing notices: {name}"


def test_what_is_asked_passes_without_a_fault() -> None:
    asked = {*chain.from_iterable(FAMILIES.values()), *(case.family for case in SMOKE)}
    cases = (case for case in (*SMOKE, *STANDARD) if case.family in asked)
    failed = [result.id for result in suite.run(plugins.reference(), cases) if result.status != "passed"]
    assert failed == []
    assert all(all(witness()) for witness in dict.fromkeys(WITNESSES.values()))
