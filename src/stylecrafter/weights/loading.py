"""Loading a model folder with one clear line when it cannot be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stylecrafter.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline


def load_pipeline(folder: Path, dtype: torch.dtype) -> StyleCrafterPipeline:
    """The pipeline that a model folder holds.

    Raises:
        CheckpointError: The folder holds none, or a broken one.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

    # Loading takes a second or two; a bar for each part would only hide what there is to read.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        return StyleCrafterPipeline.from_pretrained(str(folder), torch_dtype=dtype)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{folder} is not a model that can be loaded: {reason}") from error
