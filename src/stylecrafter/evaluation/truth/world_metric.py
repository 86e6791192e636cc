"""What StyleWorld knows of the clips of one of its own sets, asked by probes that learned from real renders."""

from __future__ import annotations

from pathlib import Path

import torch

from stylecrafter.evaluation.clip_metrics import VERSION, Scores, some_frames
from stylecrafter.evaluation.metrics.info import MeasuredClip, metric_info
from stylecrafter.evaluation.metrics.style import describe_style, descriptor_distances
from stylecrafter.evaluation.truth.held_out import HeldOutSet
from stylecrafter.evaluation.truth.probes import (
    MOTION_FRAMES,
    QUESTIONS,
    labels_of,
    seen_in,
)
from stylecrafter.evaluation.truth.style_probe import (
    PARAMETERS,
    seen_style,
    style_labels,
)
from stylecrafter.evaluation.truth.trained_probes import WorldProbes, world_probes
from stylecrafter.evaluation.truth.world_set import WorldSetSpec
from stylecrafter.styleworld import splits, world

OBJECT, SCENE, MOTION = (metric_info(f"{question}_right") for question in QUESTIONS)
FOUND = metric_info("style_found_by_probe")
#: Style retrieval by who judges, and for which kinds of style the references are of.
FOUND_BY_KIND = {
    (judge, unseen): metric_info(f"{name}_{'unseen' if unseen else 'known'}")
    for judge, name in (("descriptor", "style_found"), ("probe", FOUND.name))
    for unseen in (False, True)
}
KIND = metric_info("kind_right")
PARAMETER_ERROR = metric_info("parameter_error")
PARAMETER_ERROR_BY_CHANCE = metric_info("parameter_error_by_chance")
LEAKED = metric_info("leaked")
LEAKED_BY_CHANCE = metric_info("leaked_by_chance")
#: Renders that a probe's own accuracy is measured on.
FRESH_RENDERS = 500


class WorldMetric:
    """Object, scene and motion as the prompt says, the style as the reference's, and objects that came from it.

    Args:
        spec: How the test set was drawn; entry i of it is clip i of `spec.draw()`.
        probes: Trained for the set's vocabulary and size.
    """

    infos = (
        OBJECT,
        SCENE,
        MOTION,
        FOUND,
        *FOUND_BY_KIND.values(),
        KIND,
        PARAMETER_ERROR,
        PARAMETER_ERROR_BY_CHANCE,
        LEAKED,
        LEAKED_BY_CHANCE,
    )

    def __init__(self, spec: WorldSetSpec, probes: WorldProbes) -> None:
        self.key = f"world {VERSION} {spec.model_dump_json()} {probes.digest}"
        self._set: HeldOutSet = spec.draw()
        self._probes = probes
        vocabulary = self._set.vocabulary
        self._wanted = {q: labels_of(q, self._set.prompts, vocabulary) for q in QUESTIONS}
        pictures = (self._set.references, *self._set.companions)
        self._shown = torch.stack([labels_of("object", batch, vocabulary) for batch in pictures], 1)
        self._kinds = style_labels(self._set.references, vocabulary)
        references = world.render(self._set.references, spec.size)
        self._styles = torch.cat([seen_style(probes.style, p).embedding for p in references.split(50)])
        self._described = describe_style(references[:, 0])
        self._unseen = self._set.of_held_out_kind

    def __call__(self, clip: MeasuredClip) -> Scores:
        prompt, reference = (int(of[clip.index]) for of in (self._set.prompt_of, self._set.reference_of))
        moving = len(clip.frames) > 1
        asked = [q for q in QUESTIONS if moving or q != "motion"]
        seen = {q: int(seen_in(self._probes.content[q], clip.frames[None])[0]) for q in asked}
        shown = self._shown[reference]
        # Other references whose pictures share no object with the own one's.
        others = self._shown[~torch.isin(self._shown, shown).any(1)]
        return {
            OBJECT.name: float(seen["object"] == int(self._wanted["object"][prompt])),
            SCENE.name: float(seen["scene"] == int(self._wanted["scene"][prompt])),
            MOTION.name: float(seen["motion"] == int(self._wanted["motion"][prompt])) if moving else None,
            **self._style_scores(clip.frames, reference, unseen=bool(self._unseen[clip.index])),
            LEAKED.name: float((shown == seen["object"]).any()),
            LEAKED_BY_CHANCE.name: float((others == seen["object"]).any(1).float().mean())
            if len(others)
            else None,
        }

    def _style_scores(self, frames: torch.Tensor, reference: int, *, unseen: bool) -> Scores:
        """No kind and no parameters where the vocabulary, and so the probe, does not have the reference's kind."""
        seen = seen_style(self._probes.style, frames[None])
        described = describe_style(some_frames(frames)).mean(0, keepdim=True)
        nearest = int(descriptor_distances(described, self._described)[0].argmin())
        found = {
            "descriptor": float(nearest == reference),
            "probe": float(int((self._styles @ seen.embedding[0]).argmax()) == reference),
        }
        scores: Scores = {
            FOUND.name: found["probe"],
            **{
                info.name: found[judge] if kind == unseen else None
                for (judge, kind), info in FOUND_BY_KIND.items()
            },
            KIND.name: None,
            PARAMETER_ERROR.name: None,
            PARAMETER_ERROR_BY_CHANCE.name: None,
        }
        kind = int(self._kinds[reference])
        if kind < 0:
            return scores
        scores[KIND.name] = float(int(seen.kind[0].argmax()) == kind)
        counted = self._probes.style.tellable[kind]
        if bool(counted.any()):
            truth = self._set.references.style_parameters[:, :PARAMETERS]
            errors = (seen.parameters[0, kind] - truth).abs()[:, counted].mean(1)
            others = torch.arange(len(truth)) != reference
            scores[PARAMETER_ERROR.name] = float(errors[reference])
            scores[PARAMETER_ERROR_BY_CHANCE.name] = float(errors[others].mean())
        return scores


def world_metric(spec: WorldSetSpec, folder: Path) -> tuple[WorldMetric, dict[str, float]]:
    """What a set's clips are asked, and what the probes behind it reach on renders (`accuracy_on_renders`).

    Args:
        spec: How the set was drawn.
        folder: Keeps probes that have to be trained.

    Raises:
        CheckpointError: A file that the folder keeps is broken.
        OutputError: The folder cannot be written.
    """
    probes = world_probes(spec.vocabulary, spec.size, folder)
    return WorldMetric(spec, probes), accuracy_on_renders(probes, spec)


@torch.no_grad()
def accuracy_on_renders(
    probes: WorldProbes, spec: WorldSetSpec, count: int = FRESH_RENDERS
) -> dict[str, float]:
    """What the probes reach on held-out renders that they have not seen, all of them styled as a set's clips are.

    Returns:
        By the scores' names: how often each question is answered right, how often the kind of style is, the mean error
        of the parameters that count (and against another render's parameters), and how often a real render of the set
        finds its own reference.
    """
    vocabulary = splits.find_vocabulary(spec.vocabulary)
    generator = torch.Generator().manual_seed(spec.seed + 7919)
    batch = world.sample(count, generator, vocabulary=vocabulary, split="held_out")
    rates: dict[str, float] = {}
    for question, probe in probes.content.items():
        labels = labels_of(question, batch, vocabulary)
        right = []
        for rows in torch.arange(count).split(50):
            clips = world.render(batch[rows], spec.size, MOTION_FRAMES if question == "motion" else 1)
            right.append(seen_in(probe, clips) == labels[rows])
        known = labels >= 0
        rates[f"{question}_right"] = float(torch.cat(right)[known].float().mean())
    styled = batch[style_labels(batch, vocabulary) >= 0]
    kinds = style_labels(styled, vocabulary)
    seen = [seen_style(probes.style, world.render(part, spec.size)) for part in _parts(styled, 50)]
    each = torch.arange(len(styled))
    parameters = torch.cat([part.parameters for part in seen])[each, kinds]
    truth = styled.style_parameters[:, :PARAMETERS]
    told = probes.style.tellable[kinds]
    errors, by_chance = ((parameters - of).abs()[told] for of in (truth, truth.roll(1, 0)))
    rates[KIND.name] = float((torch.cat([part.kind for part in seen]).argmax(1) == kinds).float().mean())
    if len(errors):
        rates[PARAMETER_ERROR.name] = float(errors.mean())
        rates[PARAMETER_ERROR_BY_CHANCE.name] = float(by_chance.mean())
    drawn = spec.draw()
    wanted = seen_style(probes.style, world.render(drawn.references, spec.size)).embedding
    clips = torch.arange(len(drawn))
    real = [
        seen_style(probes.style, drawn.real_clips(rows, spec.size, 1)).embedding for rows in clips.split(50)
    ]
    nearest = (torch.cat(real) @ wanted.T).argmax(1)
    rates[FOUND.name] = float((nearest == drawn.reference_of).float().mean())
    return rates


def _parts(batch: world.WorldBatch, size: int) -> list[world.WorldBatch]:
    return [batch[rows] for rows in torch.arange(len(batch)).split(size)]
