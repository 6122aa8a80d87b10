"""State_dicts that PyTorch writes, into models: what comes out is what PyTorch computes, in units of float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lstmcore as lc
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Embedding,
    GRUCell,
    Input,
    LayerNormalization,
    LSTMCell,
    MultiHeadAttention,
    PReLU,
    ProjectedLSTMCell,
    SimpleRNN,
    StackedRNNCells,
    TimeDistributed,
)
from lstmcore.models import Model, Sequential

LIMIT = 16
OURS = {"LSTM": LSTM, "GRU": GRU, "RNN": SimpleRNN}


def error(y: Any, expected: Any) -> float:
    """The largest difference, in units of float32 at the largest number."""
    expected = np.asarray(expected, np.float64)
    scale = np.finfo(np.float32).eps * np.abs(expected).max()
    return float(np.abs(np.asarray(y, np.float64) - expected).max() / scale)


def randomized(module: Any, seed: int = 0) -> Any:
    """The module with weights that are all different, and running variances that are positive."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.dtype.is_floating_point:
                values = rng.normal(scale=0.4, size=tuple(tensor.shape)) + 0.05
                values = np.abs(values) + 0.5 if name.endswith("running_var") else values
                tensor.copy_(torch.from_numpy(np.asarray(values)))
    return module.eval()


def numbers(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def saved(module: Any, path: Path, **options: Any) -> Path:
    torch.save(module.state_dict(), path, **options)
    return path


def run(module: Any, *inputs: Any) -> Any:
    with torch.no_grad():
        return module(*(torch.from_numpy(x) for x in inputs))


def stack(kind: str, count: int, both: bool, bias: bool, **options: Any) -> Sequential:
    """So many layers over time, all outputs and the last layer's states."""
    layers: list[Any] = []
    for k in range(count):
        layer = OURS[kind](5, return_sequences=True, return_state=k == count - 1, use_bias=bias, **options)
        layers.append(Bidirectional(layer) if both else layer)
    return Sequential([Input((7, 3)), *layers])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_modules(kind: str, count: int, both: bool, bias: bool, tmp_path: Path) -> None:
    module = randomized(getattr(nn, kind)(3, 5, count, bias=bias, bidirectional=both, batch_first=True))
    model = stack(kind, count, both, bias)
    assert lc.import_model(saved(module, tmp_path / "m.pt"), spec=model) is model
    x = numbers(2, 7, 3)
    y, states = run(module, x)
    ours = model.predict(x, verbose=0)
    assert error(ours[0], y) <= LIMIT
    h, c = states if kind == "LSTM" else (states, None)
    ways = 2 if both else 1
    finals = [part[way - ways] for way in range(ways) for part in ((h,) if c is None else (h, c))]
    assert len(finals) == len(ours) - 1
    for final, expected in zip(ours[1:], finals, strict=True):
        assert error(final, expected) <= LIMIT


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_states_to_start_from(kind: str, tmp_path: Path) -> None:
    module = randomized(getattr(nn, kind)(3, 5, bidirectional=True, batch_first=True))
    count = 2 if kind == "LSTM" else 1
    x = Input((7, 3))
    given = [Input((5,)) for _ in range(2 * count)]
    model = Model([x, *given], Bidirectional(OURS[kind](5, return_sequences=True))(x, initial_state=given))
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    values, states = numbers(2, 7, 3), numbers(2 * count, 2, 5, seed=5)
    # ours: forward h, c, backward h, c; theirs: h of both ways, then c
    theirs = torch.from_numpy(states.reshape(2, count, 2, 5))
    parts = tuple(theirs[:, k].contiguous() for k in range(count))
    with torch.no_grad():
        y, _ = module(torch.from_numpy(values), parts if kind == "LSTM" else parts[0])
    assert error(model.predict([values, *states], verbose=0), y) <= LIMIT


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_cells(kind: str, tmp_path: Path) -> None:
    module = randomized(getattr(nn, f"{kind}Cell")(3, 5))
    model = Sequential([Input((4, 3)), OURS[kind](5)])
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    x = numbers(2, 4, 3)
    state = None
    for t in range(4):
        with torch.no_grad():
            state = module(torch.from_numpy(x[:, t]), state)
    h = state[0] if kind == "LSTM" else state
    assert error(model.predict(x, verbose=0), h) <= LIMIT


def test_an_rnn_of_relus(tmp_path: Path) -> None:
    module = randomized(nn.RNN(3, 5, nonlinearity="relu", batch_first=True))
    model = Sequential([Input((4, 3)), SimpleRNN(5, activation="relu", return_sequences=True)])
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    x = numbers(2, 4, 3)
    assert error(model.predict(x, verbose=0), run(module, x)[0]) <= LIMIT


def test_cells_over_time_take_the_layers_of_one_module(tmp_path: Path) -> None:
    module = randomized(nn.LSTM(3, 5, 2, batch_first=True))
    stacked = Sequential([Input((4, 3)), RNN(StackedRNNCells([LSTMCell(5), LSTMCell(5)]), return_sequences=True)])
    apart = Sequential([Input((4, 3)), RNN(LSTMCell(5), return_sequences=True), LSTM(5, return_sequences=True)])
    x = numbers(2, 4, 3)
    for model in (stacked, apart):
        lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
        assert error(model.predict(x, verbose=0), run(module, x)[0]) <= LIMIT
    both = randomized(nn.GRU(3, 5, bidirectional=True, batch_first=True))
    model = Sequential([Input((4, 3)), Bidirectional(RNN(GRUCell(5), return_sequences=True))])
    lc.import_model(saved(both, tmp_path / "m.pt"), spec=model)
    assert error(model.predict(x, verbose=0), run(both, x)[0]) <= LIMIT


class Tagger(nn.Module):
    """Modules as people write them: of every kind, called in another order than made."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(10, 4)
        self.embedding = nn.Embedding(11, 6, padding_idx=0)
        self.conv = nn.Conv1d(6, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.encoder = nn.LSTM(8, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.layer_norm = nn.LayerNorm(10)
        self.slope = nn.PReLU(4)

    def forward(self, ids: Any) -> Any:
        x = self.embedding(ids).transpose(1, 2)
        x = torch.relu(self.norm(self.conv(x))).transpose(1, 2)
        x, _ = self.encoder(x)
        return self.slope(self.head(self.layer_norm(x)).transpose(1, 2)).transpose(1, 2)


def tagger() -> Sequential:
    return Sequential(
        [
            Input((9,), dtype="int32"),
            Embedding(11, 6),
            Conv1D(8, 3, padding="same"),
            BatchNormalization(epsilon=1e-5),
            lc.layers.ReLU(),
            Bidirectional(LSTM(5, return_sequences=True)),
            Bidirectional(LSTM(5, return_sequences=True)),
            LayerNormalization(epsilon=1e-5),
            TimeDistributed(Dense(4)),
            PReLU(shared_axes=[1]),
        ]
    )


IDS = np.random.default_rng(2).integers(0, 11, (3, 9)).astype("int64")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_all_kinds_at_once(suffix: str, tmp_path: Path) -> None:
    module = randomized(Tagger())
    path = tmp_path / f"m{suffix}"
    if suffix == ".safetensors":
        save_file(module.state_dict(), path)
    else:
        saved(module, path)
    model = lc.import_model(path, spec=tagger())
    assert error(model.predict(IDS, verbose=0), run(module, IDS)) <= LIMIT
    assert error(lc.import_model(path, spec=tagger().to_json()).predict(IDS, verbose=0), run(module, IDS)) <= LIMIT


@pytest.mark.parametrize("features", [None, (8, 8), (6, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_attention(features: Any, bias: bool, tmp_path: Path) -> None:
    kdim, vdim = features or (8, 8)
    named = {"kdim": kdim, "vdim": vdim} if features == (6, 7) else {}
    module = randomized(nn.MultiheadAttention(8, 2, bias=bias, batch_first=True, **named))
    q, v, k = Input((3, 8)), Input((4, vdim)), Input((4, kdim))
    model = Model([q, v, k], MultiHeadAttention(2, 4, use_bias=bias)(q, v, k))
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    query, value, key = numbers(2, 3, 8), numbers(2, 4, vdim, seed=2), numbers(2, 4, kdim, seed=3)
    with torch.no_grad():
        y, _ = module(*map(torch.from_numpy, (query, key, value)))
    assert error(model.predict([query, value, key], verbose=0), y) <= LIMIT


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(groups: int, bias: bool, tmp_path: Path) -> None:
    module = randomized(nn.Conv1d(4, 4, 4, stride=2, groups=groups, bias=bias))
    model = Sequential(
        [Input((4, 9)), Conv1D(4, 4, strides=2, groups=groups, use_bias=bias, data_format="channels_first")]
    )
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    x = numbers(2, 4, 9)
    assert error(model.predict(x, verbose=0), run(module, x)) <= LIMIT


@pytest.mark.parametrize("affine", [True, False])
def test_norms(affine: bool, tmp_path: Path) -> None:
    module = randomized(
        nn.Sequential(nn.BatchNorm1d(4, affine=affine), nn.LayerNorm((4, 6), elementwise_affine=affine))
    )
    model = Sequential(
        [
            Input((4, 6)),
            BatchNormalization(axis=1, epsilon=1e-5, center=affine, scale=affine),
            LayerNormalization(axis=[1, 2], epsilon=1e-5, center=affine, scale=affine),
        ]
    )
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    x = numbers(3, 4, 6)
    assert error(model.predict(x, verbose=0), run(module, x)) <= LIMIT


def test_square_matrices_are_turned_round(tmp_path: Path) -> None:
    """Where a kernel is as high as it is wide, its shape does not tell which way it lies; PyTorch's always lie one."""
    module = randomized(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    model = Sequential([Input((4,)), Dense(4), Dense(4)])
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    x = numbers(3, 4)
    assert error(model.predict(x, verbose=0), run(module, x)) <= LIMIT
    rnn = randomized(nn.RNN(4, 4, batch_first=True))
    model = Sequential([Input((5, 4)), SimpleRNN(4, return_sequences=True)])
    lc.import_model(saved(rnn, tmp_path / "m.pt"), spec=model)
    x = numbers(3, 5, 4)
    assert error(model.predict(x, verbose=0), run(rnn, x)[0]) <= LIMIT


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_other_dtypes(dtype: Any, suffix: str, tmp_path: Path) -> None:
    module = randomized(nn.GRU(3, 5, batch_first=True)).to(dtype)
    path = tmp_path / f"m{suffix}"
    save_file(module.state_dict(), path) if suffix == ".safetensors" else saved(module, path)
    model = Sequential([Input((4, 3), dtype="float64"), GRU(5, return_sequences=True, dtype="float64")])
    lc.import_model(path, spec=model)
    module = module.double()
    x = numbers(2, 4, 3).astype("float64")
    y = run(module, x)[0].numpy()
    assert np.abs(model.predict(x, verbose=0) - y).max() <= 16 * np.finfo(np.float64).eps
    assert np.array_equal(model.weights["gru/recurrent_kernel"][:, 5:10], module.weight_hh_l0.detach().numpy()[:5].T)


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = saved(randomized(nn.Linear(3, 2).double()), tmp_path / "m.pt")
    model = Sequential([Input((3,)), Dense(2)])
    with pytest.raises(lc.errors.WeightsMismatchError, match="float64 does not fit"):
        lc.import_model(path, spec=model)
    whole = nn.Linear(3, 2)
    with torch.no_grad():
        whole.weight.copy_(torch.arange(6).reshape(2, 3))
        whole.bias.zero_()
    lc.import_model(saved(whole.double(), path), spec=model)
    assert np.array_equal(model.weights["dense/kernel"], np.arange(6).reshape(2, 3).T)


def test_nan_is_reported(tmp_path: Path) -> None:
    module = randomized(nn.Linear(3, 2))
    with torch.no_grad():
        module.weight[0, 1] = float("nan")
    model = Sequential([Input((3,)), Dense(2)])
    with pytest.warns(UserWarning, match="NaN or infinity in dense/kernel"):
        lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    assert np.isnan(model.weights["dense/kernel"][1, 0])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_projections(both: bool, bias: bool, tmp_path: Path) -> None:
    module = randomized(nn.LSTM(3, 6, 2, bias=bias, proj_size=4, bidirectional=both, batch_first=True))

    def layer(last: bool) -> Any:
        made = RNN(ProjectedLSTMCell(6, 4, use_bias=bias), return_sequences=True, return_state=last)
        return Bidirectional(made) if both else made

    model = Sequential([Input((7, 3)), layer(False), layer(True)])
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    x = numbers(2, 7, 3)
    y, (h, c) = run(module, x)
    ours = model.predict(x, verbose=0)
    ways = 2 if both else 1
    for part, expected in zip(ours, [y, h[ways], c[ways]], strict=False):
        assert error(part, expected) <= LIMIT
    model.save(tmp_path / "m.safetensors")
    again = lc.load_model(tmp_path / "m.safetensors").predict(x, verbose=0)
    assert all(map(np.array_equal, again, ours))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projection_from_states_to_start_from(tmp_path: Path) -> None:
    module = randomized(nn.LSTM(3, 6, proj_size=4, batch_first=True))
    x, h, c = Input((5, 3)), Input((4,)), Input((6,))
    model = Model([x, h, c], RNN(ProjectedLSTMCell(6, 4), return_sequences=True)(x, initial_state=[h, c]))
    lc.import_model(saved(module, tmp_path / "m.pt"), spec=model)
    given = [numbers(2, 5, 3), numbers(2, 4, seed=6), numbers(2, 6, seed=7)]
    with torch.no_grad():
        first, *states = map(torch.from_numpy, given)
        y, _ = module(first, tuple(state[None] for state in states))
    assert error(model.predict(given, verbose=0), y) <= LIMIT
    with pytest.raises(lc.errors.SpecError, match="projection is 6; expected fewer than 6 units"):
        ProjectedLSTMCell(6, 6)
