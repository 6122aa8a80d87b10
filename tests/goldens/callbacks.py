"""What real Keras' callbacks do when they are told of recorded trainings.

Those of TensorBoard need ``tensorboard`` installed. All numbers are sums of powers of two, so that nothing depends on
Keras' comparing in float32.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "callbacks"))
from driving import Model, drive

KERAS_SUFFIX = {False: ".keras", True: ".weights.h5"}
KINDS = (
    *("EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "LearningRateScheduler", "CSVLogger"),
    *("TensorBoard", "TerminateOnNaN", "LambdaCallback", "History", "ProgbarLogger"),
)
METRICS = (
    *("Accuracy", "BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy", "TopKCategoricalAccuracy"),
    *("SparseTopKCategoricalAccuracy", "BinaryCrossentropy", "CategoricalCrossentropy", "CosineSimilarity"),
    *("SparseCategoricalCrossentropy", "KLDivergence", "Poisson", "Hinge", "SquaredHinge", "CategoricalHinge"),
    *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError"),
    *("RootMeanSquaredError", "LogCoshError", "AUC", "Precision", "Recall", "TruePositives", "FalsePositives"),
    *("TrueNegatives", "FalseNegatives", "Mean", "Sum"),
)


def recorded(random: np.random.Generator, epochs: int, batches: int = 3) -> list[dict[str, Any]]:
    """A training whose loss falls and then does not, in 64ths."""
    path = np.cumsum(random.integers(-9, 7, size=(epochs, 4)) * (random.random((epochs, 1)) < 0.7), axis=0)
    values = np.abs(40 + path) / 64
    made = []
    for loss, accuracy, val_loss, val_accuracy in values.tolist():
        logs = {"loss": loss, "accuracy": accuracy, "val_loss": val_loss, "val_accuracy": val_accuracy}
        steps = [{"loss": loss + k / 8, "accuracy": accuracy - k / 16} for k in range(batches)]
        made.append({"batches": steps, "test": {"loss": val_loss, "accuracy": val_accuracy}, "logs": logs})
    return made


def pick(random: np.random.Generator, *choices: Any) -> Any:
    return choices[random.integers(len(choices))]


def watched(random: np.random.Generator) -> dict[str, Any]:
    monitor = pick(random, "loss", "val_loss", "accuracy", "val_accuracy")
    natural = "max" if "accuracy" in monitor else "min"
    mode = natural if "accuracy" in monitor else pick(random, natural, "auto", "auto", "max")
    return {"monitor": monitor, "mode": mode}


def stopping(random: np.random.Generator) -> dict[str, Any]:
    return {
        **watched(random),
        "min_delta": pick(random, 0, 0, 1 / 16, -1 / 8, 1 / 64),
        "patience": pick(random, 0, 1, 2, 3, 6),
        "baseline": pick(random, None, None, 0.25, 0.5, 0.75),
        "restore_best_weights": pick(random, False, True),
        "start_from_epoch": pick(random, 0, 0, 1, 4),
    }


def reducing(random: np.random.Generator) -> dict[str, Any]:
    return {
        **watched(random),
        "factor": pick(random, 0.5, 0.25, 0.1),
        "patience": pick(random, 0, 1, 2, 3),
        "min_delta": pick(random, 0, 1 / 16, 1 / 64),
        "cooldown": pick(random, 0, 0, 1, 3),
        "min_lr": pick(random, 0.0, 0.03125, 0.01),
    }


def saving(random: np.random.Generator) -> dict[str, Any]:
    frequency = pick(random, "epoch", "epoch", 2, 4, 7)
    batch = "" if frequency == "epoch" else "-{batch:02d}"
    value = "{loss:.3f}" if frequency != "epoch" else "{val_loss:.2f}"
    monitored = watched(random)
    if frequency != "epoch":  # Keras fails on a direction that it settles at the end of the first epoch only
        monitored = {**monitored, "monitor": monitored["monitor"].removeprefix("val_")}
    return {
        **monitored,
        "filepath": pick(random, "best", f"run/{{epoch:02d}}{batch}-{value}"),
        "save_best_only": frequency == "epoch" and pick(random, False, True, True),
        "save_weights_only": pick(random, False, True),
        "save_freq": frequency,
        "initial_value_threshold": pick(random, None, None, 0.5),
    }


def scheduled() -> Iterator[tuple[dict[str, Any], Any]]:
    yield {"schedule": "half"}, lambda epoch, rate: rate * 0.5
    yield {"schedule": "third"}, lambda epoch: 0.25 if epoch < 3 else 0.0625


def callbacks() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The recorded trainings, what each callback did, and the weights after."""
    random = np.random.default_rng(20260727)
    trainings = [recorded(random, 9) for _ in range(12)]
    cases: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for kind, draw, number in (
        ("EarlyStopping", stopping, 150),
        ("ReduceLROnPlateau", reducing, 100),
        ("ModelCheckpoint", saving, 60),
    ):
        for _ in range(number):
            case = {"class": kind, "arguments": draw(random), "training": int(random.integers(len(trainings)))}
            cases.append(run(case, trainings, arrays, f"{len(cases)}"))
    for arguments, schedule in scheduled():
        case = {"class": "LearningRateScheduler", "arguments": arguments, "training": 0}
        cases.append(run(case, trainings, arrays, f"{len(cases)}", schedule=schedule))
    made = {"trainings": trainings, "cases": cases, "tables": list(tables(trainings)), "directions": directions()}
    made["signatures"] = signatures()
    return {**made, "events": list(events(trainings))}, arrays


def run(case: dict[str, Any], trainings: Any, arrays: dict[str, np.ndarray], key: str, **given: Any) -> dict[str, Any]:
    arguments = {**case["arguments"], **given}
    if "filepath" in arguments:
        arguments["filepath"] += KERAS_SUFFIX[arguments["save_weights_only"]]
    model = Model()
    with in_temporary():
        callback = getattr(keras.callbacks, case["class"])(**arguments)
        epochs = drive(callback, model, trainings[case["training"]])
        files = sorted(str(path) for path in Path().rglob("*") if path.is_file())
    if case["class"] == "EarlyStopping":
        arrays[key] = np.concatenate([array.ravel() for array in model.get_weights()])
    return {**case, "epochs": epochs, "saved": model.saved, "files": len(files)}


@contextlib.contextmanager
def in_temporary() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def tables(trainings: Any) -> Iterator[dict[str, Any]]:
    """Files of CSVLogger."""
    plain = [{"batches": [], "logs": {"loss": 0.1 + e / 3, "a_loss": 1e-7 * e, "learning_rate": 0.1}} for e in range(4)]
    late = [{"batches": [], "logs": {"loss": e / 7, **({"val_loss": 2.5} if e % 2 else {})}} for e in range(4)]
    before = "epoch,accuracy,loss,val_accuracy,val_loss\r\n0,0.5,0.25,0.5,0.125\r\n"
    for training in (trainings[0], plain, late):
        for arguments in ({}, {"separator": ";"}, {"separator": "\t", "append": True}):
            yield table(training, arguments, None)
    yield table(trainings[1], {"append": True}, before)
    yield table(trainings[1], {"append": True}, "")
    yield table(trainings[1], {"append": False}, before)


def table(training: Any, arguments: dict[str, Any], before: str | None) -> dict[str, Any]:
    with in_temporary():
        if before is not None:
            Path("log.csv").write_bytes(before.encode())
        drive(keras.callbacks.CSVLogger("log.csv", **arguments), Model(), training)
        text = Path("log.csv").read_bytes().decode()
    return {"arguments": arguments, "before": before, "training": training, "text": text}


def signatures() -> dict[str, dict[str, str]]:
    """The arguments and defaults of each callback."""
    found = {}
    for name in KINDS:
        parameters = inspect.signature(getattr(keras.callbacks, name)).parameters.values()
        found[name] = {p.name: repr(p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    return found


def directions() -> dict[str, Any]:
    """Whether more of a metric is better, as Keras knows it."""
    return {name: getattr(getattr(keras.metrics, name)(), "_direction", None) for name in METRICS}


def events(trainings: Any) -> Iterator[dict[str, Any]]:
    """Event files of TensorBoard."""
    import tensorflow as tf

    for arguments in ({}, {"histogram_freq": 2}, {"update_freq": 3}, {"update_freq": "batch"}):
        model = Model(keras.optimizers.SGD(0.125))
        model.optimizer.build([])
        model.layers = [_Layer(model)]
        with in_temporary():
            drive(keras.callbacks.TensorBoard("logs", write_graph=False, **arguments), model, trainings[2])
            found = []
            for file in sorted(Path("logs").rglob("*tfevents*")):
                for event in tf.compat.v1.train.summary_iterator(str(file)):
                    for value in event.summary.value:
                        array = tf.make_ndarray(value.tensor)
                        plugin = value.metadata.plugin_data.plugin_name
                        row = [file.parent.name, value.tag, plugin, event.step, str(array.dtype), array.tolist()]
                        found.append(row)
        yield {"arguments": arguments, "training": 2, "values": found}


class _Layer:
    """The fake model's weights as a layer of Keras has them."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def weights(self) -> list[Any]:
        return [_Weight(f"{self._model.name}/{path}", array) for path, array in self._model.weights.items()]


class _Weight(np.ndarray):
    def __new__(cls, path: str, array: np.ndarray) -> _Weight:
        made = np.asarray(array).view(cls)
        made.path = path
        return made
