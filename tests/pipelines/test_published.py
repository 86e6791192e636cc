"""Prompt and pictures to frames in one call, against the published script on the same weights."""

from __future__ import annotations

import pytest
from PIL import Image, ImageOps

from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.weights.official import from_official
from tests.golden import regenerate
from tests.golden.support import Comparison, checkpoint, draw, expected, temporal_checkpoint

PROMPT = "a small boat on a lake, oil painting"


@pytest.fixture(scope="module")
def pipe() -> StyleCrafterPipeline:
    pipe = from_official(
        checkpoint("tiny", "model"),
        checkpoint("tiny", "adapter"),
        temporal=temporal_checkpoint("tiny"),
        openclip=checkpoint("tiny", "openclip"),
        attention_head_dim=16,
        num_frames=4,
        adapter_num_heads=4,
        clip_text_num_heads=4,
        clip_vision_num_heads=4,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", ["single", "multi"])
def test_a_clip(pipe: StyleCrafterPipeline, name: str) -> None:
    first = Image.fromarray(regenerate.picture(512, 512))
    pictures = [first] if name == "single" else [first, ImageOps.invert(ImageOps.mirror(first))]
    wanted = expected("tiny/pipeline")
    text, style = pipe.encode_text(PROMPT), pipe.encode_style([pictures])
    start = draw("x_T_pipe", 1, 4, 4, 8, 12)
    result = pipe(
        PROMPT, pictures, latents=start, num_inference_steps=5, eta=0.0, output_type="latent"
    ).frames
    frames = pipe(PROMPT, pictures, latents=start, num_inference_steps=5, eta=0.0, output_type="pt").frames

    comparison = Comparison(1e-4)
    comparison.add("text", text, wanted["cond"])
    tokens = pipe.encode_image(pictures).flatten(0, 1)[None]
    comparison.add("image tokens", tokens, wanted[f"{name}.clip_tokens_half"].float())
    comparison.add("style tokens", style, wanted[f"{name}.style_tokens"])
    scales = pipe.predict_scales(style, text)
    comparison.add("scales", scales - 1, wanted[f"{name}.scale_scalar"].squeeze(-1))
    comparison.add("latents", result, wanted[f"{name}.latent"])
    video = (wanted[f"{name}.video"].transpose(1, 2) / 2 + 0.5).clamp(0, 1)
    comparison.add("frames", frames, video)
    comparison.check()
