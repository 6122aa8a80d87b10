"""Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot: numbers, masks, shapes, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers, plugins
from lstmcore.errors import LstmcoreError, SpecError
from lstmcore.layers import LSTM, Dot, Embedding, Input, Masking
from lstmcore.models import Model
from lstmcore.program import Builder
from lstmcore.runtime.session import Session

A = np.array([[[1.0, -2.0], [3.0, 4.0]]])
B = np.array([[[5.0, 6.0], [-7.0, 8.0]]])
FIRST, SECOND = np.array([[True, False]]), np.array([[False, False]])
BINARY = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def lowered(layer: Any, inputs: list[Any], masks: list[Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Output and mask, by the reference."""
    build, fed = Builder(), {}

    def placed(name: str, data: Any) -> Any:
        if data is None:
            return None
        fed[name] = data
        return build.input(name, (None, *data.shape[1:]), "bool" if data.dtype == bool else "float")

    values = [placed(f"x{k}", x) for k, x in enumerate(inputs)]
    (y,), mask = layer.lower(build, values, [placed(f"m{k}", m) for k, m in enumerate(masks)])
    program = build.finish([value.name for value in (y, mask) if value is not None])
    outputs, _ = Session(program, plugins.get(plugins.reference()), "float64").run(
        {name: array for name, array in fed.items() if name in program.inputs}
    )
    return outputs[0], outputs[1] if mask is not None else None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Add", [[6.0, 4.0], [-4.0, 12.0]]),
        ("Subtract", [[-4.0, -8.0], [10.0, -4.0]]),
        ("Multiply", [[5.0, -12.0], [-21.0, 32.0]]),
        ("Average", [[3.0, 2.0], [-2.0, 6.0]]),
        ("Maximum", [[5.0, 6.0], [3.0, 8.0]]),
        ("Minimum", [[1.0, -2.0], [-7.0, 4.0]]),
        ("Concatenate", [[1.0, -2.0, 5.0, 6.0], [3.0, 4.0, -7.0, 8.0]]),
    ],
)
def test_on_paper(name: str, expected: Any) -> None:
    y = getattr(layers, name)(dtype="float64")([A, B])
    assert y.tolist() == [expected]
    assert getattr(layers, name.lower())([A, B], dtype="float64").tolist() == [expected]


def test_dot_on_paper() -> None:
    assert Dot(2, dtype="float64")([A, B]).tolist() == [[[-7.0, -23.0], [39.0, 11.0]]]
    assert Dot((1, 2), dtype="float64")([A, B]).tolist() == [[[23.0, 17.0], [14.0, 46.0]]]
    assert Dot(1, dtype="float64")([A[:, 0], B[:, 0]]).tolist() == [[-7.0]]
    assert layers.dot([A[:, 0], B[:, 0]], dtype="float64").tolist() == [[-7.0]]
    x, zero = np.array([[3.0, 4.0]]), np.zeros((1, 2))
    np.testing.assert_allclose(Dot(1, normalize=True, dtype="float64")([x, np.array([[0.0, 2.0]])]), [[0.8]])
    assert Dot(-1, normalize=True)([x, zero]).tolist() == [[0.0]]
    np.testing.assert_allclose(Dot(1, normalize=True, dtype="float64")([np.array([[1e-8, 0]]), x]), [[0.06]])


def test_concatenate_function_takes_an_axis() -> None:
    assert np.array_equal(layers.concatenate([A, B], axis=1, dtype="float64"), np.concatenate([A, B], 1))


@pytest.mark.parametrize(
    ("name", "masks", "expected"),
    [
        ("Add", [FIRST, SECOND], A + B),
        ("Average", [FIRST, None], (A + B) / 2),
        ("Multiply", [FIRST, None], [[[5.0, -12.0], [-7.0, 8.0]]]),
        ("Multiply", [None, SECOND], A),
        ("Multiply", [FIRST, SECOND], [[[1.0, -2.0], [0.0, 0.0]]]),
        ("Maximum", [FIRST, SECOND], [[[1.0, -2.0], [3.0, 4.0]]]),
        ("Maximum", [None, SECOND], A),
        ("Maximum", [SECOND, FIRST], [[[5.0, 6.0], [3.0, 4.0]]]),
        ("Minimum", [SECOND, None], B),
        ("Minimum", [SECOND, SECOND], A),
    ],
)
def test_masked_numbers(name: str, masks: Any, expected: Any) -> None:
    y, _ = lowered(getattr(layers, name)(), [A, B], masks)
    assert y.tolist() == np.asarray(expected).tolist()


def test_the_largest_of_three_from_left_to_right() -> None:
    y, mask = lowered(layers.Maximum(), [A, B, np.zeros((1, 2, 2))], [SECOND, FIRST, ~SECOND])
    assert y.tolist() == [[[5.0, 6.0], [0.0, 0.0]]]
    assert mask is not None and mask.all()


@pytest.mark.parametrize("name", BINARY)
def test_the_mask_is_where_one_counts_and_needs_all(name: str) -> None:
    layer = getattr(layers, name)()
    _, mask = lowered(layer, [A, B], [FIRST, np.array([[False, True]])])
    assert mask is not None and mask.tolist() == [[True, True]]
    for masks in ([FIRST, None], [None, FIRST], [None, None]):
        assert lowered(layer, [A, B], masks)[1] is None


@pytest.mark.parametrize(
    ("axis", "masks", "expected"),
    [
        (-1, [FIRST, SECOND], [[True, False]]),
        (-1, [FIRST, None], [[True, True]]),
        (1, [FIRST, SECOND], [[True, False, False, False]]),
        (-2, [None, FIRST], [[True, True, True, False]]),
        (1, [None, None], None),
    ],
)
def test_the_mask_of_a_concatenation_follows_the_numbers(axis: int, masks: Any, expected: Any) -> None:
    x = np.array([[[0.0, np.nan], [0.0, 0.0]]])
    y, mask = lowered(layers.Concatenate(axis), [x, B], masks)
    assert np.array_equal(y, np.concatenate([x, B], axis), equal_nan=True)
    assert (None if mask is None else mask.tolist()) == expected


def test_dot_ends_a_mask_and_says_so() -> None:
    x = Masking(name="masks")(Input((3, 2), name="x"))
    y = Dot(2, name="together")([x, x])
    assert y.mask is None
    assert "together: ends the mask" in str(Model(x.call.first, y).explain())


@pytest.mark.parametrize(
    "shapes",
    [
        [(4, 6, 5), (4, 5)],
        [(4, 5), (4, 6, 5)],
        [(4,), (4, 6, 5)],
        [(4, 2, 6, 5), (4, 6, 5), (4, 5)],
        [(4, 2, 3, 6, 5), (4, 3, 6, 5)],
        [(4, 6, 1), (4, 1, 5)],
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_fewer_axes_grow_after_the_batch_also_where_all_lengths_are_open(shapes: Any, known: bool) -> None:
    arrays = [numbers(*shape, seed=k) for k, shape in enumerate(shapes)]
    rank = max(map(len, shapes))
    aligned = [x.reshape(len(x), *[1] * (rank - x.ndim), *x.shape[1:]) for x in arrays]
    inputs = [Input(shape[1:] if known else [None] * (len(shape) - 1), dtype="float64") for shape in shapes]
    model = Model(inputs, layers.Add(dtype="float64")(inputs))
    np.testing.assert_allclose(model.predict(arrays), sum(aligned), rtol=1e-12)


def test_one_input_is_enough() -> None:
    for name in ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
        assert np.array_equal(getattr(layers, name)(dtype="float64")([A]), A)


def test_token_ids_are_concatenated() -> None:
    a, b = Input((2,), dtype="int32"), Input((1,), dtype="int32")
    embed = Embedding(5, 3)
    model = Model([a, b], embed(layers.Concatenate()([a, b])))
    y = model.predict([np.array([[1, 2]]), np.array([[4]])])
    assert np.array_equal(y[0], embed.get_weights()[0][[1, 2, 4]])


def everything(dtype: str) -> Model:
    a, b = Input((None, 4), name="a", dtype=dtype), Input((None, 4), name="b", dtype=dtype)
    c = Input((4,), name="c", dtype=dtype)
    kept = {"dtype": dtype}
    x, z = Masking(**kept)(a), Masking(**kept)(b)
    made = [getattr(layers, name)(name=name, **kept)([x, z]) for name in BINARY]
    made.append(layers.Multiply(**kept)([a, c]))
    y = layers.Concatenate(**kept)([*made, layers.Add(**kept)([c, a])])
    y = LSTM(3, return_sequences=True, **kept)(layers.Concatenate(1, **kept)([y, y]))
    attended = Dot((2, 1), normalize=True, **kept)([Dot((2, 2), **kept)([y, y]), y])
    return Model([a, b, c], [y, attended])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_backend_agrees(dtype: str) -> None:
    a, b = numbers(3, 5, 4), numbers(3, 5, 4, seed=1)
    a[0, 2:], b[0, 3:], b[1] = 0, 0, 0
    comparison = lc.compare(everything(dtype), {"a": a, "b": b, "c": numbers(3, 4)})
    assert comparison.ok and len(comparison.rows) >= 3, str(comparison)


def test_a_saved_model_computes_the_same(tmp_path: Path) -> None:
    model = everything("float32")
    x = [numbers(2, 5, 4), numbers(2, 5, 4, seed=1), numbers(2, 4)]
    model.save(tmp_path / "m.safetensors")
    again = lc.load_model(tmp_path / "m.safetensors")
    for y, z in zip(model.predict(x), again.predict(x), strict=True):
        assert np.array_equal(y, z)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: layers.Add()(Input((3, 4))), "expected a list"),
        (lambda: layers.Add()({"a": Input((3, 4))}), "expected a list"),
        (lambda: layers.Add()([Input((3, 4)), Input((3, 5))]), "cannot be broadcast"),
        (lambda: layers.Add()([Input((3, 4)), Input((3,))]), "do not go together"),
        (lambda: layers.Add()([Input(batch_shape=(2, 3)), Input(batch_shape=(4, 3))]), "different batch sizes"),
        (lambda: layers.Subtract()([Input((3,))] * 3), "3 tensors, of shapes"),
        (lambda: layers.Subtract()([Input((3,))]), "expected 2"),
        (lambda: layers.Concatenate()([Input((3, 4)), Input((4,))]), "cannot follow"),
        (lambda: layers.Concatenate(1)([Input((3, 4)), Input((3, 5))]), "cannot follow"),
        (lambda: layers.Concatenate(0)([Input((3, 4))] * 2), "axis 0 is not one of the axes after the batch"),
        (lambda: layers.Concatenate(-4)([Input((3, 4))] * 2), "axis -4 is not one of the axes"),
        (lambda: Dot(0)([Input((3, 4))] * 2), "axis 0 is not one of the axes after the batch"),
        (lambda: Dot(2)([Input((3, 4)), Input((4,))]), "axis 2 is not one of the axes"),
        (lambda: Dot(1)([Input((None, 4)), Input((3, 4))]), "has length None"),
        (lambda: Dot((1, 2))([Input((3, 4)), Input((3, 4))]), "expected the same length"),
        (lambda: Dot(1)([Input((3,))]), "expected 2"),
        (lambda: Dot((1, 2, 1)), "expected one axis, or one for each of two inputs"),
        (lambda: Dot(True), "axes is True"),
        (lambda: Dot(1.0), "axes is 1.0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


@pytest.mark.parametrize(
    ("layer", "shapes", "masks", "told"),
    [
        (layers.Add(), [(3, 4), (4,)], [(3,), ()], "the same number of axes"),
        (layers.Multiply(), [(2, 3, 4), (2, 3, 4)], [(2,), (2,)], "expected one of all axes but the last"),
        (layers.Maximum(), [(2, 3, 4), (2, 3, 4)], [(2,), (2,)], "expected one of all axes but the last"),
        (layers.Concatenate(), [(2, 3, 4), (2, 3, 4)], [(2,), None], "expected one of all axes but the last"),
    ],
)
def test_masks_that_do_not_fit_are_refused(layer: Any, shapes: Any, masks: Any, told: str) -> None:
    ones = [np.ones((2, *shape)) for shape in shapes]
    with pytest.raises(SpecError, match=told):
        lowered(layer, ones, [None if m is None else np.ones((2, *m), bool) for m in masks])


@pytest.mark.parametrize("mask", [FIRST, [FIRST]])
def test_one_mask_for_two_inputs_is_refused(mask: Any) -> None:
    with pytest.raises(LstmcoreError, match="for 2 inputs; expected a list"):
        layers.Add()([A, B], mask=mask)
