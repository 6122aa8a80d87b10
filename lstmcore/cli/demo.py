"""``lstmcore demo``."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import lstmcore
from lstmcore.cli.failures import CommandFailed
from lstmcore.cli.learning import learn
from lstmcore.cli.options import json_option
from lstmcore.cli.story import Checks, Story, compare_engines, describe_models, read_digits, save_and_load


@click.command()
@click.option(
    "--keep",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the weight file there; it ends in .safetensors.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The picture of the training, .png or .svg; by default lstmcore-demo-history.png here.",
)
@json_option
def demo(keep: Path | None, plot: Path | None, as_json: bool) -> None:
    """Show everything at work, on real digits, in under a minute.

    Builds the models that tutorials begin with, reads 1,000 handwritten digits with a trained one, saves
    it, loads it, and runs it on every engine that is installed. Then trains one, and lets each engine go on
    from the same checkpoint. Needs no network, and no engine beside NumPy. The exit status is 1 if a count is
    wrong, a file does not come back as it was, or engines differ.

    \b
    Examples:
      lstmcore demo
      lstmcore demo --keep digits.safetensors
    """
    start = time.perf_counter()
    story, checks = Story(told=not as_json), Checks()
    story.say(f"lstmcore {lstmcore.__version__} on Python {platform.python_version()}, {platform.machine()}")
    facts: dict[str, Any] = {"lstmcore": lstmcore.__version__, "python": platform.python_version()}
    facts["models"] = describe_models(story, checks)
    digits = read_digits(story, checks)
    facts["digits"] = digits.facts
    with _place(keep) as path:
        loaded, facts["file"] = save_and_load(story, checks, digits, path)
    facts["engines"] = compare_engines(story, checks, loaded, digits)
    facts["training"] = learn(story, checks, plot)
    facts["failed"] = checks.failed
    facts["ok"] = not checks.failed
    facts["seconds"] = time.perf_counter() - start
    story.end(facts, keep)
    if checks.failed:
        raise CommandFailed("; ".join(checks.failed))


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    """Where the weight file goes: ``keep``, or a directory that is removed afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="lstmcore-demo-") as directory:
            yield Path(directory, "digits.safetensors")
        return
    if keep.suffix != ".safetensors":
        raise click.UsageError(f"--keep {keep.name!r}: expected a name that ends in .safetensors.")
    if not keep.resolve().parent.is_dir():
        raise click.UsageError(f"--keep: there is no directory {keep.parent}.")
    yield keep
