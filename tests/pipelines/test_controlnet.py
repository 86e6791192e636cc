"""ControlNet in our loop: without style, what diffusers' own pipelines draw."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import MultiControlNetModel
from torch import Tensor

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError
from tests.tiny import (
    WIDTH,
    tiny_controlnet,
    tiny_image_encoder,
    tiny_picture,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
)

BASES = {"sd": tiny_sd_pipeline, "sdxl": tiny_sdxl_pipeline}
SIZE = {"height": 16, "width": 24}
CONTROL = {
    "controlnet_conditioning_scale": 0.7,
    "control_guidance_start": 0.2,
    "control_guidance_end": 0.8,
}


def around(base: Any) -> StyleCrafterPipeline:
    adapter = StyleAdapter.for_model(
        base.unet,
        WIDTH,
        num_style_tokens=2,
        extractor_heads=2,
        scale_heads=2,
        extractor_layers=1,
        scale_layers=1,
    )
    pipe = StyleCrafterPipeline.from_base(base, adapter, tiny_image_encoder())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: StyleCrafterPipeline, noise: Tensor, style: Any = None, **given: Any) -> Tensor:
    arguments = {
        "num_inference_steps": 4,
        "text_guidance_scale": 7.5,
        "output_type": "latent",
        **SIZE,
        **given,
    }
    return pipe(["a red fox", "a boat"], style, latents=noise[:, :, None], **arguments).frames[:, :, 0]


def noise() -> Tensor:
    return torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("controlled", [False, True])
def test_without_style_it_is_the_base_pipeline(name: str, controlled: bool) -> None:
    base = BASES[name](controlnet=controlled)
    picture = tiny_picture(3)
    theirs: dict[str, Any] = {"image": picture, **CONTROL} if controlled else {}
    ours: dict[str, Any] = {"control_image": picture, **CONTROL} if controlled else {}
    wanted = base(
        ["a red fox", "a boat"],
        num_inference_steps=4,
        guidance_scale=7.5,
        latents=noise(),
        output_type="latent",
        **SIZE,
        **theirs,
    ).images
    pipe = around(base)
    plain = draw(pipe, noise(), **ours)
    torch.testing.assert_close(plain, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(draw(pipe, noise(), tiny_picture(1), style_scale=0.0, **ours), plain)
    styled = draw(pipe, noise(), tiny_picture(1), **ours)
    assert (styled - plain).abs().max() > 1e-3
    if controlled:
        assert (draw(pipe, noise(), tiny_picture(1)) - styled).abs().max() > 1e-3


def test_images_one_per_prompt_and_when_it_acts() -> None:
    pipe = around(tiny_sd_pipeline(controlnet=True))
    pictures = [tiny_picture(3), tiny_picture(4)]
    both = draw(pipe, noise(), control_image=pictures)
    for row, picture in enumerate(pictures):
        one = draw(pipe, noise(), control_image=picture)
        torch.testing.assert_close(both[row], one[row], rtol=1e-4, atol=1e-5)
    assert torch.equal(
        draw(pipe, noise(), control_image=pictures, controlnet_conditioning_scale=0.0), draw(pipe, noise())
    )
    pixels = torch.rand(1, 3, 16, 24)
    assert not torch.equal(draw(pipe, noise(), control_image=pixels), draw(pipe, noise()))
    twice = pipe(
        ["a red fox", "a boat"],
        num_videos_per_prompt=2,
        latents=noise().repeat_interleave(2, dim=0)[:, :, None],
        control_image=pictures,
        num_inference_steps=4,
        text_guidance_scale=7.5,
        output_type="latent",
        **SIZE,
    ).frames[:, :, 0]
    torch.testing.assert_close(twice[[1, 3]], both, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    base = tiny_sd_pipeline(controlnet=True)
    pipe = around(base)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"control_image": [tiny_picture()] * 3}, "got 3 control images for 2 prompts"),
        ({"control_image": []}, "list of control images is empty"),
        ({"control_image": torch.full((1, 3, 16, 24), 255.0)}, r"in \[0, 1\], .* values from 255 to 255"),
        ({"controlnet_conditioning_scale": [0.5]}, r"must be a finite number, got \[0.5\]"),
        ({"control_image": torch.rand(3, 16, 24)}, r"must be \(n, 3, h, w\), got \(3, 16, 24\)"),
        (
            {"control_image": tiny_picture(), "control_guidance_start": 0.9, "control_guidance_end": 0.1},
            "0.9 and 0.1",
        ),
    ]
    for given, message in refused:
        with pytest.raises(InvalidInputError, match=message):
            draw(pipe, noise(), **given)
    with pytest.raises(InvalidInputError, match="has no controlnet"):
        draw(around(tiny_sd_pipeline()), noise(), control_image=tiny_picture())
    base.controlnet = MultiControlNetModel([base.controlnet, base.controlnet])
    with pytest.raises(
        InvalidInputError, match="a single ControlNetModel can be used, got MultiControlNetModel"
    ):
        StyleCrafterPipeline.from_base(base)
    base.controlnet = tiny_controlnet(tiny_sdxl_pipeline().unet)
    with pytest.raises(InvalidInputError, match="reads texts of width 32, the UNet of width 16"):
        StyleCrafterPipeline.from_base(base)
