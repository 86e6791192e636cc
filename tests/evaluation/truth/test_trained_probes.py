from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylecrafter.errors import CheckpointError
from stylecrafter.evaluation.truth import trained_probes
from stylecrafter.evaluation.truth.probes import QUESTIONS
from stylecrafter.evaluation.truth.trained_probes import PACKAGED, content_probe, packaged_file, world_probes
from stylecrafter.evaluation.truth.world_metric import WorldMetric, accuracy_on_renders
from stylecrafter.evaluation.truth.world_set import WorldSetSpec

SPEC = WorldSetSpec(references=4, prompts=3, unseen_kinds=1, size=16)


def test_probes_are_trained_once_and_say_how_good_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_probes, "STEPS", 2)
    first = world_probes(SPEC.vocabulary, SPEC.size, tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(times) == 4
    again = world_probes(SPEC.vocabulary, SPEC.size, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    for question in QUESTIONS:
        for name, value in first.content[question].state_dict().items():
            assert torch.equal(value, again.content[question].state_dict()[name])
        assert not again.content[question].training
    assert torch.equal(first.style.reliability, again.style.reliability)
    rates = accuracy_on_renders(first, SPEC, count=8)
    assert rates == accuracy_on_renders(again, SPEC, count=8)
    assert {"object_right", "scene_right", "motion_right", "kind_right", "style_found_by_probe"} <= set(rates)
    assert all(0 <= rate <= 1 for rate in rates.values())


def test_scores_are_kept_by_the_probes_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_probes, "STEPS", 2)
    probes = world_probes(SPEC.vocabulary, SPEC.size, tmp_path)
    key = WorldMetric(SPEC, probes).key
    assert WorldMetric(SPEC, world_probes(SPEC.vocabulary, SPEC.size, tmp_path)).key == key
    with torch.no_grad():
        next(probes.content["scene"].parameters()).add_(0.01)
    assert WorldMetric(SPEC, probes).key != key


def test_the_probes_of_the_package_see_what_the_world_draws(tmp_path: Path) -> None:
    """They would not, if the world were drawn otherwise than when they learned."""
    rates = accuracy_on_renders(
        world_probes("medium", 64, tmp_path), WorldSetSpec(vocabulary="medium"), count=300
    )
    assert not list(tmp_path.iterdir())  # nothing was trained
    assert rates["object_right"] > 0.9 and rates["scene_right"] > 0.9 and rates["motion_right"] > 0.97
    assert rates["kind_right"] > 0.85 and rates["style_found_by_probe"] > 0.93
    assert rates["parameter_error"] < 0.7 * rates["parameter_error_by_chance"]


def test_the_package_holds_float16_and_loads_float32() -> None:
    files = sorted(PACKAGED.glob("*.safetensors"))
    assert [file.name for file in files] == [
        packaged_file(name, "medium", 64).name for name in sorted((*QUESTIONS, trained_probes.STYLE))
    ]
    assert sum(file.stat().st_size for file in files) < 4_000_000
    assert {p.dtype for p in content_probe("object", "medium", 64).parameters()} == {torch.float32}


def test_kept_probes_that_are_broken_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_probes, "STEPS", 2)
    content_probe("scene", SPEC.vocabulary, SPEC.size, tmp_path)
    kept = next(tmp_path.iterdir())
    whole = {key: value.clone() for key, value in load_file(kept).items()}
    name = next(iter(whole))
    for state, says in (
        ({**whole, name: whole[name] * float("nan")}, "not finite"),
        ({key: value for key, value in whole.items() if key != name}, "1 tensor .* missing"),
        ({}, "no tensors"),
    ):
        save_file(state, kept)
        with pytest.raises(CheckpointError, match=f"{kept.name} .delete it, and it is made again.*{says}"):
            content_probe("scene", SPEC.vocabulary, SPEC.size, tmp_path)
