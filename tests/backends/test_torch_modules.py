"""Models as live PyTorch modules, and PyTorch as the judge of the files written for it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import lstmcore_torch
import numpy as np
import pytest
import torch
from lstmcore_torch.files import run
from numpy.typing import NDArray

import lstmcore as lc
from lstmcore import ops, plugins
from lstmcore.errors import ForeignFileError, SpecError
from lstmcore.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Dense,
    Embedding,
    Input,
    SimpleRNN,
)
from lstmcore.models import Model, Sequential
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Builder
from lstmcore.runtime.compare import scale_error

Array = NDArray[Any]
torch.set_num_threads(1)
IDS = np.random.default_rng(2).integers(0, 9, (4, 7)).astype("int32")


def weighted(model: Any) -> Any:
    rng = np.random.default_rng(3)
    model.set_weights([np.abs(rng.normal(scale=0.5, size=array.shape)) + 0.05 for array in model.get_weights()])
    return model


def words(trainable: bool = True) -> Any:
    return weighted(
        Sequential(
            [
                Input((None,), dtype="int32"),
                Embedding(9, 4, mask_zero=True),
                Bidirectional(LSTM(3, return_sequences=True)),
                GRU(4, return_sequences=True, trainable=trainable),
                SimpleRNN(3),
                BatchNormalization(),
                Dense(2, name="head"),
            ]
        )
    )


def out(module: Any, x: Array) -> Array:
    with torch.no_grad():
        return np.asarray(module.eval()(torch.from_numpy(x)).numpy())


def trained(module: Any, steps: int = 3) -> None:
    optimizer = torch.optim.Adam(module.parameters(), 0.05)
    module.train()
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.from_numpy(IDS)).square().mean().backward()
        optimizer.step()


def test_a_module_computes_what_the_model_does_and_has_the_files_state(tmp_path: Path) -> None:
    model = words()
    module = lstmcore_torch.to_module(model)
    assert scale_error(out(module, IDS), model.predict(IDS), "float32") <= 16
    lc.export_model(model, tmp_path / "m.pt")
    file = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(file) == list(module.state_dict())
    assert all(torch.equal(file[key], value) for key, value in module.state_dict().items())


def test_memory_is_shared_where_the_layouts_allow_it() -> None:
    model = words()
    before = {name: array.tobytes() for name, array in model.weights.items()}
    module = lstmcore_torch.to_module(model)
    assert {name: array.tobytes() for name, array in model.weights.items()} == before
    places = {
        "embedding/embeddings": "embedding.weight",
        "bidirectional/forward/kernel": "bidirectional.weight_ih_l0",
        "bidirectional/backward/recurrent_kernel": "bidirectional.weight_hh_l0_reverse",
        "gru/kernel": "gru.weight_ih_l0",
        "simple_rnn/kernel": "simple_rnn.weight_ih_l0",
        "batch_normalization/moving_mean": "batch_normalization.running_mean",
        "head/kernel": "head.weight",
    }
    state = module.state_dict()
    shared = {path: np.shares_memory(model.weights[path], state[key].numpy()) for path, key in places.items()}
    assert shared == {path: path != "gru/kernel" for path in places}
    assert not any(array.flags.writeable for array in model.weights.values())
    assert all(parameter.is_contiguous() for parameter in module.parameters())
    torch.nn.utils.parameters_to_vector(module.parameters())


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_training_does_to_the_module_it_does_to_the_model(backend: str) -> None:
    model = words()
    first = model.predict(IDS, backend=backend)
    module = lstmcore_torch.to_module(model)
    trained(module)
    second = model.predict(IDS, backend=backend)
    assert np.abs(second - first).max() > 0.01
    assert scale_error(second, out(module, IDS), "float32") <= 16
    trained(module, 1)
    assert scale_error(model.predict(IDS, backend=backend), out(module, IDS), "float32") <= 16


def test_the_model_trains_by_itself_again() -> None:
    model = words()
    module = lstmcore_torch.to_module(model)
    kept, first = out(module, IDS), model.predict(IDS)
    model.compile("sgd", "mse")
    model.fit(IDS, np.zeros((4, 2)), epochs=2, verbose=0)
    assert np.abs(model.predict(IDS) - first).max() > 0.01
    np.testing.assert_array_equal(out(module, IDS), kept)


def test_without_sharing_each_goes_its_way() -> None:
    model = words()
    first = model.predict(IDS)
    trained(lstmcore_torch.to_module(model, share=False))
    np.testing.assert_array_equal(model.predict(IDS), first)


def test_copies_of_a_model_that_shares_are_its_own() -> None:
    model = words()
    module = lstmcore_torch.to_module(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    first = model.predict(IDS)
    trained(module)
    for one in copies:
        np.testing.assert_array_equal(one.predict(IDS), first)
    assert np.abs(model.predict(IDS) - first).max() > 0.01


def test_a_module_of_another_dtype_still_gives_its_weights() -> None:
    model = words()
    first = model.predict(IDS)
    module = lstmcore_torch.to_module(model).double()
    assert model.weights["head/kernel"].dtype == np.float32
    assert scale_error(model.predict(IDS), first, "float32") <= 16
    with torch.no_grad():
        module.head.bias.add_(1.0)
    assert scale_error(model.predict(IDS), first + 1, "float32") <= 16


def test_parameters_are_trained_if_they_are_here() -> None:
    model = words(trainable=False)
    module = lstmcore_torch.to_module(model)
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"gru.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(SpecError, match="no weights yet"):
        lstmcore_torch.to_module(Sequential([Dense(2)]))


def test_a_layer_used_twice_is_one_module() -> None:
    a, b = Input((3,), name="a"), Input((3,), name="b")
    dense = Dense(2, name="both")
    model = weighted(Model([a, b], [dense(a), dense(b)]))
    module = lstmcore_torch.to_module(model)
    assert sorted(dict(module.named_parameters())) == ["both.bias", "both.weight"]
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    with torch.no_grad():
        found = module(*map(torch.from_numpy, x))
    for y, reference in zip(found, model.predict(list(x)), strict=True):
        assert scale_error(y.numpy(), reference, "float32") <= 16


# The judge.


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_the_judge_runs_what_was_written_and_shows_its_layers(name: str, tmp_path: Path) -> None:
    model = words()
    lc.export_model(model, tmp_path / name, format="pytorch")
    (found,), layers = run(tmp_path / name, [IDS])
    assert scale_error(found, model.predict(IDS), "float32") <= 16
    assert list(layers) == ["embedding", "bidirectional", "gru", "simple_rnn", "batch_normalization", "head"]
    for part in ("embedding", "bidirectional", "gru", "simple_rnn", "head"):
        inner = Model(model.input, model.get_layer(part).output)
        assert scale_error(layers[part], inner.predict(IDS), "float32") <= 16


def test_the_judge_is_there_for_all_who_look() -> None:
    (judge,) = [judge for judge in plugins.files().judges if judge.format == "pytorch"]
    assert (judge.name, judge.run) == ("PyTorch", "lstmcore_torch.files:run")


CANARY = "import pathlib; pathlib.Path(__file__).with_name('canary').touch()\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: CANARY + text,
        lambda text: text.replace("super().__init__()", f"super().__init__(); {CANARY.strip()}", 1),
        lambda text: text.replace("0.5", "0.6").replace("eps=", "eps=1") + "\n",
        lambda text: text.replace("Model.lstmcore_spec = (", "Model.other = ("),
        lambda text: text[: len(text) // 2],
        lambda text: text + "(" * 100_000,
        lambda text: "x = " + "-" * 200_000 + "1",
        lambda text: text.replace("\n)\n", f"\n    {CANARY!r}\n)\n"),
        lambda text: "",
        lambda text: "\0",
        lambda text: "Model.lstmcore_spec = __import__('os')",
        lambda text: "Model.lstmcore_spec = 'x' * 10**10",
    ],
)
def test_a_source_that_is_not_ours_is_not_run(change: Any, tmp_path: Path) -> None:
    lc.export_model(words(), tmp_path / "m.pt")
    text = (tmp_path / "m.py").read_text()
    (tmp_path / "m.py").write_text(change(text))
    with pytest.raises(ForeignFileError, match=r"m\.py"):
        run(tmp_path / "m.pt", [IDS])
    assert not (tmp_path / "canary").exists()


def test_a_state_without_its_source_is_no_model(tmp_path: Path) -> None:
    lc.export_model(words(), tmp_path / "m.pt")
    (tmp_path / "m.py").unlink()
    with pytest.raises(ForeignFileError, match="is not there"):
        run(tmp_path / "m.pt", [IDS])


@pytest.mark.parametrize("axis", [1, None])
def test_data_with_the_batch_elsewhere(axis: int | None, tmp_path: Path) -> None:
    """As a graph of another program may have it: the module takes what the model takes."""
    build = Builder()
    x = build.input("x", (None, 4, 3))
    states = [build.carry(name, (None, 2)) for name in ("h", "c")]
    y = build.op(ops.Lstm(2), x, *states, name="lstm")[0]
    axes = {"x": axis, "y": axis}
    model = weighted(ProgramModel(build.finish([y.name]), output_names=["y"], batch_axes=axes))
    lc.export_model(model, tmp_path / "m.pt")
    x_ = np.random.default_rng(0).normal(size=(4, 3) if axis is None else (4, 5, 3)).astype("float32")
    wanted = model.predict(x_)
    (found,), _ = run(tmp_path / "m.pt", [x_])
    assert found.shape == wanted.shape
    assert scale_error(found, wanted, "float32") <= 16
