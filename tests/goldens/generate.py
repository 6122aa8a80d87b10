"""Records what real Keras says and computes: ``python tests/goldens/generate.py`` (needs keras and tensorflow).

Writes ``signatures.json``, ``configs.json``, ``models.json``, ``summaries.json``, ``recipes.json`` and
``numbers.npz`` beside itself, and of layers called alone ``calls.json`` and ``calls.safetensors``, of functional
models, losses, metrics, optimisers and callbacks likewise; or only the JSON files (with their arrays) and
``numbers.npz`` named on the command line. A model is a recipe: a list of ``[class, arguments]``, plain JSON, which
the tests hand to lstmcore.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from callbacks import callbacks
from calls import calls
from functional import functional
from losses import losses
from metrics import metrics
from optimizers import optimizers
from options import AROUND
from safetensors.numpy import save_file
from serialized import L2, NORM, UNIFORM, keras_object, revived

HERE = Path(__file__).parent
MADE_BY = {"keras": keras.__version__, "engine": "tensorflow"}
LAYERS = (
    *("Dense", "Activation", "Dropout", "Flatten", "Embedding", "LSTM", "GRU", "SimpleRNN", "InputLayer"),
    *(
        "ReLU",
        "LeakyReLU",
        "ELU",
        "Softmax",
        "Reshape",
        "Permute",
        "SpatialDropout1D",
        "ActivityRegularization",
        "GaussianNoise",
        "GaussianDropout",
    ),
    *AROUND,
)
RNNS = ("LSTM", "GRU", "SimpleRNN")


COMMON: list[dict[str, Any]] = [
    {},
    {"name": "mine", "trainable": False},
    {"dtype": "float64"},
    {"dtype": "float32"},
    {"activity_regularizer": "l2"},
    {"autocast": False},
]
RECURRENT: list[dict[str, Any]] = [
    {"activation": "relu", "use_bias": False},
    {"activation": None},
    {"kernel_initializer": "zeros", "recurrent_initializer": "glorot_normal", "bias_initializer": "ones"},
    {"kernel_initializer": UNIFORM, "recurrent_initializer": {"class_name": "Identity", "config": {}}},
    {"kernel_regularizer": "l1", "recurrent_regularizer": L2, "bias_regularizer": "L1L2"},
    {"kernel_constraint": "non_neg", "recurrent_constraint": NORM, "bias_constraint": "unit_norm"},
    {"dropout": 0.25, "recurrent_dropout": 0.5, "seed": 3},
    {"dropout": 1, "seed": 0},
    {"return_sequences": True, "return_state": True, "go_backwards": True, "stateful": True, "unroll": True},
    {"zero_output_for_mask": True},
    {"bias_regularizer": "l1l2"},
]
GATED: list[dict[str, Any]] = [
    {"implementation": 1},
    {"recurrent_activation": "hard_sigmoid", "use_cudnn": False},
    {"recurrent_activation": None, "activation": "swish"},
]
OPTIONS: dict[str, tuple[list[Any], list[dict[str, Any]]]] = {
    "Dense": (
        [4],
        [
            {"activation": "softmax", "use_bias": False},
            {"activation": "linear"},
            {"activation": "leaky_relu", "kernel_initializer": "he_uniform", "bias_initializer": "ones"},
            {
                "kernel_regularizer": L2,
                "bias_regularizer": "l1",
                "kernel_constraint": NORM,
                "bias_constraint": "non_neg",
            },
            {"kernel_initializer": keras_object("initializers", "Constant", value=0.25)},
            {
                "kernel_initializer": keras_object(
                    "initializers", "VarianceScaling", scale=2.0, mode="fan_avg", distribution="uniform", seed=None
                )
            },
            {"lora_rank": None, "lora_alpha": None, "quantization_config": None},
        ],
    ),
    "Activation": (["relu"], [{"activation": name} for name in ("swish", "hard_swish", "linear", "gelu", None)]),
    "Dropout": ([0.5], [{"seed": 3}, {"noise_shape": [None, 1, 4]}, {"rate": 0}, {"rate": 1, "noise_shape": [2, 3]}]),
    "Flatten": ([], [{"data_format": "channels_first"}, {"data_format": "channels_last"}]),
    "Embedding": (
        [7, 3],
        [
            {"mask_zero": True, "embeddings_initializer": "normal"},
            {"embeddings_regularizer": L2, "embeddings_constraint": "non_neg", "embeddings_initializer": UNIFORM},
        ],
    ),
    "LSTM": ([4], [*RECURRENT, *GATED, {"unit_forget_bias": False}]),
    "GRU": ([4], [*RECURRENT, *GATED, {"reset_after": False}]),
    "SimpleRNN": ([4], RECURRENT),
    "ReLU": ([], [{"max_value": 6.0, "negative_slope": 0.25, "threshold": 0.5}, {"max_value": 1}]),
    "LeakyReLU": ([], [{"negative_slope": 0.125}]),
    "ELU": ([], [{"alpha": 0.5}]),
    "Softmax": ([], [{"axis": 1}]),
    "Reshape": ([[2, -1]], [{"target_shape": [6]}]),
    "Permute": ([[2, 1]], [{"dims": [3, 1, 2]}]),
    "SpatialDropout1D": ([0.25], [{"seed": 3}]),
    "ActivityRegularization": ([0.25], [{"l2": 0.5}]),
    "GaussianNoise": ([0.25], [{"seed": 3}]),
    "GaussianDropout": ([0.25], [{"seed": 3}]),
    "InputLayer": (
        [],
        [
            {"shape": [13, 5]},
            {"shape": [], "dtype": "int32"},
            {"batch_shape": [4, None, 5], "name": "mine"},
            {"shape": [None], "batch_size": 8, "dtype": "int64", "optional": False},
            {"shape": [3], "dtype": "bool", "sparse": False, "ragged": False},
        ],
    ),
    **AROUND,
}
# SimpleRNN of Keras 3.15 takes its activity_regularizer and drops it; ELU writes its config from the call
WITHOUT = {
    "SimpleRNN": {"activity_regularizer"},
    "ActivityRegularization": {"activity_regularizer"},
    "ELU": {"autocast"},
}

Recipe = list[list[Any]]
X = ["Input", {"shape": [13, 5]}]
SHORT = ["Input", {"shape": [7, 5]}]
IDS = ["Input", {"shape": [9], "dtype": "int32"}]
SEQ = {"return_sequences": True}


def layer(kind: str, **options: Any) -> list[Any]:
    return [kind, options]


MODELS: dict[str, Recipe] = {
    "lstm_13": [X, layer("LSTM", units=10)],
    "lstm_100": [["Input", {"shape": [100, 5]}], layer("LSTM", units=10)],
    "lstm_any_time": [["Input", {"shape": [None, 5]}], layer("LSTM", units=10)],
    "rnn_digits": [
        ["Input", {"shape": [28, 28]}],
        layer("SimpleRNN", units=32, activation="relu"),
        layer("Dense", units=10, activation="softmax"),
    ],
    "lstm_digits": [
        ["Input", {"shape": [28, 28]}],
        layer("LSTM", units=128, activation="relu", return_sequences=True),
        layer("Dropout", rate=0.2),
        layer("LSTM", units=128, activation="relu"),
        layer("Dropout", rate=0.1),
        layer("Dense", units=32, activation="relu"),
        layer("Dropout", rate=0.2),
        layer("Dense", units=10, activation="softmax"),
    ],
    "input_shape": [layer("LSTM", units=4, input_shape=[13, 5]), layer("Dense", units=1)],
    "input_dim": [layer("Dense", units=4, input_dim=6), layer("Dense", units=1)],
    "embedding": [
        IDS,
        layer("Embedding", input_dim=20, output_dim=6, mask_zero=True),
        layer("GRU", units=5, return_sequences=True),
        layer("GRU", units=4, reset_after=False),
        layer("Dense", units=2, activation="softmax"),
    ],
    "embedding_length": [
        layer("Embedding", input_dim=20, output_dim=6, input_length=9),
        layer("Flatten"),
        layer("Dense", units=2),
    ],
    "stacked_same_class": [
        X,
        layer("LSTM", units=3, return_sequences=True),
        layer("LSTM", units=4, return_sequences=True),
        layer("LSTM", units=2),
        layer("Dense", units=3),
        layer("Dense", units=2),
    ],
    "named": [
        ["Input", {"shape": [13, 5], "name": "series", "batch_size": 8}],
        layer("LSTM", units=3, name="encoder", trainable=False, stateful=True),
        layer("Dense", units=2, name="head", use_bias=False),
    ],
    "long_names": [
        X,
        layer("LSTM", units=3, name="a_layer_whose_name_is_much_longer_than_any_column_of_the_table", **SEQ),
        layer("SimpleRNN", units=123, name="a layer with spaces in its name and many of them", **SEQ),
        layer("Dense", units=12345, name="dense"),
    ],
    "unbuilt": [layer("LSTM", units=3), layer("Dense", units=2)],
    "one_unbuilt": [layer("Flatten")],
    "brackets": [X, layer("LSTM", units=3, name="a[0]"), layer("Activation", activation="relu")],
    "flatten_axes": [["Input", {"shape": [2, 3, 4]}], layer("Flatten", data_format="channels_first")],
    "no_weights": [["Input", {"shape": [3]}], layer("Activation", activation="tanh"), layer("Dropout", rate=0.5)],
    "float64": [["Input", {"shape": [13, 5], "dtype": "float64"}], layer("LSTM", units=10, dtype="float64")],
    "backwards": [X, layer("SimpleRNN", units=3, go_backwards=True, **SEQ), layer("Activation", activation="gelu")],
    "dense_3d": [["Input", {"shape": [None, None, 5]}], layer("Dense", units=3)],
    "half_frozen": [X, layer("LSTM", units=150, trainable=False), layer("Dense", units=1000)],
}

# threshold cannot be given by name; Keras 3.15's sparsemax sums the cumulated logits where it should take the
# last one, so that its outputs do not add up to 1
NOT_RECORDED = ("get", "serialize", "deserialize", "threshold", "sparsemax")
ACTIVATIONS = sorted(n for n, f in vars(keras.activations).items() if inspect.isfunction(f) and n not in NOT_RECORDED)

NUMBERS: dict[str, Recipe] = {
    **{f"activation_{n}": [["Input", {"shape": [6]}], layer("Activation", activation=n)] for n in ACTIVATIONS},
    **{f"dense_{n}": [["Input", {"shape": [5]}], layer("Dense", units=4, activation=n)] for n in ACTIVATIONS},
    **{f"{r}_{n}": [SHORT, layer(r, units=4, activation=n)] for r in RNNS for n in ACTIVATIONS if n != "glu"},
    **{
        f"{r}_gates_{n}": [SHORT, layer(r, units=4, recurrent_activation=n)]
        for r in ("LSTM", "GRU") for n in ACTIVATIONS if n != "glu"
    },
    **{
        f"{r}_{i}": [X, layer(r, units=4, **options)]
        for r in RNNS
        for i, options in enumerate((
            {"use_bias": False}, SEQ, {"go_backwards": True}, {**SEQ, "go_backwards": True}, {"unroll": True},
        ))
    },
    "gru_before": [X, layer("GRU", units=4, reset_after=False, **SEQ)],
    "gru_before_no_bias": [X, layer("GRU", units=4, reset_after=False, use_bias=False)],
    "gru_after_no_bias": [X, layer("GRU", units=4, use_bias=False)],
    **{
        f"masked_{r}_{i}": [IDS, layer("Embedding", input_dim=20, output_dim=6, mask_zero=True),
                            layer(r, units=4, **options), layer("GRU", units=3)]
        for r in RNNS
        for i, options in enumerate((
            SEQ, {**SEQ, "go_backwards": True}, {**SEQ, "zero_output_for_mask": True}, {**SEQ, "unroll": True},
            {**SEQ, "unroll": True, "go_backwards": True},
        ))
    },
    **{
        f"masked_{r}_last_{b}": [IDS, layer("Embedding", input_dim=20, output_dim=6, mask_zero=True),
                                 layer(r, units=4, go_backwards=b)]
        for r in RNNS for b in (False, True)
    },
    "masked_sequences": [IDS, layer("Embedding", input_dim=20, output_dim=6, mask_zero=True),
                         layer("LSTM", units=4, **SEQ), layer("Dropout", rate=0.5),
                         layer("Activation", activation="relu"), layer("Dense", units=3),
                         layer("SimpleRNN", units=2, **SEQ)],
    "mask_ends_at_flatten": [IDS, layer("Embedding", input_dim=20, output_dim=6, mask_zero=True), layer("Flatten"),
                             layer("Dense", units=3)],
    **{
        f"stateful_{r}": [["Input", {"batch_shape": [3, 13, 5]}], layer(r, units=4, stateful=True, **SEQ),
                          layer(r, units=2, stateful=True)]
        for r in RNNS
    },
    "stateful_masked": [["Input", {"batch_shape": [3, 9], "dtype": "int32"}],
                        layer("Embedding", input_dim=20, output_dim=6, mask_zero=True),
                        layer("LSTM", units=4, stateful=True, **SEQ)],
    "flatten_axes": [["Input", {"shape": [2, 3, 4]}], layer("Flatten", data_format="channels_first")],
    "activation_layers": [SHORT, layer("ReLU", max_value=1.5, negative_slope=0.25, threshold=0.5),
                          layer("LeakyReLU", negative_slope=0.25), layer("ELU", alpha=0.5)],
    "softmax_over_time": [SHORT, layer("Softmax", axis=1)],
    "reshaped": [["Input", {"shape": [6, 4]}], layer("Reshape", target_shape=[2, -1, 3]),
                 layer("Permute", dims=[3, 1, 2]), layer("Reshape", target_shape=[6, 4]), layer("LSTM", units=3)],
    "noise_is_not_there": [SHORT, layer("SpatialDropout1D", rate=0.5), layer("GaussianNoise", stddev=0.5),
                           layer("GaussianDropout", rate=0.5), layer("GRU", units=3)],
    "masked_through_noise": [IDS, layer("Embedding", input_dim=20, output_dim=6, mask_zero=True),
                             layer("SpatialDropout1D", rate=0.5), layer("LeakyReLU", negative_slope=0.25),
                             layer("LSTM", units=3)],
    "flatten": [["Input", {"shape": [2, 3, 4]}], layer("Flatten"), layer("Dense", units=2)],
    "deep": [X, layer("LSTM", units=6, **SEQ), layer("GRU", units=5, go_backwards=True, **SEQ),
             layer("SimpleRNN", units=4, **SEQ), layer("Flatten"), layer("Dense", units=3, activation="softmax")],
}  # fmt: skip


def make(recipe: Recipe, floatx: str = "float32") -> Any:
    keras.backend.clear_session()
    keras.config.set_floatx(floatx)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = []
        for kind, options in recipe:
            # Embedding(input_length=) is gone from Keras 3's constructor; an Input says the same
            if "input_length" in options:
                made.append(keras.Input((options["input_length"],)))
                options = {key: value for key, value in options.items() if key != "input_length"}
            made.append((keras.Input if kind == "Input" else getattr(keras.layers, kind))(**options))
        return keras.Sequential(made)


def jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value))


def signatures() -> Iterator[tuple[str, Any]]:
    for name in (*LAYERS, "Input"):
        called = keras.Input if name == "Input" else getattr(keras.layers, name).__init__
        yield (
            name,
            [
                [p.name, None if p.default is p.empty else p.default, p.default is p.empty, p.kind.name]
                for p in inspect.signature(called).parameters.values()
                if p.name != "self" and p.kind.name != "VAR_KEYWORD"
            ],
        )


def configs() -> Iterator[dict[str, Any]]:
    for name, (positional, sets) in OPTIONS.items():
        common = COMMON if name not in ("InputLayer", "SpatialDropout1D") else []  # these take few arguments
        common = [options for options in common if not options.keys() & WITHOUT.get(name, set())]
        names = list(inspect.signature(getattr(keras.layers, name).__init__).parameters)[1:]
        required = dict(zip(names, positional, strict=False))
        for options in (*common, *sets):
            keras.backend.clear_session()
            given = {**required, "name": "given", **options}
            made = getattr(keras.layers, name)(**{key: revived(value) for key, value in given.items()})
            yield {"class": name, "given": given, "config": jsonable(made.get_config())}


def models() -> Iterator[tuple[str, Any]]:
    for name, recipe in MODELS.items():
        model = make(recipe)
        built = model.built
        yield (
            name,
            {
                "recipe": recipe,
                "json": model.to_json(),
                "weights": [[one.name, w.name, list(w.shape)] for one in model.layers for w in one.weights],
                "count": model.count_params() if built else None,
                "layers": [[one.name, type(one).__name__] for one in model.layers],
                "input_shape": list(model.input_shape) if built else None,
                "output_shape": list(model.output_shape) if built else None,
            },
        )


SUMMARY_CALLS: list[tuple[int, str, dict[str, Any]]] = [
    (80, "utf-8", {}), (92, "utf-8", {}), (200, "utf-8", {}), (60, "utf-8", {}), (40, "utf-8", {}),
    (80, "ascii", {}), (100, "utf-8", {"line_length": 60}),
    (120, "utf-8", {"show_trainable": True}), (60, "utf-8", {"show_trainable": True}),
]  # fmt: skip


def summaries() -> Iterator[dict[str, Any]]:
    for name, recipe in MODELS.items():
        model = make(recipe)
        for columns, encoding, options in SUMMARY_CALLS:
            os.environ["COLUMNS"] = str(columns)
            raw = io.BytesIO()
            text = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
            # rich cannot write its ellipsis in ASCII: what Keras does then is nothing to follow
            with contextlib.redirect_stdout(text), contextlib.suppress(UnicodeEncodeError):
                model.summary(**options)
            lines = raw.getvalue().decode(encoding).splitlines()
            if len(lines) < 4:
                continue
            yield {"model": name, "columns": columns, "encoding": encoding, "options": options, "lines": lines}


def inputs(recipe: Recipe, samples: int, random: np.random.Generator) -> np.ndarray:
    options = recipe[0][1]
    shape = (samples, *(options.get("shape") or options["batch_shape"][1:]))
    if options.get("dtype") != "int32":
        return (random.normal(size=shape)).astype(np.float32)
    ids = random.integers(1, 20, shape).astype(np.int32)
    ids[0, 6:] = 0  # padded at the end
    ids[1, :3] = 0  # at the start
    ids[2, [2, 3, 7]] = 0  # gaps
    if samples > 3:
        ids[3] = 0  # nothing but padding
    return ids


def numbers() -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    random = np.random.default_rng(20240229)
    for name, recipe in NUMBERS.items():
        stateful = name.startswith("stateful")
        x = inputs(recipe, 6 if stateful else 4, random)
        shapes = [w.shape for w in make(recipe).weights]
        scale = 0.15 if "_gates_" in name else 0.4  # an unbounded gate can run away
        weights = [(random.normal(size=s) * scale).astype(np.float32) for s in shapes]
        for floatx in ("float32", "float64"):
            model = make(recipe, floatx)
            model.set_weights(weights)
            given = x.astype(floatx) if x.dtype.kind == "f" else x
            batches = np.split(given, 2) if stateful else [given]
            arrays[f"{name}/{floatx}"] = np.concatenate([model(batch, training=False).numpy() for batch in batches])
        arrays[f"{name}/x"] = x
        for k, array in enumerate(weights):
            arrays[f"{name}/w{k}"] = array
    return arrays


def write(name: str, cases: Any) -> None:
    text = json.dumps({**MADE_BY, "cases": cases}, separators=(",", ":"))
    (HERE / name).write_text(text + "\n", encoding="utf-8")


def main(names: Sequence[str]) -> None:
    made = {
        "signatures.json": lambda: dict(signatures()),
        "configs.json": lambda: list(configs()),
        "models.json": lambda: dict(models()),
        "summaries.json": lambda: list(summaries()),
        "recipes.json": lambda: NUMBERS,
    }
    with_arrays = {
        "callbacks.json": callbacks,
        "calls.json": calls,
        "functional.json": functional,
        "losses.json": losses,
        "metrics.json": metrics,
        "optimizers.json": optimizers,
    }
    for name in names or (*made, *with_arrays, "numbers.npz"):
        if name in with_arrays:
            cases, arrays = with_arrays[name]()
            write(name, cases)
            file = (HERE / name).with_suffix(".safetensors")
            save_file(arrays, file)
            file.chmod(0o644)  # the library makes it readable for its owner only
        elif name in made:
            write(name, made[name]())
        else:
            np.savez_compressed(HERE / name, **numbers())


if __name__ == "__main__":
    main(sys.argv[1:])
