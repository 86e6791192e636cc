"""The VideoCrafter UNet: sizes, clips and pictures, saving, training, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import stylecrafter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError
from tests.backbones.conftest import TINY

Draw = Callable[..., Tensor]


def test_default_config_is_the_published_model() -> None:
    with torch.device("meta"):
        unet = VideoCrafterUNet()
    assert sum(p.numel() for p in unet.parameters()) == 1_144_485_956
    assert sum(p.numel() for p in unet.temporal_parameters()) == 278_575_232
    assert len(list(unet.temporal_modules())) == 17


@pytest.mark.parametrize("factor", [0.5, float("inf"), float("nan")])
def test_time_is_not_shortened(unet: VideoCrafterUNet, factor: float) -> None:
    with pytest.raises(InvalidInputError, match="at least 1"):
        unet.stretch_time(factor)


def test_stretched_time_reaches_every_temporal_attention(unet: VideoCrafterUNet) -> None:
    before = {n: v.clone() for n, v in unet.state_dict().items()}
    unet.stretch_time(2)
    changed = {n for n, v in unet.state_dict().items() if not v.equal(before[n])}
    assert changed == {n for n in before if n.endswith("_positions")} and changed


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 8, 8), (3, 8, 12), (2, 7, 9), (5, 1, 1)])
def test_any_size(unet: VideoCrafterUNet, draw: Draw, frames: int, height: int, width: int) -> None:
    latents = draw(2, 4, frames, height, width)
    out = unet(latents, 10, draw(2, 5, 24)).sample
    assert out.shape == latents.shape and out.isfinite().all() and out.any()
    assert torch.equal(unet(latents, 10, draw(2, 5, 24), return_dict=False)[0], out)


def test_pictures_are_clips_without_time(unet: VideoCrafterUNet, draw: Draw) -> None:
    latents, text = draw(2, 4, 3, 8, 8), draw(2, 5, 24)
    apart = unet(latents, 10, text, temporal=False).sample
    for i in range(3):
        picture = unet(latents[:, :, i : i + 1], 10, text).sample
        torch.testing.assert_close(apart[:, :, i : i + 1], picture)
    together = unet(latents, 10, text).sample
    assert not torch.allclose(together, apart, atol=1e-3)
    assert torch.equal(unet(latents, 10, text, temporal=True).sample, together)
    single = latents[:, :, :1]
    assert not torch.allclose(unet(single, 10, text, temporal=True).sample, apart[:, :, :1], atol=1e-3)


def test_every_frame_sees_the_others(unet: VideoCrafterUNet, draw: Draw) -> None:
    latents, text = draw(1, 4, 3, 8, 8), draw(1, 5, 24)
    changed = latents.clone()
    changed[:, :, 2] += 1
    difference = (unet(latents, 10, text).sample - unet(changed, 10, text).sample).abs()
    assert difference[:, :, 0].max() > 1e-4


def test_fresh_temporal_layers_change_nothing(fresh: VideoCrafterUNet, draw: Draw) -> None:
    latents, text = draw(1, 4, 3, 8, 8), draw(1, 5, 24)
    assert not fresh(latents, 10, text).sample.any()
    torch.nn.init.normal_(fresh.conv_out.weight)
    assert torch.equal(fresh(latents, 10, text).sample, fresh(latents, 10, text, temporal=False).sample)


def test_batch_equals_samples_one_by_one(unet: VideoCrafterUNet, draw: Draw) -> None:
    latents, text, steps = draw(3, 4, 2, 8, 8), draw(3, 5, 24), torch.tensor([1, 500, 999])
    together = unet(latents, steps, text).sample
    for i in range(3):
        alone = unet(latents[i : i + 1], int(steps[i]), text[i : i + 1]).sample
        torch.testing.assert_close(alone, together[i : i + 1])


def test_text_and_timestep_have_an_effect(unet: VideoCrafterUNet, draw: Draw) -> None:
    latents, text = draw(1, 4, 2, 8, 8), draw(1, 5, 24)
    base = unet(latents, 10, text).sample
    assert not torch.allclose(unet(latents, 10, draw(1, 5, 24, seed=1)).sample, base, atol=1e-3)
    assert not torch.allclose(unet(latents, 900, text).sample, base, atol=1e-3)


def test_save_and_load(unet: VideoCrafterUNet, draw: Draw, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == "VideoCrafterUNet"
    loaded = VideoCrafterUNet.from_pretrained(tmp_path)
    saved, read = unet.state_dict(), loaded.state_dict()
    assert saved.keys() == read.keys() and all(torch.equal(saved[key], read[key]) for key in saved)
    latents, text = draw(1, 4, 2, 8, 8), draw(1, 5, 24)
    torch.testing.assert_close(loaded(latents, 10, text).sample, unet(latents, 10, text).sample)


def test_pipelines_save_it_under_its_public_name() -> None:
    assert VideoCrafterUNet.__module__ == "stylecrafter"
    assert stylecrafter.VideoCrafterUNet is VideoCrafterUNet


def test_gradient_checkpointing_gives_the_same_gradients(unet: VideoCrafterUNet, draw: Draw) -> None:
    unet.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            unet.enable_gradient_checkpointing()
        unet.zero_grad()
        unet(draw(1, 4, 2, 8, 8), 10, draw(1, 5, 24)).sample.square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in unet.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_half_precision_and_memory_format(unet: VideoCrafterUNet, draw: Draw) -> None:
    latents, text = draw(1, 4, 2, 8, 8), draw(1, 5, 24)
    base = unet(latents, 10, text).sample
    with torch.autocast("cpu", torch.bfloat16):
        mixed = unet(latents, 10, text).sample
    assert (mixed.float() - base).norm() / base.norm() < 0.05
    unet.to(memory_format=torch.channels_last)
    torch.testing.assert_close(unet(latents, 10, text).sample, base)
    unet.to(torch.bfloat16)
    half = unet(latents.bfloat16(), 10, text.bfloat16()).sample
    assert half.dtype == torch.bfloat16
    assert (half.float() - base).norm() / base.norm() < 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": (2, 4, 8, 8)}, r"latents must be \(batch, 4, frames, .* got \(2, 4, 8, 8\)"),
        ({"sample": (2, 3, 2, 8, 8)}, r"got \(2, 3, 2, 8, 8\)"),
        ({"text": (1, 5, 24)}, r"text embeddings must be \(2, tokens, 24\), got \(1, 5, 24\)"),
        ({"text": (2, 5, 23)}, r"got \(2, 5, 23\)"),
        ({"style": (1, 4, 24)}, r"style tokens must be \(2, tokens, 24\), got \(1, 4, 24\)"),
        ({"style": (2, 4, 24)}, "StyleAdapter.attach with the VideoCrafterUNet"),
        ({"scales": (2, 3)}, "without style_tokens"),
        ({"steps": (3,)}, "one timestep or 2, got 3"),
    ],
)
def test_bad_input_is_named(
    unet: VideoCrafterUNet, draw: Draw, changes: dict[str, Any], message: str
) -> None:
    shapes = {"sample": (2, 4, 2, 8, 8), "text": (2, 5, 24), "steps": (2,)} | changes
    inputs = {name: draw(*shape) for name, shape in shapes.items()}
    with pytest.raises(InvalidInputError, match=message):
        unet(inputs["sample"], inputs["steps"], inputs["text"], inputs.get("style"), inputs.get("scales"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_levels": (True,)}, "2 widths and 1 flags"),
        ({"block_out_channels": (16, 30)}, "channels 30 are not a multiple of the 8 groups"),
        ({"attention_head_dim": 12}, "channels 16 are not a multiple of the head width 12"),
    ],
)
def test_bad_config_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        VideoCrafterUNet(**(TINY | changes))
