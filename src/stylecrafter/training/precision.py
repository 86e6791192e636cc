"""Weights that are trained in float32 and used in bfloat16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn


class RoundedWeights:
    """Models that compute in bfloat16, norms and sums between layers included, with float32 weights behind them.

    Autocast leaves norms and what lies between layers in float32, so that most of what a small model moves through
    memory is twice as wide, and rounds every weight again at each use. Here weights are rounded once a step, and
    gradients are bfloat16 up to the float32 weight that they move ("master weights", Micikevicius et al., 2018,
    arXiv 1710.03740).

    Args:
        models: All that the loss runs through; they compute with rounded weights from now on.
        trainable: Name -> parameter of what moves.
    """

    def __init__(self, models: Iterable[nn.Module], trainable: dict[str, nn.Parameter]) -> None:
        found = {id(p): p for model in models for p in model.parameters()}
        self._parameters = list(found.values())
        self._full = [p.data for p in self._parameters]
        self._rounded = [p.data.bfloat16() for p in self._parameters]
        self._moving = list(trainable.values())
        place = {id(p): i for i, p in enumerate(self._parameters)}
        of_moving = [place[id(p)] for p in self._moving]
        #: Name -> the float32 weight behind every parameter that moves.
        self.masters = {
            name: nn.Parameter(self._full[i]) for name, i in zip(trainable, of_moving, strict=True)
        }
        self._moving_rounded = [self._rounded[i] for i in of_moving]
        self._use(self._rounded)

    def _use(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.grad = None  # of the other type
            parameter.data = value

    def forget_gradients(self) -> None:
        """Before a step: rounded weights without gradients."""
        for parameter in self._moving:
            parameter.grad = None

    def hand_on_gradients(self) -> None:
        """Give the gradients of the rounded weights to the float32 weights behind them."""
        given, taken = [], []
        for parameter, master in zip(self._moving, self.masters.values(), strict=True):
            if parameter.grad is None:
                master.grad = None
                continue
            if master.grad is None:
                master.grad = torch.empty_like(master)
            given.append(parameter.grad)
            taken.append(master.grad)
        if taken:
            torch._foreach_copy_(taken, given)

    @torch.no_grad()
    def round_again(self) -> None:
        """After a step: what the models compute with."""
        torch._foreach_copy_(self._moving_rounded, [master.data for master in self.masters.values()])

    def restore(self) -> None:
        """Leave the models in float32, for good."""
        self._use(self._full)

    @contextlib.contextmanager
    def in_full(self) -> Iterator[None]:
        """The models in float32 for a while; their rounded weights stay where they are in memory."""
        gradients = [p.grad for p in self._parameters]
        self._use(self._full)
        try:
            yield
        finally:
            self._use(self._rounded)
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
