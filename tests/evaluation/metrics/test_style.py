from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.style import PARTS, describe_style, descriptor_distances
from stylecrafter.styleworld import splits, world


def style_distances(clips: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Of clips (n, f, 3, h, w) to references (m, 3, h, w): (n, m)."""
    described = torch.stack([describe_style(clip).mean(0) for clip in clips])
    return descriptor_distances(described, describe_style(references))


def flat(*colours: tuple[float, float, float], size: int = 32) -> torch.Tensor:
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, size, size).contiguous()


def test_a_flat_picture_is_described_by_its_colour_alone() -> None:
    # Centres of the cells 6, 1 and 3 of 8.
    [numbers] = describe_style(flat((6.5 / 8, 1.5 / 8, 3.5 / 8)))
    colours, energies, directions = numbers.split(PARTS)
    assert colours.argmax() == 6 * 64 + 1 * 8 + 3 and colours.sum() == pytest.approx(1, abs=1e-5)
    assert energies.abs().max() < 1e-6 and directions.abs().max() < 1e-6


def test_a_colour_between_two_cells_counts_for_both() -> None:
    # Three quarters of the way from the centre of red cell 2 to that of cell 3.
    [numbers] = describe_style(flat((3.25 / 8, 0.5 / 8, 0.5 / 8)))
    cells = numbers[: PARTS[0]].square()
    assert cells[2 * 64] == pytest.approx(0.25, abs=1e-5) and cells[3 * 64] == pytest.approx(0.75, abs=1e-5)


def test_stripes_are_told_by_width_and_direction() -> None:
    columns = torch.arange(64) % 4 < 2
    vertical = columns.float().expand(1, 3, 64, 64)
    horizontal = vertical.transpose(2, 3)
    wide = (torch.arange(64) % 16 < 8).float().expand(1, 3, 64, 64)
    parts = [describe_style(picture)[0].split(PARTS)[1:] for picture in (vertical, horizontal, wide)]
    (across, first), (along, second), (coarse, _) = parts
    assert first[0] == pytest.approx(1) and second[4] == pytest.approx(
        1
    )  # the first is that of gradients along x
    torch.testing.assert_close(across, along)
    assert across.argmax() < coarse.argmax()


def test_what_nobody_sees_changes_nothing() -> None:
    """Flat colours on the border of two cells and edges along the axes are the hard cases."""
    picture = flat((0.25, 0.5, 0.75))
    picture[:, :, 8:24, 8:24] = 0.5
    noisy = (picture + 1e-4 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))).clamp(
        0, 1
    )
    assert (describe_style(noisy) - describe_style(picture)).abs().max() < 0.03
    generator = torch.Generator().manual_seed(5)
    references = world.render(world.sample(12, generator, vocabulary=splits.MEDIUM), 64)[:, 0]
    noise = 1e-4 * torch.randn(references.shape, generator=generator)
    before = style_distances(references[:, None], references)
    after = style_distances((references + noise).clamp(0, 1)[:, None], references)
    assert (after - before).abs().max() < 0.03


def test_distances_are_zero_to_the_reference_itself_and_grow_with_the_difference() -> None:
    references = flat((0.2, 0.2, 0.2), (0.4, 0.2, 0.2), (0.9, 0.2, 0.2))
    distances = style_distances(references[:, None].expand(-1, 3, -1, -1, -1), references)
    assert distances.diagonal().abs().max() < 1e-4
    assert distances[0, 1] < distances[0, 2]


def test_real_renders_are_found_and_plain_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(3)
    styles = world.sample(40, generator, vocabulary=splits.SMALL, split="held_out")
    contents = world.sample(40, generator, vocabulary=splits.SMALL, split="held_out")
    references = world.render(styles, 64)[:, 0]
    own = torch.arange(40)
    rates = []
    for batch in (contents.in_style_of(styles), contents.plain()):
        distances = style_distances(world.render(batch, 64), references)
        # Among ten: each with the nine others of its group.
        groups = distances.masked_fill(own[:, None] // 10 != own // 10, torch.inf)
        rates.append(float((groups.argmin(1) == own).float().mean()))
    assert rates[0] > 0.85 and rates[1] < 0.35


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 32, 32), (1, 3, 8, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="sides of at least 16"):
        describe_style(torch.zeros(shape))


def test_one_reference_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 2"):
        style_distances(torch.zeros(1, 1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
