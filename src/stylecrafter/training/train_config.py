"""How long and how fast a stage trains: the settings, and what they make of a step's number."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from stylecrafter.runtime.faults import Fault, FaultsError
from stylecrafter.training.settings import (
    AnySeed,
    Count,
    Decay,
    Limit,
    Positive,
    Ratio,
    StageSettings,
    Steps,
    StepsOrNone,
    Weight,
)

#: Steps of the warm-up where none are named, and the stage has as many.
USUAL_WARMUP = 100


def _unquoted_no(value: object) -> object:
    """The word that YAML reads as false where it has no quotes."""
    return "no" if value is False else value


class TrainConfig(StageSettings):
    """How long and how fast. Learning rate: linear warm-up, then a cosine down to `final_lr_ratio`."""

    steps: Steps
    learning_rate: Positive
    warmup_steps: StepsOrNone | None = None
    """At most `steps`; default: `USUAL_WARMUP`, or all steps of a shorter stage."""
    final_lr_ratio: Ratio = 0.05
    weight_decay: Weight = 0.0
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    gradient_clip: Limit = 1.0
    """The longest gradient; infinity clips none."""
    ema_decay: Decay = 0.999
    weight_interpolation: Annotated[Ratio, Field(gt=0)] = 1.0
    """How far what the stage leaves is on the way from the weights that it began with to what it has learned
    (`ema.StageEMA`): below 1, a finished model learns something new and keeps more of what it knew."""
    mixed_precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_unquoted_no)] = "no"
    """Autocast of the loss; weights stay float32."""
    bf16_compute: bool = False
    """Denoising stages: compute in bfloat16 throughout, with float32 master weights (`precision.MasterWeights`)."""
    cuda_graphs: bool = True
    """On one CUDA device: capture the kernels of a step as a graph once and replay it (`graphs.CapturedSteps`)."""
    accumulation: Count = 1
    """Parts in which every process computes its share of a batch, one after the other."""
    gradient_checkpointing: bool = False
    """Compute activations of the denoiser again in the backward pass: less memory, a third more time."""
    sharding: Literal["none", "full"] = "none"
    """Over several processes: copies of the model (DDP), or weights, gradients and moments in parts (FSDP)."""
    checkpoint_minutes: Weight = 5.0
    """0 saves after every step."""
    keep_checkpoints: Count = 2
    log_every: Steps = 20
    sample_every: StepsOrNone = 0
    """Steps between sample sheets; 0 draws none."""
    seed: AnySeed = 0

    @model_validator(mode="after")
    def _fields_fit(self) -> TrainConfig:
        faults = []
        if self.warmup_steps is not None and self.warmup_steps > self.steps:
            faults.append(
                Fault(("warmup_steps",), f"must be at most the {self.steps} steps, got {self.warmup_steps}")
            )
        if self.bf16_compute and self.sharding == "full":
            faults.append(Fault(("bf16_compute",), "does not go with sharding in parts (sharding: full)"))
        if self.mixed_precision == "fp16" and self.sharding == "full":
            faults.append(
                Fault(
                    ("mixed_precision",),
                    "fp16 scales its gradients, which sharding in parts does not know; set it to bf16",
                )
            )
        if faults:
            raise FaultsError(faults)
        return self

    @property
    def warmup(self) -> int:
        """Steps of the warm-up."""
        return min(USUAL_WARMUP, self.steps) if self.warmup_steps is None else self.warmup_steps


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Factor on the learning rate at `step`: warm-up, then cosine.

    The schedules of diffusers end at 0 and begin with a step at rate 0, those of transformers with a floor are a step
    ahead: what was trained by this one would not come out the same.
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_lr_ratio + (1 - config.final_lr_ratio) * cosine
