"""``lstmcore compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lstmcore.cli import agreement
from lstmcore.cli.arrays import read_inputs
from lstmcore.cli.modelfile import read_model
from lstmcore.cli.options import BackendName, json_option, key_option, optional_input
from lstmcore.cli.output import show_json
from lstmcore.cli.quiet import quiet_engines
from lstmcore.errors import SpecError
from lstmcore.models.base import BaseModel
from lstmcore.runtime.compare import compare as run_all

MODEL = click.Path(exists=True, readable=True, path_type=Path)


@click.command()
@click.argument("file", type=MODEL)
@click.argument("other", type=MODEL, required=False)
@optional_input
@key_option
@click.option(
    "--backend", "chosen", type=BackendName(), multiple=True, help="Only this engine; can be given several times."
)
@json_option
@click.pass_context
def compare(
    ctx: click.Context,
    file: Path,
    other: Path | None,
    input_path: Path | None,
    key: str | None,
    chosen: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the model in FILE on every engine, and compare each with the float64 reference.

    With OTHER, compare two files of any formats: each is read, and run by the engine it is for where that is
    installed, against FILE in float64. The first layer that differs is named, with the known mistake that explains
    it. Without --input, inputs of the right shapes are made up, from a seed.

    The exit status is 1 if an engine that ran differs or fails, or one that was named is not installed.

    \b
    Examples:
      lstmcore compare model.safetensors --input x.npy
      lstmcore compare model.safetensors --input x.npy --backend numpy --backend torch:cpu --json
      lstmcore compare model.h5 model.onnx
    """
    if other is not None and chosen:
        raise click.UsageError("--backend goes with one file; two files are run by the engines they are for.")
    model = read_model(file)
    x = None if input_path is None else read_inputs(input_path, key, model.program.inputs)
    ok = _engines(model, x, chosen, as_json) if other is None else _files(model, file, other, x, as_json)
    ctx.exit(0 if ok else 1)


def _engines(model: BaseModel, x: Any, chosen: tuple[str, ...], as_json: bool) -> bool:
    """One file on every engine."""
    from lstmcore.interop.proof import made_up

    with quiet_engines("running on every engine"):
        comparison = run_all(model, made_up(model) if x is None else x, list(chosen) or None)
    ok = comparison.ok and not (chosen and any(row.status == "missing" for row in comparison.rows))
    if as_json:
        show_json({**comparison.to_dict(), "ok": ok})
    else:
        agreement.show(comparison)
    return ok


def _files(model: BaseModel, file: Path, other: Path, x: Any, as_json: bool) -> bool:
    """Two files against each other."""
    from lstmcore.cli import proofs
    from lstmcore.interop.proof import compare_models

    second = read_model(other)
    try:
        with quiet_engines("running both"):
            proof = compare_models(model, second, (file, other), inputs=x)
    except SpecError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        show_json(proof.to_dict())
    else:
        proofs.show(proof)
    return proof.ok
