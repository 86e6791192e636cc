from __future__ import annotations

import dataclasses

import pytest
import torch

from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.evaluation.truth.probes import (
    QUESTIONS,
    answers_of,
    labels_of,
    seen_in,
    some_renders,
    train_probe,
)
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import OBJECT_NAMES
from stylecrafter.styleworld.scenes import SCENE_NAMES

FEW = dataclasses.replace(
    splits.SMALL,
    objects=("sunflower", "bus", "penguin"),
    scenes=("snow", "night"),
    motions=("left", "right"),
    styles=("poster", "gradient"),
)


@pytest.mark.parametrize(("question", "steps"), [("object", 40), ("scene", 25), ("motion", 80)])
def test_a_probe_learns_what_renders_show(question: str, steps: int) -> None:
    probe = train_probe(question, FEW, size=32, steps=steps, batch_size=32 if question == "motion" else 64)
    fresh = some_renders(96, torch.Generator().manual_seed(99), FEW, "held_out")
    seen = seen_in(probe, world.render(fresh, 32, 8))
    right = float((seen == labels_of(question, fresh, FEW)).float().mean())
    assert right > 0.8, f"{question}: {right:.2f} of held-out renders"


def test_the_same_seed_gives_the_same_probe_whatever_happened_before() -> None:
    first = train_probe("object", FEW, size=32, steps=2, batch_size=8)
    torch.rand(7)
    state = torch.get_rng_state()
    again = train_probe("object", FEW, size=32, steps=2, batch_size=8)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("question", QUESTIONS)
def test_labels_are_positions_in_the_vocabulary(question: str) -> None:
    batch = world.sample(50, torch.Generator().manual_seed(0), vocabulary=FEW, split="held_out")
    labels = labels_of(question, batch, FEW)
    names = answers_of(question, FEW)
    for row in range(50):
        drawn = {
            "object": OBJECT_NAMES[int(batch.thing[row])],
            "scene": SCENE_NAMES[int(batch.scene[row])],
            "motion": MOTION_NAMES[int(batch.motion[row])],
        }
        assert names[int(labels[row])] == drawn[question]
    assert set(labels.tolist()) == set(range(len(names)))


def test_what_the_vocabulary_does_not_have_has_no_label() -> None:
    batch = world.sample(8, torch.Generator().manual_seed(0), vocabulary=splits.HELD_OUT)
    assert (labels_of("object", batch, splits.SMALL) == -1).all()


def test_unknown_questions_and_too_little_to_learn_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="motion, object, scene"):
        train_probe("colour", FEW, size=32, steps=2)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="at least 2"):
        train_probe("object", dataclasses.replace(FEW, objects=("bus",)), size=32, steps=2)
