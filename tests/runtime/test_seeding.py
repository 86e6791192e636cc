from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.runtime.seeding import MAX_SEED, check_seed, draw_seed, make_generator


def test_drawn_seeds_differ_and_are_valid() -> None:
    seeds = {draw_seed() for _ in range(20)}
    assert len(seeds) > 15
    assert all(check_seed(seed) == seed for seed in seeds)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_range(seed: int) -> None:
    with pytest.raises(InvalidInputError, match=str(MAX_SEED)):
        make_generator(seed)


@pytest.mark.parametrize("seed", [0, 7, MAX_SEED])
def test_generator(seed: int) -> None:
    first, second = (torch.randn(4, generator=make_generator(seed)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.randn(4, generator=make_generator(seed - 1 if seed else 1)))
    assert make_generator(seed).device.type == "cpu"
