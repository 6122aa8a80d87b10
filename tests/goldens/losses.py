"""What real Keras' losses and regularizers give, in float64: values, and gradients with respect to predictions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend import set_keras_mask
from pool import Pool, mask, numbers

REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight", "mean", "none", None)
SHAPES = ((4, 3), (5, 1), (4, 6, 3))
CLASSES = ("CategoricalCrossentropy", "SparseCategoricalCrossentropy", "KLDivergence")
# class -> options, what predictions are, what targets are
LOSSES: dict[str, tuple[list[dict[str, Any]], tuple[str, ...], str]] = {
    "MeanSquaredError": ([{}], ("any",), "any"),
    "MeanAbsoluteError": ([{}], ("any",), "any"),
    "MeanAbsolutePercentageError": ([{}], ("any",), "any"),
    "MeanSquaredLogarithmicError": ([{}], ("any",), "any"),
    "Huber": ([{}, {"delta": 0.5}], ("any",), "any"),
    "LogCosh": ([{}], ("any", "far"), "any"),
    "Poisson": ([{}], ("positive",), "counts"),
    "KLDivergence": ([{}], ("classes",), "classes"),
    "CosineSimilarity": ([{}], ("any",), "any"),
    "Hinge": ([{}], ("any",), "bits signs any"),
    "SquaredHinge": ([{}], ("any",), "bits signs"),
    "CategoricalHinge": ([{}], ("any",), "one_hot"),
    "BinaryCrossentropy": (
        [{}, {"label_smoothing": 0.25}, {"from_logits": True}, {"from_logits": True, "label_smoothing": 0.125}],
        ("shares", "any", "far"),
        "bits shares",
    ),
    "CategoricalCrossentropy": (
        [{}, {"label_smoothing": 0.25}, {"from_logits": True}, {"from_logits": True, "label_smoothing": 0.125}],
        ("classes", "positive", "any", "far"),
        "one_hot classes",
    ),
    "SparseCategoricalCrossentropy": (
        [{}, {"ignore_class": 1}, {"from_logits": True}, {"from_logits": True, "ignore_class": 2}],
        ("classes", "any", "far"),
        "ids",
    ),
}
LOGITS = ("any", "far")
CROSSENTROPIES = ("BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy")


def softmax(x: np.ndarray) -> np.ndarray:
    exp = np.exp(x - x.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def made(kind: str, shape: tuple[int, ...], k: int) -> np.ndarray:
    """Numbers of a kind, float64 but for ids."""
    x = numbers(shape, k).astype(np.float64)
    classes = np.abs(x * 64).astype(np.int32).sum(-1) % shape[-1]
    return {
        "any": lambda: x,
        "far": lambda: 16 * x,
        "positive": lambda: np.abs(x) + 0.125,
        "counts": lambda: np.floor(np.abs(3 * x)),
        "shares": lambda: np.clip(0.5 + x / 8, 0.0625, 0.9375),
        "classes": lambda: softmax(x),
        "bits": lambda: (x > 0).astype(np.float64),
        "signs": lambda: np.sign(x + 1e-3),
        "one_hot": lambda: np.eye(shape[-1])[classes],
        "ids": lambda: classes.astype(np.int32),
    }[kind]()


def weights(kind: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Sample weights: for samples, in a column, for steps; with zeros among them."""
    sizes = {"none": None, "samples": shape[:1], "column": (shape[0], 1), "steps": shape, "nothing": shape}[kind]
    if sizes is None:
        return None
    return np.zeros(sizes) if kind == "nothing" else np.maximum(numbers(sizes, 77).astype(np.float64) + 0.5, 0.0)


def around(per_sample: tuple[int, ...]) -> list[tuple[str, str]]:
    """(weights, mask) that go with losses of a shape, and that Keras takes."""
    if len(per_sample) == 1:
        return [("none", "none"), ("samples", "none"), ("column", "none"), ("nothing", "none")]
    return [
        *(("none", "none"), ("column", "none"), ("steps", "none"), ("none", "holes"), ("none", "full")),
        *(("steps", "right"), ("column", "holes"), ("none", "all"), ("nothing", "holes")),
    ]


def masked(pattern: str, shape: tuple[int, ...]) -> np.ndarray | None:
    return np.zeros(shape, bool) if pattern == "all" else mask(pattern, *shape) if pattern != "none" else None


def evaluated(kind: str, options: dict[str, Any], arrays: dict[str, np.ndarray | None]) -> tuple[Any, Any]:
    loss = getattr(keras.losses, kind)(**options, dtype="float64")
    p = tf.Variable(arrays["prediction"])
    with tf.GradientTape() as tape:
        given = tf.identity(p)
        if arrays["mask"] is not None:
            set_keras_mask(given, tf.constant(arrays["mask"]))
        value = loss(tf.constant(arrays["target"]), given, sample_weight=arrays["weight"])
    return value.numpy(), tape.gradient(value, p).numpy()


def inputs(kind: str) -> list[tuple[dict[str, Any], str, str]]:
    """(options, predictions, targets) of a loss: logits where they are expected, and only there."""
    options, predictions, targets = LOSSES[kind]
    return [
        (one, p, t)
        for one in options
        for p in predictions
        for t in targets.split()
        if kind not in CROSSENTROPIES or (p in LOGITS) == one.get("from_logits", False)
    ]


def record(pool: Pool, kind: str, options: dict[str, Any], reduction: str | None, how: Any) -> dict[str, Any]:
    shape, prediction, target, weight, pattern = how
    arrays = {
        "prediction": made(prediction, shape, 1),
        "target": made(target, shape, 2),
        "weight": weights(weight, shape[:-1]),
        "mask": masked(pattern, shape[:-1]),
    }
    value, gradient = evaluated(kind, {**options, "reduction": reduction}, arrays)
    assert np.isfinite(value).all() and np.isfinite(gradient).all(), (kind, options, how)
    keep = {name: None if array is None else pool.keep(array) for name, array in arrays.items()}
    return {
        "class": kind,
        "options": options,
        "reduction": reduction,
        "weights": weight,
        "pattern": pattern,
        **keep,
        "value": pool.keep(value),
        "gradient": pool.keep(gradient),
    }


def losses() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The cases, and the arrays that they point to."""
    pool, cases = Pool(), []
    for kind in LOSSES:
        for options, prediction, target in inputs(kind):
            for shape in SHAPES:
                if kind in CLASSES and shape[-1] == 1:
                    continue
                few = around(shape[:-1]) if not options and (prediction, target) == first(kind) else []
                rows = [(r, w, m) for r in REDUCTIONS for w, m in few] or [(REDUCTIONS[0], "none", "none")]
                if options.get("ignore_class") is not None:
                    rows = [(r, w, m) for r in REDUCTIONS for w, m in around(shape[:-1])]
                cases += [record(pool, kind, options, r, (shape, prediction, target, w, m)) for r, w, m in rows]
    found = {"losses": cases, "configs": list(configs()), "penalties": list(penalties(pool)), "names": names()}
    found["ctc"] = list(ctc(pool))
    return found, pool.arrays


def ctc(pool: Pool) -> Any:
    """CTC of repeated, few, many and no labels; Keras on TensorFlow computes it in float32, whatever the dtype."""
    target = np.array([[1, 2, 0, 0], [3, 3, 1, 0], [0, 0, 0, 0], [4, 1, 4, 2], [2, 2, 2, 0]], np.int32)
    prediction = 2 * numbers((5, 6, 5), 11).astype(np.float64)
    for reduction in REDUCTIONS:
        for weight, _ in around((5,)):
            arrays = {"prediction": prediction, "target": target, "weight": weights(weight, (5,)), "mask": None}
            value, gradient = evaluated("CTC", {"reduction": reduction}, arrays)
            keep = {name: None if array is None else pool.keep(array) for name, array in arrays.items()}
            yield {"reduction": reduction, "weights": weight, **keep, "value": pool.keep(value)} | {
                "gradient": pool.keep(gradient)
            }


def first(kind: str) -> tuple[str, str]:
    _, predictions, targets = LOSSES[kind]
    return predictions[0], targets.split()[0]


def configs() -> Any:
    options = {kind: row[0] for kind, row in LOSSES.items()} | {"CTC": [{}]}
    for kind in options:
        for one in [*options[kind], {"name": "mine", "reduction": "sum"}, {"reduction": None}]:
            yield [kind, one, keras.losses.serialize(getattr(keras.losses, kind)(**one))]


def names() -> dict[str, str]:
    """name -> class or function that Keras finds by it."""
    table = keras.src.losses.ALL_OBJECTS_DICT
    found = {name: one.__name__ for name, one in table.items()}
    kinds = (*LOSSES, "CTC")
    functions = {keras.src.utils.naming.to_snake_case(kind) for kind in kinds}
    return {name: one for name, one in found.items() if one in kinds or one in functions}


PENALTIES: list[tuple[str, dict[str, Any]]] = [
    ("L1", {}),
    ("L1", {"l1": 0.5}),
    ("L2", {}),
    ("L2", {"l2": 0.25}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.5}),
    ("L1L2", {"l2": 0.25}),
    ("L1L2", {"l1": 0.5, "l2": 0.25}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]


KINDS = {"L1": ["l1"], "L2": ["l2"], "L1L2": ["l1", "l2"], "OrthogonalRegularizer": ["factor"]}
DEFAULTS = {"L1": 0.01, "L2": 0.01, "L1L2": 0.0, "OrthogonalRegularizer": 0.01}


def penalties(pool: Pool) -> Any:
    for kind, options in PENALTIES:
        for shape in ((4, 3), (3, 5), (5,), (2, 3, 4)):
            if kind == "OrthogonalRegularizer" and len(shape) != 2:
                continue
            x = tf.Variable(numbers(shape, 5).astype(np.float64))
            regularizer = getattr(keras.regularizers, kind)(**options)
            for name in KINDS[kind]:  # Keras rounds it to float32
                setattr(regularizer, name, tf.constant(options.get(name, DEFAULTS[kind]), "float64"))
            with tf.GradientTape() as tape:
                value = regularizer(x)
            gradient = tape.gradient(value, x, unconnected_gradients="zero")
            arrays = {"x": x.numpy(), "value": value.numpy(), "gradient": gradient.numpy()}
            yield {"class": kind, "options": options, **{name: pool.keep(array) for name, array in arrays.items()}}
