"""The adapter on diffusers' own models, where the style travels in `cross_attention_kwargs`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn

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


@pytest.mark.parametrize("fusion", ["dual", "attach_to_text"])
@pytest.mark.parametrize("model_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("adapter_dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_number_formats_of_model_and_adapter_may_differ(
    image_unet: UNet2DConditionModel,
    draw: Draw,
    fusion: str,
    model_dtype: torch.dtype,
    adapter_dtype: torch.dtype,
) -> None:
    latents, text, style = draw(2, 4, 8, 8), draw(2, 5, TEXT_DIM), draw(2, 4, TEXT_DIM, seed=2)
    adapter = StyleAdapter.for_model(image_unet, IMAGE_DIM, **SIZES, fusion_type=fusion).attach(image_unet)
    kwargs = {"style_tokens": style, "style_scales": torch.rand(2, adapter.num_layers)}
    wanted = image_unet(latents, 500, text, cross_attention_kwargs=kwargs).sample
    if adapter_dtype.itemsize > 1:
        adapter.to(adapter_dtype)
    else:
        adapter.enable_layerwise_casting(storage_dtype=adapter_dtype, compute_dtype=model_dtype)
    image_unet.to(model_dtype)
    kwargs = {name: value.to(model_dtype) for name, value in kwargs.items()}
    latents, text = latents.to(model_dtype), text.to(model_dtype)
    actual = image_unet(latents, 500, text, cross_attention_kwargs=kwargs).sample
    assert actual.dtype == model_dtype
    torch.testing.assert_close(actual.float(), wanted, atol=0.1, rtol=0.1)


def test_processors_with_weights_outside_the_adapter_stay_where_they_are(
    image_unet: UNet2DConditionModel, draw: Draw
) -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.5))

        def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            return self.gain * hidden_states

    name = next(name for name, m in image_unet.named_modules() if name.endswith("attn1"))
    image_unet.get_submodule(name).set_processor(Weighted())
    keys = list(image_unet.state_dict())
    assert f"{name}.processor.gain" in keys
    latents, text = draw(1, 4, 8, 8), draw(1, 5, TEXT_DIM)
    base = image_unet(latents, 500, text).sample
    adapter = StyleAdapter.for_model(image_unet, IMAGE_DIM, **SIZES).attach(image_unet)
    assert list(image_unet.state_dict()) == keys
    assert torch.equal(image_unet(latents, 500, text).sample, base)
    adapter.detach()
    assert list(image_unet.state_dict()) == keys
    assert torch.equal(image_unet(latents, 500, text).sample, base)
