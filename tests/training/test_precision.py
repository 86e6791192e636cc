"""Weights that are trained in float32 and used in bfloat16: what moves, what stays, what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.from_scratch.encoder_stages import AutoencoderStage
from stylecrafter.training.precision import MasterWeights
from stylecrafter.training.stages import AdapterStage, BaseStage, DiffusionConfig
from stylecrafter.training.train_config import TrainConfig
from stylecrafter.training.trainer import Trainer
from tests.training.test_trainer import losses, same_state
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_clips, tiny_pictures

ROUNDED = TrainConfig(
    steps=6, learning_rate=1e-3, warmup_steps=2, ema_decay=0.9, log_every=1, bf16_compute=True
)


def stage(kind=AdapterStage) -> AdapterStage | BaseStage:
    return kind(
        tiny_parts(),
        DiffusionConfig(clip_ratio=0.5),
        pictures=tiny_pictures(),
        clips=tiny_clips(references="crop"),
    )


def test_models_compute_in_bfloat16_and_come_back_to_the_bit() -> None:
    adapter = stage()
    before = {
        f"{owner}.{name}": value.detach().clone()
        for owner, model in adapter.denoisers().items()
        for name, value in model.named_parameters()
    }
    rounded = MasterWeights(adapter.denoisers().values(), adapter.trainable())
    assert {p.dtype for model in adapter.denoisers().values() for p in model.parameters()} == {torch.bfloat16}
    assert next(adapter.parts.backbone.component("vae").parameters()).dtype == torch.float32
    places = [p.data_ptr() for p in adapter.parts.backbone.denoiser.parameters()]
    with rounded.in_full():
        assert adapter.parts.backbone.denoiser.dtype == torch.float32
    # Captured steps know the weights in bfloat16 by their place in memory.
    assert [p.data_ptr() for p in adapter.parts.backbone.denoiser.parameters()] == places
    rounded.restore()
    for owner, model in adapter.denoisers().items():
        for name, value in model.named_parameters():
            assert torch.equal(value, before[f"{owner}.{name}"]), f"{owner}.{name}"


def test_gradients_are_those_of_float32_but_for_rounding() -> None:
    exact, rough = stage(), stage()
    exact.loss(0).backward()
    rounded = MasterWeights(rough.denoisers().values(), rough.trainable())
    rough.loss(0).backward()
    rounded.hand_on_gradients()
    wanted = torch.cat([p.grad.flatten() for p in exact.trainable().values() if p.grad is not None])
    got = torch.cat([m.grad.flatten() for m in rounded.masters.values() if m.grad is not None])
    assert got.dtype == torch.float32
    assert ((got - wanted).norm() / wanted.norm()).item() < 0.05


def test_what_is_too_small_for_bfloat16_adds_up(tmp_path: Path) -> None:
    run = Trainer(stage(), ROUNDED.replace(steps=30, learning_rate=1e-5, warmup_steps=0), tmp_path)
    before = {name: value.detach().clone() for name, value in run.parameters.items()}
    run.run()
    moved = torch.cat([(run.parameters[n] - v).abs().flatten() for n, v in before.items()])
    assert 0 < moved.max() < 1e-3
    assert (moved > 0).float().mean() > 0.9
    assert next(run.stage.models()["style_adapter"].parameters()).dtype == torch.float32


def test_resuming_equals_never_having_stopped(tmp_path: Path) -> None:
    Trainer(stage(BaseStage), ROUNDED, tmp_path / "whole").run()
    first = Trainer(stage(BaseStage), ROUNDED, tmp_path / "parts")
    early = [first.train_step() for _ in range(3)]
    first.save()
    second = Trainer(stage(BaseStage), ROUNDED, tmp_path / "parts")
    second.resume()
    second.run()
    assert losses(tmp_path / "whole") == [
        pytest.approx(v, rel=1e-4) for v in early + losses(tmp_path / "parts")[-3:]
    ]
    same_state(tmp_path / "whole", tmp_path / "parts")


def test_samples_see_the_average_in_float32_and_training_goes_on_without_it(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []
    sampled = stage()
    run = Trainer(
        sampled,
        ROUNDED.replace(sample_every=2),
        tmp_path / "sampled",
        on_sample=lambda step, weights: seen.append(sampled.parts.backbone.denoiser.dtype),
    )
    run.run()
    Trainer(stage(), ROUNDED, tmp_path / "plain").run()
    assert seen == [torch.float32] * 3
    assert losses(tmp_path / "sampled") == losses(tmp_path / "plain")


def test_it_is_for_denoising_in_whole_weights(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not go with sharding"):
        ROUNDED.replace(sharding="full")
    with pytest.raises(InvalidInputError, match="denoising stages, not for 'autoencoder'"):
        Trainer(AutoencoderStage(tiny_parts().backbone.component("vae"), tiny_pictures()), ROUNDED, tmp_path)
