"""What a stage leaves of the weights in training."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.ema import WeightAverage
from stylecrafter.training.train_config import TrainConfig, ema_decay_at

CONFIG = TrainConfig(steps=6, learning_rate=1e-3, ema_decay=0.5)


def moved(average: WeightAverage) -> None:
    """Two steps that bring the weight from 0 to 1 and 2."""
    for step, value in enumerate((1.0, 2.0)):
        average.parameters["w"].fill_(value)
        average.update(step)


def test_the_average_forgets_its_start() -> None:
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1)
    assert ema_decay_at(10**6, 0.999) == 0.999


def test_the_average_follows_the_weights() -> None:
    average = WeightAverage({"w": torch.zeros(2)}, CONFIG)
    moved(average)
    # Decays 1/10 and 2/11: 0.9, then 0.9 * 2/11 + 2 * 9/11.
    expected = 0.9 * 2 / 11 + 2 * 9 / 11
    torch.testing.assert_close(average.weights()["w"], torch.full((2,), expected))
    assert average.state_dict().keys() == {"average"}


def test_a_blend_is_a_share_of_the_way() -> None:
    begun = torch.full((2,), -1.0)
    whole = WeightAverage({"w": begun.clone()}, CONFIG)
    part = WeightAverage({"w": begun.clone()}, CONFIG.replace(blend=0.25))
    moved(whole)
    moved(part)
    torch.testing.assert_close(part.weights()["w"], begun + 0.25 * (whole.weights()["w"] - begun))


def test_a_blend_keeps_what_it_began_with() -> None:
    config = CONFIG.replace(blend=0.25)
    one, other = (WeightAverage({"w": torch.full((2,), begun)}, config) for begun in (-1.0, 5.0))
    moved(one)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.weights()["w"], other.weights()["w"])
    state = one.state_dict()
    del state["begun_with"]
    with pytest.raises(InvalidInputError, match="begin anew"):
        other.load_state_dict(state)
