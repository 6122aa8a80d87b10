"""The mistakes that the pages docs/migrate-*.md warn of, made on purpose: how far off each is, by its name there.

"Off by" is ``max|wrong - right| / max|right|`` of the outputs, on weights and inputs drawn from N(0, 0.5) and N(0, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lstmcore.layers import GRU, LSTM, BatchNormalization, Bidirectional, Conv1D, Input, Masking
from lstmcore.models import Sequential

UNITS, FEATURES = 4, 3
X = np.random.default_rng(1).normal(size=(8, 12, FEATURES)).astype("float32")
PADDED = X.copy()
PADDED[:4, 7:] = 0


def model(*layers: Any) -> Any:
    """A chain with weights that are all different."""
    made = Sequential([Input((None, FEATURES)), *layers])
    rng = np.random.default_rng(2)
    made.set_weights([rng.normal(scale=0.5, size=array.shape) for array in made.get_weights()])
    return made


def again(given: Any, change: Callable[..., list[Any]], layer: Any = None) -> Any:
    """The same, or another layer, with what somebody made of the weights."""
    made = Sequential([Input((None, FEATURES)), layer]) if layer is not None else model_like(given)
    made.set_weights(change(*given.get_weights()))
    return made


def model_like(given: Any) -> Any:
    return Sequential.from_config(given.get_config())


def off(wrong: Any, right: Any) -> str:
    """In percent of the largest number."""
    share = 100 * np.abs(np.asarray(wrong) - right).max() / np.abs(right).max()
    return f"{share:.0f} %" if share >= 1 else f"{share:.1g} %"


def reordered(order: str, known: str) -> Callable[..., list[Any]]:
    """Weights whose gates stand in an order, believed to stand in another."""

    def change(*arrays: Any) -> list[Any]:
        parts = [np.split(array, len(known), axis=-1) for array in arrays]
        return [np.concatenate([part[known.index(gate)] for gate in order], axis=-1) for part in parts]

    return change


def gates_of_onnx() -> str:
    right = model(LSTM(UNITS))
    return off(again(right, reordered("iofc", "ifco")).predict(X), right.predict(X))


def gates_of_a_gru() -> str:
    right = model(GRU(UNITS))
    return off(again(right, reordered("rzh", "zrh")).predict(X), right.predict(X))


def one_bias_dropped() -> str:
    """PyTorch's two, of an LSTM; ours is their sum."""
    right = model(LSTM(UNITS))
    other = np.random.default_rng(3).normal(scale=0.5, size=4 * UNITS)
    return off(again(right, lambda k, u, b: [k, u, b - other]).predict(X), right.predict(X))


def biases_of_a_gru_added() -> str:
    right = model(GRU(UNITS))
    return off(again(right, lambda k, u, b: [k, u, np.stack([b[0] + b[1], 0 * b[1]])]).predict(X), right.predict(X))


def reset_before() -> str:
    right = model(GRU(UNITS, reset_after=False))
    wrong = again(right, lambda k, u, b: [k, u, np.stack([b, 0 * b])], GRU(UNITS))
    return off(wrong.predict(X), right.predict(X))


def reset_after() -> str:
    right = model(GRU(UNITS))
    wrong = again(right, lambda k, u, b: [k, u, b[0] + b[1]], GRU(UNITS, reset_after=False))
    return off(wrong.predict(X), right.predict(X))


def hard_sigmoid() -> str:
    right = model(LSTM(UNITS, recurrent_activation="hard_sigmoid_0_2"))
    wrong = again(right, lambda *arrays: list(arrays), LSTM(UNITS, recurrent_activation="hard_sigmoid"))
    return off(wrong.predict(X), right.predict(X))


def go_backwards() -> str:
    right = model(LSTM(UNITS, go_backwards=True, return_sequences=True)).predict(X)
    return off(right[:, ::-1], right)


def last_of_both() -> str:
    layer = Bidirectional(LSTM(UNITS, return_sequences=True))
    sequences = model(layer).predict(X)
    right = model(Bidirectional(LSTM(UNITS))).predict(X)
    return off(sequences[:, -1], right)


def masked_zero() -> str:
    """The last output of a padded sample: a packed sequence has zeros there."""
    layers = Masking(), LSTM(UNITS, return_sequences=True)
    right = model(*layers).predict(PADDED)[:, -1]
    return off(np.where(np.arange(len(PADDED))[:, None] < 4, 0, right)[:4], right[:4])


def mask_ignored() -> str:
    right = model(Masking(), LSTM(UNITS))
    return off(again(right, lambda *arrays: list(arrays), LSTM(UNITS)).predict(PADDED), right.predict(PADDED))


def epsilon() -> str:
    """Moving variances as after a ReLU of small numbers: 0.001 to 0.1."""
    variance = np.linspace(0.001, 0.1, FEATURES)

    def predict(epsilon: float) -> Any:
        made = Sequential([Input((None, FEATURES)), BatchNormalization(epsilon=epsilon)])
        made.set_weights([np.ones(FEATURES), np.zeros(FEATURES), np.zeros(FEATURES), variance])
        return made.predict(X * np.sqrt(variance, dtype="float32"))

    return off(predict(1e-3), predict(1e-5))


def momentum() -> str:
    """How far ten batches take the moving mean, where 0.9 was meant and 0.1 is what it was taken for."""

    def mean(momentum: float) -> Any:
        made = Sequential([Input((None, FEATURES)), BatchNormalization(momentum=momentum)])
        made.compile("sgd", "mse")
        for _ in range(10):
            made.train_on_batch(X, X)
        return made.weights["batch_normalization/moving_mean"] / X.mean((0, 1))

    return f"{100 * mean(0.1).mean():.0f} % of the way in ten batches, not {100 * mean(0.9).mean():.0f} %"


def axes_of_a_convolution() -> str:
    right = model(Conv1D(UNITS, 5))
    wrong = again(right, lambda k, b: [k.transpose(2, 1, 0).reshape(k.shape), b])
    return off(wrong.predict(X), right.predict(X))


def batch_first() -> str:
    right = model(LSTM(UNITS, return_sequences=True))
    return off(right.predict(X.swapaxes(0, 1)).swapaxes(0, 1), right.predict(X))


def states_of_both() -> str:
    """Keras' order is h, c, h, c; PyTorch's is all h, then all c."""
    layer = Bidirectional(LSTM(UNITS, return_state=True))
    _, _, c, h_back, _ = model(layer).predict(X)
    return off(c, h_back)


def float16() -> str:
    right = model(LSTM(UNITS))
    return off(again(right, lambda *arrays: [np.float16(array) for array in arrays]).predict(X), right.predict(X))


def two_biases_trained() -> str:
    """One step of SGD on PyTorch: how far the sum of its two biases goes, and the one bias here."""
    import torch

    ours = model(LSTM(UNITS))
    kernel, recurrent, bias = ours.get_weights()
    module = torch.nn.LSTM(FEATURES, UNITS, batch_first=True)
    for name, array in (("ih", kernel), ("hh", recurrent)):
        getattr(module, f"weight_{name}_l0").data = torch.from_numpy(np.ascontiguousarray(array.T))
    module.bias_ih_l0.data, module.bias_hh_l0.data = torch.from_numpy(bias.copy()), torch.zeros(4 * UNITS)
    _, (h, _) = module(torch.from_numpy(X))
    h.square().mean().backward()
    torch.optim.SGD(module.parameters(), 0.1).step()
    theirs = (module.bias_ih_l0 + module.bias_hh_l0).detach().numpy() - bias
    from lstmcore.optimizers import SGD

    ours.compile(SGD(0.1), "mse")
    ours.train_on_batch(X, np.zeros((len(X), UNITS), "float32"))
    return f"{(theirs / (ours.get_weights()[2] - bias)).mean():.2f} times as far"


TRAPS: Mapping[str, Callable[[], str]] = {
    "Gates of an LSTM in ONNX": gates_of_onnx,
    "Gates of a GRU in PyTorch": gates_of_a_gru,
    "Two biases, one dropped": one_bias_dropped,
    "Two biases of a GRU, added": biases_of_a_gru_added,
    "Two biases, trained": two_biases_trained,
    "`reset_after=False`": reset_before,
    "`linear_before_reset`": reset_after,
    "`hard_sigmoid`": hard_sigmoid,
    "`go_backwards`": go_backwards,
    "Last step of both directions": last_of_both,
    "Final states of both directions": states_of_both,
    "Masks and packed sequences": masked_zero,
    "Masks dropped": mask_ignored,
    "Epsilon of BatchNormalization": epsilon,
    "Momentum of BatchNormalization": momentum,
    "Axes of Conv1d": axes_of_a_convolution,
    "`batch_first`": batch_first,
    "float16": float16,
}
