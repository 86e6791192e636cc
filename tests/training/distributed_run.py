"""Run by torchrun in test_distributed: trains toy stages and leaves losses and checkpoints in folders.

The first argument is a folder, every other a run in it: NAME:SHARDING:STEPS. The name alone is the sharding too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from stylecrafter.training.processes import leave_group
from stylecrafter.training.stages import BaseStage, DiffusionConfig, JointStage, Stage
from stylecrafter.training.train_config import TrainConfig
from stylecrafter.training.trainer import Trainer
from tests.training.from_scratch.test_encoder_stages import tiny_clip_stage
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_clips, tiny_pictures


def train(folder: Path, sharding: str, stop_after: int | None = None) -> None:
    """Four steps of three stages; or `stop_after` steps and a checkpoint, to be gone on from."""
    torch.set_num_threads(1)
    config = DiffusionConfig(clip_ratio=0.5, picture_reuse=2)
    sources = {"pictures": tiny_pictures(4), "clips": tiny_clips(2)}
    stages = [
        JointStage(tiny_parts(), config, **sources),
        BaseStage(tiny_parts(), config, **sources),
        tiny_clip_stage(),
    ]
    for stage in stages:
        if stage.name == "clip":
            sharding = "none"
        settings = TrainConfig(
            steps=4,
            learning_rate=1e-3,
            warmup_steps=0,
            ema_decay=0.9,
            weight_interpolation=0.5 if stage.name == "joint" else 1.0,
            log_every=1,
            sharding=sharding,
            sample_every=4,
        )

        def sample(step: int, weights: dict[str, torch.Tensor] | None, stage: Stage = stage) -> None:
            # What a sample sheet would be drawn with: whole weights, wherever they are.
            shown = stage.trainable() if weights is None else weights
            kept = {name: value.detach().clone() for name, value in shown.items()}
            torch.save(kept, folder / stage.name / "sampled.pt")

        trainer = Trainer(stage, settings, folder / stage.name, on_sample=sample)
        in_parts = any(isinstance(value, DTensor) for value in trainer.parameters.values())
        if in_parts != (sharding == "full" and trainer.accelerator.num_processes > 1):
            raise RuntimeError(f"sharding {sharding!r} was not done: {in_parts}")
        trainer.resume()
        if stop_after is None:
            trainer.run()
        else:
            for _ in range(stop_after):
                trainer.train_step()
            trainer.save()


if __name__ == "__main__":
    for run in sys.argv[2:]:
        name, sharding, steps, *_ = (*run.split(":"), None, None)
        train(Path(sys.argv[1], name), sharding or name, None if steps is None else int(steps))
    leave_group()
