from __future__ import annotations

import dataclasses

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.held_out import DIRECTIONS, HeldOutSet, held_out_set, measure
from stylecrafter.evaluation.probes import QUESTIONS, Probe, Question, labels_of
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES


@pytest.fixture(scope="module")
def held_out() -> HeldOutSet:
    return held_out_set(splits.SMALL, references=6, prompts=4, unseen_kinds=2)


class Told(torch.nn.Module):
    """Stands where a probe does and answers what it was told, clip by clip, so that rates can be counted by hand."""

    def __init__(self, answers: torch.Tensor) -> None:
        super().__init__()
        self.answers, self.asked = answers, 0

    def clip_log_probabilities(self, clips: torch.Tensor) -> torch.Tensor:
        mine = self.answers[self.asked : self.asked + len(clips)]
        self.asked += len(clips)
        return torch.nn.functional.one_hot(mine, 40).float()


def told(held_out: HeldOutSet, rows: torch.Tensor, **changed: torch.Tensor) -> dict[Question, Probe]:
    contents = held_out.prompts[held_out.prompt_of[rows]]
    right = {question: labels_of(question, contents, held_out.vocabulary) for question in QUESTIONS}
    return {question: Told(changed.get(question, right[question])) for question in QUESTIONS}  # type: ignore[misc]


def test_the_set_is_of_what_training_never_saw(held_out: HeldOutSet) -> None:
    low, high = splits.HELD_OUT_PARAMETER
    assert set(held_out.references.family.tolist()) <= set(splits.HELD_OUT_PALETTES)
    assert (
        (held_out.references.style_parameters[:, 0] >= low)
        & (held_out.references.style_parameters[:, 0] <= high)
    ).all()
    kinds = [STYLE_NAMES[int(kind)] for kind in held_out.references.style]
    assert all(kind in splits.SMALL.styles for kind in kinds[:4])
    assert kinds[4:] == list(splits.HELD_OUT_STYLES[:2])


def test_references_show_what_no_prompt_names_and_prompts_differ(held_out: HeldOutSet) -> None:
    assert not set(held_out.references.thing.tolist()) & set(held_out.prompts.thing.tolist())
    assert len(set(held_out.prompts.thing.tolist())) == 4
    assert [MOTION_NAMES[int(motion)] for motion in held_out.prompts.motion] == list(DIRECTIONS)
    assert len(set(held_out.texts)) == 4


def test_the_same_seed_draws_the_same_set() -> None:
    first, again, other = (
        held_out_set(splits.SMALL, references=3, prompts=2, unseen_kinds=1, seed=seed) for seed in (1, 1, 2)
    )
    assert first.texts == again.texts and torch.equal(first.references.palette, again.references.palette)
    assert first.texts != other.texts


def test_real_clips_are_the_contents_in_the_styles(held_out: HeldOutSet) -> None:
    rows = torch.tensor([0, 5, 23])
    clips = held_out.real_clips(rows, 32, 3)
    row = 5  # the second reference (index 1), the second prompt (index 1)
    expected = held_out.prompts[[row % 4]].in_style_of(held_out.references[[row // 4]])
    assert torch.equal(clips[1:2], world.render(expected, 32, 3))


def test_rates_as_counted_by_hand(held_out: HeldOutSet) -> None:
    rows = torch.arange(len(held_out))
    clips = held_out.real_clips(rows, 32, 3)
    references = world.render(held_out.references, 32)[:, 0]
    shown = labels_of("object", held_out.references, held_out.vocabulary)[held_out.reference_of]
    objects = labels_of("object", held_out.prompts, held_out.vocabulary)[held_out.prompt_of]
    objects[:6] = shown[:6]  # six of 24 clips show the object of their reference
    figures = measure(held_out, clips, rows, told(held_out, rows, object=objects), references)
    assert figures.clips == 24
    assert figures.object == pytest.approx(18 / 24) and figures.scene == 1 and figures.motion == 1
    assert figures.leaked == pytest.approx(6 / 24) and figures.leaked_by_chance == 0
    assert figures.found is not None and figures.found > 0.5
    assert figures.dynamics > 0


def test_chance_is_what_the_other_references_would_get(held_out: HeldOutSet) -> None:
    rows = torch.arange(len(held_out))
    clips = held_out.real_clips(rows, 32, 3)
    references = world.render(held_out.references, 32)[:, 0]
    shown = labels_of("object", held_out.references, held_out.vocabulary)
    always = shown[:1].expand(
        24
    )  # a probe that sees the first reference's object everywhere: no leak, only chance
    figures = measure(held_out, clips, rows, told(held_out, rows, object=always), references)
    assert len(set(shown.tolist())) == 6
    assert figures.leaked == pytest.approx(1 / 6)
    assert figures.leaked_by_chance == pytest.approx((5 / 6) * (1 / 5))


def test_a_part_of_the_clips_can_be_measured(held_out: HeldOutSet) -> None:
    rows = torch.arange(16)  # of the four references of known kinds
    figures = measure(
        held_out,
        held_out.real_clips(rows, 32, 3),
        rows,
        told(held_out, rows),
        world.render(held_out.references, 32)[:, 0],
    )
    assert figures.found_unseen_kinds is None and figures.found is not None


def test_what_does_not_fit_is_refused(held_out: HeldOutSet) -> None:
    references = world.render(held_out.references, 32)[:, 0]
    with pytest.raises(InvalidInputError, match="0 clips"):
        measure(held_out, torch.zeros(0, 3, 3, 32, 32), torch.arange(0), {}, references)
    with pytest.raises(InvalidInputError, match="2 clips for 3 rows"):
        measure(held_out, torch.zeros(2, 3, 3, 32, 32), torch.arange(3), {}, references)
    with pytest.raises(InvalidInputError, match="at least 2 references"):
        held_out_set(splits.SMALL, references=1)
    with pytest.raises(InvalidInputError, match="25 objects"):
        held_out_set(splits.SMALL, prompts=24)
    few = dataclasses.replace(splits.SMALL, objects=("bus", "dog"))
    with pytest.raises(InvalidInputError, match="the vocabulary has 2"):
        held_out_set(few, prompts=2)
