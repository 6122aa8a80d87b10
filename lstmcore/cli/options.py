"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

PATH = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
MODEL_PATH = click.Path(exists=True, readable=True, path_type=Path)  # some models are folders


class BackendName(click.ParamType[str]):
    """``name`` or ``name:device`` of an installed plugin; whether it runs is for the command to see."""

    name = "backend"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from lstmcore import plugins
        from lstmcore.errors import near

        name, colon, device = str(value).partition(":")
        if name not in plugins.names():
            self.fail(f"unknown backend {name!r}.{near(name, plugins.names())}", param, ctx)
        if colon and not device:
            self.fail(f"{value!r} names no device after ':'; write {name!r} for the default", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from lstmcore import plugins

        return [CompletionItem(name) for name in plugins.names() if name.startswith(incomplete)]


model_file = click.argument("file", type=MODEL_PATH)

json_option = click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")

input_option = click.option(
    "--input", "input_path", type=PATH, required=True, help="The input: a .npy or .npz file, first axis the samples."
)

optional_input = click.option(
    "--input", "input_path", type=PATH, help="The input: a .npy or .npz file; without it, inputs are made up."
)

key_option = click.option("--key", help="Which array of a .npz file, where it holds several and the model takes one.")


def settings(given: Iterable[str], flag: str = "-o") -> dict[str, Any]:
    """``key=value`` options as a dict; a value that is JSON, such as a number, is read as such."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise click.UsageError(f"{flag} {text!r}: expected KEY=VALUE, such as batch_size=1.")
        if key in found:
            raise click.UsageError(f"{flag} {key} is given twice.")
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
