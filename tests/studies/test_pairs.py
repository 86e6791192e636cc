from __future__ import annotations

import pytest
import torch

from stylecrafter.evaluation.truth.held_out import HeldOutSet, held_out_set
from stylecrafter.studies.pairs import (
    ABSTRACT_KINDS,
    GROUPS,
    INTRICATE_KINDS,
    QUICK,
    run,
)
from stylecrafter.styleworld import splits
from stylecrafter.styleworld.styles import STYLE_NAMES


@pytest.fixture(scope="module")
def ordinary() -> HeldOutSet:
    return held_out_set(splits.SMALL, references=6, prompts=4, unseen_kinds=0, seed=1)


def kinds(held_out: HeldOutSet) -> set[str]:
    return {STYLE_NAMES[i] for i in held_out.references.style.tolist()}


def test_groups_differ_in_what_they_say(ordinary: HeldOutSet) -> None:
    made = {name: change(ordinary) for name, change in GROUPS.items()}
    assert made["ordinary"] is ordinary
    assert kinds(made["abstract style, specific content"]) == set(ABSTRACT_KINDS)
    intricate = made["intricate patterns"]
    assert kinds(intricate) == set(INTRICATE_KINDS)
    assert (intricate.references.style_parameters[:, 0] == 1).all()
    assert torch.equal(
        intricate.references.style_parameters[:, 1:], ordinary.references.style_parameters[:, 1:]
    )
    other = made["conflicting object"]
    assert len({*other.references.scene.tolist(), *other.prompts.scene.tolist()}) == 1
    assert not set(other.references.thing.tolist()) & set(other.prompts.thing.tolist())
    scene = made["conflicting scene"]
    assert len({*scene.references.thing.tolist(), *scene.prompts.thing.tolist()}) == 1
    assert not set(scene.references.scene.tolist()) & set(scene.prompts.scene.tolist())
    for held_out in made.values():
        assert len(held_out.texts) == 4 and len(held_out) == 24
        assert torch.equal(held_out.references.palette, ordinary.references.palette)


def test_the_study_at_toy_size(world_model: str) -> None:
    pytest.importorskip("matplotlib")
    result = run(world_model, QUICK, seed=2)
    rows = [row[0] for row in result.tables[0].rows]
    assert rows == [label for name in GROUPS for label in (name, "… real renders")]
    assert set(result.sheets) == {
        "ordinary", "abstract_style_specific_content", "intricate_patterns", "conflicting_object", "conflicting_scene"
    }  # fmt: skip
    conflicting = result.data["conflicting scene"]["ours"]
    # There the prompt's object is the reference's.
    assert conflicting["object"] == conflicting["reference_object"]
    assert len(result.data["ordinary"]["real"]["style"]) == 6
