"""The verdict on an engine: E, its limit, and what a wrong engine looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import ops, plugins
from lstmcore.contract import Kernel
from lstmcore.errors import InputError
from lstmcore.layers import LSTM, Dense, Input, SimpleRNN
from lstmcore.models import Sequential
from lstmcore.runtime.compare import LIMIT, limit, scale_error

EPS = float(np.finfo(np.float32).eps)


def test_e_counts_units_of_the_last_place_of_the_largest_value() -> None:
    reference = np.array([4.0, -1e-9, 0.0])
    assert scale_error(reference + np.array([0, 4 * EPS, 0]), reference, "float32") == pytest.approx(1, rel=1e-6)
    assert scale_error(reference, reference, "float32") == 0
    assert scale_error(np.zeros(3), np.zeros(3), "float32") == 0
    assert scale_error(np.ones(3), np.zeros(3), "float32") == math.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_must_be_so_on_both_sides(bad: float) -> None:
    reference = np.array([1.0, bad, 2.0])
    assert scale_error(reference, reference, "float32") == 0
    assert scale_error(np.array([1.0, 1.5, 2.0]), reference, "float32") == math.inf
    assert scale_error(np.array([bad, bad, 2.0]), reference, "float32") == math.inf
    assert scale_error(np.zeros(2), reference, "float32") == math.inf


def test_the_limit_is_16_unless_the_model_itself_amplifies_rounding() -> None:
    assert limit(0) == limit(5.3) == LIMIT == 16
    assert limit(15) == 45
    assert limit(math.inf) == 16


def test_all_installed_engines_agree_and_the_table_says_so() -> None:
    model = Sequential([Input((9, 3)), LSTM(8, return_sequences=True), SimpleRNN(4), Dense(2)])
    comparison = lc.compare(model, np.random.default_rng(2).normal(size=(20, 9, 3)))
    assert comparison.ok
    assert [row.backend for row in comparison.rows] == ["numpy", "tensorflow", "torch"]
    assert all(0 < (row.error or 0) <= 16 for row in comparison.rows)
    text = str(comparison)
    assert "Lstm fused, SimpleRnn fused" in text and "limit 16" in text
    assert comparison.to_dict()["rows"][0]["kernels"] == "Lstm hoisted, SimpleRnn hoisted"


def test_a_wrong_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = plugins.get("torch")
    right = torch.kernels[ops.Lstm][0].run

    def swapped(op: ops.Lstm, w: Mapping[str, Any], *inputs: Any) -> Any:
        order = np.r_[4:8, 0:4, 8:16]
        return right(op, {name: array[..., order] for name, array in w.items()}, *inputs)

    table = {**torch.kernels, ops.Lstm: (Kernel("swapped", swapped),)}
    monkeypatch.setattr(type(torch), "kernels", table)
    model = Sequential([Input((9, 3)), LSTM(4)])
    comparison = lc.compare(model, np.random.default_rng(2).normal(size=(20, 9, 3)), ["numpy", "torch"])
    assert not comparison.ok
    assert [row.status for row in comparison.rows] == ["agrees", "DIFFERS"]
    assert (comparison.rows[1].error or 0) > 1e4


def test_an_engine_that_cannot_run_it_is_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = plugins.get("torch")
    monkeypatch.setattr(type(torch), "kernels", {})
    model = Sequential([Input((9, 3)), LSTM(4)])
    comparison = lc.compare(model, np.zeros((1, 9, 3), np.float32) + 0.5)
    row = next(row for row in comparison.rows if row.backend == "torch")
    assert row.status == "cannot run it" and "no kernel for Lstm" in row.remedy
    assert not comparison.ok


def test_a_model_built_for_batches_is_compared_on_one_batch() -> None:
    model = Sequential([Input(batch_shape=(4, 3, 2)), LSTM(2, stateful=True)])
    assert lc.compare(model, np.ones((4, 3, 2))).ok
    with pytest.raises(InputError, match="built for batches of 4; given 8"):
        lc.compare(model, np.ones((8, 3, 2)))


def test_what_a_model_makes_of_rounding_is_measured_where_an_engine_is_beyond_one_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """exp of large numbers: half a unit in a weight or an input is hundreds in the output. The engine is 60 off."""
    torch = plugins.get("torch")
    monkeypatch.setattr(type(torch), "numpy", lambda self, tensor: tensor.detach().numpy() * np.float32(1 + 60 * EPS))
    layers = [Input((4,)), Dense(4, name="one", activation="exponential"), Dense(1)]
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    results = []
    for scale in (40, 1):
        model = Sequential(layers)
        model.replace_weights({"one/kernel": np.float32(scale) * np.random.default_rng(1).random((4, 4), np.float32)})
        results.append(lc.compare(model, x, ["torch"]))
    sharp, calm = results
    assert sharp.ok and sharp.shaken > 20 and sharp.limit == pytest.approx(3 * sharp.shaken)
    assert "half a unit" in str(sharp) and sharp.to_dict()["shaken"] == sharp.shaken
    assert not calm.ok and calm.limit == 16 and 0 < calm.shaken < 16 / 3
