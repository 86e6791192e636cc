"""Masks and pictures of a negative style, as a job reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.generation.settings import GenerationSettings, prepare
from stylecrafter.generation.steering import MAX_PICTURES, Steering, read_steering
from tests.tiny import tiny_picture


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    tiny_picture(0, 24, 16).convert("L").save(path)
    return path


def test_nothing_is_nothing() -> None:
    assert read_steering((), (), [None] * 3) == Steering()
    assert set(Steering().arguments().values()) == {None}


def test_what_is_recorded_and_what_the_pipeline_gets(mask: Path, tmp_path: Path) -> None:
    read = read_steering([mask], [mask, mask], [None] * 2)
    assert read.files == [mask] * 3
    recorded = read.recorded(tmp_path / "out.mp4")
    assert [(r.name, r.path, r.weight) for r in recorded["style_masks"]] == [("mask.png", "mask.png", 1.0)]
    assert len(recorded["negative_styles"]) == len(read.arguments()["negative_style_images"]) == 2


def test_numbers_of_masks(mask: Path) -> None:
    assert len(read_steering([mask] * 3, (), [None] * 3).masks) == 3
    for masks, styles, says in ((2, 3, "2 masks for 3 pictures"), (1, 0, "needs a style picture")):
        with pytest.raises(InvalidInputError, match=says):
            read_steering([mask] * masks, (), [None] * styles)
    with pytest.raises(InvalidInputError, match=f"up to {MAX_PICTURES} negative style pictures, not 65"):
        read_steering((), [mask] * 65, [None])
    with pytest.raises(ImageReadError, match=r"none\.png"):
        read_steering((), [mask.with_name("none.png")], [None])


def test_a_mask_of_other_proportions_is_found_before_the_model_is_loaded(
    mask: Path, tiny_model: Path
) -> None:
    settings = GenerationSettings(
        prompt="a fox", styles=[{"path": mask}], style_masks=[mask], model=str(tiny_model)
    )
    assert len(prepare(settings, ".mp4").steering.masks) == 1
    with pytest.raises(
        InvalidInputError, match=r"mask\.png: a style mask of 24x16 does not fit a clip of 16x16"
    ):
        prepare(settings.changed(width=16, height=16), ".mp4")
