"""How other formats store weights: each row there and back to the bit, and the order of the gates spelled out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lstmcore import layouts, ops
from lstmcore.errors import SpecError
from lstmcore.layouts import LAYOUTS

DATA = Path(__file__).resolve().parent / "interop" / "data"
I, U = 3, 2  # noqa: E741  input features
OPS = [ops.Lstm(U), ops.Gru(U), ops.Gru(U, reset_after=False), ops.SimpleRnn(U)]


def weights(op: ops.Recurrent) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    x = ops.Tensor((None, None, I))
    return {port: rng.normal(size=shape) for port, shape in op.inventory(x).items()}


HELD = [pytest.param(form, op, id=f"{form} {op}") for form in LAYOUTS for op in OPS if layouts.holds(form, op)]


@pytest.mark.parametrize(("form", "op"), HELD)
def test_there_and_back(form: str, op: ops.Recurrent) -> None:
    for port, array in weights(op).items():
        there = layouts.to_foreign(form, op, port, array)
        assert there.shape == layouts.foreign_shape(form, op, port, array.shape)
        assert layouts.from_foreign(form, op, port, there).tobytes() == array.tobytes(), port


# Where every format has each gate: written down by hand, not read from the table.
ORDERS = {
    "keras 1": ("icfo", "zrh"),
    "keras 1 gpu": ("ifco", "zrh"),
    "cudnn": ("ifco", "zrh"),
    "onnx": ("iofc", "zrh"),
    "pytorch": ("ifco", "rzh"),
}


def places(form: str, port: str, there: Any) -> Any:
    """The first number of each gate of a kernel, or of the first bias: read out without the table."""
    if form == "onnx":
        there = there[0]
    if form == "keras 1":
        return there.reshape(len(there), -1)[:, 0]
    if form == "pytorch":
        there = there[0] if port == "bias" else there
    if port == "bias":
        return there[: there.size // (2 if form in ("onnx", "cudnn") else 1) : U]
    return there[0, ::U] if form in ("cudnn", "keras 1 gpu") else there[::U, 0]


@pytest.mark.parametrize("kind", [ops.Lstm, ops.Gru])
@pytest.mark.parametrize("form", LAYOUTS)
def test_each_format_has_its_own_order_of_gates(form: str, kind: Any) -> None:
    op = next(op for op in OPS if type(op) is kind and layouts.holds(form, op))
    order = ORDERS[form][kind is ops.Gru]
    numbers = np.repeat(np.arange(len(kind.gates)), U)
    for port, shape in {port: array.shape for port, array in weights(op).items()}.items():
        array = np.broadcast_to(numbers, shape).astype(float)
        there = places(form, port, layouts.to_foreign(form, op, port, array))
        assert [kind.gates[int(k)] for k in there] == list(order), port
        back = layouts.from_foreign(form, op, port, layouts.to_foreign(form, op, port, array))
        np.testing.assert_array_equal(back, array)


def test_every_format_is_written_down_above() -> None:
    assert set(ORDERS) == set(LAYOUTS)
    assert layouts.LAYOUTS["onnx"][ops.Lstm].peepholes == "iof"


@pytest.mark.parametrize("kind", [ops.Lstm, ops.Gru])
def test_cudnn_lays_each_gate_as_its_kernel_reads_it(kind: Any) -> None:
    """What tf-keras does with such a file (saving/legacy/hdf5_format.py), in its own words."""
    count = len(kind.gates)
    rng = np.random.default_rng(8)
    kernel, recurrent = rng.normal(size=(I, count * U)), rng.normal(size=(U, count * U))
    bias = rng.normal(size=2 * count * U)
    wanted = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, count)])
    np.testing.assert_array_equal(layouts.from_foreign("cudnn", kind(U), "kernel", kernel), wanted)
    wanted = np.hstack([k.T for k in np.hsplit(recurrent, count)])
    np.testing.assert_array_equal(layouts.from_foreign("cudnn", kind(U), "recurrent_kernel", recurrent), wanted)
    wanted = bias.reshape(2, -1) if kind is ops.Gru else bias.reshape(2, -1).sum(0)
    np.testing.assert_array_equal(layouts.from_foreign("cudnn", kind(U), "bias", bias), wanted)


def test_the_arrays_of_keras_1_stand_in_its_order() -> None:
    """As a file of Keras 1 lists them: a kernel, a recurrent kernel and a bias for each gate in turn."""
    assert layouts.names("keras 1", ops.Lstm, "kernel") == ("W_i", "W_c", "W_f", "W_o")
    assert layouts.names("keras 1", ops.Gru, "bias") == ("b_z", "b_r", "b_h")
    with h5py.File(DATA / "dl4j-test-resources__bidirectional_lstm_tensorflow_1.h5") as file:
        named = [name.decode() for name in file["model_weights/bidirectional_1"].attrs["weight_names"]]
    listed = [name.split("lstm_1_")[1].removesuffix(":0") for name in named if name.startswith("forward")]
    own = zip(*(layouts.names("keras 1", ops.Lstm, port) for port in ops.Lstm.weights), strict=True)
    assert listed == [name for gate in own for name in gate]


@pytest.mark.parametrize(("form", "reset_after"), [("cudnn", False), ("keras 1", True), ("keras 1 gpu", True)])
def test_a_gru_of_the_other_kind_is_refused(form: str, reset_after: bool) -> None:
    op = ops.Gru(U, reset_after=reset_after)
    assert not layouts.holds(form, op)
    with pytest.raises(SpecError, match="are of no such op"):
        layouts.to_foreign(form, op, "kernel", np.zeros((I, 3 * U)))
    with pytest.raises(SpecError, match="are of no such op"):
        layouts.from_foreign(form, op, "bias", np.zeros((2, 3 * U)))


def page_rows() -> list[str]:
    """What docs/layouts.md should say of each row."""
    found = []
    for form, kinds in LAYOUTS.items():
        for kind, row in kinds.items():
            cells = [form, kind.__name__, " ".join(row.gates)]
            for port in kind.weights:
                called = ", ".join(f"`{name}`" for name in layouts.names(form, kind, port))
                cells.append(f"`{row.weights[port]}`: {called}")
            found.append(f"| {' | '.join(cells)} |")
    return found


def test_the_page_shows_the_table() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "layouts.md").read_text(encoding="utf-8")
    shown = [line for line in text.splitlines() if line.split("|")[1:2] and line.split("|")[1].strip() in LAYOUTS]
    assert shown == page_rows()


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


@pytest.mark.parametrize("form", ["onnx", "pytorch"])
def test_reset_before_with_two_biases_that_differ_gets_their_sum(form: str) -> None:
    op = ops.Gru(U, reset_after=False)
    first, second = np.arange(6.0), np.arange(6.0) * 10 + 1
    there = layouts.to_foreign(form, ops.Gru(U), "bias", np.stack([first, second]))
    np.testing.assert_array_equal(layouts.from_foreign(form, op, "bias", there), first + second)
