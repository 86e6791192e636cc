"""A pipeline from a model folder, without bars for each part."""

from __future__ import annotations

from pathlib import Path

import torch

from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline


def load_pipeline(folder: Path, dtype: torch.dtype) -> StyleCrafterPipeline:
    """The pipeline that a model folder holds.

    Raises:
        CheckpointError: The folder holds none, or a broken one.
    """
    without_bars()
    return StyleCrafterPipeline.from_pretrained(str(folder), dtype=dtype)


def without_bars() -> None:
    """Have libraries load without bars from now on: one for each part would only hide what there is to read."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
