"""The event files: what Keras' callback writes, as TensorFlow reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Model, drive

import lstmcore as lc
from lstmcore.callbacks import TensorBoard, events
from lstmcore.errors import SpecError
from lstmcore.optimizers.schedules import ExponentialDecay

GOLDENS = Path(__file__).parents[1] / "goldens"
MADE = json.loads((GOLDENS / "callbacks.json").read_text("utf-8"))["cases"]
READER = """
import json, sys
from pathlib import Path
import tensorflow as tf

found = []
for file in sorted(Path(sys.argv[1]).rglob("*tfevents*")):
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            array = tf.make_ndarray(value.tensor)
            plugin = value.metadata.plugin_data
            what = array.tolist() if array.dtype != object else array.item().decode()
            found.append([str(file.parent.relative_to(sys.argv[1])), value.tag, plugin.plugin_name, event.step,
                          str(array.dtype), what])
print(json.dumps(found))
"""


def values_in(folder: Path) -> list[tuple[Any, ...]]:
    """(directory, tag, step, numbers) of all that the files hold, without any check."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.rglob("*tfevents*")):
        for _, record in events._records(file.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                numbers = [*value.tensor.float_val, *value.tensor.double_val]
                found.append((file.parent.name, value.tag, event.step, numbers))
    return found


def read_by_tensorflow(folder: Path) -> list[list[Any]]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder)], check=True, env=environment, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[Any]]]:
    """What TensorFlow reads, its checksums included, in the files of each case and in one of a real model."""
    root = tmp_path_factory.mktemp("events")
    for number, case in enumerate(MADE["events"]):
        callback = TensorBoard(root / str(number), write_graph=False, **case["arguments"])
        drive(callback, Model(), MADE["trainings"][case["training"]])
    lc.set_random_seed(3)
    model = lc.models.Sequential([lc.layers.Input((4, 3)), lc.layers.LSTM(5)])
    file = events.EventFile(str(root / "graph"))
    file.model(model.to_json())
    file.close()
    found: dict[str, list[list[Any]]] = {}
    for where, *rest in read_by_tensorflow(root):
        name, _, part = where.partition("/")
        found.setdefault(name, []).append([part, *rest])
    return found


@pytest.mark.parametrize("number", range(len(MADE["events"])))
def test_the_values_are_those_that_keras_writes(number: int, files: dict[str, list[list[Any]]]) -> None:
    theirs = {tuple(row[:5]): row[5] for row in MADE["events"][number]["values"]}
    own = {tuple(row[:5]): row[5] for row in files[str(number)]}
    frequency = MADE["events"][number]["arguments"].get("update_freq", "epoch")
    # With a number, Keras drops what does not fall on a multiple of it, epochs and evaluations too.
    assert set(theirs) <= set(own)
    extra = {key for key in set(own) - set(theirs) if key[1].startswith("batch")}
    assert not extra
    if frequency in ("epoch", "batch"):
        assert set(own) == set(theirs)
    for key, value in theirs.items():
        np.testing.assert_allclose(own[key], value, rtol=1e-6, atol=1e-12, err_msg=str(key))


def test_nothing_is_written_twice(files: dict[str, list[list[Any]]]) -> None:
    for rows in files.values():
        keys = [tuple(row[:4]) for row in rows]
        assert len(keys) == len(set(keys))


def test_every_epoch_is_written_whatever_the_frequency_of_batches(files: dict[str, list[list[Any]]]) -> None:
    number = next(k for k, case in enumerate(MADE["events"]) if case["arguments"].get("update_freq") == 3)
    steps = [row[3] for row in files[str(number)] if row[:2] == ["train", "epoch_loss"]]
    assert steps == list(range(9))


def test_the_graph_is_the_models_description(files: dict[str, list[list[Any]]]) -> None:
    ((_, tag, plugin, step, _, text),) = files["graph"]
    assert (tag, plugin, step) == ("keras", "graph_keras_model", 0)
    assert json.loads(text)["config"]["layers"][1]["class_name"] == "LSTM"


@pytest.mark.parametrize("values", [[3.0, 3.0], [], [-1.0, 0.5, 4.0, 4.0], [1.0, np.nan, np.inf]])
def test_buckets_hold_every_finite_value_once(values: list[float]) -> None:
    rows = events.buckets(np.array(values))
    finite = np.array(values)[np.isfinite(values)]
    assert rows.shape == (30, 3)
    assert rows[:, 2].sum() == len(finite)
    if len(finite):
        assert rows[0, 0] == finite.min() and rows[-1, 1] == finite.max() and rows[-1, 2] >= 1


def test_steps_that_come_again_are_taken_out_and_a_half_written_record(tmp_path: Path) -> None:
    file = events.EventFile(str(tmp_path))
    for step in range(5):
        file.scalar("epoch_loss", 1.5 * step, step)
        file.scalar("batch_loss", 0.5 * step, 10 * step)
    file.scalar("batch_loss", 1.25, 15)  # of which only a part is left
    file.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    foreign = tmp_path / "events.out.tfevents.1.other.v2"
    foreign.write_bytes(b"not ours")
    events.forget(str(tmp_path), lambda tag, step: step <= {"epoch_loss": 2, "batch_loss": 20}[tag])
    assert foreign.read_bytes() == b"not ours"
    foreign.unlink()
    assert [row[1:3] for row in values_in(tmp_path)] == [
        (tag, step * (10 if tag == "batch_loss" else 1)) for step in range(3) for tag in ("epoch_loss", "batch_loss")
    ]
    assert [row[2] for row in read_by_tensorflow(tmp_path) if row[1] == "epoch_loss"] == ["scalars"] * 3
    events.forget(str(tmp_path / "nothing there"), lambda tag, step: True)


def test_the_rate_of_a_schedule_is_that_of_the_step(tmp_path: Path) -> None:
    model = Model()
    model.optimizer.learning_rate = ExponentialDecay(0.5, 6, 0.25, staircase=True)
    callback = TensorBoard(tmp_path, write_graph=False)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, steps in enumerate((3, 6, 12)):
        model.optimizer.iterations = steps
        callback.on_epoch_end(epoch, {"loss": 1.0})
    callback.on_train_end()
    rates = [numbers for _, tag, _, numbers in values_in(tmp_path) if tag == "epoch_learning_rate"]
    assert rates == [[0.5], [0.125], [0.03125]]


def test_speed_is_written_if_asked(tmp_path: Path) -> None:
    recorded = [{"batches": [{"loss": 1.0}] * 3, "logs": {"loss": 1.0}}] * 2
    drive(TensorBoard(tmp_path, update_freq=1, write_steps_per_second=True, write_graph=False), Model(), recorded)
    found = {(tag, step): numbers[0] for _, tag, step, numbers in values_in(tmp_path)}
    speeds = [value for (tag, _), value in found.items() if tag.endswith("steps_per_second")]
    assert len(speeds) == 8
    assert all(value > 0 for value in speeds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"write_images": True}, "write_images is True, which lstmcore does not write"),
        ({"profile_batch": (2, 5)}, r"profile_batch is \(2, 5\), which"),
        ({"embeddings_freq": 1}, "embeddings_freq is 1, which"),
        ({"embeddings_metadata": "m.tsv"}, "embeddings_metadata is 'm.tsv', which"),
        ({"update_freq": 0}, "update_freq is 0; expected 'epoch', 'batch' or a number of batches"),
        ({"update_freq": "step"}, "update_freq is 'step'; expected"),
        ({"histogram_freq": -1}, "histogram_freq is -1; expected an integer >= 0"),
    ],
)
def test_what_it_does_not_do_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TensorBoard(**arguments)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(events, "find_spec", missing)
    with pytest.raises(ImportError, match=r"pip install 'lstmcore\[tensorboard\]'"):
        TensorBoard("logs")
