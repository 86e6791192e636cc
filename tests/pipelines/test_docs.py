"""docs/generation.md says what is so: its code runs, and no knob is missing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from stylecrafter.pipelines.sampling_params import SamplingParams
from stylecrafter.schedules import __doc__ as schedules
from tests.pages import blocks, run_python, text_of

PAGE = "docs/generation.md"


def test_the_code_runs(tmp_path: Path) -> None:
    assert len(blocks(PAGE, "python")) == 4
    names = run_python(PAGE, tmp_path)
    wanted = dict.fromkeys(("rising", "late", "softer", "both", "closer", "whole"), (1, 4)) | {
        "one_each": (2, 4)
    }
    frames = {name: names[name].frames for name in wanted}
    assert {name: (len(clips), len(clips[0])) for name, clips in frames.items()} == wanted
    assert (np.asarray(frames["closer"][0][0]) != np.asarray(frames["whole"][0][0])).any()


def test_the_code_about_steering_runs_and_every_means_counts(tmp_path: Path) -> None:
    names = run_python("docs/how-to/steering.md", tmp_path)
    made = [names[name].frames[0] for name in ("half", "two", "away", "palette", "rising", "late")]
    assert {len(clip) for clip in made} == {2}
    assert len({clip[0].tobytes() + clip[1].tobytes() for clip in made}) == len(made)


def test_every_knob_is_named_as_python_and_the_command_line_have_it() -> None:
    for name, knob in SamplingParams.knobs().items():
        flags = knob.flag.split("/")[:1] if knob.flag else []
        for spelling in [knob.argument or name, *flags]:
            assert f"`{spelling}" in text_of(PAGE), spelling


def test_every_schedule_is_named() -> None:
    for name in re.findall(r"^(\w+)\(", schedules or "", re.MULTILINE):
        assert f"`{name}" in text_of(PAGE)
