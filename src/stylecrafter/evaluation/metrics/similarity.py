"""Scores of a clip by a pretrained encoder: how near its frames are to the prompt, to the reference, to each other.

Every function is the mean over frames of a cosine, as the paper has it (supplement B.1): of frame and content prompt,
of frame and style reference (the mean over several references), of frame and next frame.
"""

from __future__ import annotations

import torch

from stylecrafter.errors import InvalidInputError

PUBLISHED_CLIP = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


def text_similarity(frames: torch.Tensor, text: torch.Tensor) -> float:
    """Mean cosine of frames (f, d) and a text (d,), unit vectors.

    Raises:
        InvalidInputError: Other shapes.
    """
    _check(frames, text[None])
    return float((frames @ text).mean())


def reference_similarity(frames: torch.Tensor, references: torch.Tensor) -> float:
    """Mean cosine of frames (f, d) and references (n, d), unit vectors.

    Raises:
        InvalidInputError: Other shapes.
    """
    _check(frames, references)
    return float((frames @ references.T).mean())


def temporal_similarity(frames: torch.Tensor) -> float | None:
    """Mean cosine of each frame (f, d) and the next, unit vectors; None for a single frame.

    Raises:
        InvalidInputError: Another shape.
    """
    _check(frames, frames)
    return float((frames[1:] * frames[:-1]).sum(1).mean()) if len(frames) > 1 else None


def _check(some: torch.Tensor, others: torch.Tensor) -> None:
    if (
        some.ndim != 2
        or others.ndim != 2
        or some.shape[1] != others.shape[1]
        or 0 in (len(some), len(others))
    ):
        raise InvalidInputError(
            f"embeddings of shapes {tuple(some.shape)} and {tuple(others.shape)}; (n, d) and (m, d) are needed"
        )
