"""Random numbers of generation, the same on every device, and of training steps."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from stylecrafter.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1


def draw_seed() -> int:
    """A fresh seed, short enough to be copied by hand and exact in every json reader."""
    return secrets.randbelow(2**32)


def check_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        InvalidInputError: Outside 0 … 2^63 - 1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInputError(f"seed must lie between 0 and {MAX_SEED}, not {seed}.")
    return seed


def make_generator(seed: int) -> torch.Generator:
    """A generator on the CPU whatever the device: noise is drawn there and moved, hence equal everywhere."""
    import torch

    return torch.Generator("cpu").manual_seed(check_seed(seed))


def step_seed(seed: int, step: int) -> int:
    """The seed of one training step."""
    return (seed * 1_000_003 + step) % 2**63


def step_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The source of randomness of one training step: a function of seed, step and kind of device alone.

    What decides what is shown is drawn on the CPU; noise, of which there is much, on the device that needs it.
    """
    import torch

    return torch.Generator(device).manual_seed(step_seed(seed, step))
