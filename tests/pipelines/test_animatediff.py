"""Clips of Stable Diffusion with motion modules: without style what diffusers makes, with style ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from diffusers import AnimateDiffControlNetPipeline, AnimateDiffPipeline, MotionAdapter
from safetensors.torch import save_file
from torch import Tensor

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.pipelines.motion import open_motion_adapter
from tests.tiny import (
    DEFAULTS,
    WIDTH,
    motion_adapter,
    sdxl_unet,
    stable_diffusion_unet,
    tiny_animatediff_pipeline,
    tiny_controlnet,
    tiny_image_encoder,
    tiny_picture,
    tiny_sd_pipeline,
)

PROMPT = "a red fox running"
SIZES = {
    "num_style_tokens": 2,
    "extractor_layers": 1,
    "extractor_heads": 2,
    "scale_layers": 1,
    "scale_heads": 2,
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quiet(pipe: StyleCrafterPipeline) -> StyleCrafterPipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def around(base: AnimateDiffPipeline) -> StyleCrafterPipeline:
    """Ours around it, with an adapter."""
    torch.manual_seed(0)
    adapter = StyleAdapter.for_model(base.unet, WIDTH, **SIZES).eval()
    return quiet(StyleCrafterPipeline.from_base(base, adapter, tiny_image_encoder(), **DEFAULTS))


@pytest.fixture(scope="module")
def pipe() -> StyleCrafterPipeline:
    return around(tiny_animatediff_pipeline())


def latents(pipe: StyleCrafterPipeline, prompt: str | list[str] = PROMPT, style=None, **arguments) -> Tensor:
    return pipe(prompt, style, output_type="latent", **{"seed": 7, **arguments}).frames


def test_without_style_it_makes_what_diffusers_makes(pipe: StyleCrafterPipeline) -> None:
    given = {
        "prompt": [PROMPT, "a boat"],
        "negative_prompt": ["blurry", ""],
        "num_inference_steps": 4,
        "height": 16,
        "width": 24,
        "latents": draw(2, 4, 3, 8, 12),
        "output_type": "latent",
    }
    wanted = pipe.base(**given, num_frames=3, guidance_scale=7.5).frames
    ours = pipe(**given, text_guidance_scale=7.5).frames
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    assert pipe.config.default_frames == 3 and pipe.backbone.default_knobs()["frames"] == 16


def test_frames_know_of_each_other_and_of_their_own_text(pipe: StyleCrafterPipeline) -> None:
    noise, text = draw(2, 4, 3, 8, 12), pipe.encode_text([PROMPT, "a boat"])
    both = pipe.predict_noise(noise, 500, text)
    changed = noise.clone()
    changed[0, :, 2] += 1
    again = pipe.predict_noise(changed, torch.tensor([500, 500]), text)
    assert (again[0, :, 0] - both[0, :, 0]).abs().max() > 1e-5
    torch.testing.assert_close(again[1], both[1])
    torch.testing.assert_close(pipe.predict_noise(noise[1:], 500, text[1:]), both[1:])


def test_a_single_frame_passes_by_the_motion_modules() -> None:
    image = tiny_sd_pipeline()
    pipe = quiet(StyleCrafterPipeline.from_base(image, motion_adapter=motion_adapter()))
    keys = list(pipe.unet.state_dict())
    noise, text = draw(2, 4, 8, 12), pipe.encode_text(PROMPT).expand(2, -1, -1)
    with torch.no_grad():
        wanted = image.unet(noise, 300, text).sample
        moved = pipe.unet(noise[:, :, None], 300, text).sample
    ours = pipe.predict_noise(noise[:, :, None], 300, text)
    torch.testing.assert_close(ours[:, :, 0], wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(pipe.predict_noise(noise[:, :, None], 300, text, temporal=True), moved)
    assert not torch.allclose(moved, ours, atol=1e-4)
    assert list(pipe.unet.state_dict()) == keys
    # Frames that do not know of each other are pictures.
    apart = pipe.predict_noise(noise.unsqueeze(0).transpose(1, 2), 300, text[:1], temporal=False)
    torch.testing.assert_close(apart[0].transpose(0, 1), wanted, rtol=1e-5, atol=1e-5)


def test_a_base_of_images_gets_the_noise_that_motion_modules_know() -> None:
    image = tiny_sd_pipeline()
    pipe = StyleCrafterPipeline.from_base(image, motion_adapter=motion_adapter())
    assert isinstance(pipe.base, AnimateDiffPipeline) and pipe.vae is image.vae
    assert pipe.scheduler.config.beta_schedule == "linear"
    assert image.scheduler.config.beta_schedule == "scaled_linear"
    at = torch.tensor([500])
    alpha = pipe.scheduler.alphas_cumprod[at].view(1, 1, 1, 1, 1)
    clean, noise = draw(1, 4, 3, 2, 2), draw(1, 4, 3, 2, 2, seed=1)
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    torch.testing.assert_close(pipe.backbone.add_noise(clean, noise, at), noisy)
    assert pipe.backbone.target(clean, noise, at) is noise


def published(modules: MotionAdapter) -> dict[str, Tensor]:
    """The state dict as AnimateDiff's own files name it."""
    names = {
        ".attn1.": ".attention_blocks.0.",
        ".attn2.": ".attention_blocks.1.",
        ".norm1.": ".norms.0.",
        ".norm2.": ".norms.1.",
        ".norm3.": ".ff_norm.",
    }
    state = {}
    for key, value in modules.state_dict().items():
        block, number, rest = (
            key.split(".motion_modules.")[0],
            *key.split(".motion_modules.")[1].split(".", 1),
        )
        if rest.endswith("pos_embed.pe"):
            rest = rest.replace("pos_embed", "attention_blocks.0.pos_encoder")
        for new, old in names.items():
            rest = rest.replace(new, old)
        state[f"{block}.motion_modules.{number}.temporal_transformer.{rest}"] = value.clone()
    return state


@pytest.mark.parametrize("middle", [True, False])
def test_motion_modules_come_from_anywhere(tmp_path: Path, middle: bool) -> None:
    # Heads and groups as published, which files do not tell.
    modules = MotionAdapter(
        (8, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=8,
        motion_max_seq_length=24,
        use_motion_mid_block=middle,
    )
    modules.save_pretrained(tmp_path / "folder")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in published(modules).items()}}, tmp_path / "mm.ckpt"
    )
    save_file(published(modules), tmp_path / "mm.safetensors")
    save_file(modules.state_dict(), tmp_path / "converted.safetensors")
    assert open_motion_adapter(modules) is modules
    for name in ("folder", "mm.ckpt", "mm.safetensors", "converted.safetensors"):
        loaded = open_motion_adapter(tmp_path / name)
        assert loaded.config.motion_max_seq_length == 24
        own = loaded.state_dict()
        assert own.keys() == modules.state_dict().keys()
        for key, value in modules.state_dict().items():
            assert torch.equal(own[key], value), key
    if middle:
        pipe = StyleCrafterPipeline.from_base(tiny_sd_pipeline(), motion_adapter=str(tmp_path / "mm.ckpt"))
        moving = {k.removeprefix("unet.") for k in pipe.backbone.temporal_parameters()}
        assert {k for k, _ in modules.named_parameters()} == moving


def test_motion_modules_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    modules = motion_adapter()
    whole = published(modules)
    lacking = dict(list(whole.items())[:-1])
    save_file(lacking, tmp_path / "lacking.safetensors")
    with pytest.raises(
        CheckpointError, match="motion modules does not fit MotionAdapter: 1 tensor .* missing"
    ):
        open_motion_adapter(tmp_path / "lacking.safetensors")
    save_file({**whole, "strange": torch.zeros(1)}, tmp_path / "strange.safetensors")
    with pytest.raises(CheckpointError, match="strange.* without a place"):
        open_motion_adapter(tmp_path / "strange.safetensors")
    save_file({"strange": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="the file has none"):
        open_motion_adapter(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no motion adapter that can be loaded"):
        open_motion_adapter(tmp_path / "nothing")
    wide = MotionAdapter((16, 32), motion_layers_per_block=1, motion_norm_num_groups=4)
    with pytest.raises(InvalidInputError, match=r"widths \(16, 32\), it has \(8, 16\)"):
        StyleCrafterPipeline.from_base(tiny_sd_pipeline(), motion_adapter=wide)
    with pytest.raises(
        InvalidInputError, match="Stable Diffusion pipeline into AnimateDiff, got AnimateDiffPipel"
    ):
        StyleCrafterPipeline.from_base(tiny_animatediff_pipeline(), motion_adapter=modules)


def test_clips_that_are_too_long_for_the_motion_modules_take_windows() -> None:
    pipe = quiet(
        StyleCrafterPipeline.from_base(tiny_sd_pipeline(), motion_adapter=motion_adapter(), **DEFAULTS)
    )
    with pytest.raises(
        InvalidInputError, match=r"at most 8 frames at once, got 9; .*\(window=8\), or .*enable_free_noise"
    ):
        pipe(PROMPT, num_frames=9, seed=1)
    with pytest.raises(InvalidInputError, match="at most 8 frames at once"):
        pipe.predict_noise(draw(1, 4, 9, 8, 8), 500, pipe.encode_text(PROMPT))
    assert latents(pipe, num_frames=9, window=8, num_inference_steps=1).shape == (1, 4, 9, 8, 12)
    pipe.base.enable_free_noise(context_length=4, context_stride=2)
    assert latents(pipe, num_frames=9, num_inference_steps=1).shape == (1, 4, 9, 8, 12)


def test_the_style_counts_and_scale_0_is_the_base(pipe: StyleCrafterPipeline) -> None:
    picture, other = tiny_picture(0), tiny_picture(1)
    plain, styled = latents(pipe), latents(pipe, style=picture)
    assert (plain - styled).abs().max() > 1e-3
    assert not torch.equal(latents(pipe, style=other), styled)
    assert torch.equal(latents(pipe, style=picture, style_scale=0.0), plain)
    text, tokens, noise = pipe.encode_text(PROMPT), pipe.encode_style([picture]), draw(1, 4, 3, 8, 12)
    base = pipe.predict_noise(noise, 500, text)
    scales = torch.ones(1, 3, len(pipe.style_adapter.layer_names))
    scales[:, 1] = 0
    some = pipe.predict_noise(noise, 500, text, tokens, scales, temporal=False)
    pictures = pipe.predict_noise(noise, 500, text, temporal=False)
    torch.testing.assert_close(some[:, :, 1], pictures[:, :, 1])
    assert not torch.allclose(some[:, :, 0], pictures[:, :, 0], atol=1e-4)
    assert torch.equal(pipe.predict_noise(noise, 500, text, tokens, 0 * scales), base)


def test_a_batch_is_a_loop(pipe: StyleCrafterPipeline) -> None:
    prompts, styles = [PROMPT, "a boat on a lake"], [[tiny_picture(0)], [tiny_picture(1), tiny_picture(0)]]
    together = latents(pipe, prompts, styles, seed=None, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    alone = [
        latents(pipe, p, s, seed=None, generator=generator) for p, s in zip(prompts, styles, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_unloaded_the_base_is_what_it_was() -> None:
    base = tiny_animatediff_pipeline()
    processors = dict(base.unet.attn_processors)
    noise, text = draw(1, 4, 3, 8, 12), draw(3, 5, WIDTH)
    with torch.no_grad():
        before = base.unet(noise, 500, text).sample
        pipe = around(base)
        assert torch.equal(base.unet(noise, 500, text).sample, before)
        pipe.unload_adapter()
        assert torch.equal(base.unet(noise, 500, text).sample, before)
    assert base.unet.attn_processors == processors


def lora(unet: Any, part: str) -> dict[str, Tensor]:
    """A LoRA of rank 2 on some of the UNet's attention."""
    state = {}
    for name, module in unet.named_modules():
        if part in name and name.endswith("to_q"):
            state[f"unet.{name}.lora_A.weight"] = draw(2, module.in_features)
            state[f"unet.{name}.lora_B.weight"] = draw(module.out_features, 2)
    return state


@pytest.mark.parametrize("part", [".attentions.", ".motion_modules."])
def test_loras_of_pictures_and_of_motion_act(part: str) -> None:
    pipe = around(tiny_animatediff_pipeline())
    given: dict[str, Any] = {"style": tiny_picture(0), "num_inference_steps": 1}
    plain = latents(pipe, **given)
    pipe.base.load_lora_weights(lora(pipe.unet, part))
    changed = latents(pipe, **given)
    assert not torch.allclose(changed, plain, atol=1e-4)
    off = latents(pipe, **given, base_arguments={"cross_attention_kwargs": {"scale": 0.0}})
    torch.testing.assert_close(off, plain, rtol=0, atol=1e-5)
    pipe.base.unload_lora_weights()
    torch.testing.assert_close(latents(pipe, **given), plain, rtol=0, atol=1e-5)


def test_a_lora_goes_in_after_the_motion_modules() -> None:
    image = tiny_sd_pipeline()
    image.load_lora_weights(lora(image.unet, ".attentions."))
    with pytest.raises(InvalidInputError, match="load the LoRA into pipe.base afterwards"):
        StyleCrafterPipeline.from_base(image, motion_adapter=motion_adapter())


@pytest.fixture(scope="module")
def controlled() -> Iterator[StyleCrafterPipeline]:
    parts = tiny_animatediff_pipeline().components
    base = AnimateDiffControlNetPipeline(**parts, controlnet=tiny_controlnet(stable_diffusion_unet()))
    base.set_progress_bar_config(disable=True)
    yield quiet(StyleCrafterPipeline.from_base(base, **DEFAULTS))


def test_a_controlnet_leads_every_frame(controlled: StyleCrafterPipeline) -> None:
    given = {
        "prompt": PROMPT,
        "negative_prompt": "blurry",
        "num_inference_steps": 2,
        "height": 16,
        "width": 24,
    }
    given |= {"latents": draw(1, 4, 3, 8, 12), "output_type": "latent"}
    image = tiny_picture(5, 24, 16)
    wanted = controlled.base(
        **given,
        num_frames=3,
        conditioning_frames=[image] * 3,
        guidance_scale=7.5,
        controlnet_conditioning_scale=0.6,
    ).frames
    ours = controlled(
        **given, control_image=image, controlnet_conditioning_scale=0.6, text_guidance_scale=7.5
    ).frames
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, controlled(**given, text_guidance_scale=7.5).frames, atol=1e-3)


def test_weights_may_stay_elsewhere() -> None:
    pipe = around(tiny_animatediff_pipeline())
    given: dict[str, Any] = {"style": tiny_picture(0), "num_inference_steps": 1}
    wanted = [latents(pipe, **given, num_frames=frames) for frames in (1, 3)]
    for model in (pipe.vae, pipe.unet, pipe.text_encoder, pipe.image_encoder):
        cpu_offload(model, execution_device=torch.device("cpu"))
    assert pipe.unet.device.type == "meta"
    for frames, one in zip((1, 3), wanted, strict=True):
        assert torch.equal(latents(pipe, **given, num_frames=frames), one)


def test_folders(pipe: StyleCrafterPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "ours")
    loaded = quiet(StyleCrafterPipeline.from_pretrained(tmp_path / "ours"))
    given: dict[str, Any] = {"style": tiny_picture(0), "num_inference_steps": 1}
    wanted = latents(pipe, **given)
    torch.testing.assert_close(latents(loaded, **given), wanted, rtol=1e-4, atol=1e-4)
    # A base in the layout of diffusers, and an adapter beside it.
    pipe.base.save_pretrained(tmp_path / "base")
    pipe.style_adapter.save_pretrained(tmp_path / "adapter")
    pipe.image_encoder.save_pretrained(tmp_path / "encoder")
    opened = StyleCrafterPipeline.from_base(
        tmp_path / "base", tmp_path / "adapter", tmp_path / "encoder", dtype=torch.bfloat16, **DEFAULTS
    )
    assert opened.backbone.label == "AnimateDiff" and opened.unet.dtype == torch.bfloat16
    half = latents(quiet(opened), **given)
    assert half.dtype == torch.float32 and half.isfinite().all()
    assert (half - wanted).norm() < 0.1 * wanted.norm()


def test_components_that_nothing_needs_may_be_none(pipe: StyleCrafterPipeline) -> None:
    bare = {**tiny_animatediff_pipeline().components, "vae": None, "text_encoder": None, "tokenizer": None}
    text = pipe.encode_text([PROMPT, ""])
    bare_pipe = quiet(StyleCrafterPipeline.from_base(AnimateDiffPipeline(**bare), default_steps=1))
    given = {"text_embeds": text[:1], "negative_text_embeds": text[1:], "latents": draw(1, 4, 3, 8, 8)}
    assert bare_pipe(**given, seed=1, output_type="latent").frames.shape == (1, 4, 3, 8, 8)
    with pytest.raises(InvalidInputError, match="no tokenizer"):
        bare_pipe.encode_text(PROMPT)


def test_one_made_for_sdxl_is_refused() -> None:
    from diffusers import UNetMotionModel

    unet = UNetMotionModel.from_unet2d(sdxl_unet(transformer_layers_per_block=1))
    base = AnimateDiffPipeline(**{**tiny_animatediff_pipeline().components, "unet": unet})
    with pytest.raises(InvalidInputError, match="UNetMotionModel"):
        StyleCrafterPipeline.from_base(base)
