"""Which file of this folder answers for a base model."""

from __future__ import annotations

from typing import Any, TypeVar

from stylecrafter.backbones.animatediff import AnimateDiff
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.sdxl import SDXL
from stylecrafter.backbones.stable_diffusion import StableDiffusion
from stylecrafter.backbones.videocrafter import VideoCrafter
from stylecrafter.backbones.wan import Wan
from stylecrafter.errors import InvalidInputError

Kind = TypeVar("Kind", bound=type[Backbone])

#: All components that base models are made of.
COMPONENTS = (
    "vae",
    "text_encoder",
    "tokenizer",
    "text_encoder_2",
    "tokenizer_2",
    "unet",
    "transformer",
    "motion_adapter",
    "controlnet",
    "scheduler",
)

#: What else a base pipeline is made with: a setting that `backbone_for` takes among the components.
SETTINGS = ("force_zeros_for_empty_prompt",)

_FAMILIES: list[type[Backbone]] = [VideoCrafter, StableDiffusion, SDXL, AnimateDiff, Wan]


def register(family: Kind) -> Kind:
    """Let `backbone_for` find a family of one's own, before those that there are; a decorator of its class."""
    _FAMILIES.insert(0, family)
    return family


def families() -> tuple[type[Backbone], ...]:
    """All that there are, those of one's own first."""
    return tuple(_FAMILIES)


def backbone_for(**components: Any) -> Backbone:
    """The base model made of these components, its family told by the kind of its denoiser.

    Raises:
        InvalidInputError: No family has such a denoiser.
    """
    for family in _FAMILIES:
        denoiser = components.get(family.denoiser_name)
        if denoiser is not None and family.accepts(denoiser):
            return family(**components)
    names = dict.fromkeys(family.denoiser_name for family in _FAMILIES)
    there = [name for name in names if components.get(name) is not None] or list(names)
    given = " or ".join(f"{name} of {type(components.get(name)).__name__}" for name in there)
    known = ", ".join(family.label for family in _FAMILIES)
    raise InvalidInputError(f"no base model that is known has a {given}; known are {known}")
