"""``lstmcore predict``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lstmcore import plugins, tree
from lstmcore.cli.arrays import check_output, read_inputs, write_arrays
from lstmcore.cli.modelfile import read_model
from lstmcore.cli.options import BackendName, input_option, json_option, key_option, model_file
from lstmcore.cli.output import on_terminal, printable, say, show_json
from lstmcore.cli.quiet import quiet_engines


@click.command()
@model_file
@input_option
@key_option
@click.option(
    "--output",
    "output_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The .npy file to write; .npz for several outputs.",
)
@click.option("--backend", type=BackendName(), help="The engine, name or name:device; see lstmcore backends.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples at a time; 32, or what the model fixes.")
@json_option
def predict(
    file: Path,
    input_path: Path,
    key: str | None,
    output_path: Path,
    backend: str | None,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Run the model in FILE on an array, and write what it puts out.

    The output is written whole or not at all; a file of that name is replaced.

    \b
    Examples:
      lstmcore predict model.safetensors --input x.npy --output y.npy
      lstmcore predict model.safetensors --input data.npz --key x_test --output y.npy --backend torch:cpu
      lstmcore predict translate.safetensors --input named_like_the_inputs.npz --output y.npy
    """
    check_output(output_path, 1, file, input_path)
    model = read_model(file)
    x = read_inputs(input_path, key, model.program.inputs)
    name = backend or plugins.current()
    with quiet_engines(f"loading {name}"):
        engine = plugins.get(name)
    start = time.perf_counter()
    with quiet_engines():
        found = model.predict(
            x, batch_size=batch_size, verbose=1 if on_terminal() and not as_json else 0, backend=engine
        )
    seconds = time.perf_counter() - start
    outputs = dict(zip(model.program.outputs, tree.leaves(found), strict=True))
    check_output(output_path, len(outputs), file, input_path)
    write_arrays(output_path, outputs)
    facts = {
        "model": model.name,
        "backend": engine.name,
        "device": engine.device,
        "samples": len(next(tree.leaves(found))),
        "outputs": {port: {"shape": y.shape, "dtype": y.dtype.name} for port, y in outputs.items()},
        "seconds": seconds,
        "output": str(output_path),
    }
    if as_json:
        show_json(facts)
        return
    shapes = ", ".join(f"{y.dtype} {y.shape}" for y in outputs.values())
    say(printable(f"{output_path}: {shapes} from {model.name!r} on {engine.name}, {engine.device}, {seconds:.2f} s"))
