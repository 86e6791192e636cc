"""Mixed precision: autocast with scaled gradients in fp16, and bf16 compute with fp32 master weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from stylecrafter.errors import InvalidInputError

_DTYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class MixedPrecision:
    """Autocast of losses, and steps of an optimiser; gradients come scaled in fp16.

    Args:
        name: "no", "bf16" or "fp16".
        device_type: Where losses are computed.

    Raises:
        InvalidInputError: fp16 on a CPU.
    """

    def __init__(self, name: Literal["no", "bf16", "fp16"], device_type: str) -> None:
        if name == "fp16" and device_type == "cpu":
            raise InvalidInputError(
                'fp16 needs an accelerator; on CPUs use mixed_precision "bf16" (with avx512_bf16) or "no"'
            )
        self._dtype, self._device_type = _DTYPES[name], device_type
        self.scaler = torch.amp.GradScaler(device_type) if name == "fp16" else None

    def autocast(self, *, enabled: bool = True, cache_enabled: bool = True) -> torch.autocast:
        """The context in which losses are computed."""
        return torch.autocast(
            self._device_type,
            self._dtype or torch.bfloat16,
            enabled=enabled and self._dtype is not None,
            cache_enabled=cache_enabled,
        )

    def backward(self, loss: torch.Tensor) -> None:
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def step(
        self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], clip: float
    ) -> torch.Tensor:
        """Clip the gradients and step along them; returns their norm before.

        In fp16 the step is left out, and the next ones are scaled less, where they overflowed.
        """
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, clip)
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def state_dict(self) -> dict[str, Any]:
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)


class MasterWeights:
    """Models that compute in bfloat16, norms and sums between layers included, with float32 weights behind them.

    Autocast leaves norms and what lies between layers in float32, so that most of what a small model reads and
    writes is twice as wide, and casts every weight again at each use. Here weights are cast once a step, and
    gradients are bfloat16 up to the master weight that they move ("master weights", Micikevicius et al., 2018,
    arXiv 1710.03740).

    Args:
        models: All that the loss runs through; they compute in bfloat16 from now on.
        trainable: Name -> trainable parameter.
    """

    def __init__(self, models: Iterable[nn.Module], trainable: dict[str, nn.Parameter]) -> None:
        found = {id(p): p for model in models for p in model.parameters()}
        self._parameters = list(found.values())
        self._full = [p.data for p in self._parameters]
        self._cast = [p.data.bfloat16() for p in self._parameters]
        self._trained = list(trainable.values())
        place = {id(p): i for i, p in enumerate(self._parameters)}
        of_trained = [place[id(p)] for p in self._trained]
        #: Name -> the master weight of every trainable parameter.
        self.masters = {
            name: nn.Parameter(self._full[i]) for name, i in zip(trainable, of_trained, strict=True)
        }
        self._trained_cast = [self._cast[i] for i in of_trained]
        self._use(self._cast)

    def _use(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.grad = None  # of the other type
            parameter.data = value

    def forget_gradients(self) -> None:
        """Before a step: weights in bfloat16 without gradients."""
        for parameter in self._trained:
            parameter.grad = None

    def hand_on_gradients(self) -> None:
        """Give the gradients of the weights in bfloat16 to their master weights."""
        given, taken = [], []
        for parameter, master in zip(self._trained, self.masters.values(), strict=True):
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
    def cast_again(self) -> None:
        """After a step: what the models compute with."""
        torch._foreach_copy_(self._trained_cast, [master.data for master in self.masters.values()])

    def restore(self) -> None:
        """Leave the models in float32, for good."""
        self._use(self._full)

    @contextlib.contextmanager
    def in_full(self) -> Iterator[None]:
        """The models in float32 for a while; their weights in bfloat16 stay where they are in memory."""
        gradients = [p.grad for p in self._parameters]
        self._use(self._full)
        try:
            yield
        finally:
            self._use(self._cast)
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
