"""docs/demos/cudnn-weights.md: weights of CuDNNLSTM and CuDNNGRU in ordinary layers."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pages
import pytest

import lstmcore as lc

DATA = pages.ROOT / "tests" / "interop" / "data"
UNITS = 4


def stored(kind: str) -> list[Any]:
    with h5py.File(DATA / f"tf_keras_cudnn_{kind}.h5") as file:
        group = file["model_weights/rnn/rnn"]
        return [group[f"{name}:0"][()] for name in ("kernel", "recurrent_kernel", "bias")]


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3)])
def test_each_gate_is_turned_round(kind: str, gates: int) -> None:
    """A gate's part of a kernel is (units, inputs) in memory, though its shape says (inputs, units)."""
    kernel, recurrent, bias = stored(kind)
    model = lc.import_model(DATA / f"tf_keras_cudnn_{kind}.h5")
    turned = [part.reshape(UNITS, -1).T for part in np.split(kernel, gates, axis=1)]
    np.testing.assert_array_equal(model.weights["rnn/kernel"], np.concatenate(turned, axis=1))
    turned = [part.T for part in np.split(recurrent, gates, axis=1)]
    np.testing.assert_array_equal(model.weights["rnn/recurrent_kernel"], np.concatenate(turned, axis=1))
    two = bias.reshape(2, -1)
    np.testing.assert_array_equal(model.weights["rnn/bias"], two if kind == "gru" else two[0] + two[1])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_numbers_are_those_recorded(kind: str) -> None:
    model = lc.import_model(DATA / f"tf_keras_cudnn_{kind}.h5")
    with np.load(DATA / f"tf_keras_cudnn_{kind}.npz") as recorded:
        assert np.abs(model.predict(recorded["in0"]) - recorded["out0"]).max() < 1e-6
        kernel, recurrent, bias = stored(kind)
        as_stored = [kernel, recurrent, bias.reshape(2, -1) if kind == "gru" else bias.reshape(2, -1).sum(0)]
        model.set_weights(as_stored)
        assert np.abs(model.predict(recorded["in0"]) - recorded["out0"]).max() > 0.1
