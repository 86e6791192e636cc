"""What weights were trained on stays as it was: draws, captions, words and pictures of the small vocabulary."""

from __future__ import annotations

import hashlib
import random

import pytest
import torch

from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.wording import vocabulary_words

NAMES = ("family", "motion", "pack", "scene", "style", "thing")
NUMBERS = ("palette", "style_parameters", "scene_parameters", "place")

#: Mean pixel values as the code drew them that trained the first weights.
BY_STYLE = [
    0.54616,
    0.44086,
    0.53482,
    0.38425,
    0.51662,
    0.69151,
    0.35908,
    0.17172,
    0.44488,
    0.48171,
    0.41749,
    0.37881,
    0.46540,
    0.49749,
    0.41407,
    0.54223,
    0.41445,
]
BY_SCENE = [
    0.44396,
    0.52546,
    0.52283,
    0.26533,
    0.50727,
    0.45764,
    0.46804,
    0.60699,
    0.45007,
    0.40504,
    0.28601,
    0.49776,
]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def draw(split: world.Split) -> world.WorldBatch:
    return world.sample(64, torch.Generator().manual_seed(5), vocabulary=splits.SMALL, split=split)


@pytest.mark.parametrize(
    ("split", "values", "texts"),
    [
        ("train", "242b741cb51473c0", "d73d47e88afbb1c5"),
        ("held_out", "218510f11601c177", "771dcafb5ab37c6e"),
    ],
)
def test_draws_and_captions(split: world.Split, values: str, texts: str) -> None:
    batch = draw(split)
    content = [getattr(batch, name).numpy().tobytes() for name in NAMES]
    content += [(getattr(batch, name) * 1e4).round().long().numpy().tobytes() for name in NUMBERS]
    assert digest(b"".join(content)) == values
    rng = random.Random(3)
    captions = batch.content_captions(rng, True) + batch.full_captions(rng, True)
    assert digest("|".join(captions).encode()) == texts


def test_words() -> None:
    assert digest(" ".join(vocabulary_words()).encode()) == "554ce8aa844f3b89"


def test_pictures() -> None:
    frames = world.render(draw("train")[:16], 64, 3)
    assert frames.mean().item() == pytest.approx(0.487216, abs=1e-5)
    assert frames.std().item() == pytest.approx(0.233921, abs=1e-5)


def test_pictures_of_all_first_styles_scenes_and_motions() -> None:
    i = torch.arange(17 * 12)
    batch = world.sample(17 * 12, torch.Generator().manual_seed(6), vocabulary=splits.SMALL)
    batch = batch.replace(style=i % 17, scene=i // 17, motion=i % 9)
    frames = world.render(batch, 32, 2)
    by_style = torch.stack([frames[i % 17 == k].mean() for k in range(17)])
    by_scene = torch.stack([frames[i // 17 == k].mean() for k in range(12)])
    assert torch.allclose(by_style, torch.tensor(BY_STYLE), atol=2e-5)
    assert torch.allclose(by_scene, torch.tensor(BY_SCENE), atol=2e-5)
