"""What is told of training: lines in a pipe, a bar on a terminal, nothing at verbose=0."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lstmcore.callbacks import ProgbarLogger
from lstmcore.callbacks.bar import clock
from lstmcore.callbacks.progress import number, pace, told
from lstmcore.errors import SpecError

HERE = Path(__file__).parent
RUN = """
import sys, time
from lstmcore.callbacks import CallbackList, EarlyStopping, LambdaCallback, ProgbarLogger

steps = {steps}
also = LambdaCallback(on_epoch_end=lambda epoch, logs: print("from a callback"))
callbacks = CallbackList([also, ProgbarLogger()], None, {{"epochs": 2, "steps": steps, "verbose": {verbose!r}}})
with callbacks:
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(12):
            callbacks.on_train_batch_begin(batch)
            time.sleep(0.025)
            callbacks.on_train_batch_end(batch, {{"loss": 2.5 - batch / 10, "accuracy": 0.25}})
            if batch == 6:
                {inside}
        callbacks.on_test_begin()
        callbacks.on_test_batch_end(0, {{"loss": 9.0}})
        callbacks.on_test_end({{"loss": 9.0}})
        callbacks.on_epoch_end(epoch, {{"loss": 1.25, "accuracy": 0.5, "val_loss": 0.0004}})
    callbacks.on_train_end({{}})
"""
LINE = r"Epoch {}/2 - \d\.\d s - \d+\.\d ms/step - accuracy: 0\.5000 - loss: 1\.2500 - val_loss: 4\.0000e-04"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def script(steps: int | None = 12, verbose: int | str = "auto", inside: str = "pass") -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(RUN).format(steps=steps, verbose=verbose, inside=inside)]


def in_a_pipe(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def on_a_terminal(command: list[str], columns: int = 100) -> str:
    """All that a terminal of that width is sent, as it is sent."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        environment.pop(name, None)
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    sent = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        sent += part
    os.close(master)
    process.wait()
    return sent.decode()


def shown(sent: str) -> list[str]:
    """What is left on the terminal at the end, line by line."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", sent):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith("\x1b") and token != "\r":
            lines[row] += token
    return [line for line in lines if line]


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_in_a_pipe_there_is_a_line_for_each_epoch(verbose: int | str) -> None:
    lines = in_a_pipe(script(verbose=verbose)).splitlines()
    assert len(lines) == 4
    for epoch in (1, 2):
        assert lines[2 * epoch - 2] == "from a callback"
        assert re.fullmatch(LINE.format(epoch), lines[2 * epoch - 1])


def test_in_a_pipe_the_steps_may_be_unknown() -> None:
    lines = in_a_pipe(script(steps=None)).splitlines()
    assert re.fullmatch(LINE.format(2), lines[3])


@pytest.mark.parametrize("terminal", [False, True])
def test_at_0_there_is_nothing(terminal: bool) -> None:
    text = (on_a_terminal if terminal else in_a_pipe)(script(verbose=0))
    assert text.split() == ["from", "a", "callback"] * 2


@pytest.mark.parametrize("verbose", ["auto", 1])
def test_on_a_terminal_a_bar_tells_the_time_left(verbose: int | str) -> None:
    sent = on_a_terminal(script(verbose=verbose, inside="print('meanwhile')"))
    drawn = ESCAPES.sub("", sent).replace("\r", "\n").splitlines()
    bars = [line for line in drawn if "━" in line and "/12 -" in line]
    assert len(bars) >= 4
    for bar in bars:
        assert re.fullmatch(
            r"Epoch [12]/2 [━╸╺ ]{20} [ \d]\d/12 - \d+\.\d ms/step - ETA 0:0\d - accuracy: 0\.2500 - loss: \d\.\d{4}",
            bar.rstrip(),
        )
    assert any("validation" in line for line in drawn)
    assert any(not bar.startswith("Epoch 1/2 ━━━━━━━━━━━━━━━━━━━━") for bar in bars)


def test_at_the_end_a_terminal_shows_the_lines_alone() -> None:
    sent = on_a_terminal(script(inside="print('meanwhile')"))
    lines = shown(sent)
    assert [line for line in lines if "━" in line] == []
    assert re.fullmatch(LINE.format(1), lines[2])
    assert lines[:2] == ["meanwhile", "from a callback"]
    assert len(lines) == 6
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 2  # the cursor is hidden, and shown again


def test_on_a_terminal_2_draws_no_bar() -> None:
    sent = on_a_terminal(script(verbose=2))
    assert "\x1b" not in sent
    assert re.fullmatch(LINE.format(1), sent.splitlines()[1])


def test_an_unknown_number_of_steps_is_counted() -> None:
    drawn = ESCAPES.sub("", on_a_terminal(script(steps=None))).replace("\r", "\n")
    assert re.search(r"Epoch 1/2 \d+ steps - \d+\.\d ms/step - accuracy: 0\.2500", drawn)
    assert "ETA" not in drawn


def test_a_narrow_terminal_cuts_the_logs_alone() -> None:
    drawn = ESCAPES.sub("", on_a_terminal(script(), columns=60)).replace("\r", "\n").splitlines()
    bars = [line for line in drawn if "/12 -" in line]
    assert bars and all(line.startswith("Epoch ") and len(line) <= 60 for line in bars)
    assert all(line.rstrip().endswith("…") and "ms/step" in line for line in bars)


def test_an_exception_leaves_the_terminal_as_it_was() -> None:
    sent = on_a_terminal(script(inside="raise KeyError('boom')"))
    lines = shown(sent)
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "KeyError: 'boom'"
    assert sent.index("\x1b[?25l") < sent.index("\x1b[?25h") < sent.index("Traceback")


@pytest.mark.parametrize("hook", ["test", "predict"])
def test_evaluation_and_prediction_alone_tell_of_themselves(hook: str, capsys: pytest.CaptureFixture[str]) -> None:
    callback = ProgbarLogger()
    callback.set_params({"steps": 2, "verbose": "auto"})
    getattr(callback, f"on_{hook}_begin")({})
    for batch in range(2):
        getattr(callback, f"on_{hook}_batch_end")(batch, {"loss": 1.0})
    getattr(callback, f"on_{hook}_end")({"loss": 1.5})
    title, logs = {"test": ("Evaluate", " - loss: 1.5000"), "predict": ("Predict", "")}[hook]
    assert re.fullmatch(rf"{title} - \d\.\d s - \d+\.\d+ ms/step{logs}\n", capsys.readouterr().out)


def test_in_a_pipe_no_batch_has_to_be_told_unless_they_must_be_counted() -> None:
    def watches(**params: object) -> bool:
        callback = ProgbarLogger()
        callback.set_params(params)
        return callback.watches_batches

    assert not watches(steps=4, verbose="auto")
    assert watches(steps=None, verbose="auto")
    assert watches(steps=4, verbose=2, resumed=True)
    assert not watches(steps=None, verbose=0)


def test_an_epoch_that_goes_on_counts_its_own_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    callback = ProgbarLogger()
    callback.set_params({"steps": 10, "epochs": 3, "verbose": 2, "resumed": True})
    callback.on_train_begin()
    callback.on_epoch_resume(1, 6)
    for batch in range(6, 10):
        now[0] += 0.5
        callback.on_train_batch_end(batch, {})
    callback.on_test_begin({})
    now[0] += 3.0
    callback.on_test_end({})
    callback.on_epoch_end(1, {"loss": 0.25})
    assert capsys.readouterr().out == "Epoch 2/3 - 5.0 s - 500.0 ms/step - loss: 0.2500\n"


def test_how_numbers_are_written() -> None:
    assert told({"val_b": 1, "loss": 2.0, "val_a": 0.5, "z": 0.25}) == (
        "loss: 2.0000 - z: 0.2500 - val_a: 0.5000 - val_b: 1.0000"
    )
    assert [number(v) for v in (0, 1e-3, 0.00123, -0.0005, float("nan"), float("inf"), "text")] == [
        *("0.0000", "1.0000e-03", "0.0012", "-5.0000e-04", "nan", "inf", "text")
    ]
    assert [pace(s) for s in (0.0171, 2.5, 0.00042)] == ["17.1 ms/step", "2500.0 ms/step", "0.420 ms/step"]
    assert [clock(s) for s in (0, 0.2, 59.5, 61, 3599.2, 3723)] == [
        "0:00",
        "0:01",
        "1:00",
        "1:01",
        "1:00:00",
        "1:02:03",
    ]


def test_verbose_is_one_of_four() -> None:
    with pytest.raises(SpecError, match="verbose is 3; expected 'auto', 0, 1 or 2"):
        ProgbarLogger().set_params({"verbose": 3})
