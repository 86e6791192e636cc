from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.motion import correlation, flow_correlation
from tests.evaluation.metrics.moving import panned


def test_the_same_motion_in_other_colours_and_its_reverse() -> None:
    clip = panned(2)
    assert flow_correlation(clip, clip) == pytest.approx(1)
    assert (flow_correlation(clip, 1 - clip) or 0) > 0.9
    assert (flow_correlation(clip, clip.flip(0)) or 0) < -0.5


def test_what_cannot_be_compared() -> None:
    clip = panned(2)
    assert correlation(torch.zeros(3, 2), torch.rand(3, 2)) is None
    with pytest.raises(InvalidInputError, match="cannot be compared"):
        flow_correlation(clip, clip[:2])
    with pytest.raises(InvalidInputError, match="at least 2 frames"):
        flow_correlation(clip[:1], clip[:1])
