"""Low-rank matrices in the UNet, by the methods of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from tests.backbones.conftest import TINY

peft = pytest.importorskip("peft")
Draw = Callable[..., Tensor]
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


@pytest.fixture
def inputs(draw: Draw) -> tuple[Any, ...]:
    return draw(1, 4, 2, 8, 8), 10, draw(1, 5, 24)


def with_matrices(unet: VideoCrafterUNet, name: str = "default") -> VideoCrafterUNet:
    unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=TARGETS), adapter_name=name)
    for parameter, value in unet.named_parameters():
        if ".lora_B." in parameter:
            torch.nn.init.normal_(value, std=0.3)
    return unet


def test_they_act_and_can_be_switched_off(unet: VideoCrafterUNet, inputs: tuple[Any, ...]) -> None:
    before = unet(*inputs).sample
    unet.add_adapter(peft.LoraConfig(r=2, target_modules=TARGETS))
    torch.testing.assert_close(unet(*inputs).sample, before)  # what is added begins as nothing
    unet.delete_adapters("default")
    with_matrices(unet, "second")
    changed = unet(*inputs).sample
    assert not torch.allclose(changed, before, atol=1e-3)
    unet.set_adapters("second", 0.5)
    assert not torch.allclose(unet(*inputs).sample, changed, atol=1e-3)
    unet.disable_adapters()
    torch.testing.assert_close(unet(*inputs).sample, before)


def test_fused_they_act_the_same(unet: VideoCrafterUNet, inputs: tuple[Any, ...]) -> None:
    before = unet(*inputs).sample
    changed = with_matrices(unet)(*inputs).sample
    unet.fuse_lora()
    torch.testing.assert_close(unet(*inputs).sample, changed, rtol=1e-4, atol=1e-4)
    unet.unfuse_lora()
    unet.unload_lora()
    torch.testing.assert_close(unet(*inputs).sample, before, rtol=1e-4, atol=1e-4)


def test_saved_and_loaded(unet: VideoCrafterUNet, inputs: tuple[Any, ...], tmp_path: Path) -> None:
    plain = {name: value.clone() for name, value in unet.state_dict().items()}
    changed = with_matrices(unet)(*inputs).sample
    unet.save_lora_adapter(tmp_path, weight_name="lora.safetensors")
    other = VideoCrafterUNet(**TINY).eval()
    other.load_state_dict(plain)
    other.load_lora_adapter(tmp_path, weight_name="lora.safetensors", prefix=None)
    torch.testing.assert_close(other(*inputs).sample, changed)


def test_a_style_adapter_acts_beside_them(
    unet: VideoCrafterUNet, inputs: tuple[Any, ...], draw: Draw
) -> None:
    adapter = StyleAdapter.for_model(unet, 12, num_style_tokens=2, extractor_heads=2, scale_heads=2)
    tokens = draw(1, 2, 24)
    adapter.attach(unet)
    styled = unet(*inputs, style_tokens=tokens).sample
    with_matrices(unet)
    both = unet(*inputs, style_tokens=tokens).sample
    alone = unet(*inputs).sample
    assert not torch.allclose(both, styled, atol=1e-3) and not torch.allclose(both, alone, atol=1e-3)
    # Attached to a model that has matrices already, it is the same adapter.
    adapter.detach()
    torch.testing.assert_close(unet(*inputs).sample, alone)
    adapter.attach(unet)
    torch.testing.assert_close(unet(*inputs, style_tokens=tokens).sample, both)
