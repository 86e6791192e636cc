"""Metrics as a test set asks them: objects that know the set's pictures and turn a clip into scores by name.

Every metric has a `key` that says all that its scores depend on beside the clip, so that scores of an unchanged
clip can be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from PIL import ImageOps

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics import style, texture
from stylecrafter.evaluation.metrics.colour import (
    PALETTE_DISTANCE,
    PALETTE_NEARER,
    colour_quantiles,
    quantile_distance,
)
from stylecrafter.evaluation.metrics.copying import COPYING, copying
from stylecrafter.evaluation.metrics.digest import pictures_digest
from stylecrafter.evaluation.metrics.encoders import ClipEncoder, PictureEncoder
from stylecrafter.evaluation.metrics.flow import FLOW_NAME, Flow, optical_flow
from stylecrafter.evaluation.metrics.info import MeasuredClip, MetricInfo, metric_info
from stylecrafter.evaluation.metrics.similarity import (
    reference_similarity,
    temporal_similarity,
    text_similarity,
)
from stylecrafter.evaluation.metrics.style import STYLE_FOUND, describe_style, descriptor_distances
from stylecrafter.evaluation.metrics.temporal import temporal_scores
from stylecrafter.evaluation.metrics.texture import TEXTURE_DISTANCE, texture_distances
from stylecrafter.media.tensors import to_pictures, to_tensor

Scores = dict[str, float | None]
#: Frames that are compared with the references; neighbouring frames say the same.
FRAMES_COMPARED = 4
#: Changed whenever scores change their meaning, so that kept ones are measured again.
VERSION = 2


class Metric(Protocol):
    """Turns a clip into scores."""

    @property
    def key(self) -> str:
        """All that the scores depend on beside the clip."""

    @property
    def infos(self) -> tuple[MetricInfo, ...]:
        """What it measures."""

    def __call__(self, clip: MeasuredClip) -> Scores:
        """A value for the name of each of `infos`; None where there is nothing to say."""


class AppearanceMetric:
    """Palette, texture and copying against the references, without any training.

    References are brought to the size of the frames, their middle kept. Frames too small for the texture or the style
    have no score of it; a set with one picture has none that compares with others.

    Args:
        pictures: All style pictures of the test set, each (3, h, w) in [0, 1].

    Raises:
        InvalidInputError: No pictures.
    """

    infos = (STYLE_FOUND, PALETTE_DISTANCE, PALETTE_NEARER, TEXTURE_DISTANCE, COPYING)

    def __init__(self, pictures: Sequence[torch.Tensor]) -> None:
        if not pictures:
            raise InvalidInputError("a test set without style pictures")
        self._pictures = pictures
        self.key = f"appearance {VERSION} {pictures_digest(pictures)}"
        self._sized: dict[tuple[int, int], _SizedReferences] = {}

    def __call__(self, clip: MeasuredClip) -> Scores:
        frames = some_frames(clip.frames)
        size = (frames.shape[2], frames.shape[3])
        if size not in self._sized:
            self._sized[size] = _SizedReferences(fitted(self._pictures, *size))
        references = self._sized[size]
        own = list(clip.references)
        others = [i for i in range(len(self._pictures)) if i not in clip.references]
        mine = references.pictures[own]
        palette = quantile_distance(colour_quantiles(frames), references.colours).mean(0)
        scores: Scores = {
            STYLE_FOUND.name: None,
            PALETTE_DISTANCE.name: float(palette[own].mean()),
            PALETTE_NEARER.name: None,
            TEXTURE_DISTANCE.name: None,
            COPYING.name: float(copying(frames, mine).amax(1).mean()),
        }
        if min(size) >= texture.LEAST_SIDE:
            scores[TEXTURE_DISTANCE.name] = float(texture_distances(frames, mine).mean())
        if others:
            scores[PALETTE_NEARER.name] = float((palette[own].mean() < palette[others]).float().mean())
        if others and references.styles is not None:
            described = describe_style(frames).mean(0, keepdim=True)
            distances = descriptor_distances(described, references.styles)[0]
            scores[STYLE_FOUND.name] = float(distances[own].min() < distances[others].min())
        return scores


class _SizedReferences:
    """References at the size of the frames, described once for all clips."""

    def __init__(self, pictures: torch.Tensor) -> None:
        self.pictures = pictures
        self.colours = colour_quantiles(pictures)
        self.styles = describe_style(pictures) if min(pictures.shape[2:]) >= style.LEAST_SIDE else None


class TemporalMetric:
    """Warping error, flicker and dynamics; nothing for clips of fewer than three frames.

    Args:
        flow: Finds the motion between frames.
        flow_name: As scores name it.
        flow_digest: Tells its weights from others, where it has any.
    """

    def __init__(self, flow: Flow = optical_flow, flow_name: str = FLOW_NAME, flow_digest: str = "") -> None:
        self._flow = flow
        self.infos = tuple(metric_info(name, flow_name) for name in ("warping_error", "flicker", "dynamics"))
        self.key = f"temporal {VERSION} {flow_name} {flow_digest}".rstrip()

    def __call__(self, clip: MeasuredClip) -> Scores:
        if len(clip.frames) < 3:
            return dict.fromkeys((info.name for info in self.infos), None)
        return dict(temporal_scores(clip.frames, self._flow)._asdict())


class SimilarityMetric:
    """Cosine between frames and references in the space of an encoder (DINO, CSD, a style vector).

    Args:
        info: What the score is called.
        encoder: The space.
        pictures: All style pictures of the test set, each (3, h, w) in [0, 1].
        as_large_as_frames: Whether references are brought to the size of the frames first, their middle kept: for an
            encoder that sees size (a coarse texture as a fine one).
    """

    def __init__(
        self,
        info: MetricInfo,
        encoder: PictureEncoder,
        pictures: Sequence[torch.Tensor],
        *,
        as_large_as_frames: bool = False,
    ) -> None:
        self.infos = (info,)
        how = " as large as frames" if as_large_as_frames else ""
        self.key = f"{info.name} {VERSION} {encoder.name} {encoder.digest} {pictures_digest(pictures)}{how}"
        self._encoder, self._pictures, self._sized = encoder, pictures, as_large_as_frames
        self._references: dict[tuple[int, int] | None, torch.Tensor] = {}

    def __call__(self, clip: MeasuredClip) -> Scores:
        described = self._encoder.pictures(some_frames(clip.frames))
        size = (clip.frames.shape[2], clip.frames.shape[3]) if self._sized else None
        if size not in self._references:
            pictures = self._pictures if size is None else fitted(self._pictures, *size)
            self._references[size] = torch.cat([self._encoder.pictures(p[None]) for p in pictures])
        own = self._references[size][list(clip.references)]
        return {self.infos[0].name: reference_similarity(described, own)}


class ClipMetric:
    """CLIP-Text, CLIP-Style and CLIP-Temporal of all frames, as published.

    Args:
        encoder: Any CLIP; published scores use ViT-H/14.
        pictures: All style pictures of the test set, each (3, h, w) in [0, 1].
        prompts: All prompts of the test set.
    """

    def __init__(
        self, encoder: ClipEncoder, pictures: Sequence[torch.Tensor], prompts: Sequence[str]
    ) -> None:
        self.infos = tuple(
            metric_info(name, encoder.name) for name in ("clip_text", "clip_style", "clip_temporal")
        )
        self.key = f"clip {VERSION} {encoder.name} {encoder.digest} {pictures_digest(pictures)}"
        self._encoder = encoder
        self._references = torch.cat([encoder.pictures(picture[None]) for picture in pictures])
        unique = sorted(set(prompts))
        self._texts: Mapping[str, torch.Tensor] = dict(zip(unique, encoder.texts(unique), strict=True))

    def __call__(self, clip: MeasuredClip) -> Scores:
        frames = self._encoder.pictures(clip.frames)
        text, reference, temporal = (info.name for info in self.infos)
        return {
            text: text_similarity(frames, self._texts[clip.prompt]),
            reference: reference_similarity(frames, self._references[list(clip.references)]),
            temporal: temporal_similarity(frames),
        }


def some_frames(frames: torch.Tensor) -> torch.Tensor:
    """At most `FRAMES_COMPARED` frames, evenly spread: (n, 3, h, w)."""
    count = min(len(frames), FRAMES_COMPARED)
    return frames[torch.linspace(0, len(frames) - 1, count).round().long()]


def fitted(pictures: Sequence[torch.Tensor], height: int, width: int) -> torch.Tensor:
    """The middle of each picture in the shape height x width, at that size: (n, 3, height, width)."""
    return torch.stack(
        [to_tensor(ImageOps.fit(to_pictures(picture[None])[0], (width, height))) for picture in pictures]
    )
