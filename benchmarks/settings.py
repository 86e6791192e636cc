"""What all benchmarks are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: Where.
        size: "full", or "tiny" to see that it runs.
        repeats: Runs of each, after one that does not count.
        before: Revision whose speed is compared with.
        picture: The style.
    """

    device: torch.device
    size: str = "full"
    repeats: int = 5
    before: str = "32d60b7"
    picture: Path = Path(__file__).parents[1] / "examples" / "style.jpg"

    @property
    def full(self) -> bool:
        """Whether the models have their published sizes."""
        return self.size == "full"
