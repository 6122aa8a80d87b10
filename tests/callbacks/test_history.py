"""The history of a training, and its picture."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Model, drive
from matplotlib.colors import to_rgb

from lstmcore.callbacks import History
from lstmcore.errors import InputError


def trained(epochs: int = 6) -> History:
    history = History()
    for epoch in range(epochs):
        logs = {"accuracy": 0.5 + 0.05 * epoch, "loss": 2.0 * 0.5**epoch, "learning_rate": 0.1}
        if epoch % 2:
            logs |= {"val_accuracy": 0.4 + 0.05 * epoch, "val_loss": 2.5 * 0.5**epoch}
        history.on_epoch_end(epoch, logs)
    return history


def test_it_remembers_each_epoch() -> None:
    history = trained(4)
    assert history.epoch == [0, 1, 2, 3]
    assert history.history["loss"] == [2.0, 1.0, 0.5, 0.25]
    assert history.history["val_loss"] == [1.25, 0.3125]
    assert history.epochs_of("val_loss") == [1, 3]
    assert history.epochs_of("other") == []


def test_a_second_training_starts_anew() -> None:
    history, recorded = History(), [{"batches": [], "logs": {"loss": 1.0}}] * 2
    for _ in range(2):
        drive(history, Model(), recorded, {"epochs": 2})
    assert (history.epoch, history.history, history.params["epochs"]) == ([0, 1], {"loss": [1.0, 1.0]}, 2)


def test_a_panel_for_each_metric_with_its_validation(tmp_path: Path) -> None:
    path = tmp_path / "history.png"
    figure = trained().plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figure.axes] == ["accuracy", "loss", "learning_rate"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", "loss", "learning_rate"]
    assert {axes.get_yscale() for axes in figure.axes} == {"linear"}
    loss = figure.axes[1]
    curves = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in loss.get_lines()}
    assert curves["training"] == ([1, 2, 3, 4, 5, 6], [2.0 * 0.5**k for k in range(6)])
    assert curves["validation"] == ([2, 4, 6], [2.5 * 0.5**k for k in (1, 3, 5)])
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == ["training"]


def test_the_curves_differ_in_grey() -> None:
    training, validation = trained().plot().axes[1].get_lines()
    assert training.get_linestyle() != validation.get_linestyle()
    assert training.get_marker() != validation.get_marker()
    weights = np.array([0.299, 0.587, 0.114])
    lightness = [float(weights @ to_rgb(line.get_color())) for line in (training, validation)]
    assert abs(lightness[0] - lightness[1]) > 0.25


def test_metrics_may_be_chosen_and_be_logarithmic() -> None:
    history = trained()
    figure = history.plot(metrics=["loss", "accuracy"], log="loss")
    assert [(axes.get_title(), axes.get_yscale()) for axes in figure.axes] == [("loss", "log"), ("accuracy", "linear")]
    assert [axes.get_yscale() for axes in history.plot(metrics="loss", log=True).axes] == ["log"]


def test_one_epoch_can_be_seen() -> None:
    (line,) = trained(1).plot(metrics="loss").axes[0].get_lines()
    assert line.get_marker() == "o"


def test_many_epochs_have_no_markers() -> None:
    (line, _) = trained(60).plot(metrics="loss").axes[0].get_lines()
    assert line.get_marker() == ""


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="the history has no epoch yet; train with fit first"):
        History().plot()
    with pytest.raises(InputError, match=r"plot: metrics names 'los'\. Did you mean 'loss'"):
        trained().plot(metrics=["los"])
    with pytest.raises(InputError, match=r"plot: log names 'val_loss'\. Did you mean 'loss'"):
        trained().plot(log=["val_loss"])
    with pytest.raises(InputError, match="plot: metrics is empty"):
        trained().plot(metrics=[])


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *args: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'lstmcore\[plot\]'"):
        trained().plot()
