"""What holds for every base model with every adapter that there is for it: tiny real classes, as users have them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from tests.tiny import (
    WIDTH,
    tiny_animatediff_pipeline,
    tiny_image_encoder,
    tiny_ip_adapter,
    tiny_picture,
    tiny_pipeline,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
    tiny_wan_base,
)

PROMPTS = ["a red fox", "a tree on a lake"]
#: Of every call: few steps of what changes with the seed alone.
ASKED = {
    "num_inference_steps": 2,
    "height": 16,
    "width": 16,
    "output_type": "latent",
    "text_guidance_scale": 3.0,
}


def ours(pipe: StyleCrafterPipeline, **options: Any) -> StyleAdapter:
    """A fresh StyleCrafter adapter for whatever base, with factors that differ from 1."""
    torch.manual_seed(5)
    backbone = pipe.backbone
    sizes = {
        "num_style_tokens": 2,
        "extractor_layers": 1,
        "extractor_heads": 2,
        "scale_layers": 1,
        "scale_heads": 2,
    }
    adapter = StyleAdapter.for_model(
        backbone.denoiser,
        WIDTH,
        backbone.attention_layers(),
        text_dim=backbone.text_dim,
        **{**sizes, **options},
    )
    for layer in adapter.layers:
        torch.nn.init.normal_(layer.to_v.weight, std=0.5)
    return adapter.eval()


def ip_adapter(pipe: StyleCrafterPipeline) -> Any:
    return tiny_ip_adapter(pipe.backbone.denoiser)


def ip_adapter_plus(pipe: StyleCrafterPipeline) -> Any:
    return tiny_ip_adapter(pipe.backbone.denoiser, plus=True)


def style_crafter_sdxl(pipe: StyleCrafterPipeline) -> StyleAdapter:
    """One that is told how to read pictures and scales as the published file is."""
    return ours(pipe, scale_dim=8, image_features="penultimate", preprocessing="clip")


def style_master(pipe: StyleCrafterPipeline) -> StyleAdapter:
    """One of the shape of the published file: wider than the model, with a bias that acts without style."""
    torch.manual_seed(5)
    layers = pipe.backbone.attention_layers()
    adapter = StyleAdapter(
        image_dim=WIDTH,
        text_dim=pipe.backbone.text_dim,
        layer_names=tuple(layers),
        layer_dims=tuple(layer.to_k.out_features for layer in layers.values()),
        num_style_tokens=5,
        extractor_type="patch_selection",
        extractor_layers=1,
        extractor_heads=2,
        scale_type="fixed",
        style_dim=32,
        key_value_bias=True,
        output_norm=False,
        key_norm=True,
        image_features="last",
        preprocessing="clip",
        null_style="zero_tokens",
        num_local_tokens=2,
        embed_dim=12,
    )
    for layer in adapter.layers:
        torch.nn.init.normal_(layer.to_v.weight, std=0.5)
    return adapter.eval()


#: Products round by how their operands lie in memory, and guidance multiplies that; values go up to 10.
ROUNDING = {"rtol": 1e-3, "atol": 1e-4}


@dataclass(frozen=True)
class Case:
    """A base model and an adapter for it."""

    base: str
    adapter: Callable[[StyleCrafterPipeline], Any]
    frames: int

    def __str__(self) -> str:
        return f"{self.base}-{self.adapter.__name__}"


def video_crafter() -> Any:
    """Ours has no pipeline in diffusers: the whole model, without its adapter."""
    pipe = tiny_pipeline()
    pipe.unload_adapter()
    return pipe


BASES: dict[str, tuple[Callable[[], Any], int]] = {
    "videocrafter": (video_crafter, 3),
    "sd": (tiny_sd_pipeline, 1),
    "sdxl": (tiny_sdxl_pipeline, 1),
    "animatediff": (tiny_animatediff_pipeline, 3),
    "wan": (tiny_wan_base, 5),
}
ADAPTERS: dict[str, tuple[Callable[[StyleCrafterPipeline], Any], ...]] = {
    "videocrafter": (ours,),
    "sd": (ours, ip_adapter, ip_adapter_plus),
    "sdxl": (ours, style_crafter_sdxl, ip_adapter, ip_adapter_plus),
    "animatediff": (ours, ip_adapter, ip_adapter_plus),
    "wan": (ours, style_master),
}
CASES = [Case(base, adapter, frames) for base, (_, frames) in BASES.items() for adapter in ADAPTERS[base]]


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def make(case: Case) -> StyleCrafterPipeline:
    """The base model, with an image encoder and no adapter."""
    base = BASES[case.base][0]()
    encoder = tiny_image_encoder()
    if isinstance(base, StyleCrafterPipeline):
        base.register_modules(image_encoder=encoder)
        pipe = base
    else:
        pipe = StyleCrafterPipeline.from_base(base, image_encoder=encoder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def pipe(case: Case) -> Iterator[StyleCrafterPipeline]:
    made = make(case)
    made.load_adapter(case.adapter(made))
    yield made


@pytest.fixture(scope="module")
def bare(case: Case) -> StyleCrafterPipeline:
    """The same without an adapter ever loaded."""
    return make(case)


def draw(pipe: StyleCrafterPipeline, case: Case, prompt: Any = PROMPTS[0], **asked: Any) -> Tensor:
    return pipe(prompt, num_frames=case.frames, **{**ASKED, "seed": 3, **asked}).frames


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_the_style_counts_and_scale_0_is_the_base(
    pipe: StyleCrafterPipeline, bare: StyleCrafterPipeline, case: Case
) -> None:
    plain = draw(bare, case)
    styled = draw(pipe, case, style_images=tiny_picture(1), style_scale=1.0)
    assert torch.equal(draw(pipe, case), plain)
    assert torch.equal(draw(pipe, case, style_images=tiny_picture(1), style_scale=0.0), plain)
    assert (styled - plain).std() > 1e-3 * plain.std()
    other = draw(pipe, case, style_images=tiny_picture(2), style_scale=1.0)
    assert (styled - other).std() > 1e-4 * plain.std()


def test_unloaded_the_base_is_what_it_was_to_the_bit(bare: StyleCrafterPipeline, case: Case) -> None:
    pipe = make(case)
    denoiser = pipe.backbone.denoiser
    processors, weights = dict(denoiser.attn_processors), state(denoiser)
    pipe.load_adapter(case.adapter(pipe))
    assert draw(pipe, case, style_images=tiny_picture(1)).isfinite().all()
    pipe.unload_adapter()
    assert pipe.style_adapter is None
    assert list(denoiser.attn_processors.values()) == list(processors.values())
    now = denoiser.state_dict()
    assert list(now) == list(weights) and all(torch.equal(now[name], weights[name]) for name in weights)
    assert torch.equal(draw(pipe, case), draw(bare, case))


def test_a_saved_folder_draws_the_same(pipe: StyleCrafterPipeline, case: Case, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = StyleCrafterPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    style = {"style_images": tiny_picture(1)}
    # Products of a single row round by where in memory the weights lie.
    near = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(draw(again, case, **style), draw(pipe, case, **style), **near)
    # The adapter's folder is an adapter of its own.
    other = make(case)
    other.load_adapter(tmp_path / "style_adapter")
    torch.testing.assert_close(draw(other, case, **style), draw(pipe, case, **style), **near)


def test_several_references(pipe: StyleCrafterPipeline, case: Case) -> None:
    pictures = [tiny_picture(1), tiny_picture(2)]
    first, second = (draw(pipe, case, style_images=picture) for picture in pictures)
    both = draw(pipe, case, style_images=pictures)
    assert not torch.allclose(both, first, atol=1e-5) and not torch.allclose(both, second, atol=1e-5)
    only = draw(pipe, case, style_images=pictures, style_weights=[1.0, 0.0])
    torch.testing.assert_close(only, first, **ROUNDING)
    mostly = draw(pipe, case, style_images=pictures, style_weights=[9.0, 1.0])
    assert not torch.allclose(mostly, both, atol=1e-5)


def test_a_batch_is_a_loop(pipe: StyleCrafterPipeline, case: Case) -> None:
    pictures = [[tiny_picture(1)], [tiny_picture(2)]]
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    together = draw(pipe, case, PROMPTS, style_images=pictures, seed=None, generator=generators)
    for i, prompt in enumerate(PROMPTS):
        generator = torch.Generator().manual_seed(3 + i)
        alone = draw(pipe, case, prompt, style_images=pictures[i], seed=None, generator=generator)
        torch.testing.assert_close(together[i : i + 1], alone, **ROUNDING)


def test_only_the_right_parameters_train(pipe: StyleCrafterPipeline, case: Case) -> None:
    backbone, adapter = pipe.backbone, pipe.style_adapter
    models = [*backbone.models().values(), pipe.image_encoder]
    for model in models:
        model.requires_grad_(False)
    adapter.requires_grad_(True)
    try:
        shape = backbone.latent_shape(case.frames, 16, 16)
        text = pipe.encode_texts(PROMPTS[0])
        needs = {"image_embeds": torch.randn(1, 12), "text": text.states}
        tokens = adapter.encode(
            pipe.encode_image([tiny_picture(1)]), **{name: needs[name] for name in adapter.needs}
        )
        scales = adapter.predict_scales(tokens, text.states)
        predicted = backbone.predict(
            torch.randn(1, *shape), 500, text.states, tokens, scales, **text.arguments
        )
        predicted.square().mean().backward()
        trained = {name for name, value in adapter.named_parameters() if value.grad is not None}
        assert trained == {name for name, _ in adapter.named_parameters()}
        assert all(value.grad is None for model in models for value in model.parameters())
    finally:
        adapter.requires_grad_(False)
        adapter.zero_grad(set_to_none=True)


def test_a_lora_on_the_base_still_acts(case: Case) -> None:
    pipe = make(case)
    pipe.load_adapter(case.adapter(pipe))
    style = {"style_images": tiny_picture(1)}
    before = draw(pipe, case, **style)
    denoiser = pipe.backbone.denoiser
    torch.manual_seed(7)
    targets = ["to_q", "to_v", "to_out.0"]
    denoiser.add_adapter(
        LoraConfig(r=2, init_lora_weights=False, target_modules=targets), adapter_name="look"
    )
    acting = draw(pipe, case, **style)
    assert (acting - before).std() > 1e-3 * before.std()
    assert not torch.allclose(acting, draw(pipe, case), atol=1e-4)  # and so does the style
    denoiser.disable_adapters()
    torch.testing.assert_close(draw(pipe, case, **style), before, **ROUNDING)


def test_bfloat16(case: Case) -> None:
    pipe = make(case)
    pipe.load_adapter(case.adapter(pipe))
    pipe.to(dtype=torch.bfloat16)
    styled = draw(pipe, case, style_images=tiny_picture(1))
    assert pipe.backbone.dtype == torch.bfloat16 and styled.isfinite().all()
    assert not torch.equal(styled, draw(pipe, case))


def test_offloading_hooks_run(pipe: StyleCrafterPipeline, case: Case) -> None:
    offloaded = make(case)
    offloaded.load_adapter(copy.deepcopy(case.adapter(offloaded)))
    expected = draw(pipe, case, style_images=tiny_picture(1))
    offloaded.enable_model_cpu_offload(device="cpu")
    assert any(hasattr(model, "_hf_hook") for model in offloaded.backbone.models().values())
    torch.testing.assert_close(draw(offloaded, case, style_images=tiny_picture(1)), expected, **ROUNDING)


def test_components_that_a_call_does_not_need_may_be_none(pipe: StyleCrafterPipeline, case: Case) -> None:
    style = pipe.encode_style(
        [tiny_picture(1)],
        **({"text": pipe.encode_text(PROMPTS[0])} if "text" in pipe.style_adapter.needs else {}),
    )
    text, negative = (pipe.encode_texts(prompt) for prompt in (PROMPTS[0], "fog"))
    pooled = {
        f"{prefix}{name}": value
        for prefix, texts in (("", text), ("negative_", negative))
        for name, value in texts.arguments.items()
    }
    names = [
        name for name in pipe.components if name not in ("unet", "transformer", "scheduler", "style_adapter")
    ]
    if case.base == "sdxl":
        names.remove(
            "vae"
        )  # without it 8 pixels count per latent, as published, and SDXL is told the size in pixels
    if pipe.style_adapter.config["null_style"] == "black_picture":
        names.remove("image_encoder")  # which reads "no style"
    bare = StyleCrafterPipeline(**{**pipe.components, **dict.fromkeys(names)}, **numbers(pipe))
    bare.set_progress_bar_config(disable=True)
    given = {
        "style_tokens": style,
        "text_embeds": text.states,
        "negative_text_embeds": negative.states,
        "latents": torch.randn(1, *pipe.backbone.latent_shape(case.frames, 16, 16)),
        "seed": 3,  # of the noise that some samplers add on the way
        **pooled,
    }
    asked = {**ASKED, **given, "height": None, "width": None}
    drawn = [each(None, **asked).frames for each in (pipe, bare)]
    torch.testing.assert_close(*drawn, **ROUNDING)


def numbers(pipe: StyleCrafterPipeline) -> dict[str, Any]:
    return {name: value for name, value in pipe.config.items() if name.startswith("default_")}
