"""What a stage leaves of the weights in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.ema import StageEMA
from stylecrafter.training.train_config import TrainConfig

CONFIG = TrainConfig(steps=6, learning_rate=1e-3, ema_decay=0.5)


def made(begun: float, config: TrainConfig = CONFIG) -> StageEMA:
    return StageEMA({"w": nn.Parameter(torch.full((2,), begun))}, config)


@torch.no_grad()
def move(ema: StageEMA, *values: float) -> None:
    for value in values:
        ema.parameters["w"].fill_(value)
        ema.update()


def test_the_average_follows_the_weights_and_forgets_its_start() -> None:
    ema = made(-7.0)
    move(ema, 1.0, 2.0, 3.0)
    # Decays 0, 2/11 and 3/12: a short memory at first.
    second = 1 * 2 / 11 + 2 * 9 / 11
    torch.testing.assert_close(ema.weights()["w"].detach(), torch.full((2,), second / 4 + 3 * 3 / 4))
    move(ema, *[3.0] * 30)
    move(ema, 5.0)
    torch.testing.assert_close(ema.weights()["w"].detach(), torch.full((2,), 4.0))
    assert ema.state_dict().keys() == {"ema"}


def test_a_blend_is_a_share_of_the_way() -> None:
    whole, part = made(-1.0), made(-1.0, CONFIG.replace(weight_interpolation=0.25))
    move(whole, 1.0, 2.0)
    move(part, 1.0, 2.0)
    begun = torch.full((2,), -1.0)
    torch.testing.assert_close(part.weights()["w"], begun + 0.25 * (whole.weights()["w"] - begun))


def test_what_is_kept_goes_on_as_it_was() -> None:
    config = CONFIG.replace(weight_interpolation=0.25)
    one, other = made(-1.0, config), made(5.0, config)
    move(one, 1.0, 2.0)
    other.load_state_dict(one.state_dict(), 2)
    for ema in (one, other):
        move(ema, 4.0)
    assert torch.equal(one.weights()["w"], other.weights()["w"])
    state = one.state_dict()
    del state["start"]
    with pytest.raises(InvalidInputError, match="begin anew"):
        other.load_state_dict(state, 3)
