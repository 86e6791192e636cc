"""SDXL as a base model: two text encoders, pooled embeddings, sizes, and an autoencoder that overflows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline

from stylecrafter.backbones.families import COMPONENTS, backbone_for
from stylecrafter.backbones.sdxl import SDXL
from stylecrafter.backbones.stable_diffusion import StableDiffusion
from stylecrafter.errors import InvalidInputError
from tests.tiny import PROJECTION, TEXT_LENGTH, WIDTH, sdxl_unet, stable_diffusion_unet, tiny_sdxl_pipeline

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base() -> StableDiffusionXLPipeline:
    return tiny_sdxl_pipeline()


def parts(base: StableDiffusionXLPipeline, **changes: Any) -> dict[str, Any]:
    return {**{name: getattr(base, name, None) for name in COMPONENTS}, **changes}


@pytest.fixture(scope="module")
def sdxl(base: StableDiffusionXLPipeline) -> SDXL:
    found = backbone_for(**parts(base))
    assert isinstance(found, SDXL)
    found.check()
    return found


def test_texts_are_what_the_base_pipeline_makes_of_them(base, sdxl: SDXL) -> None:
    texts = ["a red fox", "a boat on a lake"]
    found = sdxl.encode_texts(texts, CPU)
    states, _, pooled, _ = base.encode_prompt(texts, device=CPU, do_classifier_free_guidance=False)
    assert torch.equal(found.states, states) and found.states.shape == (2, TEXT_LENGTH, 2 * WIDTH)
    assert torch.equal(found.arguments["pooled_prompt_embeds"], pooled)
    assert sdxl.pooled_dim == PROJECTION


def test_training_reads_cached_tokens_of_both_tokenizers(sdxl: SDXL) -> None:
    texts = ["a red fox", ""]
    ids = sdxl.tokenize(texts)
    assert ids.shape == (2, 2, TEXT_LENGTH)
    found = sdxl.encode_texts(texts, CPU)
    torch.testing.assert_close(sdxl.encode_tokens(ids), found.states)
    torch.testing.assert_close(sdxl.text_arguments(ids), dict(found.arguments))
    assert sdxl.encode_tokens(ids).requires_grad


@pytest.mark.parametrize("zeros", [True, False])
def test_no_text_is_zeros_where_the_model_says_so(base, sdxl: SDXL, zeros: bool) -> None:
    found = backbone_for(**parts(base), force_zeros_for_empty_prompt=zeros).encode_no_text(CPU)
    empty = sdxl.encode_texts([""], CPU)
    assert found.states.shape == empty.states.shape
    assert bool((found.states == 0).all()) == zeros
    assert torch.equal(found.states, empty.states) != zeros
    assert (
        torch.equal(found.arguments["pooled_prompt_embeds"], empty.arguments["pooled_prompt_embeds"]) != zeros
    )


def test_sizes_are_the_latents_own_unless_they_are_given(base, sdxl: SDXL) -> None:
    latents, text = torch.randn(2, 4, 1, 8, 12), sdxl.encode_texts(["a fox", "a boat"], CPU)
    pooled = text.arguments["pooled_prompt_embeds"]
    sizes = torch.tensor([[16.0, 24, 0, 0, 16, 24]])

    def predict(**beside: Any) -> torch.Tensor:
        with torch.no_grad():
            return sdxl.predict(latents, 500, text.states, **beside)

    added = {"text_embeds": pooled, "time_ids": sizes.expand(2, -1)}
    plain = predict(pooled_prompt_embeds=pooled)
    with torch.no_grad():
        wanted = base.unet(latents[:, :, 0], 500, text.states, added_cond_kwargs=added).sample
    assert torch.equal(plain[:, :, 0], wanted)
    assert torch.equal(predict(added_cond_kwargs=added), plain)
    assert torch.equal(predict(pooled_prompt_embeds=pooled, time_ids=sizes[0]), plain)
    assert not torch.equal(predict(pooled_prompt_embeds=pooled, time_ids=sizes * 2), plain)
    with pytest.raises(InvalidInputError, match="give pooled_prompt_embeds"):
        predict()


def test_latents_are_normed_by_the_statistics_of_the_autoencoder(base) -> None:
    config = {name: value for name, value in base.vae.config.items() if not name.startswith("_")}
    vae = AutoencoderKL(**{**config, "latents_mean": [1.0, 2, 3, 4], "latents_std": [2.0, 2, 2, 5]})
    sdxl = backbone_for(**parts(base, vae=vae))
    ones = torch.ones(1, 4, 1, 2, 2)
    seen = sdxl.scaled(ones[:, :, 0])
    assert seen[0, :, 0, 0].tolist() == pytest.approx(
        [v * vae.config.scaling_factor for v in (0, -0.5, -1, -0.6)]
    )
    torch.testing.assert_close(sdxl.unscaled(seen[:, :, None]), ones)
    frames = torch.rand(1, 1, 3, 16, 16)
    with torch.no_grad():
        latents = sdxl.encode_frames(frames)
        raw = vae.encode(frames[0] * 2 - 1).latent_dist.mean
        torch.testing.assert_close(latents[:, :, 0], sdxl.scaled(raw))
        torch.testing.assert_close(sdxl.decode_latents(latents)[0], vae.decode(raw).sample / 2 + 0.5)


def test_an_autoencoder_that_would_overflow_decodes_in_float32(base, sdxl: SDXL) -> None:
    half = AutoencoderKL.from_config(base.vae.config)
    half.load_state_dict(base.vae.state_dict())
    half = half.eval().half()
    weights = {name: value.clone() for name, value in half.state_dict().items()}
    found = backbone_for(**parts(base, vae=half))
    latents = torch.randn(1, 4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        seen = []
        hook = half.decoder.register_forward_hook(lambda *_: seen.append(half.dtype))
        frames = found.decode_latents(latents.half())
        hook.remove()
        close = sdxl.decode_latents(latents)
    assert seen == [torch.float32] and half.dtype == torch.float16
    torch.testing.assert_close(frames, close, rtol=0, atol=0.02)
    assert all(torch.equal(value, weights[name]) for name, value in half.state_dict().items())


def test_parts_of_other_models_are_refused(base) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text_encoder_2": base.text_encoder_2, "unet": sdxl_unet(cross_attention_dim=24)}, "give width 32"),
        ({"unet": sdxl_unet(projection_class_embeddings_input_dim=70)}, "the UNet reads width 22"),
        ({"unet": sdxl_unet(in_channels=9)}, "reads 9 channels and gives 4"),
        ({"unet": sdxl_unet(time_cond_proj_dim=8)}, "time_cond_proj_dim is 8"),
    ]
    for changes, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            backbone_for(**parts(base, **changes)).check()


def test_what_is_missing_is_named_and_only_where_it_is_needed(base) -> None:
    bare = backbone_for(**parts(base, text_encoder_2=None, vae=None))
    bare.check()
    assert bare.pixels_per_latent == 8 and bare.encode_no_text(CPU).states.shape[-1] == 2 * WIDTH
    with pytest.raises(InvalidInputError, match="this SDXL model has no text_encoder_2"):
        bare.encode_texts(["a fox"], CPU)
    assert isinstance(backbone_for(unet=stable_diffusion_unet()), StableDiffusion)
    assert not isinstance(backbone_for(unet=stable_diffusion_unet()), SDXL)
