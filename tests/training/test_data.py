"""What fit, evaluate and their like take as data: arrays of every kind, and whatever yields batches."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import lstmcore as lc
from lstmcore.callbacks import LambdaCallback
from lstmcore.errors import InputError
from lstmcore.layers import GRU, LSTM, Dense, Embedding, Input, TimeDistributed
from lstmcore.models import Model, Sequential
from lstmcore.runtime.sources import AHEAD

RNG = np.random.default_rng(13)
X = RNG.normal(size=(10, 4, 3))
Y = RNG.normal(size=(10, 2))
W = RNG.random(10) + 0.5
F = {"dtype": "float64"}


def fresh(loss: str = "mse", *layers: Any, shape: Any = (4, 3), **compiled: Any) -> Sequential:
    lc.set_random_seed(3)
    model = Sequential([Input(shape), *(layers or (GRU(3, **F), Dense(2, **F)))])
    model.compile(lc.optimizers.SGD(0.1, momentum=0.9), loss, **compiled)
    return model


def pieces(*arrays: Any, size: int = 4) -> list[tuple[Any, ...]]:
    return [tuple(a[k : k + size] for a in arrays) for k in range(0, len(arrays[0]), size)]


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "lstmcore batches"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not readers()


def trained(x: Any, y: Any = None, model: Sequential | None = None, **more: Any) -> tuple[Any, ...]:
    model = fresh() if model is None else model
    history = model.fit(x, y, **{"epochs": 2, "verbose": 0, "shuffle": False, **more})
    return tuple(w.tobytes() for w in model.get_weights()), history.history


def generator(*arrays: Any, times: int = 1) -> Iterator[tuple[Any, ...]]:
    for _ in range(times):
        yield from pieces(*arrays)


class Again:
    """Starts anew each time."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = arrays

    def __iter__(self) -> Iterator[Any]:
        return generator(*self.arrays)


class ByIndex:
    """As a PyDataset of Keras."""

    def __init__(self, *arrays: Any) -> None:
        self.pieces, self.told = pieces(*arrays), []

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, k: int) -> Any:
        return self.pieces[k]

    def on_epoch_end(self) -> None:
        self.told.append("end")


class Unsized(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(torch.tensor(X), torch.tensor(Y), strict=True))


def as_tensors() -> TensorDataset:
    return TensorDataset(torch.tensor(X), torch.tensor(Y))


SOURCES: dict[str, Callable[[], Any]] = {
    "an iterable": lambda: Again(X, Y),
    "by index": lambda: ByIndex(X, Y),
    "DataLoader": lambda: DataLoader(as_tensors(), batch_size=4),
    "DataLoader with workers": lambda: DataLoader(as_tensors(), batch_size=4, num_workers=1),
    "DataLoader of unknown length": lambda: DataLoader(Unsized(), batch_size=4),
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(4),
    "tf.data of unknown length": lambda: (
        tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: True).batch(4).prefetch(1)
    ),
    "tf.data from a generator": lambda: tf.data.Dataset.from_generator(
        lambda: zip(X, Y, strict=True), output_signature=(tf.TensorSpec((4, 3), "float64"), tf.TensorSpec(2, "float64"))
    ).batch(4),
}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # DataLoader forks
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_batches_train_as_the_arrays_they_are_cut_from(source: Callable[[], Any]) -> None:
    expected = trained(X, Y, batch_size=4, validation_data=(X[::-1], Y[::-1]), validation_batch_size=4)
    assert trained(source(), validation_data=Again(X[::-1], Y[::-1])) == expected
    model = fresh()
    assert model.evaluate(source()) == model.evaluate(X, Y, batch_size=4)


def test_a_data_set_by_index_is_told_of_the_end_of_each_pass() -> None:
    data = ByIndex(X, Y)
    trained(data, epochs=3)
    assert data.told == ["end"] * 3


@pytest.mark.parametrize("cast", [torch.tensor, tf.constant, np.asfortranarray, np.ndarray.tolist])
def test_tensors_as_they_are(cast: Callable[[Any], Any]) -> None:
    expected = trained(X, Y, batch_size=4, sample_weight=W)
    assert trained(cast(X), cast(Y), batch_size=4, sample_weight=cast(W)) == expected
    assert (
        trained(cast(X), [cast(Y)] if cast is not np.ndarray.tolist else cast(Y), batch_size=4, sample_weight=cast(W))
        == expected
    )
    model = fresh()
    assert model.test_on_batch(cast(X), cast(Y)) == model.test_on_batch(X, Y)


def two_headed() -> Model:
    lc.set_random_seed(3)
    a, b = Input((4, 3), name="a"), Input((3,), name="b")
    h = lc.layers.Concatenate(**F)([LSTM(2, **F)(a), b])
    model = Model({"a": a, "b": b}, {"u": Dense(2, name="p", **F)(h), "v": Dense(1, name="q", **F)(h)})
    model.compile("sgd", {"p": "mse", "q": "mae"}, metrics={"q": "mse"})
    return model


IN = {"a": X, "b": X[:, 0]}
OUT = {"p": Y, "q": Y[:, :1]}


def in_parts(structure: Any, k: int) -> Any:
    return lc.tree.transform(lambda a: None if a is None else a[4 * k : 4 * k + 4], structure)


@pytest.mark.parametrize(
    ("x", "y", "w"),
    [
        (IN, OUT, {"p": W, "q": None}),
        (IN, {"u": OUT["p"], "v": OUT["q"]}, [W, None]),
        ([X, X[:, 0]], [OUT["p"], OUT["q"]], (W, None)),
        ((X, X[:, 0]), (OUT["p"], OUT["q"]), {"u": W, "v": None}),
    ],
    ids=["by name", "as the model nests them", "lists", "tuples"],
)
def test_several_inputs_and_outputs(x: Any, y: Any, w: Any) -> None:
    expected = trained(IN, OUT, two_headed(), batch_size=4, sample_weight=[W, None])
    assert trained(x, y, two_headed(), batch_size=4, sample_weight=w) == expected

    class Parts:
        def __iter__(self) -> Iterator[Any]:
            return ((in_parts(x, k), in_parts(y, k), in_parts(w, k)) for k in range(3))

    assert trained(Parts(), None, two_headed()) == expected


def test_data_sets_of_dicts() -> None:
    expected = trained(IN, OUT, two_headed(), batch_size=4)
    assert trained(tf.data.Dataset.from_tensor_slices((IN, OUT)).batch(4), None, two_headed()) == expected
    samples = [({k: v[n] for k, v in IN.items()}, {k: v[n] for k, v in OUT.items()}) for n in range(10)]
    assert trained(DataLoader(samples, batch_size=4), None, two_headed()) == expected  # type: ignore[arg-type]


def test_an_output_without_a_loss_needs_no_targets() -> None:
    def model() -> Model:
        made = two_headed()
        made.compile("sgd", {"p": "mse"})
        return made

    expected = trained(IN, Y, model(), batch_size=4)
    for y in (OUT, {"p": Y}, [Y, None], [Y, OUT["q"]]):
        assert trained(IN, y, model(), batch_size=4) == expected


def test_sample_weights_from_an_iterable() -> None:
    expected = trained(X, Y, batch_size=4, sample_weight=W)
    assert trained(Again(X, Y, W)) == expected
    assert trained(tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(4)) == expected


LABELS = RNG.integers(0, 3, 10)
STEPS = RNG.integers(0, 3, (10, 4))
TWO = (LABELS > 0).astype(int)
ONE_HOT = np.eye(3)[LABELS]
CLASSES = {0: 0.3, 2: 3.1}
SHARE = np.array([0.3, 1.0, 3.1])


@pytest.mark.parametrize(
    ("y", "loss", "last", "weights"),
    [
        (LABELS, "sparse_categorical_crossentropy", Dense(3, "softmax", **F), SHARE[LABELS]),
        (LABELS[:, None], "sparse_categorical_crossentropy", Dense(3, "softmax", **F), SHARE[LABELS]),
        (ONE_HOT, "categorical_crossentropy", Dense(3, "softmax", **F), SHARE[LABELS]),
        (ONE_HOT.astype(int), "categorical_crossentropy", Dense(3, "softmax", **F), SHARE[LABELS]),
        (TWO, "binary_crossentropy", Dense(1, "sigmoid", **F), SHARE[TWO]),
        (TWO[:, None].astype(float), "binary_crossentropy", Dense(1, "sigmoid", **F), SHARE[TWO]),
        (TWO.astype(bool), "binary_crossentropy", Dense(1, "sigmoid", **F), SHARE[TWO]),
    ],
)
def test_classes_weigh_as_samples_do(y: Any, loss: str, last: Any, weights: Any) -> None:
    def model() -> Sequential:
        return fresh(loss, GRU(3, **F), type(last)(**{"units": last.units, "activation": last.activation, **F}))

    held = {"validation_data": (X, y), "validation_batch_size": 4}
    expected = trained(X, y, model(), batch_size=4, sample_weight=weights, **held)
    assert trained(X, y, model(), batch_size=4, class_weight=CLASSES, **held) == expected
    assert trained(Again(X, y), None, model(), class_weight=CLASSES, **held) == expected
    assert model().train_on_batch(X, y, class_weight=CLASSES) == model().train_on_batch(X, y, sample_weight=weights)


def test_classes_of_steps_weigh_each_step() -> None:
    def model() -> Sequential:
        layers = (Embedding(5, 3, **F), GRU(3, return_sequences=True, **F), Dense(3, "softmax", **F))
        return fresh("sparse_categorical_crossentropy", *layers, shape=(4,))

    ids = RNG.integers(0, 5, (10, 4))
    expected = trained(ids, STEPS, model(), batch_size=4, sample_weight=SHARE[STEPS])
    assert trained(ids, STEPS, model(), batch_size=4, class_weight=CLASSES) == expected


def test_what_a_split_holds_back_is_not_weighted_by_class() -> None:
    last = {"validation_data": (X[8:], LABELS[8:])}
    layers = (GRU(3, **F), Dense(3, "softmax", **F))
    model = fresh("sparse_categorical_crossentropy", *layers)
    expected = trained(X[:8], LABELS[:8], model, batch_size=4, class_weight=CLASSES, **last)
    layers = (GRU(3, **F), Dense(3, "softmax", **F))
    model = fresh("sparse_categorical_crossentropy", *layers)
    assert trained(X, LABELS, model, batch_size=4, class_weight=CLASSES, validation_split=0.2) == expected


def test_whole_numbers_of_any_size_are_targets() -> None:
    model = fresh("mse", GRU(3, **F), Dense(1, **F))
    big = np.arange(10)[:, None] * 10**12
    assert model.evaluate(X, big) == pytest.approx(np.mean((model.predict(X) - big) ** 2))
    with pytest.raises(InputError, match="target 0 holds numbers that float32 cannot"):
        fresh("mse", GRU(3), Dense(1)).fit(X, np.full((10, 1), 1e300))


# epochs, passes, steps


class Counting:
    """An iterator that cannot start anew, and how far it was asked."""

    def __init__(self, items: Any) -> None:
        self.items, self.asked = iter(items), 0

    def __iter__(self) -> Counting:
        return self

    def __next__(self) -> Any:
        self.asked += 1
        return next(self.items)


def test_no_more_is_taken_than_is_needed() -> None:
    data = Counting(itertools.cycle(pieces(X, Y)))
    trained(data, epochs=3, steps_per_epoch=2)
    assert data.asked == 6
    model = fresh()
    model.evaluate(data, steps=2)
    assert data.asked == 8
    trained(Again(X, Y), validation_data=data, validation_steps=2, epochs=3, validation_freq=2)
    assert data.asked == 10
    generated = generator(X, Y, times=9)
    trained(generated, epochs=1, steps_per_epoch=4)
    trained(generated, epochs=1, steps_per_epoch=4)  # goes on; nobody has closed it
    assert len(list(generated)) == 27 - 8


def test_steps_go_on_from_pass_to_pass() -> None:
    seen: list[Any] = []
    model = fresh()
    watch = LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append([epoch, 0]))
    count = LambdaCallback(on_train_batch_end=lambda batch, logs: seen[-1].__setitem__(1, batch + 1))
    first, history = trained(X, Y, model, batch_size=4, epochs=3, steps_per_epoch=4, callbacks=[watch, count])
    assert seen == [[0, 4], [1, 4], [2, 4]] and len(history["loss"]) == 3
    assert first == trained(itertools.cycle(pieces(X, Y)), epochs=3, steps_per_epoch=4)[0]
    assert first == trained(Again(X, Y), epochs=3, steps_per_epoch=4)[0]
    assert first == trained(X, Y, batch_size=4, epochs=4)[0]
    repeated = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).repeat()
    assert first == trained(repeated, epochs=3, steps_per_epoch=4)[0]


def test_a_data_set_without_end_needs_a_number_of_steps() -> None:
    repeated = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).repeat()
    for call in (
        lambda: fresh().fit(repeated, verbose=0),
        lambda: fresh().evaluate(repeated),
        lambda: fresh().fit(X, Y, verbose=0, validation_data=repeated),
    ):
        with pytest.raises(InputError, match="repeats for ever; give the number of batches"):
            call()


def test_initial_epoch_and_validation_freq() -> None:
    seen: list[int] = []
    callback = LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    model = fresh()
    given = {"epochs": 7, "initial_epoch": 2, "callbacks": callback, "validation_data": Again(X, Y)}
    _, history = trained(X, Y, model, validation_freq=3, **given)
    assert seen == [2, 3, 4, 5, 6] == model.history.epoch
    assert len(history["loss"]) == 5 and model.history.epochs_of("val_loss") == [2, 5]
    trained(X, Y, model, validation_freq=[4, 5, 9], **given)
    assert model.history.epochs_of("val_loss") == [3, 4]
    assert trained(X, Y, fresh(), epochs=2, initial_epoch=2)[1] == {}


def test_a_generator_that_ends_early() -> None:
    expected = trained(X, Y, batch_size=4, epochs=1)
    with pytest.warns(UserWarning, match="ended after 3 of 5 batches of epoch 1, and training with them"):
        assert trained(generator(X, Y), epochs=4, steps_per_epoch=5) == expected
    with pytest.warns(UserWarning, match="ended after 0 batches of epoch 2"):
        assert trained(generator(X, Y), epochs=4) == expected
    with pytest.warns(UserWarning, match="ended after 1 of 2 batches of epoch 2"):
        weights, history = trained(generator(X, Y), epochs=4, steps_per_epoch=2)
    assert weights == expected[0] and len(history["loss"]) == 2


def test_validation_data_that_end_early() -> None:
    with pytest.warns(UserWarning, match="the data to evaluate on ended after 3 of 5 batches"):
        _, history = trained(X, Y, epochs=1, validation_data=generator(X, Y), validation_steps=5)
    assert "val_loss" in history
    model = fresh()
    before = model.get_weights()
    with pytest.raises(InputError, match="no batch after the 3 that earlier evaluations took"):
        trained(X, Y, model, epochs=2, validation_data=generator(X, Y))
    assert not np.array_equal(before[0], model.get_weights()[0])


# errors in the data


@pytest.mark.parametrize("made", [generator, Again])
def test_the_users_own_error_arrives(made: Any) -> None:
    class OwnError(Exception):
        pass

    def failing() -> Iterator[Any]:
        yield from pieces(X, Y)
        raise OwnError("row 7")

    class Failing:
        def __iter__(self) -> Iterator[Any]:
            return failing()

    model = fresh()
    with pytest.raises(OwnError, match="row 7") as caught:
        model.fit(failing() if made is generator else Failing(), epochs=2, verbose=0)
    assert "in failing" in str(caught.getrepr(style="short"))
    assert tuple(w.tobytes() for w in model.get_weights()) == trained(X, Y, batch_size=4, epochs=1)[0]
    assert model._compiled().step == 3


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ((X[:4, :, :2], Y[:4]), r"shape \(4, 4, 2\); expected \(batch, 4, 3\)"),
        ((X[:4], Y[:3]), "the inputs hold 4 samples"),
        ((X[:4],), "no target"),
        ((X[:4], Y[:4], W[:3]), "the inputs hold 4 samples"),
        ((X[:4], Y[:4], W[:4], 1), "4 things a batch"),
        ((X[:0], Y[:0]), "no samples"),
        ((X[:4].astype(str), Y[:4]), "not an array of numbers"),
    ],
)
def test_a_bad_batch_midway(bad: Any, told: str) -> None:
    model = fresh()
    with pytest.raises(InputError, match=told):
        model.fit([*pieces(X, Y), bad].__iter__(), verbose=0)
    assert tuple(w.tobytes() for w in model.get_weights()) == trained(X, Y, batch_size=4, epochs=1)[0]


def test_a_batch_of_another_size_for_a_model_that_has_one() -> None:
    def fixed() -> Sequential:
        lc.set_random_seed(3)
        model = Sequential([Input(batch_shape=(5, 4, 3)), GRU(3, stateful=True, **F), Dense(2, **F)])
        model.compile("sgd", "mse")
        return model

    with pytest.raises(InputError, match="built for batches of 5; given 4 samples"):
        fixed().fit(Again(X, Y), verbose=0)
    with pytest.raises(InputError, match="built for batches of 5; given 7 samples"):
        fixed().fit(X, Y, validation_split=0.3, verbose=0)
    fixed().fit(X, Y, validation_split=0.5, verbose=0)
    with pytest.raises(InputError, match="batch_size is given beside data that come in batches"):
        fresh().fit(X, Y, validation_data=Again(X, Y), validation_batch_size=4)


@pytest.mark.parametrize("y", [{"p": Y, "wrong": Y}, {"u": Y}, {"p": Y}, [Y], Y, [Y, Y, Y]])
def test_targets_for_other_outputs(y: Any) -> None:
    with pytest.raises(InputError, match="targets given"):
        two_headed().fit(IN, y, verbose=0)


# lengths that vary, and threads


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow"])
def test_lengths_may_vary_from_batch_to_batch(backend: str) -> None:
    """One objective, and so one graph, serves all of them."""

    def data() -> Iterator[Any]:
        for n, length in ((4, 5), (3, 2), (4, 7), (2, 1)):
            x = np.random.default_rng(length).normal(size=(n, length, 3))
            yield x, x[:, :, :2] ** 2, np.linspace(1, 2, n * length).reshape(n, length)

    model = fresh("mse", LSTM(3, return_sequences=True, **F), TimeDistributed(Dense(2, **F), **F), shape=(None, 3))
    history = model.fit(data(), verbose=0, backend=backend)
    assert len(model._compiled().trainers) == 1
    assert np.isfinite(history.history["loss"]).all()
    again = fresh("mse", LSTM(3, return_sequences=True, **F), TimeDistributed(Dense(2, **F), **F), shape=(None, 3))
    for x, y, w in data():
        again.train_on_batch(x, y, sample_weight=w, backend="numpy")
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)


def test_batches_are_read_ahead_in_a_thread_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Semaphore(0)

    def data() -> Iterator[Any]:
        for batch in itertools.cycle(pieces(X, Y)):
            asked.release()
            yield batch

    def wait(batch: int, logs: Any) -> None:
        """Blocks until the thread has read ahead; so it fails by waiting where nothing reads."""
        if batch == 0:
            for _ in range(1 + AHEAD):
                assert asked.acquire(timeout=30)
            assert readers()

    model = fresh()
    model.fit(data(), epochs=1, steps_per_epoch=9, verbose=0, callbacks=LambdaCallback(on_train_batch_begin=wait))
    assert not readers()

    def stop(batch: int, logs: Any) -> None:
        model.stop_training = True

    model.fit(data(), epochs=1, steps_per_epoch=9, verbose=0, callbacks=LambdaCallback(on_train_batch_end=stop))
    assert not readers()
    with pytest.raises(ZeroDivisionError):
        failing = LambdaCallback(on_train_batch_end=lambda batch, logs: 1 / 0)
        model.fit(data(), epochs=1, steps_per_epoch=9, verbose=0, callbacks=failing)
    assert not readers()
    with pytest.raises(ZeroDivisionError):
        failing = LambdaCallback(on_test_batch_end=lambda batch, logs: 1 / 0)
        model.evaluate(data(), steps=9, callbacks=failing)
