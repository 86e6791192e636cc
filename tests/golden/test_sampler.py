"""Sampling with text and style guidance against the published samplers, step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.guidance import guide, published_scales
from stylecrafter.pipelines.official import (
    UNET,
    build_adapter,
    build_unet,
    load_temporal,
    published_scheduler,
)
from stylecrafter.weights.formats.checkpoint_files import with_prefix
from tests.golden.support import Comparison, checkpoint, draw, expected, temporal_checkpoint

STEPS = 5
Noises = tuple[Tensor, Tensor, Tensor]
Combine = Callable[[Noises], Tensor]


def published(text_scale: float, style_scale: float) -> Combine:
    """The published guidance with both conditions."""
    scales = published_scales(text_scale, style_scale)
    return lambda noises: guide(*noises, *scales)


def plain(scale: float) -> Combine:
    """One guidance scale for text and style together."""
    return lambda noises: guide(*noises, scale, scale)


def build(temporal: bool) -> VideoCrafterUNet:
    unet, _ = build_unet(with_prefix(checkpoint("tiny", "model", UNET), UNET), 16, copy=False)
    build_adapter(checkpoint("tiny", "adapter"), unet, 4, copy=False).attach(unet)
    if temporal:
        load_temporal(unet, temporal_checkpoint("tiny"))
    return unet


@torch.no_grad()
def predict(unet: VideoCrafterUNet, latents: Tensor, step: int) -> Noises:
    """The noise without prompt, with the prompt, and with prompt and style."""
    text, empty = draw("text", 2, 77, 64), draw("text_uncond", 2, 77, 64)
    style, scales = draw("style_tokens", 2, 8, 64), 1 + 0.5 * draw("scale_scalar", 2, 7, 1).squeeze(-1)
    return (
        unet(latents, step, empty).sample,
        unet(latents, step, text).sample,
        unet(latents, step, text, style, scales).sample,
    )


def sample(
    unet: VideoCrafterUNet, latents: Tensor, combine: Combine, noises: list[Tensor] | None = None
) -> dict[str, Tensor]:
    """DDIM from `latents`; with `noises`, eta is 1 and these are what is drawn."""
    scheduler = published_scheduler()
    scheduler.set_timesteps(STEPS)
    states, estimates = [latents], [latents]
    for i, step in enumerate(scheduler.timesteps.tolist()):
        noise = combine(predict(unet, states[-1], step))
        if noises is None:
            result = scheduler.step(noise, step, states[-1], eta=0.0)
        else:
            result = scheduler.step(noise, step, states[-1], eta=1.0, variance_noise=noises[i])
        states.append(result.prev_sample)
        estimates.append(result.pred_original_sample)
    return {"out": states[-1], "x_inter": torch.stack(states), "pred_x0": torch.stack(estimates)}


def compare(comparison: Comparison, name: str, outputs: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for key in (key for key in wanted if key.startswith(f"{name}.")):
        comparison.add(key, outputs[key.removeprefix(f"{name}.")], wanted[key])


@pytest.fixture(scope="module")
def video_unet() -> VideoCrafterUNet:
    return build(temporal=True)


@pytest.fixture(scope="module")
def start() -> Tensor:
    return draw("x_T", 2, 4, 4, 8, 12)


def test_first_step(video_unet: VideoCrafterUNet, start: Tensor) -> None:
    wanted = expected("tiny/sampler_video")
    noises = predict(video_unet, start, 801)
    comparison = Comparison(1e-5)
    comparison.add("step0.e_uncond", noises[0], wanted["step0.e_uncond"])
    comparison.add("step0.e_text", noises[1], wanted["step0.e_text"])
    comparison.add("step0.e_text_style", noises[2], wanted["step0.e_text_style"])
    comparison.add("step0.e_guided", published(15.0, 7.5)(noises), wanted["step0.e_guided"])
    comparison.check()


def test_video_sampler(video_unet: VideoCrafterUNet, start: Tensor) -> None:
    wanted = expected("tiny/sampler_video")
    noises = [draw(f"noise.{i}", 2, 4, 4, 8, 12) for i in range(STEPS)]
    comparison = Comparison(1e-4)
    compare(comparison, "style", sample(video_unet, start, published(15.0, 7.5)), wanted)
    compare(comparison, "style_eta1", sample(video_unet, start, published(15.0, 7.5), noises), wanted)
    compare(comparison, "plain", sample(video_unet, start, plain(15.0)), wanted)
    # With a text scale of 1 the published sampler leaves out all guidance.
    compare(comparison, "style_textscale1", sample(video_unet, start, plain(1.0)), wanted)
    comparison.check()
    assert {key for key in wanted if not key.startswith("step0.")} == comparison.errors.keys()


def test_image_sampler() -> None:
    wanted = expected("tiny/sampler_image")
    unet, start = build(temporal=False), draw("x_T_image", 2, 4, 1, 8, 12)
    comparison = Comparison(1e-4)
    compare(comparison, "plain", sample(unet, start, plain(6.0)), wanted)
    compare(comparison, "style", sample(unet, start, published(6.0, 3.0)), wanted)
    comparison.check()
    assert wanted.keys() == comparison.errors.keys()
