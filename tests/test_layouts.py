"""How other formats store weights: each row there and back to the bit, and the order of the gates spelled out."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcore import layouts, ops
from lstmcore.layouts import LAYOUTS

I, U = 3, 2  # noqa: E741  input features
OPS = [ops.Lstm(U), ops.Gru(U), ops.Gru(U, reset_after=False), ops.SimpleRnn(U)]


def weights(op: ops.Recurrent) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    x = ops.Tensor((None, None, I))
    return {port: rng.normal(size=shape) for port, shape in op.inventory(x).items()}


@pytest.mark.parametrize("op", OPS, ids=str)
@pytest.mark.parametrize("form", LAYOUTS)
def test_there_and_back(form: str, op: ops.Recurrent) -> None:
    for port, array in weights(op).items():
        there = layouts.to_foreign(form, op, port, array)
        assert layouts.from_foreign(form, op, port, there).tobytes() == array.tobytes(), port


def test_onnx_has_the_gates_of_an_lstm_in_the_order_i_o_f_c() -> None:
    op = ops.Lstm(U)
    kernel = np.repeat(np.arange(4.0), U)[None].repeat(I, 0)  # i 0, f 1, c 2, o 3
    there = layouts.to_foreign("onnx", op, "kernel", kernel)
    assert there.shape == (1, 4 * U, I)
    np.testing.assert_array_equal(there[0, ::U, 0], [0, 3, 1, 2])


def test_onnx_has_the_gates_of_a_gru_in_ours_and_both_biases_in_a_row() -> None:
    op = ops.Gru(U)
    bias = np.arange(2.0 * 3 * U).reshape(2, 3 * U)
    np.testing.assert_array_equal(layouts.to_foreign("onnx", op, "bias", bias), bias.reshape(1, -1))


def test_one_bias_has_zeros_beside_it_and_two_are_added() -> None:
    op = ops.SimpleRnn(U)
    np.testing.assert_array_equal(layouts.to_foreign("onnx", op, "bias", np.array([1.0, 2])), [[1, 2, 0, 0]])
    np.testing.assert_array_equal(layouts.from_foreign("onnx", op, "bias", np.array([[1.0, 2, 3, 4]])), [4, 6])


def test_the_sign_of_zero_stays() -> None:
    op = ops.SimpleRnn(U)
    bias = np.array([-0.0, 1.0])
    there = layouts.to_foreign("onnx", op, "bias", bias)
    assert layouts.from_foreign("onnx", op, "bias", there).tobytes() == bias.tobytes()


def test_pytorch_has_two_biases_and_the_gates_of_a_gru_in_the_order_r_z_n() -> None:
    lstm, gru = ops.Lstm(U), ops.Gru(U)
    kernel = np.repeat(np.arange(4.0), U)[None].repeat(I, 0)  # i 0, f 1, c 2, o 3
    there = layouts.to_foreign("pytorch", lstm, "kernel", kernel)
    assert there.shape == (4 * U, I)
    np.testing.assert_array_equal(there[::U, 0], [0, 1, 2, 3])
    bias = np.arange(2.0 * 3 * U).reshape(2, 3 * U)  # z 0 1, r 2 3, h 4 5; then the same of the second
    np.testing.assert_array_equal(
        layouts.to_foreign("pytorch", gru, "bias", bias), [[2, 3, 0, 1, 4, 5], [8, 9, 6, 7, 10, 11]]
    )


@pytest.mark.parametrize("form", LAYOUTS)
def test_reset_before_with_two_biases_that_differ_gets_their_sum(form: str) -> None:
    op = ops.Gru(U, reset_after=False)
    first, second = np.arange(6.0), np.arange(6.0) * 10 + 1
    there = layouts.to_foreign(form, ops.Gru(U), "bias", np.stack([first, second]))
    np.testing.assert_array_equal(layouts.from_foreign(form, op, "bias", there), first + second)
