from __future__ import annotations

import pytest
import torch
from torch import nn

from stylecrafter.evaluation.lora import LoraConfig, LoraStage, LoraTuner, ReferenceCrops, lora_parameters
from stylecrafter.training.parts import Parts
from stylecrafter.training.stages import DiffusionConfig
from tests.tiny import tiny_picture, tiny_pipeline

pytest.importorskip("peft")
CONFIG = LoraConfig(rank=2, steps=3, learning_rate=0.1, batch_size=2)


def answer(unet: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 2, 8, 8, generator=generator)
    text = torch.randn(1, 5, 16, generator=generator)
    with torch.no_grad():
        predicted: torch.Tensor = unet(latents, torch.tensor([500]), text).sample
    return predicted


def test_matrices_change_nothing_before_they_learned() -> None:
    pipe = tiny_pipeline()
    before = answer(pipe.unet)
    LoraTuner(pipe, CONFIG)
    # Adding zeros changes the memory layout of convolutions, and with it the last bits.
    torch.testing.assert_close(answer(pipe.unet), before, rtol=0, atol=1e-5)


def test_spatial_layers_have_matrices_and_temporal_ones_have_none() -> None:
    pipe = tiny_pipeline()
    LoraTuner(pipe, CONFIG)
    names = list(lora_parameters(pipe.unet))
    for part in ("attn1.to_q", "attn2.to_v", "ff.net.2", "proj_out", "conv1"):
        assert any(part in name for name in names), part
    temporal = {name for name, _ in pipe.unet.temporal_modules()}
    assert not [name for name in names if any(name.startswith(f"{owner}.") for owner in temporal)]


def test_exactly_the_matrices_get_gradients() -> None:
    pipe = tiny_pipeline()
    LoraTuner(pipe, CONFIG)
    parts = Parts(backbone=pipe.backbone, image_encoder=pipe.image_encoder)
    crops = ReferenceCrops([tiny_picture()], 16, "a fox", 2, 0)
    stage = LoraStage(parts, DiffusionConfig(), pictures=crops)
    stage.loss(0).backward()
    moved = {
        f"{owner}.{name}"
        for owner, model in stage.models().items()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    assert moved == {f"unet.{name}" for name in lora_parameters(pipe.unet)}


def test_styles_do_not_learn_from_each_other() -> None:
    pipe = tiny_pipeline()
    tuner = LoraTuner(pipe, CONFIG)
    plain = answer(pipe.unet)
    tuner.use("a", [tiny_picture(0)])
    first = answer(pipe.unet)
    assert not torch.equal(first, plain)
    tuner.use("b", [tiny_picture(1)])
    assert not torch.equal(answer(pipe.unet), first)
    tuner.use("a", [])  # known already: its pictures are not asked for
    assert torch.equal(answer(pipe.unet), first)
    other = tiny_pipeline()
    LoraTuner(other, CONFIG).use("a", [tiny_picture(0)])
    assert torch.equal(answer(other.unet), first)


def test_half_formats_learn_as_float32_does() -> None:
    half, whole = tiny_pipeline().to(torch.bfloat16), tiny_pipeline().to(torch.bfloat16)
    frozen = {name: value.clone() for name, value in half.unet.state_dict().items()}
    whole.to(torch.float32)
    LoraTuner(half, CONFIG).use("a", [tiny_picture(0)])
    LoraTuner(whole, CONFIG).use("a", [tiny_picture(0)])
    learned = lora_parameters(half.unet)
    for name, value in lora_parameters(whole.unet).items():
        assert torch.equal(learned[name].float(), value.bfloat16().float()), name
    assert half.unet.dtype == half.vae.dtype == half.text_encoder.dtype == torch.bfloat16
    after = {n.replace(".base_layer", ""): v for n, v in half.unet.state_dict().items() if ".lora_" not in n}
    assert after.keys() == frozen.keys() and all(value.equal(after[name]) for name, value in frozen.items())


def test_crops_are_a_function_of_the_step_and_take_turns() -> None:
    pictures = [tiny_picture(0, 40, 40), tiny_picture(1, 40, 40)]
    crops = ReferenceCrops(pictures, 16, "a fox", 4, seed=1)
    batch = crops.batch(3, slice(0, 4))
    assert batch.frames.shape == (4, 1, 3, 16, 16) and batch.captions == ["a fox"] * 4
    assert torch.equal(crops.batch(3, slice(2, 4)).frames, batch.frames[2:])
    assert not torch.equal(crops.batch(4, slice(0, 4)).frames, batch.frames)
    means = batch.frames.mean((1, 3, 4))
    assert torch.allclose(means[0], means[2], atol=0.05) and not torch.allclose(means[0], means[1], atol=0.05)
