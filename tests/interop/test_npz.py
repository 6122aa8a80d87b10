"""Weights as plain arrays: out, in, and what is refused. NumPy itself is the judge of what is written."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import DamagedFileError, ExportError, FileError, UnsafeFileError
from lstmcore.errors import UnsupportedFileError as Unsupported
from lstmcore.errors import WeightsMismatchError as Mismatch
from lstmcore.interop.formats import formats, function
from lstmcore.interop.npz.npy import make_header, read_header
from lstmcore.layers import GRU, LSTM, BatchNormalization, Bidirectional, Dense, Embedding, Input
from lstmcore.models import Model, Sequential

WORDS = Input((None,), dtype="int32")


def model(dtype: str = "float32", seed: int = 3) -> Sequential:
    made = Sequential(
        [
            Input((None, 3)),
            Bidirectional(LSTM(4, return_sequences=True, dtype=dtype), dtype=dtype),
            GRU(5, dtype=dtype),
            BatchNormalization(dtype=dtype),
            Dense(2, dtype=dtype),
        ]
    )
    random = np.random.default_rng(seed)
    made.set_weights([random.uniform(0.1, 1, array.shape).astype(dtype) for array in made.get_weights()])
    return made


def shared() -> Model:
    first, second, layer = Input((4, 3)), Input((4, 3)), LSTM(2)
    return Model([first, second], Dense(1)(lc.layers.Concatenate()([layer(first), layer(second)])))


MODELS: dict[str, Callable[[], Any]] = {
    "float32": model,
    "float64": lambda: model("float64"),
    "masked": lambda: Sequential([WORDS, Embedding(9, 4, mask_zero=True), GRU(3, reset_after=False), Dense(1)]),
    "stateful": lambda: Sequential([Input(batch_shape=(2, 5, 3)), GRU(4, stateful=True)]),
    "shared": shared,
}


def same(a: Any, b: Any) -> None:
    assert list(a.weights) == list(b.weights)
    for name, array in a.weights.items():
        assert array.dtype == b.weights[name].dtype
        assert array.tobytes() == b.weights[name].tobytes(), name


@pytest.mark.parametrize("name", MODELS)
def test_a_model_goes_out_and_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    made, path = MODELS[name](), tmp_path / "m.npz"
    lc.export_model(made, path)
    with np.load(path, allow_pickle=False) as arrays:
        held = dict(arrays)
    assert set(held) == {*made.weights, "lstmcore.model", "lstmcore.vectors"}
    for key, array in made.weights.items():
        assert held[key].tobytes() == array.tobytes()
    again = lc.import_model(path)
    same(made, again)
    assert again.to_json() == made.to_json()


def test_the_same_model_is_always_the_same_file_and_another_is_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        lc.export_model(model(seed=seed), tmp_path / f"{name}.npz")
    a, b, c = ((tmp_path / f"{name}.npz").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def arrays_of(made: Any) -> dict[str, Any]:
    return dict(made.weights)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("change", [np.asfortranarray, lambda a: a.astype(">f4"), lambda a: a.astype("f8")])
def test_arrays_that_numpy_wrote_are_taken_into_a_given_model(write: Any, change: Any, tmp_path: Path) -> None:
    made = model()
    write(tmp_path / "w.npz", **{name: change(array) for name, array in made.weights.items()})
    for spec in (model(seed=9), made.to_json(), json_file(made, tmp_path)):
        same(made, lc.import_model(tmp_path / "w.npz", spec=spec))


def json_file(made: Any, folder: Path) -> Path:
    (folder / "spec.json").write_text(made.to_json())
    return folder / "spec.json"


def test_a_map_says_which_name_is_which_and_leaves_out_what_is_none(tmp_path: Path) -> None:
    made = Sequential([Input((None, 3)), LSTM(4)])
    made.set_weights([np.random.default_rng(1).normal(size=a.shape).astype("f4") for a in made.get_weights()])
    kernel, recurrent, bias = made.get_weights()
    np.savez(tmp_path / "w.npz", W=kernel, U=recurrent, **{"lstm/bias": bias}, epochs=np.array(7))
    names: dict[str, str | None] = {"W": "lstm/kernel", "U": "lstm/recurrent_kernel", "epochs": None}
    same(made, lc.import_model(tmp_path / "w.npz", spec=Sequential([Input((None, 3)), LSTM(4)]), map=names))
    with pytest.raises(Mismatch, match="epochs is not of this model"):
        lc.import_model(tmp_path / "w.npz", spec=made, map={"W": "lstm/kernel", "U": "lstm/recurrent_kernel"})
    with pytest.raises(Mismatch, match="given twice"):
        lc.import_model(tmp_path / "w.npz", spec=made, map={**names, "U": "lstm/kernel"})
    with pytest.raises(Unsupported, match="'V'"):
        lc.import_model(tmp_path / "w.npz", spec=made, map={**names, "V": "lstm/kernel"})


def test_what_does_not_fit_is_refused_and_the_model_is_unchanged(tmp_path: Path) -> None:
    made, before = model(), model(seed=9)
    held = arrays_of(made)
    cases: dict[str, tuple[dict[str, Any], type[FileError], str]] = {
        "missing": ({k: v for k, v in held.items() if k != "gru/bias"}, Mismatch, "gru/bias is missing"),
        "shape": (
            {**held, "gru/kernel": held["gru/kernel"].T.copy()},
            Mismatch,
            r"shape \(15, 8\); expected \(8, 15\)",
        ),
        "ints": ({**held, "dense/bias": np.zeros(2, "i4")}, Mismatch, "int32; expected a float"),
        "more": ({**held, "other": np.zeros(2)}, Mismatch, "other is not of this model"),
        "digits": ({**held, "dense/bias": np.array([0.1, 0.2])}, Mismatch, "do not fit into float32"),
    }
    for name, (given, error, match) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **given)
        target = model(seed=9)
        with pytest.raises(error, match=match):
            lc.import_model(tmp_path / f"{name}.npz", spec=target)
        same(target, before)
    with pytest.raises(Unsupported, match="spec=model"):
        lc.import_model(tmp_path / "more.npz")


def npy(text: str, data: bytes = b"\0" * 32) -> bytes:
    """An array with any header."""
    raw = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


def header(descr: str = "'<f4'", order: str = "False", shape: str = "(8,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


HEADERS: dict[str, tuple[str, type[FileError]]] = {
    "objects": (header("'|O'"), UnsafeFileError),
    "fields": (header("[('a', '<f4')]"), UnsafeFileError),
    "text": (header("'<U8'"), UnsafeFileError),
    "bomb": (header(shape="(1099511627776, 1099511627776)"), UnsafeFileError),
    "too_long": (header(shape="(1099511627776,)"), DamagedFileError),
    "negative": (header(shape="(-8,)"), UnsafeFileError),
    "eval": (header(shape="(__import__('os').system('true'),)"), UnsafeFileError),
    "call": ("__import__('os').getcwd()", UnsafeFileError),
    "more_keys": (header()[:-1] + "'x': 1}", UnsafeFileError),
    "twice": ("{'descr': '<f4', 'shape': (8,), 'shape': (8,)}", UnsafeFileError),
    "nested": ("(" * 3000, UnsafeFileError),
    "digits": (header(shape=f"({'9' * 3000},)"), DamagedFileError),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_are_read_and_never_evaluated(name: str, tmp_path: Path) -> None:
    text, error = HEADERS[name]
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("lstm/kernel.npy", npy(text))
    with pytest.raises(error, match=r"m\.npz"):
        lc.import_model(tmp_path / "m.npz", spec=Sequential([Input((2, 8)), LSTM(1)]))


@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 5), (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|u1", "<i8"])
def test_headers_are_those_of_numpy(shape: tuple[int, ...], dtype: str) -> None:
    theirs = io.BytesIO()
    np.lib.format.write_array(theirs, np.zeros(shape, dtype, order="F"), allow_pickle=False)
    found = read_header(theirs.getvalue(), "x")
    assert (found.shape, found.dtype, found.start + found.nbytes) == (shape, np.dtype(dtype), len(theirs.getvalue()))
    ours = make_header(np.dtype(dtype), shape) + b"\0" * found.nbytes
    array = np.lib.format.read_array(io.BytesIO(ours), allow_pickle=False)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert len(make_header(np.dtype(dtype), shape)) % 64 == 0


def test_bombs_and_other_members_are_refused(tmp_path: Path) -> None:
    spec = Sequential([Input((2, 8)), LSTM(1)])
    packed = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", packed) as archive:
        archive.writestr("lstm/kernel.npy", npy(header(shape="(67108864,)"), b"\0" * (1 << 28)))
    with pytest.raises(FileError, match="expected"):
        lc.import_model(tmp_path / "bomb.npz", spec=spec)
    with zipfile.ZipFile(tmp_path / "code.npz", "w") as archive:
        archive.writestr("a.npy", npy(header()))
        archive.writestr("a.py", b"import os")
    with pytest.raises(Unsupported, match=r"a\.py"):
        lc.import_model(tmp_path / "code.npz", spec=spec)
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", npy(header()))
        archive.writestr("a.npy", npy(header()))
    with pytest.raises(UnsafeFileError, match="two members"):
        lc.import_model(tmp_path / "twice.npz", spec=spec)


def test_a_file_whose_weights_were_altered_does_not_load(tmp_path: Path) -> None:
    made, path = model(), tmp_path / "m.npz"
    lc.export_model(made, path)
    with np.load(path) as arrays:
        held = dict(arrays)
    held["gru/kernel"] = held["gru/kernel"][:, np.r_[5:10, 0:5, 10:15]]  # gates z and r swapped
    np.savez(path, **held)
    with pytest.raises(DamagedFileError, match="does not compute what it did"):
        lc.import_model(path)
    lc.import_model(path, spec=model())  # asked for the arrays alone, it gives them


def test_every_damage_is_told_or_harmless(tmp_path: Path) -> None:
    made, path = model(), tmp_path / "m.npz"
    lc.export_model(made, path)
    whole, random = path.read_bytes(), np.random.default_rng(8)
    for cut in np.linspace(0, len(whole) - 1, 20).astype(int):
        path.write_bytes(whole[:cut])
        with pytest.raises(FileError):
            lc.import_model(path)
    for _ in range(150):
        spoilt = bytearray(whole)
        spoilt[random.integers(len(whole))] ^= 1 << int(random.integers(8))
        path.write_bytes(spoilt)
        try:
            again = lc.import_model(path)
        except FileError:
            continue
        same(made, again)


def test_names_that_an_archive_cannot_hold_are_refused(tmp_path: Path) -> None:
    from lstmcore.models.program_model import ProgramModel
    from lstmcore.ops import Affine
    from lstmcore.program import Builder

    for bad in ("../kernel", "a//b", "lstmcore.model", "c:/kernel"):
        build = Builder()
        (y,) = build.op(Affine(2, use_bias=False), build.input("x", (None, 3)), weights={"kernel": bad})
        with pytest.raises(ExportError, match="a weight is called"):
            lc.export_model(ProgramModel(build.finish([y.name])), tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


def test_it_lists_what_it_holds(tmp_path: Path) -> None:
    made = model()
    lc.export_model(made, tmp_path / "m.npz")
    row = next(row for row in formats() if row.name == "npz")
    listing = function(str(row.lists))(tmp_path / "m.npz")
    assert [(a.name, a.shape, a.dtype) for a in listing.arrays] == [
        (k, v.shape, "float32") for k, v in made.weights.items()
    ]
    assert listing.about == {"written by": "lstmcore"}


def test_lstmcores_own_file_is_a_format_too(tmp_path: Path) -> None:
    made = model()
    lc.export_model(made, tmp_path / "m.safetensors")
    same(made, lc.import_model(tmp_path / "m.safetensors"))
    (tmp_path / "renamed.bin").write_bytes((tmp_path / "m.safetensors").read_bytes())
    same(made, lc.import_model(tmp_path / "renamed.bin"))
    same(made, lc.import_model(tmp_path / "m.safetensors", spec=model(seed=8)))
    row = formats()[0]
    assert [a.name for a in function(str(row.lists))(tmp_path / "m.safetensors").arrays] == sorted(made.weights)
    spoilt = (tmp_path / "m.safetensors").read_bytes().replace(b'"gates":"ifco"', b'"gates":"icfo"')
    (tmp_path / "m.safetensors").write_bytes(spoilt)
    with pytest.raises(DamagedFileError, match="metadata are not those"):
        lc.import_model(tmp_path / "m.safetensors")


def test_a_safetensors_file_of_others_is_not_taken_for_our_own(tmp_path: Path) -> None:
    import safetensors.numpy

    safetensors.numpy.save_file({"weight_ih_l0": np.zeros((8, 3), "f4")}, tmp_path / "m.safetensors")
    with pytest.raises(FileError, match="safetensors") as caught:
        lc.import_model(tmp_path / "m.safetensors")
    assert "was cut short" not in str(caught.value)
