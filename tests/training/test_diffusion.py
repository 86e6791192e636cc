"""Timesteps, noise and the mix, against their formulas."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.training.diffusion import (
    clip_noise,
    clip_steps_before,
    draw_timesteps,
    scale_logits_penalty,
)


@pytest.mark.parametrize(
    ("middle", "inner", "low"), [(0.0, 0.5, 0.1), (1.0, 0.728, 0.014), (0.5, 0.614, 0.057)]
)
def test_timesteps_follow_their_distribution(middle: float, inner: float, low: float) -> None:
    drawn = draw_timesteps(4000, 1000, middle, torch.Generator().manual_seed(0))
    assert drawn.min() >= 0 and drawn.max() <= 999
    # The part in 250 … 750: a half, or the normal mass within +- ln 3.
    part = ((drawn >= 250) & (drawn < 750)).float().mean().item()
    assert part == pytest.approx(inner, abs=0.01)
    # Below 100: a tenth, or the normal mass under -ln 9.
    assert (drawn < 100).float().mean().item() == pytest.approx(low, abs=0.003)
    assert not torch.equal(drawn, drawn.sort().values)


def test_a_shift_moves_timesteps_to_noisier_ones() -> None:
    drawn = draw_timesteps(4000, 1000, 0.0, torch.Generator().manual_seed(0), shift=4.0)
    plain = draw_timesteps(4000, 1000, 0.0, torch.Generator().manual_seed(0))
    # A uniform t below a fifth comes below a half: 4 x 0.2 / (1 + 3 x 0.2) = 0.5.
    assert (drawn < 500).float().mean().item() == pytest.approx(0.2, abs=0.002)
    assert drawn.min() >= 0 and drawn.max() <= 999
    moved = 4 * plain / (1000 + 3 * plain) * 1000
    assert (drawn - moved).abs().max() < 5


@pytest.mark.parametrize("ratio", [0.0, 0.06, 0.2, 1 / 3, 0.8, 1.0])
def test_clips_are_spread_evenly(ratio: float) -> None:
    before = [clip_steps_before(step, ratio) for step in range(10_001)]
    assert before[0] == 0 and before[-1] == pytest.approx(10_000 * ratio, abs=1)
    assert all(0 <= late - early <= 1 for early, late in zip(before, before[1:], strict=False))
    assert all(abs(count - step * ratio) <= 1.02 for step, count in enumerate(before))


def test_scale_penalty_by_hand() -> None:
    assert scale_logits_penalty(torch.ones(2, 3)).item() == 0
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]], requires_grad=True)
    penalty = scale_logits_penalty(1 + logits.tanh())
    assert penalty.item() == pytest.approx((0.25 + 1 + 4) / 4, abs=1e-4)
    penalty.backward()
    torch.testing.assert_close(logits.grad, logits.detach() / 2, atol=1e-3, rtol=0)
    assert scale_logits_penalty(torch.tensor([[2.0, 0.0]])).isfinite()


def test_frames_of_a_clip_share_a_part_of_their_noise() -> None:
    shape = (3000, 1, 3, 4, 4)
    noise = clip_noise(shape, 0.8, torch.Generator().manual_seed(0))
    assert noise.shape == shape and noise.std().item() == pytest.approx(1, abs=0.01)
    # Parts are uniform in 0 ... 0.8, and the covariance of two frames is the part.
    between = (noise[:, :, 0] * noise[:, :, 2]).mean((1, 2, 3))
    assert between.mean().item() == pytest.approx(0.4, abs=0.02)
    low, high = between.quantile(0.2).item(), between.quantile(0.8).item()
    assert low < 0.2 and high > 0.6, "every clip has a part of its own"
    assert (noise[0] * noise[1]).mean().abs() < 0.5, "clips share nothing with each other"


@pytest.mark.parametrize(("frames", "shared"), [(1, 0.8), (3, 0.0)])
def test_pictures_and_clips_that_share_nothing_have_the_noise_they_had(frames: int, shared: float) -> None:
    shape = (2, 4, frames, 3, 3)
    noise = clip_noise(shape, shared, torch.Generator().manual_seed(4))
    assert torch.equal(noise, torch.randn(shape, generator=torch.Generator().manual_seed(4)))


def test_an_offset_is_one_number_for_a_whole_channel() -> None:
    shape = (500, 4, 2, 3, 3)
    plain, moved = (clip_noise(shape, 0.5, torch.Generator().manual_seed(1), offset) for offset in (0.0, 0.1))
    offsets = (moved - plain)[:, :, 0, 0, 0]
    assert offsets.std().item() == pytest.approx(0.1, abs=0.01)
    torch.testing.assert_close(moved - plain, offsets[..., None, None, None].expand(shape), atol=1e-5, rtol=0)
