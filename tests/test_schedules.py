"""Weights over frames and steps."""

from __future__ import annotations

import math

import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.schedules import Schedule, constant, ease, keyframes, linear, parse, weights, window


def test_shapes_of_the_schedules() -> None:
    assert constant(0.5).at(3) == (0.5, 0.5, 0.5)
    assert linear(1, 0).at(5) == (1, 0.75, 0.5, 0.25, 0)
    assert window(0.25, 0.5).at(5) == (0, 1, 1, 0, 0)
    assert keyframes((0.25, 2), (0.75, 0)).at(5) == (2, 2, 1, 0, 0)


def test_ease_is_slow_at_both_ends() -> None:
    values = ease(2, 4).at(5)
    assert (values[0], values[2], values[4]) == (2, 3, 4)
    steps = [b - a for a, b in zip(values, values[1:], strict=False)]
    assert 0 < steps[0] < steps[1] and steps[3] < steps[2]


def test_a_single_moment_is_the_first() -> None:
    assert linear(0.3, 9).at(1) == (0.3,)


def test_weights_of_a_sequence_a_schedule_or_nothing() -> None:
    assert weights([1, 0.5], 2, "frame") == (1.0, 0.5)
    assert weights(linear(0, 1), 3, "frame") == (0.0, 0.5, 1.0)
    assert weights(None, 2, "step") == (1.0, 1.0)
    with pytest.raises(InvalidInputError, match="per frame, 3, got 2"):
        weights([1, 2], 3, "frame")
    with pytest.raises(InvalidInputError, match="finite"):
        weights([1, math.nan], 2, "frame")


@pytest.mark.parametrize("points", [(), ((0.5, 1), (0.5, 2)), ((0.0, 1), (1.5, 2)), ((-0.1, 1),)])
def test_keyframes_must_rise_within_the_clip(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(InvalidInputError, match="rising"):
        keyframes(*points)


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.4), (-0.1, 1.0), (0.0, 1.1)])
def test_windows_lie_within_the_clip(start: float, end: float) -> None:
    with pytest.raises(InvalidInputError, match="0 <= start <= end <= 1"):
        window(start, end)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_values_are_finite(value: float) -> None:
    for build in (lambda: constant(value), lambda: linear(0, value), lambda: ease(value, 0)):
        with pytest.raises(InvalidInputError, match="finite"):
            build()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0.8", constant(0.8)),
        ("constant(0.8)", constant(0.8)),
        ("0:0,0.5:1,1:0", keyframes((0, 0), (0.5, 1), (1, 0))),
        (" 0 : 1 , 1 : 0.5 ", keyframes((0, 1), (1, 0.5))),
        ("linear(0,1)", linear(0, 1)),
        ("ease( 2, 4 )", ease(2, 4)),
        ("window(0.25, 0.5)", window(0.25, 0.5)),
    ],
)
def test_schedules_have_texts(text: str, same: Schedule) -> None:
    assert parse(text).at(9) == same.at(9) == weights(text, 9, "frame")


@pytest.mark.parametrize(
    "text", ["slowly", "0:0,1", "0:a", "1:2:3", "linear(0)", "linear(0,a)", "steps(1,2)", "0.5,1", "window()"]
)
def test_texts_that_are_no_schedules(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"a number \(0.8\), points MOMENT:WEIGHT"):
        parse(text)


def test_numbers_in_texts_are_checked_as_anywhere() -> None:
    for text, says in (
        ("1:0,0:1", "rising"),
        ("nan", "finite"),
        ("window(0.5,0.2)", "0 <= start <= end <= 1"),
    ):
        with pytest.raises(InvalidInputError, match=says):
            parse(text)
