"""A run killed after any epoch, and taken up from its last state, ends as one that was not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Model, drive
from test_tensorboard import values_in

from lstmcore.callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
)
from lstmcore.errors import SpecError

EPOCHS = 9


def training(seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    made = []
    for loss, val_loss in np.abs(np.cumsum(random.normal(-0.05, 0.4, size=(EPOCHS, 2)), axis=0) + 2).tolist():
        batches = [{"loss": loss + 0.1 * k} for k in range(4)]
        made.append({"batches": batches, "test": {"loss": val_loss}, "logs": {"loss": loss, "val_loss": val_loss}})
    return made


MAKERS: dict[str, Callable[[], Callback]] = {
    "stopping": lambda: EarlyStopping(patience=3, restore_best_weights=True, min_delta=0.05),
    "stopping over a baseline": lambda: EarlyStopping(
        "loss", patience=2, restore_best_weights=True, baseline=1.5, start_from_epoch=2
    ),
    "reducing": lambda: ReduceLROnPlateau(patience=1, factor=0.5, cooldown=2),
    "saving the best": lambda: ModelCheckpoint("{epoch}-{val_loss:.3f}.safetensors", save_best_only=True),
    "saving by batches": lambda: ModelCheckpoint("{epoch}-{batch}.safetensors", save_freq=7),
    "scheduling": lambda: LearningRateScheduler(lambda epoch, rate: rate * (0.5 if epoch % 2 else 1.5)),
    "history": History,
    "csv": lambda: CSVLogger("log.csv"),
    "csv after another run": lambda: CSVLogger("before.csv", append=True),
    "tensorboard": lambda: TensorBoard("logs", update_freq=3, histogram_freq=2),
}


def carried(state: Any) -> Any:
    """A state as a file would bring it back: arrays by name, everything else as JSON."""
    if isinstance(state, dict):
        return {name: carried(value) for name, value in state.items()}
    return state.copy() if isinstance(state, np.ndarray) else json.loads(json.dumps(state))


def outcome(callback: Callback, model: Model, folder: Path) -> dict[str, Any]:
    """All that can be seen at the end."""
    events = sorted(map(repr, values_in(folder / "logs")))
    own = ("best", "wait", "best_epoch", "stopped_epoch", "cooldown_counter", "history", "epoch")
    return {
        "files": {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*") if "logs" not in p.parts},
        "events": events,
        "weights": [array.tolist() for array in model.get_weights()],
        "rate": model.optimizer.learning_rate,
        "saved": model.saved,
        **{name: getattr(callback, name) for name in own if hasattr(callback, name)},
        "epochs": callback.epochs_of("val_loss") if isinstance(callback, History) else None,
    }


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Enters a new folder each time."""

    def enter() -> Iterator[Path]:
        for number in range(100):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "before.csv").write_text("epoch,loss,val_loss\r\n0,1.5,2.5\r\n7,1.25,2.25\r\n")
            monkeypatch.chdir(folder)
            yield folder

    return enter()


@pytest.mark.parametrize("seed", [3, 11])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_run_taken_up_after_any_epoch_ends_as_one_that_was_not_killed(
    kind: str, seed: int, folders: Iterator[Path]
) -> None:
    recorded, make = training(seed), MAKERS[kind]
    folder, callback, model = next(folders), make(), Model()
    whole = drive(callback, model, recorded)
    expected = outcome(callback, model, folder)
    assert len(whole) > 3
    for epoch in range(-1, len(whole) - 1):
        folder = next(folders)
        model, state = killed_after(epoch, make(), recorded)
        callback = make()
        CallbackList([callback], model).restore(carried(state))
        rest = drive(callback, model, recorded, {"resumed": True, "initial_epoch": epoch + 1}, first=epoch + 1)
        assert whole[epoch + 1 :] == rest
        assert outcome(callback, model, folder) == expected


def killed_after(epoch: int, callback: Callback, recorded: list[dict[str, Any]]) -> tuple[Model, Any]:
    """The model and the callbacks' state as of that epoch (-1: before all), of a run that was killed an epoch later."""
    model, kept = Model(), []
    if epoch < 0:
        kept.append((Model(), carried(CallbackList([callback], model).state())))

    def after(number: int) -> bool:
        if number == epoch:
            kept.append((copy.deepcopy(model), carried(CallbackList([callback], model).state())))
        return number == epoch + 1

    drive(callback, model, recorded, after_epoch=after)
    callback.on_abort()
    return kept[0]


def test_a_row_that_was_half_written_goes(tmp_path: Path) -> None:
    path, recorded = tmp_path / "log.csv", training(3)
    first = CSVLogger(path)
    drive(first, Model(), recorded, after_epoch=lambda epoch: epoch == 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b"1")  # of 10
    second = CSVLogger(path)
    second.restore(first.state())
    drive(second, Model(), recorded, {"resumed": True}, first=3)
    assert path.read_bytes().startswith(whole)
    assert [row.split(",")[0] for row in path.read_text().splitlines()] == ["epoch", *map(str, range(EPOCHS))]


def test_a_run_that_had_stopped_early_stays_stopped() -> None:
    first, model = EarlyStopping("loss", patience=1), Model()
    seen = drive(first, model, [{"batches": [], "logs": {"loss": 1.0}}] * 4)
    assert len(seen) == 2
    again, model = EarlyStopping("loss", patience=1), Model()
    again.set_model(model)
    again.restore(first.state())
    again.set_params({"resumed": True})
    again.on_train_begin()
    assert model.stop_training


def test_without_a_checkpoint_everything_starts_anew() -> None:
    callback, model = EarlyStopping("loss", patience=2, restore_best_weights=True), Model()
    once = drive(callback, model, training(3))
    assert drive(callback, Model(), training(3)) == once


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(SpecError, match="EarlyStopping: the state given holds best, wait; this callback keeps wait, "):
        EarlyStopping().restore({"best": 1.0, "wait": 0})
    with pytest.raises(SpecError, match="Callback: the state given holds best; this callback keeps nothing"):
        Callback().restore({"best": 1.0})
    other = {"wait": 0, "best": 1.0, "best_epoch": 0, "stopped_epoch": 0, "best_weights": {"lstm/kernel": np.ones(3)}}
    callback = EarlyStopping()
    callback.set_model(Model())
    with pytest.raises(SpecError, match="weights of another model: lstm/kernel"):
        callback.restore(other)


def test_states_go_to_the_callbacks_they_came_from() -> None:
    both = [EarlyStopping("loss", patience=9), ReduceLROnPlateau("loss"), EarlyStopping("val_loss", patience=9)]
    model = Model()
    group = CallbackList([*both, Callback()], model)
    for callback, best in zip(both, (1.0, 2.0, 3.0), strict=True):
        callback.best = best
    states = group.state()
    assert list(states) == ["EarlyStopping", "ReduceLROnPlateau", "EarlyStopping_1"]
    after = [EarlyStopping("loss"), EarlyStopping("val_loss")]
    with pytest.warns(UserWarning, match=r"callback ReduceLROnPlateau, which is not among .* \(EarlyStopping, Early"):
        CallbackList(after, model).restore(states)
    assert [callback.best for callback in after] == [1.0, 3.0]
