"""Training is the same, number by number, on every engine; and what fit, evaluate and their like do."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import InputError, LstmcoreError, SpecError
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Attention,
    BatchNormalization,
    Cell,
    Dense,
    Dropout,
    Embedding,
    GaussianDropout,
    GaussianNoise,
    Input,
    SimpleRNN,
    SpatialDropout1D,
    Weight,
)
from lstmcore.models import Model, Sequential

BACKENDS = ("numpy", "torch", "tensorflow")
RNG = np.random.default_rng(7)
X = RNG.normal(size=(20, 6, 3))
Y = RNG.normal(size=(20, 2))
F = {"dtype": "float64"}


class Leaky(Cell):
    units: int
    leak: float = 0.3

    @property
    def state_size(self) -> int:
        return self.units

    def declare(self, features: int) -> dict[str, Weight]:
        return {"kernel": Weight((features, self.units)), "recurrent": Weight((self.units, self.units), "orthogonal")}

    def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        (h,) = states
        h = (1 - self.leak) * h + self.leak * ops.tanh(inputs @ w["kernel"] + h @ w["recurrent"])
        return h, [h]


def noisy() -> Sequential:
    return Sequential(
        [
            Input((6, 3)),
            GaussianNoise(0.1, **F),
            LSTM(5, return_sequences=True, dropout=0.2, **F),
            SpatialDropout1D(0.3, dtype="float64"),
            GaussianDropout(0.2, **F),
            RNN(Leaky(4, **F), **F),
            Dropout(0.4, **F),
            Dense(2, **F),
        ]
    )


def trained(backend: str, **more: Any) -> tuple[Sequential, Any]:
    lc.set_random_seed(5)
    model = noisy()
    model.compile("sgd", "mse")
    return model, model.fit(X, Y, batch_size=8, epochs=3, verbose=0, backend=backend, **more)


def test_noise_shuffles_and_partial_batches_are_the_same_on_every_engine() -> None:
    runs = {backend: trained(backend, validation_split=0.2) for backend in BACKENDS}
    for a, b in itertools.pairwise(BACKENDS):
        one, other = runs[a], runs[b]
        assert one[1].history.keys() == {"loss", "val_loss"}
        for name, values in one[1].history.items():
            np.testing.assert_allclose(values, other[1].history[name], rtol=1e-12)
        for name, weight in one[0].weights.items():
            np.testing.assert_allclose(weight, other[0].weights[name], atol=1e-13)


def test_an_engine_takes_over_where_another_stopped() -> None:
    whole, _ = trained("numpy")
    lc.set_random_seed(5)
    model = noisy()
    model.compile("sgd", "mse")
    for backend in BACKENDS:
        model.fit(X, Y, batch_size=8, epochs=1, verbose=0, backend=backend)
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(weight, model.weights[name], atol=1e-13)


def test_slots_go_along_between_engines() -> None:
    models = []
    for engines in (("numpy",) * 4, ("numpy", "torch", "tensorflow", "numpy")):
        lc.set_random_seed(5)
        model = Sequential([Input((6, 3)), GRU(4, **F), Dense(2, **F)])
        model.compile(lc.optimizers.Adam(0.01), "mse")
        for backend in engines:
            model.train_on_batch(X, Y, backend=backend)
        models.append(model)
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_the_loss_is_the_mean_over_samples_not_over_batches() -> None:
    lc.set_random_seed(5)
    model = Sequential([Input((6, 3)), SimpleRNN(4, **F), Dense(2, **F)])
    model.compile(lc.optimizers.SGD(0.0), "mse")
    whole = np.mean((model.predict(X) - Y) ** 2)
    assert model.evaluate(X, Y, batch_size=8) == pytest.approx(whole, rel=1e-12)
    assert model.fit(X, Y, batch_size=8, verbose=0).history["loss"][0] == pytest.approx(whole, rel=1e-12)


def test_fit_learns() -> None:
    lc.set_random_seed(5)
    model = Sequential([Input((6,)), Embedding(8, 6, mask_zero=True), LSTM(8), Dense(2, "softmax")])
    ids = RNG.integers(1, 8, size=(200, 6))
    labels = (ids[:, 2] > 4).astype(int)
    model.compile(lc.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    history = model.fit(ids, labels, epochs=40, verbose=0, backend="numpy")
    assert history.history["loss"][-1] < 0.1 < history.history["loss"][0]
    assert (model.predict(ids).argmax(1) == labels).mean() > 0.97


def test_what_is_not_trainable_stays() -> None:
    lc.set_random_seed(5)
    model = Sequential([Input((6, 3)), LSTM(4, trainable=False), BatchNormalization(trainable=False), Dense(2)])
    before = model.weights
    model.compile("adam", "mse")
    model.fit(X.astype("f4"), Y.astype("f4"), verbose=0)
    changed = {name for name, weight in model.weights.items() if not np.array_equal(weight, before[name])}
    assert changed == {"dense/kernel", "dense/bias"}


def test_a_stateful_model_is_trained_across_batches_and_validation_leaves_its_states_alone() -> None:
    def fresh() -> Sequential:
        lc.set_random_seed(5)
        model = Sequential([Input(batch_shape=(4, 6, 3)), LSTM(3, stateful=True, **F), Dense(2, **F)])
        model.compile("sgd", "mse")
        return model

    plain, watched = fresh(), fresh()
    plain.fit(X, Y, batch_size=4, verbose=0, shuffle=False)
    watched.fit(X, Y, batch_size=4, verbose=0, shuffle=False, validation_data=(X[:8], Y[:8]))
    assert plain.states.keys() == watched.states.keys() != set()
    for name, state in plain.states.items():
        assert np.abs(state).max() > 0
        np.testing.assert_array_equal(state, watched.states[name])


def test_dropout_is_silent_outside_training() -> None:
    model, _ = trained("numpy")
    np.testing.assert_array_equal(model.predict(X), model.predict(X))
    assert model.test_on_batch(X, Y) == pytest.approx(np.mean((model.predict(X) - Y) ** 2))


def test_several_outputs_by_name() -> None:
    lc.set_random_seed(5)
    x = Input((6, 3), name="x")
    h = LSTM(4, **F)(x)
    model = Model(x, {"a": Dense(2, name="first", **F)(h), "b": Dense(1, name="second", **F)(h)})
    model.compile("sgd", {"first": "mse", "second": "mae"}, loss_weights={"first": 1.0, "second": 0.5})
    logs = model.train_on_batch(X, {"first": Y, "second": Y[:, :1]}, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["first_loss"] + 0.5 * logs["second_loss"])


def test_a_copy_trains_by_itself() -> None:
    model, _ = trained("numpy")
    twin = copy.deepcopy(model)
    before = model.get_weights()
    twin.train_on_batch(X, Y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def compiled(*layers: Any, loss: Any = "mse") -> Sequential:
    model = Sequential([Input((6, 3)), *(layers or (LSTM(3), Dense(2)))])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Sequential([Input((6, 3)), LSTM(3)]).fit(X, Y), "not compiled"),
        (lambda: compiled(loss=None), "no loss"),
        (lambda: compiled(loss="msee"), "msee"),
        (lambda: Sequential([Input((6, 3)), LSTM(3)]).compile("adamm", "mse"), "adamm"),
        (lambda: compiled().fit(X), "no target"),
        (lambda: compiled().fit(X, Y[:3]), "20 samples"),
        (lambda: compiled().fit(X, Y[:, :1].repeat(3, 1)), "do not fit predictions"),
        (lambda: compiled().fit(X, Y, epochs=0), "epochs"),
        (lambda: compiled().fit(X, Y, batch_size=0), "batch_size"),
        (lambda: compiled().fit(X, Y, validation_split=1.0), "validation_split"),
        (lambda: compiled().fit(X, Y, validation_data=X), "validation_data"),
        (lambda: compiled().fit(X, Y, sample_weight=np.ones(3)), "sample weights"),
        (lambda: compiled().fit(X, np.array(["a"] * 20)), "expected an array of numbers"),
        (lambda: compiled(LSTM(3), loss="sparse_categorical_crossentropy").fit(X, np.full(20, 3)), "classes 0 to 2"),
        (lambda: compiled(LSTM(3), loss="sparse_categorical_crossentropy").fit(X, np.full(20, 0.5)), "no classes"),
        (lambda: compiled(loss=lc.losses.MeanSquaredError(reduction="none")), "reduction"),
        (lambda: compiled().fit(iter([(X, Y)]), Y), "y is given beside"),
        (lambda: compiled().fit(iter([(X, Y)]), batch_size=4), "batch_size is given beside"),
        (lambda: compiled().fit(iter([(X, Y, Y, Y)])), "4 things"),
        (lambda: compiled().fit(iter([])), "no batch"),
        (lambda: compiled().evaluate(iter([])), "no batch"),
        (lambda: compiled().fit(X, Y, initial_epoch=-1), "initial_epoch"),
        (lambda: compiled().fit(X, Y, validation_freq=0), "validation_freq"),
        (lambda: compiled().fit(X, Y, class_weight={0: 1.0}, sample_weight=np.ones(20)), "multiply them"),
        (lambda: compiled().fit(X, Y, class_weight=[1.0]), "class_weight"),
        (lambda: compiled().fit(X, Y, callbacks=["early"]), "early"),
        (lambda: compiled().fit(X, Y, verbose=3), "verbose"),
        (lambda: compiled().compile("sgd", "mse", metrics=["acuracy"]), "acuracy"),
        (lambda: compiled().compile("sgd", "mse", metrics={"nobody": "mae"}), "nobody"),
    ],
)
def test_what_cannot_be_trained_is_said(call: Any, told: str) -> None:
    with pytest.raises(LstmcoreError, match=told) as caught:
        call()
    assert isinstance(caught.value, (SpecError, InputError))


def test_attention_dropout_is_drawn() -> None:
    x = Input((6, 3))
    model = Model(x, Dense(1, **F)(Attention(dropout=0.5, **F)([x, x])))
    model.compile(lc.optimizers.SGD(0.0), "mse")
    losses = {model.train_on_batch(X, np.zeros((20, 6, 1))) for _ in range(3)}
    assert len(losses) == 3


def test_whole_floats_are_classes_and_a_loss_that_does_not_fit_is_doubted() -> None:
    labels = (X[:, 0, 0] > 0).astype(float)
    model = compiled(LSTM(3), Dense(2, "softmax"), loss="sparse_categorical_crossentropy")
    assert model.test_on_batch(X, labels) == model.test_on_batch(X, labels.astype(int))
    with pytest.warns(UserWarning, match="it takes probabilities"):
        compiled(LSTM(3), Dense(2), loss="sparse_categorical_crossentropy").train_on_batch(X, labels)


def test_a_scaled_loss_trains_as_the_loss_itself() -> None:
    made = []
    for factor in (None, 64.0):
        lc.set_random_seed(5)
        model = Sequential([Input((6, 3)), GRU(4, **F), Dense(2, **F)])
        model.compile(lc.optimizers.SGD(0.1, loss_scale_factor=factor), "mse")
        model.fit(X, Y, epochs=2, verbose=0)
        made.append(model.get_weights())
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_layer_added_after_compile_is_trained() -> None:
    model = Sequential([Input((6, 3)), LSTM(3, **F), Dense(2, **F)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.add(Dense(2, name="late", **F))
    before = model.weights["late/kernel"]
    model.fit(X, Y, verbose=0)
    assert model.evaluate(X, Y) == pytest.approx(np.mean((model.predict(X) - Y) ** 2))
    assert not np.array_equal(before, model.weights["late/kernel"])


def test_what_was_trained_before_an_interruption_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from lstmcore.runtime.trainer import Trainer

    model = Sequential([Input((6, 3)), LSTM(3, **F), Dense(2, **F)])
    model.compile("sgd", "mse")
    before, step = model.get_weights(), Trainer.step

    def interrupted(self: Trainer, ready: Any, carries: Any, number: int) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return step(self, ready, carries, number)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=4, verbose=0)
    assert not any(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("batches", [False, True])
def test_a_model_takes_the_shape_of_its_first_data(batches: bool) -> None:
    histories = []
    for layers in ([Input((6, 3))], []):
        lc.set_random_seed(5)
        model = Sequential([*layers, LSTM(4, **F), Dense(2, **F)])
        model.compile("adam", "mse", metrics=["mae"])
        data = ((X[k : k + 5], Y[k : k + 5]) for k in range(0, 20, 5))
        fitted = model.fit(data, verbose=0) if batches else model.fit(X, Y, batch_size=5, verbose=0, shuffle=False)
        histories.append(fitted.history)
    assert histories[0] == histories[1] != {}


def test_batches_are_predicted_as_they_come() -> None:
    model = compiled(LSTM(3, **F), Dense(2, **F))
    whole = model.predict(X)
    for data in ([X[:8], X[8:]], [(X[:8], Y[:8]), (X[8:], Y[8:])], [[X[:8]], [X[8:]]]):
        np.testing.assert_array_equal(model.predict(iter(data)), whole)
    np.testing.assert_array_equal(model.predict(X, batch_size=8, steps=2), whole[:16])
    with pytest.raises(InputError, match="no batch"):
        model.predict(iter([]))
    with pytest.raises(InputError, match="batch_size is given beside"):
        model.predict(iter([X]), batch_size=4)
    with pytest.raises(SpecError, match="steps"):
        model.predict(X, steps=0)
