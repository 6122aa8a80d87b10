"""CTC on every engine: a sum over all spellings; torch's, TensorFlow's and Keras' values and gradients; masks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

import lstmcore as lc
from lstmcore import losses, ops, plugins
from lstmcore.contract import choose
from lstmcore.errors import InputError, SpecError
from lstmcore.formulas import Term
from lstmcore.layers import LSTM, Dense, Embedding, Input, Masking
from lstmcore.losses import CTC, ctc
from lstmcore.models import Sequential
from lstmcore.program import Builder
from lstmcore.runtime.session import Session

Array = NDArray[Any]
GOLDENS = Path(__file__).parent / "goldens"
KERAS = json.loads((GOLDENS / "losses.json").read_text(encoding="utf-8"))["cases"]["ctc"]
ARRAYS = load_file(GOLDENS / "losses.safetensors")
BACKENDS = ("numpy", "torch", "tensorflow")
EACH = CTC(reduction=None)
# Labels: repeated, alone, none, as many as there are steps, two the same in a row with no step to spare.
LABELS = np.array([[1, 2, 0], [2, 2, 1], [0, 0, 0], [1, 2, 1], [2, 0, 0], [1, 1, 0]], np.int32)


def logits(*shape: int, scale: float = 1.5) -> Array:
    return scale * np.random.default_rng(shape).normal(size=shape)


def read(spelling: tuple[int, ...]) -> tuple[int, ...]:
    """Repetitions merged, then blanks left out."""
    return tuple(c for c, _ in itertools.groupby(spelling) if c != 0)


def brute(prediction: Array, labels: Array) -> Array:
    """-log of the sum over all spellings of their probabilities, sample by sample."""
    found = []
    for rows, wanted in zip(prediction, labels, strict=True):
        shares = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True)
        word = tuple(int(c) for c in wanted if c != 0)
        spellings = itertools.product(range(rows.shape[1]), repeat=rows.shape[0])
        found.append(sum(float(np.prod([shares[t, c] for t, c in enumerate(s)])) for s in spellings if read(s) == word))
    with np.errstate(divide="ignore"):
        return -np.log(found)


def by_torch(prediction: Array, labels: Array) -> tuple[Array, Array]:
    """torch's losses in float64, and the gradient of their sum."""
    x = torch.tensor(prediction, dtype=torch.float64, requires_grad=True)
    steps = torch.full((x.shape[0],), x.shape[1])
    lengths = torch.tensor((labels != 0).sum(-1))
    of_steps = x.log_softmax(-1).transpose(0, 1)
    values = torch.nn.functional.ctc_loss(of_steps, torch.tensor(labels), steps, lengths, reduction="none")
    values.sum().backward()
    assert x.grad is not None
    return values.detach().numpy(), x.grad.numpy()


def by_tensorflow(prediction: Array, labels: Array) -> tuple[Array, Array]:
    """TensorFlow's losses, which are float32, and the gradient of their sum."""
    x = tf.Variable(prediction.astype(np.float32))
    lengths, steps = (labels != 0).sum(-1).astype(np.int32), tf.fill([x.shape[0]], x.shape[1])
    with tf.GradientTape() as tape:
        values = tf.nn.ctc_loss(labels, x, lengths, steps, logits_time_major=False, blank_index=0)
    return values.numpy(), tape.gradient(values, x).numpy()


def measured(
    loss: CTC,
    backend: str,
    prediction: Array,
    labels: Array,
    weight: Array | None = None,
    mask: Array | None = None,
    dtype: str = "float64",
) -> tuple[Array, Array]:
    """The loss, and the gradient of the sum of what it gives for the prediction."""
    build = Builder()
    p, t = build.weight("prediction", prediction.shape), build.input("labels", (None, labels.shape[1]), "int")
    w = None if weight is None else build.input("weight", (None, *weight.shape[1:]))
    m = None if mask is None else build.input("mask", (None, *mask.shape[1:]), "bool")
    value = loss.total(build, t, p, w, m)
    total = Term(build, value).total().value
    program, engine = build.finish([value.name, total.name]), plugins.get(backend)
    step = engine.differentiate(program, choose(engine, program, dtype, training=True), total.name, ("prediction",))
    values = {"labels": labels, "weight": weight, "mask": mask}
    tensors = {name: engine.tensor(given) for name, given in values.items() if given is not None}
    with np.errstate(all="ignore"):
        outputs, _, gradients = step({"prediction": engine.tensor(prediction.astype(dtype))}, tensors)
    return engine.numpy(outputs[value.name]), engine.numpy(gradients["prediction"])


def far_off(given: Array, expected: Array, limit: float = 1e-12) -> bool:
    scale = max(float(np.abs(expected).max(initial=0)), 0.01)
    return given.shape != expected.shape or not np.abs(given - expected).max(initial=0) <= limit * scale


def wrong_by(given: Array, expected: Array) -> float:
    return float(np.abs(given - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [3, 4, 5])
def test_it_is_the_sum_over_all_spellings(steps: int, backend: str) -> None:
    x = logits(6, steps, 3)
    value, _ = measured(EACH, backend, x, LABELS)
    expected = brute(x, LABELS)
    assert np.isinf(expected).sum() == (steps == 3)  # two of the same, and another: 4 steps
    assert np.array_equal(np.isinf(value), np.isinf(expected))
    possible = np.isfinite(expected)
    assert not far_off(value[possible], expected[possible])


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_and_gradients_are_those_of_keras(backend: str) -> None:
    assert len(KERAS) == 24
    for case in KERAS:
        x, labels, weight = (ARRAYS.get(str(case[name])[1:]) for name in ("prediction", "target", "weight"))
        assert x is not None and labels is not None
        value, gradient = measured(CTC(reduction=case["reduction"]), backend, x, labels, weight)
        expected = ARRAYS[case["value"][1:]]
        if case["weights"] == "column" and case["reduction"] in (None, "none"):
            expected = expected[:, 0]  # Keras leaves the column's axis
        assert not far_off(value, expected, 2e-6), case
        assert not far_off(gradient, ARRAYS[case["gradient"][1:]], 1e-5), case


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps, count, classes", [(12, 5, 4), (30, 9, 7), (5, 1, 2)])
def test_values_and_gradients_are_those_of_torch_and_tensorflow(
    steps: int, count: int, classes: int, backend: str
) -> None:
    x = logits(7, steps, classes)
    labels = np.random.default_rng(count).integers(1, classes, (7, count)).astype(np.int32)
    for row in range(1, 7):
        labels[row, max(count - row, 0) :] = 0
    repeated = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)).any(-1)
    assert repeated.any() or count == 1
    value, gradient = measured(EACH, backend, x, labels)
    for (values, gradients), limit in ((by_torch(x, labels), 1e-12), (by_tensorflow(x, labels), 1e-5)):
        assert not far_off(value, values, limit)
        assert not far_off(gradient, gradients, limit)


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_all_are_equally_likely_the_gradient_is_right(backend: str) -> None:
    """Equal numbers, of which a maximum could take either."""
    x = np.zeros((6, 5, 3))
    value, gradient = measured(EACH, backend, x, LABELS)
    values, gradients = by_torch(x, LABELS)
    assert not far_off(value, values) and not far_off(gradient, gradients)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_those_of_differences(backend: str) -> None:
    x, mask = logits(6, 7, 3), np.random.default_rng(3).uniform(size=(6, 7)) < 0.75
    assert (mask.sum(-1) >= 4).all() and not mask.all()
    weight = np.array([1.0, 0.5, 2.0, 0.25, 1.5, 3.0])
    loss = CTC(reduction="mean_with_sample_weight")
    _, gradient = measured(loss, backend, x, LABELS, weight, mask)
    expected = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = 1e-5
        up, down = (measured(loss, "numpy", x + sign * moved, LABELS, weight, mask)[0] for sign in (1, -1))
        expected[place] = (up - down) / 2e-5
    assert wrong_by(gradient, expected) < 1e-8
    assert not gradient[~mask].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_float32_stays_exact_over_many_steps(scale: float, backend: str) -> None:
    """Measured: values 4e-7, gradients 3.4e-6 (TensorFlow's own 1.1e-5, torch's 3e-4), those of one label 5e-7."""
    x = logits(6, 100, 30, scale=scale).astype(np.float32)
    labels = np.random.default_rng(1).integers(1, 30, (6, 20)).astype(np.int32)
    labels[0, 1:], labels[1, 4] = 0, labels[1, 3]
    value, gradient = measured(EACH, backend, x, labels, dtype="float32")
    values, gradients = by_torch(x, labels)
    assert value.dtype == gradient.dtype == np.float32
    assert np.abs(value / values - 1).max() < 1e-6
    assert wrong_by(gradient, gradients) < 1e-5
    assert wrong_by(gradient[0], gradients[0]) < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_is_no_label_wherever_it_stands(backend: str) -> None:
    x = logits(3, 6, 4)
    packed = np.array([[1, 2, 3], [2, 2, 0], [3, 0, 0]], np.int32)
    torn = np.array([[0, 1, 0, 2, 3], [2, 0, 0, 0, 2], [0, 0, 0, 0, 3]], np.int32)
    for one, other in zip(measured(EACH, backend, x, torn), by_torch(x, packed), strict=True):
        assert not far_off(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_masked_steps_are_left_out_of_the_sequence(backend: str) -> None:
    x = logits(4, 7, 3)
    labels = np.array([[1, 1], [2, 0], [0, 0], [0, 0]], np.int32)
    mask = np.array([[1, 0, 1, 1, 0, 1, 0], [0, 0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0, 0], [0] * 7], bool)
    x[~mask] = np.nan
    value, gradient = measured(EACH, backend, x, labels, mask=mask)
    for row in range(4):
        kept = x[row, mask[row]][None]
        values, gradients = by_torch(kept, labels[row : row + 1]) if kept.size else (np.zeros(1), kept)
        assert not far_off(value[row : row + 1], values)
        assert not far_off(gradient[row, mask[row]][None], gradients)
    assert value[3] == 0  # no steps spell no labels, surely
    assert not gradient[~mask].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_be_spelled_is_infinite_and_trains_nothing(backend: str) -> None:
    x = logits(4, 4, 4)
    labels = np.array([[1, 1, 2, 2], [1, 2, 3, 1], [3, 3, 0, 0], [1, 0, 0, 0]], np.int32)
    x[3, :, 1] = -np.inf
    value, gradient = measured(EACH, backend, x, labels)
    values, gradients = by_torch(x, labels)
    assert np.array_equal(np.isinf(value), [True, False, False, True])
    assert not far_off(value[1:3], values[1:3]) and not far_off(gradient[1:3], gradients[1:3])
    assert not gradient[[0, 3]].any()
    total, shared = measured(CTC(), backend, x, labels)
    assert total == np.inf and not far_off(shared, gradient / 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_class_that_cannot_be_is_no_way_and_nan_passes_through(backend: str) -> None:
    x = logits(3, 5, 4)
    x[0, :, 3], x[1, 2, 0], x[2, 1, 1] = -np.inf, -np.inf, np.nan
    labels = np.array([[1, 2], [1, 1], [2, 3]], np.int32)
    value, gradient = measured(EACH, backend, x, labels)
    values, _ = by_torch(x, labels)
    assert not far_off(value[:2], values[:2])
    assert np.isfinite(gradient[:2]).all() and np.isnan(value[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_time_and_labels_may_be_open(backend: str) -> None:
    """Compiled once, for whatever lengths."""
    build = Builder()
    p, t, m = (
        build.input("p", (None, None, 4)),
        build.input("t", (None, None), "int"),
        build.input("m", (None, None), "bool"),
    )
    total = EACH.total(build, t, p, None, m)
    session = Session(build.finish([total.name]), plugins.get(backend), "float64")
    for samples, steps, count in ((3, 8, 3), (2, 5, 2), (4, 3, 1), (1, 1, 4)):
        x = logits(samples, steps, 4)
        labels = np.random.default_rng(count).integers(0, 4, (samples, count)).astype(np.int32)
        mask = np.arange(steps) < np.maximum(steps - np.arange(samples)[:, None], 1)
        ((value,), _) = session.run({"p": x, "t": labels, "m": mask})
        expected, _ = measured(EACH, "numpy", x, labels, mask=mask)
        assert np.array_equal(np.isinf(value), np.isinf(expected))
        assert not far_off(np.exp(-value), np.exp(-expected))


def _without_the_last_blank(used: Term) -> Term:
    return (used - used.apply(ops.Pad(1, 0, 1)).apply(ops.Slice(1, 1))).is_not(0)


def _at_the_full_length(used: Term) -> Term:
    ones = used * 0.0 + 1.0
    return (ones - ones.apply(ops.Pad(1, 0, 2)).apply(ops.Slice(1, 2))).is_not(0)


def _over_equal_labels(states: Term) -> Term:
    (blanks,) = states.build.op(ops.Slice(2, 0, 1), states.value)
    return Term(states.build, blanks).without_last() * ctc.NEVER


@pytest.mark.parametrize(
    "function, fault",
    [
        ("_ends", _without_the_last_blank),
        ("_ends", _at_the_full_length),
        ("_skips", _over_equal_labels),
        ("_skips", lambda states: states.sum() * 0.0),
        ("_packed", lambda labels, like, classes: labels.apply(ops.OneHot(classes), like)),
    ],
)
def test_planted_faults_are_seen(function: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives other numbers than the sum over all spellings."""
    x, labels = logits(6, 5, 3), LABELS.copy()
    labels[4] = [0, 2, 0]
    expected = brute(x, labels)
    assert not far_off(measured(EACH, "numpy", x, labels)[0], expected)
    monkeypatch.setattr(ctc, function, fault)
    assert far_off(measured(EACH, "numpy", x, labels)[0], expected, 1e-3)


@pytest.mark.parametrize(
    "target, kind, prediction, mask, message",
    [
        ((None, 4), "float", (None, 6, 5), None, "targets are float of shape .*expected int"),
        ((None,), "int", (None, 6, 5), None, r"expected int \(batch, labels\) and logits \(batch, time, classes\)"),
        ((None, 4, 5), "int", (None, 6, 5), None, "expected int"),
        ((None, 4), "int", (None, 5), None, r"predictions of shape \(None, 5\)"),
        ((None, 4), "int", (None, 6, None), None, "a known number of classes"),
        ((None, 4), "int", (None, 6, 1), None, "the blank and at least one label"),
        ((None, 4), "int", (None, 6, 5), (None, 4), r"a mask of shape \(None, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(target: Any, kind: Any, prediction: Any, mask: Any, message: str) -> None:
    build = Builder()
    t, p = build.input("t", target, kind), build.input("p", prediction)
    m = None if mask is None else build.input("m", mask, "bool")
    with pytest.raises(SpecError, match=message):
        CTC().total(build, t, p, mask=m)


def test_weights_are_those_of_the_samples() -> None:
    build = Builder()
    t, p, w = build.input("t", (None, 4), "int"), build.input("p", (None, 6, 5)), build.input("w", (None, 6))
    with pytest.raises(SpecError, match=r"weights of shape \(None, 6\) for losses of shape \(None,\)"):
        CTC().total(build, t, p, w)


# The words that the model below learns to spell: a label is heard for two steps, then there is silence.
WORDS = ([1, 2], [2, 2, 1], [3], [1, 3, 3], [2, 1], [3, 2, 3])


def sounds() -> tuple[Array, Array]:
    """(6, 9, 4) with steps of -1 after each word's end, and its labels (6, 3)."""
    x, labels = np.full((6, 9, 4), -1.0), np.zeros((6, 3), np.int32)
    for row, word in enumerate(WORDS):
        labels[row, : len(word)] = word
        for k, label in enumerate(word):
            x[row, 3 * k : 3 * k + 3] = np.eye(4)[[label, label, 0]]
    return x + 0.05 * np.random.default_rng(4).normal(size=x.shape) * (x != -1), labels


def learned(backend: str, optimizer: Any, epochs: int) -> tuple[Sequential, list[float]]:
    lc.set_random_seed(2)
    x, labels = sounds()
    model = Sequential([Input((None, 4)), Masking(-1.0), LSTM(12, return_sequences=True), Dense(4)])
    model.compile(optimizer, "ctc")
    return model, model.fit(x, labels, batch_size=3, epochs=epochs, verbose=0, backend=backend).history["loss"]


def test_a_small_model_learns_to_spell() -> None:
    model, loss = learned("numpy", lc.optimizers.Adam(0.03), 60)
    assert loss[0] > 3 and loss[-1] < 0.2
    x, _ = sounds()
    best = model.predict(x).argmax(-1)
    heard = [row[: 3 * len(word)] for row, word in zip(best, WORDS, strict=True)]
    assert [list(read(tuple(int(c) for c in row))) for row in heard] == [list(word) for word in WORDS]


def test_training_is_the_same_on_every_engine() -> None:
    runs = {backend: learned(backend, lc.optimizers.SGD(0.05, momentum=0.9), 6)[1] for backend in BACKENDS}
    assert runs["numpy"][-1] < 0.8 * runs["numpy"][0]
    for loss in runs.values():
        assert loss == pytest.approx(runs["numpy"], rel=1e-5)


def small(*last: Any) -> Sequential:
    model = Sequential([Input((6,)), Embedding(9, 4), LSTM(5, return_sequences=True), *last])
    model.compile("sgd", "ctc")
    return model


def test_labels_that_are_no_classes_are_refused() -> None:
    x = np.ones((2, 6), np.int32)
    for label in (4, -1):
        with pytest.raises(InputError, match=f"holds the class {label}; the output has classes 0 to 3"):
            small(Dense(4)).fit(x, np.array([[1, 2], [3, label]]), verbose=0)
    with pytest.raises(SpecError, match="expected int"):
        small(Dense(4)).fit(x, np.array([1, 2]), verbose=0)


def test_what_a_softmax_made_is_doubted() -> None:
    with pytest.warns(UserWarning, match="CTC takes logits, and a softmax made the predictions"):
        small(Dense(4, activation="softmax")).evaluate(np.ones((2, 6), np.int32), np.array([[1], [2]]), verbose=0)


def test_it_is_found_by_name() -> None:
    assert losses.get("ctc") == losses.get("CTC") == losses.get(losses.serialize(CTC())) == CTC()
    assert CTC().name == "ctc"
