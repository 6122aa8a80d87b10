"""Every format cut short, altered, swapped or growing, and what is no file: numbers 12, 39 and 77 to 84."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from reader import Reader, harmless, refused

import lstmcore as lc
from lstmcore.errors import DamagedFileError, FileError
from lstmcore.layers import LSTM, Dense, Input
from lstmcore.models import Sequential

FLIPS, ALTERED, BUILT = 80, 25, 40
FILES = [name for name in samples.FORMATS if name != "saved_model"]
JOBS = [(name, k) for name in samples.ALL for k in range(samples.count(name))]


def job_of(name: str, k: int, folder: Path) -> dict[str, Any]:
    return samples.jobs(name, folder / "x")[k]


@pytest.mark.parametrize(("name", "k"), JOBS)
def test_bits_turned_over(name: str, k: int, ask: Reader, tmp_path: Path) -> None:
    """``python tests/hostile/fuzz.py`` goes on from here."""
    answer = ask({**job_of(name, k, tmp_path), "flips": list(range(FLIPS))})
    harmless(answer)
    assert answer["files"] == FLIPS and answer["models"] < FLIPS


@pytest.mark.parametrize(("name", "k"), JOBS)
def test_altered_in_its_own_terms(name: str, k: int, ask: Reader, tmp_path: Path) -> None:
    answer = ask({**job_of(name, k, tmp_path), "altered": list(range(ALTERED))})
    harmless(answer)
    assert answer["files"] == ALTERED


@pytest.mark.parametrize("name", samples.ALL)
def test_built_from_nothing(name: str, ask: Reader, tmp_path: Path) -> None:
    """By hypothesis, always the same ones."""
    answer = ask({**job_of(name, 0, tmp_path), "built": [0, BUILT]})
    harmless(answer)
    assert answer["files"] >= BUILT // 2


@pytest.mark.parametrize(("name", "k"), JOBS)
def test_cut_short_at_every_fiftieth(name: str, k: int, ask: Reader, tmp_path: Path) -> None:
    job = job_of(name, k, tmp_path)
    size = os.path.getsize(os.path.normpath(os.path.join(job["path"], job.get("part", "."))))
    answer = ask({**job, "cut": [size * part // 50 for part in range(50)]})
    harmless(answer)
    assert answer["files"] == 50 and answer["models"] == 0, answer


def test_a_tflite_file_is_not_read(ask: Reader, tmp_path: Path) -> None:
    """It is written and judged; what is altered is refused before TFLite sees it (test_tflite.py)."""
    for content in (b"\x1c\0\0\0TFL3", b"\x1c\0\0\0TFL3" + bytes(999), b"TFL3"):
        (tmp_path / "m.tflite").write_bytes(content)
        refused(tmp_path / "m.tflite", ask, tmp_path)


SUFFIXES = {"own": ".safetensors", "c": ".h", "pytorch": ".pt", "hdf5": ".h5", "weights_hdf5": ".weights.h5"}


@pytest.mark.parametrize("name", FILES)
def test_pipes_devices_and_folders(name: str, ask: Reader, tmp_path: Path) -> None:
    path = tmp_path / f"m{SUFFIXES.get(name, f'.{name}')}"
    os.mkfifo(path)
    for given in (path, tmp_path / "zero", tmp_path / "folder"):
        if given.name == "zero":
            given.symlink_to("/dev/zero")
        elif given.name == "folder":
            given.mkdir()
        answer = ask({"path": str(given)})
        assert answer["result"] == "refused", answer
        harmless(answer)


def test_pipes_and_links_in_a_saved_model(ask: Reader, tmp_path: Path) -> None:
    for k, part in enumerate((*samples.PARTS, "saved_model.pb", "assets.extra/more")):
        folder = tmp_path / str(k)
        folder.mkdir()
        job = samples.saved_model(folder)
        inner = Path(job["path"], part)
        inner.unlink(missing_ok=True)
        for make in (
            os.mkfifo,
            lambda path: os.symlink("/dev/zero", path),
            lambda path: os.symlink("/etc/passwd", path),
        ):
            make(inner)
            answer = ask(job)
            assert answer["result"] == "refused", (part, answer)
            harmless(answer)
            inner.unlink()


@pytest.mark.parametrize("part", ["x", "assets/x", "saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_saved_model_with_a_huge_file(part: str, ask: Reader, tmp_path: Path) -> None:
    job = samples.saved_model(tmp_path)
    Path(job["path"], part).parent.mkdir(exist_ok=True)
    with open(os.path.join(job["path"], part), "ab") as file:
        file.truncate(1 << 40)
    told = json.loads(Path(job["path"], samples.ABOUT).read_text())
    told["files"][part] = "0" * 64
    Path(job["path"], samples.ABOUT).write_text(json.dumps(told))
    answer = ask(job)
    assert answer["result"] == "refused", answer
    harmless(answer)


@pytest.mark.parametrize("name", FILES)
def test_a_terabyte_of_zeros_after_it(name: str, ask: Reader, tmp_path: Path) -> None:
    """A hole takes no room on the disk; nothing of it may be read into memory."""
    job = samples.FORMATS[name](tmp_path)
    with open(job["path"], "ab") as file:
        file.truncate(1 << 40)
    answer = ask(job)
    assert answer["result"] == "refused" or "hdf5" in name, answer  # which may be longer than what is in it
    harmless(answer)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_changes_and_grows_while_it_is_read(name: str, tmp_path: Path) -> None:
    """The file is one of the two at every instant, or growing: a model of one of them, whole, or a FileError."""
    job = samples.FORMATS[name](tmp_path)
    path = Path(job["path"])
    one = path.read_bytes()
    made, own = samples.model(2), tmp_path / "other"
    own.mkdir()
    if name == "json":
        two = one.replace(b'"units": 3', b'"units": 4')
    else:
        lc.export_model(made, own / path.name)
        two = (own / path.name).read_bytes()
    right = {np.concatenate([a.reshape(-1) for a in samples.model(k).get_weights()]).tobytes() for k in (1, 2)}
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for content in (two, one):
                (tmp_path / "next").write_bytes(content)
                os.replace(tmp_path / "next", path)
            with open(path, "ab") as file:
                file.write(b"\0" * 1000)

    thread = threading.Thread(target=change)
    thread.start()
    read, end = 0, time.monotonic() + 0.7
    try:
        while time.monotonic() < end:
            try:
                model = lc.import_model(path, weights=job.get("weights"), spec=job.get("spec"))
            except FileError:
                continue
            read += 1
            assert np.concatenate([a.reshape(-1) for a in model.get_weights()]).tobytes() in right
    finally:
        stop.set()
        thread.join()
    assert path.exists()


# Numbers and what is said of them.


@pytest.mark.filterwarnings("ignore:.*NaN or infinity")
def test_numbers_that_are_none_or_nearly_none(tmp_path: Path) -> None:
    """77: NaN and infinity arrive as they are; the smallest numbers cost no time that matters."""
    model = samples.model()
    odd = [np.nan, np.inf, -np.inf, 1e-45, -1e-40, 3.4e38]
    weights = model.get_weights()
    for k, value in enumerate(odd):
        weights[k].flat[0] = value
    weights[1][...] = 1e-41
    model.set_weights(weights)
    for name in ("m.safetensors", "m.keras", "m.h5"):
        lc.export_model(model, tmp_path / name)
        again = lc.import_model(tmp_path / name)
        assert [a.tobytes() for a in again.get_weights()] == [a.tobytes() for a in weights]


@pytest.mark.parametrize("name", ["m.npz", "m.h"])
def test_a_square_kernel_that_was_transposed_is_found(name: str, tmp_path: Path) -> None:
    """78: its shape is right, and so is everything that is said of it; only the test vectors tell."""
    model = Sequential([Input((None, 3)), LSTM(3), Dense(3)], name="m")
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=a.shape).astype("float32") for a in model.get_weights()])
    lc.export_model(model, tmp_path / name)
    weights = model.get_weights()
    if name == "m.h":
        data = (tmp_path / name).read_text()
        at = data.index("{\n", data.index("m_w_dense_kernel[9]")) + 2
        end = data.index("\n}", at)
        numbers = [word.strip() for word in data[at:end].split(",")]
        turned = ", ".join(np.array(numbers).reshape(3, 3).T.reshape(-1))
        (tmp_path / name).write_text(data[:at] + turned + data[end:])
    else:
        with np.load(tmp_path / name) as file:
            held = dict(file)
        held["dense/kernel"] = held["dense/kernel"].T.copy()
        np.savez(tmp_path / name, **held)
    with pytest.raises(DamagedFileError, match=r"not what|does not compute"):
        lc.import_model(tmp_path / name)
    assert weights[3].shape == (3, 3)


def test_an_order_of_gates_that_is_not_so(tmp_path: Path) -> None:
    """79: said of gates that are as they always are, it is refused, digest or not."""
    job = samples.own(tmp_path)
    data = Path(job["path"]).read_bytes()
    Path(job["path"]).write_bytes(data.replace(b'"gates":"ifco"', b'"gates":"icfo"'))
    with pytest.raises(DamagedFileError, match="metadata"):
        lc.load_model(job["path"])
    from lstmcore.weights.header import metadata_digest

    size = int.from_bytes(data[:8], "little")
    fields = json.loads(data[8 : 8 + size])
    told = fields["__metadata__"]
    told["gates"] = "icfo"
    told["digests"] = json.dumps({**json.loads(told["digests"]), "__metadata__": metadata_digest(told)})
    raw = json.dumps(fields).encode()
    Path(job["path"]).write_bytes(len(raw).to_bytes(8, "little") + raw + data[8 + size :])
    with pytest.raises(FileError, match="icfo"):
        lc.load_model(job["path"])


def fitted(folder: Path, units: int = 3) -> Any:
    model = Sequential([Input((4, 2)), LSTM(units), Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    random = np.random.default_rng(1)
    x, y = random.normal(size=(8, 4, 2)).astype("float32"), random.normal(size=(8, 1)).astype("float32")
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, checkpoint=str(folder))
    return model


def test_a_checkpoint_of_others_or_altered_is_not_resumed(tmp_path: Path) -> None:
    """80, 82: slots of another shape, any bit turned over, cut short: one FileError, and the model as it was."""
    fitted(tmp_path / "a")
    with pytest.raises(FileError):
        fitted(tmp_path / "a", units=4)
    path = tmp_path / "a" / "checkpoint.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    fields = json.loads(data[8 : 8 + size])
    slot = next(name for name in fields if name.startswith("optimizer/") and len(fields[name]["shape"]) == 2)
    fields[slot]["shape"] = fields[slot]["shape"][::-1]
    raw = json.dumps(fields).encode()
    random = np.random.default_rng(4)
    altered = [len(raw).to_bytes(8, "little") + raw + data[8 + size :], data[: len(data) // 2], b""]
    for _ in range(12):
        made = bytearray(data)
        made[int(random.integers(len(made)))] ^= 1 << int(random.integers(8))
        altered.append(bytes(made))
    for content in altered:
        path.write_bytes(content)
        with pytest.raises(FileError):
            fitted(tmp_path / "a")
        assert path.read_bytes() == content
