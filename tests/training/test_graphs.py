"""Captured steps: what tells their kinds apart, and that a replay computes what the step does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from stylecrafter.training.graphs import CapturedSteps, kind_of, tensors_of
from stylecrafter.training.stages import BaseStage, DiffusionConfig, NoisyInputs
from stylecrafter.training.train_config import TrainConfig
from stylecrafter.training.trainer import Trainer
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_clips, tiny_pictures

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")


def stage(device: str = "cpu") -> BaseStage:
    parts = tiny_parts()
    for model in parts.models().values():
        model.to(device)
    return BaseStage(
        parts,
        DiffusionConfig(clip_ratio=0.5, text_dropout=0.3),
        pictures=tiny_pictures(references="none", cross_reference_ratio=0.0),
        clips=tiny_clips(),
    )


def test_inputs_that_differ_in_numbers_alone_are_of_one_kind() -> None:
    base = stage()
    pictures, clips, more = (base.inputs(step) for step in (0, 1, 2))
    assert kind_of(pictures) == kind_of(more) != kind_of(clips)
    assert not torch.equal(pictures.noisy, more.noisy)
    assert kind_of(dataclasses.replace(pictures, through_time=True)) != kind_of(pictures)
    assert kind_of(dataclasses.replace(pictures, noisy=pictures.noisy.double())) != kind_of(pictures)


def test_only_tensors_are_copied_in_order_of_their_fields() -> None:
    inputs: NoisyInputs = stage().inputs(0)
    assert inputs.reference_tokens is None
    found = tensors_of(inputs)
    wanted = (inputs.noisy, inputs.timesteps, inputs.target, inputs.token_ids)
    assert len(found) == 4 and all(one is other for one, other in zip(found, wanted, strict=True))


def test_a_loss_is_a_function_of_its_inputs() -> None:
    base = stage()
    for step in (0, 1):
        assert torch.equal(base.compute(base.inputs(step)), base.loss(step))


@needs_cuda
def test_replays_compute_losses_and_gradients() -> None:
    recorded, plain = stage("cuda"), stage("cuda")
    steps = CapturedSteps(recorded.compute, list(recorded.trainable().values()))
    for step in (0, 1, 2, 3):
        plain.models()["unet"].zero_grad()
        loss = plain.loss(step)
        loss.backward()
        torch.testing.assert_close(steps(recorded.inputs(step)), loss.detach())
        for one, other in zip(recorded.trainable().values(), plain.trainable().values(), strict=True):
            if other.grad is not None:
                torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


@needs_cuda
@pytest.mark.parametrize("rounded", [False, True])
def test_recorded_training_is_the_same_training(tmp_path: Path, rounded: bool) -> None:
    final = []
    for recorded in (True, False):
        config = TrainConfig(
            steps=6, learning_rate=1e-3, warmup_steps=2, bf16_compute=rounded, cuda_graphs=recorded
        )
        run = Trainer(stage("cuda"), config, tmp_path / str(recorded))
        final.append([run.train_step() for _ in range(6)])
    assert final[0] == pytest.approx(final[1], rel=0.02 if rounded else 1e-4)
