from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.texture import (
    OCTAVES,
    ORIENTATIONS,
    describe_texture,
    oriented_filters,
    texture_distances,
)


def stripes(period: int, along: str = "x", size: int = 64) -> torch.Tensor:
    bright = (torch.arange(size) % period < period // 2).float()
    picture = bright.expand(1, 3, size, size)
    return picture.contiguous() if along == "x" else picture.transpose(2, 3).contiguous()


def test_filters_see_no_flat_light_and_have_one_strength() -> None:
    filters = oriented_filters()
    assert filters.shape == (2 * ORIENTATIONS, 7, 7)
    torch.testing.assert_close(filters.sum((1, 2)), torch.zeros(8), atol=1e-6, rtol=0)
    torch.testing.assert_close(filters.abs().sum((1, 2)), torch.ones(8))


def test_a_flat_picture_has_no_texture() -> None:
    described = describe_texture(torch.full((1, 3, 64, 64), 0.7))
    pairs = 2 * ORIENTATIONS * (2 * ORIENTATIONS + 1) // 2
    assert described.shape == (1, OCTAVES * pairs)
    assert described.abs().max() < 1e-6


def test_the_first_filter_sees_a_slope_as_calculated() -> None:
    slope = 1 / 64
    ramp = (torch.arange(64) * slope).expand(1, 3, 64, 64)
    x = torch.arange(-3, 4, dtype=torch.float64)
    bell = torch.exp(-x.square() / 2)
    # Σ x² g(x) g(y) / Σ |x| g(x) g(y): the sums over y cancel. Reflected borders (3 of 64 columns a side) lower it.
    response = slope * float((x.square() * bell).sum() / (x.abs() * bell).sum())
    first = float(describe_texture(ramp)[0, 0])
    assert 0.95 * response < first < response


def test_distance_of_twice_the_contrast_is_a_third() -> None:
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) / 2
    torch.testing.assert_close(texture_distances(picture, 2 * picture), torch.tensor([[1 / 3]]))


def test_equal_textures_have_no_distance_and_colour_does_not_count() -> None:
    picture = stripes(8)
    tinted = picture * torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1) / 0.587
    distances = texture_distances(picture, torch.cat([picture, tinted, picture.roll(8, 3)]))
    assert distances.max() < 1e-3


def test_width_and_direction_are_told_apart() -> None:
    mine = stripes(8)
    same, turned, wide = texture_distances(mine, torch.cat([mine, stripes(8, "y"), stripes(32)]))[0]
    assert same < 1e-3 and turned > 0.3 and wide > 0.15
    assert max(turned, wide) <= 1


def test_flat_against_textured_is_1_and_flat_against_flat_0() -> None:
    flat = torch.full((1, 3, 64, 64), 0.5)
    assert texture_distances(flat, stripes(8)).item() == pytest.approx(1)
    assert texture_distances(flat, flat).item() == pytest.approx(0, abs=1e-3)


def test_small_pictures_and_other_sizes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 64"):
        describe_texture(torch.rand(1, 3, 64, 63))
    with pytest.raises(InvalidInputError, match="one size"):
        texture_distances(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 128, 128))
