"""The weights that a stage leaves: a moving average of those in training, and on the way there from the first ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.training_utils import EMAModel

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.processes import placed_like, whole
from stylecrafter.training.train_config import TrainConfig


class StageEMA:
    """An exponential moving average of the parameters by name; with
    `TrainConfig.weight_interpolation` below 1, that share of the way to it.

    Between the weights of a model and those that a few pictures have taught it lie weights that have learned most of
    the new and kept most of the old (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1).

    Args:
        parameters: Name -> parameter, as the stage begins with them.
        config: Of the run: `ema_decay` and `weight_interpolation`.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], config: TrainConfig) -> None:
        self.parameters, self.config = parameters, config
        self._ema = EMAModel(parameters.values(), decay=config.ema_decay, foreach=True)
        self._start: dict[str, torch.Tensor] | None = None
        if config.weight_interpolation < 1:
            self._start = {name: value.detach().clone() for name, value in parameters.items()}

    def update(self) -> None:
        """Take in the parameters as one more step has left them."""
        self._ema.step(self.parameters.values())

    @torch.no_grad()
    def weights(self) -> dict[str, torch.Tensor]:
        """Name -> what the stage leaves, where and as the parameter is."""
        if self._start is None:
            return self._averages()
        share = self.config.weight_interpolation
        return {name: self._start[name].lerp(value, share) for name, value in self._averages().items()}

    def _averages(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.parameters, self._ema.shadow_params, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, whole and on the CPU: `ema`, and `start` where it counts."""
        kept = {"ema": self._averages()}
        if self._start is not None:
            kept["start"] = self._start
        return {what: {name: whole(value) for name, value in of.items()} for what, of in kept.items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any], steps: int) -> None:
        """Put back what `state_dict` gave after so many steps.

        Raises:
            InvalidInputError: The weights that the stage began with are needed and were not kept.
        """
        if self._start is not None and "start" not in state:
            raise InvalidInputError(
                f"weight_interpolation {self.config.weight_interpolation:g} needs the weights that the stage began "
                "with, and its checkpoint was saved without them, by a run with 1; go on with 1, or begin anew"
            )
        self._ema.optimization_step = steps
        for what, of in (("ema", self._averages()), ("start", self._start or {})):
            for name, value in of.items():
                value.copy_(placed_like(state[what][name], value))
