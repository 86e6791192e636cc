"""Masks over the queries of layers: which grid they are laid on, and what a masked style adds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetMotionModel, WanTransformer3DModel
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.adapter.style_regions import StyleRegions, grid_of
from stylecrafter.adapter.style_slot import GivenStyle
from stylecrafter.backbones.inputs import attached_slot
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError
from tests.adapter.conftest import FRAMES, IMAGE_DIM, SIZES, TEXT_DIM

Draw = Callable[..., Tensor]
LIKE = torch.zeros(())


@pytest.mark.parametrize(
    ("tokens", "height", "width", "grid"),
    [(96, 8, 12, (8, 12)), (24, 8, 12, (4, 6)), (6, 8, 12, (2, 3)), (1, 8, 12, (1, 1)), (15, 9, 5, (5, 3))],
)
def test_a_layers_grid_follows_from_the_number_of_its_queries(
    tokens: int, height: int, width: int, grid: tuple[int, int]
) -> None:
    assert grid_of(tokens, height, width) == grid


@pytest.mark.parametrize("tokens", [95, 25, 100])
def test_a_number_that_no_halving_has_is_refused(tokens: int) -> None:
    with pytest.raises(InvalidInputError, match=f"{tokens} queries per frame, .* no halving of .* 8 x 12"):
        grid_of(tokens, 8, 12)


def test_masks_are_resized_by_area_in_the_order_of_the_queries() -> None:
    mask = torch.zeros(1, 1, 1, 4, 6)
    mask[..., 0, :3] = 1  # half of the area of the first queries
    (row,) = StyleRegions(mask).of_samples(1, 2, 12, LIKE)[0]
    assert row.tolist() == [[0.5, 0.25, 0, 0, 0, 0]] * 2


def test_frames_that_are_samples_to_a_layer_get_their_own_masks() -> None:
    masks = torch.arange(6.0).view(2, 1, 3, 1, 1).expand(-1, -1, -1, 2, 2) / 6
    found = StyleRegions(masks).of_samples(6, 1, 4, LIKE)
    assert found.shape == (6, 1, 1, 4)
    torch.testing.assert_close(found[:, 0, 0, 0], torch.arange(6.0) / 6)


@pytest.mark.parametrize(("samples", "frames", "queries"), [(3, 3, 12), (2, 2, 8), (2, 3, 13)])
def test_other_samples_and_frames_are_refused(samples: int, frames: int, queries: int) -> None:
    with pytest.raises(InvalidInputError, match="2 samples and 3 frames do not fit"):
        StyleRegions(torch.zeros(2, 1, 3, 2, 2)).of_samples(samples, frames, queries, LIKE)


# -- models -------------------------------------------------------------------------------------------------------


def videocrafter(unet: VideoCrafterUNet, draw: Draw) -> Callable[..., Tensor]:
    latents, text = draw(2, 4, FRAMES, 8, 12), draw(2, 5, TEXT_DIM, seed=1)
    return lambda style, scales: unet(latents, 500, text, style, scales).sample


def motion(unet: UNetMotionModel, draw: Draw) -> Callable[..., Tensor]:
    latents, text = draw(2, 4, FRAMES, 8, 12), draw(2, 5, TEXT_DIM, seed=1).repeat_interleave(FRAMES, 0)

    def run(style: Tensor, scales: Tensor) -> Tensor:
        kwargs = {"style_tokens": style, "style_scales": scales}
        return unet(latents, 500, text, cross_attention_kwargs=kwargs).sample

    return run


def image(unet: UNet2DConditionModel, draw: Draw) -> Callable[..., Tensor]:
    latents, text = draw(2, 4, 8, 12), draw(2, 5, TEXT_DIM, seed=1)

    def run(style: Tensor, scales: Tensor) -> Tensor:
        kwargs = {"style_tokens": style, "style_scales": scales}
        return unet(latents, 500, text, cross_attention_kwargs=kwargs).sample[:, :, None]

    return run


def wan_transformer() -> WanTransformer3DModel:
    torch.manual_seed(0)
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=TEXT_DIM,
        freq_dim=16,
        ffn_dim=32,
        num_layers=1,
        rope_max_seq_len=16,
    ).eval()


def wan(model: WanTransformer3DModel, draw: Draw) -> Callable[..., Tensor]:
    latents, text = draw(2, 4, FRAMES, 8, 12), draw(2, 5, TEXT_DIM, seed=1)

    def run(style: Tensor, scales: Tensor) -> Tensor:
        with attached_slot(model).holding(GivenStyle(style, scales, FRAMES)):
            return model(latents, torch.full((2,), 500), text).sample

    return run


@pytest.fixture(params=["videocrafter", "image", "motion", "wan"])
def model(
    request: pytest.FixtureRequest, draw: Draw
) -> tuple[StyleAdapter, Callable[..., Tensor], StyleRegions]:
    """An attached adapter, its model's pass, and the mask of the left half: in the last frame of a clip alone."""
    fixtures = {"videocrafter": "unet", "image": "image_unet", "motion": "motion_unet"}
    name = request.param
    made = wan_transformer() if name == "wan" else request.getfixturevalue(fixtures[name])
    torch.manual_seed(1)
    adapter = StyleAdapter.for_model(made, IMAGE_DIM, **SIZES).eval().attach(made)
    masks = torch.zeros(2, 1, 1 if name == "image" else FRAMES, 8, 12)
    masks[:, :, -1, :, :6] = 1
    run = {"videocrafter": videocrafter, "image": image, "motion": motion, "wan": wan}[name]
    return adapter, torch.no_grad()(run(made, draw)), StyleRegions(masks)


def test_every_base_model_is_masked_alike(model, draw: Draw) -> None:  # type: ignore[no-untyped-def]
    adapter, run, regions = model
    slot = adapter._attachment.slot
    style, scales = draw(2, 4, TEXT_DIM, seed=2), 0.5 + draw(2, adapter.num_layers, seed=3).abs()
    base, styled = run(style, torch.zeros_like(scales)), run(style, scales)

    def masked(masks: Tensor, *given: Tensor) -> Tensor:
        with slot.masking(StyleRegions(masks)):
            return run(*given)

    ones = torch.ones_like(regions.masks)
    torch.testing.assert_close(masked(ones, style, scales), styled, rtol=1e-4, atol=1e-5)
    assert torch.equal(masked(0 * ones, style, scales), base)
    half = masked(regions.masks, style, scales)
    # What frames and places share carries the style on; most of its effect is where it acts.
    effect = (half - base).abs().mean((0, 1, 3))[-1]
    assert effect[:6].mean() > effect[6:].mean()
    halved = masked(0.5 * ones, style, 2 * scales)
    torch.testing.assert_close(halved, styled, rtol=1e-4, atol=1e-4)
    both = torch.cat([style] * 2, 1), torch.cat([scales] * 2, 1)
    parts = torch.cat([regions.masks, 1 - regions.masks], 1)
    torch.testing.assert_close(masked(parts, *both), styled, rtol=1e-4, atol=1e-4)
    assert torch.equal(run(style, scales), styled)  # nothing is left behind


@pytest.mark.parametrize("fusion", ["dual", "attach_to_text"])
def test_regions_add_up_in_every_fusion(unet: VideoCrafterUNet, draw: Draw, fusion: str) -> None:
    adapter = StyleAdapter.for_model(unet, IMAGE_DIM, **SIZES, fusion_type=fusion).eval().attach(unet)
    slot = adapter._attachment.slot
    run = torch.no_grad()(videocrafter(unet, draw))
    style, other = draw(2, 4, TEXT_DIM, seed=2), draw(2, 4, TEXT_DIM, seed=4)
    scales = torch.full((2, adapter.num_layers), 0.7)
    masks = torch.zeros(2, 2, 1, 8, 12)
    masks[:, 0] = 1  # the second style acts nowhere
    both = torch.cat([style, other], 1), torch.cat([scales, 0.3 * scales], 1)
    with slot.masking(StyleRegions(masks)):
        first = run(*both)
    torch.testing.assert_close(first, run(style, scales), rtol=1e-4, atol=1e-5)
    with slot.masking(StyleRegions(masks.flip(1))):
        second = run(*both)
    torch.testing.assert_close(second, run(other, 0.3 * scales), rtol=1e-4, atol=1e-5)


def test_tokens_that_regions_cannot_share_are_refused(unet: VideoCrafterUNet, draw: Draw) -> None:
    adapter = StyleAdapter.for_model(unet, IMAGE_DIM, **SIZES).eval().attach(unet)
    run = videocrafter(unet, draw)
    with (
        adapter._attachment.slot.masking(StyleRegions(torch.ones(2, 3, 1, 8, 12))),
        pytest.raises(InvalidInputError, match="that 3 regions share evenly"),
    ):
        run(draw(2, 4, TEXT_DIM), torch.ones(2, 3 * adapter.num_layers))


def test_masks_multiply_the_scales_of_frames(unet: VideoCrafterUNet, draw: Draw) -> None:
    adapter = StyleAdapter.for_model(unet, IMAGE_DIM, **SIZES).eval().attach(unet)
    run = torch.no_grad()(videocrafter(unet, draw))
    style, scales = draw(2, 4, TEXT_DIM, seed=2), torch.full((2, adapter.num_layers), 0.7)
    ramp = torch.tensor([0.0, 0.5, 1.0])
    wanted = run(style, scales[:, None] * ramp[None, :, None])
    with adapter._attachment.slot.masking(StyleRegions(ramp.view(1, 1, -1, 1, 1).expand(2, 1, -1, 8, 12))):
        torch.testing.assert_close(run(style, scales), wanted, rtol=1e-4, atol=1e-5)
        halves = run(style, scales[:, None] * ramp.flip(0)[None, :, None])
    torch.testing.assert_close(
        halves, run(style, scales[:, None] * (ramp * ramp.flip(0))[None, :, None]), rtol=1e-4, atol=1e-5
    )
