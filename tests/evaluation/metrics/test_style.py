from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.style import describe_style, found_among, style_distances
from stylecrafter.styleworld import splits, world


def flat(*colours: tuple[float, float, float], size: int = 32) -> torch.Tensor:
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, size, size).contiguous()


def test_a_flat_picture_is_described_by_its_colour_alone() -> None:
    [numbers] = describe_style(flat((0.9, 0.3, 0.6)))
    assert numbers.shape == (60,)
    means, deviations, quantiles = numbers[:3], numbers[3:6], numbers[6:21].reshape(3, 5)
    opponent = torch.tensor([0.6, 0.3, 0.0])
    torch.testing.assert_close(means, opponent)
    torch.testing.assert_close(quantiles, opponent[:, None].expand(3, 5), atol=1e-6, rtol=0)
    assert deviations.abs().max() < 1e-6
    histogram = numbers[21:48]  # levels 2, 0 and 1 of 3
    assert histogram.argmax() == 2 * 9 + 0 * 3 + 1 and histogram.sum() == 1
    assert numbers[48:].abs().max() < 1e-6  # no texture, no direction


def test_stripes_are_told_by_width_and_direction() -> None:
    columns = torch.arange(64) % 4 < 2
    vertical = columns.float().expand(1, 3, 64, 64)
    horizontal = vertical.transpose(2, 3)
    wide = (torch.arange(64) % 16 < 8).float().expand(1, 3, 64, 64)
    across, along, coarse = (describe_style(picture)[0, 48:] for picture in (vertical, horizontal, wide))
    assert across[4] > 0.9 and along[4] < 0.1  # the first direction is that of gradients along x
    torch.testing.assert_close(across[:4], along[:4])
    assert across[:4].argmax() < coarse[:4].argmax()


def test_distances_are_zero_to_the_reference_itself_and_grow_with_the_difference() -> None:
    references = flat((0.2, 0.2, 0.2), (0.4, 0.2, 0.2), (0.9, 0.2, 0.2))
    distances = style_distances(references[:, None].expand(-1, 3, -1, -1, -1), references)
    assert distances.diagonal().abs().max() < 1e-4
    assert distances[0, 1] < distances[0, 2]


def test_the_reference_is_found_only_when_it_is_strictly_nearest() -> None:
    distances = torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 3.0], [0.5, 2.0, 0.4]])
    assert found_among(distances, torch.tensor([0, 1, 2]), 3, seed=0).tolist() == [True, False, True]
    assert found_among(distances, torch.tensor([2, 2, 0]), 3, seed=0).tolist() == [False, False, False]


def test_fewer_choices_are_easier() -> None:
    distances = torch.rand(400, 20, generator=torch.Generator().manual_seed(0))
    own = torch.arange(400) % 20
    by_chance = {k: float(found_among(distances, own, k, seed=1).float().mean()) for k in (2, 10, 20)}
    assert by_chance[2] == pytest.approx(0.5, abs=0.08)
    assert by_chance[10] == pytest.approx(0.1, abs=0.05)
    assert by_chance[20] == pytest.approx(0.05, abs=0.035)


def test_real_renders_are_found_and_plain_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(3)
    styles = world.sample(40, generator, vocabulary=splits.SMALL, split="held_out")
    contents = world.sample(40, generator, vocabulary=splits.SMALL, split="held_out")
    references = world.render(styles, 64)[:, 0]
    own = torch.arange(40)
    rates = [
        float(found_among(style_distances(world.render(batch, 64), references), own, 10, 0).float().mean())
        for batch in (contents.in_style_of(styles), contents.plain())
    ]
    assert rates[0] > 0.75 and rates[1] < 0.35


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 32, 32), (1, 3, 8, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="sides of at least 16"):
        describe_style(torch.zeros(shape))


def test_one_reference_and_too_many_choices_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 2"):
        style_distances(torch.zeros(1, 1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    with pytest.raises(InvalidInputError, match="among 4 of 3"):
        found_among(torch.zeros(1, 3), torch.tensor([0]), 4, seed=0)
