"""Conv1D and the pooling layers: numbers, both data formats, options, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcore.errors import InputError, SpecError
from lstmcore.layers import AveragePooling1D, Conv1D, GlobalMaxPooling1D, Input, MaxPooling1D, deserialize
from lstmcore.models import Model

X = np.random.default_rng(6).normal(size=(2, 7, 4))


def slow_conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, layer: Conv1D) -> np.ndarray:
    """The sum as the formula has it, window by window."""
    (size,), (strides,), (dilation,) = layer.kernel_size, layer.strides, layer.dilation_rate
    time, reach = x.shape[1], dilation * (size - 1) + 1
    steps = (time - reach) // strides + 1 if layer.padding == "valid" else -(-time // strides)
    lacking = max((steps - 1) * strides + reach - time, 0)
    left = {"valid": 0, "same": lacking // 2, "causal": reach - 1}[layer.padding]
    padded = np.pad(x, ((0, 0), (left, lacking + reach), (0, 0)))
    inner, outer = x.shape[2] // layer.groups, layer.filters // layer.groups
    y = np.empty((x.shape[0], steps, layer.filters))
    for t in range(steps):
        for g in range(layer.groups):
            seen = padded[:, t * strides : t * strides + reach : dilation, g * inner : (g + 1) * inner]
            block = kernel[:, :, g * outer : (g + 1) * outer]
            y[:, t, g * outer : (g + 1) * outer] = np.einsum("bki,kif->bf", seen, block)
    return y + bias


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_conv_is_the_sum_over_the_window(
    groups: int, padding: str, strides: int, dilation: int, data_format: str
) -> None:
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
    layer = Conv1D(4, 3, **options, data_format=data_format, dtype="float64")  # 4 steps of 4 filters is one case
    given = X if data_format == "channels_last" else X.transpose(0, 2, 1)
    layer.build(given.shape)
    kernel, bias = np.random.default_rng(1).normal(size=(3, 4 // groups, 4)), np.arange(4.0)
    layer.set_weights([kernel, bias])
    y = layer(given)
    assert layer.compute_output_shape(given.shape) == y.shape
    expected = slow_conv(X, kernel, bias, layer)
    np.testing.assert_allclose(y if data_format == "channels_last" else y.transpose(0, 2, 1), expected, atol=1e-12)


def test_a_causal_step_sees_nothing_that_comes_later() -> None:
    layer = Conv1D(3, 3, padding="causal", dilation_rate=2, dtype="float64")
    before, changed = layer(X), X.copy()
    changed[:, 4:] = 100
    assert np.array_equal(layer(changed)[:, :4], before[:, :4])
    assert not np.allclose(layer(changed)[:, 4], before[:, 4])


def test_the_activation_works_on_the_output_as_it_stands() -> None:
    turned = X.transpose(0, 2, 1)
    linear = Conv1D(3, 2, data_format="channels_first", dtype="float64")
    layer = Conv1D(3, 2, activation="softmax", data_format="channels_first", dtype="float64")
    powers = np.exp(linear(turned))
    layer.build(turned.shape)
    layer.set_weights(linear.get_weights())
    # Over the last axis, which here is time: so in Keras.
    np.testing.assert_allclose(layer(turned), powers / powers.sum(-1, keepdims=True), rtol=1e-12)


def test_pools_on_paper() -> None:
    x = np.array([[[1.0], [5.0], [2.0], [4.0], [3.0]]], np.float32)
    assert MaxPooling1D()(x).ravel().tolist() == [5, 4]
    assert MaxPooling1D(padding="same")(x).ravel().tolist() == [5, 4, 3]
    assert MaxPooling1D(3, 1)(x).ravel().tolist() == [5, 5, 4]
    assert AveragePooling1D(2, padding="SAME")(x).ravel().tolist() == [3, 3, 3]  # of the last window one step counts
    assert AveragePooling1D(3, 2, "same")(x).ravel().tolist() == pytest.approx([3, 11 / 3, 3.5])
    assert GlobalMaxPooling1D(keepdims=True)(x).tolist() == [[[5]]]


@pytest.mark.parametrize("layer", [MaxPooling1D, AveragePooling1D])
@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"strides": 1}, {"strides": 3, "padding": "same"}])
def test_channels_first_is_the_same_turned(layer: Any, options: dict[str, Any]) -> None:
    last = layer(2, **options, dtype="float64")(X)
    first = layer(2, **options, data_format="channels_first", dtype="float64")(X.transpose(0, 2, 1))
    assert np.array_equal(first, last.transpose(0, 2, 1))


def test_options_are_written_as_keras_writes_them() -> None:
    config = MaxPooling1D(3, data_format="channels_first").get_config()
    assert (config["pool_size"], config["strides"], config["data_format"]) == ([3], [3], "channels_first")
    data = {"class_name": "Conv1D", "config": {**Conv1D(2, (3,)).get_config(), "padding": "SAME"}}
    again = deserialize({**data, "module": "keras.layers", "registered_name": None})
    assert (again.kernel_size, again.strides, again.padding) == ((3,), (1,), "same")


def test_a_kernel_longer_than_the_data_is_refused_where_lengths_were_open() -> None:
    x = Input((None, 4))
    with pytest.raises(InputError, match="has 3 steps; expected at least the kernel's reach, 5"):
        Model(x, Conv1D(2, 5)(x)).predict(X[:, :3], backend="numpy")


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: Conv1D(0, 3), SpecError, "filters is 0; expected a positive integer"),
        (lambda: Conv1D(2, 0), SpecError, "kernel_size is 0; expected a positive integer, alone or in a tuple"),
        (lambda: Conv1D(2, (1, 2)), SpecError, r"kernel_size is \(1, 2\)"),
        (lambda: Conv1D(2, 2.0), SpecError, "kernel_size is 2.0"),
        (lambda: Conv1D(2, 3, strides=-1), SpecError, "strides is -1"),
        (lambda: Conv1D(2, 3, dilation_rate=0), SpecError, "dilation_rate is 0"),
        (lambda: Conv1D(2, 3, groups=3), SpecError, "filters is 2; expected a multiple of groups, 3"),
        (lambda: Conv1D(2, 3, padding="full"), SpecError, "padding is 'full'; expected one of 'valid'"),
        (lambda: Conv1D(2, 3, strides=2, dilation_rate=2), SpecError, "expected one of them to be 1, as in Keras"),
        (lambda: Conv1D(2, 3, data_format="NWC"), SpecError, "data_format is 'NWC'; expected one of 'channels_last'"),
        (lambda: Conv1D(2, 3, lora_rank=2), SpecError, "lora_rank is 2; expected None"),
        (lambda: Conv1D(3, 3, groups=3)(X), InputError, "4 channels; expected a multiple of groups, 3"),
        (lambda: Conv1D(2, 9)(X), InputError, "7 steps; expected at least the kernel's reach, 9"),
        (lambda: Conv1D(2, 3)(Input((5, None))), SpecError, "must have a known length"),
        (lambda: MaxPooling1D(8)(X), InputError, "7 steps; expected at least the window's size, 8"),
        (lambda: MaxPooling1D(strides=0), SpecError, "strides is 0; expected None or a positive integer"),
        (lambda: MaxPooling1D(padding="causal"), SpecError, "padding is 'causal'; expected one of 'valid', 'same'"),
        (lambda: AveragePooling1D((2, 2)), SpecError, r"pool_size is \(2, 2\)"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        make()
