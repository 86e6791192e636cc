"""Extreme pairs: styles and contents that are hard together, and where the method breaks.

Every group is a set of StyleWorld in which one thing is made hard; the same scores of real renders say how much of it
is the pair's fault and not the model's.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from stylecrafter.evaluation.statistics import bootstrap_mean
from stylecrafter.evaluation.truth.held_out import HeldOutSet
from stylecrafter.evaluation.truth.probes import world_indices
from stylecrafter.media.tensors import to_pictures
from stylecrafter.studies.plots import bars
from stylecrafter.studies.result import StudyResult, StudySpec, Table, listed, means_row
from stylecrafter.studies.subject import Subject
from stylecrafter.styleworld import world
from stylecrafter.styleworld.sheets import contact_sheet
from stylecrafter.styleworld.styles import STYLE_NAMES

if TYPE_CHECKING:
    from PIL import Image

    from stylecrafter.evaluation.statistics import Interval
    from stylecrafter.evaluation.truth.probes import Probe

logger = logging.getLogger(__name__)

#: Kinds whose marks are large and follow no outline, so that a picture in them shows little of what it is of.
ABSTRACT_KINDS = ("mosaic", "stripes", "contours", "spiral", "bricks", "stained glass")
#: Kinds made of many small marks.
INTRICATE_KINDS = ("halftone", "engraving", "pointillism", "crosshatch", "cross stitch", "woodcut")
#: Of `_scores`, in its order.
TITLES = ("style", "found", "object", "scene", "object of the reference", "scene of the reference")


@dataclass(frozen=True, kw_only=True)
class PairsSpec(StudySpec):
    """What the study looks at.

    Attributes:
        references: Styles in each group.
        prompts: Contents in each group.
        probe_steps: Of the probes' training; None: the probes that reports have.
        worst: Pairs of each group that are shown, the worst ones.
    """

    references: int = 12
    prompts: int = 6
    probe_steps: int | None = None
    worst: int = 6


QUICK = PairsSpec(references=3, prompts=2, steps=2, probe_steps=4, worst=2)


def run(model: str, spec: PairsSpec = PairsSpec(), *, seed: int = 0) -> StudyResult:  # noqa: B008  # frozen
    """Draw every group with a model and ask of the pictures; see `run_study.run_study`."""
    subject = Subject.of(
        model, spec, references=spec.references, prompts=spec.prompts, unseen_kinds=0, seed=seed
    )
    probes = (subject.probe("object", spec.probe_steps), subject.probe("scene", spec.probe_steps))
    rows: list[tuple[str, ...]] = []
    sheets: dict[str, Image.Image] = {}
    data: dict[str, Any] = {}
    means: dict[str, dict[str, Interval]] = {"style": {}, "object": {}}
    for name, made_hard in GROUPS.items():
        asked = subject.with_set(made_hard(subject.set))
        pictures = asked.paint(asked.rows)
        real = asked.set.real_clips(asked.rows, subject.spec.size, 1)[:, 0]
        ours, ceiling = (_scores(asked, of, *probes) for of in (pictures, real))
        clusters = asked.set.reference_of.tolist()
        rows.append(means_row(name, list(ours.values()), clusters))
        rows.append(means_row("… real renders", list(ceiling.values()), clusters))
        for score, of in means.items():
            of[name] = bootstrap_mean(listed(ours[score]), clusters)
        sheets[name.replace(" ", "_").replace(",", "")] = _worst(asked, pictures, real, ours, spec.worst)
        data[name] = {
            label: {score: listed(of) for score, of in scores.items()}
            for label, scores in (("ours", ours), ("real", ceiling))
        }
        logger.info(
            "%s: style %.2f, object %.2f", name, *(float(ours[f].mean()) for f in ("style", "object"))
        )
    note = (
        "Style: share of the group's other references that are further away than the own one; found: all of them are. "
        "The others: probabilities by probes trained on real renders. In the last two groups what the reference shows "
        "is in conflict with the prompt; what of it is seen has leaked."
    )
    return StudyResult(
        "Extreme pairs",
        (Table("Where the method breaks", ("group", *TITLES), tuple(rows), note),),
        plots={
            "style": bars("Style by group", "style", means["style"]),
            "object": bars("Object of the prompt by group", "probability", means["object"]),
        },
        sheets=sheets,
        data=data,
        settings={"study": "pairs", "model": model, "seed": seed, **asdict(spec)},
    )


def _scores(
    subject: Subject, pictures: torch.Tensor, objects: Probe, scenes: Probe
) -> dict[str, torch.Tensor]:
    """What is said of the pictures of all pairs, each (n,)."""
    held_out, rows = subject.set, subject.rows
    contents = held_out.prompts[held_out.prompt_of]
    shown_there = held_out.references[held_out.reference_of]
    said = subject.judge(pictures, rows, objects)
    return {
        "style": said.style,
        "found": said.found,
        "object": said.text,
        "scene": subject.probability("scene", scenes, pictures, contents),
        "reference_object": subject.probability("object", objects, pictures, shown_there),
        "reference_scene": subject.probability("scene", scenes, pictures, shown_there),
    }


def _worst(
    subject: Subject, pictures: torch.Tensor, real: torch.Tensor, scores: dict[str, torch.Tensor], count: int
) -> Image.Image:
    """Pairs of least style and object: reference, picture, real render."""
    order = (scores["style"] + scores["object"]).argsort()[:count]
    shown_pictures, captions = [], []
    for row in order.tolist():
        reference = subject.references[subject.set.reference_of[row]]
        shown_pictures += to_pictures(torch.stack([reference, pictures[row], real[row]]))
        captions += [*subject.names_of(row), "real render"]
    return contact_sheet(shown_pictures, captions, 3, 96)


# Groups


def _abstract(held_out: HeldOutSet) -> HeldOutSet:
    """Abstract styles; prompts name object, scene and motion as always, which none of these styles can well show."""
    return dataclasses.replace(held_out, references=_of_kinds(held_out, ABSTRACT_KINDS))


def _intricate(held_out: HeldOutSet) -> HeldOutSet:
    """Small marks, as many of them as the kind can have."""
    references = _of_kinds(held_out, INTRICATE_KINDS)
    parameters = references.style_parameters.clone()
    parameters[:, 0] = 1.0
    return dataclasses.replace(held_out, references=references.replace(style_parameters=parameters))


def _other_object(held_out: HeldOutSet) -> HeldOutSet:
    """References and prompts in one scene: they are in conflict about the object alone."""
    scene = int(world_indices("scene", held_out.vocabulary)[0])
    references, contents = (
        of.replace(scene=torch.full_like(of.scene, scene)) for of in (held_out.references, held_out.prompts)
    )
    return _with_contents(held_out, references, contents)


def _other_scene(held_out: HeldOutSet) -> HeldOutSet:
    """References and prompts show one object, in different scenes."""
    thing = int(held_out.prompts.thing[0])
    scenes = world_indices("scene", held_out.vocabulary)
    half = len(scenes) // 2
    contents = held_out.prompts.replace(
        thing=torch.full_like(held_out.prompts.thing, thing),
        scene=scenes[torch.arange(len(held_out.prompts)) % half],
    )
    references = held_out.references.replace(
        thing=torch.full_like(held_out.references.thing, thing),
        scene=scenes[half + torch.arange(len(held_out.references)) % (len(scenes) - half)],
    )
    return _with_contents(held_out, references, contents)


GROUPS: dict[str, Callable[[HeldOutSet], HeldOutSet]] = {
    "ordinary": lambda held_out: held_out,
    "abstract style, specific content": _abstract,
    "intricate patterns": _intricate,
    "conflicting object": _other_object,
    "conflicting scene": _other_scene,
}
"""Name -> what makes it out of an ordinary set."""


def _of_kinds(held_out: HeldOutSet, kinds: Sequence[str]) -> world.WorldBatch:
    chosen = torch.tensor([STYLE_NAMES.index(kind) for kind in kinds])
    references = held_out.references
    return references.replace(style=chosen[torch.arange(len(references)) % len(chosen)])


def _with_contents(
    held_out: HeldOutSet, references: world.WorldBatch, contents: world.WorldBatch
) -> HeldOutSet:
    return dataclasses.replace(
        held_out,
        references=references,
        prompts=contents,
        texts=tuple(contents.content_captions(random.Random(0), moving=True)),
    )
