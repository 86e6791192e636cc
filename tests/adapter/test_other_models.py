"""The adapter on diffusers' own models, where the style travels in `cross_attention_kwargs`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from tests.adapter.conftest import FRAMES, IMAGE_DIM, SIZES, TEXT_DIM

Draw = Callable[..., Tensor]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """diffusers' warnings, which do not reach the root logger by themselves."""
    diffusers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    diffusers_logging.disable_propagation()


def test_image_model(image_unet: UNet2DConditionModel, draw: Draw, log: pytest.LogCaptureFixture) -> None:
    latents, text, style = draw(2, 4, 8, 8), draw(2, 5, TEXT_DIM), draw(2, 4, TEXT_DIM, seed=2)
    adapter = StyleAdapter.for_model(image_unet, IMAGE_DIM, **SIZES)
    assert 0 < adapter.num_layers < len(image_unet.attn_processors)
    before, base = image_unet.attn_processors, image_unet(latents, 500, text).sample

    adapter.attach(image_unet)
    scales = adapter.predict_scales(style, text)
    kwargs = {"style_tokens": style, "style_scales": scales}
    styled = image_unet(latents, 500, text, cross_attention_kwargs=kwargs).sample
    assert not torch.allclose(styled, base, atol=1e-4)
    zeros = {"style_tokens": style, "style_scales": torch.zeros_like(scales)}
    assert torch.equal(image_unet(latents, 500, text, cross_attention_kwargs=zeros).sample, base)
    assert torch.equal(image_unet(latents, 500, text).sample, base)

    adapter.detach()
    after = image_unet.attn_processors
    assert all(before[name] is after[name] for name in before)
    assert torch.equal(image_unet(latents, 500, text).sample, base)
    assert not [record.getMessage() for record in log.records]


def test_motion_model(motion_unet: UNetMotionModel, draw: Draw, log: pytest.LogCaptureFixture) -> None:
    latents, text = draw(2, 4, FRAMES, 8, 8), draw(2, 5, TEXT_DIM)
    style = draw(2, 4, TEXT_DIM, seed=2)
    repeated = text.repeat_interleave(FRAMES, 0)
    adapter = StyleAdapter.for_model(motion_unet, IMAGE_DIM, **SIZES)
    assert all("motion_modules" not in name for name in adapter.layer_names)
    base = motion_unet(latents, 500, repeated).sample

    adapter.attach(motion_unet)
    kwargs = {"style_tokens": style, "style_scales": adapter.predict_scales(style, text)}
    styled = motion_unet(latents, 500, repeated, cross_attention_kwargs=kwargs).sample
    assert not torch.allclose(styled, base, atol=1e-4)
    one = {key: value[1:] for key, value in kwargs.items()}
    alone = motion_unet(latents[1:], 500, repeated[FRAMES:], cross_attention_kwargs=one).sample
    torch.testing.assert_close(alone, styled[1:])
    adapter.set_scale(1.0, frames=[0.0] * FRAMES)
    off = motion_unet(latents, 500, repeated, cross_attention_kwargs=kwargs).sample
    assert torch.equal(off, base)

    adapter.detach()
    assert torch.equal(motion_unet(latents, 500, repeated).sample, base)
    assert not [record.getMessage() for record in log.records]


def test_gradient_checkpointing_on_the_motion_model(motion_unet: UNetMotionModel, draw: Draw) -> None:
    motion_unet.requires_grad_(False).train()
    adapter = StyleAdapter.for_model(motion_unet, IMAGE_DIM, **SIZES).attach(motion_unet)
    latents, text = draw(1, 4, FRAMES, 8, 8), draw(1, 5, TEXT_DIM)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            motion_unet.enable_gradient_checkpointing()
        adapter.zero_grad()
        style = adapter.encode(draw(1, 6, IMAGE_DIM))
        kwargs = {"style_tokens": style, "style_scales": adapter.predict_scales(style, text)}
        repeated = text.repeat_interleave(FRAMES, 0)
        out = motion_unet(latents, 500, repeated, cross_attention_kwargs=kwargs).sample
        out.square().mean().backward()
        gradients.append([p.grad.clone() for p in adapter.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) == len(list(adapter.parameters()))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)
