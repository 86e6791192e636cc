"""The noise levels that a call goes through."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError


def set_timesteps(
    scheduler: Any,
    steps: int,
    timesteps: Sequence[int] | None,
    sigmas: Sequence[float] | None,
    device: torch.device,
) -> Tensor:
    """Set a scheduler to so many steps, or to the very ones that are given; returns its timesteps.

    Raises:
        InvalidInputError: More steps than it was trained with, or timesteps or sigmas that it does not take.
    """
    given = {"timesteps": timesteps, "sigmas": sigmas}
    named = {name: list(values) for name, values in given.items() if values is not None}
    if not named:
        most = scheduler.config.num_train_timesteps
        if steps > most:
            raise InvalidInputError(f"num_inference_steps must be at most {most}, got {steps}")
        scheduler.set_timesteps(steps, device=device)
        return scheduler.timesteps
    for name, values in named.items():
        if name not in inspect.signature(scheduler.set_timesteps).parameters:
            raise InvalidInputError(f"{type(scheduler).__name__} takes no {name} of one's own")
        if not values or not all(math.isfinite(value) for value in values):
            raise InvalidInputError(f"{name} must be finite numbers, at least one, got {values}")
    scheduler.set_timesteps(**named, device=device)
    return scheduler.timesteps
