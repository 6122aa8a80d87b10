"""BatchNormalization, LayerNormalization, Rescaling, PReLU: numbers on paper, weights, options, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcore.errors import InputError, SpecError
from lstmcore.layers import BatchNormalization, Input, LayerNormalization, PReLU, Rescaling, deserialize, serialize

X = np.random.default_rng(4).normal(size=(3, 5, 2))


def test_batch_normalization_on_paper() -> None:
    layer = BatchNormalization(epsilon=0.25)
    layer.build((None, 2))
    layer.set_weights([[2.0, 1.0], [0.5, 0.0], [1.0, -1.0], [0.75, 2.0]])  # gamma, beta, mean, variance
    y = layer(np.array([[3.0, 2.0]], np.float32))
    np.testing.assert_allclose(y, [[2 * (3 - 1) / 1.0 + 0.5, (2 + 1) / 1.5]], rtol=1e-6)


def test_no_optimizer_touches_the_statistics() -> None:
    layer = BatchNormalization()
    layer.build((None, 5, 2))
    assert list(layer.weights) == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert layer.untrained == ("moving_mean", "moving_variance")
    assert LayerNormalization.untrained == ()
    bare = BatchNormalization(center=False, scale=False)
    bare.build((None, 5, 2))
    assert list(bare.weights) == ["moving_mean", "moving_variance"]


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
def test_batch_normalization_along_any_axis(axis: int) -> None:
    x = np.random.default_rng(7).normal(size=(3, 5, 2, 4))
    layer = BatchNormalization(axis, dtype="float64")
    layer.build(x.shape)
    gamma, beta, mean, variance = (np.random.default_rng(k).uniform(1, 2, x.shape[axis]) for k in range(4))
    layer.set_weights([gamma, beta, mean, variance])
    moved = np.moveaxis(x, axis, -1)
    expected = np.moveaxis((moved - mean) / np.sqrt(variance + 0.001) * gamma + beta, -1, axis)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)


@pytest.mark.parametrize("axis", [1, -1, [1, 2], [2, 1], [-1, -2]])
def test_layer_normalization_over_any_axes(axis: Any) -> None:
    layer = LayerNormalization(axis, dtype="float64")
    layer.build(X.shape)
    axes = tuple(sorted(k % 3 for k in ([axis] if isinstance(axis, int) else axis)))
    shape = tuple(X.shape[k] for k in axes)
    gamma, beta = (np.random.default_rng(k).normal(size=shape) for k in range(2))
    layer.set_weights([gamma, beta])
    spread = [X.shape[k] if k in axes else 1 for k in range(3)]
    middle, variance = X.mean(axes, keepdims=True), X.var(axes, keepdims=True)
    expected = (X - middle) / np.sqrt(variance + 0.001) * gamma.reshape(spread) + beta.reshape(spread)
    np.testing.assert_allclose(layer(X), expected, rtol=1e-12)


def test_the_axis_is_written_as_keras_writes_it_before_and_after_the_build() -> None:
    for given, built in ((-1, [-1]), ([2, 1], [1, 2])):
        layer = LayerNormalization(given)
        assert layer.get_config()["axis"] == given
        layer.build((None, 5, 2))
        assert layer.get_config()["axis"] == built
        assert deserialize(serialize(layer)).get_config()["axis"] == built


def test_rescaling_on_paper() -> None:
    x = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)
    assert Rescaling(0.5, -1)(x).tolist() == [[[-0.5, 0.0], [0.5, 1.0]]]
    assert Rescaling([2.0, 10.0], [0.0, 1.0])(x).tolist() == [[[2.0, 21.0], [6.0, 41.0]]]
    assert Rescaling([[2.0], [10.0]])(x).tolist() == [[[2.0, 4.0], [30.0, 40.0]]]


def test_rescaling_reads_the_arrays_of_keras_configs() -> None:
    array = {"class_name": "__numpy__", "config": {"value": [0.5, 1.0], "dtype": "float64"}}
    pair = {"class_name": "__tuple__", "config": {"value": [1, 2]}}
    layer = Rescaling.from_config({"scale": array, "offset": pair})
    assert layer.get_config()["scale"] == [0.5, 1.0] and layer.get_config()["offset"] == [1, 2]
    assert Rescaling(np.array([0.5, 1.0])).get_config()["scale"] == [0.5, 1.0]


def test_prelu_has_a_slope_for_each_entry_but_the_shared() -> None:
    for shared, shape in ((None, (5, 2)), ([1], (1, 2)), ([2], (5, 1)), (1, (1, 2)), ([1, 2], (1, 1))):
        layer = PReLU(shared_axes=shared, dtype="float64")
        layer.build(X.shape)
        slopes = np.random.default_rng(1).normal(size=shape)
        layer.set_weights([slopes])
        np.testing.assert_allclose(layer(X), np.where(X >= 0, X, slopes * X), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: BatchNormalization(renorm=True), SpecError, "renorm is True; expected False"),
        (lambda: BatchNormalization(axis=[1]), SpecError, r"axis is \[1\]; expected an integer"),
        (lambda: BatchNormalization(epsilon=-1), SpecError, "epsilon is -1; expected a number that is not negative"),
        (lambda: BatchNormalization(momentum=2), SpecError, "momentum is 2; expected a number from 0 to 1"),
        (lambda: BatchNormalization(0)(X), InputError, "axis 0 is not one of the axes after the batch"),
        (lambda: BatchNormalization(3)(X), InputError, "axis 3 is not one of the axes after the batch"),
        (lambda: BatchNormalization(1)(Input((None, 2))), SpecError, "axis 1 .* must have a known length"),
        (lambda: LayerNormalization(rms_scaling=True), SpecError, "rms_scaling is True; expected False"),
        (lambda: LayerNormalization(axis=[]), SpecError, "expected an integer or a list of integers"),
        (lambda: LayerNormalization(axis=[1, 1])(X), InputError, "expected different axes"),
        (lambda: LayerNormalization(axis=[-1, 1])(X), InputError, "all counted from the start or all from the end"),
        (lambda: LayerNormalization(axis=-3)(X), InputError, "axis -3 is not one of the axes after the batch"),
        (lambda: LayerNormalization([1, 2])(Input((None, 2))), SpecError, "axis 1 .* must have a known length"),
        (lambda: PReLU()(Input((None, 2))), SpecError, "axis 1 .* must have a known length.* by shared_axes"),
        (lambda: PReLU(shared_axes=[0]), SpecError, r"shared_axes is \[0\]; expected None, or axes counted from 1"),
        (lambda: PReLU(shared_axes=[3])(X), InputError, "axis 3 is not one of"),
        (lambda: Rescaling("a"), SpecError, "scale is 'a'; expected a finite number"),
        (lambda: Rescaling([[1], [1, 2]]), SpecError, "lists of them of one length"),
        (lambda: Rescaling([]), SpecError, "lists of them of one length"),
        (lambda: Rescaling(float("inf")), SpecError, "scale is inf; expected a finite number"),
        (lambda: Rescaling([[[1.0]]])(X), InputError, "expected fewer axes: not the batch"),
        (lambda: Rescaling([1.0, 2.0, 3.0])(X), InputError, "cannot be broadcast together"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        make()
