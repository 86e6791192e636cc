"""A pipeline without memory for its weights: what it could do and what it would need, told before it is loaded.

It is made of configs alone and is the real one otherwise, so that every base model, adapter and encoder answers for
itself; what does not go together is refused in the very words of loading.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionModelWithProjection

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.media.documents import is_file, is_folder
from stylecrafter.pipelines.adapters import outline_adapter
from stylecrafter.pipelines.from_base import open_base
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.folders import INDEX_NAME, PARTS
from stylecrafter.weights.loading import PIPELINES
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
        adapter: As `load_adapter` takes it, where it is not in the model's folder.
        image_encoder: Folder, likewise.
        motion_adapter: Folder or file, likewise.

    Raises:
        InvalidInputError: They do not go together.
        CheckpointError: Configs that are missing or broken, or an adapter of no known format.
    """
    index = read_config(model / INDEX_NAME, required=True)
    own = index.get("_class_name") in PIPELINES
    with _default_dtype(dtype):
        parts = outlined_parts(model, index)
        encoder = None if image_encoder is None else _image_encoder(image_encoder)
        if own:
            with refusing(f"{model} is not a model that can be loaded"):
                pipe = StyleCrafterPipeline.from_pretrained(model, **parts)
            if adapter is not None:
                pipe.load_adapter(outline_adapter(adapter), image_encoder=encoder)
            return pipe
        motion = {} if motion_adapter is None else {"motion_adapter": _motion_modules(motion_adapter)}
        base = open_base(model, dtype=dtype, **parts, **motion)
        styled = None if adapter is None else outline_adapter(adapter)
        return StyleCrafterPipeline.from_base(base, styled, encoder)


def outlined_parts(folder: Path, index: dict[str, Any]) -> dict[str, nn.Module]:
    """Part -> model without memory, of all models that an index names and we know."""
    parts = {}
    for name, known in PARTS.items():
        entry = index.get(name)
        if not isinstance(entry, list) or entry in ([None, None], []) or tuple(entry) not in known:
            continue
        kind = StyleAdapter if name == "style_adapter" else getattr(import_module(entry[0]), entry[1], None)
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            parts[name] = meta_model(kind, folder / name)
    return parts


def _image_encoder(place: Path) -> nn.Module:
    return meta_model(CLIPVisionModelWithProjection, place)


def _motion_modules(place: Path) -> nn.Module:
    from diffusers import MotionAdapter

    return meta_model(MotionAdapter, place)


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
