"""Live modules: `lstmcore_torch.from_module` gives models that compute what they do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import lstmcore_torch
import numpy as np
import pytest
import torch
from test_against_torch import IDS, Tagger, error, numbers, randomized, run, tagger
from torch import nn

from lstmcore.errors import SpecError, WeightsMismatchError
from lstmcore.layers import LSTM, Dense, Input
from lstmcore.models import Model, Sequential

LIMIT = 16
S = nn.Sequential


def check(module: Any, x: Any, **options: Any) -> Any:
    module = randomized(module)
    model = lstmcore_torch.from_module(module, **options)
    y = run(module, x)
    y = y[0] if isinstance(y, tuple) else y
    ours = model.predict(x, verbose=0)
    assert ours.shape == y.shape
    assert error(ours, y) <= LIMIT
    return model


def test_importing_the_backend_does_not_import_torch() -> None:
    code = "import lstmcore_torch, sys; assert 'torch' not in sys.modules; lstmcore_torch.from_module"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' in sys.modules"], check=True)
    with pytest.raises(AttributeError, match="no attribute 'from_modul'"):
        _ = lstmcore_torch.from_modul


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_recurrent_modules(kind: Any, both: bool, bias: bool) -> None:
    module = randomized(kind(3, 5, 2, bidirectional=both, bias=bias, batch_first=True, dropout=0.3))
    x = numbers(2, 7, 3)
    model = check(module, x)
    assert [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"] == [0.3]
    _, states = run(module, x)
    h = states[0] if kind is nn.LSTM else states
    finals = lstmcore_torch.from_module(module, return_state=True).predict(x, verbose=0)
    assert error(finals[1], h[2 if both else 1]) <= LIMIT
    assert len(finals) == 1 + (2 if both else 1) * (2 if kind is nn.LSTM else 1)


def test_time_first() -> None:
    module = randomized(nn.LSTM(3, 5))
    x = numbers(2, 7, 3)
    with torch.no_grad():
        y, _ = module(torch.from_numpy(x.swapaxes(0, 1).copy()))
    assert error(lstmcore_torch.from_module(module).predict(x, verbose=0), y.numpy().swapaxes(0, 1)) <= LIMIT


CHAINS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "dense": (S(nn.Linear(3, 8), nn.ReLU(), S(nn.Linear(8, 8, bias=False), nn.Tanh())), numbers(4, 3), {}),
    "over time": (S(nn.Linear(3, 8), nn.Sigmoid()), numbers(4, 5, 3), {"input_shape": (None, 3)}),
    "ids": (S(nn.Embedding(11, 6, padding_idx=0), nn.LayerNorm(6), nn.GRU(6, 4, batch_first=True)), IDS, {}),
    "convolutions": (
        S(
            nn.Conv1d(3, 4, 3, padding=1, stride=2),
            nn.BatchNorm1d(4, eps=1e-3),
            nn.PReLU(4),
            nn.Dropout(0.2),
            nn.MaxPool1d(2),
            nn.Identity(),
            nn.Flatten(),
            nn.Linear(8, 2),
            nn.BatchNorm1d(2, affine=False),
        ),
        numbers(2, 3, 8),
        {"input_shape": (3, 8)},
    ),
    "groups": (S(nn.Conv1d(4, 6, 3, padding="same", dilation=2, groups=2, bias=False)), numbers(2, 4, 9), {}),
    "pools": (S(nn.Conv1d(3, 4, 2), nn.AvgPool1d(3, 2), nn.AdaptiveMaxPool1d(1)), numbers(2, 3, 12), {}),
    "mean": (S(nn.Conv1d(3, 4, 2, padding="valid"), nn.AdaptiveAvgPool1d(1), nn.Flatten()), numbers(2, 3, 12), {}),
    "norm of two axes": (
        S(nn.LayerNorm((4, 3), eps=1e-2), nn.LayerNorm(3, elementwise_affine=False)),
        numbers(2, 4, 3),
        {},
    ),
    "norm without bias": (S(nn.LayerNorm(3, bias=False)), numbers(2, 3), {}),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str) -> None:
    module, x, options = CHAINS[name]
    check(module, x, **options)


FUNCTIONS = [
    *(nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.3), nn.ELU(0.7), nn.CELU(0.6), nn.SELU(), nn.GELU(), nn.GELU("tanh")),
    *(nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.LogSigmoid(), nn.Tanh(), nn.Tanhshrink(), nn.Hardtanh(), nn.Hardsigmoid()),
    *(nn.Hardswish(), nn.Hardshrink(0.3), nn.Softshrink(0.2), nn.Threshold(0.1, 0.4), nn.Softplus(), nn.Softsign()),
    *(nn.GLU(), nn.Softmax(-1), nn.Softmax(1), nn.LogSoftmax(-1), nn.PReLU(), nn.PReLU(6)),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_functions(function: Any) -> None:
    check(S(nn.Linear(3, 6), function), 4 * numbers(8, 3))


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (S(nn.LSTM(3, 4), nn.Linear(4, 1)), "1: Linear follows 0: nn.LSTM, which gives a tuple"),
        (Tagger(), "Tagger is no standard module"),
        (S(nn.Linear(3, 4), Tagger()), "1: .*Tagger is no standard module"),
        (nn.Bilinear(3, 4, 5), "Bilinear is no standard module"),
        (S(nn.Embedding(5, 3, max_norm=1.0)), "max_norm=1.0"),
        (S(nn.BatchNorm1d(3, track_running_stats=False)), "track_running_stats=False"),
        (S(nn.BatchNorm1d(3, momentum=None)), "momentum=None"),
        (S(nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular")), "padding_mode='circular'"),
        (S(nn.Conv1d(3, 4, 3, stride=2, dilation=2)), "strides is 2 and dilation_rate 2"),
        (S(nn.Conv1d(3, 4, 3), nn.MaxPool1d(2, padding=1)), "padding=1"),
        (S(nn.Conv1d(3, 4, 3), nn.MaxPool1d(2, ceil_mode=True)), "ceil_mode=True"),
        (S(nn.Conv1d(3, 4, 3), nn.AdaptiveAvgPool1d(2)), "output_size=2"),
        (S(nn.Linear(3, 4), nn.Flatten(0)), "start_dim=0"),
        (S(nn.Linear(3, 4), nn.Softmax(0)), "dim=0"),
        (S(nn.Linear(3, 4), nn.Softplus(2.0)), "beta=2.0"),
        (S(nn.Linear(3, 4), nn.Hardtanh(0, 6)), "min_val=0"),
        (S(nn.ReLU()), "give input_shape="),
        (S(), "no module says what the input looks like"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), "ParametrizedLinear is no standard module"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(module: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        lstmcore_torch.from_module(module)


def test_hooks_are_refused() -> None:
    module = nn.Linear(3, 4)
    module.register_forward_hook(lambda *_: None)
    with pytest.raises(SpecError, match="has hooks"):
        lstmcore_torch.from_module(module)
    with pytest.raises(SpecError, match=r"takes an nn\.Module; given int"):
        lstmcore_torch.from_module(3)


def test_a_module_with_a_forward_of_its_own_into_a_spec() -> None:
    module = randomized(Tagger())
    model = tagger()
    assert lstmcore_torch.from_module(module, spec=model) is model
    assert error(model.predict(IDS, verbose=0), run(module, IDS)) <= LIMIT
    module = nn.ModuleDict({"a": nn.LSTM(3, 4), "b": nn.LSTM(3, 4)})
    x = Input((5, 3))
    model = Model(x, [LSTM(4, name="p")(x), LSTM(4, name="q")(x)])
    lstmcore_torch.from_module(module, spec=model, map={"p": "b", "q": "a"})
    assert np.array_equal(model.weights["p/kernel"], module["b"].weight_ih_l0.detach().numpy().T)
    with pytest.raises(WeightsMismatchError, match="ModuleDict: it does not fit"):
        lstmcore_torch.from_module(module, spec=Sequential([Input((3,)), Dense(2)]))
    with pytest.raises(SpecError, match="go with spec="):
        lstmcore_torch.from_module(nn.Linear(3, 2), map={"a": "b"})


def test_a_module_that_says_what_model_it_is() -> None:
    class Written(nn.Module):
        lstmcore_spec = Sequential([Input((3,)), Dense(2, name="d")]).to_json()

        def __init__(self) -> None:
            super().__init__()
            self.d = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.d(x)

    check(Written(), numbers(4, 3))


def test_weights_are_copies() -> None:
    module = randomized(nn.Linear(3, 3))
    model = lstmcore_torch.from_module(module)
    before = [array.copy() for array in model.get_weights()]
    with torch.no_grad():
        module.weight.add_(1)
        module.bias.add_(1)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_other_dtypes() -> None:
    module = randomized(S(nn.Linear(3, 2), nn.GRU(2, 4, bidirectional=True, batch_first=True)).double())
    model = lstmcore_torch.from_module(module, (5, 3))
    x = numbers(2, 5, 3).astype("float64")
    y = run(module, x)[0].numpy()
    assert np.abs(model.predict(x, verbose=0) - y).max() <= 16 * np.finfo(np.float64).eps
    half = randomized(nn.Linear(3, 2)).to(torch.bfloat16)
    model = lstmcore_torch.from_module(half)
    assert np.array_equal(model.get_weights()[0].T, half.weight.detach().float().numpy())
