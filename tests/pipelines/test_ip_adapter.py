"""What IP-Adapters gain here: two conditions, weighted references, strength per frame and step; and their folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError
from tests.tiny import (
    DEFAULTS,
    tiny_animatediff_pipeline,
    tiny_image_encoder,
    tiny_ip_adapter,
    tiny_picture,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
)

PROMPT = "a red fox running"
BASES = {"sd": tiny_sd_pipeline, "sdxl": tiny_sdxl_pipeline, "animatediff": tiny_animatediff_pipeline}
PICTURE, OTHER = tiny_picture(0), tiny_picture(1)


def made(base: str, plus: bool) -> StyleCrafterPipeline:
    under = BASES[base]()
    numbers = {**DEFAULTS, "default_frames": 3 if base == "animatediff" else 1, "default_steps": 2}
    pipe = StyleCrafterPipeline.from_base(under, **numbers)
    pipe.load_adapter(
        tiny_ip_adapter(under.unet, plus), image_encoder=tiny_image_encoder(num_hidden_layers=2)
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(
    scope="module",
    params=[("sd", False), ("sdxl", True), ("animatediff", True)],
    ids=lambda param: f"{param[0]}-{'plus' if param[1] else 'plain'}",
)
def pipe(request: pytest.FixtureRequest) -> StyleCrafterPipeline:
    return made(*request.param)


def latents(pipe: StyleCrafterPipeline, style: Any = PICTURE, **arguments: Any) -> Tensor:
    return pipe(PROMPT, style, output_type="latent", **{"seed": 7, **arguments}).frames


def test_two_conditions_act_apart(pipe: StyleCrafterPipeline) -> None:
    wanted = latents(pipe, text_guidance_scale=3.0, style_guidance_scale=3.0)
    for other in ((6.0, 3.0), (3.0, 6.0)):
        changed = latents(pipe, text_guidance_scale=other[0], style_guidance_scale=other[1])
        assert (changed - wanted).abs().max() > 1e-3
    # Without style, the passes still read "no style": that of a picture is left out with its strength.
    plain = latents(pipe, style=None)
    torch.testing.assert_close(latents(pipe, style_scale=0.0), plain, rtol=0, atol=1e-6)


def test_weighted_references(pipe: StyleCrafterPipeline) -> None:
    def tokens(pictures: list[Any], weights: list[float] | None = None) -> Tensor:
        return pipe.encode_style([pictures], None if weights is None else [weights])

    both = tokens([PICTURE, OTHER])
    assert both.shape == tokens([PICTURE]).shape
    torch.testing.assert_close(tokens([OTHER, PICTURE]), both, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(tokens([PICTURE, OTHER], [1, 0]), tokens([PICTURE]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        tokens([PICTURE, OTHER], [2, 1]), tokens([PICTURE, PICTURE, OTHER]), rtol=1e-4, atol=1e-4
    )
    weighted = latents(pipe, [PICTURE, OTHER], style_weights=[3, 1])
    assert not torch.allclose(weighted, latents(pipe, [PICTURE, OTHER]), atol=1e-4)


def test_strength_per_step_and_layer(pipe: StyleCrafterPipeline) -> None:
    whole, plain = latents(pipe), latents(pipe, style=None)
    torch.testing.assert_close(latents(pipe, step_style_scales=[0.0, 0.0]), plain, rtol=0, atol=1e-6)
    first = latents(pipe, step_style_scales=[1.0, 0.0])
    assert not torch.allclose(first, whole, atol=1e-4) and not torch.allclose(first, plain, atol=1e-4)
    layers = len(pipe.style_adapter.layer_names)
    some = latents(pipe, style_scales=torch.tensor([[1.0] + [0.0] * (layers - 1)]))
    assert not torch.allclose(some, whole, atol=1e-4) and not torch.allclose(some, plain, atol=1e-4)


@pytest.mark.parametrize("plus", [False, True])
def test_frames_of_weight_0_have_no_style(plus: bool) -> None:
    pipe = made("animatediff", plus)
    # Without motion every frame is a picture of its own.
    given: dict[str, Any] = {"base_arguments": {"temporal": False}}
    styled, plain = latents(pipe, **given), latents(pipe, style=None, **given)
    some = latents(pipe, frame_style_scales=[1.0, 0.0, 0.5], **given)
    torch.testing.assert_close(some[:, :, 0], styled[:, :, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(some[:, :, 1], plain[:, :, 1], rtol=1e-4, atol=1e-4)
    apart = [(some[:, :, 2] - other[:, :, 2]).abs().max() for other in (styled, plain)]
    assert min(apart) > 1e-3
    # With it, frames still differ from those of a clip in full style.
    moving = latents(pipe, frame_style_scales=[1.0, 0.0, 0.5])
    assert not torch.allclose(moving, latents(pipe), atol=1e-4)


def test_a_batch_is_a_loop(pipe: StyleCrafterPipeline) -> None:
    prompts, styles = [PROMPT, "a boat"], [[PICTURE], [OTHER, PICTURE]]
    together = pipe(prompts, styles, generator=torch.Generator().manual_seed(5), output_type="latent").frames
    generator = torch.Generator().manual_seed(5)
    alone = [
        pipe(p, s, generator=generator, output_type="latent").frames
        for p, s in zip(prompts, styles, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_loaded_and_unloaded_the_base_is_what_it_was() -> None:
    base = tiny_animatediff_pipeline()
    pipe = StyleCrafterPipeline.from_base(base, **DEFAULTS)
    text, noise = pipe.encode_text(PROMPT), torch.randn(1, 4, 3, 8, 12)
    before, config = pipe.predict_noise(noise, 500, text), dict(pipe.config)
    encoder = tiny_image_encoder(num_hidden_layers=2)
    for plus in (False, True):  # the second takes the place of the first
        pipe.load_adapter(tiny_ip_adapter(base.unet, plus), image_encoder=encoder)
        assert torch.equal(pipe.predict_noise(noise, 500, text), before)
        styled = pipe.predict_noise(noise, 500, text, pipe.encode_style([PICTURE]))
        assert not torch.allclose(styled, before, atol=1e-3)
    with pytest.raises(InvalidInputError, match="image encoder gives"):
        pipe.load_adapter(tiny_ip_adapter(base.unet), image_encoder=tiny_image_encoder(projection_dim=20))
    assert torch.equal(pipe.predict_noise(noise, 500, text, pipe.encode_style([PICTURE])), styled)
    pipe.unload_adapter()
    assert torch.equal(pipe.predict_noise(noise, 500, text), before)
    assert {k: v for k, v in pipe.config.items() if k != "image_encoder"} == {
        k: v for k, v in config.items() if k != "image_encoder"
    }


def test_folders_and_half_precision(tmp_path: Path) -> None:
    pipe = made("animatediff", True)
    wanted = latents(pipe)
    pipe.save_pretrained(tmp_path)
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.style_adapter.reads == pipe.style_adapter.reads
    torch.testing.assert_close(latents(loaded), wanted, rtol=1e-4, atol=1e-4)
    half = StyleCrafterPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    out = latents(half)
    assert half.unet.dtype == half.style_adapter.dtype == torch.bfloat16
    assert (out - wanted).norm() < 0.1 * wanted.norm()
