"""A pipeline from a model folder, without bars for each part."""

from __future__ import annotations

from pathlib import Path

import torch

from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.runtime.allocator import give_back_large_blocks


def load_pipeline(folder: Path, dtype: torch.dtype) -> StyleCrafterPipeline:
    """The pipeline that a model folder holds.

    Raises:
        CheckpointError: The folder holds none, or a broken one.
    """
    quiet_libraries()
    return StyleCrafterPipeline.from_pretrained(str(folder), dtype=dtype)


def load_around(
    model: Path,
    dtype: torch.dtype,
    *,
    is_base: bool,
    adapter: Path | None = None,
    image_encoder: Path | None = None,
    motion_adapter: Path | None = None,
    base_config: Path | None = None,
) -> StyleCrafterPipeline:
    """The pipeline of a base model, or of a model of ours with another adapter or encoder.

    Args:
        model: Folder or file.
        dtype: Of all weights.
        is_base: Whether it is a base model.
        adapter: Folder or file; None: that of the model, if it has one.
        image_encoder: Folder or file, likewise.
        motion_adapter: Folder or file of motion modules for it.
        base_config: Folder with the configs of a single file.

    Raises:
        InvalidInputError: They do not go together.
        CheckpointError: Files that are missing, broken, or not what they should be.
    """
    quiet_libraries()
    give_back_large_blocks()
    if is_base:
        options = {"motion_adapter": motion_adapter, "config": base_config}
        given = {name: place for name, place in options.items() if place is not None}
        return StyleCrafterPipeline.from_base(model, adapter, image_encoder, dtype=dtype, **given)
    pipe = StyleCrafterPipeline.from_pretrained(str(model), dtype=dtype)
    if adapter is not None or image_encoder is not None:
        pipe.load_adapter(pipe.style_adapter if adapter is None else adapter, image_encoder=image_encoder)
    return pipe


def quiet_libraries() -> None:
    """No bars of loading: it takes a second or two, and they would only hide what there is to read."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
