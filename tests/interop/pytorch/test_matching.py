"""Which module is which layer: told by what fits, by names, by order, or said in a map; never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_against_torch import error, numbers, randomized, run, saved
from torch import nn

import lstmcore as lc
from lstmcore.errors import WeightsMismatchError
from lstmcore.interop.pytorch import explain
from lstmcore.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Dense,
    Embedding,
    Input,
    LayerNormalization,
    SimpleRNN,
)
from lstmcore.models import Model, Sequential

LIMIT = 16


def denses(*names: str | None) -> Sequential:
    return Sequential([Input((4,)), *[Dense(4, name=name) for name in names]])


def three(*names: str) -> Any:
    return randomized(nn.ModuleDict({name: nn.Linear(4, 4) for name in names}))


def taken(path: Path, model: Any, module: Any, **options: Any) -> list[str]:
    """The name of the nn.Linear that each Dense came to hold."""
    lc.import_model(path, spec=model, **options)
    found = []
    for layer in model.layers:
        kernel = layer.get_weights()[0].T
        weights = {name.removesuffix(".weight"): w for name, w in module.state_dict().items()}
        found += [name for name, weight in weights.items() if np.array_equal(weight, kernel)]
    return found


def test_equal_shapes_go_by_order_and_this_is_said(tmp_path: Path) -> None:
    module = three("c", "a", "b")
    path = saved(module, tmp_path / "m.pt")
    model = denses(None, None, None)
    assert taken(path, model, module) == ["c", "a", "b"]
    told = str(explain(path, model))
    assert "dense    <- c  (by order)" in told and "dense_2  <- b  (by order)" in told


def test_names_come_before_order_where_all_agree(tmp_path: Path) -> None:
    module = three("c", "a", "b")
    path = saved(module, tmp_path / "m.pt")
    model = denses("a", "b", "c")
    assert taken(path, model, module) == ["a", "b", "c"]
    assert "(by name)" in str(explain(path, model))
    # dense_1 and dense_2 of a file are not the dense_1 of a spec whose first layer is called dense
    module = three("dense_1", "dense_2")
    assert taken(saved(module, path), denses(None, None), module) == ["dense_1", "dense_2"]


def test_a_file_without_order_is_refused_where_only_order_tells(tmp_path: Path) -> None:
    module = three("input", "hidden", "output")
    path = tmp_path / "m.safetensors"
    save_file(module.state_dict(), path)
    model = denses(None, None, None)
    before = model.get_weights()
    with pytest.raises(WeightsMismatchError, match=r"could be any of the modules.*map=\{'dense': "):
        lc.import_model(path, spec=model)
    assert all(map(np.array_equal, before, model.get_weights()))
    said = {"dense": "input", "dense_1": "hidden", "dense_2": "output"}
    assert taken(path, model, module, map=said) == ["input", "hidden", "output"]
    numbered = three(*(f"layers_{k}" for k in (2, 9, 10)))
    save_file(numbered.state_dict(), path)
    assert taken(path, model, numbered) == ["layers_2", "layers_9", "layers_10"]


def test_layers_of_one_module_are_in_order_in_any_file(tmp_path: Path) -> None:
    module = randomized(nn.LSTM(5, 5, 12, batch_first=True))
    save_file(module.state_dict(), tmp_path / "m.safetensors")
    model = Sequential([Input((4, 5)), *[LSTM(5, return_sequences=True) for _ in range(12)]])
    lc.import_model(tmp_path / "m.safetensors", spec=model)
    x = numbers(2, 4, 5)
    assert error(model.predict(x, verbose=0), run(module, x)[0]) <= LIMIT


def two_encoders() -> tuple[Any, Any]:
    module = randomized(nn.ModuleDict({"right": nn.LSTM(3, 4), "left": nn.LSTM(3, 4), "head": nn.Linear(8, 2)}), seed=4)
    a, b = Input((5, 3)), Input((5, 3))
    model = Model([a, b], Dense(2, name="out")(Concatenate()([LSTM(4, name="one")(a), LSTM(4, name="two")(b)])))
    return module, model


def test_a_map_says_which_is_which(tmp_path: Path) -> None:
    module, model = two_encoders()
    path = saved(module, tmp_path / "m.pt")
    for map in ({"one": "left", "two": "right"}, {"one": "left.l0", "two": "right.l0", "out": "head"}):
        lc.import_model(path, spec=model, map=map)
        assert np.array_equal(model.weights["one/kernel"], module["left"].weight_ih_l0.detach().numpy().T)
        assert np.array_equal(model.weights["two/kernel"], module["right"].weight_ih_l0.detach().numpy().T)
    lc.import_model(path, spec=model, map={"one": "right"})
    assert np.array_equal(model.weights["two/kernel"], module["left"].weight_ih_l0.detach().numpy().T)


def test_a_map_of_weights_to_tensors(tmp_path: Path) -> None:
    module, model = two_encoders()
    path = saved(module, tmp_path / "m.pt")
    tensors = {
        "one/kernel": "left.weight_ih_l0",
        "one/recurrent_kernel": "left.weight_hh_l0",
        "one/bias": ["left.bias_ih_l0", "left.bias_hh_l0"],
        "out/kernel": "head.weight",
        "out/bias": "head.bias",
    }
    lc.import_model(path, spec=model, map=tensors)
    assert np.array_equal(model.weights["one/recurrent_kernel"], module["left"].weight_hh_l0.detach().numpy().T)
    assert np.array_equal(model.weights["out/kernel"], module["head"].weight.detach().numpy().T)
    bias = module["left"].bias_ih_l0 + module["left"].bias_hh_l0
    assert np.array_equal(model.weights["one/bias"], bias.detach().numpy())
    with pytest.raises(WeightsMismatchError, match="some weights of out, and not bias"):
        lc.import_model(path, spec=model, map={"out/kernel": "head.weight"})
    with pytest.raises(WeightsMismatchError, match=r"one/bias: left.bias_ih_l0, but the tensor is \[\(16,\)\]"):
        lc.import_model(path, spec=model, map={**tensors, "one/bias": "left.bias_ih_l0"})


def test_both_ways_apart_and_together(tmp_path: Path) -> None:
    both = randomized(nn.GRU(3, 4, bidirectional=True, batch_first=True))
    x = Input((5, 3))
    forward, backward = GRU(4, name="f")(x), GRU(4, name="b", go_backwards=True)(x)
    model = Model(x, [forward, backward])
    path = saved(both, tmp_path / "m.pt")
    lc.import_model(path, spec=model, map={"f": "l0", "b": "l0_reverse"})
    data = numbers(2, 5, 3)
    _, h = run(both, data)
    assert all(error(y, final) <= LIMIT for y, final in zip(model.predict(data, verbose=0), h, strict=True))
    apart = randomized(nn.ModuleDict({"back": nn.LSTM(3, 4), "forth": nn.LSTM(3, 4)}))
    model = Sequential([Input((5, 3)), Bidirectional(LSTM(4), name="bi")])
    path = saved(apart, tmp_path / "m.pt")
    lc.import_model(path, spec=model, map={"bi/forward": "forth", "bi/backward": "back"})
    assert np.array_equal(model.weights["bi/backward/kernel"], apart["back"].weight_ih_l0.detach().numpy().T)
    assert np.array_equal(model.weights["bi/forward/kernel"], apart["forth"].weight_ih_l0.detach().numpy().T)


def test_a_map_of_a_model_within_a_model(tmp_path: Path) -> None:
    parts = {"enc": nn.ModuleDict({"p": nn.Linear(4, 4), "q": nn.Linear(4, 4)}), "dec": nn.Linear(4, 4)}
    module = randomized(nn.ModuleDict({"dec": parts["dec"], "enc": parts["enc"]}))
    inner = Sequential([Input((4,)), Dense(4, name="a"), Dense(4, name="b")], name="encoder")
    model = Sequential([Input((4,)), inner, Dense(4, name="decoder")])
    path = saved(module, tmp_path / "m.pt")
    lc.import_model(path, spec=model, map={"encoder": "enc", "decoder": "dec"})
    for ours, theirs in (("encoder/a", "enc.p"), ("encoder/b", "enc.q"), ("decoder", "dec")):
        assert np.array_equal(model.weights[f"{ours}/kernel"].T, module.get_submodule(theirs).weight.detach().numpy())


@pytest.mark.parametrize(
    ("map", "told"),
    [
        ({"nobody": "left"}, "'nobody', which is no layer"),
        ({"one": "lefft"}, r"'lefft', which the file does not have.*'left'"),
        ({"one": "head"}, "as the map says, 'head'"),
        ({"one": 3}, "expected the name of a module"),
        ({"one": "left", "two": "left"}, "as the map says, 'left'"),
        ({"out/kernel": "head.wait"}, r"the tensor 'head.wait', which is not there.*'head.weight'"),
        ({"out/kernel": 7}, "the name of a tensor"),
    ],
)
def test_maps_that_do_not_go(map: Any, told: str, tmp_path: Path) -> None:
    module, model = two_encoders()
    with pytest.raises(WeightsMismatchError, match=told):
        lc.import_model(saved(module, tmp_path / "m.pt"), spec=model, map=map)


def refused(tmp_path: Path, module: Any, *layers: Any) -> str:
    model = Sequential(list(layers))
    before = model.get_weights()
    with pytest.raises(WeightsMismatchError) as caught:
        lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    assert all(map(np.array_equal, before, model.get_weights()))
    return str(caught.value)


def test_both_sides_of_what_does_not_fit_are_listed(tmp_path: Path) -> None:
    module = nn.ModuleDict({"rnn": nn.LSTM(3, 5), "fc": nn.Linear(5, 2), "extra": nn.Linear(7, 2)})
    told = refused(tmp_path, module, Input((4, 3)), LSTM(6), Dense(2))
    assert "no module for LSTM lstm: kernel (3, 24)" in told and "weight_ih is (20, 3) where (24, 3)" in told
    assert "no layer for extra: nn.Linear(7 -> 2)" in told
    lc.import_model(tmp_path / "m.pt", spec=Sequential([Input((4, 3)), LSTM(5), Dense(2)]), ignore=["extra"])
    with pytest.raises(WeightsMismatchError, match="ignore names 'more'"):
        lc.import_model(tmp_path / "m.pt", spec=Sequential([Input((4, 3)), LSTM(5), Dense(2)]), ignore="more")
    told = refused(tmp_path, module, Input((4, 3)), LSTM(5), Dense(2))
    assert "ignore=['extra']" in told


@pytest.mark.parametrize(
    ("module", "layers", "told"),
    [
        (
            nn.LSTM(3, 5),
            [LSTM(5, recurrent_activation="hard_sigmoid")],
            "'hard_sigmoid', and that of nn.LSTM is sigmoid",
        ),
        (nn.LSTM(3, 5), [LSTM(5, activation="relu")], "'relu', and that of nn.LSTM is tanh"),
        (nn.GRU(3, 5), [GRU(5, reset_after=False)], "reset_after=False, and nn.GRU resets after"),
        (nn.RNN(3, 5), [SimpleRNN(5, activation="sigmoid")], "'sigmoid', and that of nn.RNN is tanh or relu"),
        (nn.LSTM(3, 5, bias=False), [LSTM(5)], "no bias_ih, no bias_hh .use_bias=False would fit"),
        (nn.LSTM(3, 5), [LSTM(5, use_bias=False)], "use_bias=True would fit"),
        (nn.LSTM(3, 5, bidirectional=True), [LSTM(5)], "it is bidirectional"),
        (nn.LSTM(3, 5), [Bidirectional(LSTM(5))], "it has one direction"),
        (nn.LSTM(3, 5, proj_size=2), [LSTM(5)], "proj_size"),
        (nn.GRU(3, 5), [LSTM(5)], "no layer for l0: nn.GRU"),
        (nn.Linear(3, 4, bias=False), [Dense(4)], "no bias"),
        (nn.Linear(4, 3), [Dense(4)], "weight is .3, 4. where .4, 3."),
        (nn.BatchNorm1d(3), [BatchNormalization(center=False)], "bias is left over"),
        (nn.LayerNorm(3, bias=False), [LayerNormalization()], "no bias"),
        (nn.Conv2d(3, 4, 3), [Dense(4)], "no layer for the tensor weight"),
    ],
)
def test_options_that_a_module_cannot_have(module: Any, layers: Any, told: str, tmp_path: Path) -> None:
    import re

    assert re.search(told, refused(tmp_path, module, Input((4, 3)), *layers), re.DOTALL)


def test_buffers_are_named_and_can_be_left(tmp_path: Path) -> None:
    module = randomized(nn.Linear(3, 2))
    module.register_buffer("positions", torch.arange(5.0))
    path = saved(module, tmp_path / "m.pt")
    model = Sequential([Input((3,)), Dense(2)])
    with pytest.raises(WeightsMismatchError, match=r"no layer for the tensor positions\n.*ignore=\['positions'\]"):
        lc.import_model(path, spec=model)
    lc.import_model(path, spec=model, ignore=["positions"])
    assert np.array_equal(model.weights["dense/bias"], module.bias.detach().numpy())


def test_one_tensor_for_two_weights(tmp_path: Path) -> None:
    module = randomized(nn.ModuleDict({"emb": nn.Embedding(6, 4), "fc": nn.Linear(4, 6, bias=False)}))
    save_file({"emb.weight": module["emb"].weight.detach()}, tmp_path / "m.safetensors")
    model = Sequential([Input((4,), dtype="int32"), Embedding(6, 4), Dense(6, use_bias=False)])
    tied = {"embedding/embeddings": "emb.weight", "dense/kernel": "emb.weight"}
    lc.import_model(tmp_path / "m.safetensors", spec=model, map=tied)
    assert np.array_equal(model.weights["dense/kernel"], model.weights["embedding/embeddings"].T)


def test_a_table_is_not_a_matrix(tmp_path: Path) -> None:
    """An nn.Embedding and an nn.Linear without bias have one kind of tensor; the layer says what it is."""
    module = randomized(nn.ModuleDict({"out": nn.Linear(6, 6, bias=False), "table": nn.Embedding(6, 6)}))
    model = Sequential([Input((4,), dtype="int32"), Embedding(6, 6, name="emb"), Dense(6, use_bias=False, name="d")])
    path = saved(module, tmp_path / "m.pt")
    lc.import_model(path, spec=model, map={"emb": "table", "d": "out"})
    assert np.array_equal(model.weights["emb/embeddings"], module["table"].weight.detach().numpy())
    assert np.array_equal(model.weights["d/kernel"], module["out"].weight.detach().numpy().T)


def test_counts_of_batches_are_passed_over_and_statistics_are_not(tmp_path: Path) -> None:
    module = randomized(nn.BatchNorm1d(3))
    model = Sequential([Input((3,)), BatchNormalization(epsilon=1e-5, momentum=0.9)])
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    assert np.array_equal(model.weights["batch_normalization/moving_variance"], module.running_var)
    assert "momentum and epsilon" in str(explain(tmp_path / "m.pt", model))


def test_a_shared_layer_takes_its_weights_once(tmp_path: Path) -> None:
    module = randomized(nn.Linear(3, 3))
    x, shared = Input((3,)), Dense(3)
    model = Model(x, shared(shared(x)))
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    data = numbers(2, 3)
    with torch.no_grad():
        assert error(model.predict(data, verbose=0), module(module(torch.from_numpy(data)))) <= LIMIT
