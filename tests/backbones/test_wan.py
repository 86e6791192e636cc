"""Wan 2.1 behind the protocol, and in the sampling loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UniPCMultistepScheduler, WanPipeline
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.wan import Wan
from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.pipelines.schedulers import FLOW_SCHEDULERS, make_scheduler
from tests.tiny import tiny_image_encoder, tiny_picture, tiny_wan_base, tiny_wan_pipeline

PROMPT = "a red fox running"
SIZE = {"num_frames": 5, "height": 32, "width": 48}


@pytest.fixture
def pipe() -> StyleCrafterPipeline:
    return tiny_wan_pipeline()


@pytest.fixture
def wan(pipe: StyleCrafterPipeline) -> Wan:
    backbone = pipe.backbone
    assert isinstance(backbone, Wan)
    return backbone


def latents(pipe: Any, **arguments: Any) -> Tensor:
    return pipe(PROMPT, **{"seed": 1, "output_type": "latent", "num_inference_steps": 2, **arguments}).frames


# Text


def test_texts_are_those_of_the_base_pipeline(pipe: StyleCrafterPipeline, wan: Wan) -> None:
    texts = [PROMPT, "", "  a &amp;  boat "]
    with torch.no_grad():
        theirs, _ = pipe.base.encode_prompt(texts, None, False, max_sequence_length=wan.text_length)
    assert torch.equal(pipe.encode_text(texts), theirs)
    # From cached tokens training encodes the same.
    torch.testing.assert_close(wan.encode_tokens(wan.tokenize(texts)), theirs, rtol=1e-5, atol=1e-6)
    assert not theirs[1, 1:].any() and theirs[0, 3].any()
    # In a batch as alone.
    torch.testing.assert_close(pipe.encode_text(PROMPT)[0], theirs[0], rtol=1e-5, atol=1e-6)


def test_what_is_too_long_is_cut_with_a_warning(
    pipe: StyleCrafterPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    assert pipe.encode_text("fox " * 30).shape == (1, 16, 32)
    assert "the prompt has 30 tokens, 15 fit" in caplog.text


# Frames


def test_latents_are_scaled_as_the_base_pipeline_scales_them(pipe: StyleCrafterPipeline, wan: Wan) -> None:
    frames = torch.rand(2, 5, 3, 32, 48)
    coded = wan.encode_frames(frames)
    assert coded.shape == (2, *wan.latent_shape(5, 32, 48)) == (2, 4, 2, 4, 6)
    config = pipe.vae.config
    mean = pipe.vae.encode((frames * 2 - 1).transpose(1, 2)).latent_dist.mean
    by_channel = [(mean[:, c] - config.latents_mean[c]) / config.latents_std[c] for c in range(4)]
    torch.testing.assert_close(coded, torch.stack(by_channel, 1), rtol=1e-5, atol=1e-5)
    noisy = wan.encode_frames(frames, torch.ones_like(coded))
    assert not torch.allclose(noisy, coded, atol=1e-3)
    decoded = wan.decode_latents(coded)
    assert decoded.shape == frames.shape
    raw = mean[1:]
    alone = pipe.vae.decode(raw).sample.transpose(1, 2) / 2 + 0.5
    torch.testing.assert_close(decoded[1:], alone, rtol=1e-4, atol=1e-4)
    assert wan.frames_of(2) == 5


def test_frames_and_sizes_that_cannot_be_are_refused(pipe: StyleCrafterPipeline, wan: Wan) -> None:
    with pytest.raises(InvalidInputError, match=r"clips of 1, 5, 9 … frames, got 4"):
        latents(pipe, num_frames=4)
    with pytest.raises(InvalidInputError, match="16"):
        latents(pipe, height=40)
    noise, text = torch.randn(1, 4, 2, 3, 6), torch.randn(1, 5, 32)
    with pytest.raises(InvalidInputError, match="sides that 2 divides, got 3 x 6"):
        wan.predict(noise, 3, text)
    with pytest.raises(InvalidInputError, match="no layers between frames that could be left out"):
        wan.predict(noise, 3, text, temporal=False)
    with pytest.raises(InvalidInputError, match="knows 32 places along each axis, got 33 x 1 x 1 tokens"):
        wan.predict(torch.randn(1, 4, 33, 2, 2), 3, text)


# Denoising


def test_the_loop_is_that_of_the_base_pipeline(pipe: StyleCrafterPipeline) -> None:
    noise = torch.randn(1, 4, 2, 4, 6)
    for scheduler in (
        pipe.scheduler,
        UniPCMultistepScheduler.from_config(
            pipe.scheduler.config, use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
        ),
    ):
        pipe.scheduler = scheduler
        wanted = pipe.base(
            PROMPT,
            "blurry",
            **SIZE,
            num_inference_steps=3,
            guidance_scale=4.0,
            latents=noise,
            output_type="latent",
            max_sequence_length=16,
        ).frames
        ours = latents(
            pipe,
            negative_prompt="blurry",
            text_guidance_scale=4.0,
            latents=noise,
            num_inference_steps=3,
            seed=None,
        )
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    # Frames too.
    wanted = pipe.base(
        PROMPT, **SIZE, num_inference_steps=1, latents=noise, output_type="pt", max_sequence_length=16
    ).frames
    ours = pipe(PROMPT, latents=noise, num_inference_steps=1, output_type="pt").frames
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FLOW_SCHEDULERS)
def test_schedulers_by_name_are_those_of_flows(pipe: StyleCrafterPipeline, name: str) -> None:
    own = pipe.scheduler.config
    # A prediction that changes slowly, so that few steps are enough.
    pipe.transformer.proj_out.weight.data.mul_(0.05)
    arguments: dict[str, Any] = {"num_inference_steps": 20, "text_guidance_scale": 1.0}
    reference = latents(pipe, **arguments)
    pipe.scheduler = make_scheduler(name, own)
    assert pipe.scheduler.config.get("flow_shift", pipe.scheduler.config.get("shift")) == 3.0
    other = latents(pipe, **arguments)
    if name in ("lcm", "dpm++sde"):  # which add noise on the way, the same for a seed
        assert torch.equal(latents(pipe, **arguments), other)
        assert 0.3 < other.norm() / reference.norm() < 1.4  # lcm ends on a mean of what may be
    else:  # all solve one equation
        assert (other - reference).norm() / reference.norm() < 0.06
    pipe.scheduler = make_scheduler("euler", pipe.scheduler.config)
    assert torch.equal(latents(pipe, **arguments), reference)


def test_what_flows_do_not_have_is_refused(pipe: StyleCrafterPipeline) -> None:
    with pytest.raises(UnknownNameError, match="scheduler for a model that predicts flow"):
        make_scheduler("ddim", pipe.scheduler.config)
    with pytest.raises(InvalidInputError, match="give sigmas"):
        latents(pipe, timesteps=[900, 500], num_inference_steps=None)
    flow, pipe.scheduler = pipe.scheduler, DDIMScheduler()
    with pytest.raises(
        InvalidInputError, match="DDIMScheduler is for .* noise or velocity, Wan 2.1 predicts flow"
    ):
        latents(pipe)
    pipe.scheduler = make_scheduler("unipc", flow.config)
    assert latents(pipe, sigmas=[1.0, 0.5], num_inference_steps=None).isfinite().all()
    with pytest.raises(InvalidInputError, match="takes no timesteps"):
        latents(pipe, timesteps=[900, 500], num_inference_steps=None)


def test_noise_and_target_are_those_of_flow_matching(wan: Wan) -> None:
    clean, noise = torch.randn(3, 4, 2, 4, 6), torch.randn(3, 4, 2, 4, 6)
    times = torch.tensor([0, 250, 999])
    noisy = wan.add_noise(clean, noise, times)
    assert torch.equal(noisy[0], clean[0])
    torch.testing.assert_close(noisy[1], 0.75 * clean[1] + 0.25 * noise[1])
    # From a prediction that is right, one step of the sampler leads back.
    flow = wan.target(clean, noise, times)
    torch.testing.assert_close(noisy - times.view(-1, 1, 1, 1, 1) / 1000 * flow, clean, rtol=1e-4, atol=1e-5)


# Style


def test_a_batch_is_what_a_loop_gives(pipe: StyleCrafterPipeline) -> None:
    pictures, prompts = [tiny_picture(i) for i in range(2)], [PROMPT, "a boat on a lake"]
    arguments: dict[str, Any] = {"output_type": "latent", "num_inference_steps": 2}
    generator = torch.Generator().manual_seed(3)
    both = pipe(prompts, [[p] for p in pictures], generator=generator, **arguments).frames
    generator.manual_seed(3)
    for i in range(2):
        one = pipe(prompts[i], pictures[i], generator=generator, **arguments).frames
        torch.testing.assert_close(both[i : i + 1], one, rtol=1e-4, atol=1e-4)


def test_style_is_zero_at_scale_zero_and_gone_when_unloaded(pipe: StyleCrafterPipeline) -> None:
    picture = tiny_picture()
    plain, styled = latents(pipe), latents(pipe, style_images=picture)
    assert not torch.allclose(plain, styled, atol=1e-2)
    assert torch.equal(latents(pipe, style_images=picture, style_scale=0.0), plain)
    weaker = latents(pipe, style_images=picture, frame_style_scales=[1, 0, 0, 0, 0])
    assert not torch.allclose(weaker, styled, atol=1e-3) and not torch.allclose(weaker, plain, atol=1e-3)
    state = {name: value.clone() for name, value in pipe.transformer.state_dict().items()}
    adapter = pipe.style_adapter
    pipe.unload_adapter()
    assert torch.equal(latents(pipe), plain)
    assert all(torch.equal(v, state[name]) for name, v in pipe.transformer.state_dict().items())
    pipe.load_adapter(adapter)
    assert torch.equal(latents(pipe, style_images=picture), styled)


def test_every_latent_frame_may_have_a_style(pipe: StyleCrafterPipeline, wan: Wan) -> None:
    torch.manual_seed(6)
    noise, text = torch.randn(2, 4, 2, 4, 6), torch.randn(2, 5, 32)
    one, other = torch.randn(2, 2, 24), torch.randn(2, 2, 24)
    scales = pipe.style_adapter.predict_scales(one, text)
    styled = wan.predict(noise, 500, text, one, scales)
    alike = wan.predict(noise, 500, text, torch.stack([one, one], 1), scales)
    torch.testing.assert_close(alike, styled, rtol=1e-4, atol=1e-4)
    changing = wan.predict(noise, 500, text, torch.stack([one, other], 1), scales)
    change = (changing - styled).square().sum(dim=(1, 3, 4))
    # It acts on its own frame; the other one sees it through self-attention alone.
    assert bool((change[:, 1] > 4 * change[:, 0]).all())
    keys = [(0.0, tiny_picture(0)), (1.0, tiny_picture(1))]
    clip = latents(pipe, style_keyframes=keys)
    for place in (0, 1):
        whole = latents(pipe, style_images=tiny_picture(place))
        distance = (clip - whole).square().sum(dim=(0, 1, 3, 4))
        assert distance[place] < distance[1 - place]


def test_gradient_checkpointing_keeps_the_style(pipe: StyleCrafterPipeline, wan: Wan) -> None:
    style = torch.randn(1, 2, 24)
    inputs = torch.randn(1, 4, 2, 4, 6), torch.tensor([400]), torch.randn(1, 5, 32), style
    names = [n for n, _ in pipe.style_adapter.layers.named_parameters()]

    def gradients() -> list[Tensor]:
        loss = wan.predict(*inputs, pipe.style_adapter.predict_scales(style, inputs[2])).square().mean()
        return list(torch.autograd.grad(loss, list(pipe.style_adapter.layers.parameters())))

    plain = gradients()
    pipe.transformer.enable_gradient_checkpointing()
    for name, with_it, without in zip(names, gradients(), plain, strict=True):
        assert without.any(), name
        torch.testing.assert_close(with_it, without, msg=name)


# LoRA


def test_a_temporal_lora_trains_and_is_read_by_diffusers(
    pipe: StyleCrafterPipeline, wan: Wan, tmp_path: Path
) -> None:
    picture = tiny_picture()
    before = latents(pipe, style_images=picture)
    trained = {name for name, value in pipe.transformer.named_parameters() if value.requires_grad}
    assert wan.temporal_parameters() == {}
    with pytest.raises(InvalidInputError, match="no temporal LoRA to save"):
        wan.save_temporal_lora(tmp_path)
    with pytest.raises(InvalidInputError, match="rank of a LoRA must be a whole number"):
        wan.add_temporal_lora(0)
    wan.add_temporal_lora(2)
    wan.add_temporal_lora(2)  # is there already
    with pytest.raises(InvalidInputError, match="has rank 2, asked for 4"):
        wan.add_temporal_lora(4)
    matrices = wan.temporal_parameters()
    assert len(matrices) == 2 * 4 * 2 and all("attn1." in name for name in matrices)
    assert all(value.requires_grad for value in matrices.values())
    still = {n for n, value in pipe.transformer.named_parameters() if value.requires_grad} - matrices.keys()
    assert {name.replace(".base_layer.", ".") for name in still} == trained
    torch.testing.assert_close(latents(pipe, style_images=picture), before)
    torch.manual_seed(5)
    for name, value in matrices.items():
        if ".lora_B." in name:
            torch.nn.init.normal_(value, std=0.3)
    changed = latents(pipe, style_images=picture)
    assert not torch.allclose(changed, before, atol=1e-2)
    wan.save_temporal_lora(tmp_path)
    other = tiny_wan_pipeline()
    other.base.load_lora_weights(tmp_path)
    torch.testing.assert_close(latents(other, style_images=picture), changed, rtol=1e-4, atol=1e-4)
    other.base.unload_lora_weights()
    torch.testing.assert_close(latents(other, style_images=picture), before, rtol=1e-4, atol=1e-4)


# Components


def test_from_a_folder_in_the_layout_of_diffusers(tmp_path: Path) -> None:
    base = tiny_wan_base()
    base.save_pretrained(tmp_path / "base")
    pipe = StyleCrafterPipeline.from_base(tmp_path / "base", default_text_guidance=6.0)
    pipe.set_progress_bar_config(disable=True)
    defaults = {name: pipe.config[f"default_{name}"] for name in Wan.knobs}
    assert defaults == {**Wan.knobs, "text_guidance": 6.0}
    assert isinstance(pipe.base, WanPipeline)
    # In half precision the base keeps some of its parts in float32.
    half = StyleCrafterPipeline.from_base(tmp_path / "base", dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    assert half.transformer.blocks[0].norm2.weight.dtype == torch.float32
    adapter = tiny_wan_pipeline().style_adapter
    adapter.detach()
    half.load_adapter(adapter, image_encoder=tiny_image_encoder().bfloat16())
    assert latents(half, style_images=tiny_picture(), **SIZE).isfinite().all()
    pipe.save_pretrained(tmp_path / "ours")
    again = StyleCrafterPipeline.from_pretrained(tmp_path / "ours")
    again.set_progress_bar_config(disable=True)
    torch.testing.assert_close(latents(again, **SIZE), latents(pipe, **SIZE), rtol=1e-4, atol=1e-4)


def test_bfloat16_and_offloading(pipe: StyleCrafterPipeline) -> None:
    picture = tiny_picture()
    exact = latents(pipe, style_images=picture)
    pipe.to(torch.bfloat16)
    rounded = latents(pipe, style_images=picture)
    assert rounded.dtype == torch.float32 and (rounded - exact).norm() / exact.norm() < 0.2
    assert len(pipe(PROMPT, picture, seed=1).frames[0]) == 5
    pipe.to(torch.float32)
    pipe.enable_model_cpu_offload(device="cpu")
    assert latents(pipe, style_images=picture).isfinite().all()


def test_components_that_nothing_needs_may_be_none(pipe: StyleCrafterPipeline) -> None:
    text = pipe.encode_text([PROMPT, ""])
    parts = {**pipe.components, "vae": None, "text_encoder": None, "tokenizer": None, "image_encoder": None}
    pipe.style_adapter.detach()
    bare = StyleCrafterPipeline(**parts, default_steps=2, default_frames=5)
    bare.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 2, 4, 6)
    given = {"text_embeds": text[:1], "negative_text_embeds": text[1:], "style_tokens": torch.zeros(1, 2, 24)}
    assert bare(**given, latents=noise, seed=1, output_type="latent").frames.shape == noise.shape
    with pytest.raises(InvalidInputError, match="no tokenizer|no text_encoder"):
        bare.encode_text(PROMPT)
    with pytest.raises(InvalidInputError, match="no vae"):
        bare.decode_latents(noise)


def test_other_models_of_wan_are_refused_in_words() -> None:
    with_pictures = tiny_wan_base(added_kv_proj_dim=24, image_dim=16)
    with pytest.raises(InvalidInputError, match="image-to-video models of Wan"):
        StyleCrafterPipeline.from_base(with_pictures)
    with pytest.raises(InvalidInputError, match="image-to-video models of Wan"):
        StyleCrafterPipeline.from_base(tiny_wan_base(in_channels=8))
    two = tiny_wan_base()
    two.register_modules(transformer_2=tiny_wan_base().transformer)
    with pytest.raises(InvalidInputError, match=r"two transformers .* as Wan 2\.2 has"):
        StyleCrafterPipeline.from_base(two)
    narrow = tiny_wan_base(text_dim=24)
    with pytest.raises(InvalidInputError, match="width 32, the transformer reads width 24"):
        StyleCrafterPipeline.from_base(narrow)


def test_an_adapter_for_another_width_is_refused(pipe: StyleCrafterPipeline) -> None:
    own = pipe.style_adapter
    wide = tiny_wan_base(attention_head_dim=24)
    other = StyleAdapter.for_model(wide.transformer, 16, text_dim=32, extractor_heads=2, scale_heads=2)
    with pytest.raises(InvalidInputError, match="inner width 24"):
        pipe.load_adapter(other)
    assert pipe.style_adapter is own and own.attached
