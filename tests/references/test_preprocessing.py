"""The steps from a style picture to pixels against the published ones, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil

from stylecrafter.references.crops import with_corners
from stylecrafter.references.preprocessing import (
    crop_for_clip,
    crop_square,
    normalise_for_clip,
    resize_with_blur,
)
from tests.golden import regenerate
from tests.golden.support import expected


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(regenerate.picture(width, height))


def close(actual: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-5)


def test_pixels_of_a_picture_that_is_blurred_along_one_axis_only() -> None:
    whole = torch.from_numpy(regenerate.picture(300, 200)).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    pixels = normalise_for_clip((resize_with_blur(whole, 224) + 1) / 2)
    close(pixels, expected("full/clip_image")["pixels_300x200"])


@pytest.mark.parametrize("size", [(40, 24), (24, 40), (24, 24), (1, 9), (333, 331)])
def test_the_square_comes_from_the_middle(size: tuple[int, int]) -> None:
    square = crop_square(Image.new("RGB", size, (255, 0, 0)), 24)
    assert square.shape == (3, 24, 24)
    assert (square[0] == 1).all() and (square[1:] == 0).all()


def test_the_middle_is_the_middle() -> None:
    wide = Image.new("RGB", (72, 24))
    wide.paste((255, 255, 255), (24, 0, 48, 24))
    assert (crop_square(wide, 24) == 1).all()


def test_a_picture_comes_before_its_corners() -> None:
    wide = picture(90, 60)
    whole, *corners = with_corners(wide, 32)
    assert whole is wide
    assert [corner.size for corner in corners] == [(32, 32)] * 4
    pixels = [np.asarray(corner, np.float32) for corner in corners]
    assert all(np.abs(a - b).mean() > 1 for i, a in enumerate(pixels) for b in pixels[i + 1 :])


def test_corners_of_a_strip_are_cut_from_its_middle() -> None:
    # Strips of any length would be brought to size whole otherwise, and take gigabytes.
    strip = Image.new("RGB", (3000, 1), (0, 0, 255))
    strip.paste((255, 0, 0), (1400, 0, 1600, 1))
    corners = with_corners(strip, 32)[1:]
    assert all((np.asarray(corner) == (255, 0, 0)).all() for corner in corners)


@pytest.mark.parametrize("size", [(300, 200), (201, 300), (40, 97), (24, 24)])
def test_pixels_of_published_adapters_are_those_of_clips_own_processor(size: tuple[int, int]) -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    wanted = processor(images=picture(*size), return_tensors="pt").pixel_values
    close(normalise_for_clip(crop_for_clip(picture(*size), 32)[None]), wanted)
