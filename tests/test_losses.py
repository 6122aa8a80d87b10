"""The losses and penalties on every engine: Keras' values and gradients, what differs on purpose, configs, refusals."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from lstmcore import losses, ops, plugins, regularizers
from lstmcore.activations import function
from lstmcore.contract import choose
from lstmcore.errors import SpecError
from lstmcore.formulas import Term
from lstmcore.losses import LOSSES, Loss
from lstmcore.program import Builder, Program, Value
from lstmcore.runtime.session import Session

Array = NDArray[Any]
GOLDENS = Path(__file__).parent / "goldens"
KERAS = json.loads((GOLDENS / "losses.json").read_text(encoding="utf-8"))["cases"]
ARRAYS = load_file(GOLDENS / "losses.safetensors")
CLASSES = sorted({cls.__name__ for cls in LOSSES.values()} - {"CTC"})  # see test_ctc.py
BACKENDS = ("numpy", "torch", "tensorflow")
MAKERS = {"BinaryCrossentropy": "sigmoid", "CategoricalCrossentropy": "softmax"}
MAKERS["SparseCategoricalCrossentropy"] = "softmax"


def array(name: str | None) -> Array | None:
    return None if name is None else ARRAYS[name[1:]]


def entered(build: Builder, name: str, given: Array | None) -> Value | None:
    kinds: dict[str, ops.Kind] = {"f": "float", "i": "int", "b": "bool"}
    return None if given is None else build.input(name, (None, *given.shape[1:]), kinds[given.dtype.kind])


def differentiated(program: Program, backend: str, weights: Mapping[str, Array], values: Mapping[str, Any]) -> Any:
    """(the first output, the gradient of the sum of the second for the weight)."""
    engine = plugins.get(backend)
    step = engine.differentiate(program, choose(engine, program, "float64"), program.outputs[1], tuple(weights))
    tensors = {name: engine.tensor(given) for name, given in values.items() if given is not None}
    with np.errstate(all="ignore"):
        outputs, _, gradients = step({name: engine.tensor(w) for name, w in weights.items()}, tensors)
    return engine.numpy(outputs[program.outputs[0]]), engine.numpy(gradients["prediction"])


def measured(
    loss: Loss,
    backend: str,
    prediction: Array,
    target: Array,
    weight: Array | None = None,
    mask: Array | None = None,
    made_by: str | None = None,
) -> tuple[Array, Array]:
    """The loss and its gradient, where the prediction, or what ``made_by`` makes it of, is a weight."""
    build = Builder()
    p = build.weight("prediction", prediction.shape)
    if made_by is not None:
        (p,) = build.op(ops.Activate(function(made_by)), p, name="made")
    t, w, m = (entered(build, name, one) for name, one in (("target", target), ("weight", weight), ("mask", mask)))
    assert t is not None
    total = loss.total(build, t, p, w, m)
    program = build.finish([total.name, Term(build, total).total().value.name])
    values = {"target": target, "weight": weight, "mask": mask}
    value, gradient = differentiated(program, backend, {"prediction": prediction}, values)
    return value, gradient


def far_off(given: Array, expected: Array, limit: float = 1e-12) -> bool:
    scale = max(float(np.abs(expected).max(initial=0)), 0.01)
    return given.shape != expected.shape or not np.abs(given - expected).max(initial=0) <= limit * scale


def keras_value(case: dict[str, Any]) -> Array:
    """What Keras gave; where weights are a column and nothing is reduced, without the axis that Keras leaves."""
    value, flat = ARRAYS[case["value"][1:]], ARRAYS[case["prediction"][1:]].ndim == 2
    leaves_axis = case["reduction"] in (None, "none") and case["weights"] == "column" and flat
    return value[:, 0] if leaves_axis else value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", CLASSES)
def test_values_and_gradients_are_those_of_keras(kind: str, backend: str) -> None:
    cases = [case for case in KERAS["losses"] if case["class"] == kind]
    wrong = []
    for case in cases:
        about = {key: case[key] for key in ("options", "reduction", "weights", "pattern", "prediction")}
        loss = LOSSES[kind](**case["options"], reduction=case["reduction"])
        given = [array(case[name]) for name in ("prediction", "target", "weight", "mask")]
        value, gradient = measured(loss, backend, *given)  # type: ignore[arg-type]
        limit = 1e-7 if kind == "LogCosh" else 1e-12  # Keras rounds log 2 to float32
        if far_off(value, keras_value(case), limit) or far_off(gradient, ARRAYS[case["gradient"][1:]]):
            wrong.append(about)
    assert len(cases) >= 3
    assert wrong == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", MAKERS)
def test_crossentropies_go_back_to_the_logits(kind: str, backend: str) -> None:
    """Of what a softmax or a sigmoid made, the loss and the gradient are those from its logits, however sure."""
    cases = [case for case in KERAS["losses"] if case["class"] == kind and case["options"].get("from_logits")]
    assert any(np.abs(ARRAYS[case["prediction"][1:]]).max() > 30 for case in cases)
    for case in cases:
        options = {**case["options"], "from_logits": False, "reduction": case["reduction"]}
        given = [array(case[name]) for name in ("prediction", "target", "weight", "mask")]
        value, gradient = measured(LOSSES[kind](**options), backend, *given, made_by=MAKERS[kind])  # type: ignore[misc, arg-type]
        assert not far_off(value, keras_value(case)), case
        assert not far_off(gradient, ARRAYS[case["gradient"][1:]]), case


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("logit", [0.0, 40.0, -40.0, 800.0, -800.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_crossentropy_is_exact_however_sure_the_prediction(target: float, logit: float, backend: str) -> None:
    loss = losses.BinaryCrossentropy()
    value, gradient = measured(loss, backend, np.array([[logit]]), np.array([[target]]), made_by="sigmoid")
    wrong_by = -logit if target else logit
    assert value == pytest.approx(np.logaddexp(0, wrong_by), rel=1e-12)
    with np.errstate(over="ignore"):
        share = 1 / (1 + np.exp(-wrong_by))
    assert gradient == pytest.approx((1 - 2 * target) * share, rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_differs_from_keras_on_purpose(backend: str) -> None:
    zeros, ones = np.zeros((2, 3)), np.ones((2, 3))
    value, gradient = measured(losses.CosineSimilarity(), backend, zeros, ones)
    assert value == 0 and np.isfinite(gradient).all() and (gradient < 0).all()  # Keras on TensorFlow: NaN
    x, y = np.array([[1.0, 2.0], [3.0, 5.0]]), np.zeros((2, 2))
    by_sample = measured(losses.MeanSquaredError(), backend, x[..., None], y[..., None], np.array([1.0, 0.0]))
    assert by_sample[0] == pytest.approx((1 + 4) / 4)  # Keras takes the weights for those of the steps
    mean = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    assert measured(mean, backend, x[..., None], y[..., None], np.array([1.0, 3.0]))[0] == pytest.approx(
        (2.5 + 3 * 17) / 4
    )
    mask = np.array([[True, False], [True, True]])
    assert measured(losses.MeanSquaredError(), backend, x[..., None], y, mask=mask)[0] == pytest.approx(
        (1 + 9 + 25) / 3
    )
    flat = measured(losses.MeanSquaredError(), backend, x[:, 0], y[:, 0], np.array([1.0, 0.0]))
    assert flat[0] == pytest.approx(1 / 2)  # Keras: the mean of both, times each weight
    shares, ids = np.array([[0.5, 2.0, 1.5]]), np.array([1], np.int32)
    sparse = measured(losses.SparseCategoricalCrossentropy(), backend, shares, ids)
    whole = measured(losses.CategoricalCrossentropy(), backend, shares, np.eye(3)[ids])
    assert sparse[0] == whole[0] == pytest.approx(np.log(2))  # Keras on TensorFlow clips before it divides by the sum
    assert np.array_equal(sparse[1], whole[1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("odd, expected", [(0.0, (1.5 + 0.5 + 1.25) / 3), (-1.0, (1.0 + 0.5 + 1.25) / 3)])
def test_a_single_other_target_leaves_all_as_they_are(odd: float, expected: float, backend: str) -> None:
    """Hinge: 0 and 1 become -1 and 1 where there is nothing else in the whole batch (Keras 3.15)."""
    predictions, targets = np.array([[0.5], [0.5], [0.25]]), np.array([[0.0], [1.0], [odd]])
    assert measured(losses.Hinge(), backend, predictions, targets)[0] == pytest.approx(expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_masked_has_no_influence_not_even_nan(backend: str) -> None:
    prediction, mask = np.array([[1.0], [np.nan], [3.0]]), np.array([True, False, True])
    value, gradient = measured(losses.MeanSquaredError(), backend, prediction, np.zeros((3, 1)), mask=mask)
    assert value == 5
    assert np.array_equal(gradient[[0, 2], 0], [1, 3])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", CLASSES)
def test_batches_and_steps_may_be_open(kind: str, backend: str) -> None:
    """Compiled once, with whatever lengths; float32; prediction, target, weights and mask are inputs."""
    build = Builder()
    loss = LOSSES[kind]()
    p = build.input("p", (None, None, None if kind in ("MeanSquaredError", "Hinge") else 3))
    t = build.input("t", (None, None) if loss.targets == "int" else (None, None, 3), loss.targets)
    w, m = build.input("w", (None, None)), build.input("m", (None, None), "bool")
    program = build.finish([loss.total(build, t, p, w, m).name])
    session = Session(program, plugins.get(backend), "float32")
    for steps in (4, 2):
        random = np.random.default_rng(steps)
        given = {
            "p": random.uniform(0.25, 0.75, (5, steps, 3)).astype(np.float32),
            "t": random.integers(0, 2, (5, steps)).astype(np.int32)
            if loss.targets == "int"
            else np.eye(3, dtype=np.float32)[random.integers(0, 3, (5, steps))],
            "w": random.uniform(0, 2, (5, steps)).astype(np.float32),
            "m": random.uniform(size=(5, steps)) < 0.5,
        }
        ((value,), _) = session.run(given)
        exact = {name: one.astype(np.float64) if one.dtype.kind == "f" else one for name, one in given.items()}
        expected, _ = measured(loss, "numpy", exact["p"], exact["t"], exact["w"], exact["m"])
        assert value.dtype == np.float32
        assert value == pytest.approx(expected, rel=2e-6)


def test_logits_are_found_behind_what_moves_numbers() -> None:
    build = Builder()
    x = build.input("x", (None, 4, 3))
    (rows,) = build.op(ops.Fold(), x)
    (made,) = build.op(ops.Activate(function("softmax")), rows)
    (back,) = build.op(ops.Unfold(), made, x)
    (last,) = build.op(ops.Last(), back)
    found = losses.logits_of(build, last, "softmax")
    assert found is not None and found.shape == (None, 3)
    assert [type(node.op).__name__ for node in build.nodes[-2:]] == ["Unfold", "Last"]
    (turned,) = build.op(ops.Transpose((0, 2, 1)), back)
    assert losses.logits_of(build, turned, "softmax") is None
    (again,) = build.op(ops.Transpose((0, 2, 1)), turned)
    assert losses.logits_of(build, again, "softmax") is None
    assert losses.logits_of(build, last, "sigmoid") is None
    assert losses.logits_of(build, x, "softmax") is None
    (other,) = build.op(ops.Activate(function("softmax", axis=1)), x)
    assert losses.logits_of(build, other, "softmax") is None


def test_a_softmax_may_be_reshaped_where_its_classes_stay_together() -> None:
    build = Builder()
    (made,) = build.op(ops.Activate(function("softmax")), build.input("x", (None, 4, 3)))
    (whole,) = build.op(ops.Reshape((2, 2, 3)), made)
    found = losses.logits_of(build, whole, "softmax")
    assert found is not None and found.shape == (None, 2, 2, 3)
    (torn,) = build.op(ops.Reshape((6, 2)), made)
    assert losses.logits_of(build, torn, "softmax") is None


def test_a_sigmoid_may_be_moved_anyhow() -> None:
    build = Builder()
    x = build.input("x", (None, 4, 3))
    (made,) = build.op(ops.Activate(function("sigmoid")), x)
    (turned,) = build.op(ops.Transpose((0, 2, 1)), made)
    (cut,) = build.op(ops.Slice(2, 0, 2), turned)
    found = losses.logits_of(build, cut, "sigmoid")
    assert found is not None and found.shape == cut.shape


@pytest.mark.parametrize("kind, options, config", KERAS["configs"])
def test_configs_are_those_of_keras(kind: str, options: dict[str, Any], config: dict[str, Any]) -> None:
    loss = LOSSES[kind](**options)
    written = losses.serialize(loss)
    assert written is not None
    added = {key: value for key, value in written["config"].items() if key not in config["config"]}
    assert set(added) <= {"delta"}  # which Keras loses
    assert {**written, "config": {**written["config"], **config["config"]}} == written
    assert losses.get(written) == loss
    assert losses.get(json.loads(json.dumps(config))) == (loss if not added else LOSSES[kind]())


@pytest.mark.parametrize("name, found", KERAS["names"].items())
def test_names_are_those_of_keras(name: str, found: str) -> None:
    loss = losses.get(name)
    assert type(loss) is LOSSES[found]
    assert losses.get({"module": "builtins", "class_name": "function", "config": name}) == loss


def test_there_is_no_name_more_than_keras_has() -> None:
    assert set(LOSSES) == set(KERAS["names"])


def test_get_takes_objects_classes_and_none() -> None:
    loss = losses.Huber(0.5)
    assert losses.get(loss) is loss
    assert losses.get(losses.LogCosh) == losses.LogCosh()
    assert losses.get(None) is None
    assert losses.serialize(None) is None


@pytest.mark.parametrize(
    "target, prediction, found",
    [
        ((None, 1), (None, 1), losses.BinaryCrossentropy),
        ((None,), (None, 4), losses.SparseCategoricalCrossentropy),
        ((None, 1), (None, 4), losses.SparseCategoricalCrossentropy),
        ((None, 7), (None, 7, 4), losses.SparseCategoricalCrossentropy),
        ((None, 4), (None, 4), losses.CategoricalCrossentropy),
    ],
)
def test_crossentropy_is_the_one_that_fits_the_shapes(target: Any, prediction: Any, found: type[Loss]) -> None:
    assert losses.resolve("crossentropy", target, prediction) == found()
    assert losses.resolve("CE", target, prediction) == found()
    assert losses.resolve("mse", target, prediction) == losses.MeanSquaredError()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.get("mze"), "Did you mean 'mse'"),
        (lambda: losses.get("dice"), "Unknown loss 'dice'"),
        (lambda: losses.get(lambda t, p: p), "code cannot travel between engines"),
        (lambda: losses.get(3), "is no loss"),
        (lambda: losses.Huber(delta=-1), "Huber: delta is -1; expected a number of at least 0"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=2), "label_smoothing is 2; expected .* at most 1"),
        (lambda: losses.BinaryCrossentropy(from_logits=1), "from_logits is 1; expected True or False"),  # type: ignore[arg-type]
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=0.5), "ignore_class is 0.5"),  # type: ignore[arg-type]
        (lambda: losses.LogCosh(reduction="average"), "unknown reduction 'average'.*Known: mean"),
        (lambda: losses.LogCosh(dtype="float16"), "computed in the dtype of its model"),
        (lambda: losses.LogCosh(name=""), "name is ''"),
    ],
)
def test_wrong_options_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


@pytest.mark.parametrize(
    "loss, target, prediction, message",
    [
        (losses.MeanSquaredError(), (None, 4), (None, 3), r"targets of shape \(None, 4\) do not fit predictions"),
        (losses.MeanSquaredError(), (None, 1), (None, 3), "expected the same shape"),
        (losses.SparseCategoricalCrossentropy(), (None, 4), (None, 4), "One-hot targets go with CategoricalCross"),
        (losses.SparseCategoricalCrossentropy(), (None,), (None, None), "a known number of classes"),
        (losses.CategoricalCrossentropy(axis=1), (None, 5, 4), (None, 5, 4), "axis is 1; expected -1"),
        (losses.CosineSimilarity(axis=0), (None, 4), (None, 4), "axis is 0; expected -1"),
    ],
)
def test_what_does_not_fit_is_refused(loss: Loss, target: Any, prediction: Any, message: str) -> None:
    build = Builder()
    t, p = build.input("t", target, loss.targets), build.input("p", prediction)
    with pytest.raises(SpecError, match=message):
        loss.total(build, t, p)


def test_targets_that_number_classes_are_int() -> None:
    build = Builder()
    t, p = build.input("t", (None,)), build.input("p", (None, 3))
    with pytest.raises(SpecError, match="targets are float; expected int"):
        losses.SparseCategoricalCrossentropy().lower(build, t, p)


@pytest.mark.parametrize("what, shape", [("weights", (None, 7)), ("a mask", (None, 7)), ("a mask", (None,))])
def test_weights_and_masks_fit_the_losses(what: str, shape: Any) -> None:
    build = Builder()
    values = build.input("values", (None, 6))
    other = build.input("other", shape, "bool" if what == "a mask" else "float")
    given = (other, None) if what == "weights" else (None, other)
    with pytest.raises(SpecError, match=f"{what} of shape .* for losses of shape"):
        losses.reduce(build, values, *given)


@pytest.mark.parametrize(
    "loss, made_by, message",
    [
        (
            losses.BinaryCrossentropy(),
            None,
            "a layer without activation made the predictions: end the model",
        ),
        (losses.CategoricalCrossentropy(), "relu", "a relu made the predictions: end the model with a softmax"),
        (
            losses.CategoricalCrossentropy(from_logits=True),
            "softmax",
            "a softmax made the predictions",
        ),
        (losses.CategoricalCrossentropy(), "softmax", None),
        (losses.BinaryCrossentropy(from_logits=True), None, None),
        (losses.MeanSquaredError(), "relu", None),
    ],
)
def test_doubts(loss: Loss, made_by: str | None, message: str | None) -> None:
    build = Builder()
    with build.scope("dense"):
        (p,) = build.op(ops.Affine(3), build.input("x", (None, 5)))
    if made_by:
        (p,) = build.op(ops.Activate(function(made_by)), p)
    doubts = loss.doubts(build, p)
    assert len(doubts) == (message is not None)
    assert message is None or message in doubts[0]


def test_one_class_is_doubted() -> None:
    build = Builder()
    (p,) = build.op(ops.Activate(function("softmax")), build.input("x", (None, 1)))
    assert "there is one class" in losses.CategoricalCrossentropy().doubts(build, p)[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_penalties_are_those_of_keras(backend: str) -> None:
    for case in KERAS["penalties"]:
        x = ARRAYS[case["x"][1:]]
        build = Builder()
        weight = build.weight("prediction", x.shape)
        regularizer = regularizers.get(regularizers.REGULARIZERS[case["class"]](**case["options"]))
        assert regularizer is not None
        total = regularizer.lower(build, weight)
        assert total.shape == ()
        program = build.finish([total.name, Term(build, total).total().value.name])
        value, gradient = differentiated(program, backend, {"prediction": x}, {})
        assert not far_off(value, ARRAYS[case["value"][1:]]), case
        assert not far_off(gradient, ARRAYS[case["gradient"][1:]]), case


def test_penalties_of_what_is_no_matrix_are_refused() -> None:
    build = Builder()
    with pytest.raises(SpecError, match="expected a matrix"):
        regularizers.OrthogonalRegularizer().lower(build, build.weight("w", (3, 4, 5)))
    with pytest.raises(SpecError, match="must be a known number"):
        regularizers.OrthogonalRegularizer().lower(build, build.input("x", (None, 5)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_activity_may_be_open(backend: str) -> None:
    build = Builder()
    x = build.input("x", (None, None, 3))
    program = build.finish([regularizers.L1L2(0.5, 0.25).lower(build, x).name])
    given = np.arange(24, dtype=np.float32).reshape(2, 4, 3) - 9
    with warnings.catch_warnings():
        ((value,), _) = Session(program, plugins.get(backend), "float32").run({"x": given})
    assert value == pytest.approx(np.abs(given).sum() / 2 + np.square(given).sum() / 4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ids_outside_are_zeros_alone(backend: str, dtype: str) -> None:
    build = Builder()
    ids, like = build.input("ids", (None, 5), "int"), build.input("like", (None,))
    (y,) = build.op(ops.OneHot(3), ids, like)
    assert y == Value((None, 5, 3), "float", y.name)
    given = np.array([[0, -1, 2, 3, 1], [1, 2**31 - 1, -(2**31), 0, 2]], np.int32)
    program = build.finish([y.name])
    ((found,), _) = Session(program, plugins.get(backend), dtype).run({"ids": given, "like": np.zeros(2, dtype)})
    assert found.dtype == dtype
    assert np.array_equal(found, given[..., None] == np.arange(3))


@pytest.mark.parametrize(
    "op, given, message",
    [
        (lambda: ops.OneHot(0), (), "depth is 0; expected 1 or more"),
        (lambda: ops.Total("max"), (), "unknown function 'max'"),
        (lambda: ops.OneHot(3), (ops.Tensor((None,)), ops.Tensor((None,))), "input 'x' holds float; expected int"),
        (lambda: ops.OneHot(3), (ops.Tensor((None,), "int"), ops.Tensor((None,), "int")), "input 'like' holds int"),
        (lambda: ops.Total(), (ops.Tensor((None,), "bool"),), "input 'x' holds bool; expected float"),
    ],
)
def test_wrong_uses_of_the_ops_are_refused(op: Any, given: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        op().infer(*given)
