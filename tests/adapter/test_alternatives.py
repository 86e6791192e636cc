"""What holds for every architecture of the adapter: all combinations of extractor, fusion and scales."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from stylecrafter.adapter.adapter_options import FusionType, ScaleType
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError, UnknownNameError
from tests.adapter.conftest import FRAMES, IMAGE_DIM, SIZES, TABLE, TEXT_DIM

Draw = Callable[..., Tensor]
NAMES = ("extractor_type", "fusion_type", "scale_type")
ALL = list(itertools.product(TABLE, get_args(FusionType), get_args(ScaleType)))


def build(unet: VideoCrafterUNet, *choice: str) -> StyleAdapter:
    torch.manual_seed(1)
    options: dict[str, Any] = {**SIZES, **dict(zip(NAMES, choice, strict=True))}
    return StyleAdapter.for_model(unet, IMAGE_DIM, **options).eval()


@pytest.fixture(params=ALL, ids="-".join)
def adapter(request: pytest.FixtureRequest, unet: VideoCrafterUNet) -> StyleAdapter:
    return build(unet, *request.param)


@pytest.fixture(params=TABLE)
def extracting(request: pytest.FixtureRequest, unet: VideoCrafterUNet) -> StyleAdapter:
    return build(unet, request.param, "dual", "predicted")


@pytest.fixture(params=get_args(FusionType))
def fusing(request: pytest.FixtureRequest, unet: VideoCrafterUNet) -> StyleAdapter:
    return build(unet, "query", request.param, "predicted")


def run(
    unet: VideoCrafterUNet,
    draw: Draw,
    style: Tensor | None = None,
    scales: Tensor | None = None,
    **options: Any,
) -> Tensor:
    latents, text = draw(2, 4, FRAMES, 8, 8), draw(2, 5, TEXT_DIM, seed=1)
    return unet(latents, 500, text, style, scales, **options).sample


# -- every combination --------------------------------------------------------------------------------------------


def test_the_whole_way(adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    """encode, predict, attach, styled, scale 0 and detached: the base bit for bit."""
    base, before, keys = run(unet, draw), unet.attn_processors, list(unet.state_dict())
    style, scales = adapter(draw(2, 6, IMAGE_DIM), draw(2, 5, TEXT_DIM, seed=1))
    assert style.shape == (2, SIZES["num_style_tokens"], TEXT_DIM)
    assert scales.shape == (2, adapter.num_layers) and scales.min() > 0 and scales.max() < 2
    adapter.attach(unet)
    assert adapter.attached and list(unet.state_dict()) == keys
    assert torch.equal(run(unet, draw), base)
    assert not torch.allclose(run(unet, draw, style, scales), base, atol=1e-3)

    assert torch.equal(run(unet, draw, style, torch.zeros_like(scales)), base)
    per_frame = torch.zeros(2, FRAMES, adapter.num_layers)
    assert torch.equal(run(unet, draw, style, per_frame), base)
    adapter.set_scale(0.0)
    assert torch.equal(run(unet, draw, style, scales), base)
    adapter.set_scale(1.0, frames=[0.0] * FRAMES)
    assert torch.equal(run(unet, draw, style, scales), base)

    adapter.detach()
    after = unet.attn_processors
    assert before.keys() == after.keys() and all(before[name] is after[name] for name in before)
    assert torch.equal(run(unet, draw), base)


def test_save_and_load(adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw, tmp_path: Path) -> None:
    adapter.save_pretrained(tmp_path)
    loaded = StyleAdapter.from_pretrained(tmp_path)
    assert all(loaded.config[name] == adapter.config[name] for name in NAMES)
    saved, read = adapter.state_dict(), loaded.state_dict()
    assert saved.keys() == read.keys() and all(torch.equal(saved[key], read[key]) for key in saved)
    images, text = draw(2, 6, IMAGE_DIM), draw(2, 5, TEXT_DIM)
    style, scales = adapter(images, text)
    torch.testing.assert_close(loaded(images, text), (style, scales))
    adapter.attach(unet)
    wanted = run(unet, draw, style, scales)
    adapter.detach()
    loaded.attach(unet)
    torch.testing.assert_close(run(unet, draw, style, scales), wanted)


def test_every_weight_of_the_adapter_learns_and_nothing_else(
    adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    unet.requires_grad_(False)
    adapter.attach(unet).train()
    style, scales = adapter(draw(2, 6, IMAGE_DIM), draw(2, 5, TEXT_DIM, seed=1), torch.rand(2, 6))
    run(unet, draw, style, scales).square().mean().backward()
    assert all(parameter.grad is None for parameter in unet.parameters())
    assert [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_batch_is_a_loop_of_ones(adapter: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    adapter.attach(unet)
    images, weights = draw(2, 6, IMAGE_DIM), torch.tensor([[1.0] * 6, [2.0, 0, 1, 1, 0.5, 1]])
    latents, text = draw(2, 4, FRAMES, 8, 8), draw(2, 5, TEXT_DIM, seed=1)
    style, scales = adapter(images, text, weights)
    together = unet(latents, 500, text, style, scales).sample
    for i in range(2):
        one = slice(i, i + 1)
        alone = adapter(images[one], text[one], weights[one])
        torch.testing.assert_close(alone, (style[one], scales[one]))
        torch.testing.assert_close(unet(latents[one], 500, text[one], *alone).sample, together[one])


# -- extractors ---------------------------------------------------------------------------------------------------


def test_several_references_have_no_order(extracting: StyleAdapter, draw: Draw) -> None:
    first, second = draw(1, 5, IMAGE_DIM), draw(1, 5, IMAGE_DIM, seed=1)
    there, back = torch.cat([first, second], 1), torch.cat([second, first], 1)
    torch.testing.assert_close(extracting.encode(there), extracting.encode(back))
    for one in (first, second):
        assert not torch.allclose(extracting.encode(there), extracting.encode(one), atol=1e-3)


def test_weight_two_is_the_picture_twice_and_zero_leaves_it_out(extracting: StyleAdapter, draw: Draw) -> None:
    first, second = draw(1, 5, IMAGE_DIM), draw(1, 5, IMAGE_DIM, seed=1)
    both = torch.cat([first, second], 1)
    twice = extracting.encode(both, token_weights=torch.tensor([[2.0] * 5 + [1.0] * 5]))
    torch.testing.assert_close(twice, extracting.encode(torch.cat([first, both], 1)))
    assert not torch.allclose(twice, extracting.encode(both), atol=1e-5)
    without = extracting.encode(both, token_weights=torch.tensor([[1.0] * 5 + [0.0] * 5]))
    torch.testing.assert_close(without, extracting.encode(first))
    torch.testing.assert_close(
        extracting.encode(both, token_weights=torch.ones(1, 10)), extracting.encode(both)
    )


@pytest.mark.parametrize("weights", [torch.ones(2, 4), -torch.ones(2, 5), torch.full((2, 5), torch.nan)])
def test_bad_token_weights(extracting: StyleAdapter, draw: Draw, weights: Tensor) -> None:
    with pytest.raises(InvalidInputError, match="token weights must be"):
        extracting.encode(draw(2, 5, IMAGE_DIM), token_weights=weights)


def test_a_sample_without_any_picture_is_refused(extracting: StyleAdapter, draw: Draw) -> None:
    weights = torch.tensor([[1.0] * 5, [0.0] * 5])
    with pytest.raises(InvalidInputError, match="sample 1"):
        extracting.encode(draw(2, 5, IMAGE_DIM), token_weights=weights)
    with pytest.raises(InvalidInputError, match="image tokens must be"):
        extracting.encode(draw(2, 0, IMAGE_DIM))


def test_extractors_differ_in_attention_and_queries_alone(unet: VideoCrafterUNet) -> None:
    extractors = {name: build(unet, name, "dual", "fixed").extractor for name in TABLE}
    blocks = {name: [type(block).__name__ for block in e.blocks] for name, e in extractors.items()}
    attentive = ["JointAttentionBlock"] * SIZES["extractor_layers"]
    assert blocks["query"] == blocks["transformer"] == attentive
    assert blocks["mlp"] == ["TokenwiseBlock"] * SIZES["extractor_layers"]
    assert [name for name, e in extractors.items() if hasattr(e, "queries")] == ["query"]


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_what_a_token_sees(unet: VideoCrafterUNet, draw: Draw, name: str) -> None:
    """The MLP's mean is that of its tokens alone; in the transformer the tokens change each other."""
    adapter = build(unet, name, "dual", "fixed")
    adapter.extractor.norm_out = nn.Identity()
    tokens = draw(1, 6, IMAGE_DIM)
    parts = (adapter.encode(tokens[:, :3]) + adapter.encode(tokens[:, 3:])) / 2
    assert torch.allclose(adapter.encode(tokens), parts, atol=1e-5) == (name == "mlp")


# -- fusion -------------------------------------------------------------------------------------------------------


def test_scales_per_layer_frame_and_sample(fusing: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    """The factors of `set_scale` and `style_scales` multiply, wherever they are given."""
    fusing.attach(unet)
    style = draw(2, 4, TEXT_DIM)
    layers = [0.1 + 0.2 * i for i in range(fusing.num_layers)]
    frames, samples = [0.0, 0.5, 1.5], torch.tensor([[0.4], [1.2]])
    fusing.set_scale(layers, frames=frames)
    wanted = run(unet, draw, style, samples.expand(2, fusing.num_layers))
    assert not torch.allclose(wanted, run(unet, draw), atol=1e-3)
    fusing.set_scale()
    product = samples[:, :, None] * torch.tensor(frames)[None, :, None] * torch.tensor(layers)
    torch.testing.assert_close(run(unet, draw, style, product), wanted)
    fusing.set_scale(dict(zip(fusing.layer_names, layers, strict=True)))
    factors = samples[:, :, None] * torch.tensor(frames)[None, :, None].expand(2, -1, fusing.num_layers)
    torch.testing.assert_close(run(unet, draw, style, factors), wanted)


def test_frames_are_on_their_own(fusing: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    fusing.attach(unet)
    latents, text, style = draw(1, 4, FRAMES, 8, 8), draw(1, 5, TEXT_DIM), draw(1, 4, TEXT_DIM, seed=2)
    factors = [0.0, 0.5, 1.0]
    fusing.set_scale(1.0, frames=factors)
    together = unet(latents, 500, text, style, temporal=False).sample
    for frame, factor in enumerate(factors):
        fusing.set_scale(factor)
        alone = unet(latents[:, :, frame : frame + 1], 500, text, style).sample
        torch.testing.assert_close(alone, together[:, :, frame : frame + 1])


def test_samples_without_style_are_the_base_bit_for_bit(
    fusing: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    base = run(unet, draw)
    fusing.attach(unet)
    style = draw(2, 4, TEXT_DIM)
    scales = torch.tensor([[0.0], [1.0]]).expand(2, fusing.num_layers)
    mixed = run(unet, draw, style, scales)
    assert torch.equal(mixed[:1], base[:1])
    torch.testing.assert_close(mixed[1:], run(unet, draw, style)[1:])


def test_a_factor_of_one_is_no_factor(fusing: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    fusing.attach(unet)
    style = draw(2, 4, TEXT_DIM)
    ones = torch.ones(2, fusing.num_layers)
    torch.testing.assert_close(run(unet, draw, style, ones), run(unet, draw, style))


def test_the_style_grows_with_the_scale(fusing: StyleAdapter, unet: VideoCrafterUNet, draw: Draw) -> None:
    """In one layer: with several, later ones answer to what earlier ones did."""
    base = run(unet, draw)
    fusing.attach(unet)
    style = 3 * draw(2, 4, TEXT_DIM)
    distances = []
    for scale in (0.0, 0.1, 0.3, 0.6, 1.0, 1.5):
        fusing.set_scale({"": 0.0, fusing.layer_names[-1]: scale})
        with torch.no_grad():
            distances.append((run(unet, draw, style) - base).norm().item())
    assert distances[0] == 0 and all(a < b for a, b in itertools.pairwise(distances))
    fusing.set_scale(0.0)
    assert torch.equal(run(unet, draw, style), base)


def test_scales_that_saturate_at_zero_have_finite_gradients(
    fusing: StyleAdapter, unet: VideoCrafterUNet, draw: Draw
) -> None:
    fusing.attach(unet)
    style = draw(2, 4, TEXT_DIM).requires_grad_()
    scales = torch.zeros(2, fusing.num_layers, requires_grad=True)
    run(unet, draw, style, scales).square().mean().backward()
    assert scales.grad is not None and scales.grad.isfinite().all()
    assert style.grad is not None and style.grad.isfinite().all()


@pytest.mark.parametrize("count", [6, 8])
def test_scales_of_another_number_of_layers_are_refused(
    fusing: StyleAdapter, unet: VideoCrafterUNet, draw: Draw, count: int
) -> None:
    fusing.attach(unet)
    with pytest.raises(InvalidInputError, match=rf"7.*got \(2, {count}\)"):
        run(unet, draw, draw(2, 4, TEXT_DIM), torch.ones(2, count))


# -- scales -------------------------------------------------------------------------------------------------------


def test_fixed_scales_are_one(unet: VideoCrafterUNet, draw: Draw) -> None:
    fixed = build(unet, "query", "dual", "fixed")
    style, text = draw(2, 4, TEXT_DIM), draw(2, 5, TEXT_DIM)
    assert torch.equal(fixed.predict_scales(style, text), torch.ones(2, fixed.num_layers))
    assert fixed.predict_scales(style.bfloat16(), text.bfloat16()).dtype == torch.bfloat16
    assert not [name for name in fixed.state_dict() if "scale" in name]
    for wrong in (text[:1], text[..., 1:]):
        with pytest.raises(InvalidInputError, match="one batch size|text embeddings must be"):
            fixed.predict_scales(style, wrong)


# -- configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("value", ["quary", None])
def test_unknown_architectures_are_named(unet: VideoCrafterUNet, field: str, value: Any) -> None:
    with pytest.raises(UnknownNameError, match=rf"{field} '{value}'"):
        StyleAdapter.for_model(unet, IMAGE_DIM, **SIZES, **{field: value})


def test_adapters_saved_before_there_were_alternatives(unet: VideoCrafterUNet, tmp_path: Path) -> None:
    adapter = build(unet, "query", "dual", "predicted")
    adapter.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = {key: value for key, value in json.loads(file.read_text()).items() if key not in NAMES}
    file.write_text(json.dumps(config))
    loaded = StyleAdapter.from_pretrained(tmp_path)
    assert [loaded.config[name] for name in NAMES] == ["query", "dual", "predicted"]
    assert loaded.state_dict().keys() == adapter.state_dict().keys()


def test_attached_style_has_no_weights_in_the_layers(unet: VideoCrafterUNet) -> None:
    adapter = build(unet, "mlp", "attach_to_text", "fixed")
    assert {name.split(".")[0] for name in adapter.state_dict()} == {"extractor"}
    assert isinstance(adapter.layers, nn.ModuleList) and list(adapter.layers.parameters()) == []


@pytest.mark.parametrize("size", ["num_style_tokens", "extractor_layers", "scale_heads"])
@pytest.mark.parametrize("value", [0, 1.5, "2", True])
def test_bad_sizes_are_named(unet: VideoCrafterUNet, size: str, value: Any) -> None:
    with pytest.raises(
        InvalidInputError, match=rf"{size} must be a whole number of at least 1, got {value!r}"
    ):
        StyleAdapter.for_model(unet, IMAGE_DIM, **{**SIZES, size: value})


def test_unknown_options_are_named(unet: VideoCrafterUNet) -> None:
    with pytest.raises(UnknownNameError, match="'fusion'.*Did you mean 'fusion_type'"):
        StyleAdapter.for_model(unet, IMAGE_DIM, fusion="dual")
