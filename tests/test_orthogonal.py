"""Gram-Schmidt with exact products: it is QR, and no order of summation shows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lstmcore import orthogonal
from lstmcore.orthogonal import exact_product, orthonormal_rows
from lstmcore.random import Stream

SHAPES = [(1, 1), (1, 5), (2, 2), (7, 9), (8, 8), (9, 9), (33, 40), (64, 256), (100, 100), (20, 5000)]


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_orthonormal_and_those_of_qr(shape: tuple[int, int]) -> None:
    a = Stream(1).normal(shape)
    before = a.copy()
    q = orthonormal_rows(a)
    assert np.array_equal(a, before)
    assert np.abs(q @ q.T - np.eye(len(q))).max() < 1e-12
    columns, r = np.linalg.qr(a.T)
    assert np.abs(q - (columns * np.sign(np.diag(r))).T).max() < 1e-10


def test_ill_conditioned_rows_become_orthonormal_too() -> None:
    a = Stream(2).normal((40, 60))
    a[20:] = a[:20] + 1e-7 * a[20:]
    q = orthonormal_rows(a)
    assert np.abs(q @ q.T - np.eye(40)).max() < 1e-12


def test_on_paper() -> None:
    turned = orthonormal_rows(np.array([[3.0, 4.0], [-4.0, 3.0]]))
    np.testing.assert_allclose(turned, [[0.6, 0.8], [-0.8, 0.6]], rtol=0, atol=1e-15)
    assert np.array_equal(orthonormal_rows(np.array([[2.0, 0.0], [9.0, -5.0]])), [[1.0, 0.0], [0.0, -1.0]])


def test_empty() -> None:
    assert orthonormal_rows(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("depth", [1, 50, 2048])
def test_the_order_of_summation_does_not_show(depth: int) -> None:
    a, b = Stream(3).normal((5, depth)), Stream(4).normal((depth, 6))
    order = Stream(5).permutation(depth)
    assert exact_product(a[:, order], b[order]).tobytes() == exact_product(a, b).tobytes()


def test_no_sum_of_products_can_be_rounded() -> None:
    largest_slice = 2 ** (orthogonal._BITS - 1)
    assert largest_slice**2 * orthogonal._DEPTH <= 2**53


def test_sums_of_the_largest_slices_are_exact() -> None:
    largest = 1 - 2.0**-44
    a = np.full((1, 2048), largest)
    a[0, ::2] = -largest
    a[0, -1] = 0.75
    product = exact_product(a, np.full((2048, 1), largest))[0, 0]
    assert product == pytest.approx((0.75 - 1) * largest, abs=2048 * 2.0**-43)
    assert exact_product(np.full((1, 2048), largest), np.full((2048, 1), largest))[0, 0] == 2048


@pytest.mark.parametrize("depth", [3, 2048, 5000])
def test_exact_product_against_fsum(depth: int) -> None:
    a = Stream(6).normal((4, depth)) * np.array([[1e-9], [1.0], [1e9], [0.0]])
    b = Stream(7).normal((depth, 3)) * np.array([1e5, 1.0, 1e-12])
    expected = np.array([[math.fsum(row * column) for column in b.T] for row in a])
    scale = np.abs(a).max(1)[:, None] * np.abs(b).max(0) * math.sqrt(depth)
    assert np.all(np.abs(exact_product(a, b) - expected) <= scale * 2.0**-41)
