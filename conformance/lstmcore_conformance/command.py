"""``lstmcore conformance``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import click

from lstmcore import plugins
from lstmcore.errors import BackendError, near
from lstmcore_conformance import report
from lstmcore_conformance.cases import LEVELS, PROFILES
from lstmcore_conformance.results import Result
from lstmcore_conformance.suite import Case, cases, run


@click.command(short_help="Check that a backend computes what lstmcore means.")
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="Name or name:device; may be repeated.")
@click.option("--profile", type=click.Choice(PROFILES), default="standard", show_default=True, help="Which cases.")
@click.option(
    "--level", type=click.Choice((*LEVELS, "all")), default="all", show_default=True, help="What is asked: see below."
)
@click.option("--filter", "containing", default="", metavar="TEXT", help="Only cases whose id contains TEXT.")
@click.option("--family", "families", multiple=True, metavar="NAME", help="Only this family; may be repeated.")
@click.option("--strict", is_flag=True, help="Unsupported cases count as failed.")
@click.option("--list", "listing", is_flag=True, help="Print the cases' ids and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def conformance(
    backends: tuple[str, ...],
    profile: str,
    level: str,
    containing: str,
    families: tuple[str, ...],
    strict: bool,
    listing: bool,
    as_json: bool,
) -> None:
    """Check that a backend computes what lstmcore means: every op and layer, against arithmetic on paper, numbers
    of Keras, and the reference in float64.

    \b
    --level forward    the outputs of ops, layers and models
            gradient   the gradients of weights, inputs and states
            training   optimizers, and a few steps of training
    What cannot train has only the first; the others' cases then count as unsupported.

    The exit status is 0 where nothing failed, 1 where something did, 2 for wrong use.

    \b
    Example:
      lstmcore conformance --backend numpy --profile smoke
    """
    levels = LEVELS if level == "all" else (level,)
    known = dict.fromkeys(case.family for case in cases(profile, levels=levels))
    for name in families:
        if name not in known:
            at = "" if level == "all" else f" at level {level!r}"
            raise click.UsageError(f"profile {profile!r} has no family {name!r}{at}.{near(name, known)}")
    selected = cases(profile, containing, families, levels)
    if not selected:
        raise click.UsageError(f"no case of profile {profile!r} has {containing!r} in its id; see --list")
    if listing:
        click.echo(json.dumps([case.id for case in selected]) if as_json else "\n".join(case.id for case in selected))
        return
    if not backends:
        raise click.UsageError(f"name a backend: --backend {' | '.join(plugins.names())}")
    told = [_examine(name, profile, selected, as_json) for name in backends]
    if as_json:
        click.echo(json.dumps([entry for entry, _ in told] if len(told) > 1 else told[0][0], indent=1))
    bad = ("failed", "unsupported") if strict else ("failed",)
    sys.exit(int(any(result.status in bad for _, results in told for result in results)))


def _examine(name: str, profile: str, selected: Sequence[Case], quiet: bool) -> tuple[dict[str, Any], list[Result]]:
    try:
        plugins.get(name)
    except BackendError as error:
        raise click.UsageError(str(error)) from error
    start, results = time.perf_counter(), []
    with _progress(name, len(selected)) as step:
        for result in run(name, selected):
            results.append(result)
            step()
    seconds = time.perf_counter() - start
    if not quiet:
        parts = [report.by_family(results), *report.details(results), report.summary(name, results, seconds)]
        click.echo("\n\n".join(parts))
    return report.to_dict(name, profile, results, seconds), results


@contextmanager
def _progress(title: str, total: int) -> Any:
    """A bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        step: Callable[[], None] = lambda: None  # noqa: E731
        yield step
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
