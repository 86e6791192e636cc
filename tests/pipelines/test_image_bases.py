"""The same pipeline around Stable Diffusion: images in a style, and without one what diffusers draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor

from stylecrafter import StyleCrafterImagePipeline, StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError
from tests.tiny import stable_diffusion_unet, tiny_image_pipeline

PROMPT = "a red fox running"


@pytest.fixture(scope="module")
def pipe() -> StyleCrafterPipeline:
    return tiny_image_pipeline()


def latents(pipe: StyleCrafterPipeline, prompt: str | list[str] = PROMPT, style=None, **arguments) -> Tensor:
    return pipe(prompt, style, output_type="latent", **{"seed": 7, **arguments}).frames


def test_an_image_is_a_clip_of_one_frame(pipe: StyleCrafterPipeline, picture) -> None:
    (frames,) = pipe(PROMPT, picture, seed=1).frames
    assert [frame.size for frame in frames] == [(24, 16)]
    image = StyleCrafterImagePipeline(
        **pipe.components, **{k: v for k, v in pipe.config.items() if k in _DEFAULTS}
    )
    image.set_progress_bar_config(disable=True)
    assert image(PROMPT, picture, seed=1).images[0].tobytes() == frames[0].tobytes()
    with pytest.raises(InvalidInputError, match="Stable Diffusion makes images: num_frames must be 1, got 2"):
        pipe(PROMPT, picture, num_frames=2)


_DEFAULTS = ("reference_size", "default_steps", "default_height", "default_width")


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_without_style_it_draws_what_diffusers_draws(prediction_type: str) -> None:
    pipe = tiny_image_pipeline(prediction_type=prediction_type)
    parts = {name: getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    theirs = StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    theirs.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(3))
    given = {
        "prompt": [PROMPT, "a boat"],
        "negative_prompt": ["blurry", ""],
        "num_inference_steps": 4,
        "eta": 0.0,
    }
    size = {"height": 16, "width": 24}
    wanted = theirs(**given, **size, latents=noise, guidance_scale=7.5, output_type="latent").images
    ours = pipe(
        **given, **size, latents=noise[:, :, None], text_guidance_scale=7.5, output_type="latent"
    ).frames
    torch.testing.assert_close(ours[:, :, 0], wanted, rtol=1e-4, atol=1e-4 * float(wanted.std()))
    # And one prediction, to the bit.
    text = theirs.encode_prompt(PROMPT, "cpu", 1, False)[0]
    assert torch.equal(pipe.encode_text(PROMPT), text)
    with torch.no_grad():
        predicted = pipe.unet(noise[:1], 300, text).sample
    assert torch.equal(pipe.predict_noise(noise[:1, :, None], 300, text), predicted[:, :, None])


def test_the_style_counts_and_scale_0_is_the_base(pipe: StyleCrafterPipeline, picture, other_picture) -> None:
    plain, styled = latents(pipe), latents(pipe, style=picture)
    assert (plain - styled).abs().max() > 1e-3
    assert not torch.equal(latents(pipe, style=other_picture), styled)
    assert torch.equal(latents(pipe, style=picture, style_scale=0.0), plain)
    text, tokens = pipe.encode_text(PROMPT), pipe.encode_style([picture])
    noise = torch.randn(1, 4, 1, 8, 12)
    base = pipe.predict_noise(noise, 500, text)
    zeros = torch.zeros_like(pipe.predict_scales(tokens, text))
    assert torch.equal(pipe.predict_noise(noise, 500, text, tokens, zeros), base)
    assert not torch.equal(pipe.predict_noise(noise, 500, text, tokens), base)


def test_a_batch_is_a_loop(pipe: StyleCrafterPipeline, picture, other_picture) -> None:
    prompts, styles = [PROMPT, "a boat on a lake"], [[picture], [other_picture, picture]]
    together = latents(pipe, prompts, styles, seed=None, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    alone = [
        latents(pipe, p, s, seed=None, generator=generator) for p, s in zip(prompts, styles, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_detached_the_base_is_what_it_was(picture) -> None:
    pipe = tiny_image_pipeline()
    adapter, text = pipe.style_adapter, pipe.encode_text(PROMPT)
    noise = torch.randn(1, 4, 1, 8, 12)
    attached = pipe.predict_noise(noise, 500, text)
    keys = list(pipe.unet.state_dict())
    adapter.detach()
    assert torch.equal(pipe.predict_noise(noise, 500, text), attached)
    assert list(pipe.unet.state_dict()) == keys
    assert {type(p).__name__ for p in pipe.unet.attn_processors.values()} == {"AttnProcessor2_0"}
    with pytest.raises(InvalidInputError, match="need an adapter"):
        pipe.predict_noise(noise, 500, text, torch.zeros(1, 2, text.shape[-1]))


def test_text_states_have_two_names_and_the_base_model_gets_arguments(pipe: StyleCrafterPipeline) -> None:
    text, noise = pipe.encode_text(PROMPT), torch.randn(1, 4, 1, 8, 12)
    wanted = pipe.predict_noise(noise, 500, text)
    assert torch.equal(pipe.predict_noise(noise, 500, text_embeds=text), wanted)
    masked = torch.zeros(1, text.shape[1])
    masked[:, 0] = 1
    assert not torch.equal(pipe.predict_noise(noise, 500, text, encoder_attention_mask=masked), wanted)
    for wrong in ({}, {"text": text, "text_embeds": text}):
        with pytest.raises(InvalidInputError, match="give text states as text"):
            pipe.predict_noise(noise, 500, **wrong)


def test_a_folder_holds_the_whole_of_it(pipe: StyleCrafterPipeline, picture, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    for name, value in pipe.unet.state_dict().items():
        assert torch.equal(loaded.unet.state_dict()[name], value)
    # Products of a single row round by where in memory the weights lie.
    torch.testing.assert_close(
        latents(loaded, style=picture), latents(pipe, style=picture), rtol=1e-4, atol=1e-4
    )
    # As strictly as any other model.
    from safetensors.torch import load_file, save_file

    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_in.weight"]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"UNet2DConditionModel.*conv_in\.weight"):
        StyleCrafterPipeline.from_pretrained(tmp_path)


def test_components_that_nothing_needs_may_be_none(pipe: StyleCrafterPipeline) -> None:
    parts = {**pipe.components, "vae": None, "text_encoder": None, "tokenizer": None, "image_encoder": None}
    pipe.style_adapter.detach()
    try:
        bare = StyleCrafterPipeline(**parts, default_steps=2, default_frames=1)
        bare.set_progress_bar_config(disable=True)
        text, noise = pipe.encode_text([PROMPT, ""]), torch.randn(1, 4, 1, 8, 8)
        tokens = torch.zeros(1, 2, text.shape[-1])
        given = {"text_embeds": text[:1], "negative_text_embeds": text[1:], "style_tokens": tokens}
        assert bare(**given, latents=noise, seed=1, output_type="latent").frames.shape == (1, 4, 1, 8, 8)
        with pytest.raises(InvalidInputError, match="no tokenizer"):
            bare.encode_text(PROMPT)
        with pytest.raises(InvalidInputError, match="no vae"):
            bare.decode_latents(noise)
    finally:
        if not pipe.style_adapter.attached:
            pipe.style_adapter.attach(pipe.unet)


def test_a_base_that_reads_more_than_a_text_is_refused(pipe: StyleCrafterPipeline) -> None:
    parts = {**pipe.components, "unet": stable_diffusion_unet(num_class_embeds=4), "style_adapter": None}
    with pytest.raises(InvalidInputError, match="more than noisy latents and a text .num_class_embeds is 4"):
        StyleCrafterPipeline(**parts)


def test_an_autoencoder_of_other_channels_is_refused(pipe: StyleCrafterPipeline) -> None:
    vae = AutoencoderKL(block_out_channels=[4], norm_num_groups=4, latent_channels=8)
    with pytest.raises(InvalidInputError, match="latents of 8 channels, the UNet reads 4"):
        StyleCrafterPipeline(**{**pipe.components, "vae": vae})
