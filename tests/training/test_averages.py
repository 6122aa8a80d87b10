"""Moving averages of the weights (``use_ema``): kept at each step, and the weights themselves once ``fit`` ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_judge import BACKENDS, Case, Outcome, agree, model_of, sgd, train

from lstmcore.runtime.trainer import Trainer

RNG = np.random.default_rng(23)
X, Y = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(6, 2))


def plain(k: Any, trainable: bool = True, constraint: Any = None) -> Any:
    first = k.LSTM(3, kernel_constraint=constraint, trainable=trainable)
    return k.Sequential([k.Input((5, 3)), first, k.BatchNormalization(), k.Dense(2)])


RATE = 2**-4  # Keras holds the learning rate in float32
EPOCHS = {"epochs": 3, "batch_size": 4}
CASES = {
    "steps": Case(plain, [X], [Y], optimizer=sgd(RATE, use_ema=True, ema_momentum=0.5)),
    "fit": Case(plain, [X], [Y], optimizer=sgd(RATE, use_ema=True, ema_momentum=0.75), fit=EPOCHS),
    "overwritten": Case(
        plain, [X], [Y], optimizer=sgd(RATE, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=4), fit=EPOCHS
    ),
    "overwritten_steps": Case(
        plain, [X], [Y], optimizer=sgd(RATE, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)
    ),
    "frozen": Case(plain, [X], [Y], {"trainable": False}, optimizer=sgd(RATE, use_ema=True), fit=EPOCHS),
    "constrained": Case(
        plain,
        [X],
        [Y],
        {"constraint": "unit_norm"},
        optimizer=sgd(RATE, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, momentum=0.9),
        fit=EPOCHS,
    ),
    "gathered": Case(
        plain,
        [X],
        [Y],
        optimizer=sgd(RATE, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2),
        fit=EPOCHS,
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_averages_are_those_of_keras(name: str, backend: str, keras: dict[str, Outcome]) -> None:
    agree(CASES[name], train(CASES[name], backend), keras[name])


def test_they_go_on_from_one_fit_to_the_next_on_another_engine() -> None:
    made = []
    for engines in (("numpy", "numpy"), ("torch", "numpy")):
        model = model_of(CASES["fit"])
        model.compile(CASES["fit"].optimizer, "mse")
        for engine in engines:
            model.fit(X, Y, epochs=2, batch_size=4, shuffle=False, verbose=0, backend=engine)
        made.append(model.get_weights())
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)


def test_what_an_exception_ends_leaves_the_weights_as_they_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    step, models = Trainer.step, [model_of(CASES["fit"]) for _ in range(2)]
    for model in models:
        model.compile(CASES["fit"].optimizer, "mse")
    for _ in range(2):
        models[0].train_on_batch(X, Y)

    def interrupted(self: Trainer, ready: Any, carries: Any, number: int) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return step(self, ready, carries, number)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        models[1].fit(X, Y, epochs=3, verbose=0, shuffle=False)
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
