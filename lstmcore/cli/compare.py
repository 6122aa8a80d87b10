"""``lstmcore compare``."""

from __future__ import annotations

from pathlib import Path

import click

from lstmcore.cli import agreement
from lstmcore.cli.arrays import read_inputs
from lstmcore.cli.modelfile import read_model
from lstmcore.cli.options import BackendName, input_option, json_option, key_option, model_file
from lstmcore.cli.output import show_json
from lstmcore.cli.quiet import quiet_engines
from lstmcore.runtime.compare import compare as run_all


@click.command()
@model_file
@input_option
@key_option
@click.option(
    "--backend", "chosen", type=BackendName(), multiple=True, help="Only this engine; can be given several times."
)
@json_option
@click.pass_context
def compare(
    ctx: click.Context, file: Path, input_path: Path, key: str | None, chosen: tuple[str, ...], as_json: bool
) -> None:
    """Run the model in FILE on every engine, and compare each with the float64 reference.

    The exit status is 1 if an engine that ran differs or fails, or one that was named is not installed.

    \b
    Examples:
      lstmcore compare model.safetensors --input x.npy
      lstmcore compare model.safetensors --input x.npy --backend numpy --backend torch:cpu --json
    """
    model = read_model(file)
    x = read_inputs(input_path, key, model.program.inputs)
    with quiet_engines("running on every engine"):
        comparison = run_all(model, x, list(chosen) or None)
    ok = comparison.ok and not (chosen and any(row.status == "missing" for row in comparison.rows))
    if as_json:
        show_json({**comparison.to_dict(), "ok": ok})
    else:
        agreement.show(comparison)
    ctx.exit(0 if ok else 1)
