"""StyleCrafter-SDXL against its published code: adapter, scales, and a UNet that reads them."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.weights import load_adapter
from tests.golden import regenerate
from tests.golden.support import Comparison, checkpoint, draw, expected

UNET = {
    "sample_size": 16,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 1,
    "cross_attention_dim": 64,
    "transformer_layers_per_block": [1, 1, 2],
    "attention_head_dim": [2, 4, 4],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 80,
}
TIME_IDS = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024], [512, 768, 16, 8, 1024, 1024]])


@pytest.fixture(scope="module")
def adapter() -> StyleAdapter:
    return load_adapter(checkpoint("tiny", "sdxl_adapter"), num_heads=4, scale_heads=4)


def golden_unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
    shapes = {name: tuple(value.shape) for name, value in unet.state_dict().items()}
    values = regenerate.weights(shapes, "unet.")
    unet.load_state_dict({name: torch.from_numpy(v) for name, v in values.items()}, assign=True)
    return unet.eval()


def test_it_is_told_by_its_tensors_and_comes_with_its_published_defaults(adapter: StyleAdapter) -> None:
    config = adapter.config
    assert (config["default_scale"], config["image_features"], config["preprocessing"]) == (
        0.5,
        "penultimate",
        "clip",
    )
    assert config["default_negative_prompt"].startswith("monochrome, lowres, bad anatomy")
    assert (config["num_style_tokens"], adapter.num_layers, config["scale_dim"]) == (6, 11, 32)


def test_style_tokens_scales_and_the_unet(adapter: StyleAdapter) -> None:
    wanted = expected("tiny/sdxl")
    text, image = draw("sdxl.tiny_text", 2, 77, 64), draw("sdxl.tiny_image_embeds", 2, 257, 48)
    unet = golden_unet()
    attached = adapter.attach(unet)
    steps = torch.tensor([981, 21])
    added = {"text_embeds": draw("sdxl.text_embeds", 2, 32), "time_ids": TIME_IDS}

    def predict(**style: torch.Tensor | None) -> torch.Tensor:
        latents = draw("sdxl.latents", 2, 4, 8, 16)
        return unet(
            latents, steps, text, added_cond_kwargs=added, cross_attention_kwargs=style or None
        ).sample

    with torch.no_grad():
        style = attached.encode(image)
        scales = attached.predict_scales(style, text)
        found = {
            "style_tokens": style,
            "scale": scales.unsqueeze(-1) - 1,
            "out": predict(style_tokens=style, style_scales=scales),
            "out_no_style": predict(),
            "out_no_scale": predict(style_tokens=style),
            "out_scale05": predict(style_tokens=style, style_scales=0.5 * scales),
        }
        adapter.set_scale(0.5)
        halved = predict(style_tokens=style, style_scales=scales)
    adapter.set_scale()
    adapter.detach()
    comparison = Comparison(1e-5)
    comparison.add_all(found, wanted)
    comparison.add("set_scale", halved, wanted["out_scale05"])
    comparison.check()


@pytest.mark.slow
def test_the_adapter_at_full_size() -> None:
    adapter = load_adapter(checkpoint("full", "sdxl_adapter"))
    with torch.no_grad():
        style = adapter.encode(draw("sdxl.image_embeds", 1, 257, 1280))
        scales = adapter.predict_scales(style, draw("sdxl.text", 1, 77, 2048))
    comparison = Comparison(1e-5)
    comparison.add_all(
        {"style_tokens": style, "scale": scales.unsqueeze(-1) - 1}, expected("full/sdxl_adapter")
    )
    comparison.check()
