"""``lstmcore summary``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from lstmcore.cli.modelfile import read_description
from lstmcore.cli.options import json_option, model_file
from lstmcore.cli.output import printable, say, show_json
from lstmcore.layers.module import Module
from lstmcore.models.base import BaseModel


@click.command()
@model_file
@json_option
def summary(file: Path, as_json: bool) -> None:
    """Print the layers of FILE, their output shapes and numbers of weights.

    FILE is a .safetensors file that model.save wrote, or the .json of model.to_json. Only the description
    is read, not the weights.

    \b
    Examples:
      lstmcore summary model.safetensors
      lstmcore summary architecture.json --json
    """
    model = read_description(file)
    if as_json:
        show_json(facts(model))
    else:
        model.summary(print_fn=_show)


def _show(text: str) -> None:
    for line in text.splitlines():
        say(printable(line))


def facts(model: BaseModel) -> dict[str, Any]:
    """What the summary says, as JSON values; null for what has no shape yet."""
    layers = [_layer(model, name, layer) for name, layer in model.named_layers.items()]
    built = bool(layers) and all(layer["params"] is not None for layer in layers)
    trained, frozen = model.weights_by_training()
    return {
        "name": model.name,
        "class": type(model).__name__,
        "built": built,
        "input_shape": model.input_shape if built else None,
        "output_shape": model.output_shape if built else None,
        "dtype": model.dtype,
        "layers": layers,
        "params": sum(array.size for array in [*trained, *frozen]),
        "trainable_params": sum(array.size for array in trained),
        "non_trainable_params": sum(array.size for array in frozen),
    }


def _layer(model: BaseModel, name: str, layer: Module) -> dict[str, Any]:
    built = name in model.layer_shapes
    weights = {port: list(array.shape) for port, array in layer.weights.items()} if built else {}
    return {
        "name": name,
        "class": type(layer).__name__,
        "input_shape": model.layer_shapes.get(name),
        "output_shape": layer.arrange(model.layer_outputs[name]) if built else None,
        "params": sum(math.prod(lengths) for lengths in weights.values()) if built else None,
        "weights": weights,
        "trainable": layer.trainable,
    }
