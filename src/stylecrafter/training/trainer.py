"""The loop: draw a batch, take a step, keep an average, save in time.

A stage draws its batch of step k from nothing but the seed and k, so a run that was stopped and resumed computes
the same numbers as one that never stopped.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.checkpoint import load_checkpoint, save_checkpoint

logger = logging.getLogger(__name__)


class Stage(Protocol):
    """One stage of training: which parameters move, and the loss of a step."""

    name: str

    def trainable(self) -> dict[str, nn.Parameter]:
        """Name -> parameter of everything that moves; nothing else does."""
        ...

    def loss(self, step: int) -> torch.Tensor:
        """The scalar loss of step number `step`, a function of the seed, the step and the weights."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast. Learning rate: linear warm-up, then a cosine down to `final_lr_ratio`."""

    steps: int
    learning_rate: float
    warmup_steps: int = 100
    final_lr_ratio: float = 0.05
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    mixed_precision: bool = False
    """bfloat16 autocast of the loss (weights stay float32)."""
    checkpoint_minutes: float = 5.0
    log_every: int = 20

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_steps < 0 or self.learning_rate <= 0:
            raise InvalidInputError(
                f"need steps >= 1, warmup_steps >= 0 and learning_rate > 0, got {self.steps}, "
                f"{self.warmup_steps} and {self.learning_rate}"
            )
        if not 0 <= self.ema_decay < 1:
            raise InvalidInputError(f"ema_decay must be in [0, 1), got {self.ema_decay}")


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Factor on the learning rate at `step`: warm-up, then cosine."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_lr_ratio + (1 - config.final_lr_ratio) * cosine


def ema_decay_at(step: int, decay: float) -> float:
    """Decay of the running average: short memory at the start, `decay` later."""
    return min(decay, (1 + step) / (10 + step))


@contextlib.contextmanager
def _attention_for_training(device_type: str) -> Iterator[None]:
    """The fastest kernel of `scaled_dot_product_attention` to train with.

    On CPUs the fused kernel's backward pass takes six times as long as the same in plain matrix products, at the
    few hundred tokens and many heads of the models trained there. Elsewhere torch chooses.
    """
    if device_type != "cpu":
        yield
        return
    reduced = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # else bfloat16 is computed in float32
    try:
        with sdpa_kernel([SDPBackend.MATH]):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(reduced)


class Trainer:
    """Trains one stage, with AdamW, gradient clipping and a running average of the weights.

    Args:
        stage: What to train.
        config: How.
        folder: Where `checkpoint.pt` and `losses.csv` go.
        device_type: "cpu" or "cuda", for autocast.
    """

    def __init__(self, stage: Stage, config: TrainConfig, folder: Path, device_type: str = "cpu") -> None:
        self.stage, self.config, self.folder, self.device_type = stage, config, folder, device_type
        self.parameters = stage.trainable()
        if not self.parameters:
            raise InvalidInputError(f"stage {stage.name} trains nothing")
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.step = 0

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write everything that `resume` needs."""
        save_checkpoint(
            {
                "stage": self.stage.name,
                "step": self.step,
                "weights": {name: value.detach() for name, value in self.parameters.items()},
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
            },
            self.checkpoint_path,
        )

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, where there is one.

        Raises:
            CheckpointError: The checkpoint cannot be read.
            InvalidInputError: It belongs to another stage, or to other sizes.
        """
        if not self.checkpoint_path.is_file():
            return
        state = load_checkpoint(self.checkpoint_path)
        if state["stage"] != self.stage.name or state["weights"].keys() != self.parameters.keys():
            raise InvalidInputError(
                f"{self.checkpoint_path} is of stage {state['stage']!r} with {len(state['weights'])} parameters, "
                f"not of {self.stage.name!r} with {len(self.parameters)}; choose another folder"
            )
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(state["weights"][name])
        self.average = state["average"]
        # Moments come from the checkpoint; rates and the rest are this run's.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        self.step = state["step"]
        logger.info("%s: going on at step %d", self.stage.name, self.step)

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_factor(self.step, self.config)
        with _attention_for_training(self.device_type):
            with torch.autocast(self.device_type, torch.bfloat16, enabled=self.config.mixed_precision):
                loss = self.stage.loss(self.step)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"{self.stage.name}: the loss of step {self.step} is {loss.item()}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        nn.utils.clip_grad_norm_(list(self.parameters.values()), self.config.gradient_clip)
        self.optimizer.step()
        decay = ema_decay_at(self.step, self.config.ema_decay)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), 1 - decay)
        self.step += 1
        return float(loss.detach())

    def run(self, on_log: Callable[[int, float], None] | None = None) -> None:
        """Train to the last step, save on the way, and leave the averaged weights in the model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        started, saved, losses = time.monotonic(), time.monotonic(), []
        first = self.step
        while self.step < self.config.steps:
            losses.append(self.train_step())
            if self.step % self.config.log_every == 0 or self.step == self.config.steps:
                mean, losses = sum(losses) / len(losses), []
                speed = (self.step - first) / (time.monotonic() - started)
                logger.info(
                    "%s: step %d of %d, loss %.4f, %.2f steps/s",
                    self.stage.name, self.step, self.config.steps, mean, speed,
                )  # fmt: skip
                self._record(mean)
                if on_log is not None:
                    on_log(self.step, mean)
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
        self.save()
        self.use_average()

    def use_average(self) -> None:
        """Put the averaged weights into the model."""
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(self.average[name])

    def _record(self, loss: float) -> None:
        path = self.folder / "losses.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", "loss"])
            writer.writerow([self.step, f"{loss:.6f}"])


def freeze_all_but(
    modules: Iterator[nn.Module] | list[nn.Module], trainable: dict[str, nn.Parameter]
) -> None:
    """Let gradients reach exactly `trainable` among the parameters of `modules`."""
    chosen = {id(value) for value in trainable.values()}
    for module in modules:
        for parameter in module.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
