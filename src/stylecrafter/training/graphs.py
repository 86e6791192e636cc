"""Loss and gradients of a step as one CUDA graph: captured once, then replayed.

A step of a small model is thousands of kernels of a few microseconds each, and its host needs longer to launch them
than a GPU to compute them: `mini` made 4 to 6 steps a second on an H100, whatever the batch. A captured step is
launched as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import nn

#: What a step is computed from: a dataclass of tensors, and of values that decide which operations run.
StageInputs = Any

#: Steps before the capture, in which libraries choose kernels and constants come to the device.
WARMUP = 3


def kind_of(inputs: StageInputs) -> Hashable:
    """What inputs of one graph have in common: shapes and types of tensors, and all other values."""
    return tuple(
        (field.name, tuple(value.shape), value.dtype)
        if isinstance(value := getattr(inputs, field.name), torch.Tensor)
        else (field.name, value)
        for field in dataclasses.fields(inputs)
    )


def tensors_of(inputs: StageInputs) -> list[torch.Tensor]:
    """The tensors of inputs, in order of their fields."""
    values = (getattr(inputs, field.name) for field in dataclasses.fields(inputs))
    return [value for value in values if isinstance(value, torch.Tensor)]


class CapturedSteps:
    """Computes losses and gradients, by a CUDA graph for every kind of inputs that it meets.

    Args:
        compute: The loss of inputs.
        parameters: What gets gradients. Their memory must stay where it is.
    """

    def __init__(
        self, compute: Callable[[StageInputs], torch.Tensor], parameters: Sequence[nn.Parameter]
    ) -> None:
        self.compute, self.parameters = compute, parameters
        self._graphs: dict[Hashable, _Graph] = {}
        self._last: _Graph | None = None

    def __call__(self, inputs: StageInputs) -> torch.Tensor:
        """The loss (), with the gradients in the parameters' `grad`, where they stay until the next call."""
        kind = kind_of(inputs)
        if kind not in self._graphs:
            self._graphs[kind] = _Graph(self.compute, self.parameters, inputs)
        graph = self._graphs[kind]
        loss = graph.replay(inputs)
        if graph is not self._last:
            for parameter, gradient in zip(self.parameters, graph.gradients, strict=True):
                parameter.grad = gradient
            self._last = graph
        return loss


class _Graph:
    """One kind of step: the memory that its inputs, loss and gradients have in all replays."""

    def __init__(
        self,
        compute: Callable[[StageInputs], torch.Tensor],
        parameters: Sequence[nn.Parameter],
        inputs: StageInputs,
    ) -> None:
        own = {
            field.name: value.clone()
            for field in dataclasses.fields(inputs)
            if isinstance(value := getattr(inputs, field.name), torch.Tensor)
        }
        self.inputs = dataclasses.replace(inputs, **own)

        def step() -> torch.Tensor:
            loss = compute(self.inputs)
            loss.backward()
            return loss.detach()

        def without_gradients() -> None:
            for parameter in parameters:
                parameter.grad = None

        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMUP):
                without_gradients()
                step()
        torch.cuda.current_stream().wait_stream(aside)
        # Gradients that are not there yet are written by a replay; those that are there would be added to.
        without_gradients()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = step()
        self.gradients = [parameter.grad for parameter in parameters]

    def replay(self, inputs: StageInputs) -> torch.Tensor:
        for mine, given in zip(tensors_of(self.inputs), tensors_of(inputs), strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.loss.clone()
