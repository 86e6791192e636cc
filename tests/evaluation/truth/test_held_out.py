from __future__ import annotations

import dataclasses

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.truth.held_out import DIRECTIONS, HeldOutSet, held_out_set
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES


@pytest.fixture(scope="module")
def held_out() -> HeldOutSet:
    return held_out_set(splits.SMALL, references=6, prompts=4, unseen_kinds=2)


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


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 2 references"):
        held_out_set(splits.SMALL, references=1)
    with pytest.raises(InvalidInputError, match="25 objects"):
        held_out_set(splits.SMALL, prompts=24)
    few = dataclasses.replace(splits.SMALL, objects=("bus", "dog"))
    with pytest.raises(InvalidInputError, match="the vocabulary has 2"):
        held_out_set(few, prompts=2)
