"""The commands, each loaded only when it is invoked.

Other packages add theirs through the entry-point group ``lstmcore.commands``: name -> click.Command.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import click
from click.shell_completion import CompletionItem

import lstmcore
from lstmcore.cli.failures import CommandFailed, reported
from lstmcore.errors import near

GROUP = "lstmcore.commands"

OWN: Mapping[str, str] = {
    "demo": "Show everything at work, on real digits, in under a minute.",
    "backends": "List the engines: which are here, and how to add the others.",
    "summary": "Print the layers of a model file, their shapes and weights.",
    "predict": "Run a model file on the array in a .npy file.",
    "train": "Train a model on the arrays in a .npz file, or go on where it stopped.",
    "convert": "Convert a model file to another format, and prove that it arrived.",
    "compare": "Run a model file on every engine against the reference, or two files against each other.",
    "inspect": "List the weights in a model file, gate by gate.",
}
"""Name -> what it does. The command is the object of that name in ``lstmcore.cli.<name>``."""


def contributed() -> dict[str, metadata.EntryPoint]:
    """The commands of other packages, from their metadata alone."""
    return _used(_offered())


def _offered() -> list[metadata.EntryPoint]:
    return sorted(set(metadata.entry_points(group=GROUP)), key=lambda entry: (entry.name, entry.value))


def _used(offered: list[metadata.EntryPoint]) -> dict[str, metadata.EntryPoint]:
    """Our own names are ours; others are the first's."""
    return {entry.name: entry for entry in reversed(offered) if entry.name not in OWN}


def _overruled() -> list[str]:
    """Those that take a name already taken, for the help to say so."""
    offered = _offered()
    used = _used(offered).values()
    return [
        f"Not used: {entry.name!r} from {entry.value}, because that name is taken."
        for entry in offered
        if not any(entry is other for other in used)
    ]


class Commands(click.Group):
    """The group that loads its commands on demand and turns exceptions into a line and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*OWN, *sorted(contributed())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OWN:
            return _command(getattr(importlib.import_module(f"lstmcore.cli.{cmd_name}"), cmd_name))
        entry = contributed().get(cmd_name)
        return None if entry is None else _load(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}.{near(args[0], known)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table alone: a command's own help loads it, the list does not."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_short_helps().items()))
        for note in _overruled():
            formatter.write_paragraph()
            formatter.write_text(note)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=text) for name, text in _short_helps().items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        with reported():
            return super().invoke(ctx)


def _short_helps() -> dict[str, str]:
    theirs = {
        name: f"Added by {entry.module.partition('.')[0]}: see lstmcore {name} --help."
        for name, entry in sorted(contributed().items())
    }
    return {**OWN, **theirs}


def _load(entry: metadata.EntryPoint) -> click.Command:
    """A contributed command; CommandFailed says whose it is and what is wrong."""
    owner = entry.dist.name if entry.dist else "unknown"
    where = f"command {entry.name!r} (plugin {entry.value!r} of distribution {owner!r})"
    try:
        return _command(entry.load())
    except Exception as error:  # a plugin may fail in any way; the other commands still work
        raise CommandFailed(f"{where} does not load: {type(error).__name__}: {error}") from error


def _command(loaded: Any) -> click.Command:
    if not isinstance(loaded, click.Command):
        raise TypeError(f"expected a click.Command, found {type(loaded).__name__}")
    return loaded


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: lstmcore demo",
)
@click.version_option(lstmcore.__version__, prog_name="lstmcore", message="%(prog)s %(version)s")
def cli() -> None:
    """Recurrent models described once, run on any engine, carried between them, proved equal."""
