"""What callbacks refuse, warn of and say, and how a list of them is told."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Model, drive

from lstmcore import callbacks
from lstmcore.callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from lstmcore.callbacks.base import BATCH_HOOKS, HOOKS
from lstmcore.callbacks.monitor import direction
from lstmcore.errors import FileError, LstmcoreError, SpecError, TrainingError
from lstmcore.metrics import AUC, Mean
from lstmcore.optimizers.schedules import ExponentialDecay


def losses(*values: float, name: str = "loss") -> list[dict[str, Any]]:
    return [{"batches": [], "logs": {name: value}} for value in values]


# The list


class Recorder(Callback):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in HOOKS and not name.startswith("on_batch"):
            return lambda *args, **named: self.heard.append((name, *args, named))
        return super().__getattribute__(name)


def test_a_list_has_every_hook_and_tells_all_in_order() -> None:
    assert {name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if name.startswith("on_")} == set(
        HOOKS
    )
    first, second = Recorder(), Recorder()
    group = CallbackList([[first], (second,)], "model", {"epochs": 3})
    first.heard = second.heard = heard = []  # type: ignore[assignment]
    assert (first.model, second.params) == ("model", {"epochs": 3})
    for hook in HOOKS:
        heard.clear()
        if hook == "on_abort" or hook.startswith("on_batch"):
            continue
        if hook == "on_epoch_resume":
            group.on_epoch_resume(4, 7)
            assert heard == [(hook, 4, 7, {})] * 2
        elif hook in BATCH_HOOKS:
            getattr(group, hook)(4, {"loss": 1.0})
            assert heard == [(hook, 4, {"logs": {"loss": 1.0}})] * 2
        elif "epoch" in hook:
            getattr(group, hook)(4)
            assert heard == [(hook, 4, {}, {})] * 2
        else:
            getattr(group, hook)({"loss": 1.0})
            assert heard == [(hook, {"loss": 1.0}, {})] * 2


def test_the_older_names_of_batches_are_called() -> None:
    class Old(Callback):
        seen: list[Any] = []  # noqa: RUF012

        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.seen.append(("begin", batch, logs))

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen.append(("end", batch, logs))

    callback = Old()
    group = CallbackList(callback)
    group.on_train_batch_begin(2)
    group.on_train_batch_end(2, {"loss": 0.5})
    assert callback.seen == [("begin", 2, {}), ("end", 2, {"loss": 0.5})]
    assert group.watches_batches and group.needs_weights


def test_what_is_added_to_the_logs_later_callbacks_see() -> None:
    found = []
    reader = LambdaCallback(on_epoch_end=lambda epoch, logs: found.append(logs["learning_rate"]))
    logs = {"loss": 1.0}
    group = CallbackList([ReduceLROnPlateau("loss"), reader], Model(), {})
    group.on_train_begin()
    group.on_epoch_end(0, logs)
    assert found == [0.125] and logs["learning_rate"] == 0.125


@pytest.mark.parametrize(
    ("made", "watches", "needs"),
    [
        (lambda: [EarlyStopping(), CSVLogger("x"), ReduceLROnPlateau(), callbacks.History()], False, False),
        (lambda: [TerminateOnNaN()], True, False),
        (lambda: [ModelCheckpoint("x.safetensors")], False, False),
        (lambda: [ModelCheckpoint("x.safetensors", save_freq=5)], True, True),
        (lambda: [LambdaCallback(on_epoch_end=print)], False, False),
        (lambda: [LambdaCallback(on_train_batch_begin=print)], True, True),
        (lambda: [LambdaCallback(on_batch_end=print, reads_weights=False)], True, False),
        (lambda: [LambdaCallback(on_test_batch_end=print)], False, False),
        (list, False, False),
    ],
)
def test_batches_and_weights_are_asked_for_only_where_they_are_used(made: Any, watches: bool, needs: bool) -> None:
    group = CallbackList(made(), Model(), {"steps": 3, "verbose": 0})
    assert (group.watches_batches, group.needs_weights) == (watches, needs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (EarlyStopping, r"the class EarlyStopping is given, not one of it; give EarlyStopping\(\.\.\.\)"),
        ([print], "<built-in function print> is given; expected callbacks of lstmcore.callbacks"),
    ],
)
def test_what_is_no_callback_is_refused(given: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        CallbackList(given)


def test_a_callback_of_keras_is_answered_with_ours() -> None:
    foreign = type("EarlyStopping", (), {"__module__": "keras.src.callbacks.early_stopping"})()
    with pytest.raises(SpecError, match=r"of keras is given; lstmcore\.callbacks\.EarlyStopping takes the same"):
        CallbackList([foreign])


def test_an_exception_is_told_and_an_end_is_not() -> None:
    heard = []
    group = CallbackList([LambdaCallback(on_abort=lambda: heard.append("abort"))])
    with group:
        pass
    assert heard == []
    with pytest.raises(KeyboardInterrupt), group:
        raise KeyboardInterrupt
    assert heard == ["abort"]


def test_a_callback_of_ones_own_needs_no_init() -> None:
    class Mine(Callback):
        def __init__(self) -> None:
            self.value = 3

    mine = Mine()
    assert (mine.params, mine.model, mine.resumed, mine.state()) == ({}, None, False, {})


# Watching a value


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
def test_a_log_that_is_not_there_is_warned_of(kind: Any) -> None:
    with pytest.warns(
        UserWarning, match=rf"{kind.__name__}: the logs of epoch 1 have no 'val_loss' \(available: .*loss"
    ):
        drive(kind(), Model(), losses(1.0))


def test_without_the_value_the_best_cannot_be_told_and_every_model_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Model()
    with pytest.warns(UserWarning, match="so every model is saved; give another monitor, or validation data"):
        drive(ModelCheckpoint("m.safetensors", save_best_only=True), model, losses(1.0, 2.0))
    assert len(model.saved) == 2


def test_nan_is_never_the_best() -> None:
    callback = EarlyStopping("loss", patience=2, restore_best_weights=True)
    seen = drive(callback, Model(), losses(math.nan, 3.0, math.nan, 2.0, 5.0, math.nan))
    assert [epoch["best"] for epoch in seen] == [None, 3.0, 3.0, 2.0, 2.0, 2.0]
    assert callback.stopped_epoch == 5


def test_nan_in_the_first_epoch_stops_nothing_and_its_weights_are_better_than_none() -> None:
    model, after_one = Model(), Model()
    after_one.step()
    recorded = [{"batches": [{}], "logs": {"loss": math.nan}}] * 3
    drive(EarlyStopping("loss", restore_best_weights=True), model, recorded)
    assert [array.tolist() for array in model.get_weights()] == [array.tolist() for array in after_one.get_weights()]
    assert len(drive(EarlyStopping("loss", patience=0), Model(), losses(math.nan, math.nan, math.nan))) == 2


def test_a_second_training_starts_anew() -> None:
    callback, recorded = ReduceLROnPlateau("loss", patience=1, cooldown=5, factor=0.5), losses(1.0, 2.0, 3.0)
    once = drive(callback, Model(), recorded)
    assert callback.in_cooldown()
    assert drive(callback, Model(), recorded) == once


def test_differences_below_float32_count() -> None:
    callback = EarlyStopping("loss", patience=1)
    assert len(drive(callback, Model(), losses(*(1.0 - 1e-12 * k for k in range(4))))) == 4


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        *(("loss", "min"), ("val_loss", "min"), ("left_loss", "min"), ("val_left_accuracy", "max"), ("acc", "max")),
        *(("val_auc_3", "max"), ("right_mae", "min"), ("area", "max"), ("right_area", "max"), ("novel", None)),
        *(("unsigned", None), ("learning_rate", None), ("middle_accuracy", None)),
    ],
)
def test_auto_knows_outputs_and_the_models_own_metrics(monitor: str, expected: str | None) -> None:
    model = Model()
    model.output_names = ("left", "right")
    model.metrics = (AUC(name="area"), Mean(name="unsigned"))  # type: ignore[assignment]
    assert direction(monitor, model) == expected


def test_what_auto_does_not_know_is_refused_before_training() -> None:
    for callback in (
        EarlyStopping("novel"),
        ReduceLROnPlateau("novel"),
        ModelCheckpoint("m.safetensors", "novel", 0, True),
    ):
        callback.set_model(Model())
        with pytest.raises(SpecError, match=f"{type(callback).__name__}: nothing says whether 'novel' should be large"):
            callback.on_train_begin()
    drive(EarlyStopping("novel", mode="max"), Model(), losses(1.0, 2.0, name="novel"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(mode="maximum"), "EarlyStopping: mode is 'maximum'; expected 'auto', 'min' or 'max'"),
        (lambda: ReduceLROnPlateau(mode="up"), "ReduceLROnPlateau: mode is 'up'; expected"),
        (lambda: ModelCheckpoint("m.safetensors", mode=None), "ModelCheckpoint: mode is None; expected"),  # type: ignore[arg-type]
        (lambda: EarlyStopping(patience=-1), "patience is -1; expected an integer >= 0"),
        (lambda: EarlyStopping(patience=2.5), "patience is 2.5; expected an integer >= 0"),  # type: ignore[arg-type]
        (lambda: EarlyStopping(monitor=3), "monitor is 3; expected a string"),  # type: ignore[arg-type]
        (lambda: EarlyStopping(min_delta=math.nan), "min_delta is nan; expected a finite number"),
        (lambda: EarlyStopping(baseline="low"), "baseline is 'low'; expected None or a finite number"),  # type: ignore[arg-type]
        (lambda: EarlyStopping(restore_best_weights=1), "restore_best_weights is 1; expected True or False"),  # type: ignore[arg-type]
        (lambda: ReduceLROnPlateau(factor=1.0), r"factor is 1.0; expected a number in \[0, 1\)"),
        (lambda: ReduceLROnPlateau(min_lr=-0.1), "min_lr is -0.1; expected a number >= 0"),
        (lambda: CSVLogger("x", separator="::"), "separator is '::'; expected one character"),
        (lambda: ModelCheckpoint("m.safetensors", save_freq=0), "save_freq is 0; expected 'epoch' or a number"),
        (lambda: ModelCheckpoint("m.safetensors", save_freq="batch"), "save_freq is 'batch'; expected 'epoch'"),
        (lambda: LearningRateScheduler(0.1), r"schedule is 0.1; expected a function of \(epoch, rate\)"),  # type: ignore[arg-type]
        (lambda: LearningRateScheduler(lambda: 0.1), r"takes 0 arguments; expected \(epoch, rate\) or \(epoch\)"),
        (lambda: LearningRateScheduler(lambda a, b, c: a), "takes 3 arguments"),
        (lambda: LambdaCallback(on_epoch_ends=print), "no hook 'on_epoch_ends'. Did you mean 'on_epoch_end'"),
        (lambda: LambdaCallback(on_epoch_end=3), "on_epoch_end is 3; expected a function"),  # type: ignore[arg-type]
        (lambda: TerminateOnNaN("yes"), "raise_error is 'yes'; expected True or False"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


# The learning rate


@pytest.mark.parametrize("make", [lambda: ReduceLROnPlateau("loss"), lambda: LearningRateScheduler(lambda epoch: 0.1)])
def test_a_schedule_of_the_optimizer_is_not_overruled(make: Any) -> None:
    model = Model()
    model.optimizer.learning_rate = ExponentialDecay(0.1, 5, 0.5)
    with pytest.raises(SpecError, match=r"sets the learning rate, but that of the optimizer follows ExponentialDecay"):
        drive(make(), model, losses(1.0))


@pytest.mark.parametrize("made", [-0.1, math.nan, math.inf, "fast", None, True])
def test_a_schedule_gives_a_number(made: Any) -> None:
    with pytest.raises(SpecError, match=r"the schedule gave .* for epoch 0; expected a number >= 0"):
        drive(LearningRateScheduler(lambda epoch: made), Model(), losses(1.0))


def test_schedules_may_be_called_in_several_ways() -> None:
    def both(epoch: int, rate: float = 9.0) -> float:
        return rate / 2

    def several(*given: float) -> float:
        return given[1] / 4

    def one(epoch: int, *, scale: float = 3.0) -> float:
        return epoch + scale

    for schedule, expected in ((both, 0.0625), (several, 0.03125), (one, 3.0), (lambda e: np.float32(0.5), 0.5)):
        model = Model()
        drive(LearningRateScheduler(schedule), model, losses(1.0))
        assert model.optimizer.learning_rate == expected


def test_a_type_error_inside_a_schedule_is_not_taken_for_another_signature() -> None:
    def schedule(epoch: int, rate: float) -> float:
        return rate + "1"  # type: ignore[operator,no-any-return]

    with pytest.raises(TypeError, match="unsupported operand"):
        drive(LearningRateScheduler(schedule), Model(), losses(1.0))


# Saving


@pytest.mark.parametrize("given", ["run/best.keras", "run/best.weights.h5", "run/best.h5", "run/best"])
def test_other_formats_are_answered_with_ours(given: str) -> None:
    with pytest.raises(SpecError, match=r"expected one that ends in '.safetensors', .*: 'run/best.safetensors'"):
        ModelCheckpoint(given)


def test_what_a_path_cannot_be_filled_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="names 'val_acc'; available: epoch, loss"):
        drive(ModelCheckpoint(tmp_path / "{val_acc:.2f}.safetensors"), Model(), losses(1.0))
    with pytest.raises(SpecError, match="names the batch, but files are saved after epochs"):
        ModelCheckpoint("{batch}.safetensors")
    with pytest.raises(SpecError, match="is no format: "):
        ModelCheckpoint("{epoch.safetensors")


# CSV


def test_a_file_of_something_else_is_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("name,value\r\na,1\r\n")
    with pytest.raises(
        FileError, match="begins with 'name, value'; expected the header of a CSVLogger with separator ','"
    ):
        drive(CSVLogger(path, append=True), Model(), losses(1.0))
    assert path.read_text() == "name,value\na,1\n"


def test_logs_that_have_no_column_are_told(tmp_path: Path) -> None:
    recorded = losses(1.0, 2.0)
    recorded[1]["logs"]["late"] = 3.0
    with pytest.warns(UserWarning, match="has no column for late, which are not written"):
        drive(CSVLogger(tmp_path / "log.csv"), Model(), recorded)


def test_appending_goes_under_the_header_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"epoch,val_loss,loss\r\n0,4.0,5.0")
    drive(CSVLogger(path, append=True), Model(), losses(1.5))
    assert path.read_bytes() == b"epoch,val_loss,loss\r\n0,4.0,5.0\r\n0,NA,1.5\r\n"


# NaN


def batches(*values: float) -> list[dict[str, Any]]:
    return [{"batches": [{"loss": value} for value in values], "logs": {"loss": values[-1]}}]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_training_stops_where_the_loss_is_no_number(bad: float, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model()
    drive(TerminateOnNaN(), model, batches(1.0, bad))
    assert model.stop_training
    assert capsys.readouterr().out == (
        f"TerminateOnNaN: the loss is {float(bad)} after batch 2 of epoch 1; training stops\n"
    )
    with pytest.raises(TrainingError, match=r"after batch 2 of epoch 1; try a smaller learning rate") as caught:
        drive(TerminateOnNaN(raise_error=True), Model(), batches(1.0, bad))
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, LstmcoreError)


def test_training_goes_on_where_it_is_one() -> None:
    model = Model()
    drive(TerminateOnNaN(), model, batches(1.0, 1e300))
    assert not model.stop_training


# What they say


def test_what_verbose_says(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded = losses(2.0, 1.0, 3.0)
    drive(EarlyStopping("loss", verbose=1, patience=1, restore_best_weights=True), Model(), recorded)
    drive(ReduceLROnPlateau("loss", verbose=1, patience=1, factor=0.5), Model(), recorded)
    drive(LearningRateScheduler(lambda epoch: 0.5, verbose=1), Model(), recorded[:1])
    drive(ModelCheckpoint("{epoch}.safetensors", "loss", 1, True), Model(), recorded)
    assert capsys.readouterr().out.splitlines() == [
        "EarlyStopping: loss no longer improved; stopped after epoch 3",
        "EarlyStopping: the weights are those of the best epoch, 2",
        "ReduceLROnPlateau: learning rate 0.125 -> 0.0625 after epoch 3",
        "LearningRateScheduler: learning rate 0.5 for epoch 1",
        "ModelCheckpoint: epoch 1, loss improved from none to 2.00000, saving 1.safetensors",
        "ModelCheckpoint: epoch 2, loss improved from 2.00000 to 1.00000, saving 2.safetensors",
        "ModelCheckpoint: epoch 3, loss 3.00000 is no better than 1.00000",
    ]


def test_importing_callbacks_is_light() -> None:
    code = "import lstmcore.callbacks, sys; print({m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"rich", "matplotlib", "tensorboardX", "tensorboard", "google", "torch", "tensorflow", "pluggy"}
    assert not heavy & set(done.stdout.replace("'", "").strip("{}\n").split(", "))
