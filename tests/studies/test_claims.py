from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import MetricInfo
from stylecrafter.evaluation.runner import ClipResult, Evaluation
from stylecrafter.studies.claims import Claim, check_claims

OBJECT = MetricInfo("object_right", "object", "higher", 0.0, 1.0, "a test")
FLICKER = MetricInfo("flicker", "flicker", "lower", 0.0, None, "a test")


def run(name: str, right: float, flicker: float, first: int = 0) -> Evaluation:
    clips = tuple(
        ClipResult(f"{i:04d}", "a fox", (f"s{i}.png",), f"{i:04d}.png", "ab" * 32,
                   {"object_right": right + (i % 3) / 100, "flicker": flicker + (i % 2) / 100})
        for i in range(first, first + 12)
    )  # fmt: skip
    return Evaluation(name, Path("nowhere"), (OBJECT, FLICKER), clips, {})


RUNS = {"a": run("a", 0.9, 0.3), "b": run("b", 0.5, 0.1), "c": run("c", 0.9, 0.3)}


def verdicts(*claims: Claim) -> list[tuple[str, str]]:
    return [(row[3], row[-1]) for row in check_claims(claims, RUNS, "Claims").rows]


def test_directions_are_those_of_the_scores() -> None:
    assert verdicts(Claim("4", "a", "b", "text", "better")) == [("object", "holds")]
    assert verdicts(Claim("4", "b", "a", "text", "better")) == [("object", "reversed")]
    assert verdicts(Claim("4", "b", "a", "text", "worse")) == [("object", "holds")]
    # Less flicker is better.
    assert verdicts(Claim("5", "b", "a", "temporal", "better")) == [("flicker", "holds")]
    assert verdicts(Claim("5", "a", "b", "temporal", "better")) == [("flicker", "reversed")]
    assert verdicts(Claim("5", "a", "c", "text", "better")) == [("object", "not seen")]


def test_a_row_says_by_how_much(tmp_path: Path) -> None:
    claim = Claim("4", "a", "b", "text", "better", (0.3, 0.1))
    (row,) = check_claims([claim], RUNS, "Claims").rows
    assert row[:5] == (
        "4",
        "a better than b in text",
        "0.3 against 0.1",
        "object",
        "+0.400 (+0.400 to +0.400)",
    )


def test_claims_about_runs_that_are_not_there_are_left_out() -> None:
    assert not verdicts(Claim("4", "a", "z", "text", "better"))
    with pytest.raises(InvalidInputError, match="no entry in common"):
        check_claims(
            [Claim("4", "a", "z", "text", "better")], {**RUNS, "z": run("z", 1, 1, first=50)}, "Claims"
        )
