"""Figures of a clip by a pretrained encoder: how near its frames are to the prompt, to the reference, to each other.

Every function is the mean over frames of a cosine, as the paper has it (supplement B.1): of frame and content prompt,
of frame and style reference (the mean over several references), of frame and next frame.
"""

from __future__ import annotations

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import MetricInfo

PUBLISHED_CLIP = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


def clip_text(encoder: str) -> MetricInfo:
    """What CLIP-Text by the encoder of that name is."""
    source = f"paper, tables 1 and 2; by {encoder}"
    return _cosine("clip_text", "CLIP-Text", source, "figures of other encoders do not compare")


def clip_style(encoder: str) -> MetricInfo:
    """What CLIP-Style by the encoder of that name is."""
    source = f"paper, tables 1 and 2; by {encoder}"
    note = "a copy of the reference has 1: read it beside CLIP-Text and copying"
    return _cosine("clip_style", "CLIP-Style", source, note)


def clip_temporal(encoder: str) -> MetricInfo:
    """What CLIP-Temporal by the encoder of that name is."""
    source = f"paper, table 2; by {encoder}"
    return _cosine("clip_temporal", "CLIP-Temporal", source, "a still clip has 1: read it beside dynamics")


def dino_style(encoder: str) -> MetricInfo:
    """What DINO-Style by the encoder of that name is."""
    source = f"paper, table 1; by {encoder}"
    return _cosine("dino_style", "DINO-Style", source, "the paper does not name its backbone")


def csd_style(encoder: str) -> MetricInfo:
    """What CSD by the checkpoint of that name is."""
    source = f"Somepalli et al. 2024; by {encoder}"
    return _cosine("csd_style", "CSD", source, "a copy of the reference has 1")


def style_vector(encoder: str) -> MetricInfo:
    """What the style vector's similarity by the package of that name and version is."""
    source = f"cosine of the 100 numbers that {encoder} predicts (Ghiasi et al. 2017)"
    return _cosine("style_vector", "style vector", source, "a copy of the reference has 1")


def _cosine(name: str, title: str, source: str, note: str) -> MetricInfo:
    return MetricInfo(name, title, "higher", -1.0, 1.0, source, note)


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
