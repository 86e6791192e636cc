"""Turns, ratios, exponents and what is written of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from benchmarks.measure import Cost, Spread, exponent, psnr, ratios, taking_turns
from benchmarks.results import Comparison, Facts, write_report

CPU = torch.device("cpu")


def test_calls_take_turns_in_alternating_order_after_one_round_that_does_not_count() -> None:
    called: list[str] = []
    runs = {name: lambda name=name: called.append(name) for name in "ab"}
    costs = taking_turns(runs, 3, CPU)
    assert "".join(called) == "ab" + "ab" + "ba" + "ab"
    assert {name: len(of) for name, of in costs.items()} == {"a": 3, "b": 3}
    assert all(cost.wall > 0 and cost.cpu >= 0 for of in costs.values() for cost in of)


def test_the_time_of_the_processor_is_that_of_the_work() -> None:
    def work() -> None:
        for _ in range(200_000):
            pass

    costs = taking_turns({"little": work, "much": lambda: [work() for _ in range(20)]}, 3, CPU)
    assert ratios(costs["much"], costs["little"], "cpu").median > 5


def test_ratios_come_from_pairs() -> None:
    slow, quick = [Cost(4, 2), Cost(8, 4)], [Cost(2, 2), Cost(1, 1)]
    assert ratios(slow, quick) == Spread(5, 2, 8)
    assert ratios(slow, quick, "cpu") == Spread(2.5, 1, 4)


def test_costs_of_parts_add_up() -> None:
    assert Cost(1, 2, 10) * 3 + Cost(1, 1, 20) == Cost(4, 7, 20)
    assert Cost(1, 2) + Cost(1, 1) == Cost(2, 3, None)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(power: float) -> None:
    sizes = [4.0, 8.0, 16.0, 32.0]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_psnr_of_clips() -> None:
    assert psnr(torch.zeros(4), torch.full((4,), 0.1)) == pytest.approx(20)
    assert math.isinf(psnr(torch.ones(3), torch.ones(3)))


def test_a_report_has_every_run_in_json_and_the_ratios_in_markdown(tmp_path: Path) -> None:
    costs = {"theirs": [Cost(4, 4, 2**30)], "ours": [Cost(1, 2, 2**29)]}
    results = [
        Comparison("A clip", "denoising", costs, {"ours": "60 dB"}, ["computed"]),
        Facts("Cost", {"16 frames": "1 s"}, (), {"cost.svg": "<svg/>"}),
    ]
    write_report(tmp_path / "new", {"commit": "abc"}, results, {"before": "no history"})
    said = json.loads((tmp_path / "new" / "results.json").read_text())
    assert said["machine"] == {"commit": "abc"} and said["skipped"] == {"before": "no history"}
    assert said["results"][0]["runs"]["ours"] == [{"wall": 1, "cpu": 2, "peak": 2**29}]
    assert said["results"][0]["faster"]["ours"]["wall"] == {"median": 4.0, "low": 4.0, "high": 4.0}
    text = (tmp_path / "new" / "results.md").read_text()
    assert (
        "### A clip: denoising" in text
        and "| ours | 1 (1–1) | 2 (2–2) | 4 (4–4) | 2 (2–2) | 0.50 GiB | 60 dB |" in text
    )
    assert "no history" in text and (tmp_path / "new" / "cost.svg").read_text() == "<svg/>"
