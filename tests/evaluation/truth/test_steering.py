"""What steers `mini`, asked of the probes that know StyleWorld; `benchmarks/style_masks.py` asks more of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecrafter.evaluation.truth.style_probe import seen_style
from stylecrafter.evaluation.truth.trained_probes import world_probes
from stylecrafter.media.tensors import clip_to_tensor, to_pictures
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.styleworld import splits, world

PAIRS = 3


class Asked:
    """Pictures of prompts in held-out styles, and how near they are to a reference."""

    def __init__(self) -> None:
        self.pipe = StyleCrafterPipeline.from_pretrained("mini")
        self.pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        vocabulary = splits.find_vocabulary("medium")
        styles = world.sample(2 * PAIRS, generator, vocabulary=vocabulary, split="held_out")
        contents = world.sample(PAIRS, generator, vocabulary=vocabulary, split="held_out")
        self.prompts = contents.content_captions(random.Random(0), moving=False)
        renders = world.render(styles, 64)
        self.pictures = to_pictures(renders[:, 0])
        self.probe = world_probes("medium", 64).style
        self.known = seen_style(self.probe, renders).embedding

    def made(self, **style: Any) -> Tensor:
        """(PAIRS, 1, 3, 64, 64)."""
        out = self.pipe(self.prompts, num_frames=1, seed=0, style_corners=False, **style)
        return torch.stack([clip_to_tensor(frames) for frames in out.frames])

    def near(self, pictures: Tensor, references: Tensor) -> float:
        """Mean nearness of each picture to its own reference."""
        return float((seen_style(self.probe, pictures).embedding * references).sum(1).mean())


@pytest.fixture(scope="module")
def asked() -> Asked:
    return Asked()


def test_a_negative_style_leaves_a_mixture_and_the_other_style_stays(asked: Asked) -> None:
    a, b = asked.pictures[:PAIRS], asked.pictures[PAIRS:]
    both = {"style_images": [list(pair) for pair in zip(a, b, strict=True)]}
    mixed = asked.made(**both)
    away = asked.made(**both, negative_style_images=[[picture] for picture in b])
    near_a, near_b = asked.known[:PAIRS], asked.known[PAIRS:]
    assert asked.near(away, near_b) < asked.near(mixed, near_b) - 0.1
    assert asked.near(away, near_a) > asked.near(away, near_b) + 0.1


def test_a_mask_keeps_the_style_inside_and_out_of_the_outside(asked: Asked) -> None:
    left = torch.zeros(64, 64)
    left[:, :32] = 1
    style = {"style_images": [[picture] for picture in asked.pictures[:PAIRS]]}
    text, whole, masked = asked.made(), asked.made(**style), asked.made(**style, style_masks=left)
    inside, outside = (
        [clip[..., part] for clip in (text, whole, masked)] for part in (slice(32), slice(32, None))
    )
    known = asked.known[:PAIRS]
    assert asked.near(inside[2], known) > 0.8 * asked.near(inside[1], known)
    assert asked.near(outside[2], known) == pytest.approx(asked.near(outside[0], known), abs=0.05)
    assert asked.near(outside[1], known) > asked.near(outside[0], known) + 0.2
