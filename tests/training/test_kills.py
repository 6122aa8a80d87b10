"""A training that is killed at any instant, or finds no room on the disk, leaves a checkpoint that is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

START = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
import lstmcore as lc
from lstmcore.callbacks import LambdaCallback
from lstmcore.layers import LSTM, Dense, Dropout, Input
from lstmcore.models import Sequential
from lstmcore.runtime.checkpoint import NAME
from lstmcore.runtime.trainer import Trainer
from lstmcore.storage import atomic

rng = np.random.default_rng(2)
X, Y = rng.normal(size=(7, 3, 2)), rng.normal(size=(7, 1))

def fit(folder, seed, callbacks=()):
    lc.set_random_seed(seed)
    global model
    model = Sequential([Input((3, 2)), LSTM(2), Dropout(0.3), Dense(1)])
    model.compile(lc.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    if seed != 1:  # then only the checkpoint can say
        model.set_weights([0 * weight for weight in model.get_weights()])
    return model.fit(X, Y, 4, 2, 0, callbacks, checkpoint=folder, save_every=1)

def state(folder):
    return (Path(folder) / NAME).read_bytes()

whole = Path(sys.argv[1]) / "whole"
fit(whole, 1)
"""


def in_python(code: str, *arguments: object) -> str:
    """What another process prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


EVERY_CALL = """
calls, deadly = 0, None

def counted(real, half=None):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == deadly:
            if half:
                half(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

def half(file, data):
    file.write(data[: len(data) // 2])
    file.flush()

os.fsync = lambda descriptor: None  # a kill takes nothing from the system's cache
create = atomic._create

def killing(*args):
    file = create(*args)

    class File:
        def __enter__(self): return self
        def __exit__(self, *_): file.close()
        def __getattr__(self, name): return getattr(file, name)
        write = staticmethod(counted(file.write, lambda data: half(file, bytes(data))))

    return File()

atomic._create = counted(killing)
for name in ("fsync", "replace", "close"):
    setattr(os, name, counted(getattr(os, name)))
fit(Path(sys.argv[1]) / "counted", 1)
most, all_calls, inside, ever = 0, calls, 0, False
for n in range(1, all_calls + 1):
    folder = Path(sys.argv[1]) / str(n)
    calls, deadly = 0, n
    child = os.fork()
    if not child:
        fit(folder, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, n
    deadly = None
    left = [name for name in os.listdir(folder) if name != NAME]
    inside += bool(left)
    most = max(most, len(left))
    there = NAME in os.listdir(folder)
    assert there or not ever, n  # once there is a checkpoint, there always is
    ever = there
    fit(folder, 2 if there else 1)
    assert state(folder) == state(whole), n
    assert os.listdir(folder) == [NAME], n
print(all_calls, inside, most)
"""


def test_killed_at_every_call_that_writes(tmp_path: Path) -> None:
    """Within every write, and before every fsync, rename and close; each then goes on with other seeds."""
    calls, inside, most = map(int, in_python(EVERY_CALL, tmp_path).split())
    assert calls > 100 and inside > 90 and most == 1


def test_killed_at_random_instants() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "kill_training.py", "--kills", "10", "--units", "100"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*command, "--seconds", "0.2"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.match(r"10 kills, .*: 0 checkpoints unloadable; \d+ trainings ended, 0 with other bytes", done.stdout)


NO_ROOM = """
def full(batch, logs=None):
    if model._compiled().step == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        seen.append(model.get_weights())

seen, folder = [], Path(sys.argv[1]) / "run"
try:
    fit(folder, 1, [LambdaCallback(on_train_batch_end=full)])
except OSError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert os.listdir(folder) == [NAME]
assert model._compiled().step == 3
assert all(np.array_equal(a, b) for a, b in zip(seen[0], model.get_weights()))
before = lc.load_model(folder / NAME)
assert not any(np.array_equal(a, b) for a, b in zip(seen[0], before.get_weights()))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
steps, step = [], Trainer.step
Trainer.step = lambda self, *args: (steps.append(args[2]), step(self, *args))[1]
try:
    fit(folder, 2)
except OSError as error:
    print(error)
assert not steps
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
fit(folder, 2)
assert steps == [2, 3]
assert state(folder) == state(whole)
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """The model keeps what it trained, and the checkpoint of before goes on once there is room."""
    first, second = in_python(NO_ROOM, tmp_path).splitlines()
    for told in (first, second):
        assert "File too large; nothing was written, and what was there before is unchanged" in told
        assert "checkpoint.safetensors" in told


NO_PERMISSION = """
folder = Path(sys.argv[1]) / "run"
begun = folder / "begun"

def stop(batch, logs=None):
    raise KeyboardInterrupt

try:
    fit(begun, 1, [LambdaCallback(on_train_batch_begin=stop)])
except KeyboardInterrupt:
    pass
(folder / "empty").mkdir()
step, Trainer.step = Trainer.step, None
for path in (folder / "empty", begun, folder, whole):
    path.chmod(0o555)
os.geteuid() or os.seteuid(65534)
for path in (folder / "empty", begun, folder / "new" / "er"):
    try:
        fit(path, 1)
    except PermissionError as error:
        print(error)
    else:
        raise AssertionError(path)
over = fit(whole, 2)
assert len(over.history["loss"]) == 2
os.getuid() or os.seteuid(0)
for path in (folder, folder / "empty", begun, whole):
    path.chmod(0o755)
Trainer.step = step
fit(begun, 2)
assert state(begun) == state(whole)
"""


def test_a_directory_without_permission_is_told_of_before_a_step(anybodys: Path) -> None:
    """Whether it is empty, holds a checkpoint, or cannot be made; one of a training that is over is only read."""
    lines = in_python(NO_PERMISSION, anybodys).splitlines()
    assert len(lines) == 3 and all("Permission denied" in line for line in lines)
