from __future__ import annotations

import pytest
import torch

from stylecrafter.evaluation.metrics.info import MeasuredClip
from stylecrafter.evaluation.truth.probes import QUESTIONS, Question, labels_of
from stylecrafter.evaluation.truth.style_probe import PARAMETERS, SeenStyle, StyleProbe, style_labels
from stylecrafter.evaluation.truth.trained_probes import WorldProbes
from stylecrafter.evaluation.truth.world_metric import WorldMetric
from stylecrafter.evaluation.truth.world_set import WorldSetSpec
from stylecrafter.styleworld import world

SPEC = WorldSetSpec(references=4, prompts=3, unseen_kinds=1, size=16)


class Says(torch.nn.Module):
    """Stands where a probe does and always gives one answer."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.answer = answer

    def clip_log_probabilities(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.full((len(clips),), self.answer), 40).float()


class SaysStyle(StyleProbe):
    """Stands where the style probe does and always gives one kind and the same parameters."""

    def __init__(self, kinds: int, kind: int, parameters: torch.Tensor) -> None:
        super().__init__(kinds)
        self._kind, self._given = kind, parameters
        self.reliability[:, 0] = 1.0  # only the first parameter can be told

    def forward(self, pictures: torch.Tensor) -> SeenStyle:
        kinds = len(self.reliability)
        logits = torch.nn.functional.one_hot(torch.full((len(pictures),), self._kind), kinds).float() * 9
        # In one style are pictures of one mean colour.
        embedding = torch.nn.functional.normalize(pictures.mean((2, 3)) - 0.5, dim=1)
        return SeenStyle(logits, self._given.expand(len(pictures), kinds, PARAMETERS), embedding)


def clip(index: int, frames: int = 4) -> MeasuredClip:
    return MeasuredClip(index, "0000", "a fox", torch.rand(frames, 3, 16, 16), (index // SPEC.prompts,))


def test_scores_by_hand() -> None:
    """Clip 4 is prompt 1 with reference 1; the probes say what is right for prompt and reference."""
    drawn = SPEC.draw()
    wanted = {q: int(labels_of(q, drawn.prompts, drawn.vocabulary)[1]) for q in QUESTIONS}
    kind = int(style_labels(drawn.references, drawn.vocabulary)[1])
    parameters = drawn.references.style_parameters[1, :PARAMETERS]
    kinds = len(drawn.vocabulary.styles)
    content: dict[Question, torch.nn.Module] = {q: Says(wanted[q]) for q in QUESTIONS}
    probes = WorldProbes(content, SaysStyle(kinds, kind, parameters))  # type: ignore[arg-type]
    scores = WorldMetric(SPEC, probes)(clip(4))
    assert scores["object_right"] == scores["scene_right"] == scores["motion_right"] == 1.0
    assert scores["kind_right"] == 1.0
    assert scores["parameter_error"] == pytest.approx(0.0)
    others = drawn.references.style_parameters[[0, 2, 3], 0]
    assert scores["parameter_error_by_chance"] == pytest.approx(float((others - parameters[0]).abs().mean()))
    assert scores["leaked"] == 0.0 and scores["leaked_by_chance"] == 0.0
    assert set(scores) == {info.name for info in WorldMetric.infos}

    shown = labels_of("object", drawn.references, drawn.vocabulary)
    content["object"] = Says(int(shown[1]))
    leaking = WorldMetric(SPEC, WorldProbes(content, probes.style))(clip(4))  # type: ignore[arg-type]
    assert leaking["object_right"] == 0.0 and leaking["leaked"] == 1.0
    assert leaking["leaked_by_chance"] == 0.0
    elsewhere = WorldMetric(SPEC, WorldProbes(content, probes.style))(clip(1))  # type: ignore[arg-type]
    assert elsewhere["leaked"] == 0.0
    assert elsewhere["leaked_by_chance"] == pytest.approx(1 / 3)  # one of the three other references shows it


def test_content_may_leak_from_any_picture_of_a_style() -> None:
    spec = SPEC.model_copy(update={"pictures": 2})
    drawn = spec.draw()
    second = int(labels_of("object", drawn.companions[0], drawn.vocabulary)[1])
    style = SaysStyle(len(drawn.vocabulary.styles), 0, torch.zeros(PARAMETERS))
    content: dict[Question, torch.nn.Module] = {q: Says(second) for q in QUESTIONS}
    probes = WorldProbes(content, style)  # type: ignore[arg-type]
    assert WorldMetric(spec, probes)(clip(4))["leaked"] == 1.0
    assert WorldMetric(SPEC, probes)(clip(4))["leaked"] == 0.0


def test_known_and_unseen_kinds_have_scores_of_their_own() -> None:
    spec = SPEC.model_copy(update={"unseen_kinds": 1, "size": 32})
    drawn = spec.draw()
    style = SaysStyle(len(drawn.vocabulary.styles), 0, torch.zeros(PARAMETERS))
    metric = WorldMetric(spec, WorldProbes({q: Says(0) for q in QUESTIONS}, style))  # type: ignore[misc]
    last = spec.references - 1
    for reference, kind, other in ((0, "known", "unseen"), (last, "unseen", "known")):
        for shown, found in ((reference, 1.0), ((reference + 1) % spec.references, 0.0)):
            frames = world.render(drawn.references[torch.tensor([shown])], 32, 1)[0]
            asked = MeasuredClip(reference * spec.prompts, "0000", "a fox", frames, (reference,))
            scores = metric(asked)
            assert scores[f"style_found_{kind}"] == scores[f"style_found_by_probe_{kind}"] == found
            assert scores[f"style_found_{other}"] is None and scores[f"style_found_by_probe_{other}"] is None


def test_the_nearest_reference_is_found() -> None:
    references = world.render(SPEC.draw().references, SPEC.size)
    style = SaysStyle(len(SPEC.draw().vocabulary.styles), 0, torch.zeros(PARAMETERS))
    metric = WorldMetric(SPEC, WorldProbes({q: Says(0) for q in QUESTIONS}, style))  # type: ignore[misc]
    for shown in range(4):
        frames = references[shown].repeat(3, 1, 1, 1)
        scores = metric(MeasuredClip(4, "0004", "a fox", frames, (1,)))
        assert scores["style_found_by_probe"] == float(shown == 1)


def test_what_cannot_be_asked_is_none() -> None:
    drawn = SPEC.draw()
    style = SaysStyle(len(drawn.vocabulary.styles), 0, torch.zeros(PARAMETERS))
    metric = WorldMetric(SPEC, WorldProbes({q: Says(0) for q in QUESTIONS}, style))  # type: ignore[misc]
    assert metric(clip(0, frames=1))["motion_right"] is None
    unseen = metric(clip(9))  # the last reference is of a kind that no training shows
    assert unseen["kind_right"] is None and unseen["parameter_error"] is None
    style.reliability.zero_()
    nothing_told = metric(clip(0))
    assert nothing_told["parameter_error"] is None and nothing_told["kind_right"] is not None
