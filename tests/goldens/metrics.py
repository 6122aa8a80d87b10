"""What real Keras' metrics give after each of three batches, the last of them smaller, in float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras.src.backend import set_keras_mask
from losses import made, weights
from pool import Pool, mask

BATCHES = (5, 5, 2)
FLAT, COLUMN, STEPS = (3,), (1,), (6, 3)
# class -> (options, prediction, target, shapes of a sample)
METRICS: list[tuple[str, dict[str, Any], str, str, tuple[tuple[int, ...], ...]]] = [
    *((kind, {}, "any", "any", (FLAT, COLUMN, STEPS)) for kind in (
        "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError",
        "LogCoshError", "CosineSimilarity", "RootMeanSquaredError",
    )),
    ("KLDivergence", {}, "classes", "classes", (FLAT, STEPS)),
    ("Poisson", {}, "positive", "counts", (FLAT, STEPS)),
    *((kind, {}, "any", "bits", (FLAT, STEPS)) for kind in ("Hinge", "SquaredHinge")),
    ("Hinge", {}, "any", "signs", (FLAT,)),
    ("CategoricalHinge", {}, "any", "one_hot", (FLAT, STEPS)),
    ("BinaryCrossentropy", {}, "shares", "bits", (FLAT, COLUMN, STEPS)),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.25}, "any", "bits", (FLAT,)),
    ("CategoricalCrossentropy", {}, "positive", "one_hot", (FLAT, STEPS)),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.25}, "any", "one_hot", (FLAT,)),
    ("SparseCategoricalCrossentropy", {}, "classes", "ids", (FLAT, STEPS)),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "any", "ids", (FLAT, STEPS)),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, "classes", "ids", (FLAT, STEPS)),
    ("Accuracy", {}, "bits", "bits", (FLAT, COLUMN)),
    ("BinaryAccuracy", {}, "shares", "bits", (FLAT, COLUMN, STEPS)),
    ("BinaryAccuracy", {"threshold": 0.625}, "shares", "bits", (COLUMN,)),
    ("CategoricalAccuracy", {}, "classes", "one_hot", (FLAT, STEPS)),
    ("SparseCategoricalAccuracy", {}, "classes", "ids", (FLAT, STEPS)),
    *((kind, {"k": k}, "classes", target, (FLAT, STEPS)) for k in (1, 2) for kind, target in (
        ("TopKCategoricalAccuracy", "one_hot"), ("SparseTopKCategoricalAccuracy", "ids"),
    )),
    ("TopKCategoricalAccuracy", {}, "classes", "one_hot", ((7,),)),
    ("TopKCategoricalAccuracy", {"k": 2}, "bits", "one_hot", ((7,),)),
    *((kind, options, "shares", "bits", (FLAT, COLUMN)) for kind in ("Precision", "Recall") for options in (
        {}, {"thresholds": 0.625}, {"thresholds": [0.25, 0.9, 0.5]}, {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]},
    )),
    *((kind, options, "shares", "bits", (FLAT, (7,))) for kind in ("Precision", "Recall") for options in (
        {"top_k": 2}, {"class_id": 1}, {"class_id": 2, "thresholds": 0.375}, {"top_k": 1, "class_id": 0},
    )),
    *((kind, options, "shares", "bits", (FLAT, COLUMN)) for options in ({}, {"thresholds": [0.25, 0.625]}) for kind in (
        "TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives",
    )),
    *(("AUC", {"curve": curve, "summation_method": method}, "shares", "bits", (COLUMN, FLAT))
      for curve in ("ROC", "PR", "PRGAIN") for method in ("interpolation", "majoring", "minoring")),
    *(("AUC", {"curve": curve, **options}, prediction, "bits", (FLAT,)) for curve in ("ROC", "PR")
      for options, prediction in (
        ({"num_thresholds": 3}, "shares"), ({"thresholds": [0.3, 0.45, 0.6]}, "shares"),
        ({"thresholds": [0.25, 0.5, 0.75]}, "shares"), ({"from_logits": True}, "any"), ({}, "bits"),
        ({"multi_label": True}, "shares"), ({"multi_label": True, "num_labels": 3}, "shares"),
        ({"multi_label": True, "label_weights": [1.0, 0.5, 2.0]}, "shares"),
        ({"label_weights": [1.0, 0.5, 2.0]}, "shares"),
    )),
]  # fmt: skip
MEANS = {"Precision", "Recall", "AUC", "TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"}


def around(kind: str, sample: tuple[int, ...]) -> list[tuple[str, str]]:
    """(weights, mask) that Keras takes, and takes notice of."""
    if len(sample) == 1:
        return [("none", "none"), ("samples", "none")]
    found = [("none", "none"), ("steps", "none")]
    if kind in MEANS or kind == "RootMeanSquaredError":
        return found
    return [*found, ("column", "none"), ("none", "holes"), ("steps", "right"), ("none", "full")]


def record(pool: Pool, kind: str, options: dict[str, Any], how: Any) -> dict[str, Any]:
    prediction, target, sample, weight, pattern = how
    keras.config.set_floatx("float64")
    metric = getattr(keras.metrics, kind)(**options)
    batches, results = [], []
    for k, size in enumerate(BATCHES):
        shape = (size, *sample)
        p, t = made(prediction, shape, 10 + k), made(target, shape, 20 + k)
        p = p.astype(np.float32) if "TopK" in kind else p  # TensorFlow's in_top_k takes no other
        w = weights(weight, shape[:-1])
        m = None if pattern == "none" else mask(pattern, *shape[:-1])
        given = keras.ops.convert_to_tensor(p)
        if m is not None:
            set_keras_mask(given, keras.ops.convert_to_tensor(m))
        metric.update_state(t, given, sample_weight=w)
        results.append(pool.keep(np.asarray(metric.result())))
        arrays = {"target": t, "prediction": p, "weight": w, "mask": m}
        batches.append({name: None if one is None else pool.keep(one) for name, one in arrays.items()})
    keras.config.set_floatx("float32")
    about = {"class": kind, "options": options, "weights": weight, "pattern": pattern}
    return {**about, "batches": batches, "results": results}


def metrics() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The cases, and the arrays that they point to."""
    pool = Pool()
    cases = [
        record(pool, kind, options, (prediction, target, sample, weight, pattern))
        for kind, options, prediction, target, samples in METRICS
        for sample in samples
        for weight, pattern in around(kind, sample)
        # Keras 3.15 counts an ignored class as 0 where there are no weights
        if "ignore_class" not in options or weight != "none" or pattern != "none"
    ]
    return {"metrics": cases, "configs": list(configs()), "names": names()}, pool.arrays


def configs() -> Any:
    for kind, options, *_ in METRICS:
        metric = getattr(keras.metrics, kind)(**options, name="mine")
        yield [kind, {**options, "name": "mine"}, json_values(keras.metrics.serialize(metric))]
    for kind in sorted({kind for kind, *_ in METRICS} | {"Mean", "Sum"}):
        keras.backend.clear_session()
        yield [kind, {}, json_values(keras.metrics.serialize(getattr(keras.metrics, kind)()))]


def json_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: json_values(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)) or hasattr(value, "numpy"):
        return (
            [json_values(one) for one in np.asarray(value).tolist()]
            if not isinstance(value, list)
            else [json_values(one) for one in value]
        )
    return value.item() if isinstance(value, np.generic) else value


def names() -> dict[str, str]:
    """name -> class that Keras finds by it."""
    wanted = {kind for kind, *_ in METRICS} | {"Mean", "Sum"}
    table = keras.src.metrics.ALL_OBJECTS_DICT
    return {name: cls.__name__ for name, cls in table.items() if cls.__name__ in wanted}
