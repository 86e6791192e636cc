"""Style extractor and scale predictor against the published code, tiny and at full size."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.pipelines.official import UNET
from stylecrafter.weights.formats.checkpoint_files import fill, shapes_of, with_prefix
from stylecrafter.weights.formats.stylecrafter_v1 import adapter_config, adapter_state
from stylecrafter.weights.formats.videocrafter_unet import cross_attention_names, unet_config
from tests.golden.support import HEADS, Comparison, checkpoint, draw, expected, key_lists


@pytest.mark.parametrize("size", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
def test_style_tokens_and_scales(size: str) -> None:
    tensors = checkpoint(size, "adapter")
    layers = cross_attention_names(
        unet_config(with_prefix(key_lists()[size]["model"], UNET), HEADS[size]["attention_head_dim"])
    )
    config = adapter_config(shapes_of(tensors), layers, HEADS[size]["adapter_num_heads"])
    with torch.device("meta"):
        adapter = StyleAdapter(**config)
    state, left_over = adapter_state(tensors, list(layers))
    assert left_over == []
    fill(adapter, state, "adapter", copy=False)

    b = 2 if size == "tiny" else 1
    text = draw("text", b, 77, config["text_dim"])
    tokens = draw("clip_tokens", b, 257, config["image_dim"])
    three = draw("clip_tokens_multi", 1, 3 * 257, config["image_dim"])
    with torch.no_grad():
        style, style_multi = adapter.encode(tokens), adapter.encode(three)
        # The published network returns tanh(.), the factor that is applied is one more.
        scale = adapter.predict_scales(style, text) - 1
        scale_multi = adapter.predict_scales(style_multi, text[:1]) - 1
    comparison = Comparison(1e-5)
    comparison.add_all(
        {
            "style_tokens": style,
            "scale": scale.unsqueeze(-1),
            "style_tokens_multi": style_multi,
            "scale_multi": scale_multi.unsqueeze(-1),
        },
        expected(f"{size}/adapter"),
    )
    comparison.check()
