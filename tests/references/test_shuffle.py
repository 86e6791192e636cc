"""Pictures whose content is scattered."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.references.shuffle import shuffled


def test_colours_stay_and_places_change() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 32, 32)
    pictures[1] = torch.tensor([0.2, 0.5, 0.9])[:, None, None]
    out = shuffled(pictures)
    assert out.shape == pictures.shape
    assert not torch.allclose(out[0], pictures[0], atol=0.1)
    # A picture of one colour is what it was; nothing leaves the range of what was there.
    torch.testing.assert_close(out[1], pictures[1])
    assert out.min() >= pictures.min() and out.max() <= pictures.max()


@pytest.mark.parametrize("side", [16, 33, 224])
def test_every_part_of_a_picture_can_be_taken(side: int) -> None:
    ramp = torch.linspace(0, 1, side)
    picture = torch.stack(
        [ramp.expand(side, side), ramp[:, None].expand(side, side), torch.zeros(side, side)]
    )
    taken = shuffled(picture[None])[0]
    # Both fields of places reach from one edge to the other, without steps between neighbours.
    for axis in (0, 1):
        torch.testing.assert_close(
            taken[axis].aminmax(), (torch.tensor(0.0), torch.tensor(1.0)), atol=1e-5, rtol=0
        )
    assert taken.diff(dim=2).abs().max() < 12 / side


def test_a_seed_says_how() -> None:
    pictures = torch.rand(2, 3, 16, 16)
    assert torch.equal(shuffled(pictures, 3), shuffled(pictures, 3))
    assert not torch.allclose(shuffled(pictures, 3), shuffled(pictures, 4), atol=0.1)
    # Whatever lies beside it.
    assert torch.equal(shuffled(pictures[1:]), shuffled(pictures)[1:])
    before = torch.random.get_rng_state()
    shuffled(pictures)
    assert torch.equal(torch.random.get_rng_state(), before)
