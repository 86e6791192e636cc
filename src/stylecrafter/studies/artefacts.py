"""Temporal artefacts: known faults at known strength, which metrics notice them, and what stage 2 makes of them.

Clips of StyleWorld, drawn in held-out styles, are what a perfect model would make; into each of them a fault is put. A
metric notices a fault at a strength where its scores of the faulty clips differ from those of the same clips without
it (paired, p <= 0.05), and does so in the direction that it calls worse.

What stage 2 makes of a fault is seen by noising the faulty clips half of the way and denoising them again (SDEdit,
arXiv 2108.01073): once as clips, with the temporal layers, and once every frame by itself, which is all that stage 1
has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.encoders import StyleVectorEncoder
from stylecrafter.evaluation.metrics.flow import optical_flow
from stylecrafter.evaluation.metrics.info import MetricInfo, metric_info
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
from stylecrafter.media.tensors import to_pictures
from stylecrafter.runtime.seeding import make_generator
from stylecrafter.studies.plots import lines
from stylecrafter.studies.result import StudyResult, StudySpec, Table, shown_mean
from stylecrafter.studies.subject import Subject
from stylecrafter.styleworld.sheets import contact_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from stylecrafter.evaluation.statistics import Difference

logger = logging.getLogger(__name__)

STYLE_VECTOR_TEMPORAL = metric_info("style_vector_temporal")
INFOS = (WARPING_ERROR, FLICKER, DYNAMICS, STYLE_VECTOR_TEMPORAL)
#: Metrics that the two ways of denoising are compared by.
REPAIR_INFOS = (WARPING_ERROR, FLICKER, STYLE_VECTOR_TEMPORAL)
SHOWN_FRAMES = 6

#: Scores of every clip, by the names of metrics.
Scores = list[dict[str, float]]


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


@dataclass(frozen=True, kw_only=True)
class ArtefactSpec(StudySpec):
    """What the study looks at.

    Attributes:
        styles: How many held-out styles.
        prompts: How many contents in each; clips of one style are not independent.
        strengths: Of the faults, rising.
        frames: Of a clip, after frames were dropped.
        repaired: Strength of the faults that are denoised again.
        depth: How far clips are noised for that, of 1.
    """

    styles: int = 8
    prompts: int = 2
    strengths: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.4)
    frames: int = 16
    repaired: float = 0.2
    depth: float = 0.5


QUICK = ArtefactSpec(styles=2, prompts=1, strengths=(0.1, 0.4), frames=4, steps=4)


def inject(
    artefact: Artefact, clip: torch.Tensor, strength: float, frames: int, generator: torch.Generator
) -> torch.Tensor:
    """Put a fault into a clip.

    Args:
        artefact: Which.
        clip: (f, 3, h, w) in [0, 1]; `Artefact.DROPPED` needs more frames than are asked for.
        strength: In [0, 1]; 0 leaves the first `frames` frames as they are.
        frames: How many frames the faulty clip has, in [0, 1] as well.
        generator: Source of all randomness.

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


def run(model: str, spec: ArtefactSpec = ArtefactSpec(), *, seed: int = 0) -> StudyResult:  # noqa: B008  # frozen
    """Inject every fault at every strength, ask every metric, and denoise again; see `run_study.run_study`."""
    subject = Subject.of(model, spec, references=spec.styles, prompts=spec.prompts, unseen_kinds=0, seed=seed)
    # Of twice the frames, so that some can be dropped.
    clips = [subject.set.real_clips(row[None], subject.spec.size, 2 * spec.frames)[0] for row in subject.rows]
    styles: list[int] = subject.set.reference_of.tolist()
    encoder = StyleVectorEncoder()
    plain = _scores([clip[: spec.frames] for clip in clips], encoder)

    def with_fault(artefact: Artefact, strength: float) -> list[torch.Tensor]:
        return [
            inject(artefact, clip, strength, spec.frames, make_generator(seed * 1000 + i))
            for i, clip in enumerate(clips)
        ]

    found: dict[str, list[Scores]] = {}
    for artefact in Artefact:
        faulty_clips = (with_fault(artefact, strength) for strength in spec.strengths)
        found[artefact.value] = [_scores(some, encoder) for some in faulty_clips]
        logger.info("%s: %d strengths measured", artefact, len(spec.strengths))
    table, plots = _noticed(spec, styles, plain, found)
    faulty = {"none": [clip[: spec.frames] for clip in clips]}
    faulty.update({artefact.value: with_fault(artefact, spec.repaired) for artefact in Artefact})
    repaired, sheet, scores = _repaired(subject, spec, styles, faulty, encoder)
    return StudyResult(
        "Temporal artefacts: which metrics notice them, and what stage 2 makes of them",
        (table, repaired),
        plots=plots,
        sheets={"denoised_again": sheet},
        data={"plain": plain, **found, "denoised_again": scores},
        settings={"study": "artefacts", "model": model, "seed": seed, **asdict(spec)},
    )


def _scores(clips: Iterable[torch.Tensor], encoder: StyleVectorEncoder) -> Scores:
    scores = []
    for clip in clips:
        alike = temporal_similarity(encoder.pictures(clip))
        flow = optical_flow(clip)
        scores.append(
            {
                WARPING_ERROR.name: warping_error(clip, forward=flow),
                FLICKER.name: flicker(clip),
                DYNAMICS.name: dynamics(clip, forward=flow),
                STYLE_VECTOR_TEMPORAL.name: 0.0 if alike is None else alike,
            }
        )
    return scores


def _of(info: MetricInfo, scores: Scores) -> list[float]:
    return [one[info.name] for one in scores]


def _noticed(
    spec: ArtefactSpec, styles: Sequence[int], plain: Scores, found: dict[str, list[Scores]]
) -> tuple[Table, dict[str, str]]:
    rows = [[artefact] for artefact in found]
    plots = {}
    for info in INFOS:
        before = _of(info, plain)
        series: dict[str, list[Interval]] = {}
        for row, (artefact, by_strength) in zip(rows, found.items(), strict=True):
            faulty = [_of(info, some) for some in by_strength]
            differences = [paired_difference(before, after, styles) for after in faulty]
            row.append(noticed_from(info, spec.strengths, differences))
            series[artefact] = [bootstrap_mean(values, styles) for values in (before, *faulty)]
        title = f"{titled(info)} of clips with known faults"
        plots[info.name] = lines(title, ("strength", (0.0, *spec.strengths)), info.title, series)
    note = (
        "From which strength on the score is worse than without the fault (p <= 0.05, paired, clips of one style "
        'drawn together). "better": it calls the faulty clips better. A dash: it notices nothing.'
    )
    head = ("fault", *(titled(info) for info in INFOS))
    return Table("Noticed from strength", head, tuple(map(tuple, rows)), note), plots


def _repaired(
    subject: Subject,
    spec: ArtefactSpec,
    styles: Sequence[int],
    faulty: dict[str, list[torch.Tensor]],
    encoder: StyleVectorEncoder,
) -> tuple[Table, Image.Image, dict[str, dict[str, Scores]]]:
    """Every fault as it is, denoised frame by frame, and denoised as a clip."""
    rows, pictures, captions, data = [], [], [], {}
    moments = torch.linspace(0, spec.frames - 1, SHOWN_FRAMES).round().long()
    for fault, clips in faulty.items():
        given = torch.stack(clips)
        ways = {
            "as it is": given,
            "frame by frame": subject.redraw(subject.rows, given, spec.depth, alone=True),
            "as a clip": subject.redraw(subject.rows, given, spec.depth),
        }
        data[fault] = {way: _scores(some, encoder) for way, some in ways.items()}
        cells = [fault]
        for info in REPAIR_INFOS:
            values = [_of(info, some) for some in data[fault].values()]
            _, alone, together = values
            p = paired_difference(alone, together, styles).p_value
            cells += [shown_mean(some, styles) for some in values]
            cells[-1] += f", p = {p:.3f}"
        rows.append(tuple(cells))
        for way, some in ways.items():
            pictures += to_pictures(some[0][moments])
            captions += [fault, way, *([""] * (SHOWN_FRAMES - 2))]
        logger.info("%s: denoised again", fault)
    note = (
        f"Faults of strength {spec.repaired:g}, noised {spec.depth:.0%} of the way and denoised again in the style of "
        "the clip. p: of the paired difference between clip and frame by frame."
    )
    head = ("fault", *(f"{titled(info)}, {way}" for info in REPAIR_INFOS for way in ways))
    return (
        Table("Denoised again", head, tuple(rows), note),
        contact_sheet(pictures, captions, SHOWN_FRAMES, 64),
        data,
    )


def noticed_from(info: MetricInfo, strengths: Sequence[float], differences: Sequence[Difference]) -> str:
    """The least strength from which on all differences are significant and for the worse, or what is seen instead.

    For a score without a direction any significant difference counts, with the sign that it has.
    """
    signs = [0 if d.p_value > SIGNIFICANT else (1 if d.mean > 0 else -1) for d in differences]
    if not signs or signs[-1] == 0:
        return "–"
    first = len(signs) - 1
    while first and signs[first - 1] == signs[-1]:
        first -= 1
    if info.better == "neither":
        return f"{strengths[first]:g} ({'more' if signs[-1] > 0 else 'less'})"
    worse = (signs[-1] > 0) == (info.better == "lower")
    return f"{strengths[first]:g}" if worse else f"{strengths[first]:g} (better)"
