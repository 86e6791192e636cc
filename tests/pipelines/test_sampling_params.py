"""The one list of knobs: limits, names, and what a further one takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.pipelines.sampling_params import SamplingParams, parse_size
from stylecrafter.pipelines.schedulers import SCHEDULERS
from tests.cli.support import environment
from tests.tiny import tiny_picture, tiny_pipeline


@pytest.mark.parametrize(
    ("text", "size"),
    [("128x96", (128, 96)), (" 64X64 ", (64, 64)), ("512×320", (512, 320)), ("8 x 8", (8, 8))],
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "128",
        "128x",
        "axb",
        "0x64",
        "-64x64",
        "64.5x64",
        "64x64x64",
        "99999x64",
        "9" * 100 + "x64",
        "9" * 5000,
    ]
    + ["64x" + "9" * 5000, "0" * 5000 + "x64", "²x64", "64x64\x00", " " * 5000],
)
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(InvalidInputError, match="WIDTHxHEIGHT"):
        parse_size(text)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": -1}, "seed must be a whole number between 0 and 9223372036854775807, not -1"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 10**30}, "seed .* not a number of very many digits"),
        ({"steps": 0}, "steps must be a whole number between 1 and 999, not 0"),
        ({"steps": 1000}, "999"),
        ({"steps": "3"}, "steps must be a whole number .* not '3'"),
        ({"steps": True}, "steps must be a whole number .* not True"),
        ({"steps": 3.0}, "steps must be a whole number .* not 3.0"),
        ({"frames": 0}, "frames"),
        ({"frames": 10**9}, "frames"),
        ({"fps": 0.0}, "fps must be a number above 0 and at most 240, not 0.0"),
        ({"fps": float("nan")}, "fps"),
        ({"fps": float("inf")}, "fps"),
        ({"fps": True}, "fps"),
        ({"style_scale": float("inf")}, "style scale"),
        ({"style_scale": "1"}, "style scale must be a number between -1000 and 1000, not '1'"),
        (
            {"strength": "strongest"},
            "unknown strength 'strongest'. Did you mean 'strong'.*: light, medium, strong",
        ),
        ({"strength": None}, "strength must be a text, not None"),
        (
            {"strength": "light", "style_scale": 1.0},
            "a strength or a style scale, not both: 'light' .* and 1 is",
        ),
        ({"guidance_rescale": None}, "guidance rescale must be a number between 0 and 1, not None"),
        ({"text_guidance": float("nan")}, "text guidance"),
        ({"style_guidance": 1e9}, "style guidance"),
        ({"guidance_stop": 1.1}, "guidance stop must be a number between 0 and 1, not 1.1"),
        ({"guidance_stop": float("nan")}, "guidance stop"),
        ({"guidance_rescale": -0.1}, "guidance rescale must be a number between 0 and 1, not -0.1"),
        ({"shared_noise": 2}, "shared noise must be a number between 0 and 1, not 2"),
        ({"shared_noise": float("nan")}, "shared noise"),
        ({"style_corners": "yes"}, "style corners must be True or False, not 'yes'"),
        ({"eta": float("-inf")}, "eta"),
        ({"scheduler": "dpm"}, r"Did you mean 'd.*'\? Known: .*ddim"),
        ({"negative_prompt": "a" * 10**6}, "the negative prompt may have up to 50,000"),
        ({"size": (10**400, 64)}, "width must be a whole number between 1 and 16384"),
        ({"size": (64, 0)}, "height must be .* not 0"),
        ({"size": 64}, "size must be WIDTHxHEIGHT or two numbers, not 64"),
        ({"size": (64, 64), "width": 32}, "a size or width and height"),
        ({"nonsense": 1}, "unknown setting 'nonsense'.*Known: .*steps"),
        (
            {"stepz": 1, "fps": 0},
            "unknown setting 'stepz'. Did you mean 'steps'.*; fps must|fps must.*; unknown",
        ),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        SamplingParams(**values)
    with pytest.raises(InvalidInputError, match=says):
        SamplingParams().changed(**values)


def test_right_values() -> None:
    for name in SCHEDULERS:
        SamplingParams(scheduler=name, seed=2**63 - 1, style_scale=0)
    for size in ("32x16", (32, 16), [32, 16]):
        params = SamplingParams(size=size)
        assert (params.width, params.height) == (32, 16)
    given = SamplingParams(
        steps=np.int64(3), fps=np.float32(2.5), eta=torch.tensor(0.5), style_corners=np.bool_(True)
    )
    assert (given.steps, given.fps, given.eta, given.style_corners) == (3, 2.5, 0.5, True)
    assert type(given.steps) is int and type(given.fps) is float


def test_a_strength_and_a_style_scale_take_each_others_place() -> None:
    scaled, named = SamplingParams(style_scale=0.5), SamplingParams(strength="light")
    assert scaled.changed(strength="light") == named and named.changed(style_scale=0.5) == scaled
    assert named.changed(seed=3).strength == "light" and scaled.changed(strength="") == scaled
    assert named.changed(style_scale=None) == named


def test_an_unknown_scheduler_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        SamplingParams(scheduler="magic")


def test_every_scheduler_name_is_a_class_of_diffusers() -> None:
    import diffusers

    for class_name, _ in SCHEDULERS.values():
        assert hasattr(diffusers, class_name)


def test_names_of_a_pipelines_call() -> None:
    params = SamplingParams.from_arguments({"num_frames": 2, "text_guidance_scale": 3, "height": None})
    assert (params.frames, params.text_guidance, params.height) == (2, 3.0, None)
    assert params.arguments()["num_frames"] == 2 and "fps" not in params.arguments()
    assert SamplingParams.from_arguments(params.arguments()) == params
    with pytest.raises(InvalidInputError, match=r"^num_frames must be .*; height must be .*\.$"):
        SamplingParams.from_arguments({"num_frames": 0, "height": 0})


def test_a_models_values_fill_what_is_not_said() -> None:
    defaults = {f"default_{name}": 1 for name, knob in SamplingParams.knobs().items() if knob.of_model}
    defaults |= {"default_published_guidance": False, "default_style_corners": True}
    defaults |= {"default_negative_prompt": "fog"}
    assert SamplingParams(strength="strong").filled(defaults).style_scale is None  # the base model says it
    filled = SamplingParams(steps=7).filled(defaults)
    assert (filled.steps, filled.frames, filled.style_corners) == (7, 1, True)
    assert {name for name, value in filled.values().items() if value is None} == {"seed", "scheduler"}
    del defaults["default_guidance_stop"]  # younger than some models
    assert SamplingParams().filled(defaults).guidance_stop == 1.0
    del defaults["default_steps"]
    with pytest.raises(InvalidInputError, match="default_steps is missing"):
        SamplingParams().filled(defaults)


#: A copy of the list with one more knob takes the place of the list before anything else is imported.
ONE_MORE = """
import sys
from stylecrafter.pipelines import knobs, sampling_params

class More(sampling_params.SamplingParams):
    sparkle: float = knobs.knob("How much it sparkles.", "--sparkle", "sparkle", default=0.25, ge=0, le=1)

sampling_params.SamplingParams = More

from stylecrafter.cli.main import app
from stylecrafter.generation.record import GenerationRecord, read_record

def command(*arguments):
    try:
        app(list(arguments), prog_name="stylecrafter")
    except SystemExit as end:
        assert not end.code, (arguments, end.code)

model, picture = sys.argv[1:]
command("generate", "--help")
command("batch", "--help")
command("generate", "a fox", "--style", picture, "-o", "a.gif", "--model", model, "--sparkle", "0.5")
assert read_record("a.gif").sparkle == 0.5
command("inspect", "a.gif")
command("inspect", "a.gif", "--replay", "b.gif")
assert read_record("b.gif").sparkle == 0.5

from stylecrafter.media.metadata import read_metadata
older = read_metadata("a.gif")
del older["sparkle"]
assert GenerationRecord.from_values(older).sparkle == 0.25

from stylecrafter import StyleCrafterPipeline
import inspect
assert "sparkle" in inspect.signature(StyleCrafterPipeline.__call__).parameters
"""


def test_one_more_knob_is_one_more_field(tmp_path: Path) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    tiny_picture().save(tmp_path / "style.png")
    done = subprocess.run(
        [sys.executable, "-c", ONE_MORE, tmp_path / "model", tmp_path / "style.png"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--sparkle") == 2 and "How much it sparkles." in done.stdout
    assert re.search(r"sparkle +0\.5", done.stdout) and "same frames" in done.stdout
