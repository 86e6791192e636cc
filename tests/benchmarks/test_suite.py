"""Every benchmark runs at tiny size, and what it compares is the same where it says so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.machine import ROOT, git
from benchmarks.processes import process_cost
from benchmarks.results import Comparison, Facts, Result, Skipped
from benchmarks.settings import Settings
from benchmarks.suite import animatediff, before, gpu, linear, one_pass, startup, whole_clip

from benchmarks import __main__ as command

TINY = Settings(torch.device("cpu"), size="tiny", repeats=1)


def decibels(result: Any, name: str) -> float:
    return float(re.match(r"(inf|[\d.]+) dB", result.quality[name])[1])  # type: ignore[index]


def test_one_pass_compares_equal_numbers() -> None:
    (result,) = one_pass.run(TINY)
    assert list(result.costs) == ["published", "published, xformers", "ours"]
    for said in result.quality.values():
        assert float(said.removeprefix("differs by ")) < 1e-5


def test_a_whole_clip_is_the_published_one_at_the_same_settings() -> None:
    results = whole_clip.run(TINY)
    assert [result.part for result in results] == ["denoising", "end to end", "end to end"]
    assert decibels(results[1], "ours, the same 3 steps") > 50
    # 150 passes and a little more.
    assert results[2].costs["published"][0].wall > 0 and "150 passes" in results[2].notes[0]


def test_ours_around_animatediff_makes_the_clip_of_diffusers() -> None:
    results = animatediff.run(TINY)
    assert [result.part for result in results] == ["denoising", "end to end"]
    assert decibels(results[1], "ours") > 50


def test_cost_by_size_has_four_sizes_of_each_and_a_plot() -> None:
    results: list[Result] = linear.run(TINY)
    for result, name in zip(results, ("frames", "places"), strict=True):
        assert isinstance(result, Facts)
        assert len([key for key in result.numbers if re.fullmatch(rf"\d+ {name}", key)]) == 4
        assert -1 < result.numbers[f"time grows as {name} to the power of"] < 3
        assert result.plots[f"cost_by_{name}.svg"].lstrip().startswith("<?xml")


def test_the_command_for_a_gpu_can_be_rehearsed() -> None:
    clip, share, memory, _ = gpu.run(TINY)
    assert isinstance(clip, Comparison) and len(clip.costs) >= 3
    assert isinstance(share, Facts) and share.numbers["share"].endswith("%")
    assert isinstance(memory, Facts) and {"2 frames", "4 frames"} <= memory.numbers.keys()


def test_a_revision_that_is_not_there_is_skipped_with_its_reason() -> None:
    with pytest.raises(Skipped, match="no revision nowhere"):
        before.run(Settings(torch.device("cpu"), size="tiny", before="nowhere"))


@pytest.mark.process
def test_starting_is_measured_by_processes_of_its_own() -> None:
    (result,) = startup.run(TINY)
    assert set(result.numbers) >= {"import stylecrafter", "mini is loaded", "stylecrafter generate"}


def test_a_process_that_fails_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="ended with 3: sorry"):
        process_cost(["-c", "import sys; print('sorry', file=sys.stderr); sys.exit(3)"], ROOT)


@pytest.mark.process
def test_now_makes_the_clip_of_the_last_revision() -> None:
    if git("rev-parse", "HEAD") is None:
        pytest.skip("there is no git history here")
    results = before.run(Settings(torch.device("cpu"), size="tiny", repeats=1, before="HEAD"))
    assert [result.part for result in results] == ["denoising", "end to end"] * 2 + ["end to end"]
    assert decibels(results[1], "now") > 50
    assert git("worktree", "list") is not None and "tree (detached" not in str(git("worktree", "list"))


def test_the_command_writes_its_report_and_says_what_it_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["before", "--before", "nowhere", "--size", "tiny", "--out", str(tmp_path)])
    assert "skipped, no revision nowhere" in capsys.readouterr().err
    assert "no revision nowhere" in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one_pas"], "there is no 'one_pas'"),
        (["--repeats", "0"], "at least 1"),
        (["one_pass", "--device", "fridge"], "cpu or cuda"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert said in capsys.readouterr().err


def test_scripts_are_entries_with_their_own_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    for name in command.SCRIPTS:
        with pytest.raises(SystemExit, match="0"):
            command.main([name, "--help"])
        assert name.replace("_", "") and "usage" in capsys.readouterr().out
