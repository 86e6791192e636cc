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
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # Loading takes a second or two; a bar for each part would only hide what there is to read.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    return StyleCrafterPipeline.from_pretrained(str(folder), dtype=dtype)
