"""From a base model that one has to the components of our pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from stylecrafter.backbones.families import COMPONENTS, families
from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.media.documents import is_folder
from stylecrafter.weights.strict import refusing


def open_base(source: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """Load the diffusers pipeline of a base model.

    Args:
        source: A folder in the diffusers layout, or a hub id.
        dtype: Of its weights.
        **options: Go to `DiffusionPipeline.from_pretrained`.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    with refusing(f"{str(source)!r} is not a base model that can be loaded"):
        return DiffusionPipeline.from_pretrained(str(source), dtype=dtype, **options)


def arguments_of(base: DiffusionPipeline) -> dict[str, Any]:
    """The components of a diffusers pipeline and our defaults for its family: arguments of our pipeline.

    Raises:
        UnknownNameError: No family is made of such a pipeline.
        InvalidInputError: It is, but of components of another kind, or of more of them.
    """
    known = {name: family for family in families() for name in family.pipelines}
    kind = type(base).__name__
    family = next((known[one.__name__] for one in type(base).__mro__ if one.__name__ in known), None)
    if family is None:
        raise unknown_name("base model", kind, known)
    if objection := family.objection(base):
        raise InvalidInputError(objection)
    components = {name: getattr(base, name, None) for name in COMPONENTS}
    if components[family.denoiser_name] is None or not family.accepts(components[family.denoiser_name]):
        raise InvalidInputError(
            f"a {kind} with a {family.denoiser_name} of {type(components[family.denoiser_name]).__name__} cannot be "
            "used as a base model"
        )
    defaults = {f"default_{name}": value for name, value in family(**components).default_knobs().items()}
    return {**components, "image_encoder": getattr(base, "image_encoder", None), **defaults}


def open_image_encoder(source: Any, like: Any) -> Any:
    """A CLIP image tower: as it is, or from a folder or hub id; None for None.

    Args:
        source: The model, or where it lies.
        like: A model whose device and dtype it gets.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    if source is None or isinstance(source, (CLIPVisionModel, CLIPVisionModelWithProjection)):
        return source
    with refusing(f"{str(source)!r} is not an image encoder that can be loaded"):
        folder = Path(source) if is_folder(str(source)) else source
        return CLIPVisionModelWithProjection.from_pretrained(folder, dtype=like.dtype).to(like.device)
