"""A pipeline around a base model that one has: what is done to the base acts, and comes off again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError
from tests.tiny import (
    WIDTH,
    sdxl_unet,
    stable_diffusion_unet,
    tiny_image_encoder,
    tiny_picture,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
)

BASES = {"sd": tiny_sd_pipeline, "sdxl": tiny_sdxl_pipeline}
PROMPT = "a red fox"


def adapter_for(base: Any) -> StyleAdapter:
    torch.manual_seed(5)
    return StyleAdapter.for_model(
        base.unet,
        WIDTH,
        num_style_tokens=2,
        extractor_layers=1,
        extractor_heads=2,
        scale_layers=1,
        scale_heads=2,
        image_features="penultimate",
        preprocessing="clip",
    ).eval()


@pytest.fixture(params=BASES)
def pipe(request: pytest.FixtureRequest) -> StyleCrafterPipeline:
    base = BASES[request.param]()
    made = StyleCrafterPipeline.from_base(base, adapter_for(base), tiny_image_encoder())
    made.set_progress_bar_config(disable=True)
    return made


def draw(pipe: StyleCrafterPipeline, style: Any = None, prompt: Any = PROMPT, **given: Any) -> Tensor:
    arguments = {"num_inference_steps": 2, "seed": 7, "output_type": "latent", **given}
    return pipe(prompt, style, **arguments).frames


def test_unloading_restores_the_base_to_the_bit(pipe: StyleCrafterPipeline) -> None:
    plain, adapter = draw(pipe), pipe.style_adapter
    processors = {name: type(one) for name, one in pipe.unet.attn_processors.items()}
    styled = draw(pipe, tiny_picture())
    assert (styled - plain).abs().max() > 1e-3
    pipe.unload_adapter()
    assert pipe.style_adapter is None and torch.equal(draw(pipe), plain)
    assert {type(one).__name__ for one in pipe.unet.attn_processors.values()} == {"AttnProcessor2_0"}
    pipe.load_adapter(adapter)
    assert {name: type(one) for name, one in pipe.unet.attn_processors.items()} == processors
    assert torch.equal(draw(pipe, tiny_picture()), styled)


def test_a_lora_on_the_base_acts_beside_the_adapter(pipe: StyleCrafterPipeline, tmp_path: Path) -> None:
    plain, styled = draw(pipe), draw(pipe, tiny_picture())
    torch.manual_seed(2)
    donor = sdxl_unet() if "XL" in type(pipe.base).__name__ else stable_diffusion_unet()
    donor.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_q"], init_lora_weights=False))
    pipe.base.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(donor))

    pipe.base.load_lora_weights(tmp_path)
    changed = draw(pipe, tiny_picture())
    assert (draw(pipe) - plain).abs().max() > 1e-4 and (changed - styled).abs().max() > 1e-4
    assert (changed - draw(pipe)).abs().max() > 1e-3
    pipe.base.unload_lora_weights()
    assert torch.equal(draw(pipe), plain) and torch.equal(draw(pipe, tiny_picture()), styled)


def test_textual_inversion_on_the_base_acts(pipe: StyleCrafterPipeline) -> None:
    before = pipe.encode_text("a <dots> fox")
    for number in ("", "_2"):
        encoder = getattr(pipe.base, f"text_encoder{number}", None)
        if encoder is not None:
            tokenizer = getattr(pipe.base, f"tokenizer{number}")
            word = {"<dots>": torch.randn(encoder.config.hidden_size)}
            pipe.base.load_textual_inversion(word, text_encoder=encoder, tokenizer=tokenizer)
    after = pipe.encode_text("a <dots> fox")
    assert not torch.equal(after, before)
    wanted = pipe.base.encode_prompt(
        "a <dots> fox", device=torch.device("cpu"), num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    assert torch.equal(after, wanted[0])


def test_schedulers_are_changed_on_either_side(pipe: StyleCrafterPipeline) -> None:
    before = draw(pipe)
    pipe.base.scheduler = EulerDiscreteScheduler.from_config(pipe.base.scheduler.config)
    euler = draw(pipe)
    assert isinstance(pipe.scheduler, EulerDiscreteScheduler) and not torch.allclose(euler, before)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    assert pipe.base.scheduler is pipe.scheduler
    assert not torch.allclose(draw(pipe), euler)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(InvalidInputError, match="is for models that predict flow"):
        draw(pipe)


def test_an_adapter_in_use_elsewhere_is_refused_and_stays_as_it_is() -> None:
    base = tiny_sd_pipeline()
    adapter = StyleCrafterPipeline.from_base(base, adapter_for(base), tiny_image_encoder()).style_adapter
    other = StyleCrafterPipeline.from_base(tiny_sd_pipeline())
    other.to(dtype=torch.bfloat16)
    with pytest.raises(InvalidInputError, match="already attached to a UNet2DConditionModel"):
        other.load_adapter(adapter)
    assert adapter.dtype == torch.float32 and adapter.is_attached_to(base.unet)
    with pytest.raises(InvalidInputError, match="where one lies, got int"):
        other.load_adapter(5)


def test_encoding_leaves_the_scheduler_as_it_is(pipe: StyleCrafterPipeline) -> None:
    config = {**pipe.scheduler.config, "steps_offset": 0, "clip_sample": True}
    pipe.scheduler = type(pipe.scheduler).from_config(config)
    pipe.encode_text(PROMPT)
    assert (pipe.scheduler.config.steps_offset, pipe.scheduler.config.clip_sample) == (0, True)


def test_a_saved_pipeline_is_what_it_was(pipe: StyleCrafterPipeline, tmp_path: Path) -> None:
    styled = draw(pipe, tiny_picture())
    pipe.save_pretrained(tmp_path)
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    torch.testing.assert_close(draw(loaded, tiny_picture()), styled, rtol=1e-4, atol=1e-5)
    assert type(loaded.base) is type(pipe.base)
    assert {k: v for k, v in loaded.config.items() if k.startswith(("default_", "force_"))} == {
        k: v for k, v in pipe.config.items() if k.startswith(("default_", "force_"))
    }


def test_a_batch_is_a_loop(pipe: StyleCrafterPipeline) -> None:
    prompts, styles = [PROMPT, "a boat on a lake"], [[tiny_picture()], [tiny_picture(1), tiny_picture(2)]]
    one = {"seed": None, "generator": torch.Generator().manual_seed(5)}
    together = draw(pipe, styles, prompts, **one)
    one["generator"] = torch.Generator().manual_seed(5)
    alone = [draw(pipe, [style], [prompt], **one) for prompt, style in zip(prompts, styles, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)
    sequential = {"seed": None, "generator": torch.Generator().manual_seed(5), "sequential_guidance": True}
    torch.testing.assert_close(draw(pipe, styles, prompts, **sequential), together, rtol=1e-4, atol=1e-4)


def test_number_formats_and_offloading(pipe: StyleCrafterPipeline) -> None:
    wanted = draw(pipe, tiny_picture())
    pipe.enable_model_cpu_offload(device="cpu")
    torch.testing.assert_close(draw(pipe, tiny_picture()), wanted)
    pipe.remove_all_hooks()
    pipe.to(torch.bfloat16)
    halved = draw(pipe, tiny_picture())
    assert bool(halved.isfinite().all()) and (halved.float() - wanted).norm() < 0.2 * wanted.norm()
    assert pipe(PROMPT, tiny_picture(), num_inference_steps=1, seed=1).frames[0][0].size == (16, 16)


def test_precomputed_states_need_no_encoder(pipe: StyleCrafterPipeline) -> None:
    texts, tokens = pipe.encode_texts([PROMPT, "blurry"]), pipe.encode_style([tiny_picture()])
    pooled = texts.arguments.get("pooled_prompt_embeds")
    given: dict[str, Any] = {"prompt_embeds": texts.states[:1], "negative_prompt_embeds": texts.states[1:]}
    if pooled is not None:
        given |= {"pooled_prompt_embeds": pooled[:1], "negative_pooled_prompt_embeds": pooled[1:]}
    wanted = draw(pipe, prompt=None, style_tokens=tokens, **given)
    torch.testing.assert_close(draw(pipe, tiny_picture(), negative_prompt="blurry"), wanted)
    adapter, base = pipe.style_adapter, pipe.base
    pipe.unload_adapter()
    for name in ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        if hasattr(base, name):
            setattr(base, name, None)
    bare = StyleCrafterPipeline.from_base(base, adapter)
    bare.set_progress_bar_config(disable=True)
    latents = torch.randn(1, 4, 1, 8, 8)
    size = {"height": 64, "width": 64, "latents": latents}
    assert draw(bare, prompt=None, style_tokens=tokens, **given, **size).shape == latents.shape
    base.scheduler = None
    alone = StyleCrafterPipeline.from_base(base)
    beside = {} if pooled is None else {"pooled_prompt_embeds": pooled[:1]}
    assert alone.predict_noise(latents, 5, texts.states[:1], tokens, **beside).shape == latents.shape
