"""How long and how fast a stage trains: the settings, and what they make of a step's number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator

from stylecrafter.errors import InvalidInputError


def _unquoted_no(value: object) -> object:
    """The word that YAML reads as false where it has no quotes."""
    return "no" if value is False else value


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast. Learning rate: linear warm-up, then a cosine down to `final_lr_ratio`.

    Raises:
        InvalidInputError: A value out of range.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 100
    final_lr_ratio: float = 0.05
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    blend: float = 1.0
    """How far what the stage leaves is on the way from the weights that it began with to what it has learned
    (`average.WeightAverage`): below 1, a finished model learns something new and keeps more of what it knew."""
    mixed_precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_unquoted_no)] = "no"
    """Autocast of the loss; weights stay float32."""
    rounded_weights: bool = False
    """Denoising stages: compute in bfloat16 throughout, with float32 weights behind (`precision.RoundedWeights`)."""
    record_steps: bool = True
    """On one CUDA device: record the kernels of a step once and replay them (`graphs.RecordedSteps`)."""
    accumulation: int = 1
    """Parts in which every process computes its share of a batch, one after the other."""
    gradient_checkpointing: bool = False
    """Compute activations of the UNet again in the backward pass: less memory, a third more time."""
    sharding: Literal["none", "full"] = "none"
    """Over several processes: copies of the model (DDP), or weights, gradients and moments in parts (FSDP)."""
    checkpoint_minutes: float = 5.0
    keep_checkpoints: int = 2
    log_every: int = 20
    sample_every: int = 0
    """Steps between sample sheets; 0 draws none."""
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"steps": 1, "warmup_steps": 0, "accumulation": 1, "keep_checkpoints": 1, "log_every": 1}
        for name, low in {**least, "sample_every": 0}.items():
            if getattr(self, name) < low:
                raise InvalidInputError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.gradient_clip <= 0:
            raise InvalidInputError(
                f"learning_rate and gradient_clip must be above 0, got {self.learning_rate} and {self.gradient_clip}"
            )
        if self.rounded_weights and self.sharding == "full":
            raise InvalidInputError("rounded_weights and sharding in parts exclude each other")
        if not 0 < self.blend <= 1:
            raise InvalidInputError(f"blend must be above 0 and at most 1, got {self.blend}")
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
