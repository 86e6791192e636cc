from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.similarity import (
    reference_similarity,
    temporal_similarity,
    text_similarity,
)

X, Y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
DIAGONAL = torch.tensor([0.6, 0.8])


def test_text_is_the_mean_over_frames() -> None:
    assert text_similarity(torch.stack([X, Y, DIAGONAL]), X) == pytest.approx((1 + 0 + 0.6) / 3)


def test_style_is_the_mean_over_frames_and_references() -> None:
    assert reference_similarity(torch.stack([X, DIAGONAL]), torch.stack([X, Y])) == pytest.approx(
        (1 + 0 + 0.6 + 0.8) / 4
    )


def test_temporal_is_the_mean_over_neighbours() -> None:
    assert temporal_similarity(torch.stack([X, DIAGONAL, Y])) == pytest.approx((0.6 + 0.8) / 2)
    assert temporal_similarity(torch.stack([X, X, X])) == pytest.approx(1)
    assert temporal_similarity(X[None]) is None


@pytest.mark.parametrize("frames", [X, torch.zeros(0, 2), torch.zeros(3, 4)])
def test_other_shapes_are_refused(frames: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError, match=r"\(n, d\)"):
        text_similarity(frames, X)
