"""A grown model draws what it drew before, and then learns where it could not attend before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylecrafter import StyleCrafterPipeline
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError
from stylecrafter.training.from_scratch.expansion import adapter_for_expanded, with_attention
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun
from stylecrafter.weights.saving import save_model
from tests.training.tiny_parts import tiny_parts

FRESH = (".attentions.", ".temporals.")


def small_unet(levels: tuple[bool, ...] = (False, True)) -> VideoCrafterUNet:
    torch.manual_seed(1)
    unet = VideoCrafterUNet(
        block_out_channels=[8, 16], attention_levels=levels, layers_per_block=1, attention_head_dim=8,
        cross_attention_dim=16, norm_num_groups=4, init_temporal_heads=1, init_temporal_head_dim=8,
    )  # fmt: skip
    torch.nn.init.normal_(unet.conv_out.weight, std=0.1)
    for _, module in unet.temporal_modules():
        torch.nn.init.normal_(module.proj_out.weight, std=0.1)
    return unet.eval()


def small_adapter(unet: VideoCrafterUNet, **options: object) -> StyleAdapter:
    torch.manual_seed(2)
    adapter = StyleAdapter.for_model(
        unet, 16, extractor_heads=2, scale_heads=2, num_style_tokens=2, **options
    )
    with torch.no_grad():
        for parameter in adapter.layers.parameters():  # as if trained: no longer copies of the text's
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return adapter.eval()


def inputs(frames: int) -> tuple[torch.Tensor, int, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    clip = torch.randn(2, 4, frames, 8, 8, generator=generator)
    return clip, 400, torch.randn(2, 5, 16, generator=generator)


@pytest.mark.parametrize("frames", [1, 3])
@torch.no_grad()
def test_a_grown_unet_computes_what_it_did(frames: int) -> None:
    unet = small_unet()
    grown = with_attention(unet, [True, True])
    assert grown.config["attention_levels"] == (True, True)
    assert len(list(grown.temporal_modules())) == len(list(unet.temporal_modules())) + 3
    torch.testing.assert_close(grown(*inputs(frames)).sample, unet(*inputs(frames)).sample)


@torch.no_grad()
def test_a_grown_adapter_gives_the_same_style_for_the_same_factors() -> None:
    unet = small_unet()
    adapter = small_adapter(unet)
    tokens = adapter.encode(torch.randn(2, 4, 16))
    factors = torch.rand(2, adapter.num_layers) + 0.5
    adapter.attach(unet)
    wanted = unet(*inputs(2), style_tokens=tokens, style_scales=factors).sample
    adapter.detach()

    unet = with_attention(unet, (True, True))
    grown = adapter_for_expanded(adapter, unet)
    assert set(adapter.layer_names) < set(grown.layer_names) and grown.num_layers == adapter.num_layers + 3
    torch.testing.assert_close(grown.encode(torch.ones(2, 4, 16)), adapter.encode(torch.ones(2, 4, 16)))
    every = torch.ones(2, grown.num_layers)
    every[:, [grown.layer_names.index(name) for name in adapter.layer_names]] = factors
    grown.attach(unet)
    given = unet(*inputs(2), style_tokens=tokens, style_scales=every).sample
    torch.testing.assert_close(given, wanted)
    assert not torch.allclose(given, unet(*inputs(2)).sample)


@torch.no_grad()
def test_queries_of_factors_keep_their_layers() -> None:
    unet = small_unet()
    adapter = small_adapter(unet)
    grown = adapter_for_expanded(adapter, with_attention(unet, (True, True)))
    assert adapter.scale_predictor is not None and grown.scale_predictor is not None
    old, new = adapter.scale_predictor.queries, grown.scale_predictor.queries
    for name, query in zip(grown.layer_names, new, strict=True):
        known = name in adapter.layer_names
        torch.testing.assert_close(query, old[adapter.layer_names.index(name)] if known else old.mean(0))


@pytest.mark.parametrize("options", [{"scale_type": "fixed"}, {"fusion_type": "attach_to_text"}])
def test_adapters_of_other_kinds_grow_too(options: dict[str, str]) -> None:
    unet = small_unet()
    adapter = small_adapter(unet, **options)
    grown = adapter_for_expanded(adapter, with_attention(unet, (True, True)))
    assert grown.options == adapter.options
    grown.attach(small_unet((True, True)))


def test_growing_leaves_the_given_models_alone() -> None:
    unet = small_unet()
    adapter = small_adapter(unet)
    before = {k: v.clone() for k, v in [*unet.state_dict().items(), *adapter.state_dict().items()]}
    grown = with_attention(unet, (True, True))
    style = adapter_for_expanded(adapter, grown)
    with torch.no_grad():
        for parameter in [*grown.parameters(), *style.parameters()]:
            parameter.add_(1)
    for key, value in [*unet.state_dict().items(), *adapter.state_dict().items()]:
        assert torch.equal(value, before[key])


def test_nothing_grows_where_attention_is_already() -> None:
    unet = small_unet((True, True))
    assert with_attention(unet, [True, True]) is unet


@pytest.mark.parametrize("levels", [(True, False), (True,), (True, True, True)])
def test_attention_is_not_taken_away(levels: tuple[bool, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"attention_levels .* the model has \[False, True\]"):
        with_attention(small_unet(), levels)


def test_an_adapter_for_other_layers_is_refused() -> None:
    adapter = small_adapter(small_unet((True, True)))
    with pytest.raises(InvalidInputError, match=r"layer 'down_blocks\.0"):
        adapter_for_expanded(adapter, small_unet())


def test_a_recipe_grows_a_finished_model_and_trains_what_is_new(tmp_path: Path) -> None:
    parts = tiny_parts()
    unet = small_unet()
    adapter = small_adapter(unet)
    adapter.attach(unet)
    pipe = StyleCrafterPipeline(
        **{**parts.models(), "unet": unet, "style_adapter": adapter},
        tokenizer=parts.backbone.component("tokenizer"), scheduler=parts.backbone.component("scheduler"),
        reference_size=16, default_height=16, default_width=16, default_frames=2,
    )  # fmt: skip
    save_model(pipe, tmp_path / "old")
    recipe = load_recipe(
        "mini_further",
        [
            f"model.pretrained={tmp_path / 'old'}",
            "model.attention_levels=[true, true]",
            *(
                f"stages.{stage}.train.{change}"
                for stage in ("base", "adapter", "temporal")
                for change in ("steps=2", "sample_every=0", "mixed_precision=no", "warmup_steps=0")
            ),
            *(f"data.{name}.batch_size=2" for name in ("named", "clips", "styled", "more_clips")),
            *(f"data.{name}.num_frames=2" for name in ("clips", "more_clips")),
            "stages.base.options.clip_ratio=0.5",
        ],
    )
    assert RecipeRun(recipe, tmp_path / "run").run()
    after = StyleCrafterPipeline.from_pretrained(tmp_path / "run" / "model")
    assert after.unet.config["attention_levels"] in ([True, True], (True, True))
    assert after.style_adapter.num_layers == adapter.num_layers + 3
    fresh = {k: v for k, v in after.unet.state_dict().items() if k not in unet.state_dict()}
    assert fresh and all(any(part in key for part in FRESH) for key in fresh)
    for key in ("up_blocks.1.attentions.1.proj_out.weight", "up_blocks.1.temporals.1.proj_out.weight"):
        assert fresh[key].abs().max() > 0, "what is new must learn"


def test_more_attention_goes_with_a_finished_model_only() -> None:
    with pytest.raises(InvalidInputError, match="'attention_levels' goes with 'pretrained'"):
        load_recipe("smoke", ["model.attention_levels=[true, true, true]"])
