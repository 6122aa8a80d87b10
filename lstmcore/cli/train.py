"""``lstmcore train``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from lstmcore import optimizers, plugins
from lstmcore.callbacks import Callback, CSVLogger, EarlyStopping, History
from lstmcore.cli.arrays import held_arrays, read_array
from lstmcore.cli.failures import CommandFailed
from lstmcore.cli.modelfile import read_trainable
from lstmcore.cli.options import PATH, BackendName, json_option
from lstmcore.cli.output import printable, say, show_json
from lstmcore.cli.quiet import quiet_engines
from lstmcore.models.training import TrainableModel
from lstmcore.random import set_random_seed

Array = NDArray[Any]

NAMES = (("x_train", "y_train", "x_test", "y_test"), ("x", "y", "x_val", "y_val"))
"""What the arrays of a data file are called: inputs, targets, and those held back, which may be absent."""


@click.command()
@click.argument("spec", type=PATH)
@click.option("--data", type=PATH, required=True, help="A .npz file with x_train and y_train, or x and y.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The .safetensors file to write.")
@click.option("--backend", type=BackendName(), help="The engine, name or name:device; see lstmcore backends.")
@click.option("--epochs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples a step; 32, or what the model fixes.")
@click.option("--optimizer", default="adam", show_default=True, help="As in Keras: adam, sgd, rmsprop, ...")
@click.option("--learning-rate", type=float, help="Instead of the optimizer's own.")
@click.option("--loss", help="As in Keras; by default what goes with the last activation.")
@click.option("--metric", "metrics", multiple=True, help="As in Keras; may be given several times.")
@click.option("--divide", type=float, help="Divides the inputs: 255 for images of bytes.")
@click.option("--validation-split", type=float, default=0.0, help="This share of the samples, the last, is held back.")
@click.option("--patience", type=click.IntRange(min=0), help="Stops after so many epochs without a lower loss.")
@click.option("--seed", type=click.IntRange(min=0), help="Of new weights, shuffles and dropout.")
@click.option("--checkpoint", type=click.Path(file_okay=False, path_type=Path), help="Directory to resume from.")
@click.option("--save-every", type=click.IntRange(min=1), help="Steps between two checkpoints; by default an epoch.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="A .csv file with a line an epoch.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="A picture of losses and metrics.")
@json_option
def train(spec: Path, data: Path, output: Path | None, as_json: bool, **told: Any) -> None:
    """Train the model that SPEC describes on the arrays in a .npz file.

    SPEC is a .json file, as model.to_json() or Keras 3 writes it, whose weights start anew, or a .safetensors file,
    whose weights are where training begins. The data file holds x_train and y_train, and may hold x_test and y_test,
    which are validated on; or x, y, x_val, y_val. A model of several inputs takes the arrays called like them.

    \b
    Examples:
      lstmcore train model.json --data d.npz --epochs 5 --output trained.safetensors
      lstmcore train model.json --data mnist.npz --divide 255 --metric accuracy --epochs 3 --backend torch
      lstmcore train model.json --data d.npz --epochs 20 --checkpoint run --save-every 100   # resumes when run again
    """
    if output is not None and output.suffix != ".safetensors":
        raise click.UsageError(f"--output {output.name!r}: expected a name that ends in .safetensors.")
    if told["seed"] is not None:
        set_random_seed(told["seed"])
    model = read_trainable(spec)
    x, y, held = _arrays(data, model, told["divide"])
    loss = told["loss"] or _loss(model, y)
    model.compile(_optimizer(told["optimizer"], told["learning_rate"]), loss, metrics=list(told["metrics"]))
    name = told["backend"] or plugins.current()
    with quiet_engines(f"loading {name}"):
        engine = plugins.get(name)
    if not as_json:
        rows = f"{len(y):,} samples"
        say(printable(f"{model.name}: {model.count_params():,} weights, {rows}, loss {loss}, on {engine.name}"))
    start = time.perf_counter()
    history = model.fit(
        x,
        y,
        batch_size=told["batch_size"],
        epochs=told["epochs"],
        verbose=0 if as_json else "auto",
        callbacks=_callbacks(told, held is not None or bool(told["validation_split"])),
        validation_data=held,
        validation_split=told["validation_split"],
        checkpoint=told["checkpoint"],
        save_every=told["save_every"] or "epoch",
        backend=engine,
    )
    _finish(model, history, output, told["plot"])
    if as_json:
        show_json(
            {
                "model": model.name,
                "backend": engine.name,
                "device": engine.device,
                "loss": loss,
                "epochs": history.epoch,
                "history": history.history,
                "seconds": time.perf_counter() - start,
                "output": None if output is None else str(output),
            }
        )
    elif output is None:
        say("The trained weights are not kept: --output names a file for them.")


def _arrays(path: Path, model: TrainableModel, divide: float | None) -> tuple[Any, Any, Any]:
    """(x, y, (x, y) held back or None) from the data file."""
    there = held_arrays(path)
    inputs = model.program.inputs
    floats = {name: model.program.values[name].kind == "float" for name in inputs}
    for x, y, x_held, y_held in NAMES:
        single = len(inputs) == 1
        if y not in there or (single and x not in there) or (not single and not set(inputs) <= set(there)):
            continue
        if not single:
            named = {name: _scaled(read_array(path, name), divide, floats[name]) for name in inputs}
            return named, read_array(path, y), None
        first = floats[inputs[0]]
        held = None
        if x_held in there and y_held in there:
            held = _scaled(read_array(path, x_held), divide, first), read_array(path, y_held)
        return _scaled(read_array(path, x), divide, first), read_array(path, y), held
    wanted = "x_train and y_train, or x and y" if len(inputs) == 1 else f"{', '.join(inputs)}, and y"
    raise CommandFailed(f"{path.name} holds {', '.join(sorted(there)) or 'no arrays'}; expected {wanted}.")


def _scaled(array: Array, divide: float | None, floats: bool) -> Array:
    """The inputs as the model takes them: integers become numbers only where it is said how."""
    if divide is None:
        if floats and array.dtype == np.uint8:
            raise click.UsageError("the inputs are bytes, and the model takes numbers: --divide 255 makes them 0 to 1.")
        return array
    if divide == 0 or not floats:
        raise click.UsageError(f"--divide {divide:g}: expected a number other than 0, and a model of float inputs.")
    return (array / divide).astype(np.float32) if array.dtype != np.float64 else array / divide


def _loss(model: TrainableModel, y: Any) -> str:
    """What goes with the activation of the last layer."""
    config: Mapping[str, Any] = model.layers[-1].get_config()  # type: ignore[attr-defined]
    activation = config.get("activation")
    if activation == "softmax":
        return "sparse_categorical_crossentropy" if y.dtype.kind in "iu" else "categorical_crossentropy"
    return "binary_crossentropy" if activation == "sigmoid" else "mse"


def _optimizer(name: str, rate: float | None) -> optimizers.Optimizer:
    rule = optimizers.get(name)
    return rule if rate is None else rule.with_learning_rate(rate)


def _callbacks(told: Mapping[str, Any], held: bool) -> list[Callback]:
    found: list[Callback] = []
    if told["log"] is not None:
        found.append(CSVLogger(told["log"]))
    if told["patience"] is not None:
        monitor = "val_loss" if held else "loss"
        found.append(EarlyStopping(monitor, patience=told["patience"], restore_best_weights=True))
    return found


def _finish(model: TrainableModel, history: History, output: Path | None, plot: Path | None) -> None:
    if output is not None:
        model.save(output)
    if plot is not None:
        history.plot(plot)
