"""Temporal artefacts: known faults at known strength, and which metrics notice them from which strength on.

Clips of StyleWorld, drawn in held-out styles, are what a perfect model would make; into each of them a fault is put. A
metric notices a fault at a strength where its figures of the faulty clips differ from those of the same clips without
it (paired, p <= 0.05), and does so in the direction that it calls worse.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.held_out import held_out_set
from stylecrafter.evaluation.metrics.encoders import StyleVectorEncoder
from stylecrafter.evaluation.metrics.flow import optical_flow
from stylecrafter.evaluation.metrics.info import MetricInfo
from stylecrafter.evaluation.metrics.similarity import temporal_similarity
from stylecrafter.evaluation.metrics.temporal import (
    DYNAMICS,
    FLICKER,
    WARPING_ERROR,
    dynamics,
    flicker,
    warping_error,
)
from stylecrafter.evaluation.report import SIGNIFICANT, titled
from stylecrafter.evaluation.statistics import Interval, bootstrap_mean, paired_difference
from stylecrafter.evaluation.studies.plots import lines
from stylecrafter.evaluation.studies.result import StudyResult, Table
from stylecrafter.runtime.seeding import make_generator
from stylecrafter.styleworld import splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stylecrafter.evaluation.statistics import Difference

logger = logging.getLogger(__name__)

STYLE_VECTOR_TEMPORAL = MetricInfo(
    "style_vector_temporal",
    "style vector, frame to frame",
    "higher",
    -1.0,
    1.0,
    "cosine of consecutive frames' style vectors, as CLIP-Temporal",
    "a still clip has 1",
)
INFOS = (WARPING_ERROR, FLICKER, DYNAMICS, STYLE_VECTOR_TEMPORAL)


class Artefact(StrEnum):
    """A fault. Each is 0 at strength 0 and lies in [0, 1] at its strongest."""

    FLICKER = "flicker"
    """The brightness of every frame is off by a random factor; strength is its deviation."""
    COLOUR_DRIFT = "colour drift"
    """Colours move steadily away from those of the first frame; strength is how far they are at the end, of 1."""
    MORPHING = "morphing"
    """Every frame is bent by a smooth random field of its own; strength is ten times its deviation, in widths."""
    TEXTURE_BOILING = "texture boiling"
    """Fresh noise in every frame; strength is its deviation, of 1."""
    DROPPED = "dropped frames"
    """Frames are missing; strength is their share."""
    REPEATED = "repeated frames"
    """Frames are shown again in place of the next; strength is their share."""


@dataclass(frozen=True)
class ArtefactSpec:
    """What the study looks at.

    Attributes:
        styles: How many held-out styles.
        prompts: How many contents in each; clips of one style are not independent.
        strengths: Of the faults, rising.
        size: Height and width of the clips in pixels.
        frames: Of a clip, after frames were dropped.
    """

    styles: int = 8
    prompts: int = 2
    strengths: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.4)
    size: int = 64
    frames: int = 16


QUICK = ArtefactSpec(styles=4, prompts=1, strengths=(0.1, 0.4), size=32, frames=6)


def inject(
    artefact: Artefact, clip: torch.Tensor, strength: float, frames: int, generator: torch.Generator
) -> torch.Tensor:
    """Put a fault into a clip.

    Args:
        artefact: Which.
        clip: (f, 3, h, w) in [0, 1]; `Artefact.DROPPED` needs more frames than are asked for.
        strength: In [0, 1]; 0 leaves the first `frames` frames as they are.
        frames: How many frames there are afterwards.
        generator: Source of all randomness.

    Returns:
        (frames, 3, h, w) in [0, 1].

    Raises:
        InvalidInputError: The strength is outside [0, 1], or the clip is too short.
    """
    if not 0 <= strength <= 1 or len(clip) < frames:
        raise InvalidInputError(
            f"strength {strength} on {len(clip)} frames; a strength in [0, 1] and at least {frames} frames are needed"
        )
    if artefact is Artefact.DROPPED:
        return _drop(clip, strength, frames, generator)
    return _FAULTS[artefact](clip[:frames], strength, generator).clamp(0, 1)


def _flicker(clip: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    return clip * (1 + strength * torch.randn(len(clip), 1, 1, 1, generator=generator))


def _drift(clip: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    direction = torch.randn(3, generator=generator)
    direction = (direction - direction.mean()) / (direction - direction.mean()).norm().clamp(min=1e-6)
    ramp = torch.linspace(0, 1, len(clip))
    return clip + strength * ramp[:, None, None, None] * direction[:, None, None]


def _morph(clip: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    n, _, h, w = clip.shape
    coarse = torch.randn(n, 2, 4, 4, generator=generator) * strength / 10 * 2  # grid_sample's width is 2
    field = F.interpolate(coarse, (h, w), mode="bicubic", align_corners=True)
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    where = torch.stack([x, y], -1) + field.permute(0, 2, 3, 1)
    return F.grid_sample(clip, where, padding_mode="reflection", align_corners=True)


def _boil(clip: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    return clip + strength * torch.randn(clip.shape, generator=generator)


def _repeat(clip: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    again = torch.rand(len(clip), generator=generator) < strength
    shown = torch.arange(len(clip))
    for t in range(1, len(clip)):
        if again[t]:
            shown[t] = shown[t - 1]
    return clip[shown]


def _drop(clip: torch.Tensor, strength: float, frames: int, generator: torch.Generator) -> torch.Tensor:
    spare = len(clip) - frames
    wanted = min(spare, round(frames * strength))
    gone = torch.randperm(frames - 2, generator=generator)[:wanted] + 1 if frames > 2 else torch.arange(0)
    kept = [t for t in range(frames + wanted) if t not in set(gone.tolist())]
    return clip[torch.tensor(kept)[:frames]]


_FAULTS: dict[Artefact, Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]] = {
    Artefact.FLICKER: _flicker,
    Artefact.COLOUR_DRIFT: _drift,
    Artefact.MORPHING: _morph,
    Artefact.TEXTURE_BOILING: _boil,
    Artefact.REPEATED: _repeat,
}


def run(spec: ArtefactSpec = ArtefactSpec(), *, seed: int = 0) -> StudyResult:  # noqa: B008  # frozen
    """Inject every fault at every strength and ask every metric; the seed decides clips and faults.

    Raises:
        InvalidInputError: The numbers do not fit.
        MissingDependencyError: An optional package is not installed.
    """
    clips, styles = _clips(spec, seed)
    encoder = StyleVectorEncoder()
    plain = [_figures(clip[: spec.frames], encoder) for clip in clips]
    found: dict[Artefact, list[list[dict[str, float]]]] = {}
    for artefact in Artefact:
        found[artefact] = []
        for strength in spec.strengths:
            faulty = [
                inject(artefact, clip, strength, spec.frames, make_generator(seed * 1000 + i))
                for i, clip in enumerate(clips)
            ]
            found[artefact].append([_figures(clip, encoder) for clip in faulty])
        logger.info("%s: %d strengths measured", artefact, len(spec.strengths))
    return _result({"study": "artefacts", "seed": seed, **asdict(spec)}, spec, styles, plain, found)


def _clips(spec: ArtefactSpec, seed: int) -> tuple[list[torch.Tensor], list[int]]:
    """Clips of twice the frames, of which some can be dropped, and the style of each."""
    drawn = held_out_set(
        splits.SMALL, references=spec.styles, prompts=spec.prompts, unseen_kinds=0, seed=seed
    )
    rows = torch.arange(len(drawn))
    clips = [drawn.real_clips(row[None], spec.size, 2 * spec.frames)[0] for row in rows]
    return clips, drawn.reference_of.tolist()


def _figures(clip: torch.Tensor, encoder: StyleVectorEncoder) -> dict[str, float]:
    alike = temporal_similarity(encoder.pictures(clip))
    flow = optical_flow(clip)
    return {
        WARPING_ERROR.name: warping_error(clip, forward=flow),
        FLICKER.name: flicker(clip),
        DYNAMICS.name: dynamics(clip, forward=flow),
        STYLE_VECTOR_TEMPORAL.name: 0.0 if alike is None else alike,
    }


def _result(
    settings: dict[str, object],
    spec: ArtefactSpec,
    styles: Sequence[int],
    plain: list[dict[str, float]],
    found: dict[Artefact, list[list[dict[str, float]]]],
) -> StudyResult:
    rows, plots = [], {}
    for artefact, by_strength in found.items():
        row = [artefact.value]
        for info in INFOS:
            before = [figures[info.name] for figures in plain]
            differences = [
                paired_difference(before, [figures[info.name] for figures in some], styles)
                for some in by_strength
            ]
            row.append(noticed_from(info, spec.strengths, differences))
        rows.append(tuple(row))
    for info in INFOS:
        base = bootstrap_mean([figures[info.name] for figures in plain], styles)
        series: dict[str, list[Interval]] = {
            artefact.value: [base]
            + [bootstrap_mean([figures[info.name] for figures in some], styles) for some in by_strength]
            for artefact, by_strength in found.items()
        }
        plots[info.name] = lines(
            f"{titled(info)} of clips with known faults",
            ("strength", (0.0, *spec.strengths)),
            info.title,
            series,
        )
    note = (
        "From which strength on the figure is worse than without the fault (p <= 0.05, paired, clips of one style "
        'drawn together). "better": it calls the faulty clips better. A dash: it notices nothing.'
    )
    return StudyResult(
        "Temporal artefacts: which metrics notice them",
        (Table("Noticed from strength", ("fault", *(titled(info) for info in INFOS)), tuple(rows), note),),
        plots=plots,
        data={"plain": plain, **{artefact.value: some for artefact, some in found.items()}},
        settings=settings,
    )


def noticed_from(info: MetricInfo, strengths: Sequence[float], differences: Sequence[Difference]) -> str:
    """The least strength from which on all differences are significant and for the worse, or what is seen instead.

    For a figure without a direction any significant difference counts, with the sign that it has.
    """
    signs = []
    for difference in differences:
        if difference.p_value > SIGNIFICANT:
            signs.append(0)
        else:
            signs.append(1 if difference.mean > 0 else -1)
    if not signs or signs[-1] == 0:
        return "–"
    first = len(signs) - 1
    while first and signs[first - 1] == signs[-1]:
        first -= 1
    if info.better == "neither":
        return f"{strengths[first]:g} ({'more' if signs[-1] > 0 else 'less'})"
    worse = (signs[-1] > 0) == (info.better == "lower")
    return f"{strengths[first]:g}" if worse else f"{strengths[first]:g} (better)"
