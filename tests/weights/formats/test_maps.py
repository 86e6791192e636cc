"""Key maps and size inference of published checkpoints, part by part, tiny and at the published size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.errors import CheckpointError
from stylecrafter.pipelines.official import (
    MODEL_LEFT_OUT,
    TEXT,
    UNET,
    VAE,
    build_adapter,
    build_image_encoder,
    build_text_encoder,
    build_unet,
    build_vae,
)
from stylecrafter.presets import load_preset
from stylecrafter.weights.formats.checkpoint_files import account, shapes_of, with_prefix
from stylecrafter.weights.formats.openclip import text_config, vision_config
from stylecrafter.weights.formats.stylecrafter_v1 import adapter_config, published_adapter_state
from stylecrafter.weights.formats.videocrafter_unet import (
    cross_attention_names,
    published_unet_state,
    unet_config,
    unet_modules,
)
from stylecrafter.weights.formats.videocrafter_vae import vae_config
from tests.golden.support import CLIP_VISION_HEADS, HEADS, checkpoint, key_lists

SIZES = ("tiny", "full")


def shapes_only(size: str, part: str) -> dict[str, Tensor]:
    """A checkpoint without memory behind its tensors."""
    return {key: torch.empty(shape, device="meta") for key, shape in key_lists()[size][part].items()}


def with_tuples(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}


def test_published_sizes_are_inferred() -> None:
    preset, lists = load_preset("published"), key_lists()["full"]
    unet = unet_config(with_prefix(lists["model"], UNET), 64)
    assert unet == with_tuples(preset["unet"])
    layers = cross_attention_names(unet)
    adapter = adapter_config(lists["adapter"], layers, 8)
    assert {key: value for key, value in adapter.items() if not key.startswith("layer_")} == preset[
        "style_adapter"
    ]
    assert adapter["layer_dims"] == (320,) * 2 + (640,) * 2 + (1280,) * 6 + (640,) * 3 + (320,) * 3
    assert vae_config(with_prefix(lists["model"], VAE)) == with_tuples(preset["vae"])
    assert text_config(with_prefix(lists["model"], TEXT), 16) == preset["text_encoder"]
    assert vision_config(with_prefix(lists["openclip"], "visual."), 16) == preset["image_encoder"]


def test_layer_order_of_the_scales() -> None:
    config = unet_config(with_prefix(key_lists()["full"]["model"], UNET), 64)
    published = [name.removesuffix(".transformer_blocks.0.attn2") for name in cross_attention_names(config)]
    wanted = [f"input_blocks.{i}.1" for i in (1, 2, 4, 5, 7, 8)] + ["middle_block.1"]
    assert published == wanted + [f"output_blocks.{i}.1" for i in range(3, 12)]


@pytest.mark.parametrize("size", SIZES)
def test_every_published_tensor_has_a_place_or_a_reason(size: str) -> None:
    model = shapes_only(size, "model")
    unet, over = build_unet(with_prefix(model, UNET), HEADS[size]["attention_head_dim"], copy=False)
    assert over == []
    _, over = build_vae(with_prefix(model, VAE), copy=False)
    assert over == []
    text_encoder, over = build_text_encoder(
        with_prefix(model, TEXT), HEADS[size]["clip_text_num_heads"], copy=False
    )
    blocks = text_encoder.config.num_hidden_layers
    assert len(over) == 12 + 2
    assert sum(key.startswith(f"transformer.resblocks.{blocks}.") for key in over) == 12
    account([TEXT + key for key in over], MODEL_LEFT_OUT, "model")
    tables = [key for key in model if not key.startswith((UNET, VAE, TEXT))]
    assert len(tables) == 12
    account(tables, MODEL_LEFT_OUT, "model")
    adapter = build_adapter(shapes_only(size, "adapter"), unet, HEADS[size]["adapter_num_heads"], copy=False)
    image_encoder = build_image_encoder(shapes_only(size, "openclip"), CLIP_VISION_HEADS[size], copy=False)
    assert adapter.config["image_dim"] == image_encoder.config.hidden_size
    temporal = {f"{module}.{key}" for module, keys in key_lists()[size]["temporal"].items() for key in keys}
    modules = {ours: published for published, ours in unet_modules(unet.config).items()}
    own = published_unet_state(
        {f"{n}.{key}": value for n, m in unet.temporal_modules() for key, value in m.state_dict().items()},
        unet.config,
    )
    assert set(own) == temporal
    assert {modules[name] for name, _ in unet.temporal_modules()} == set(key_lists()[size]["temporal"])


def test_what_the_published_program_saves_besides_has_a_reason() -> None:
    account(list(key_lists()["runtime_extra"]), MODEL_LEFT_OUT, "model")


@pytest.mark.parametrize("key", ["foo", "model.diffusion_model.x", "cond_stage_model.model.visual.proj"])
def test_anything_else_is_refused(key: str) -> None:
    with pytest.raises(CheckpointError, match=f"1 tensor \\({key}\\) without a place"):
        account([key], MODEL_LEFT_OUT, "model")


def test_unet_and_adapter_lead_back_to_the_published_tensors() -> None:
    published = with_prefix(checkpoint("tiny", "model", UNET), UNET)
    unet, _ = build_unet(published, 16, copy=True)
    back = published_unet_state(unet.state_dict(), unet.config)
    assert back.keys() == published.keys()
    assert all(torch.equal(back[key], published[key]) for key in published)

    published = checkpoint("tiny", "adapter")
    adapter = build_adapter(published, unet, 4, copy=True)
    back = published_adapter_state(adapter.state_dict(), list(cross_attention_names(unet.config)))
    assert back.keys() == published.keys()
    assert all(torch.equal(back[key], published[key]) for key in published)


def test_deeper_transformers_and_other_levels_are_inferred() -> None:
    """Shapes that no published file has: two blocks per transformer, attention in the second level only."""
    from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet

    with torch.device("meta"):
        unet = VideoCrafterUNet(
            block_out_channels=(32, 64, 96),
            attention_levels=(False, True, False),
            layers_per_block=3,
            transformer_layers_per_block=2,
            attention_head_dim=16,
            cross_attention_dim=40,
            max_relative_position=5,
            init_temporal_heads=3,
            init_temporal_head_dim=16,
        )
    published = published_unet_state(unet.state_dict(), unet.config)
    config = unet_config(shapes_of(published), 16)
    assert all(unet.config[key] == value for key, value in config.items())
    rebuilt, over = build_unet(published, 16, copy=False)
    assert over == [] and rebuilt.state_dict().keys() == unet.state_dict().keys()
    assert len(cross_attention_names(config)) == 2 * (3 + 1 + 4)


def test_missing_parts_are_named() -> None:
    model = shapes_only("tiny", "model")
    unet = with_prefix(model, UNET)
    with pytest.raises(CheckpointError, match="not a VideoCrafter UNet"):
        build_unet({}, 16, copy=False)
    with pytest.raises(CheckpointError, match=r"1 tensor \(mid_block.resnets.0.norm1.bias\) missing"):
        build_unet({k: v for k, v in unet.items() if k != "middle_block.0.in_layers.0.bias"}, 16, False)
    with pytest.raises(CheckpointError, match="init_attn.* is missing"):
        build_unet({k: v for k, v in unet.items() if not k.startswith("init_attn")}, 16, copy=False)
    wrong = unet | {"out.2.bias": torch.empty(7, device="meta")}
    with pytest.raises(CheckpointError, match=r"conv_out.bias \(7,\) instead of \(4,\)"):
        build_unet(wrong, 16, copy=False)
    with pytest.raises(CheckpointError, match="sizes do not go together.* 32 .* 24"):
        build_unet(unet, 24, copy=False)
    with pytest.raises(CheckpointError, match="not the published autoencoder"):
        build_vae({}, copy=False)
    with pytest.raises(CheckpointError, match="not an OpenCLIP text tower: token_embedding.weight"):
        build_text_encoder({}, 4, copy=False)
    with pytest.raises(CheckpointError, match="not an OpenCLIP image tower: visual.conv1.weight"):
        build_image_encoder({}, 4, copy=False)


def test_an_adapter_of_another_model_is_refused() -> None:
    unet, _ = build_unet(with_prefix(shapes_only("tiny", "model"), UNET), 16, copy=False)
    with pytest.raises(
        CheckpointError, match="not an adapter for this model: kv_attn_layers.input_blocks_3_1"
    ):
        build_adapter(shapes_only("full", "adapter"), unet, 8, copy=False)
    adapter = shapes_only("tiny", "adapter")
    with pytest.raises(CheckpointError, match="kv_attn_layers.middle_block_1.* is missing"):
        build_adapter({k: v for k, v in adapter.items() if "middle_block" not in k}, unet, 4, copy=False)
    with pytest.raises(CheckpointError, match=r"1 tensor \(image_context_model.foo\) without a place"):
        build_adapter(adapter | {"image_context_model.foo": torch.empty(1)}, unet, 4, copy=False)


def test_an_adapter_that_the_published_layout_cannot_hold_is_refused() -> None:
    for choice in ({"extractor_type": "mlp"}, {"fusion_type": "attach_to_text"}, {"scale_type": "fixed"}):
        adapter = StyleAdapter(8, 8, ("a",), (8,), extractor_heads=2, scale_heads=2, **choice)
        with pytest.raises(CheckpointError, match="published layout"):
            published_adapter_state(adapter.state_dict(), ["a"])
