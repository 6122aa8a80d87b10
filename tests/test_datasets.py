"""MNIST: where it is looked for, what is refused, and that the shipped sample is what it says."""

from __future__ import annotations

import gc
import gzip
import hashlib
import http.server
import io
import os
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lstmcore.datasets import files, make_sample, mnist
from lstmcore.errors import DatasetError

KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_data_given(monkeypatch):
    monkeypatch.delenv("LSTMCORE_DATA", raising=False)


@pytest.fixture
def small():
    """Six training and three test images, all different, in MNIST's form."""
    rng = np.random.default_rng(20)
    pixels = rng.integers(0, 256, (9, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5, 9, 2, 6, 0], np.uint8)
    return {"x_train": pixels[:6], "y_train": labels[:6], "x_test": pixels[6:], "y_test": labels[6:]}


def idx_bytes(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder, arrays, *, dotted=False, gz=False):
    for key, name in IDX.items():
        name = name.replace("-idx", ".idx") if dotted else name
        data = idx_bytes(arrays[key])
        (folder / (name + ".gz" * gz)).write_bytes(gzip.compress(data) if gz else data)


def write_npz(path, arrays):
    np.savez_compressed(path, **arrays)
    return path


def npy_bytes(array, **kwargs):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **kwargs)
    return out.getvalue()


def assert_is(data, arrays):
    (x_train, y_train), (x_test, y_test) = data
    for key, given in zip(KEYS, (x_train, y_train, x_test, y_test), strict=True):
        assert given.dtype == np.uint8
        np.testing.assert_array_equal(given, arrays[key], err_msg=key)


# Where the data are looked for


@pytest.mark.parametrize("as_type", [str, Path])
def test_an_npz_file_by_path(tmp_path, small, as_type):
    path = write_npz(tmp_path / "any_name.npz", small)
    assert_is(mnist.load_data(as_type(path)), small)


def test_an_npz_file_with_more_in_it_and_in_fortran_order(tmp_path, small):
    arrays = small | {"x_train": np.asfortranarray(small["x_train"]), "notes": np.arange(3)}
    assert_is(mnist.load_data(write_npz(tmp_path / "mnist.npz", arrays)), small)


@pytest.mark.parametrize("gz", [False, True], ids=["raw", "gz"])
@pytest.mark.parametrize("dotted", [False, True], ids=["dash", "dot"])
def test_a_directory_with_idx_files(tmp_path, small, dotted, gz):
    write_idx(tmp_path, small, dotted=dotted, gz=gz)
    assert_is(mnist.load_data(tmp_path), small)


def test_a_directory_with_both_forms_gives_the_npz(tmp_path, small):
    write_idx(tmp_path, small | {"y_test": small["y_test"] + 1})
    write_npz(tmp_path / "mnist.npz", small)
    assert_is(mnist.load_data(tmp_path), small)


def test_arrays_can_be_written_to(tmp_path, small):
    write_idx(tmp_path, small)
    for source in (tmp_path, write_npz(tmp_path / "a.npz", small)):
        (x_train, _), (_, y_test) = mnist.load_data(source)
        x_train[0, 0, 0] = y_test[0] = 7


@pytest.mark.parametrize("name", ["mnist.npz", ""], ids=["file", "directory"])
def test_the_environment_variable(tmp_path, small, monkeypatch, name):
    write_npz(tmp_path / "mnist.npz", small)
    monkeypatch.setenv("LSTMCORE_DATA", str(tmp_path / name))
    assert_is(mnist.load_data(), small)


def test_path_goes_before_the_environment_variable(tmp_path, small, monkeypatch):
    monkeypatch.setenv("LSTMCORE_DATA", str(tmp_path / "nowhere"))
    assert_is(mnist.load_data(write_npz(tmp_path / "mnist.npz", small)), small)


@pytest.mark.parametrize("origin", ["path", "LSTMCORE_DATA"])
@pytest.mark.parametrize("what", ["nowhere", "empty"])
def test_a_place_without_data_is_an_error_not_a_download(tmp_path, monkeypatch, origin, what):
    monkeypatch.setattr(mnist, "_download", lambda source: pytest.fail("fell through to the download"))
    (tmp_path / "empty").mkdir()
    place = str(tmp_path / what)
    if origin == "LSTMCORE_DATA":
        monkeypatch.setenv("LSTMCORE_DATA", place)
    with pytest.raises(DatasetError) as error:
        mnist.load_data(place if origin == "path" else None)
    assert str(error.value).startswith(f"{origin}={place!r} ")
    assert "does not exist" in str(error.value) or "holds no mnist.npz" in str(error.value)
    assert "x_train" in str(error.value)
    assert "t10k-labels-idx1-ubyte" in str(error.value)


def test_a_missing_idx_file_is_named(tmp_path, small):
    write_idx(tmp_path, small)
    (tmp_path / IDX["y_test"]).unlink()
    with pytest.raises(DatasetError, match=r"it lacks t10k-labels-idx1-ubyte; expected"):
        mnist.load_data(tmp_path)


# The download, from a server on this machine


class Server:
    """A directory served on loopback; ``asked`` lists the paths requested."""

    def __init__(self, folder):
        asked = self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(folder))

            def log_message(self, *args):
                asked.append(self.path)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/served.npz"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self):
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def served(tmp_path, small, monkeypatch):
    """``(server, content, cache)``, with ``mnist.SOURCE`` and the cache pointed at them."""
    import pooch

    cache = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda project: cache / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "www").mkdir()
    content = write_npz(tmp_path / "www" / "served.npz", small).read_bytes()
    server = Server(tmp_path / "www")
    source = mnist.Source(server.url, hashlib.sha256(content).hexdigest(), "mnist.npz")
    monkeypatch.setattr(mnist, "SOURCE", source)
    yield server, content, cache / "lstmcore"
    server.stop()


def test_a_download_is_cached(served, small):
    server, content, cache = served
    assert_is(mnist.load_data(), small)
    assert [file.name for file in cache.iterdir()] == ["mnist.npz"]
    assert (cache / "mnist.npz").read_bytes() == content
    assert server.asked == ["/served.npz"]
    server.stop()
    assert_is(mnist.load_data(), small)


def test_an_empty_environment_variable_is_as_good_as_unset(served, small, monkeypatch):
    monkeypatch.setenv("LSTMCORE_DATA", "")
    assert_is(mnist.load_data(), small)


def test_a_wrong_checksum_is_refused_and_not_kept(served, monkeypatch):
    server, _, cache = served
    monkeypatch.setattr(mnist, "SOURCE", mnist.Source(server.url, "0" * 64, "mnist.npz"))
    with pytest.raises(DatasetError, match="gave another file than expected, and it was not kept") as error:
        mnist.load_data()
    assert "0" * 64 in str(error.value)
    assert "LSTMCORE_DATA" in str(error.value)
    assert list(cache.iterdir()) == []


def test_an_altered_file_in_the_cache_is_fetched_again(served, small):
    _, content, cache = served
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(content + b"x")
    assert_is(mnist.load_data(), small)
    assert (cache / "mnist.npz").read_bytes() == content


def test_an_altered_file_in_the_cache_is_never_read_offline(served):
    server, content, cache = served
    server.stop()
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(content + b"x")
    with pytest.raises(DatasetError, match="the file there now has another checksum"):
        mnist.load_data()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pooch 1.9 leaves a 404 open
@pytest.mark.parametrize("fault", ["down", "404"])
def test_offline_says_where_to_put_which_file(served, tmp_path, fault):
    server, _, cache = served
    if fault == "down":
        server.stop()
    else:
        (tmp_path / "www" / "served.npz").unlink()
    with pytest.raises(DatasetError) as error:
        mnist.load_data()
    for part in (server.url, str(cache / "mnist.npz"), "LSTMCORE_DATA", *IDX.values(), "load_sample()"):
        assert part in str(error.value)
    assert not (cache / "mnist.npz").exists()
    del error
    gc.collect()


def test_the_source_is_that_of_keras():
    assert mnist.SOURCE.url == "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
    assert mnist.SOURCE.sha256 == "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


# What is refused: npz


def raw_npz(path, arrays, **members):
    """An .npz whose ``members`` are given as bytes, the others being whole."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in KEYS:
            archive.writestr(f"{key}.npy", members.get(key) or npy_bytes(arrays[key]))
    return path


def shape_bomb(_):
    """A header that declares a terabyte, with eight bytes after it."""
    out = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 30, 32, 32)}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + b"8 bytes."


NPZ_MEMBERS = {
    "objects": (
        lambda a: npy_bytes(np.array([{}], object), allow_pickle=True),
        "dtype object; expected uint8",
    ),
    "floats": (lambda a: npy_bytes(a.astype("float32")), "dtype float32; expected uint8"),
    "rank": (lambda a: npy_bytes(a[0]), r"has shape \(28, 28\); expected \(n, 28, 28\)"),
    "size": (lambda a: npy_bytes(a[:, 1:]), r"has shape \(6, 27, 28\); expected \(n, 28, 28\)"),
    "none": (lambda a: npy_bytes(a[:0]), r"has shape \(0, 28, 28\); expected \(n, 28, 28\) with n > 0"),
    "lengths": (lambda a: npy_bytes(a[:5]), "has 5 images and mnist.npz: y_train has 6 labels"),
    "shape bomb": (shape_bomb, r"holds 8 bytes of data; expected 1099511627776"),
    "too much": (lambda a: npy_bytes(a) + b"x", "holds more than 4704 bytes of data; expected 4704"),
    "too little": (lambda a: npy_bytes(a)[:-1], "holds 4703 bytes of data; expected 4704"),
    "version": (lambda a: npy_bytes(a, version=(2, 0)), r"is of .npy version \(2, 0\); expected \(1, 0\)"),
    "not npy": (lambda a: b"hello, world", "is damaged or not an .npz file"),
    "empty header": (lambda a: b"\x93NUMPY\x01\x00\x00\x00", "is damaged or not an .npz file"),
    "no header": (lambda a: b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118, "is damaged or not an .npz file"),
}


@pytest.mark.parametrize("case", NPZ_MEMBERS)
def test_an_npz_with_a_bad_member_is_refused(tmp_path, small, case):
    make, message = NPZ_MEMBERS[case]
    path = raw_npz(tmp_path / "mnist.npz", small, x_train=make(small["x_train"]))
    with pytest.raises(DatasetError, match=message) as error:
        mnist.load_data(path)
    assert str(error.value).startswith("mnist.npz")


def test_labels_that_are_no_digits_are_refused(tmp_path, small):
    path = write_npz(tmp_path / "mnist.npz", small | {"y_test": np.array([1, 10, 2], np.uint8)})
    with pytest.raises(DatasetError, match=r"mnist.npz: y_test has the label 10; expected the digits 0 to 9"):
        mnist.load_data(path)


def test_an_npz_without_a_key_lists_what_it_has(tmp_path, small):
    arrays = {{"y_test": "labels"}.get(key, key): array for key, array in small.items()}
    message = r"mnist.npz: y_test is missing; expected .*, found labels, x_test, x_train, y_train\."
    with pytest.raises(DatasetError, match=message):
        mnist.load_data(write_npz(tmp_path / "mnist.npz", arrays))


def test_an_npz_with_a_key_twice_is_refused(tmp_path, small):
    path = raw_npz(tmp_path / "mnist.npz", small)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, that the name is a duplicate
        archive.writestr("y_test.npy", npy_bytes(small["y_test"]))
    with pytest.raises(DatasetError, match=r"mnist.npz: y_test is there more than once"):
        mnist.load_data(path)


def test_an_npz_packed_otherwise_is_refused(tmp_path, small):
    path = tmp_path / "mnist.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for key in KEYS:
            archive.writestr(f"{key}.npy", npy_bytes(small[key]))
    with pytest.raises(DatasetError, match=r"zip method 14; expected 0 \(stored\) or 8"):
        mnist.load_data(path)


def test_an_encrypted_npz_is_refused(tmp_path, small):
    path = raw_npz(tmp_path / "mnist.npz", small)
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"mnist.npz is damaged or not an .npz file .*encrypted"):
        mnist.load_data(path)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"\x80\x04N.", idx_bytes(np.zeros(3, np.uint8))])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"^mnist.npz is damaged or not an .npz file \(BadZipFile"):
        mnist.load_data(tmp_path)


def test_a_truncated_npz_is_refused_wherever_it_ends(tmp_path, small):
    whole = write_npz(tmp_path / "whole.npz", small).read_bytes()
    path = tmp_path / "mnist.npz"
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(DatasetError, match=r"^mnist.npz"):
            mnist.load_data(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_flipped_byte_is_refused_or_harmless(tmp_path, small, method):
    """Whatever is damaged, what comes out is the data or a DatasetError, never other data."""
    with zipfile.ZipFile(tmp_path / "whole.npz", "w", method) as archive:
        for key in KEYS:
            archive.writestr(f"{key}.npy", npy_bytes(small[key]))
    whole = (tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "mnist.npz"
    refused = 0
    for at in np.random.default_rng(5).integers(0, len(whole), 400):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x55,)) + whole[at + 1 :])
        try:
            data = mnist.load_data(path)
        except DatasetError as error:
            refused += 1
            assert str(error).startswith("mnist.npz")
        else:
            assert_is(data, small)
    assert refused > 300


def test_an_npz_deflate_bomb_is_not_unpacked(tmp_path, small):
    bomb = npy_bytes(np.zeros((100_000, 28, 28), np.uint8))
    path = raw_npz(tmp_path / "mnist.npz", small, x_train=bomb)
    del bomb
    assert peak_of(lambda: refused(path, "declares 78400128 bytes; expected at most 67108864")) < 2 << 20


# What is refused: IDX


def refused(path, message):
    with pytest.raises(DatasetError, match=message) as error:
        mnist.load_data(path)
    return str(error.value)


def peak_of(action):
    """The most memory, in bytes, that Python and numpy held during ``action``."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def declaring(*shape):
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


IDX_FILES = {
    "magic": (
        lambda whole: b"\0\0\x0d\x03" + whole[4:],
        "begins with the bytes 00 00 0d 03; expected 00 00 08 03",
    ),
    "labels": (lambda whole: idx_bytes(np.zeros(6, np.uint8)), "begins with the bytes 00 00 08 01; expected"),
    "empty": (lambda whole: b"", r"begins with the bytes \(none\); expected 00 00 08 03"),
    "header": (lambda whole: whole[:11], "ends inside its header: 11 bytes; expected 16 and data"),
    "too little": (lambda whole: whole[:-1], "holds 4703 bytes of data; expected 4704"),
    "too much": (lambda whole: whole + b"x", "holds more than 4704 bytes of data; expected 4704"),
    "size bomb": (lambda whole: declaring(80_000, 28, 28) + b"x", "holds 1 bytes of data; expected 62720000"),
    "huge": (
        lambda whole: declaring(*3 * [2**32 - 1]),
        "declares 79228162458924105385300197375 bytes; expected",
    ),
    "none": (
        lambda whole: declaring(0, 28, 28),
        r"has shape \(0, 28, 28\); expected \(n, 28, 28\) with n > 0",
    ),
    "size": (
        lambda whole: declaring(6, 28, 1) + bytes(168),
        r"has shape \(6, 28, 1\); expected \(n, 28, 28\)",
    ),
}


@pytest.mark.parametrize("gz", [False, True], ids=["raw", "gz"])
@pytest.mark.parametrize("case", IDX_FILES)
def test_a_bad_idx_file_is_refused(tmp_path, small, case, gz):
    make, message = IDX_FILES[case]
    write_idx(tmp_path, small, gz=gz)
    name = IDX["x_train"] + ".gz" * gz
    bad = make(idx_bytes(small["x_train"]))
    (tmp_path / name).write_bytes(gzip.compress(bad) if gz else bad)
    found = []
    assert peak_of(lambda: found.append(refused(tmp_path, message))) < 4 << 20
    assert found[0].startswith(name)


@pytest.mark.parametrize(("declared", "present"), [(80_000, 20 << 20), (6, 20 << 20)], ids=["short", "long"])
def test_a_raw_idx_file_of_another_size_is_refused_unread(tmp_path, small, declared, present):
    write_idx(tmp_path, small)
    path = tmp_path / IDX["x_train"]
    path.write_bytes(declaring(declared, 28, 28))
    os.truncate(path, present)
    assert peak_of(lambda: refused(tmp_path, f"expected {declared * 784}: its header declares")) < 1 << 20


GZIP_FILES = {
    "not gzip": lambda packed: gzip.decompress(packed),
    "empty": lambda packed: b"",
    "truncated": lambda packed: packed[: len(packed) // 2],
    "no trailer": lambda packed: packed[:-8],
    "checksum": lambda packed: packed[:-8] + bytes(8),
    "bytes after": lambda packed: packed + b"more",
    "a flipped byte": lambda packed: packed[:2000] + bytes((packed[2000] ^ 1,)) + packed[2001:],
}


@pytest.mark.parametrize("case", GZIP_FILES)
def test_a_bad_gzip_stream_is_refused(tmp_path, small, case):
    write_idx(tmp_path, small, gz=True)
    path = tmp_path / (IDX["x_train"] + ".gz")
    path.write_bytes(GZIP_FILES[case](path.read_bytes()))
    message = r"^train-images-idx3-ubyte.gz (is damaged or not an IDX file|begins with the bytes)"
    refused(tmp_path, message)


def test_a_gzip_bomb_is_not_unpacked(tmp_path, small):
    write_idx(tmp_path, small, gz=True)
    bomb = tmp_path / (IDX["x_train"] + ".gz")
    with gzip.open(bomb, "wb") as out:
        out.write(idx_bytes(small["x_train"]))
        for _ in range(64):
            out.write(bytes(1 << 20))
    assert peak_of(lambda: refused(tmp_path, "^train-images-.*holds more than 4704 bytes")) < 2 << 20


def test_idx_files_of_different_lengths_are_refused(tmp_path, small):
    write_idx(tmp_path, small | {"y_test": small["y_test"][:2]})
    refused(tmp_path, "t10k-images-idx3-ubyte has 3 images and t10k-labels-idx1-ubyte has 2 labels; expected")


def test_the_limit_has_room_for_mnist():
    assert files.LIMIT > 60_000 * 28 * 28 + 128


# The sample


def test_the_sample_is_what_it_says():
    (x_train, y_train), (x_test, y_test) = mnist.load_sample()
    assert (x_train.shape, x_test.shape) == ((2000, 28, 28), (1000, 28, 28))
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    np.testing.assert_array_equal(np.bincount(y_train), [200] * 10)
    np.testing.assert_array_equal(np.bincount(y_test), [100] * 10)
    assert len(np.unique(np.concatenate([x_train, x_test]).reshape(3000, -1), axis=0)) == 3000
    assert (x_train.max(), x_train.min()) == (255, 0)
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 3, 6, 7, 8]


def test_the_digits_of_the_sample_are_mixed():
    """Any 100 images in a row hold every digit, and no digit makes up a third of them."""
    (_, y_train), (_, y_test) = mnist.load_sample()
    for labels in (y_train, y_test):
        counts = [np.bincount(part, minlength=10) for part in labels.reshape(-1, 100)]
        assert np.min(counts) >= 1
        assert np.max(counts) <= 33


def test_the_images_of_the_sample_fit_their_labels():
    """The nearest of ten mean images is the right one for 80 % of the test images; by chance for 10 %."""
    (x_train, y_train), (x_test, y_test) = mnist.load_sample()
    means = np.stack([x_train[y_train == digit].mean(axis=0) for digit in range(10)])
    distances = ((x_test[:, None].astype(float) - means) ** 2).sum(axis=(2, 3))
    assert (distances.argmin(axis=1) == y_test).mean() > 0.75


def test_pick_takes_at_equal_distances_and_keeps_the_order():
    labels = np.tile(np.arange(10, dtype=np.uint8), 7)
    np.testing.assert_array_equal(make_sample.pick(labels, 3), [*range(10), *range(20, 30), *range(40, 50)])


def test_pick_needs_enough_of_every_digit():
    labels = np.repeat(np.arange(10, dtype=np.uint8), 4)
    with pytest.raises(DatasetError, match="the digit 7 has 3 images; expected at least 4"):
        make_sample.pick(np.delete(labels, 28), 4)


def test_the_writer_puts_no_clock_into_the_file(tmp_path, small, monkeypatch):
    make_sample.write(small, tmp_path / "now.npz")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((2033, 5, 18, 3, 33, 20, 2, 138, 0)))
    make_sample.write(small, tmp_path / "later.npz")
    assert (tmp_path / "now.npz").read_bytes() == (tmp_path / "later.npz").read_bytes()
    assert_is(mnist.load_data(tmp_path / "now.npz"), small)


def full_set():
    """The full MNIST: what LSTMCORE_DATA says, even if it is wrong, or the copy beside the repository."""
    if given := os.environ.get("LSTMCORE_DATA"):
        return Path(given)
    beside = REPOSITORY.parent / "shared" / "data" / "mnist.npz"
    return beside if beside.exists() else None


FULL_SET = full_set()
needs_full_set = pytest.mark.skipif(
    FULL_SET is None, reason="needs the full MNIST: set LSTMCORE_DATA to mnist.npz or to its directory"
)


def directory_of(path):
    """What a zip file holds, but for how well it was packed, which depends on the zlib at hand."""
    with zipfile.ZipFile(path) as archive:
        return [(i.filename, i.date_time, i.file_size, i.CRC, i.external_attr) for i in archive.infolist()]


@needs_full_set
def test_the_sample_can_be_made_again(tmp_path, capsys):
    out = tmp_path / "sample.npz"
    make_sample.main([str(FULL_SET), str(out)])
    assert str(out) in capsys.readouterr().out
    assert directory_of(out) == directory_of(Path(mnist.__file__).with_name("mnist_sample.npz"))


@needs_full_set
def test_the_full_set_has_the_shapes_of_keras():
    (x_train, y_train), (x_test, y_test) = mnist.load_data(FULL_SET)
    assert (x_train.shape, y_train.shape) == ((60000, 28, 28), (60000,))
    assert (x_test.shape, y_test.shape) == ((10000, 28, 28), (10000,))
    assert np.bincount(y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert hashlib.md5(idx_bytes(x_train)).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


# The package


def test_importing_the_data_sets_imports_nothing_heavy():
    code = (
        "import sys, lstmcore.datasets as d; d.mnist.load_sample();"
        "heavy = {'pooch', 'requests', 'torch', 'tensorflow', 'keras', 'jax', 'onnxruntime'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_sample_names_its_authors_and_licence():
    text = Path(mnist.__file__).with_name("MNIST.md").read_text(encoding="utf-8")
    for part in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0", "mnist_sample.npz"):
        assert part in text
        assert part in (mnist.__doc__ + mnist.load_sample.__doc__) or part.endswith(".npz")
