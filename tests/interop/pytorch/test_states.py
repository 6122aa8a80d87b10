"""What people save: a state_dict as it is, wrapped, within a checkpoint, in views, by old versions of PyTorch."""

from __future__ import annotations

import argparse
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import nn

import lstmcore as lc
from lstmcore.errors import DamagedFileError, UnsafeFileError, UnsupportedFileError
from lstmcore.interop.formats import formats, function
from lstmcore.interop.pytorch import explain
from lstmcore.layers import LSTM, Dense, Input
from lstmcore.models import Sequential


def module() -> Any:
    torch.manual_seed(3)
    return nn.ModuleDict({"lstm": nn.LSTM(3, 5, batch_first=True), "fc": nn.Linear(5, 2)})


def spec() -> Sequential:
    return Sequential([Input((None, 3)), LSTM(5), Dense(2)])


def check(path: Path, expected: Any = None, **options: Any) -> Any:
    """The file has the weights of the module."""
    found = lc.import_model(path, spec=spec(), **options)
    given = (expected or module()).state_dict()
    arrays = {name: tensor.double().numpy() for name, tensor in given.items()}
    assert np.array_equal(found.weights["lstm/kernel"], arrays["lstm.weight_ih_l0"].T)
    assert np.array_equal(found.weights["lstm/recurrent_kernel"], arrays["lstm.weight_hh_l0"].T)
    bias = (given["lstm.bias_ih_l0"] + given["lstm.bias_hh_l0"]).numpy()
    assert np.array_equal(found.weights["lstm/bias"], bias)
    assert np.array_equal(found.weights["dense/kernel"], arrays["fc.weight"].T)
    assert np.array_equal(found.weights["dense/bias"], arrays["fc.bias"])
    return found


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle(old: bool, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(module().state_dict(), path, pickle_protocol=protocol, _use_new_zipfile_serialization=not old)
    check(path)
    check(path, format="pytorch")


SAVED: dict[str, Any] = {
    "a state_dict": lambda m: m.state_dict(),
    "a dict": lambda m: dict(m.state_dict()),
    "parameters": lambda m: dict(m.named_parameters()),
    "DataParallel": lambda m: OrderedDict((f"module.{k}", v) for k, v in m.state_dict().items()),
    "torch.compile": lambda m: {f"_orig_mod.{k}": v for k, v in m.state_dict().items()},
    "both": lambda m: {f"module._orig_mod.{k}": v for k, v in m.state_dict().items()},
    "a part compiled": lambda m: {k.replace("lstm.", "lstm._orig_mod."): v for k, v in m.state_dict().items()},
    "an extra state": lambda m: {**m.state_dict(), "fc._extra_state": None},
}


@pytest.mark.parametrize("name", SAVED)
def test_a_state_dict_as_it_is(name: str, tmp_path: Path) -> None:
    torch.save(SAVED[name](module()), tmp_path / "m.pt")
    check(tmp_path / "m.pt")


def trained(net: Any) -> dict[str, Any]:
    """A checkpoint with what people put beside the weights."""
    optimizer = torch.optim.Adam(net.parameters())
    x = net["lstm"](torch.ones(1, 2, 3))[0]
    net["fc"](x).sum().backward()
    optimizer.step()
    return {
        "epoch": 7,
        "loss": 0.25,
        "best": None,
        "losses": [1.0, 0.5],
        "args": argparse.Namespace(lr=0.1, hidden=5),
        "optimizer": optimizer.state_dict(),
        "mean": np.float64(1.5),
        "rng": torch.get_rng_state(),
        "names": {"a", "b"},
        "device": torch.device("cpu"),
        "shape": torch.Size([2, 3]),
        "dtype": torch.float32,
        "array": np.arange(3.0),
        3: ("x", 2**80, -1),
        (1, 2): True,
    }


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "weights", "anything"])
@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint(key: str, old: bool, tmp_path: Path) -> None:
    net = module()
    beside = {k: v for k, v in trained(net).items() if k != "rng"}
    torch.save({**beside, key: net.state_dict()}, tmp_path / "m.pt", _use_new_zipfile_serialization=not old)
    check(tmp_path / "m.pt", net)
    assert f"taken: {key}; beside it: epoch, loss" in str(explain(tmp_path / "m.pt", spec()))


def test_a_checkpoint_with_tensors_beside_the_state_dict(tmp_path: Path) -> None:
    net, path = module(), tmp_path / "m.pt"
    rng = torch.get_rng_state()
    torch.save({"rng": rng, "model": net.state_dict()}, path)
    check(path, net)
    torch.save({"rng": rng, "mine": net.state_dict()}, path)
    with pytest.raises(UnsupportedFileError, match="tensors by itself and a state_dict under 'mine'"):
        lc.import_model(path, spec=spec())
    check(path, net, key="mine")


def test_several_state_dicts_need_a_key(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"generator": module().state_dict(), "teacher": module().state_dict()}, path)
    with pytest.raises(UnsupportedFileError, match=r"several state_dicts: 'generator', 'teacher'.*key='generator'"):
        lc.import_model(path, spec=spec())
    check(path, key="teacher")
    with pytest.raises(UnsupportedFileError, match=r"no state_dict under 'techer'\. Did you mean 'teacher'"):
        lc.import_model(path, spec=spec(), key="techer")
    torch.save({"model": {"epoch": 3, "state_dict": module().state_dict()}}, path)
    check(path)
    check(path, key="model.state_dict")


def test_views_of_shared_storages(tmp_path: Path) -> None:
    net = module()
    base = torch.arange(400.0)
    state = net.state_dict()
    state["lstm.weight_ih_l0"] = base[7:187].reshape(20, 9)[:, 1:7:2]
    state["lstm.weight_hh_l0"] = base[:100].reshape(5, 20).t()
    state["lstm.bias_ih_l0"] = base[3].expand(20)
    state["fc.weight"] = torch.flip(base[:10].reshape(2, 5), [0])
    state["fc.bias"] = base[10:14:3]
    net.load_state_dict(state)
    for old in (False, True):
        torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=not old)
        check(tmp_path / "m.pt", net)


@pytest.mark.parametrize(
    "what", ["whole module", "TorchScript", "torch.export", "tensor", "list", "nothing", "a pickle", "numpy"]
)
def test_what_is_no_state_dict(what: str, tmp_path: Path) -> None:
    import pickle

    path, net = tmp_path / "m.pt", module()
    told = {
        "whole module": (
            UnsafeFileError,
            r"torch\.nn\.modules\.\S+: a whole object.*torch\.save\(model\.state_dict\(\)",
        ),
        "TorchScript": (UnsupportedFileError, "TorchScript"),
        "torch.export": (UnsupportedFileError, "a program of torch.export"),
        "tensor": (UnsupportedFileError, r"a single tensor of shape \(3,\)"),
        "list": (UnsupportedFileError, "holds list"),
        "nothing": (UnsupportedFileError, "no single state_dict"),
        "a pickle": (lc.errors.FileError, "a Python pickle"),
        "numpy": (UnsupportedFileError, "no single state_dict"),
    }
    if what == "torch.export":
        torch.export.save(torch.export.export(nn.Linear(2, 3), (torch.ones(1, 2),)), path)
    elif what == "TorchScript":
        with pytest.warns(DeprecationWarning):
            torch.jit.save(torch.jit.trace(net["fc"], torch.ones(1, 5)), path)
    elif what == "a pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    else:
        thing = {
            "whole module": net,
            "tensor": torch.ones(3),
            "list": [torch.ones(3)],
            "nothing": {"epoch": 3},
            "numpy": {"lstm.weight_ih_l0": np.ones((20, 3))},
        }
        torch.save(thing[what], path)
    kind, match = told[what]
    with pytest.raises(kind, match=match):
        lc.import_model(path, spec=spec())


def test_an_entry_that_is_no_tensor_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({**module().state_dict(), "scale": 3.0}, tmp_path / "m.pt")
    with pytest.raises(UnsupportedFileError, match="'scale' in its state_dict is no tensor"):
        lc.import_model(tmp_path / "m.pt", spec=spec())


def test_safetensors_of_others_and_of_our_own(tmp_path: Path) -> None:
    save_file(module().state_dict(), tmp_path / "m.safetensors", {"format": "pt"})
    check(tmp_path / "m.safetensors")
    save_arrays({k: v.numpy() for k, v in module().state_dict().items()}, tmp_path / "w.bin")
    check(tmp_path / "w.bin")
    own = spec()
    own.save(tmp_path / "own.safetensors")
    for given in (None, spec()):
        found = lc.import_model(tmp_path / "own.safetensors", spec=given)
        assert all(map(np.array_equal, own.get_weights(), found.get_weights()))


def test_a_file_that_describes_its_model(tmp_path: Path) -> None:
    text = spec().to_json()
    save_file(module().state_dict(), tmp_path / "m.safetensors", {"lstmcore_spec": text})
    torch.save({"state_dict": module().state_dict(), "lstmcore_spec": text}, tmp_path / "m.pt")
    expected = check(tmp_path / "m.pt")
    for name in ("m.pt", "m.safetensors"):
        found = lc.import_model(tmp_path / name)
        assert all(map(np.array_equal, found.get_weights(), expected.get_weights()))


def test_without_a_spec_the_modules_are_told(tmp_path: Path) -> None:
    net = nn.ModuleDict(
        {
            "emb": nn.Embedding(9, 3),
            "rnn": nn.GRU(3, 50, 2, bidirectional=True),
            "norm": nn.LayerNorm(100),
            "out": nn.Linear(100, 1),
        }
    )
    torch.save(net.state_dict(), tmp_path / "m.pt")
    with pytest.raises(UnsupportedFileError) as caught:
        lc.import_model(tmp_path / "m.pt")
    told = str(caught.value)
    assert "rnn: nn.GRU(3 -> 50, bidirectional, 2 layers)" in told and "out: nn.Linear(100 -> 1)" in told
    code = re.search(r"^lc\.Sequential\(.*", told, re.MULTILINE | re.DOTALL)
    assert code
    model = eval(code[0], {"lc": lc, **{name: getattr(lc.layers, name) for name in lc.layers.__all__}})
    lc.import_model(tmp_path / "m.pt", spec=model)


def test_a_listing_reads_no_number(tmp_path: Path) -> None:
    (row,) = [row for row in formats() if row.name == "pytorch"]
    path = tmp_path / "m.pt"
    torch.save({"model": module().state_dict(), "epoch": 3}, path)
    listing = function(str(row.lists))(path)
    shapes = {entry.name: (entry.shape, entry.dtype) for entry in listing.arrays}
    assert shapes["lstm.weight_ih_l0"] == ((20, 3), "float32")
    assert listing.about["modules"] == ["lstm: nn.LSTM(3 -> 5)", "fc: nn.Linear(5 -> 2)"]
    assert listing.about["key"] == "model" and listing.about["beside"] == ["epoch"]
    data = bytearray(path.read_bytes())
    numbers = module().state_dict()["fc.weight"].numpy().tobytes()
    at = data.index(numbers)
    data[at] ^= 1
    path.write_bytes(data)
    assert function(str(row.lists))(path) == listing
    with pytest.raises(DamagedFileError, match="not what was written"):
        lc.import_model(path, spec=spec())


def test_options_and_arguments_that_do_not_go_with_it(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(module().state_dict(), path)
    with pytest.raises(UnsupportedFileError, match="weights= is given"):
        lc.import_model(path, spec=spec(), weights=path)
    with pytest.raises(lc.errors.SpecError, match="no option 'mapp'"):
        lc.import_model(path, spec=spec(), mapp={})
    save_file(module().state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(UnsupportedFileError, match="key= goes with"):
        lc.import_model(tmp_path / "m.safetensors", spec=spec(), key="model")
