"""A tiny UNet with an effect in every layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet

TINY = {
    "block_out_channels": (16, 32),
    "attention_levels": (True, False),
    "layers_per_block": 1,
    "attention_head_dim": 8,
    "cross_attention_dim": 24,
    "norm_num_groups": 8,
    "max_relative_position": 2,
    "init_temporal_heads": 3,
    "init_temporal_head_dim": 8,
}


@pytest.fixture
def fresh() -> VideoCrafterUNet:
    torch.manual_seed(0)
    return VideoCrafterUNet(**TINY).eval()


@pytest.fixture
def unet(fresh: VideoCrafterUNet) -> VideoCrafterUNet:
    with torch.no_grad():
        for parameter in fresh.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return fresh


@pytest.fixture
def draw() -> Callable[..., torch.Tensor]:
    """Seeded normal numbers of a shape."""

    def draw(*shape: int, seed: int = 0) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

    return draw
