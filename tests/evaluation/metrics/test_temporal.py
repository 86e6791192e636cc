from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.temporal import (
    flicker,
    temporal_scores,
    warping_error,
)
from tests.evaluation.metrics.moving import panned, texture


def test_a_still_clip_has_no_error_and_no_flicker_to_win_with() -> None:
    still = texture()[None, :, :64, :64].repeat(4, 1, 1, 1)
    assert warping_error(still) == pytest.approx(0, abs=1e-6) and flicker(still) == 0
    assert temporal_scores(still) == (None, None, 0.0)
    # Nor has one that a codec has touched; but one that moves or flickers has.
    touched = (
        still * 255 + (torch.rand(still.shape, generator=torch.Generator().manual_seed(0)) < 0.05)
    ) / 255
    assert temporal_scores(touched.clamp(0, 1)) == (None, None, 0.0)
    assert None not in temporal_scores(panned(2))
    assert None not in temporal_scores(still * torch.tensor([1, 0.95, 1, 0.95])[:, None, None, None])


def test_another_flow_may_be_given() -> None:
    asked: list[int] = []

    def zero(frames: torch.Tensor) -> torch.Tensor:
        asked.append(len(frames))
        return torch.zeros(len(frames) - 1, 2, *frames.shape[2:])

    scores = temporal_scores(panned(2), zero)
    assert asked == [4, 4] and scores.dynamics == 0  # there and back, once
    assert scores.warping_error is not None and scores.warping_error > 5 * warping_error(panned(2))


def test_a_smooth_pan_has_less_warping_error_than_frames_that_do_not_belong_together() -> None:
    pan = warping_error(panned(2))
    noisy = panned(2) + 0.1 * torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert pan < 0.02
    assert warping_error(noisy.clamp(0, 1)) > 3 * pan


def test_warping_error_of_clips_computed_by_hand() -> None:
    def zero(frames: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(frames) - 1, 2, *frames.shape[2:])

    # Nothing moves by this flow, so that all of the change counts: 0.1 in each of three gaps, 0.3 in one of three.
    ramp = (0.1 * torch.arange(4))[:, None, None, None].expand(4, 3, 16, 16)
    assert warping_error(ramp, zero) == pytest.approx(0.1, abs=1e-6)
    jump = torch.zeros(4, 3, 16, 16)
    jump[2:] = 0.3
    assert warping_error(jump, zero) == pytest.approx((0.3**2 / 3) ** 0.5, abs=1e-6)
    half = torch.zeros(3, 3, 16, 16)
    half[1, :, :8] = 0.4  # half of the pixels, there and back
    assert warping_error(half, zero) == pytest.approx((0.4**2 / 2) ** 0.5, abs=1e-6)


def test_what_leaves_the_frame_or_is_covered_does_not_count() -> None:
    # Everything moves three pixels to the right; what comes in at the left is another colour.
    clip = torch.zeros(3, 3, 16, 16)
    for t in range(3):
        clip[t, :, :, 3 * t :] = 0.5

    def right(frames: torch.Tensor) -> torch.Tensor:
        flow = torch.zeros(len(frames) - 1, 2, *frames.shape[2:])
        flow[:, 0] = 3 if bool((frames[0] >= frames[-1]).all()) else -3
        return flow

    assert warping_error(clip, right) == pytest.approx(0, abs=1e-6)

    def both_ways(frames: torch.Tensor) -> torch.Tensor:
        """To the right, and to the right again on the way back, as if everything were covered."""
        return torch.tensor([3.0, 0.0])[:, None, None].expand(len(frames) - 1, 2, *frames.shape[2:])

    noise = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert warping_error(noise, both_ways) == 0 < warping_error(noise, lambda frames: 0 * both_ways(frames))


def test_flicker_of_clips_computed_by_hand() -> None:
    ramp = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 3, 8, 8)
    assert flicker(ramp) == pytest.approx(0, abs=1e-6)
    alternating = (torch.arange(5) % 2).float()[:, None, None, None].expand(5, 3, 8, 8)
    assert flicker(alternating) == pytest.approx(1)
    once = torch.zeros(5, 3, 8, 8)
    once[2] = 0.3  # second differences 0.3, -0.6, 0.3
    assert flicker(once) == pytest.approx((0.3 + 0.6 + 0.3) / 3 / 2)


def test_flicker_is_seen_in_part_of_the_picture() -> None:
    clip = torch.zeros(4, 3, 8, 8)
    clip[1::2, :, :2, :2] = 1
    assert flicker(clip) == pytest.approx(1 / 16)


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 3 frames"):
        flicker(torch.zeros(2, 3, 16, 16))
    with pytest.raises(InvalidInputError, match="f, 3, h, w"):
        warping_error(torch.zeros(4, 16, 16, 3))
