"""Sets with a known answer, asked of the metrics that need no weights: what must win wins, and what cheats is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stylecrafter.evaluation.clip_metrics import AppearanceMetric, TemporalMetric
from stylecrafter.evaluation.metrics.info import MeasuredClip
from stylecrafter.evaluation.truth.held_out import HeldOutSet, held_out_set
from stylecrafter.styleworld import splits, world

SIZE, FRAMES = 64, 6


@pytest.fixture(scope="module")
def held_out() -> HeldOutSet:
    return held_out_set(splits.SMALL, references=6, prompts=2, unseen_kinds=1, seed=3)


@pytest.fixture(scope="module")
def means(held_out: HeldOutSet) -> dict[str, dict[str, float]]:
    """Mean of every score over the clips of real renders, copies of the reference, still clips and noise.

    Scores that no clip of a set has are not there.
    """
    references = world.render(held_out.references, SIZE)[:, 0]
    real = held_out.real_clips(torch.arange(len(held_out)), SIZE, FRAMES)
    sets: dict[str, Callable[[int], torch.Tensor]] = {
        "real": lambda i: real[i],
        "copy": lambda i: references[int(held_out.reference_of[i])].expand(FRAMES, -1, -1, -1),
        "still": lambda i: real[i][:1].expand(FRAMES, -1, -1, -1),
        "noise": lambda i: torch.rand(FRAMES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(i)),
    }
    metrics = (AppearanceMetric(list(references)), TemporalMetric())
    found: dict[str, dict[str, float]] = {}
    for name, clip_of in sets.items():
        rows: list[dict[str, float | None]] = []
        for i in range(len(held_out)):
            own = (int(held_out.reference_of[i]),)
            clip = MeasuredClip(i, f"{i:04d}", held_out.texts[int(held_out.prompt_of[i])], clip_of(i), own)
            rows.append({k: v for metric in metrics for k, v in metric(clip).items()})
        known = {k: [value for row in rows if (value := row[k]) is not None] for k in rows[0]}
        found[name] = {k: sum(values) / len(values) for k, values in known.items() if values}
    return found


def test_real_renders_are_in_their_style_and_noise_is_in_none(means: dict[str, dict[str, float]]) -> None:
    assert means["real"]["style_found"] >= 0.7
    assert means["noise"]["style_found"] <= 0.4
    assert means["noise"]["palette_nearer"] < means["real"]["palette_nearer"]
    for score in ("palette_distance", "texture_distance", "warping_error", "flicker"):
        values = {name: of[score] for name, of in means.items() if score in of}
        assert max(values, key=lambda name: values[name]) == "noise", (score, values)


def test_a_copy_of_the_reference_has_all_of_its_style_and_is_exposed(
    means: dict[str, dict[str, float]],
) -> None:
    assert means["copy"]["style_found"] == means["copy"]["palette_nearer"] == 1
    assert means["copy"]["palette_distance"] < 1 < means["real"]["palette_distance"]
    # It is its own content: nothing else comes near it in copying.
    others = max(means[name]["copying"] for name in ("real", "still", "noise"))
    assert means["copy"]["copying"] > 0.9 > others + 0.1


def test_a_still_clip_does_not_win(means: dict[str, dict[str, float]]) -> None:
    # It has no score to win with.
    assert not {"warping_error", "flicker"} & means["still"].keys()
    assert means["still"]["dynamics"] == means["copy"]["dynamics"] == 0 < means["real"]["dynamics"]
