"""The scale predictor: what it predicts for which styles and prompts, and whether that helps.

Three questions (the paper shows examples of the first, in its figure on scale factors, and leaves the others open):

* What does s depend on? Factors of every layer over kinds of style, prompts of growing length, and a reference that
  shows the prompt's own object; their variance split between picture, prompt and both together.
* Is what it predicts what helps? Every pair is drawn with one set of factors for all pairs (their mean per layer),
  stronger and weaker; where a pair gains from more style, the predictor should have said more.
* What does the prediction do for the pictures? The predicted factors against their mean per layer, and against those
  predicted for other pairs.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from stylecrafter.evaluation.report import shown
from stylecrafter.evaluation.statistics import bootstrap_mean, rank_correlation
from stylecrafter.studies.plots import bars, lines
from stylecrafter.studies.result import (
    StudyResult,
    StudySpec,
    Table,
    listed,
    means_row,
    shown_change,
    shown_mean,
)
from stylecrafter.studies.subject import Judgement, Subject
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.lexicon import MOTION_PHRASES, SCENE_PHRASES
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import OBJECT_NAMES
from stylecrafter.styleworld.scenes import SCENE_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES
from stylecrafter.styleworld.wording import article

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

LENGTHS = ("object", "object, scene", "object, motion, scene", "two of these")


@dataclass(frozen=True, kw_only=True)
class ScalesSpec(StudySpec):
    """What the study looks at.

    Attributes:
        references: Styles of the pairs that are drawn.
        prompts: Contents of the pairs that are drawn.
        unseen_kinds: How many of the references are of kinds that training never showed.
        per_kind: Renders of each kind of style that factors are predicted for.
        sweep: Global scales, rising; 1 among them.
        probe_steps: Of the object probe's training; None: the one that reports have.
    """

    references: int = 20
    prompts: int = 8
    unseen_kinds: int = 6
    per_kind: int = 12
    sweep: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
    probe_steps: int | None = None


QUICK = ScalesSpec(
    references=3, prompts=2, unseen_kinds=1, per_kind=2, sweep=(0.5, 1.0), steps=2, probe_steps=4
)


def run(model: str, spec: ScalesSpec = ScalesSpec(), *, seed: int = 0) -> StudyResult:  # noqa: B008  # frozen
    """Ask the three questions of a model; see `run_study.run_study`."""
    numbers = {"references": spec.references, "prompts": spec.prompts, "unseen_kinds": spec.unseen_kinds}
    subject = Subject.of(model, spec, **numbers, seed=seed)
    kind_table, kind_plots, kind_data = _by_kind(subject, spec)
    length_table, length_data = _by_length(subject)
    predicted = subject.predicted_scales()
    painted_tables, painted_plots, painted_data = _painted(subject, spec, predicted)
    return StudyResult(
        "Scale factors: what is predicted, and whether it helps",
        (kind_table, length_table, _own_object(subject), _variance(subject, predicted), *painted_tables),
        plots={**kind_plots, **painted_plots},
        data={**kind_data, **length_data, "predicted": listed(predicted), **painted_data},
        settings={"study": "scales", "model": model, "seed": seed, **asdict(spec)},
    )


# What s depends on


def _by_kind(subject: Subject, spec: ScalesSpec) -> tuple[Table, dict[str, str], dict[str, Any]]:
    vocabulary = subject.set.vocabulary
    factors: dict[str, torch.Tensor] = {}
    for kind in dict.fromkeys((*vocabulary.styles, *splits.HELD_OUT_STYLES)):
        generator = torch.Generator().manual_seed(subject.spec.seed + 1)
        drawn = world.sample(spec.per_kind, generator, vocabulary=vocabulary, split="held_out")
        style = torch.full_like(drawn.style, STYLE_NAMES.index(kind))
        factors[kind] = _over_prompts(subject, subject.encode(drawn.replace(style=style)))
    means = {kind: bootstrap_mean(of.mean(1).tolist()) for kind, of in factors.items()}
    rows = [(kind, "no" if kind in splits.HELD_OUT_STYLES else "yes", shown(means[kind])) for kind in means]
    note = f"Mean over layers, {spec.per_kind} renders of each kind in held-out palettes, over all prompts."
    layers = range(len(subject.layer_names))
    known, unseen = (
        torch.cat([of for kind, of in factors.items() if (kind in splits.HELD_OUT_STYLES) == held_out])
        for held_out in (False, True)
    )
    by_layer = {
        name: [bootstrap_mean(of[:, layer].tolist()) for layer in layers]
        for name, of in (("kinds of training", known), ("unseen kinds", unseen))
    }
    plots = {
        "scales_by_kind": bars("Predicted factor by kind of style", "s, mean over layers", means),
        "scales_by_layer": lines("Predicted factor by layer", ("layer", layers), "s", by_layer, level=1.0),
    }
    table = Table("By kind of style", ("kind", "in training", "s"), tuple(rows), note)
    return table, plots, {"by_kind": {kind: listed(of) for kind, of in factors.items()}}


def _over_prompts(subject: Subject, style_tokens: torch.Tensor) -> torch.Tensor:
    """Factors of n styles, averaged over the set's prompts: (n, L)."""
    prompts = len(subject.text_embeds)
    return torch.stack(
        [
            subject.pipe.predict_scales(tokens.expand(prompts, -1, -1), subject.text_embeds).mean(0)
            for tokens in style_tokens
        ]
    )


def _by_length(subject: Subject) -> tuple[Table, dict[str, Any]]:
    """Factors for prompts that say more and more of the same contents."""
    contents = subject.set.prompts
    short, placed, moving = [], [], []
    for i in range(len(contents)):
        thing = article(OBJECT_NAMES[int(contents.thing[i])])
        place = SCENE_PHRASES[SCENE_NAMES[int(contents.scene[i])]][0]
        move = MOTION_PHRASES[MOTION_NAMES[int(contents.motion[i])]][0]
        short.append(thing)
        placed.append(f"{thing} {place}")
        moving.append(f"{thing} {move} {place}")
    double = [f"{one} and {other}" for one, other in zip(moving, moving[1:] + moving[:1], strict=True)]
    texts = (short, placed, moving, double)
    said = {name: _per_pair(subject, of) for name, of in zip(LENGTHS, texts, strict=True)}
    clusters = subject.set.reference_of.tolist()
    rows = [
        (name, shown_mean(of, clusters), shown_change(said[LENGTHS[0]], of, clusters))
        for name, of in said.items()
    ]
    note = "Mean over layers; the same contents in every row, and the paired difference to the first."
    table = Table("By length of the prompt", ("prompt names", "s", "against the first"), tuple(rows), note)
    return table, {"by_length": said}


def _per_pair(subject: Subject, texts: Sequence[str]) -> list[float]:
    embeds = subject.pipe.encode_text(list(texts))
    scales = subject.pipe.predict_scales(
        subject.style_tokens[subject.set.reference_of], embeds[subject.set.prompt_of]
    )
    return listed(scales.mean(1))


def _own_object(subject: Subject) -> Table:
    """Whether a reference that shows the very object of the prompt changes the factors."""
    held_out = subject.set
    own, asked = held_out.reference_of, held_out.prompt_of
    alike = held_out.references[own].replace(thing=held_out.prompts.thing[asked])
    scales = [
        subject.pipe.predict_scales(tokens, subject.text_embeds[asked]).mean(1)
        for tokens in (subject.style_tokens[own], subject.encode(alike))
    ]
    other, same = (listed(of) for of in scales)
    clusters = own.tolist()
    rows = (
        ("another object", shown_mean(other, clusters), ""),
        ("the prompt's", shown_mean(same, clusters), shown_change(other, same, clusters)),
    )
    note = "Mean over layers, the same styles and prompts."
    return Table("By what the reference shows", ("reference shows", "s", "difference"), rows, note)


def _variance(subject: Subject, predicted: torch.Tensor) -> Table:
    """Two-way analysis of variance of the factors over pairs, per layer."""
    # In double precision: factors may differ by little.
    table = predicted.double().unflatten(0, (len(subject.references), len(subject.text_embeds)))
    rows = []
    for layer, name in enumerate(subject.layer_names):
        of = table[:, :, layer]
        by_reference = of.mean(1, keepdim=True) - of.mean()
        by_prompt = of.mean(0, keepdim=True) - of.mean()
        rest = of - of.mean() - by_reference - by_prompt
        total = float((of - of.mean()).square().sum()) or 1.0
        parts = [float(part.expand_as(of).square().sum()) / total for part in (by_reference, by_prompt, rest)]
        rows.append(
            (name, f"{float(of.mean()):.3f}", f"{float(of.std()):.3f}", *(f"{part:.0%}" for part in parts))
        )
    head = ("layer", "mean s", "deviation", "picture", "prompt", "both together")
    note = "Last three: shares of the variance over pairs (two-way analysis of variance)."
    return Table("By layer, and what the factors depend on", head, tuple(rows), note)


# Whether it helps


def _painted(
    subject: Subject, spec: ScalesSpec, predicted: torch.Tensor
) -> tuple[list[Table], dict[str, str], dict[str, Any]]:
    probe = subject.probe("object", spec.probe_steps)
    rows = subject.rows
    mean = predicted.mean(0, keepdim=True).expand_as(predicted)
    # Half the set further on: another reference and, for an uneven number of prompts, another prompt.
    shuffled = predicted.roll(len(rows) // 2 + 1, 0)

    def judged(name: str, scales: torch.Tensor | None, scale: float = 1.0) -> Judgement:
        said = subject.judge(subject.paint(rows, scales, scale), rows, probe)
        logger.info("%s, scale %g: benefit %.3f", name, scale, float(said.benefit.mean()))
        return said

    same_for_all = {scale: judged("mean factors", mean, scale) for scale in spec.sweep}
    own = {scale: judged("predicted", None, scale) for scale in spec.sweep}
    other = judged("factors of other pairs", shuffled)
    clusters = subject.set.reference_of.tolist()
    tables = [
        _alternatives(own[1.0], same_for_all[1.0], other, clusters),
        _needs(spec, predicted, same_for_all, own, clusters),
        _failures(subject, predicted, own[1.0]),
    ]
    plots = {
        f"sweep_{name}": lines(
            f"{title} over the global scale",
            ("global scale", spec.sweep),
            title,
            {
                label: [bootstrap_mean(listed(getattr(said, name)), clusters) for said in judgements.values()]
                for label, judgements in (("predicted", own), ("mean per layer", same_for_all))
            },
        )
        for name, title in (("style", "Style"), ("text", "Text"), ("benefit", "Benefit"))
    }
    data = {
        "judged": {
            label: {str(scale): _said(of) for scale, of in judgements.items()}
            for label, judgements in (("predicted", own), ("mean", same_for_all), ("shuffled", {1.0: other}))
        }
    }
    return tables, plots, data


def _alternatives(own: Judgement, mean: Judgement, other: Judgement, clusters: list[int]) -> Table:
    said = {"predicted": own, "mean per layer": mean, "predicted for another pair": other}
    columns = {label: (of.style, of.found, of.text, of.benefit) for label, of in said.items()}
    rows = [
        means_row(label, of, clusters, () if label == "predicted" else columns["predicted"], digits=2)
        for label, of in columns.items()
    ]
    note = (
        "Style: share of the other references that are further away than the own one. Found: all of them are. Text: "
        "probability of the prompt's object. Benefit: mean of style and text. p: of the paired difference to the "
        "first row."
    )
    head = ("factors", "style", "found", "text", "benefit")
    return Table("Predicted factors against others", head, tuple(rows), note)


def _needs(
    spec: ScalesSpec,
    predicted: torch.Tensor,
    mean: dict[float, Judgement],
    own: dict[float, Judgement],
    clusters: list[int],
) -> Table:
    """Whether the predictor says more where more helps."""
    said = listed(predicted.mean(1))
    low, high = spec.sweep[0], spec.sweep[-1]
    rows = []
    for label, judgements in (("mean per layer", mean), ("predicted", own)):
        benefits = torch.stack([of.benefit for of in judgements.values()], 1)
        best = torch.tensor(spec.sweep)[benefits.argmax(1)]
        gain = judgements[high].benefit - judgements[low].benefit
        rows.append(
            (
                label,
                shown_mean(best, clusters),
                shown(rank_correlation(said, listed(best), clusters)),
                shown(rank_correlation(said, listed(gain), clusters)),
            )
        )
    note = (
        f"Rank correlation over pairs of the predicted s (mean over layers) with the global scale that is best for the "
        f"pair, and with what it gains between scales {low:g} and {high:g}. With the same factors for all pairs a "
        "useful prediction correlates; with the predicted ones a complete one leaves nothing to correlate."
    )
    head = ("factors drawn with", "best global scale", "correlation of s with it", "with the gain")
    return Table("Does it say more where more helps?", head, tuple(rows), note)


def _failures(subject: Subject, predicted: torch.Tensor, own: Judgement) -> Table:
    said = predicted.mean(1)
    rows = []
    for row in own.benefit.argsort()[:5].tolist():
        kind, prompt = subject.names_of(row)
        facts = (f"{float(of[row]):.2f}" for of in (own.style, own.text, said))
        rows.append((f"{int(subject.set.reference_of[row]):02d}, {kind}", prompt, *facts))
    lost = own.text < 0.5
    means = [
        f"{float(said[of].mean()):.3f} ({int(of.sum())})" if of.any() else "none" for of in (lost, ~lost)
    ]
    note = (
        f"The five pairs of least benefit. Mean s of the pairs whose object is lost (number of them): {means[0]}; "
        f"of the others: {means[1]}."
    )
    head = ("reference, kind", "prompt", "style", "text", "s")
    return Table("Where it fails", head, tuple(rows), note)


def _said(said: Judgement) -> dict[str, list[float]]:
    return {name: listed(getattr(said, name)) for name in ("style", "found", "text")}
