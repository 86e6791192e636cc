from __future__ import annotations

import pytest

from stylecrafter.cli.options import make_settings
from stylecrafter.errors import InvalidInputError
from tests.cli.support import assert_one_line_error, invoke


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(
        InvalidInputError, match=r"^seed must .*; prompt must .*; unknown setting 'nonsense'[^;]*\.$"
    ):
        make_settings(styles=[], size=None, prompt=3, seed="many", nonsense=1)


def test_numbers_of_any_length_are_one_short_line() -> None:
    for option, number in (
        ("--seed", "9" * 30),
        ("--seed", "9" * 5000),
        ("--steps", "9" * 4000),
        ("--size", "9" * 5000 + "x64"),
        ("--fps", "nan"),
        ("--fps", "1e400"),
        ("--style-scale", "inf"),
        ("--text-guidance", "-inf"),
    ):
        result = invoke("generate", "a fox", "--style", "a.png", "-o", "a.mp4", option, number)
        assert_one_line_error(result)
        assert len(result.stderr) < 5000
