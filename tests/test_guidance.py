"""Both forms of guidance against their formulas, and which passes they need."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.guidance import guide, needed_passes, published_scales, rescale
from tests.golden.support import error, expected

SCALES = (0.0, 1.0, 7.5, 15.0, -2.0)


def predictions() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize(("text_scale", "style_scale"), list(itertools.product(SCALES, SCALES)))
def test_equation_2_with_and_without_the_passes_of_weight_zero(text_scale: float, style_scale: float) -> None:
    null, text, style = predictions()
    wanted = null + style_scale * (style - text) + text_scale * (text - null)
    torch.testing.assert_close(guide(null, text, style, text_scale, style_scale), wanted)
    passes = needed_passes(text_scale, style_scale)
    weights = (1 - text_scale, text_scale - style_scale, style_scale)
    assert passes == tuple(weight != 0 for weight in weights)
    kept = [value if needed else None for value, needed in zip((null, text, style), passes, strict=True)]
    torch.testing.assert_close(guide(*kept, text_scale, style_scale), wanted)
    for i, needed in enumerate(passes):
        if needed:
            without = [None if i == j else value for j, value in enumerate(kept)]
            with pytest.raises(InvalidInputError, match="needs the"):
                guide(*without, text_scale, style_scale)


@pytest.mark.parametrize("text_scale", SCALES)
def test_no_style_is_guidance_by_text_alone(text_scale: float) -> None:
    null, text, _ = predictions()
    wanted = null + text_scale * (text - null)
    passes = needed_passes(text_scale, None)
    assert passes == (text_scale != 1, text_scale != 0, False)
    kept = [value if needed else None for value, needed in zip((null, text), passes[:2], strict=True)]
    torch.testing.assert_close(guide(*kept, None, text_scale, None), wanted)


def test_published_sampler() -> None:
    null, text, style = predictions()
    wanted = style + 7.5 * (style - text) + 15 * (text - null)
    scales = published_scales(15, 7.5)
    assert scales == (16, 8.5)
    torch.testing.assert_close(guide(null, text, style, *scales), wanted)


def test_a_step_of_the_published_sampler() -> None:
    stored = expected("tiny/sampler_video")
    names = ("e_uncond", "e_text", "e_text_style")
    noises = [stored[f"step0.{name}"] for name in names]
    wanted = stored["step0.e_guided"]
    assert error(guide(*noises, *published_scales(15.0, 7.5)), wanted) < 1e-6
    assert error(guide(*noises, 15.0, 7.5), wanted) > 1e-2


def test_guiding_velocities_is_guiding_noise() -> None:
    noises, signal = predictions(), 0.3
    latents = predictions()[0] + 1
    spread = math.sqrt(1 - signal)

    def velocity(noise: torch.Tensor) -> torch.Tensor:
        clean = (latents - spread * noise) / math.sqrt(signal)
        return math.sqrt(signal) * noise - spread * clean

    guided = guide(*(velocity(noise) for noise in noises), 6.0, 3.0)
    torch.testing.assert_close(guided, velocity(guide(*noises, 6.0, 3.0)))


def test_rescale() -> None:
    guided, conditional, _ = predictions()
    guided = guided * 5
    assert rescale(guided, conditional, 0.0) is guided
    axes = (1, 2, 3, 4)
    torch.testing.assert_close(rescale(guided, conditional, 1.0).std(axes), conditional.std(axes))
    half = (guided.std(axes) + conditional.std(axes)) / 2
    torch.testing.assert_close(rescale(guided, conditional, 0.5).std(axes), half)
