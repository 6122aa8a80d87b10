"""The commands on hostile files: one clear line, exit status 1, nothing written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import keras_files
import pytest
import samples
import test_archives
import test_descriptions
from click.testing import CliRunner
from reader import MEBIBYTES, SECONDS, Reader, harmless

from lstmcore.cli import cli


def lambda_layer(folder: Path) -> str:
    return str(test_descriptions.in_keras(folder, test_descriptions.TEXTS["22 Lambda"])["path"])


def attacked(format: str, name: str) -> Any:
    def case(folder: Path) -> str:
        path = Path(samples.FORMATS[format](folder)["path"])
        path.write_bytes(test_archives.ATTACKS[name](path.read_bytes()))
        return str(path)

    return case


def written(name: str, data: bytes) -> Any:
    def case(folder: Path) -> str:
        (folder / name).write_bytes(data)
        return str(folder / name)

    return case


def cut(format: str) -> Any:
    def case(folder: Path) -> str:
        path = Path(samples.FORMATS[format](folder)["path"])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return str(path)

    return case


def no_index(folder: Path) -> str:
    job = samples.saved_model(folder)
    Path(job["path"], "variables/variables.index").write_bytes(b"x" * 100)
    samples.seal(job["path"])
    return str(job["path"])


CASES: dict[str, Any] = {
    "a Lambda": lambda_layer,
    "a bomb": attacked("npz", "2 largest member a bomb"),
    "up and out": attacked("keras", "6 up and out"),
    "a pickle": written("m.pt", b"\x80\x04cposix\nsystem\n(S'touch canary'\ntR."),
    "own, cut short": cut("own"),
    "onnx, cut short": cut("onnx"),
    "c, cut short": cut("c"),
    "hdf5, cut short": cut("hdf5"),
    "an index that is none": no_index,
    "nothing": written("m.keras", b""),
}
LISTED = {"a Lambda"}
COMMANDS = {
    "inspect": ["inspect", "{}"],
    "convert": ["convert", "{}", "{out}"],
    "compare": ["compare", "{}", "{sound}"],
    "compare with it": ["compare", "{sound}", "{}"],
    "predict": ["predict", "{}", "--input", "{x}", "--output", "{y}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_file(command: str, tmp_path: Path) -> None:
    import numpy as np

    for number, (name, make) in enumerate(CASES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "sound").mkdir()
        sound = samples.own(folder / "sound")["path"]
        np.save(folder / "x.npy", np.zeros((1, 4, 3), "float32"))
        path = make(folder)
        before = {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}
        words = {
            "out": str(folder / "out.onnx"),
            "sound": sound,
            "x": str(folder / "x.npy"),
            "y": str(folder / "y.npy"),
        }
        given = [word.format(path, **words) for word in COMMANDS[command]]
        done = CliRunner().invoke(cli, given)
        if command == "inspect" and name in LISTED:  # what it holds can be told, and why it is no model
            assert done.exit_code == 0 and "never run" in done.output and "Traceback" not in done.output
            continue
        assert done.exit_code == 1, (name, done.output)
        told = done.stderr.strip()
        assert told.startswith("Error: ") and "Traceback" not in told, (name, done.output)
        # inspect says first what the headers say
        assert len(told) < 4000 and (not done.stdout or command == "inspect"), (name, done.output)
        assert len(done.stdout) < 4000
        assert {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")} == before, name
        assert json.dumps(told)


def described(**config: Any) -> Any:
    """A small model with a length in it that is never needed to hold its weights."""
    kind = config.pop("kind", None)
    source = keras_files.layer("InputLayer", batch_shape=config.pop("shape", [None, 5, 3]), name="x")
    more = [keras_files.layer(kind, name="more", **config)] if kind else []
    return keras_files.sequential(source, *more, keras_files.LSTM, keras_files.DENSE)


LARGE = {
    "2^31 steps": described(shape=[None, 2**31 - 1, 3]),
    "2^22 steps": described(shape=[None, 2**22, 3]),
    "2^31 samples": described(shape=[2**31 - 1, 5, 3]),
    "zeros around it": described(kind="ZeroPadding1D", padding=2**31 - 1),
    "each step a million times": described(kind="UpSampling1D", size=2**20),
    "windows of 2^31 steps": described(kind="MaxPooling1D", pool_size=2**31 - 1, padding="same"),
}
ASKED = {
    "onnx": ["convert", "{path}", "{folder}/o.onnx"],
    "npz": ["convert", "{path}", "{folder}/o.npz"],
    "c": ["convert", "{path}", "{folder}/o.h"],
    "unproved": ["convert", "{path}", "{folder}/o.pt", "--no-verify"],
    "compared": ["compare", "{path}", "{path}"],
}


@pytest.mark.parametrize("name", LARGE)
def test_what_would_take_much_to_prove(name: str, ask: Reader, tmp_path: Path) -> None:
    """A file of some KB is read, and listed; that it cannot be proved is told before anything is run."""
    path = keras_files.archive(tmp_path / "m.keras", LARGE[name])
    job = {
        "path": str(path),
        "folder": str(tmp_path),
        "use": "command",
        "beside": [str(tmp_path), tempfile.gettempdir()],
    }
    before = sorted(tmp_path.rglob("*"))
    for words in ASKED.values():
        answer = ask({**job, "words": words})
        assert answer["result"] == "refused" and "too large to be proved" in answer["told"], answer
        assert answer["seconds"] < SECONDS and answer["rise"] < MEBIBYTES, answer
    assert sorted(tmp_path.rglob("*")) == before
    harmless(ask({**job, "words": ["inspect", "{path}"]}))
