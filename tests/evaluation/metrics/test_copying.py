from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.copying import copying
from stylecrafter.styleworld import splits, world


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    batch = world.sample(12, torch.Generator().manual_seed(3), vocabulary=splits.SMALL, styled=False)
    return world.render(batch, 64)[:, 0]


def test_a_copy_has_1_and_so_has_its_mirror_image(pictures: torch.Tensor) -> None:
    torch.testing.assert_close(copying(pictures, pictures).diagonal(), torch.ones(12))
    torch.testing.assert_close(copying(pictures.flip(3), pictures).diagonal(), torch.ones(12))


def test_other_colours_do_not_hide_a_copy(pictures: torch.Tensor) -> None:
    assert copying(1 - pictures, pictures).diagonal().min() > 0.999


def test_a_moved_copy_is_found(pictures: torch.Tensor) -> None:
    moved = pictures.roll((6, -9), (2, 3))
    same = copying(moved, pictures).diagonal()
    others = copying(moved, pictures)[~torch.eye(12, dtype=torch.bool)]
    assert same.min() > others.mean() + 0.15 and same.mean() > 0.6


def test_a_moved_square_is_found_in_full() -> None:
    # Hand-made case without borders: one square, moved by (8, 4) within flat light, keeps all of its edges.
    square = torch.zeros(1, 3, 64, 64)
    square[..., 20:36, 20:36] = 1
    assert copying(square.roll((8, 4), (2, 3)), square).item() > 0.95


def test_unrelated_pictures_and_noise_are_lower(pictures: torch.Tensor) -> None:
    noise = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert copying(noise, pictures).max() < 0.35
    others = copying(pictures, pictures)[~torch.eye(12, dtype=torch.bool)]
    assert others.mean() < 0.5


def test_flat_pictures_copy_nothing(pictures: torch.Tensor) -> None:
    flat = torch.full((1, 3, 64, 64), 0.3)
    assert copying(flat, pictures).abs().max() == 0 and copying(flat, flat).item() == 0


def test_sizes_may_differ_and_other_shapes_are_refused(pictures: torch.Tensor) -> None:
    large = torch.nn.functional.interpolate(pictures[:1], (128, 128), mode="bilinear")
    assert copying(large, pictures[:1]).item() > 0.9
    with pytest.raises(InvalidInputError, match="is needed"):
        copying(pictures[0], pictures)
