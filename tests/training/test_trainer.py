"""The loop: resuming equals never having stopped, and checkpoints are whole or not there."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.styleworld import splits
from stylecrafter.training.checkpoint import load_checkpoint, save_checkpoint
from stylecrafter.training.encoders import AutoencoderStage, ClipStage, latent_scale, reconstruction_loss
from stylecrafter.training.stages import AdapterStage, DiffusionConfig
from stylecrafter.training.trainer import TrainConfig, Trainer, ema_decay_at, learning_rate_factor
from tests.training.tiny_parts import tiny_parts

CONFIG = TrainConfig(steps=6, learning_rate=1e-3, warmup_steps=2, ema_decay=0.9, log_every=1)
SIZES = DiffusionConfig(image_size=16, image_batch=2)


def trainer(folder: Path, config: TrainConfig = CONFIG) -> Trainer:
    return Trainer(AdapterStage(tiny_parts(), SIZES, splits.SMALL), config, folder)


def losses(folder: Path) -> list[str]:
    return (folder / "losses.csv").read_text().splitlines()


def test_resuming_equals_never_having_stopped(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()
    first = trainer(tmp_path / "parts")
    first.folder.mkdir()
    early = [first.train_step() for _ in range(3)]
    first.save()
    second = trainer(tmp_path / "parts")
    second.resume()
    assert second.step == 3
    late = [second.train_step() for _ in range(3)]
    recorded = [float(line.split(",")[1]) for line in losses(tmp_path / "whole")[1:]]
    assert recorded == [pytest.approx(value, abs=1e-6) for value in early + late]
    for name, value in load_checkpoint(whole.checkpoint_path)["average"].items():
        assert torch.equal(value, second.average[name]), name


def test_the_rate_of_a_resumed_run_is_its_own(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.folder.mkdir(exist_ok=True)
    first.train_step()
    first.save()
    second = trainer(tmp_path, dataclasses.replace(CONFIG, weight_decay=0.25, betas=(0.5, 0.6)))
    second.resume()
    group = second.optimizer.param_groups[0]
    assert group["weight_decay"] == 0.25 and group["betas"] == (0.5, 0.6)
    moments = [state["exp_avg"] for state in second.optimizer.state.values()]
    assert moments and any(moment.abs().sum() > 0 for moment in moments)


def test_training_leaves_the_choice_of_attention_kernel_as_it_was(tmp_path: Path) -> None:
    def settings() -> tuple[bool, bool, bool]:
        cuda = torch.backends.cuda
        return (
            cuda.flash_sdp_enabled(),
            cuda.math_sdp_enabled(),
            cuda.fp16_bf16_reduction_math_sdp_allowed(),
        )

    # Whatever an earlier test left behind: the setting that training turns on is off here.
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)
    before = settings()
    trainer(tmp_path).train_step()
    assert settings() == before


def test_training_lowers_the_loss_of_a_fixed_batch(tmp_path: Path) -> None:
    config = TrainConfig(steps=30, learning_rate=3e-3, warmup_steps=0, ema_decay=0.0)
    run = trainer(tmp_path, config)
    before = run.stage.loss(0).item()
    stage_loss = run.stage.loss
    run.stage.loss = lambda step: stage_loss(0)  # type: ignore[method-assign]
    for _ in range(30):
        run.train_step()
    assert stage_loss(0).item() < before - 1e-3


def test_a_run_leaves_the_averaged_weights_in_the_model(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.run()
    for name, value in run.parameters.items():
        assert torch.equal(value.detach(), run.average[name])


def test_a_checkpoint_of_another_stage_is_refused(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    save_checkpoint({"stage": "base", "weights": {}, "step": 1}, run.checkpoint_path)
    with pytest.raises(InvalidInputError, match="base"):
        run.resume()


def test_an_unreadable_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="checkpoint.pt"):
        trainer(tmp_path).resume()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_a_killed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    script = (
        "import sys, torch; from pathlib import Path\n"
        "from stylecrafter.training.checkpoint import save_checkpoint\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; save_checkpoint({'n': n, 'data': torch.full((2_000_000,), float(n))}, Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], env={**os.environ})
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = load_checkpoint(path)
    assert (state["data"] == state["n"]).all()


def test_learning_rate_warms_up_and_falls() -> None:
    config = TrainConfig(steps=100, learning_rate=1.0, warmup_steps=10, final_lr_ratio=0.1)
    assert learning_rate_factor(0, config) == pytest.approx(0.1)
    assert learning_rate_factor(10, config) == pytest.approx(1.0)
    assert learning_rate_factor(55, config) == pytest.approx(0.55)
    assert learning_rate_factor(100, config) == pytest.approx(0.1)


def test_the_average_forgets_its_start() -> None:
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1)
    assert ema_decay_at(10**6, 0.999) == 0.999


def test_the_losses_of_the_encoders_fall(tmp_path: Path) -> None:
    parts = tiny_parts()
    for value in parts.vae.parameters():
        value.requires_grad_(True)
    stage = AutoencoderStage(parts.vae, splits.SMALL, image_size=16, batch_size=4)
    run = Trainer(stage, TrainConfig(steps=25, learning_rate=3e-3, warmup_steps=0, log_every=5), tmp_path)
    run.run()
    values = [float(line.split(",")[1]) for line in losses(tmp_path)[1:]]
    assert values[-1] < values[0]
    assert 0 < latent_scale(stage, 8) < math.inf


def test_clip_learns_to_tell_pictures_apart(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    parts = tiny_parts()
    config = CLIPConfig(
        text_config=parts.text_encoder.config.to_dict(),
        vision_config=parts.image_encoder.config.to_dict(),
        projection_dim=16,
    )
    stage = ClipStage(CLIPModel(config), parts.tokenizer, splits.SMALL, image_size=16, batch_size=16)
    run = Trainer(stage, TrainConfig(steps=40, learning_rate=3e-3, warmup_steps=0, log_every=10), tmp_path)
    run.run()
    values = [float(line.split(",")[1]) for line in losses(tmp_path)[1:]]
    assert values[-1] < values[0] - 0.1


def test_reconstruction_loss_is_zero_for_equal_pictures_only() -> None:
    picture = torch.rand(2, 3, 16, 16)
    assert reconstruction_loss(picture, picture) == 0
    # A shift of 0.1 costs 2 x 0.1 on pixels, 0.1 at each smaller size, and nothing on differences.
    assert reconstruction_loss(picture + 0.1, picture).item() == pytest.approx(0.4, abs=1e-4)


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="steps"):
        TrainConfig(steps=0, learning_rate=1e-3)
    with pytest.raises(InvalidInputError, match="ema_decay"):
        TrainConfig(steps=1, learning_rate=1e-3, ema_decay=1.0)
