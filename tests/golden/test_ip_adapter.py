"""IP-Adapter and IP-Adapter-Plus against `load_ip_adapter` of diffusers, on the same random weights and pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPImageProcessor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.references.encoder import ReferenceEncoder
from stylecrafter.weights import load_adapter
from tests.tiny import (
    PROJECTION,
    animatediff_unet,
    sdxl_unet,
    stable_diffusion_unet,
    tiny_animatediff_pipeline,
    tiny_image_encoder,
    tiny_ip_adapter,
    tiny_picture,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
)

VARIANTS = {"plain": False, "plus": True}


BASES: dict[str, Callable[[], Any]] = {
    "Stable Diffusion": stable_diffusion_unet,
    "SDXL": sdxl_unet,
    "AnimateDiff": animatediff_unet,
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.fixture(params=VARIANTS)
def plus(request: pytest.FixtureRequest) -> bool:
    return VARIANTS[request.param]


@pytest.mark.parametrize("size", [(20, 16), (17, 40), (16, 16), (333, 331), (8, 9)])
def test_pictures_reach_the_encoder_as_clip_would_have_them(size: tuple[int, int]) -> None:
    picture, encoder = tiny_picture(0, *size), tiny_image_encoder(num_hidden_layers=2)
    wanted = CLIPImageProcessor(size=16, crop_size=16)(picture, return_tensors="pt").pixel_values
    ours = ReferenceEncoder(encoder, preprocessing="clip")
    pixels = ours.pixels(ours.crop([picture], 512))
    torch.testing.assert_close(pixels, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("base", BASES)
@torch.no_grad()
def test_predictions(base: str, plus: bool) -> None:
    torch.manual_seed(0)
    unet, encoder = BASES[base](), tiny_image_encoder(num_hidden_layers=2)
    file = tiny_ip_adapter(unet, plus)
    frames = 3 if base == "AnimateDiff" else 1
    width = unet.config.cross_attention_dim
    latents, text = draw(2, 4, frames, 8, 12), draw(2, 5, width, seed=1)
    beside = (
        {"text_embeds": draw(2, PROJECTION, seed=2), "time_ids": draw(2, 6, seed=3)} if base == "SDXL" else {}
    )
    if base != "AnimateDiff":
        latents = latents[:, :, 0]
    states = text.repeat_interleave(frames, dim=0)
    pictures = [tiny_picture(i) for i in (0, 1)]

    pixels = CLIPImageProcessor(size=16, crop_size=16)(pictures, return_tensors="pt").pixel_values
    seen = encoder(pixels, output_hidden_states=True)
    embeds = seen.hidden_states[-2] if plus else seen.image_embeds
    theirs = copy.deepcopy(unet)
    theirs._load_ip_adapter_weights([file])
    wanted = theirs(
        latents, 500, states, added_cond_kwargs={"image_embeds": [embeds[:, None]], **beside}
    ).sample

    adapter = load_adapter(file).attach(unet)
    reads = ReferenceEncoder(encoder, **adapter.reads)
    tokens = adapter.encode(reads.tokens(reads.crop(pictures, 16)))
    given = {"added_cond_kwargs": beside or None}
    ours = unet(latents, 500, states, cross_attention_kwargs={"style_tokens": tokens}, **given).sample
    assert apart(ours, wanted) < 1e-5
    assert apart(unet(latents, 500, states, **given).sample, wanted) > 1e-3


@pytest.mark.parametrize("make", [tiny_sd_pipeline, tiny_sdxl_pipeline, tiny_animatediff_pipeline])
def test_the_whole_loop(make: Callable[[], Any], plus: bool) -> None:
    base = make()
    kind = type(base)
    frames = {"num_frames": 3} if make is tiny_animatediff_pipeline else {}
    base.register_modules(image_encoder=tiny_image_encoder(num_hidden_layers=2))
    file, picture = tiny_ip_adapter(base.unet, plus), tiny_picture(3)
    noise = draw(1, 4, 3 if frames else 1, 8, 12)
    call = {
        "prompt": "a red fox",
        "negative_prompt": "blurry",
        "num_inference_steps": 3,
        "height": 16,
        "width": 24,
    }
    call |= {"output_type": "latent"}

    theirs = kind(**{**base.components, "unet": copy.deepcopy(base.unet)})
    theirs.set_progress_bar_config(disable=True)
    theirs.load_ip_adapter(file, subfolder="", weight_name="")
    theirs.set_ip_adapter_scale(0.7)
    out = theirs(
        **call,
        **frames,
        latents=noise if frames else noise[:, :, 0],
        guidance_scale=4.0,
        ip_adapter_image=picture,
        return_dict=False,
    )[0]
    wanted = out if frames else out[:, :, None]

    pipe = StyleCrafterPipeline.from_base(base, load_adapter(file))
    pipe.set_progress_bar_config(disable=True)
    ours = pipe(
        **call,
        style_images=picture,
        latents=noise,
        text_guidance_scale=4.0,
        style_guidance_scale=4.0,
        style_scale=0.7,
    ).frames
    assert apart(ours, wanted) < 1e-4
    # The two conditions apart.
    more = pipe(
        **call, style_images=picture, latents=noise, text_guidance_scale=4.0, style_guidance_scale=8.0
    ).frames
    assert apart(more, wanted) > 1e-2
