from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.colour import palette_distance, to_lab


@pytest.mark.parametrize(
    ("rgb", "lab"),  # published values (CIE, D65)
    [
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.73, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((0.01, 0.01, 0.01), (0.70, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    torch.testing.assert_close(to_lab(torch.tensor(rgb)), torch.tensor(lab), atol=0.03, rtol=0)


def test_two_flat_pictures_are_half_their_difference_apart() -> None:
    colours = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    white, black = colours[:, :, None, None].expand(-1, -1, 8, 8).split(1)
    # E|cos| of a random direction in three dimensions is 1/2; 2,000 directions leave an error of about 1 %.
    assert float(palette_distance(white, black, directions=2000)) == pytest.approx(50, rel=0.03)
    assert float(palette_distance(white, white)) == 0


def test_where_colours_stand_does_not_matter_and_sizes_may_differ() -> None:
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shuffled = picture.flatten(2)[:, :, torch.randperm(1024)].reshape(1, 3, 32, 32)
    assert float(palette_distance(picture, shuffled)) == pytest.approx(0, abs=1e-4)
    larger = picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float(palette_distance(picture, larger)) < 0.3


def test_amounts_of_colours_matter() -> None:
    half = torch.zeros(1, 3, 8, 8)
    half[..., :4] = 1
    quarter = torch.zeros(1, 3, 8, 8)
    quarter[..., :2] = 1
    full, black = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    pairs = torch.stack([palette_distance(half, other)[0, 0] for other in (half, quarter, full, black)])
    whole = float(palette_distance(full, black))
    torch.testing.assert_close(pairs / whole, torch.tensor([0.0, 0.25, 0.5, 0.5]), atol=1e-3, rtol=0)


def test_a_matrix_of_all_pairs() -> None:
    pictures = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    others = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    matrix = palette_distance(pictures, others)
    assert matrix.shape == (3, 2)
    torch.testing.assert_close(matrix[1:2, 1:2], palette_distance(pictures[1:2], others[1:2]))
    torch.testing.assert_close(matrix.T, palette_distance(others, pictures))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="n, 3, h, w"):
        palette_distance(torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8))
