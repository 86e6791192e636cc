"""The three first experiments of anyone who rebuilds the method, each with its control.

* The adapter on one picture: one reference, several prompts; does the style come, and does the prompt stay?
* Scale-adaptive fusion: the same pairs with predicted factors, with s = 1, and the factors of every pair.
* The complete pipeline on a clip: with the style and without it, against real renders.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from stylecrafter.evaluation.metrics.temporal import temporal_scores
from stylecrafter.evaluation.truth.probes import seen_in
from stylecrafter.media.tensors import to_pictures
from stylecrafter.studies.result import StudyResult, StudySpec, Table, listed, means_row, shown_mean
from stylecrafter.studies.subject import Judgement, Subject
from stylecrafter.styleworld.sheets import contact_sheet
from stylecrafter.styleworld.styles import STYLE_NAMES

if TYPE_CHECKING:
    from PIL import Image

    from stylecrafter.evaluation.truth.probes import Probe


@dataclass(frozen=True, kw_only=True)
class FirstSpec(StudySpec):
    """What the study looks at.

    Attributes:
        references: Styles of the set; the first of them is the one picture.
        prompts: Contents of the set.
        clips: Pairs that are drawn as clips.
        frames: Of a clip; None: the model's.
        probe_steps: Of the probes' training; None: the probes that reports have.
    """

    references: int = 10
    prompts: int = 8
    clips: int = 12
    frames: int | None = None
    probe_steps: int | None = None


QUICK = FirstSpec(references=3, prompts=2, clips=2, frames=4, steps=2, probe_steps=4)


def run(model: str, spec: FirstSpec = FirstSpec(), *, seed: int = 0) -> StudyResult:  # noqa: B008  # frozen
    """Carry out the three experiments; see `run_study.run_study`."""
    subject = Subject.of(
        model, spec, references=spec.references, prompts=spec.prompts, unseen_kinds=0, seed=seed
    )
    objects = subject.probe("object", spec.probe_steps)
    rows = subject.rows
    pictures = {
        "predicted": subject.paint(rows),
        "s = 1": subject.paint(rows, torch.ones_like(subject.predicted_scales())),
        "text alone": subject.paint(rows, scale=0.0),
    }
    said = {name: subject.judge(of, rows, objects) for name, of in pictures.items()}
    clip_table, clip_sheet, clip_data = _clips(subject, spec, objects)
    return StudyResult(
        "The three first experiments",
        (_one_picture(subject, said), _fusion(subject, said), _factors(subject), clip_table),
        sheets={"one_picture": _sheet(subject, pictures), "clips": clip_sheet},
        data={
            "pictures": {
                name: {"style": listed(of.style), "text": listed(of.text)} for name, of in said.items()
            },
            "factors": listed(subject.predicted_scales()),
            "clips": clip_data,
        },
        settings={"study": "first", "model": model, "seed": seed, **asdict(spec)},
    )


def _one_picture(subject: Subject, said: dict[str, Judgement]) -> Table:
    first = subject.set.reference_of == 0
    rows = [
        means_row(name, [values[first] for values in (of.style, of.found, of.text)])
        for name, of in said.items()
        if name != "s = 1"
    ]
    kind, _ = subject.names_of(0)
    note = (
        f"One reference ({kind}), {int(first.sum())} prompts. Style: share of {len(subject.references) - 1} other "
        "references that are further away; found: all of them are; text: probability of the prompt's object."
    )
    return Table("The adapter on one picture", ("", "style", "found", "text"), tuple(rows), note)


def _fusion(subject: Subject, said: dict[str, Judgement]) -> Table:
    clusters = subject.set.reference_of.tolist()
    columns = {name: (of.style, of.found, of.text) for name, of in said.items()}
    rows = [
        means_row(name, of, clusters, () if name == "predicted" else columns["predicted"])
        for name, of in columns.items()
    ]
    note = "All pairs; p of the paired difference to predicted factors."
    return Table("Scale-adaptive fusion", ("factors", "style", "found", "text"), tuple(rows), note)


def _factors(subject: Subject) -> Table:
    """Mean factor over layers of every reference with every prompt."""
    scales = subject.predicted_scales().mean(1).unflatten(0, (len(subject.references), -1))
    rows = [
        (f"{i:02d}, {STYLE_NAMES[int(subject.set.references.style[i])]}", *(f"{s:.3f}" for s in row.tolist()))
        for i, row in enumerate(scales)
    ]
    head = ("reference", *subject.set.texts)
    return Table("Factors over references and prompts", head, tuple(rows), "Predicted s, mean over layers.")


def _clips(
    subject: Subject, spec: FirstSpec, objects: Probe
) -> tuple[Table, Image.Image, dict[str, dict[str, list[float]]]]:
    # Every reference in turn, each with another prompt.
    rows = (torch.arange(spec.clips) * (len(subject.text_embeds) + 1)) % len(subject.set)
    motions = subject.probe("motion", spec.probe_steps)
    made = {
        "with the style": subject.film(rows, frames=spec.frames),
        "text alone": subject.film(rows, scale=0.0, frames=spec.frames),
    }
    frames = made["text alone"].shape[1]
    made["real renders"] = subject.set.real_clips(rows, subject.spec.size, frames)
    data = {name: _of_clips(subject, clips, rows, objects, motions) for name, clips in made.items()}
    titles = list(data["real renders"])
    cells = [(name, *(shown_mean(scores[title]) for title in titles)) for name, scores in data.items()]
    note = f"{spec.clips} clips of {frames} frames, each with another reference and prompt."
    return (
        Table("The complete pipeline on clips", ("", *titles), tuple(cells), note),
        _frames(subject, made, rows),
        data,
    )


def _of_clips(
    subject: Subject, clips: torch.Tensor, rows: torch.Tensor, objects: Probe, motions: Probe
) -> dict[str, list[float]]:
    contents = subject.set.prompts[subject.set.prompt_of[rows]]
    middle = subject.judge(clips[:, clips.shape[1] // 2], rows, objects)
    times = [temporal_scores(clip) for clip in clips]
    return {
        "style ↑": listed(middle.style),
        "object ↑": listed(middle.text),
        "motion as the prompt says ↑": listed(
            (seen_in(motions, clips) == subject.labels("motion", contents)).float()
        ),
        # A clip that stands still has neither.
        "flicker ↓": [time.flicker for time in times if time.flicker is not None],
        "warping error ↓": [time.warping_error for time in times if time.warping_error is not None],
        "dynamics": [time.dynamics for time in times],
    }


def _sheet(subject: Subject, pictures: dict[str, torch.Tensor]) -> Image.Image:
    """The one reference, then a column per prompt: with the style above, without it below."""
    first = subject.rows[subject.set.reference_of == 0]
    texts = list(subject.set.texts)
    reference = to_pictures(subject.references[:1])
    shown_pictures = [*reference, *to_pictures(pictures["predicted"][first]),
                      *reference, *to_pictures(pictures["text alone"][first])]  # fmt: skip
    captions = ["reference", *texts, "text alone", *texts]
    return contact_sheet(shown_pictures, captions, len(texts) + 1, 96)


def _frames(subject: Subject, made: dict[str, torch.Tensor], rows: torch.Tensor) -> Image.Image:
    """A row for each of six clips and maker: the reference, then frames over time."""
    shown_pictures: list[Image.Image] = []
    captions: list[str] = []
    for i, row in enumerate(rows[:6].tolist()):
        reference = subject.references[subject.set.reference_of[row]][None]
        for name, clips in made.items():
            chosen = torch.linspace(0, clips.shape[1] - 1, 4).round().long()
            shown_pictures += to_pictures(torch.cat([reference, clips[i][chosen]]))
            captions += [name, subject.names_of(row)[1], *([""] * 3)]
    return contact_sheet(shown_pictures, captions, 5, 80)
