"""``lstmcore demo``: on NumPy alone, in a pipe, on a terminal of any encoding; and what makes it fail."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lstmcore import plugins
from lstmcore.cli import cli, learning, story, tutorials
from lstmcore.cli.digits import BLOCKS, RAMP, draw
from lstmcore.cli.learning import learn
from lstmcore.cli.story import Checks, Story, describe_models, read_digits
from lstmcore.datasets import mnist
from lstmcore.layers import Dense
from lstmcore.models import Sequential, load_model


def needed(name: str, seen: set[str]) -> set[str]:
    """What a plain ``pip install`` of a distribution brings along: its requirements, without extras."""
    if name not in seen:
        seen.add(name)
        for line in metadata.requires(name) or ():
            if ";" not in line:
                found = re.match(r"[A-Za-z0-9._-]+", line)
                assert found
                needed(found[0], seen)
    return seen


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with links to lstmcore and what it requires, as after ``pip install lstmcore``; no framework."""
    site = tmp_path_factory.mktemp("site")
    for name in needed("lstmcore", set()):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()}:
            source = Path(str(distribution.locate_file(top))).resolve()
            if top != ".." and source.suffix != ".pth" and source.name != "__pycache__":
                (site / top).symlink_to(source)
    modules = {entry.module for entry in metadata.distribution("lstmcore").entry_points.select(group=plugins.GROUP)}
    for name in modules | {"lstmcore"}:
        origin = importlib.import_module(name).__file__
        if origin and not (site / name).exists():  # an editable installation lists no modules
            (site / name).symlink_to(Path(origin).parent)
    return site


def demo(site: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it with the standard library and that directory to import from, and nothing else."""
    code = (
        f"import sys; sys.path.append({str(site)!r}); from lstmcore.cli import main; sys.argv[0] = 'lstmcore'; main()"
    )
    return subprocess.run(
        [sys.executable, "-S", "-c", code, "demo", *arguments],
        env={**os.environ, "PYTHONPATH": "", "PYTHONNOUSERSITE": "1", **environment},
        cwd=site,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


def test_it_runs_on_numpy_alone(alone: Path) -> None:
    done = demo(alone, PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert text.count("Total params: 640 ") == 2
    for words in ("Total params: 2,282 ", "Total params: 216,426 ", "reads 95.5% of them", "the same bits", " agrees"):
        assert words in text
    assert "torch       pip install " in text and "tensorflow  pip install " in text
    assert re.search(r"\n\d+\.\d s; 1 engine ran\.\n", text)
    lines = re.findall(r"\nEpoch (\d+)/(\d+) - .* ms/step - accuracy: (\S+) - loss: (\S+) - val_accuracy", text)
    assert [int(epoch) for epoch, *_ in lines] == list(range(1, learning.EPOCHS + 1))
    assert float(lines[-1][3]) < 0.6 * float(lines[0][3])
    assert "pip install 'lstmcore[plot]'" in text
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 120


def test_it_draws_in_ascii_where_there_is_nothing_else(alone: Path) -> None:
    done = demo(alone, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii() and "@" in done.stdout and "\\u" not in done.stdout


def test_it_is_data_on_demand(alone: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    done = demo(alone, "--json", "--keep", str(kept))
    facts = json.loads(done.stdout)
    assert (done.returncode, done.stderr, facts["ok"], facts["failed"]) == (0, "", True, [])
    assert [model["params"] for model in facts["models"]] == [640, 640, 2_282, 216_426]
    assert facts["digits"]["samples"] == 1000 and facts["digits"]["accuracy"] >= 0.95
    assert facts["file"] == facts["file"] | {"weights_equal": True, "file_equal": True, "predictions_equal": True}
    for run in facts["engines"]:
        status = {row["backend"]: row["status"] for row in run["rows"]}
        assert (status["numpy"], status["torch"], status["tensorflow"]) == ("agrees", "missing", "missing")
    training = facts["training"]
    assert [one["engine"] for one in training["carried"]] == ["numpy"] and training["plot"] is None
    assert len(training["history"]["loss"]) == training["epochs"] == learning.EPOCHS
    assert [path.name for path in tmp_path.iterdir()] == ["kept.safetensors"]
    assert load_model(kept).count_params() == 2_282


@pytest.mark.parametrize(("path", "words"), [("kept.txt", ".safetensors"), ("nowhere/m.safetensors", "no directory")])
def test_a_bad_place_to_keep_it_is_refused(path: str, words: str) -> None:
    result = CliRunner().invoke(cli, ["demo", "--keep", path])
    assert result.exit_code == 2 and words in result.stderr


def test_a_wrong_count_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tutorials.Tutorial("wrong", "2 + 2", 5, lambda: Sequential([Dense(1, input_dim=3)]))
    monkeypatch.setattr(story, "TUTORIALS", (*tutorials.TUTORIALS, wrong))
    checks = Checks()
    describe_models(Story(told=False), checks)
    assert checks.failed == ["wrong: 4 weights; expected 5"]
    monkeypatch.setattr("lstmcore.cli.demo.compare_engines", lambda *_: [])
    monkeypatch.setattr("lstmcore.cli.demo.learn", lambda *_: {})
    result = CliRunner().invoke(cli, ["demo", "--json"])
    assert result.exit_code == 1 and "4 weights; expected 5" in result.stderr
    assert json.loads(result.stdout)["failed"] == checks.failed


def test_untrained_weights_fail_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "load_model", lambda _: tutorials.TUTORIALS[2].build())
    checks = Checks()
    digits = read_digits(Story(told=False), checks)
    assert digits.facts["accuracy"] < 0.5 and len(checks.failed) == 1


def test_every_engine_goes_on_from_the_checkpoint_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "EPOCHS", 2)
    monkeypatch.setattr(learning, "LEAST", 0.3)
    checks = Checks()
    facts = learn(Story(told=False), checks, tmp_path / "history.png")
    engines = {info.name for info in plugins.backends() if info.status == "available"}
    assert checks.failed == [] and {one["engine"] for one in facts["carried"]} == engines
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")

    carry = learning._carry

    def astray(directory: Path, data: Any, held: Any, engine: str) -> Any:
        made = carry(directory, data, held, engine)
        return dataclasses.replace(made, val_loss=made.val_loss * (1 + 2 * learning.ALIKE * (engine == "torch")))

    monkeypatch.setattr(learning, "_carry", astray)
    learn(Story(told=False), checks, tmp_path / "history.png")
    assert len(checks.failed) == 1 and "training on torch goes on" in checks.failed[0]


def test_a_model_that_does_not_learn_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "EPOCHS", 1)
    monkeypatch.setattr(plugins, "backends", list)
    checks = Checks()
    learn(Story(told=False), checks, tmp_path / "history.png")
    assert len(checks.failed) == 1 and "after training only" in checks.failed[0]


def test_the_shipped_weights_are_those_described() -> None:
    data = resources.files("lstmcore.datasets")
    digest = hashlib.sha256((data / story.TRAINED).read_bytes()).hexdigest()
    assert digest in (data / "DIGITS_RNN.md").read_text("utf-8")


def corner() -> np.ndarray[Any, Any]:
    """Ink in the middle region's upper left: three pixels, the third below the first."""
    image = np.zeros((28, 28), np.uint8)
    image[3, 3] = image[3, 4] = image[4, 3] = 255
    return image


def test_digits_are_drawn_two_pixels_a_character() -> None:
    assert draw([corner()], ["one"], blocks=True)[0] == BLOCKS[3] + BLOCKS[1]
    assert draw([corner()], ["one"], blocks=False)[0] == RAMP[9] + RAMP[4]
    lines = draw([corner(), corner()], ["one", "two"], blocks=True)
    assert lines[0] == "█▀" + " " * 23 + "█▀"
    assert len(lines) == 12 and lines[-1].split() == ["one", "two"]


def test_digits_fit_the_width() -> None:
    _, (images, _) = mnist.load_sample()
    for blocks, alphabet in ((True, BLOCKS), (False, RAMP)):
        *picture, _ = draw(list(images[:4]), ["x"] * 4, blocks)
        assert max(map(len, picture)) <= 98 and set("".join(picture)) <= set(alphabet)
