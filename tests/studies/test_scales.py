from __future__ import annotations

import dataclasses

import pytest
import torch

from stylecrafter.evaluation.truth.probes import make_probe
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.studies.scales import QUICK, run
from stylecrafter.studies.subject import Judgement, Subject
from stylecrafter.styleworld import world

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def subject() -> Subject:
    spec = world_set_for("mini", references=3, prompts=2, unseen_kinds=1, seed=5)
    return Subject("mini", spec, steps=2, batch_size=2)


def test_pictures_of_a_pair_do_not_depend_on_their_neighbours(subject: Subject) -> None:
    together = subject.paint(subject.rows)
    assert together.shape == (6, 3, 64, 64) and together.min() >= 0 and together.max() <= 1
    alone = subject.paint(torch.tensor([4]))
    torch.testing.assert_close(together[4:5], alone, atol=1e-4, rtol=0)


def test_factors_are_predicted_or_given(subject: Subject) -> None:
    rows = torch.tensor([1, 5])
    predicted = subject.predicted_scales()
    assert predicted.shape == (6, len(subject.layer_names))
    assert (predicted > 0).all() and (predicted < 2).all()
    own = subject.paint(rows)
    torch.testing.assert_close(subject.paint(rows, predicted[rows]), own, atol=1e-4, rtol=0)
    assert (subject.paint(rows, predicted[rows] * 1.5) - own).abs().max() > 1e-2
    plain = subject.paint(rows, scale=0.0)
    torch.testing.assert_close(subject.paint(rows, predicted[rows] * 0), plain, atol=1e-4, rtol=0)


def test_real_renders_are_judged_right(subject: Subject) -> None:
    """The reference itself is nearest to itself, and the furthest from being the others."""
    rows = subject.rows
    probe = make_probe("object", subject.set.vocabulary).eval()
    said = subject.judge(subject.references[subject.set.reference_of], rows, probe)
    assert said.style.tolist() == [1.0] * 6 and said.found.tolist() == [1.0] * 6
    wrong = subject.judge(subject.references[(subject.set.reference_of + 1) % 3], rows, probe)
    assert not wrong.found.any()
    assert ((said.text >= 0) & (said.text <= 1)).all()
    real = world.render(subject.set.prompts, 64)[:, 0]
    assert subject.judge(real, torch.tensor([0, 1]), probe).text.shape == (2,)


def test_clips_of_a_pair(subject: Subject) -> None:
    clip = subject.film(torch.tensor([3]), frames=4)
    assert clip.shape == (1, 4, 3, 64, 64) and clip.min() >= 0 and clip.max() <= 1
    assert (subject.film(torch.tensor([3]), scale=0.0, frames=4) - clip).abs().max() > 1e-2


def test_the_same_model_with_another_set(subject: Subject) -> None:
    turned = dataclasses.replace(subject.set, texts=tuple(reversed(subject.set.texts)))
    other = subject.with_set(turned)
    assert other.pipe is subject.pipe and subject.set is not other.set
    torch.testing.assert_close(other.text_embeds, subject.text_embeds.flip(0))


def test_benefit_is_the_mean_of_what_was_asked() -> None:
    said = Judgement(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
    assert said.benefit.tolist() == [0.75, 0.25]


def test_the_study_at_toy_size(world_model: str) -> None:
    result = run(world_model, QUICK, seed=3)
    titles = [table.title for table in result.tables]
    assert titles[0] == "By kind of style" and "Does it say more where more helps?" in titles
    tables = dict(zip(titles, result.tables, strict=True))
    assert [row[0] for row in tables["By length of the prompt"].rows][0] == "object"
    for row in tables["By layer, and what the factors depend on"].rows:
        shares = [float(cell.rstrip("%")) for cell in row[3:]]
        assert sum(shares) == pytest.approx(100, abs=2)
    predicted = torch.tensor(result.data["predicted"])
    assert predicted.shape[0] == 6
    judged = result.data["judged"]
    assert set(judged["mean"]) == {"0.5", "1.0"} and len(judged["shuffled"]["1.0"]["style"]) == 6
    assert set(result.plots) == {
        "scales_by_kind", "scales_by_layer", "sweep_style", "sweep_text", "sweep_benefit"
    }  # fmt: skip
