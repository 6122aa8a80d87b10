"""``lstmcore backends``."""

from __future__ import annotations

from typing import Any

import click

from lstmcore import plugins
from lstmcore.cli.options import json_option
from lstmcore.cli.output import say, show_json, show_table
from lstmcore.cli.quiet import quiet_engines
from lstmcore.errors import LstmcoreError


@click.command()
@click.option("--probe", is_flag=True, help="Load every engine (seconds each) and ask for devices and kernels.")
@json_option
@click.pass_context
def backends(ctx: click.Context, probe: bool, as_json: bool) -> None:
    """List the engines: which are here, and how to add the others.

    Nothing is loaded for it, so that it is quick and one broken engine cannot hide the rest. With --probe,
    every engine that is here is loaded; the exit status is 1 if one of them does not load.

    \b
    Examples:
      lstmcore backends
      lstmcore backends --probe --json
    """
    rows = [_row(info, probe) for info in plugins.backends()]
    if as_json:
        show_json(rows)
    else:
        _show(rows, probe)
    ctx.exit(1 if any(row.get("probed") is False for row in rows) else 0)


def _row(info: plugins.BackendInfo, probe: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": info.name,
        "version": info.version,
        "status": info.status,
        "error": info.error,
        "install": info.install,
        "distribution": info.distribution,
        "reference": info.name == plugins.reference(),
    }
    if not (probe and info.status == "available"):
        return row
    try:
        with quiet_engines(f"loading {info.name}"):
            found = {"devices": list(info.devices), "capabilities": info.capabilities}
    except Exception as error:  # whatever an engine does when it loads is a row
        text = str(error) if isinstance(error, LstmcoreError) else f"{type(error).__name__}: {error}"
        return {**row, "status": "broken", "error": text, "probed": False}
    return {**row, **found, "probed": True}


def _show(rows: list[dict[str, Any]], probe: bool) -> None:
    header = ["name", "version", "status", *(["devices", "dtypes", "ops"] if probe else []), ""]
    show_table(header, [[*_cells(row, probe), _remark(row)] for row in rows])
    current = plugins.current()
    say()
    say(f"Used where none is named: {current}.  The reference: {plugins.reference()}.")
    if probe:
        _show_kernels(rows)


def _cells(row: dict[str, Any], probe: bool) -> list[str]:
    cells = [row["name"], row["version"], row["status"]]
    if not probe:
        return cells
    capabilities = row.get("capabilities") or {"dtypes": [], "ops": {}}
    count = str(len(capabilities["ops"])) if row.get("probed") else ""
    return [*cells, ", ".join(row.get("devices", ())), ", ".join(capabilities["dtypes"]), count]


def _remark(row: dict[str, Any]) -> str:
    return str(row["install"] if row["status"] == "missing" else row["error"])


def _show_kernels(rows: list[dict[str, Any]]) -> None:
    probed = [row for row in rows if row.get("probed")]
    ops = dict.fromkeys(op for row in probed for op in row["capabilities"]["ops"])
    say()
    say("The kernels for each op, the preferred one first:")
    show_table(
        ["op", *(row["name"] for row in probed)],
        [[op, *(", ".join(row["capabilities"]["ops"].get(op, ["-"])) for row in probed)] for op in ops],
    )
