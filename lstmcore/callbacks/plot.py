"""Drawing a history with matplotlib."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lstmcore.errors import InputError, near

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lstmcore.callbacks.history import History

COLUMNS = 3
PANEL = (4.6, 3.4)  # inches
# Told apart in grey, too: dark and filled against light, dashed and hollow.
TRAINING: dict[str, Any] = {"color": "#1b4f8a", "linestyle": "-", "marker": "o"}
VALIDATION: dict[str, Any] = {"color": "#e08a1e", "linestyle": "--", "marker": "s", "markerfacecolor": "white"}
MARKED = 40  # with more epochs than this, markers would cover the line


def plot(
    history: History,
    path: str | os.PathLike[str] | None,
    metrics: str | Sequence[str] | None,
    log: bool | str | Sequence[str],
) -> Figure:
    """See `History.plot`."""
    names = _chosen(history, metrics, "metrics")
    logarithmic = names if log is True else [] if log is False else _chosen(history, log, "log")
    figure = _figure(len(names))
    for axes, name in zip(figure.axes, names, strict=True):
        _panel(axes, history, name)
        if name in logarithmic:
            axes.set_yscale("log")
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _figure(panels: int) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        text = f"history.plot needs matplotlib, which is not installed: pip install 'lstmcore[plot]' ({error})"
        raise ImportError(text) from error
    columns = min(panels, COLUMNS)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    for place in range(panels):
        figure.add_subplot(rows, columns, place + 1)
    return figure


def _chosen(history: History, metrics: str | Sequence[str] | None, what: str) -> list[str]:
    known = list(dict.fromkeys(name.removeprefix("val_") for name in history.history))
    if not known:
        raise InputError("the history has no epoch yet; train with fit first")
    if metrics is None:
        return known
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in known:
            raise InputError(f"plot: {what} names {name!r}.{near(name, known)}")
    if not names:
        raise InputError(f"plot: {what} is empty.{near('', known)}")
    return names


def _panel(axes: Axes, history: History, name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    curves = (("training", name, TRAINING), ("validation", f"val_{name}", VALIDATION))
    for label, key, style in curves:
        epochs = [epoch + 1 for epoch in history.epochs_of(key)]
        if epochs:
            marker = {} if len(epochs) <= MARKED else {"marker": ""}
            axes.plot(epochs, history.history[key], label=label, markersize=4.5, linewidth=1.6, **{**style, **marker})
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(True, alpha=0.3)
    axes.legend()
