"""What holds for the adapter on every model: attach, detach, scales, saving, gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from torch import Tensor

from stylecrafter.adapter.base_layers import cross_attention_layers
from stylecrafter.adapter.dual_attention import DualCrossAttentionProcessor
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError, UnknownNameError
from tests.adapter.conftest import FRAMES, IMAGE_DIM, SIZES, TEXT_DIM

Draw = Callable[..., Tensor]


def run(
    unet: VideoCrafterUNet, draw: Draw, style: Tensor | None = None, scales: Tensor | None = None
) -> Tensor:
    latents, text = draw(2, 4, FRAMES, 8, 8), draw(2, 5, TEXT_DIM, seed=1)
    return unet(latents, 500, text, style, scales).sample


def test_layers_are_found_by_type_in_order(adapter: StyleAdapter, unet: VideoCrafterUNet) -> None:
    assert adapter.layer_names[0] == "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    assert adapter.layer_names[2] == "mid_block.attentions.0.transformer_blocks.0.attn2"
    assert adapter.num_layers == 7 == len(cross_attention_layers(unet))
    assert adapter.config["layer_dims"] == (16, 32, 32, 32, 32, 16, 16)


def test_style_keys_and_values_start_as_the_text_ones(adapter: StyleAdapter, unet: VideoCrafterUNet) -> None:
    for layer, name in zip(adapter.layers, adapter.layer_names, strict=True):
        attention = unet.get_submodule(name)
        assert torch.equal(layer.to_k.weight, attention.to_k.weight)
        assert torch.equal(layer.to_v.weight, attention.to_v.weight)
        assert not torch.equal(layer.to_k.weight, layer.to_v.weight)
        assert layer.to_k.weight.data_ptr() != attention.to_k.weight.data_ptr()


def test_forward_is_encode_then_predict(adapter: StyleAdapter, draw: Draw) -> None:
    images, text, weights = draw(2, 6, IMAGE_DIM), draw(2, 5, TEXT_DIM, seed=1), torch.rand(2, 6)
    style, scales = adapter(images, text, weights)
    assert torch.equal(style, adapter.encode(images, token_weights=weights))
    assert torch.equal(scales, adapter.predict_scales(style, text))


def test_attached_without_style_is_the_base_bit_for_bit(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    base, keys = run(unet, draw), list(unet.state_dict())
    assert adapter.attach(unet) is adapter
    assert adapter.attached and list(unet.state_dict()) == keys
    assert torch.equal(run(unet, draw), base)


def test_scale_zero_is_the_base_bit_for_bit(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    base = run(unet, draw)
    adapter.attach(unet)
    style = draw(2, 4, TEXT_DIM)
    assert not torch.allclose(run(unet, draw, style), base, atol=1e-3)
    zeros = torch.zeros(2, adapter.num_layers)
    assert torch.equal(run(unet, draw, style, zeros), base)
    adapter.set_scale(0.0)
    assert torch.equal(run(unet, draw, style), base)
    adapter.set_scale(1.0, frames=[0.0] * FRAMES)
    assert torch.equal(run(unet, draw, style), base)


def test_samples_with_and_without_style_in_one_batch(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    adapter.attach(unet)
    style, scales = draw(2, 4, TEXT_DIM), torch.rand(2, adapter.num_layers) + 0.5
    half = scales * torch.tensor([[0.0], [1.0]])
    mixed = run(unet, draw, style, half)
    torch.testing.assert_close(mixed[:1], run(unet, draw)[:1])
    torch.testing.assert_close(mixed[1:], run(unet, draw, style, scales)[1:])


def test_detach_restores_processors_and_outputs(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    base, before = run(unet, draw), unet.attn_processors
    adapter.attach(unet)
    run(unet, draw, draw(2, 4, TEXT_DIM))
    adapter.detach()
    after = unet.attn_processors
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert not adapter.attached
    assert torch.equal(run(unet, draw), base)
    adapter.attach(unet)


def test_save_and_load(adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw, tmp_path: Path) -> None:
    adapter.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    loaded = StyleAdapter.from_pretrained(tmp_path)
    assert loaded.layer_names == adapter.layer_names
    saved, read = adapter.state_dict(), loaded.state_dict()
    assert saved.keys() == read.keys()
    assert all(torch.equal(saved[key], read[key]) for key in saved)
    # Where a tensor lies in memory decides how its products are vectorised, so results agree to rounding.
    images, text = draw(2, 6, IMAGE_DIM), draw(2, 5, TEXT_DIM)
    style = adapter.encode(images)
    torch.testing.assert_close(loaded.encode(images), style)
    torch.testing.assert_close(loaded.predict_scales(style, text), adapter.predict_scales(style, text))
    adapter.attach(unet)
    wanted = run(unet, draw, style)
    adapter.detach()
    loaded.attach(unet)
    torch.testing.assert_close(run(unet, draw, style), wanted)


def test_save_while_attached_holds_the_adapter_alone(
    adapter: StyleAdapter, unet: VideoCrafterUNet, tmp_path: Path
) -> None:
    keys = set(adapter.state_dict())
    adapter.attach(unet)
    assert set(adapter.state_dict()) == keys
    assert sum(p.numel() for p in adapter.parameters()) < sum(p.numel() for p in unet.parameters())


def test_scales_per_layer_reach_their_layers(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    adapter.attach(unet)
    style = draw(2, 4, TEXT_DIM)
    numbers = [0.1 * i for i in range(adapter.num_layers)]
    adapter.set_scale(numbers)
    as_list = run(unet, draw, style)
    adapter.set_scale(dict(zip(adapter.layer_names, numbers, strict=True)))
    assert torch.equal(run(unet, draw, style), as_list)
    adapter.set_scale()
    as_tensor = run(unet, draw, style, torch.tensor([numbers] * 2))
    torch.testing.assert_close(as_tensor, as_list)


def test_longest_prefix_counts_and_unnamed_layers_have_one(
    adapter: StyleAdapter, unet: VideoCrafterUNet
) -> None:
    adapter.set_scale({"up_blocks": 0.5, "up_blocks.1.attentions.0": 0.25})
    adapter.attach(unet)
    scales = {name: unet.get_submodule(name).processor.layer_scale for name in adapter.layer_names}
    assert scales["down_blocks.0.attentions.0.transformer_blocks.0.attn2"] == 1.0
    assert scales["up_blocks.0.attentions.1.transformer_blocks.0.attn2"] == 0.5
    assert scales["up_blocks.1.attentions.0.transformer_blocks.0.attn2"] == 0.25
    adapter.set_scale({"": 0.0, "mid_block": 1.0})
    values = [unet.get_submodule(name).processor.layer_scale for name in adapter.layer_names]
    assert values == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_scales_per_frame(adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    """Without temporal layers every frame is on its own, so each must equal a run with its factor alone."""
    adapter.attach(unet)
    latents, text, style = draw(1, 4, FRAMES, 8, 8), draw(1, 5, TEXT_DIM), draw(1, 4, TEXT_DIM, seed=2)
    factors = [0.0, 0.5, 2.0]
    adapter.set_scale(1.0, frames=factors)
    together = unet(latents, 500, text, style, temporal=False).sample
    adapter.set_scale()
    per_layer = torch.tensor(factors)[None, :, None].expand(1, FRAMES, adapter.num_layers)
    torch.testing.assert_close(unet(latents, 500, text, style, per_layer, temporal=False).sample, together)
    for frame, factor in enumerate(factors):
        adapter.set_scale(factor)
        alone = unet(latents[:, :, frame : frame + 1], 500, text, style).sample
        torch.testing.assert_close(alone, together[:, :, frame : frame + 1])


def test_batch_equals_samples_one_by_one(adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    adapter.attach(unet)
    latents, text, style = draw(2, 4, FRAMES, 8, 8), draw(2, 5, TEXT_DIM), draw(2, 4, TEXT_DIM, seed=2)
    scales, steps = torch.rand(2, adapter.num_layers), torch.tensor([900, 10])
    together = unet(latents, steps, text, style, scales).sample
    for i in range(2):
        one = slice(i, i + 1)
        alone = unet(latents[one], steps[one], text[one], style[one], scales[one]).sample
        torch.testing.assert_close(alone, together[one])


def test_stage_one_gradients_reach_the_adapter_and_nothing_else(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    unet.requires_grad_(False)
    adapter.attach(unet).train()
    style = adapter.encode(draw(2, 6, IMAGE_DIM))
    scales = adapter.predict_scales(style, draw(2, 5, TEXT_DIM, seed=1))
    run(unet, draw, style, scales).square().mean().backward()
    assert all(parameter.grad is None for parameter in unet.parameters())
    without = [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_stage_two_gradients_reach_the_temporal_layers_and_nothing_else(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    unet.requires_grad_(False)
    adapter.requires_grad_(False)
    for parameter in unet.temporal_parameters():
        parameter.requires_grad_(True)
    adapter.attach(unet)
    run(unet, draw, draw(2, 4, TEXT_DIM)).square().mean().backward()
    with_gradient = {name for name, p in unet.named_parameters() if p.grad is not None and p.grad.any()}
    wanted = {f"{name}.{key}" for name, m in unet.temporal_modules() for key, _ in m.named_parameters()}
    assert with_gradient == wanted
    assert all(parameter.grad is None for parameter in adapter.parameters())


def test_gradient_checkpointing_gives_the_same_gradients(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    adapter.attach(unet).train()
    unet.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            unet.enable_gradient_checkpointing()
        adapter.zero_grad()
        unet.zero_grad()
        style = adapter.encode(draw(2, 6, IMAGE_DIM))
        scales = adapter.predict_scales(style, draw(2, 5, TEXT_DIM, seed=1))
        run(unet, draw, style, scales).square().mean().backward()
        gradients.append(
            [p.grad.clone() for p in [*adapter.parameters(), *unet.parameters()] if p.grad is not None]
        )
    assert len(gradients[0]) == len(gradients[1])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_attach_refuses_what_does_not_fit(adapter: StyleAdapter, unet: VideoCrafterUNet) -> None:
    adapter.attach(unet)
    with pytest.raises(InvalidInputError, match="already attached to a VideoCrafterUNet"):
        adapter.attach(unet)
    with pytest.raises(InvalidInputError, match="another adapter is attached at layer down_blocks.0"):
        StyleAdapter.for_model(unet, IMAGE_DIM, **SIZES).attach(unet)
    adapter.detach()
    with pytest.raises(InvalidInputError, match="not attached"):
        adapter.detach()


def test_an_adapter_at_other_layers_is_not_silenced(unet: VideoCrafterUNet, draw: Draw) -> None:
    names = tuple(cross_attention_layers(unet))
    dims = [unet.get_submodule(name).to_k.out_features for name in names]
    halves = [
        StyleAdapter(IMAGE_DIM, TEXT_DIM, names[part], dims[part], **SIZES)
        for part in (slice(0, 3), slice(3, None))
    ]
    halves[0].attach(unet)
    styled = run(unet, draw, draw(2, 4, TEXT_DIM))
    with pytest.raises(InvalidInputError, match=f"another adapter is attached at layer {names[0]}"):
        halves[1].attach(unet)
    assert torch.equal(run(unet, draw, draw(2, 4, TEXT_DIM)), styled)


def test_a_refused_attach_leaves_the_model_as_it_was(unet: VideoCrafterUNet) -> None:
    processors = unet.attn_processors
    names = tuple(cross_attention_layers(unet))
    dims = [unet.get_submodule(name).to_k.out_features for name in names]
    wrong_name = StyleAdapter(IMAGE_DIM, TEXT_DIM, (*names[:-1], "mid_block.attn2"), dims, **SIZES)
    with pytest.raises(UnknownNameError, match="'mid_block.attn2'"):
        wrong_name.attach(unet)
    wrong_width = StyleAdapter(IMAGE_DIM, TEXT_DIM, names, [*dims[:-1], 8], **SIZES)
    with pytest.raises(InvalidInputError, match="inner width 16 .* expects 8"):
        wrong_width.attach(unet)
    assert unet.attn_processors == processors


def test_attach_refuses_foreign_processors(adapter: StyleAdapter, unet: VideoCrafterUNet) -> None:
    name = adapter.layer_names[0]
    unet.get_submodule(name).set_processor(IPAdapterAttnProcessor2_0(16, TEXT_DIM))
    with pytest.raises(InvalidInputError, match="IPAdapterAttnProcessor2_0"):
        adapter.attach(unet)


def test_for_model_needs_one_text_width() -> None:
    with pytest.raises(InvalidInputError, match="Linear has no cross-attention layer"):
        StyleAdapter.for_model(torch.nn.Linear(2, 2), IMAGE_DIM)
    two = torch.nn.ModuleList([Attention(8, 4, heads=1, dim_head=8), Attention(8, 6, heads=1, dim_head=8)])
    with pytest.raises(InvalidInputError, match=r"different widths: \[4, 6\]"):
        StyleAdapter.for_model(two, IMAGE_DIM)


def test_bad_scales_are_named(adapter: StyleAdapter) -> None:
    with pytest.raises(UnknownNameError, match="'up_blocks.7'"):
        adapter.set_scale({"up_blocks.7": 1.0})
    with pytest.raises(UnknownNameError, match="'up_block'"):
        adapter.set_scale({"up_block": 1.0})
    with pytest.raises(InvalidInputError, match="need 7 scales, one per layer, got 2"):
        adapter.set_scale([1.0, 0.5])
    with pytest.raises(InvalidInputError, match="finite"):
        adapter.set_scale(float("nan"))
    with pytest.raises(InvalidInputError, match="finite"):
        adapter.set_scale(1.0, frames=[1.0, float("inf")])
    with pytest.raises(InvalidInputError, match="one number per frame, got none"):
        adapter.set_scale(1.0, frames=[])


def test_frame_scales_must_match_the_clip(adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    adapter.attach(unet)
    adapter.set_scale(1.0, frames=[1.0] * (FRAMES + 1))
    with pytest.raises(InvalidInputError, match="4 frame scales, the clip has 3 frames"):
        run(unet, draw, draw(2, 4, TEXT_DIM))


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InvalidInputError, match="2 names and 1 widths"):
        StyleAdapter(IMAGE_DIM, TEXT_DIM, ("a", "b"), (8,))
    with pytest.raises(InvalidInputError, match="0 names"):
        StyleAdapter(IMAGE_DIM, TEXT_DIM, (), ())


def test_a_copied_model_keeps_its_processors(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    """A copy of the model, as averaging of weights makes, works on its own."""
    twin = copy.deepcopy(unet)
    adapter.attach(unet)
    assert not any(isinstance(p, DualCrossAttentionProcessor) for p in twin.attn_processors.values())
    assert torch.equal(run(twin, draw), run(unet, draw))
