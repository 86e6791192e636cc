"""What a run measures from one report to the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator


@dataclass
class Meters:
    """What has been measured since the last report."""

    losses: list[torch.Tensor] = field(default_factory=list)
    """One per step, of this process's share."""
    gradient_norm: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    _since: float = field(default_factory=time.monotonic)
    _before: int = 0

    def begin(self) -> None:
        """Measure time from now on; steps until now were taken by an earlier process."""
        self._since, self._before = time.monotonic(), len(self.losses)

    def steps_per_second(self) -> float:
        """Of this process."""
        return (len(self.losses) - self._before) / max(1e-9, time.monotonic() - self._since)

    def means(self, accelerator: Accelerator) -> torch.Tensor:
        """The losses (steps,) over all processes, which call this together."""
        if not self.losses:
            return torch.zeros(0)
        return accelerator.reduce(torch.stack(self.losses), reduction="mean")
