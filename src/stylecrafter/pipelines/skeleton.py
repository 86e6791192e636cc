"""A pipeline without memory for its weights: what it could do and what it would need, told before it is loaded.

It is made of configs alone and is the real one otherwise, so that every base model, adapter and encoder answers for
itself; what does not go together is refused in the very words of loading.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import CLIPVisionModelWithProjection

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import is_file, shown
from stylecrafter.pipelines.adapters import outline_adapter
from stylecrafter.pipelines.from_base import open_base, open_image_encoder
from stylecrafter.pipelines.motion import outline_motion_adapter, with_motion
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.folders import INDEX_NAME, OWN_PIPELINES, PARTS
from stylecrafter.weights.strict import meta_model, refusing


def outline(
    model: Path,
    dtype: torch.dtype = torch.float32,
    *,
    adapter: Path | None = None,
    image_encoder: Path | None = None,
    motion_adapter: Path | None = None,
) -> StyleCrafterPipeline:
    """The pipeline that these would load as, its weights on the "meta" device; tokenizers and scheduler are real.

    Args:
        model: A folder of ours or of a base model, its weights there or not.
        dtype: Of the weights.
        adapter: Folder or file, where it is not in the model's folder.
        image_encoder: Folder or file, likewise.
        motion_adapter: Folder or file, likewise.

    Raises:
        InvalidInputError: They do not go together, or they are no base model that is known.
        CheckpointError: Configs that are missing or broken, or an adapter of no known format.
    """
    index = read_config(model / INDEX_NAME, required=True)
    with _default_dtype(dtype):
        parts: dict[str, Any] = _outlined_parts(model, index)
        encoder = None if image_encoder is None else outline_image_encoder(image_encoder)
        styled = None if adapter is None else outline_adapter(adapter)
        motion = None if motion_adapter is None else outline_motion_adapter(motion_adapter)
        if index.get("_class_name") not in OWN_PIPELINES:
            base = open_base(model, dtype=dtype, **parts)
            if motion is not None:
                with torch.device("meta"):
                    base = with_motion(base, motion)
            return StyleCrafterPipeline.from_base(base, styled, encoder)
        if motion is not None:
            raise InvalidInputError(
                f"{shown(model.name)} is a whole model; motion modules go with a base model"
            )
        with refusing(f"{shown(model)} is not a model that can be loaded"):
            pipe = StyleCrafterPipeline.from_pretrained(model, **parts)
        if styled is not None or encoder is not None:
            pipe.load_adapter(styled or pipe.style_adapter, image_encoder=encoder)
        return pipe


def _outlined_parts(folder: Path, index: dict[str, Any]) -> dict[str, nn.Module]:
    """Part -> model without memory, of all models that an index names and we know."""
    parts = {}
    for name, known in PARTS.items():
        entry = index.get(name)
        if not isinstance(entry, list) or tuple(entry) not in known:
            continue
        kind = getattr(import_module(entry[0]), entry[1])
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            parts[name] = meta_model(kind, folder / name)
    return parts


def outline_image_encoder(place: Path) -> nn.Module:
    """The CLIP image tower of a folder or file, without memory for its weights.

    Raises:
        CheckpointError: A config that is missing or of something else, or a broken file.
    """
    if is_file(place):
        model: nn.Module = open_image_encoder(place, torch.empty(0)).to("meta")
        return model
    # With a projection or without: whichever the adapter reads, loading has the last word.
    return cast("nn.Module", meta_model(CLIPVisionModelWithProjection, place))


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
