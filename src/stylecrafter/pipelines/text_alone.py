"""What the text alone makes of the same noise, step by step beside a clip whose style has masks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stylecrafter.adapter.style_regions import StyleRegions
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.guided_noise import Guidance, PassArguments
from stylecrafter.pipelines.noise import step_arguments
from stylecrafter.pipelines.timesteps import model_input
from stylecrafter.pipelines.windows import windowed_noise


class TextAlone:
    """The clip without a style, and what lies outside of the masks.

    Masked attention does not confine a style: self-attention and convolutions carry it on, within a pass and from step
    to step, so that outside of the masks the text alone would be predicted for what is no longer the text's clip. So
    the text's own clip is made beside it, and what no mask covers is taken from there after every step, as blended
    diffusion does it for what an edit is to leave alone (Avrahami et al. 2022). Outside of the masks latents are those
    of a call without style, to the bit.

    Args:
        scheduler: Of the call, before its first step.
        latents: Where it starts, (b, c, f, h, w).
        generators: One per sample; their noise is drawn from copies.
        eta: As in the call.
        regions: Of the styles.
    """

    def __init__(
        self,
        scheduler: Any,
        latents: Tensor,
        generators: Sequence[torch.Generator],
        eta: float,
        regions: StyleRegions,
    ) -> None:
        self.latents = latents
        self._inside = regions.union.to(latents)
        self._scheduler = copy.deepcopy(scheduler)
        copies = [torch.Generator().set_state(generator.get_state()) for generator in generators]
        self._extra = step_arguments(self._scheduler, copies, eta)

    def step(
        self,
        windows: Sequence[slice],
        pipe: StylizedPipelineBase,
        timestep: Tensor,
        tensors: Mapping[str, Any],
        arguments: PassArguments,
        guidance: Guidance,
    ) -> None:
        """Take the call's step without its style; the arguments are those of `windowed_noise`."""
        arguments = replace(arguments, place=(*arguments.place, "text alone"))
        entering = model_input(self._scheduler, self.latents, timestep)
        predicted = windowed_noise(windows, pipe, entering, timestep, tensors, arguments, None, guidance)
        (self.latents, *_) = self._scheduler.step(
            predicted, timestep, self.latents, **self._extra, return_dict=False
        )

    def outside(self, styled: Tensor) -> Tensor:
        """Latents with the style where masks are 1 and without it where none is, in between weighted."""
        return torch.lerp(self.latents, styled, self._inside)
