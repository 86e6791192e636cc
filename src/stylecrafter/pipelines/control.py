"""The image that a ControlNet follows, over the steps of a call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import shown
from stylecrafter.media.images import PictureLike, load_picture

if TYPE_CHECKING:
    from stylecrafter.pipelines.base import StylizedPipelineBase

ControlImages = PictureLike | Tensor | Sequence[PictureLike]


@dataclass(frozen=True, kw_only=True)
class Control:
    """What a call says of its ControlNet.

    Attributes:
        image: What it follows: one picture or one per prompt, or (1 or prompts, 3, H, W) in [0, 1]; None: nothing.
        scale: How much its residuals count.
        start: Part of the steps before it begins.
        end: Part of the steps after which it is left out.
    """

    image: ControlImages | None = None
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= 1:
            raise InvalidInputError(
                "control_guidance_start and control_guidance_end are parts of the steps, 0 <= start <= end <= 1, got "
                f"{self.start} and {self.end}"
            )

        number = isinstance(self.scale, Real) and not isinstance(self.scale, bool)
        if not number or not math.isfinite(self.scale):
            raise InvalidInputError(
                f"controlnet_conditioning_scale must be a finite number, got {shown(repr(self.scale))}"
            )

    def prepared(
        self, pipe: StylizedPipelineBase, rows: int, copies: int, height: int, width: int
    ) -> dict[str, Any]:
        """Arguments of `Backbone.predict` at steps that it acts on: for `rows` prompts, `copies` of each.

        Raises:
            InvalidInputError: The base model has no ControlNet, or images that are no pictures, or too few.
            ImageReadError: One that cannot be read.
        """
        if self.image is None:
            return {}
        pipe.backbone.component("controlnet")
        image = _pixels(self.image, height, width)
        if len(image) not in (1, rows):
            raise InvalidInputError(f"got {len(image)} control images for {rows} prompts; give one or {rows}")
        if len(image) > 1:
            image = image.repeat_interleave(copies, dim=0)
        return {"control_image": image.to(pipe._execution_device), "control_scale": float(self.scale)}

    def acts(self, step: int, steps: int) -> bool:
        """Whether it counts at that step, as diffusers has it."""
        return self.scale != 0 and step / steps >= self.start and (step + 1) / steps <= self.end


def _pixels(images: ControlImages, height: int, width: int) -> Tensor:
    from diffusers.image_processor import VaeImageProcessor

    processor = VaeImageProcessor(do_convert_rgb=True, do_normalize=False)
    if isinstance(images, Tensor):
        if images.ndim != 4 or images.shape[1] != 3:
            raise InvalidInputError(f"a control_image tensor must be (n, 3, h, w), got {tuple(images.shape)}")
        if not bool(((images >= 0) & (images <= 1)).all()):
            raise InvalidInputError(
                f"a control_image tensor must lie in [0, 1], this one has values from {float(images.min()):g} to "
                f"{float(images.max()):g}"
            )
        given: Any = images
    else:
        several: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
        if not several:
            raise InvalidInputError("the list of control images is empty")
        given = [load_picture(image) for image in several]
    return processor.preprocess(given, height=height, width=width).to(torch.float32)
