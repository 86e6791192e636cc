"""What is measured against computes the same numbers."""

from __future__ import annotations

import pytest
import torch
from benchmarks.published.clip import conditions_of, decoded, sampled
from benchmarks.published.unet import published_copy

from tests.tiny import tiny_picture, tiny_pipeline


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("styled", [False, True])
@torch.no_grad()
def test_the_plain_unet_gives_the_numbers_of_ours(fused: bool, styled: bool) -> None:
    pipe = tiny_pipeline()
    plain = published_copy(pipe.unet, pipe.style_adapter, fused=fused)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 6, 8, 8, generator=generator)  # more frames than positions
    text = torch.randn(2, 5, 16, generator=generator)
    style = torch.randn(2, 2, 16, generator=generator) if styled else None
    scales = 2 * torch.rand(2, pipe.style_adapter.num_layers, generator=generator) if styled else None
    times = torch.tensor([981, 21])
    ours = pipe.unet(latents, times, text, style, scales).sample
    theirs = plain(latents, times, text, style, scales)
    assert (ours - theirs).abs().max() <= 1e-5 * ours.abs().max()
    if styled:
        assert (ours - pipe.unet(latents, times, text).sample).abs().max() > 1e-2 * ours.abs().max()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_plain_procedure_makes_the_clip_that_ours_makes(prediction: str) -> None:
    pipe = tiny_pipeline(prediction_type=prediction)
    noise = torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    picture = tiny_picture()
    out = pipe(
        "a red dog",
        style_images=picture,
        latents=noise,
        num_inference_steps=5,
        eta=0.0,
        text_guidance_scale=3.0,
        style_guidance_scale=2.0,
        published_guidance=True,
        output_type="pt",
    ).frames[0]
    plain = published_copy(pipe.unet, pipe.style_adapter)
    pipe.scheduler.set_timesteps(5)
    conditions = conditions_of(pipe, "a red dog", picture)
    latents = sampled(plain, noise, conditions, pipe.scheduler, 5, (3.0, 2.0))
    assert (decoded(pipe.vae, latents) - out).abs().max() < 1e-4
