"""The metrics: Keras' numbers after each batch, states, names, configs, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from lstmcore import metrics
from lstmcore.errors import InputError, SpecError
from lstmcore.metrics import AUC, METRICS, Mean, Metric, Precision

GOLDENS = Path(__file__).parent / "goldens"
KERAS = json.loads((GOLDENS / "metrics.json").read_text(encoding="utf-8"))["cases"]
ARRAYS = load_file(GOLDENS / "metrics.safetensors")
CLASSES = sorted({cls.__name__ for cls in METRICS.values()} - {"Mean", "Sum"})


LIMIT = {"LogCoshError": 1e-7}  # Keras rounds log 2 to float32


def last(case: dict[str, Any]) -> NDArray[Any]:
    return ARRAYS[case["results"][-1][1:]]


def array(name: str | None) -> NDArray[Any] | None:
    return None if name is None else ARRAYS[name[1:]]


def batch(given: dict[str, str | None], dtype: str = "float64") -> tuple[Any, ...]:
    found = [array(given[name]) for name in ("target", "prediction", "weight", "mask")]
    return tuple(one.astype(dtype) if one is not None and one.dtype == np.float64 else one for one in found)


@pytest.mark.parametrize("kind", CLASSES)
def test_results_after_each_batch_are_those_of_keras(kind: str) -> None:
    cases = [case for case in KERAS["metrics"] if case["class"] == kind]
    assert cases
    for case in cases:
        metric = METRICS[kind](**case["options"])
        for given, expected in zip(case["batches"], case["results"], strict=True):
            metric.update(*batch(given))
            assert metric.result() == pytest.approx(ARRAYS[expected[1:]], rel=LIMIT.get(kind, 1e-12), abs=1e-14), case


@pytest.mark.parametrize("kind", CLASSES)
def test_a_state_goes_on_elsewhere(kind: str) -> None:
    for case in (case for case in KERAS["metrics"] if case["class"] == kind):
        first, second = (METRICS[kind](**case["options"]) for _ in range(2))
        first.update(*batch(case["batches"][0]))
        state = first.state
        assert all(array.dtype == np.float64 for array in state.values())
        second.state = state
        for name in state:
            state[name] += 1  # a copy
        for given in case["batches"][1:]:
            second.update(*batch(given))
        assert second.result() == pytest.approx(last(case), rel=LIMIT.get(kind, 1e-12), abs=1e-14)
        second.reset()
        assert all(not array.any() for array in second.state.values())
        for given in case["batches"]:
            second.update(*batch(given))
        assert second.result() == pytest.approx(last(case), rel=LIMIT.get(kind, 1e-12), abs=1e-14)


@pytest.mark.parametrize("kind", CLASSES)
def test_one_batch_of_all_gives_the_same(kind: str) -> None:
    """A last batch that is smaller counts by its size."""
    case = next(case for case in KERAS["metrics"] if case["class"] == kind)
    metric = METRICS[kind](**case["options"])
    parts = [batch(given) for given in case["batches"]]
    metric.update(*(np.concatenate([part[k] for part in parts]) for k in (0, 1)))
    assert metric.result() == pytest.approx(last(case), rel=LIMIT.get(kind, 1e-12))


@pytest.mark.parametrize("kind", CLASSES)
def test_float32_predictions_are_summed_in_float64(kind: str) -> None:
    case = next(case for case in KERAS["metrics"] if case["class"] == kind)
    metric = METRICS[kind](**case["options"])
    for given in case["batches"]:
        metric.update(*batch(given, "float32"))
    assert metric.result() == pytest.approx(last(case), rel=1e-5, abs=1e-6)


def test_many_small_numbers_are_not_lost() -> None:
    metric = Mean()
    metric.update(np.float32(2.0**25))
    for _ in range(8):
        metric.update(np.float32(1.0))
    assert metric.result() == (2.0**25 + 8) / 9


@pytest.mark.parametrize("kind, options, config", KERAS["configs"])
def test_configs_are_those_of_keras(kind: str, options: dict[str, Any], config: dict[str, Any]) -> None:
    metric = METRICS[kind](**options)
    assert metrics.serialize(metric) == config
    again = metrics.get(json.loads(json.dumps(config)))
    assert type(again) is type(metric) and metrics.serialize(again) == config


@pytest.mark.parametrize("name, found", KERAS["names"].items())
def test_names_are_those_of_keras(name: str, found: str) -> None:
    assert type(metrics.get(name)) is METRICS[found]
    assert type(metrics.get({"module": "builtins", "class_name": "function", "config": name})) is METRICS[found]


def test_there_is_no_name_more_than_keras_has() -> None:
    assert set(METRICS) == set(KERAS["names"])


def test_get_takes_objects_classes_functions_and_none() -> None:
    metric = Precision()
    assert metrics.get(metric) is metric
    assert type(metrics.get(Precision)) is Precision
    assert metrics.get(None) is None and metrics.serialize(None) is None

    def over(y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return (y_pred > y_true).astype(np.float32)

    own = metrics.get(over)
    assert own is not None and own.name == "over"
    own.update([[0.0], [1.0], [0.0]], [[1.0], [0.5], [2.0]])
    own.update([[0.0]], [[1.0]], [3.0])
    assert own.result() == 5 / 6
    with pytest.raises(SpecError, match="is code, which a config cannot hold"):
        metrics.serialize(own)
    nameless = metrics.get(lambda y_true, y_pred: 0.5)
    assert nameless is not None and nameless.name == "lambda"


@pytest.mark.parametrize(
    "target, prediction, found",
    [
        ((None, 1), (None, 1), metrics.BinaryAccuracy),
        ((None,), (None, 1), metrics.BinaryAccuracy),
        ((None,), (None, 4), metrics.SparseCategoricalAccuracy),
        ((None, 1), (None, 4), metrics.SparseCategoricalAccuracy),
        ((None, 7, 1), (None, 7, 4), metrics.SparseCategoricalAccuracy),
        ((None, 4), (None, 4), metrics.CategoricalAccuracy),
    ],
)
@pytest.mark.parametrize("name", ["accuracy", "acc", "Accuracy"])
def test_accuracy_is_the_one_that_fits_the_shapes(name: str, target: Any, prediction: Any, found: type[Metric]) -> None:
    metric = metrics.resolve(name, target, prediction)
    assert type(metric) is found and metric.name == name


def test_a_metric_given_by_name_is_called_so() -> None:
    assert metrics.resolve("mse", (None, 1), (None, 1)).name == "mse"
    assert metrics.resolve("AUC", (None, 1), (None, 1)).name == "AUC"
    assert metrics.resolve(metrics.AUC(name="area"), (None, 1), (None, 1)).name == "area"
    assert metrics.resolve(metrics.MeanSquaredError, (None, 1), (None, 1)).name == "mean_squared_error"


def test_masks_leave_steps_out_of_every_metric() -> None:
    """Keras 3.15 takes no notice of a mask in these."""
    random = np.random.default_rng(3)
    t, p = (random.uniform(size=(4, 6, 1)) < 0.5).astype(float), random.uniform(size=(4, 6, 1))
    mask = random.uniform(size=(4, 6)) < 0.6
    for kind in ("RootMeanSquaredError", "Precision", "Recall", "AUC"):
        masked, cut = METRICS[kind](), METRICS[kind]()
        masked.update(t, p, mask=mask)
        cut.update(t[mask], p[mask])
        assert masked.result() == pytest.approx(cut.result(), rel=1e-12)
        weighted = METRICS[kind]()
        weighted.update(t, p, mask)
        assert weighted.result() == pytest.approx(cut.result(), rel=1e-12)


def test_weights_of_samples_go_with_masks() -> None:
    metric = metrics.MeanSquaredError()
    p, mask = np.array([[[1.0], [2.0]], [[3.0], [5.0]]]), np.array([[True, False], [True, True]])
    metric.update(np.zeros((2, 2, 1)), p, [1.0, 0.5], mask)
    assert metric.result() == pytest.approx((1 + 0.5 * (9 + 25)) / (1 + 0.5 * 2))


def test_ignored_classes_do_not_count_without_weights_either() -> None:
    ignoring, cut = metrics.SparseCategoricalCrossentropy(ignore_class=-1), metrics.SparseCategoricalCrossentropy()
    p = np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]])
    ignoring.update([0, -1, 1], p)
    cut.update([0, 1], p[[0, 2]])
    assert ignoring.result() == cut.result()


def test_what_is_masked_may_be_nan() -> None:
    metric = metrics.MeanSquaredError()
    metric.update([[1.0], [0.0]], [[3.0], [np.nan]], mask=[True, False])
    assert metric.result() == 4
    metric.update([[1.0]], [[np.nan]])
    assert np.isnan(metric.result())


def test_nan_is_above_no_threshold() -> None:
    metric = metrics.FalseNegatives(thresholds=[0.0, 0.5, 1.0])
    metric.update([1.0, 1.0], [np.nan, 0.7])
    assert metric.result() == pytest.approx([1, 1, 2])


def test_of_nothing_a_mean_is_zero() -> None:
    assert [METRICS[kind]().result() for kind in ("Mean", "AUC", "MeanSquaredError", "Precision")] == [0, 0, 0, 0]
    assert AUC(multi_label=True).result() == 0


def test_numbers_and_sums() -> None:
    mean, total = Mean(), metrics.Sum()
    mean.update(2.0, 3)  # as a trainer's loss of a batch of 3
    mean.update(4.0, 1)
    assert mean.result() == 2.5
    total.update([1.0, 2.0], [1.0, 0.5])
    total.update([[1.0, 2.0]])
    assert total.result() == 5


def test_directions_are_told() -> None:
    assert metrics.BinaryAccuracy.direction == AUC.direction == "up"
    assert metrics.MeanSquaredError.direction == metrics.RootMeanSquaredError.direction == "down"
    assert Mean.direction is None


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: metrics.get("acuracy"), "Did you mean 'accuracy'"),
        (lambda: metrics.get("f1_score"), "Unknown metric 'f1_score'"),
        (lambda: metrics.get(3), "is no metric; expected a name"),
        (lambda: metrics.get({"class_name": "AUC", "config": {"curv": "PR"}}), "unknown config key 'curv'.*'curve'"),
        (lambda: metrics.resolve(None, (None,), (None, 1)), "a metric is None"),
        (lambda: Precision(thresholds=[0.5, 2]), r"thresholds is \[0.5, 2\]; expected numbers in \[0, 1\]"),
        (lambda: Precision(top_k=1.5), "top_k is 1.5; expected an integer or None"),  # type: ignore[arg-type]
        (lambda: AUC(num_thresholds=1), "num_thresholds is 1; expected an integer of 2 or more"),
        (lambda: AUC(curve="PQ"), "unknown curve 'PQ'"),
        (lambda: AUC(num_labels=3), "num_labels is 3; expected None without multi_label"),
        (lambda: metrics.TopKCategoricalAccuracy(0), "k is 0; expected a positive integer"),
        (lambda: metrics.CosineSimilarity(axis=1), "axis is 1; expected -1"),
        (lambda: metrics.BinaryAccuracy(threshold="a"), "threshold is 'a'; expected a number"),  # type: ignore[arg-type]
        (lambda: Mean(name=3), "name is 3; expected a string"),  # type: ignore[arg-type]
    ],
)
def test_wrong_options_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


@pytest.mark.parametrize(
    "metric, given, message",
    [
        (metrics.MeanSquaredError(), (np.ones((2, 1)), np.ones((2, 3))), "expected the same shape"),
        (metrics.SparseCategoricalAccuracy(), (np.ones((2, 3)), np.ones((2, 3))), "an integer for each row of classes"),
        (metrics.SparseCategoricalCrossentropy(), ([3], np.ones((1, 3))), "from 3 to 3; expected 0 to 2"),
        (metrics.MeanSquaredError(), (np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), "weights of shape"),
        (Precision(), (np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), r"weights of shape \(3,\) for predictions"),
        (Precision(class_id=3), (np.ones((2, 3)), np.ones((2, 3))), "have no class 3"),
        (Precision(top_k=4), (np.ones((2, 3)), np.ones((2, 3))), "top_k is 4; .* have 3 classes"),
        (AUC(multi_label=True), (np.ones(2), np.ones(2)), r"expected \(batch, labels\)"),
        (AUC(label_weights=[1.0]), (np.ones((2, 3)), np.ones((2, 3))), "1 label_weights for predictions"),
        (Mean(), (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 4))), "do not fit a mask"),
    ],
)
def test_what_does_not_fit_is_refused(metric: Metric, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metric.update(*given)


def test_a_state_of_another_metric_is_refused() -> None:
    with pytest.raises(InputError, match=r"the state given has shapes .*; expected"):
        Precision().state = Mean().state
