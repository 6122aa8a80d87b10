"""``lstmcore convert``."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lstmcore.cli.arrays import read_inputs
from lstmcore.cli.failures import CalledWrongly, CommandFailed
from lstmcore.cli.modelfile import naming
from lstmcore.cli.options import MODEL_PATH, PATH, json_option, key_option, settings
from lstmcore.cli.output import printable, say, show_json
from lstmcore.cli.quiet import quiet_engines
from lstmcore.errors import FileError
from lstmcore.storage.folder import take_place

if TYPE_CHECKING:
    from lstmcore.interop.proof import Proof
    from lstmcore.models.base import BaseModel


@click.command()
@click.argument("source", metavar="IN", type=MODEL_PATH)
@click.argument("out", metavar="OUT", type=click.Path())
@click.option("--weights", type=MODEL_PATH, help="The file with the weights, where IN holds the architecture alone.")
@click.option("--spec", type=PATH, help="Where IN holds weights alone: the model, its JSON or any model file.")
@click.option("--map", "names", type=PATH, help="A JSON file that says which array of IN is which weight.")
@click.option("--from", "from_format", help="The format of IN, where its content and name do not tell.")
@click.option("--to", "to_format", help="The format of OUT, where its name does not tell.")
@click.option("--streaming", is_flag=True, help="One step at a time: the whole past is in states, inputs and outputs.")
@click.option("-o", "--option", "to_options", multiple=True, metavar="KEY=VALUE", help="An option of OUT's format.")
@click.option("-i", "--in-option", "from_options", multiple=True, metavar="KEY=VALUE", help="One of IN's format.")
@click.option("--no-verify", is_flag=True, help="Write OUT without the proof.")
@click.option("--input", "input_path", type=PATH, help="Prove with this .npy or .npz file.")
@key_option
@json_option
@click.pass_context
def convert(ctx: click.Context, /, source: Path, out: str, as_json: bool, **told: Any) -> None:
    """Convert the model in IN to the format of OUT, and prove that it arrived.

    The new file is read back, by the engine it is for where that is installed, and run beside the model of IN in
    float64. If anything differs, nothing is put at OUT (what was there stays), the first layer that differs is
    named, and the exit status is 1. --no-verify writes OUT in any case. What OUT's format cannot hold is refused.

    \b
    Examples:
      lstmcore convert model.h5 model.onnx
      lstmcore convert model.json model.keras --weights weights.h5
      lstmcore convert weights.pt model.onnx --spec model.json
      lstmcore convert model.keras stream.onnx --streaming
    """
    target = Path(out)  # which forgets the "/" at the end of a folder's name
    format = _checked(source, out, told["to_format"])
    model = _read(source, told)
    options = settings(told["to_options"]) | ({"streaming": True} if told["streaming"] else {})
    inputs = None if told["input_path"] is None else read_inputs(told["input_path"], told["key"], model.program.inputs)
    with _beside(target) as made:
        with naming(target), quiet_engines(f"writing {target.name}"):
            _write(model, made, format, options)
        proof = None
        if not told["no_verify"]:
            with naming(target), quiet_engines("proving it"):
                proof = _prove(model, made, format, source, told, bool(options.get("streaming")), inputs)
        written = proof is None or proof.ok
        if written:
            _move(made.parent, target.resolve().parent)
    facts = {"source": str(source), "target": str(target), "model": model.name, "params": model.count_params()}
    if as_json:
        show_json({**facts, "written": written, "proof": None if proof is None else proof.to_dict()})
    else:
        _show(facts, proof, written)
    if not written:
        raise CommandFailed(
            f"{target} was not written: the proof failed, as told above. --no-verify writes it all the same."
        )
    ctx.exit(0)


def _checked(source: Path, out: str, format: str | None) -> str:
    """The format to write; UsageError where nothing could come of it."""
    from lstmcore.interop import formats

    target = Path(out)
    if not target.resolve().parent.is_dir():
        raise click.UsageError(f"OUT: there is no directory {target.parent}.")
    if target.exists() and target.samefile(source):
        raise click.UsageError(f"OUT {target} is the file that is read; give another name.")
    try:
        return formats.row_written(out, format).name
    except FileError as error:
        raise CalledWrongly(str(error)) from None


def _read(source: Path, told: Mapping[str, Any]) -> BaseModel:
    from lstmcore.interop import import_model

    options = settings(told["from_options"], "-i")
    if told["names"] is not None:
        options["map"] = _json(told["names"])
    spec = told["spec"]
    if spec is not None and spec.suffix != ".json":
        spec = import_model(spec)
    with naming(source), quiet_engines(f"reading {source.name}"):
        model = import_model(source, told["weights"], told["from_format"], spec, **options)
        model.program  # noqa: B018  builds the weights, or says that there is no input shape yet
    return model


def _json(path: Path) -> Any:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"{path.name} is no JSON: {error}.") from None
    if not isinstance(found, dict):
        raise CommandFailed(f"{path.name} holds {type(found).__name__}; expected an object of names.")
    return found


def _write(model: BaseModel, path: Path, format: str, options: Mapping[str, Any]) -> None:
    from lstmcore.interop import export_model

    export_model(model, path, format, **options)


def _prove(
    model: BaseModel, made: Path, format: str, source: Path, told: Mapping[str, Any], streaming: bool, inputs: Any
) -> Proof:
    from lstmcore.interop.proof import prove

    whole = told["weights"] is None and told["spec"] is None and told["names"] is None
    return prove(
        model,
        made,
        format=format,
        source=source if whole else None,
        source_format=told["from_format"],
        streaming=streaming,
        inputs=inputs,
    )


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path of the same name in a folder of its own beside it, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=".lstmcore-", dir=target.resolve().parent))
    try:
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, place: Path) -> None:
    """Everything that was written, to its place."""
    made: Sequence[Path] = sorted(folder.iterdir())
    for path in made:
        target = place / path.name
        if path.is_dir() and target.is_dir():
            take_place(str(path), str(target), str(folder / f"{path.name}.old"))
        else:
            os.replace(path, target)


def _show(facts: Mapping[str, Any], proof: Proof | None, written: bool) -> None:
    from lstmcore.cli import proofs

    if proof is not None:
        proofs.show(proof)
        say()
    if written:
        proved = "" if proof is None or not proof.proved else ", proved"
        say(printable(f"{facts['target']}: {facts['model']}, {facts['params']:,} weights{proved}"))
