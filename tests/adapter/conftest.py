"""Tiny real models that the adapter is attached to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from torch import nn

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet

TEXT_DIM, IMAGE_DIM, FRAMES = 24, 20, 3
#: The extractors of the paper's table S8; those of published adapters have tests of their own.
TABLE = ("query", "transformer", "mlp")
SIZES = {
    "num_style_tokens": 4,
    "extractor_layers": 2,
    "extractor_heads": 2,
    "scale_layers": 1,
    "scale_heads": 2,
}


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Replace what a fresh model has at zero, so that every layer has an effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def unet() -> VideoCrafterUNet:
    torch.manual_seed(0)
    model = VideoCrafterUNet(
        block_out_channels=(16, 32),
        attention_levels=(True, True),
        layers_per_block=1,
        attention_head_dim=8,
        cross_attention_dim=TEXT_DIM,
        norm_num_groups=8,
        max_relative_position=4,
        init_temporal_heads=2,
        init_temporal_head_dim=8,
    )
    randomise(model)
    return model.eval()


@pytest.fixture
def adapter(unet: VideoCrafterUNet) -> StyleAdapter:
    torch.manual_seed(1)
    return StyleAdapter.for_model(unet, IMAGE_DIM, **SIZES).eval()


@pytest.fixture
def image_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_DIM,
        attention_head_dim=4,
        norm_num_groups=8,
    ).eval()


@pytest.fixture
def motion_unet() -> UNetMotionModel:
    torch.manual_seed(0)
    model = UNetMotionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        layers_per_block=1,
        cross_attention_dim=TEXT_DIM,
        num_attention_heads=4,
        motion_num_attention_heads=4,
        norm_num_groups=8,
        motion_max_seq_length=8,
        use_motion_mid_block=False,
    )
    randomise(model)
    return model.eval()


@pytest.fixture
def draw() -> Callable[..., torch.Tensor]:
    """Seeded normal numbers of a shape."""

    def draw(*shape: int, seed: int = 0) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

    return draw
