"""The noise levels that a call goes through."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylecrafter.backbones.flow_matching import FlowMatching
from stylecrafter.backbones.latent_diffusion import LatentDiffusion
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.schedulers import of_flow


def check_scheduler(backbone: Backbone) -> None:
    """Refuse a scheduler that reads something else off the predictions than what they are.

    Raises:
        InvalidInputError: One for flow where noise or velocity is predicted, or the reverse.
    """
    scheduler = backbone.component("scheduler")
    flow = of_flow(scheduler.config)
    if isinstance(backbone, LatentDiffusion if flow else FlowMatching):
        theirs, wanted = ("flow", "noise or velocity") if flow else ("noise or velocity", "flow")
        raise InvalidInputError(
            f"this {type(scheduler).__name__} is for models that predict {theirs}, {backbone.label} predicts {wanted}: "
            "set a scheduler made for that (pipelines.schedulers.make_scheduler with the config of the model's own)"
        )


def set_timesteps(
    scheduler: Any,
    steps: int,
    timesteps: Sequence[int] | None,
    sigmas: Sequence[float] | None,
    device: torch.device,
) -> Tensor:
    """Set a scheduler to so many steps, or to the very ones that are given; returns its timesteps.

    Those of flows shift the sigmas that they are given.

    Raises:
        InvalidInputError: More steps than it was trained with, or timesteps or sigmas that it does not take.
    """
    given = {"timesteps": timesteps, "sigmas": sigmas}
    named = {name: _numbers(name, values) for name, values in given.items() if values is not None}
    if not named:
        most = scheduler.config.num_train_timesteps
        if steps > most:
            raise InvalidInputError(f"num_inference_steps must be at most {most}, got {steps}")
        scheduler.set_timesteps(steps, device=device)
        return scheduler.timesteps
    for name in named:
        if name not in inspect.signature(scheduler.set_timesteps).parameters:
            raise InvalidInputError(f"{type(scheduler).__name__} takes no {name} of one's own")
    if "timesteps" in named and of_flow(scheduler.config):
        raise InvalidInputError(
            f"{type(scheduler).__name__} shifts noise levels, but no timesteps: give sigmas, those before the shift"
        )
    try:
        scheduler.set_timesteps(**{name: np.array(v) for name, v in named.items()}, device=device)
    except ValueError as error:  # a scheduler that takes them only with some of its settings
        raise InvalidInputError(
            f"{type(scheduler).__name__} refuses these {', '.join(named)}: {error}"
        ) from error
    return scheduler.timesteps


def model_input(scheduler: Any, latents: Tensor, timestep: Tensor) -> Tensor:
    """Latents as the model is to see them at a timestep: scaled where the scheduler scales (those of flows do not)."""
    scale = getattr(scheduler, "scale_model_input", None)
    return latents if scale is None else scale(latents, timestep)


def _numbers(name: str, values: Any) -> list[Any]:
    try:
        numbers = list(values)
        finite = all(math.isfinite(number) for number in numbers)
    except (TypeError, OverflowError):
        numbers, finite = [], False
    if not numbers or not finite:
        raise InvalidInputError(f"{name} must be finite numbers, at least one, got {values!r}")
    return numbers
