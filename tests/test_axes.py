"""Named axes: patterns, shapes, and the way from one layout to another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcore.axes import contiguous, explain, parse, relayout, shape
from lstmcore.errors import SpecError

SIZES = {"input": 3, "gate": 4, "unit": 2, "part": 1}


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        ("", ()),
        ("unit", (("unit",),)),
        ("input (gate unit)", (("input",), ("gate", "unit"))),
        ("(gate  unit)input", (("gate", "unit"), ("input",))),
        ("(unit)", (("unit",),)),
    ],
)
def test_patterns(pattern: str, groups: tuple[tuple[str, ...], ...]) -> None:
    assert parse(pattern) == groups


@pytest.mark.parametrize("pattern", ["(", ")", "()", "(a", "a)", "(a (b))", "((a) b)", "a a", "(a b) a", "a () b"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(SpecError, match=r"bracket|name stands once"):
        parse(pattern)


def test_shapes_and_words() -> None:
    assert shape("input (gate unit)", SIZES) == (3, 8)
    assert shape("", SIZES) == ()
    assert explain("input (gate unit)", SIZES) == "input 3 × (gate 4 × unit 2)"
    assert explain("(gate unit)", SIZES) == "gate 4 × unit 2"


def test_a_transposition_on_paper() -> None:
    array = np.arange(24).reshape(3, 8)
    assert np.array_equal(relayout(array, "input (gate unit)", "(gate unit) input", SIZES), array.T)


def test_gates_move_as_blocks() -> None:
    """i f c o -> i o f c, each gate two units wide."""
    array = np.array([10, 11, 20, 21, 30, 31, 40, 41])
    moved = relayout(array, "(gate unit)", "(gate unit)", SIZES, ("ifco", "iofc"))
    assert moved.tolist() == [10, 11, 40, 41, 20, 21, 30, 31]


def test_gates_may_run_inside() -> None:
    array = np.array([10, 11, 20, 21, 30, 31, 40, 41])
    moved = relayout(array, "(gate unit)", "(unit gate)", SIZES)
    assert moved.tolist() == [10, 20, 30, 40, 11, 21, 31, 41]


def test_an_axis_of_length_one_comes_and_goes() -> None:
    array = np.arange(8)
    widened = relayout(array, "(gate unit)", "part (gate unit)", SIZES)
    assert widened.shape == (1, 8)
    assert np.array_equal(relayout(widened, "part (gate unit)", "(gate unit)", SIZES), array)


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("unit input", "input unit", r"shape \(3, 8\) is not laid out as .*expected \(2, 3\)"),
        ("input (gate unit)", "input unit", "'gate' .*in only one of"),
    ],
)
def test_layouts_that_do_not_fit(source: str, target: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        relayout(np.zeros((3, 8)), source, target, SIZES)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, str, dict[str, int]]:
    names = draw(st.lists(st.sampled_from(["gate", "unit", "input", "state", "part"]), min_size=1, unique=True))
    sizes = {name: draw(st.integers(1, 4)) for name in names}

    def pattern() -> str:
        words = []
        left = list(draw(st.permutations(names)))
        while left:
            count = draw(st.integers(1, len(left)))
            group, left = left[:count], left[count:]
            words.append(" ".join(group) if count == 1 else f"({' '.join(group)})")
        return " ".join(words)

    return pattern(), pattern(), sizes


@settings(derandomize=True, max_examples=150, deadline=None)
@given(layouts(), st.randoms(use_true_random=False))
def test_there_and_back(case: tuple[str, str, dict[str, int]], random: object) -> None:
    source, target, sizes = case
    gates = "ifco"[: sizes.get("gate", 1)]
    order = "".join(random.sample(gates, len(gates)))  # type: ignore[attr-defined]
    array = np.arange(np.prod(list(sizes.values()))).reshape(shape(source, sizes))
    there = relayout(array, source, target, sizes, (gates, order))
    assert there.shape == shape(target, sizes)
    assert np.array_equal(relayout(there, target, source, sizes, (order, gates)), array)


def test_a_transposed_matrix_is_copied_as_it_is() -> None:
    for dtype in ("float32", "float64"):
        array = np.random.default_rng(2).normal(size=(37, 53)).astype(dtype)
        made = contiguous(array.T)
        assert made.flags.c_contiguous and np.array_equal(made, array.T)
        assert contiguous(array) is array


@pytest.mark.parametrize(
    ("source", "target"), [(f"{part}(gate unit) input", "input (gate unit)") for part in ("", "part ")]
)
def test_gates_of_a_wide_transposed_matrix_are_sorted(source: str, target: str) -> None:
    """More columns than are copied at a time, and a number of them that is no multiple."""
    sizes = {"input": 37, "gate": 4, "unit": 53, "part": 1}
    array = np.random.default_rng(2).normal(size=shape(source, sizes))
    made = relayout(array, source, target, sizes, ("ifco", "iofc"))
    i, f, c, o = np.split(array.reshape(4 * 53, 37).T, 4, axis=1)
    assert made.flags.c_contiguous and np.array_equal(made, np.concatenate([i, o, f, c], axis=1))
