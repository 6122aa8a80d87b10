"""What real Keras' optimisers and schedules say and compute, on recorded gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
from calls import jsonable

STEPS = 12
SHAPES = {"lstm/kernel": (3, 4), "lstm/bias": (4,), "table": (2, 4), "scale": ()}
OWN_SLOTS = {
    "SGD": ("momentum",),
    "Adam": ("momentum", "velocity", "velocity_hat"),
    "AdamW": ("momentum", "velocity", "velocity_hat"),
    "RMSprop": ("velocity", "momentum", "average_gradient"),
    "Adagrad": ("accumulator",),
    "Adadelta": ("accumulated_grad", "accumulated_delta_var"),
    "Adamax": ("momentum", "norm"),
    "Nadam": ("momentum", "velocity"),
}
COMMON_SLOTS = ("average", "gradient_accumulator")

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7}),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7, "staircase": True, "name": "mine"},
    ),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 6, "end_learning_rate": 0.02, "power": 2.5}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "power": 0.5, "cycle": True}),
    ("PiecewiseConstantDecay", {"boundaries": [3, 8], "values": [0.1, 0.05, 0.001]}),
    ("PiecewiseConstantDecay", {"boundaries": [5], "values": [0.1, 0.2]}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 12}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 9, "alpha": 0.25}),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 8, "warmup_target": 0.1, "warmup_steps": 5, "alpha": 0.1},
    ),
    ("CosineDecay", {"initial_learning_rate": 0.0, "decay_steps": 8, "warmup_target": 0.1}),
]
SCHEDULE_STEPS = (*range(26), 1000)


def scheduled(k: int) -> dict[str, Any]:
    name, config = SCHEDULES[k]
    return {"class_name": name, "config": config}


CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.3, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.3, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.0}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.25}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 3.0}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.3, "momentum": 0.9, "exclude_from_weight_decay": ["bias"]}),
    ("SGD", {"learning_rate": 0.1, "loss_scale_factor": 1000.0, "clipnorm": 0.01}),
    ("SGD", {"learning_rate": 0.1, "use_ema": True, "name": "mine"}),
    ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 3}),
    ("SGD", {"learning_rate": 0.1, "gradient_accumulation_steps": 3, "momentum": 0.9, "weight_decay": 0.1}),
    (
        "SGD",
        {
            "learning_rate": scheduled(0),
            "gradient_accumulation_steps": 2,
            "global_clipnorm": 1.0,
            "use_ema": True,
            "ema_momentum": 0.5,
            "ema_overwrite_frequency": 2,
        },
    ),
    *(("SGD", {"learning_rate": scheduled(k), "momentum": 0.5}) for k in (1, 2, 6, 7, 11)),
    ("Adam", {}),
    ("Adam", {"learning_rate": 0.05, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adam", {"learning_rate": 0.05, "amsgrad": True}),
    ("Adam", {"learning_rate": 0.05, "beta_1": 0.0}),
    ("Adam", {"learning_rate": 0.05, "clipnorm": 1.0, "weight_decay": 0.2}),
    ("Adam", {"learning_rate": scheduled(9), "gradient_accumulation_steps": 2, "amsgrad": True}),
    ("Adam", {"learning_rate": 0.05, "gradient_accumulation_steps": 5, "use_ema": True, "ema_momentum": 0.6}),
    ("AdamW", {}),
    ("AdamW", {"learning_rate": 0.05, "weight_decay": 0.5, "exclude_from_weight_decay": ["bias", "^table"]}),
    ("AdamW", {"learning_rate": scheduled(11), "amsgrad": True, "global_clipnorm": 2.0}),
    ("RMSprop", {}),
    ("RMSprop", {"learning_rate": 0.05, "centered": True}),
    ("RMSprop", {"learning_rate": 0.05, "momentum": 0.9, "rho": 0.7}),
    ("RMSprop", {"learning_rate": 0.05, "momentum": 0.5, "centered": True, "epsilon": 1e-3, "clipvalue": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"learning_rate": 0.2, "initial_accumulator_value": 0.0, "epsilon": 1e-5}),
    ("Adagrad", {"learning_rate": 0.2, "weight_decay": 0.1, "gradient_accumulation_steps": 4}),
    ("Adadelta", {}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-4}),
    ("Adadelta", {"learning_rate": 1.0, "clipnorm": 1.0, "use_ema": True}),
    ("Adamax", {}),
    ("Adamax", {"learning_rate": 0.05, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-4}),
    ("Adamax", {"learning_rate": 0.05, "gradient_accumulation_steps": 3}),
    ("Nadam", {}),
    ("Nadam", {"learning_rate": 0.05, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-4}),
    ("Nadam", {"learning_rate": scheduled(4), "gradient_accumulation_steps": 2, "weight_decay": 0.1}),
]


def recorded() -> dict[str, np.ndarray]:
    """Where the weights start, and the gradients of each step: uneven, some tiny, some zero."""
    random = np.random.default_rng(20250311)
    arrays: dict[str, np.ndarray] = {}
    for name, shape in SHAPES.items():
        start = random.normal(0.2, 0.6, shape)
        gradients = random.normal(0.15, 0.8, (STEPS, *shape)) * random.choice([0.05, 0.5, 2.5], (STEPS, *shape))
        if name == "table":  # a row that is looked up every third time, with entries of all sizes
            gradients *= np.array([[1e-8, 1e-4, 1.0, 40.0], [1.0, 0.0, 1e-8, 1e-2]])
            gradients[np.arange(STEPS) % 3 != 1, 1] = 0.0
        arrays[f"weights/{name}"] = (np.zeros(shape) if name.endswith("bias") else start).astype(np.float32)
        arrays[f"gradients/{name}"] = gradients.astype(np.float32)
    return arrays


def numbers(value: Any, dtype: str) -> Any:
    """In float64, numbers that say so: of a Python float, Keras on TensorFlow takes float32 there too."""
    if isinstance(value, list):
        return [numbers(one, dtype) for one in value]
    return np.float64(value) if isinstance(value, float) and dtype == "float64" else value


def schedule(name: str, config: dict[str, Any], dtype: str) -> Any:
    given = {key: numbers(value, dtype) for key, value in config.items()}
    return getattr(keras.optimizers.schedules, name)(**given)


def optimizer(kind: str, options: dict[str, Any], dtype: str) -> Any:
    of_kind = getattr(keras.optimizers, kind)
    defaults = {key: value for key, value in of_kind().get_config().items() if isinstance(value, float)}
    del defaults["learning_rate"]
    given = {key: numbers(value, dtype) for key, value in {**defaults, **options}.items()}
    excluded = given.pop("exclude_from_weight_decay", None)
    if isinstance(given.get("learning_rate"), dict):
        rate = given["learning_rate"]
        given["learning_rate"] = schedule(rate["class_name"], rate["config"], dtype)
    made = of_kind(**given)
    if excluded:
        made.exclude_from_weight_decay(var_names=excluded)
    return made


def uncast(cast: Callable[..., Any]) -> Callable[..., Any]:
    """Keras' cast, but exact for a number that stands in Keras' code, such as Nadam's 0.96."""
    return lambda x, dtype: keras.ops.convert_to_tensor(x, dtype) if isinstance(x, float) else cast(x, dtype)


def rate(schedule: Any, step: int) -> float:
    with mock.patch("keras.src.ops.cast", uncast(keras.ops.cast)):
        return float(schedule(step))


def run(kind: str, options: dict[str, Any], dtype: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights and slots after each step, stacked."""
    keras.backend.clear_session()
    keras.config.set_floatx(dtype)
    made = optimizer(kind, options, dtype)
    variables = {
        name: keras.Variable(given[f"weights/{name}"].astype(dtype), dtype=dtype, name=name.replace("/", "_"))
        for name in SHAPES
    }
    made.build(list(variables.values()))
    slots = {
        f"{name}/{slot}": one
        for name, variable in variables.items()
        for slot in (*COMMON_SLOTS, *OWN_SLOTS[kind])
        for one in made.variables
        if one.name == f"{variable.path}_{slot}"
    }
    assert len(made.variables) - len(slots) <= 3, [one.path for one in made.variables]
    kept: dict[str, list[np.ndarray]] = {}
    for step in range(STEPS):
        gradients = [
            keras.ops.convert_to_tensor(given[f"gradients/{name}"][step].astype(dtype), dtype) for name in SHAPES
        ]
        with mock.patch("keras.src.ops.cast", uncast(keras.ops.cast)):
            made.apply(gradients, list(variables.values()))
        for name, variable in {**variables, **slots}.items():
            kept.setdefault(name, []).append(np.array(variable.value))
    keras.config.set_floatx("float32")
    return {name: np.stack(arrays) for name, arrays in kept.items()}


def optimizers() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The cases by name, and the arrays of each under ``case/dtype/weight`` and ``case/dtype/weight/slot``."""
    arrays = recorded()
    steps: dict[str, Any] = {}
    for k, (kind, options) in enumerate(CASES):
        case = f"{kind}_{k}"
        for dtype in ("float32", "float64"):
            made = run(kind, options, dtype, arrays)
            arrays |= {f"{case}/{dtype}/{name}": array for name, array in made.items()}
        keras.backend.clear_session()
        named = {"name": kind.lower(), **options}
        written = jsonable(keras.optimizers.serialize(optimizer(kind, named, "float32")))
        steps[case] = {"class": kind, "options": options, "serialized": written}
    rates = [
        {
            "serialized": jsonable(keras.optimizers.schedules.serialize(schedule(name, config, "float32"))),
            "rates": [[step, rate(schedule(name, config, "float64"), step)] for step in SCHEDULE_STEPS],
        }
        for name, config in SCHEDULES
    ]
    keras.backend.clear_session()
    names = {kind: getattr(keras.optimizers, kind)().name for kind in OWN_SLOTS}
    return {"steps": steps, "schedules": rates, "names": names}, arrays
