"""The weights that a stage leaves: a running average of those in training, and on the way from those before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.processes import placed_like, whole
from stylecrafter.training.train_config import TrainConfig, ema_decay_at


class WeightAverage:
    """A running average of the parameters; with `TrainConfig.blend` below 1, that share of the way to it.

    Between the weights of a model and those that a few pictures have taught it lie weights that have learned most of
    the new and kept most of the old (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1).

    Args:
        parameters: Name -> parameter, as the stage begins with them.
        config: Of the run: `ema_decay` and `blend`.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], config: TrainConfig) -> None:
        self.parameters, self.config = parameters, config
        self._average = self._copies()
        self._begun_with = self._copies() if config.blend < 1 else None

    def _copies(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters as step number `step` (from 0) has left them."""
        decay = ema_decay_at(step, self.config.ema_decay)
        torch._foreach_lerp_(list(self._average.values()), list(self.parameters.values()), 1 - decay)

    @torch.no_grad()
    def weights(self) -> dict[str, torch.Tensor]:
        """Name -> what the stage leaves, where and as the parameter is."""
        if self._begun_with is None:
            return self._average
        begun_with, share = self._begun_with, self.config.blend
        return {name: begun_with[name].lerp(value, share) for name, value in self._average.items()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, whole and on the CPU: `average`, and `begun_with` where it counts."""
        kept = {"average": self._average}
        if self._begun_with is not None:
            kept["begun_with"] = self._begun_with
        return {what: {name: whole(value) for name, value in of.items()} for what, of in kept.items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave.

        Raises:
            InvalidInputError: The weights that the stage began with are needed and were not kept.
        """
        if self._begun_with is not None and "begun_with" not in state:
            raise InvalidInputError(
                f"blend {self.config.blend:g} needs the weights that the stage began with, and its checkpoint was "
                "saved without them, by a run with blend 1; go on with blend 1, or begin anew"
            )
        for what, of in (("average", self._average), ("begun_with", self._begun_with or {})):
            for name, value in of.items():
                value.copy_(placed_like(state[what][name], value))
