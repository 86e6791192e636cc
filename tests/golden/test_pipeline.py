"""Prompt and pictures -> clip through the whole pipeline, against the published program at tiny size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.weights import from_official
from tests.golden import regenerate
from tests.golden.support import HEADS, Comparison, checkpoint, draw, expected, temporal_checkpoint

PROMPT = "a small boat on a lake, oil painting"


@pytest.fixture(scope="module")
def pipe() -> StyleCrafterPipeline:
    pipe = from_official(
        checkpoint("tiny", "model"),
        checkpoint("tiny", "adapter"),
        temporal_checkpoint("tiny"),
        checkpoint("tiny", "openclip"),
        num_frames=4,
        clip_vision_num_heads=4,
        **HEADS["tiny"],
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def wanted() -> dict[str, Tensor]:
    return expected("tiny/pipeline")


def pictures(name: str) -> list[Image.Image]:
    """`single`: the picture; `multi`: also its mirrored negative."""
    pixels = regenerate.picture(512, 512)
    negative = np.ascontiguousarray(255 - pixels[:, ::-1])
    return [Image.fromarray(pixels)] + ([Image.fromarray(negative)] if name == "multi" else [])


def decode(pipe: StyleCrafterPipeline, latents: Tensor) -> Tensor:
    """(b, c, f, h, w) -> (b, 3, f, H, W) as the autoencoder gives it, not clipped."""
    with torch.no_grad():
        frames = pipe.vae.decode(latents.transpose(1, 2).flatten(0, 1) / 0.18215).sample
    return frames.unflatten(0, (latents.shape[0], -1)).transpose(1, 2)


def sample(pipe: StyleCrafterPipeline, **style: object) -> Tensor:
    return pipe(
        PROMPT,
        latents=draw("x_T_pipe", 1, 4, 4, 8, 12),
        num_inference_steps=5,
        eta=0.0,
        text_guidance_scale=15.0,
        style_guidance_scale=7.5,
        published_guidance=True,
        output_type="latent",
        **style,
    ).frames


def test_text(pipe: StyleCrafterPipeline, wanted: dict[str, Tensor]) -> None:
    comparison = Comparison(1e-5)
    comparison.add("cond", pipe.encode_text(PROMPT), wanted["cond"])
    comparison.add("uncond", pipe.encode_text(""), wanted["uncond"])
    comparison.check()


def test_image_tokens_without_rounding(pipe: StyleCrafterPipeline, wanted: dict[str, Tensor]) -> None:
    pipe.register_to_config(image_tokens_half=False)
    tokens = pipe.encode_image(pictures("single"))
    pipe.register_to_config(image_tokens_half=True)
    comparison = Comparison(1e-5)
    comparison.add("clip_tokens_float32", tokens, wanted["single.clip_tokens_float32"])
    comparison.check()


@pytest.mark.parametrize("name", ["single", "multi"])
def test_from_the_published_image_tokens(
    pipe: StyleCrafterPipeline, wanted: dict[str, Tensor], name: str
) -> None:
    with torch.no_grad():
        style = pipe.style_adapter.encode(wanted[f"{name}.clip_tokens_half"].float())
    scales = pipe.predict_scales(style, pipe.encode_text(PROMPT))
    latent = sample(pipe, style_tokens=style)
    exact, sampled = Comparison(1e-5), Comparison(1e-4)
    exact.add("style_tokens", style, wanted[f"{name}.style_tokens"])
    exact.add("scale_scalar", scales.unsqueeze(-1) - 1, wanted[f"{name}.scale_scalar"])
    sampled.add("latent", latent, wanted[f"{name}.latent"])
    sampled.add("video", decode(pipe, latent), wanted[f"{name}.video"])
    exact.check()
    sampled.check()


@pytest.mark.parametrize("name", ["single", "multi"])
def test_from_pictures(pipe: StyleCrafterPipeline, wanted: dict[str, Tensor], name: str) -> None:
    """The whole way with the defaults of a converted model, which are the published scales.

    Rounding image tokens to float16 may flip a last bit, hence the sampler's limit for all of it.
    """
    comparison = Comparison(1e-4)
    tokens = pipe.encode_image(pictures(name)).flatten(0, 1)[None]
    assert torch.equal(tokens, tokens.half().float())
    comparison.add("clip_tokens_half", tokens, wanted[f"{name}.clip_tokens_half"].float())
    comparison.add("style_tokens", pipe.encode_style([pictures(name)]), wanted[f"{name}.style_tokens"])
    given = {"latents": draw("x_T_pipe", 1, 4, 4, 8, 12), "num_inference_steps": 5, "eta": 0.0}
    latent = pipe(PROMPT, pictures(name), output_type="latent", **given).frames
    comparison.add("latent", latent, wanted[f"{name}.latent"])
    comparison.add("video", decode(pipe, latent), wanted[f"{name}.video"])
    frames = pipe(PROMPT, pictures(name), output_type="pt", **given).frames
    shown = (wanted[f"{name}.video"].transpose(1, 2) / 2 + 0.5).clamp(0, 1)
    comparison.add("frames", frames, shown)
    comparison.check()
