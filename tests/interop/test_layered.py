"""Graphs in layers: the same numbers and bits, shared weights shared, and what no layer computes refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
from programs import Graph

import lstmcore as lc
from lstmcore import ops
from lstmcore.activations import function
from lstmcore.errors import ExportError
from lstmcore.interop.layered import graph, layered
from lstmcore.interop.layered.rows import ROWS
from lstmcore.layers import GRU, LSTM, Bidirectional, Dense, Input
from lstmcore.models.program_model import ProgramModel


def data(model: ProgramModel, seed: int = 4) -> Any:
    rng, program = np.random.default_rng(seed), model.program
    made = []
    for name in program.inputs:
        shape = [2, *(n or 6 for n in program.values[name].shape[1:])]
        ids = program.values[name].kind == "int"
        made.append(rng.integers(0, program.limits[name], shape) if ids else rng.normal(size=shape).astype("float32"))
    return made if len(made) > 1 else made[0]


def outputs(model: Any, x: Any) -> list[Any]:
    return list(lc.tree.leaves(model.predict(x, verbose=0)))


def same(given: ProgramModel, made: Any) -> None:
    for y, expected in zip(outputs(made, data(given)), outputs(given, data(given)), strict=True):
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_every_row_computes_the_same_with_the_same_bits() -> None:
    given = programs.many()
    assert {type(node.op) for node in given.program.nodes} >= set(ROWS)
    made = layered(given)
    same(given, made)
    assert sorted(a.tobytes() for a in made.get_weights()) == sorted(a.tobytes() for a in given.get_weights())


def test_what_the_nodes_are_called_the_layers_are() -> None:
    g = Graph()
    y, *_ = g.rnn(ops.Lstm(2), g.build.input("x", (None, None, 3)), name="/enc/lstm.1/LSTM")
    assert list(layered(g.model(y)).named_layers) == ["x", "enc_lstm_1_LSTM"]


def test_reshapes_and_transposes_that_end_where_they_began_are_no_layers() -> None:
    g = Graph()
    x = g.build.input("x", (None, None, 3))
    there = g.op(ops.Reshape((-1, 1, 3)), g.op(ops.Transpose((0, 2, 1)), g.op(ops.Transpose((0, 2, 1)), x)))
    model = g.model(g.op(ops.Affine(2), g.op(ops.Reshape((-1, 3)), there)))
    made = layered(model)
    assert [type(layer).__name__ for layer in made.layers] == ["InputLayer", "Dense"]
    same(model, made)


def test_a_reshape_after_a_transpose_stays() -> None:
    g = Graph()
    x = g.build.input("x", (None, None, 4))
    model = g.model(g.op(ops.Affine(2), g.op(ops.Reshape((-1, 4)), g.op(ops.Transpose((0, 2, 1)), x))))
    same(model, layered(model))


def product(length: int) -> tuple[Graph, Any, Any]:
    """A product, and the sum of it and a weight of that length."""
    g = Graph()
    y = g.op(ops.Affine(3, use_bias=False), g.build.input("x", (None, 4)))
    return g, y, g.op(ops.Binary("add"), g.op(ops.Parameter((length,))), y)


def test_a_product_and_its_bias_are_one_layer() -> None:
    g, _, total = product(3)
    made = layered(g.model(total))
    assert [type(layer).__name__ for layer in made.layers] == ["InputLayer", "Dense"]
    same(g.model(total), made)


def test_a_product_of_the_steps_of_all_samples_and_its_bias_are_one_layer() -> None:
    """As TensorFlow says a Dense of sequences."""
    g = Graph()
    x = g.build.input("x", (None, None, 4))
    y = g.op(ops.Unfold(), g.op(ops.Affine(3, use_bias=False), g.op(ops.Fold(), x)), x)
    model = g.model(g.op(ops.Binary("add"), y, g.op(ops.Parameter((3,)))))
    made = layered(model)
    assert [type(layer).__name__ for layer in made.layers] == ["InputLayer", "Dense"]
    same(model, made)
    with pytest.raises(ExportError, match="is no tensor between layers"):
        layered(g.model(g.op(ops.Binary("add"), y, g.op(ops.Parameter((3,)), name="other")), y))


def test_a_product_that_is_read_without_its_bias_too_is_no_dense_with_one() -> None:
    g, y, total = product(3)
    with pytest.raises(ExportError, match="is no tensor between layers"):
        layered(g.model(total, y))


def test_one_number_for_all_units_is_no_bias() -> None:
    g, _, total = product(1)
    with pytest.raises(ExportError, match="is no tensor between layers"):
        layered(g.model(total))


def test_layers_that_compute_something_else_are_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "ROWS", ROWS | {ops.Reverse: lambda site: [site.tensor()]})
    g = Graph()
    with pytest.raises(ExportError, match="compute something else"):
        layered(g.model(g.op(ops.Reverse(), g.build.input("x", (None, 5, 3)))))


def test_nodes_with_the_same_weights_are_one_layer() -> None:
    g = Graph()
    x = g.build.input("x", (None, None, 3))
    first, *_ = g.rnn(ops.Lstm(3), x, name="shared")
    second, *_ = g.rnn(ops.Lstm(3), first, name="again", weights="shared")
    made = layered(g.model(second))
    assert len(made.get_weights()) == 3
    same(g.model(second), made)


def test_weights_used_by_two_ops_are_two_layers() -> None:
    g = Graph()
    x = g.build.input("x", (None, None, 3))
    first, *_ = g.rnn(ops.Lstm(3), x, name="shared")
    second, *_ = g.rnn(ops.Lstm(3, activation=function("relu")), first, name="again", weights="shared")
    made = layered(g.model(second))
    assert len(made.get_weights()) == 6
    same(g.model(second), made)


def test_float64_stays_float64(tmp_path: Path) -> None:
    single = both()
    weights = {name: array.astype("float64") + 1e-12 for name, array in single.every_path().items()}
    given = ProgramModel(single.program, weights, dtype="float64")
    lc.export_model(given, tmp_path / "m.h5")
    back = lc.import_model(tmp_path / "m.h5")
    assert {array.dtype.name for array in back.get_weights()} == {"float64"}
    x = np.random.default_rng(1).normal(size=(2, 6, 3))
    np.testing.assert_allclose(back.predict(x, verbose=0), given.predict(x, verbose=0), rtol=0, atol=1e-14)


def both(change: str = "") -> ProgramModel:
    """Two directions side by side on an axis of their own first, as ONNX has them."""
    g = Graph()
    x = g.build.input("x", (None, 6, 3))
    backward = ops.Lstm(4, activation=function("relu")) if change == "another op" else ops.Lstm(4)
    source = g.op(ops.Activate(function("tanh")), x) if change == "another input" else x
    y, h, _ = g.rnn(ops.Lstm(4), x, name="lstm/forward")
    z, *_ = g.rnn(backward, source if change == "not turned" else g.op(ops.Reverse(), source), name="lstm/backward")
    z = z if change == "not turned back" else g.op(ops.Reverse(), z)
    parts = [g.op(ops.Reshape((-1, 1, 4)), one) for one in ((z, y) if change == "the other first" else (y, z))]
    both = g.op(ops.Reshape((-1, 8)), g.op(ops.Concat(2, 2), *parts))
    more = {"a state is read": [h], "the outputs are read": [y]}.get(change, [])
    return g.model(both, *more)


def test_both_directions_are_one_layer() -> None:
    made = layered(both())
    assert [type(layer).__name__ for layer in made.layers] == ["InputLayer", "Bidirectional"]
    same(both(), made)


@pytest.mark.parametrize(
    "change",
    (
        *("another op", "another input", "not turned", "not turned back"),
        *("the other first", "a state is read", "the outputs are read"),
    ),
)
def test_other_pairs_of_directions_stay_two(change: str) -> None:
    made = layered(both(change))
    assert "Bidirectional" not in {type(layer).__name__ for layer in made.layers}
    same(both(change), made)


@pytest.mark.parametrize("axis", [1, 3])
def test_what_stands_side_by_side_otherwise_stays(axis: int) -> None:
    g = Graph()
    x = g.build.input("x", (None, 4, 3))
    parts = [g.op(ops.Reshape((4, 1, 3)), g.op(ops.Unary(f), x)) for f in ("sin", "cos")]
    model = g.model(g.op(ops.Reshape((-1, 6)), g.op(ops.Concat(axis, 2), *parts)))
    same(model, layered(model))


@pytest.mark.parametrize(("length", "axis"), [(1, 1), (2, 1), (1, 2)])
def test_one_of_what_was_put_side_by_side(length: int, axis: int) -> None:
    """It is taken back where each has length 1, and the slice is along the same axis."""
    g = Graph()
    x = g.build.input("x", (None, length, 1))
    both = g.op(ops.Concat(1, 2), *(g.op(ops.Unary(f), x) for f in ("sin", "cos")))
    model = g.model(g.op(ops.Slice(axis, 0, 1), both))
    made = layered(model)
    assert (len(made.layers) == 2) == ((length, axis) == (1, 1))
    same(model, made)


def masked(zeros: bool) -> ProgramModel:
    g = Graph()
    x, lengths = g.build.input("x", (None, 6, 3)), g.build.input("m", (None, 6), "bool")
    h, c = (g.op(ops.Zeros((4,)), x) for _ in range(2))
    y, h, c = g.op(ops.Lstm(4, zero_output_for_mask=zeros), x, h, c, lengths, None, name="lstm")
    return g.model(y, h)


@pytest.mark.parametrize("zeros", [False, True])
def test_a_mask_that_is_an_input(zeros: bool) -> None:
    given = masked(zeros)
    x = np.random.default_rng(1).normal(size=(3, 6, 3)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0]], bool)
    for y, expected in zip(outputs(layered(given), [x, mask]), outputs(given, [x, mask]), strict=True):
        np.testing.assert_allclose(y, expected, atol=1e-6)


def test_an_exported_model_comes_to_keras_through_onnx(tmp_path: Path) -> None:
    """Without what lstmcore says of it in the file."""
    onnx = pytest.importorskip("onnx")
    model = lc.Sequential([Input((None, 3)), Bidirectional(LSTM(4, return_sequences=True)), GRU(3), Dense(2)])
    lc.export_model(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    proto.ClearField("metadata_props")
    onnx.save(proto, tmp_path / "m.onnx")
    given = lc.import_model(tmp_path / "m.onnx")
    assert isinstance(given, ProgramModel)
    for form in (".keras", ".h5"):
        lc.export_model(given, tmp_path / f"m{form}")
        back = lc.import_model(tmp_path / f"m{form}")
        same(given, back)
        assert {type(layer).__name__ for layer in back.layers} >= {"Bidirectional", "GRU", "Dense"}


def _open_batch() -> ProgramModel:
    g = Graph()
    return g.model(
        g.op(ops.Affine(2), g.build.input("x", (None, 5, 3))), output_names=["y"], batch_axes={"x": 1, "y": 1}
    )


def _no_batch() -> ProgramModel:
    g = Graph()
    y = g.op(ops.Affine(2), g.build.input("x", (None, 5, 3)))
    return g.model(y, output_names=["y"], batch_axes={"x": None, "y": None})


def _folded() -> ProgramModel:
    g = Graph()
    return g.model(g.op(ops.Affine(2), g.op(ops.Fold(), g.build.input("x", (None, 5, 3)))))


def _mixed() -> ProgramModel:
    g = Graph()
    x = g.op(ops.Fold(), g.build.input("x", (None, 5, 4, 3)))
    return g.model(g.op(ops.Last(), x))


def _stateful() -> ProgramModel:
    model = lc.Sequential([Input((4, 3), batch_size=2), LSTM(2, stateful=True)])
    return ProgramModel(model.program, model.every_path())


def _unknown() -> ProgramModel:
    g = Graph()
    a, b = g.build.input("a", (None, 4, 3)), g.build.input("b", (None, 5, 3))
    return g.model(g.op(ops.Einsum("nab,ncb->nac"), a, b, name="scores"))


def _half_a_state() -> ProgramModel:
    g = Graph()
    x, h = g.build.input("x", (None, 4, 3)), g.build.input("h", (None, 2))
    y, *_ = g.op(ops.Lstm(2), x, h, g.op(ops.Zeros((2,)), x), name="lstm")
    return g.model(y)


def _compiled() -> ProgramModel:
    g = Graph()
    model = g.model(g.op(ops.Affine(2), g.build.input("x", (None, 3))))
    model.compile("sgd", "mse")
    return model


REFUSED: dict[Callable[[], ProgramModel], str] = {
    _open_batch: "of 'x' the batch is axis 1, in layers the first; batch_first=True",
    _no_batch: r"of 'x' the file fixes the samples; import_model\(path, batch=0\) or -i batch=0",
    _folded: "leaves it with the steps of all samples as samples",
    _mixed: "Last.* takes the steps of all samples as samples",
    _stateful: "its state .* stays from call to call",
    _unknown: "no layer computes Einsum.* of 'scores'",
    _half_a_state: "one of its states is given, another is zeros",
    _compiled: "compiled=False leaves that out",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__.strip("_"))
def test_what_layers_cannot_hold_is_refused_and_nothing_written(make: Callable[[], Any], tmp_path: Path) -> None:
    for form in (".keras", ".h5"):
        with pytest.raises(ExportError, match=REFUSED[make]):
            lc.export_model(make(), tmp_path / f"m{form}")
    assert not list(tmp_path.iterdir())


def test_without_what_compile_said(tmp_path: Path) -> None:
    model = _compiled()
    lc.export_model(model, tmp_path / "m.keras", compiled=False)
    same(model, lc.import_model(tmp_path / "m.keras"))


def test_the_batch_comes_first_where_that_is_asked_for(tmp_path: Path) -> None:
    model = _open_batch()
    lc.export_model(model, tmp_path / "m.h5", batch_first=True)
    x = np.random.default_rng(3).normal(size=(5, 2, 3)).astype("float32")
    found = lc.import_model(tmp_path / "m.h5").predict(x.swapaxes(0, 1), verbose=0)
    np.testing.assert_allclose(found, model.predict(x, verbose=0).swapaxes(0, 1), atol=1e-6)
    with pytest.raises(ExportError, match="fixes the samples"):
        lc.export_model(_no_batch(), tmp_path / "m.h5", batch_first=True)
