"""Predicted style factors per layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecrafter.adapter.scale_predictor import ScalePredictor
from stylecrafter.errors import InvalidInputError

Draw = Callable[..., Tensor]


@pytest.fixture
def predictor() -> ScalePredictor:
    torch.manual_seed(0)
    return ScalePredictor(dim=24, num_heads=2, num_scales=5, num_layers=2).eval()


def test_factors_lie_between_zero_and_two(predictor: ScalePredictor, draw: Draw) -> None:
    style, text = draw(64, 4, 24), draw(64, 7, 24, seed=1)
    extremes = []
    for factor in (100, -1):
        with torch.no_grad():
            predictor.head[2].weight.mul_(factor)
            scales = predictor(style, text)
        assert scales.shape == (64, 5)
        assert scales.min() >= 0 and scales.max() <= 2
        extremes += [float(scales.min()), float(scales.max())]
    assert min(extremes) < 0.2 and max(extremes) > 1.8


def test_depends_on_style_and_on_text(predictor: ScalePredictor, draw: Draw) -> None:
    style, text = draw(1, 4, 24), draw(1, 7, 24, seed=1)
    base = predictor(style, text)
    assert not torch.allclose(predictor(draw(1, 4, 24, seed=2), text), base, atol=1e-4)
    assert not torch.allclose(predictor(style, draw(1, 7, 24, seed=2)), base, atol=1e-4)


def test_batch_equals_samples_one_by_one(predictor: ScalePredictor, draw: Draw) -> None:
    style, text = draw(3, 4, 24), draw(3, 7, 24, seed=1)
    one_by_one = torch.cat([predictor(style[i : i + 1], text[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(predictor(style, text), one_by_one)


def test_bad_shapes_are_named(predictor: ScalePredictor, draw: Draw) -> None:
    with pytest.raises(InvalidInputError, match=r"style tokens must be .* got \(1, 4, 23\)"):
        predictor(draw(1, 4, 23), draw(1, 7, 24))
    with pytest.raises(InvalidInputError, match=r"text embeddings must be .* got \(7, 24\)"):
        predictor(draw(1, 4, 24), draw(7, 24))
    with pytest.raises(InvalidInputError, match="one batch size, got 2 and 3"):
        predictor(draw(2, 4, 24), draw(3, 7, 24))
