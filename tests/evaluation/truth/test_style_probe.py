from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.truth.style_probe import (
    LEAST_RELIABILITY,
    PARAMETERS,
    TEMPERATURE,
    StyleProbe,
    pair_loss,
    seen_style,
    style_labels,
    train_style_probe,
)
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.styles import STYLE_NAMES


def test_labels_are_positions_in_the_vocabulary() -> None:
    batch = world.sample(3, torch.Generator().manual_seed(0), vocabulary=splits.SMALL)
    names = [splits.SMALL.styles[2], splits.SMALL.styles[0], splits.HELD_OUT_STYLES[0]]
    batch = batch.replace(style=torch.tensor([STYLE_NAMES.index(name) for name in names]))
    assert style_labels(batch, splits.SMALL).tolist() == [2, 0, -1]


def test_frames_are_averaged_and_a_batch_is_a_loop_of_ones() -> None:
    torch.manual_seed(0)
    probe = StyleProbe(5).eval()
    clips = torch.rand(3, 2, 3, 32, 32)
    seen = seen_style(probe, clips)
    assert seen.kind.shape == (3, 5) and seen.parameters.shape == (3, 5, PARAMETERS)
    ones = [seen_style(probe, clip[None]) for clip in clips]
    assert torch.allclose(torch.cat([one.parameters for one in ones]), seen.parameters, atol=1e-6)
    assert torch.allclose(seen.embedding.norm(dim=1), torch.ones(3))
    frames = seen_style(probe, clips[0][:, None])
    assert torch.allclose(frames.parameters.mean(0), seen.parameters[0], atol=1e-6)


def test_training_leaves_the_random_state_alone_and_repeats() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    probes = [train_style_probe(splits.SMALL, size=16, steps=2, batch_size=4) for _ in range(2)]
    assert torch.equal(torch.rand(3), expected)
    for name, value in probes[0].state_dict().items():
        assert torch.equal(value, probes[1].state_dict()[name]), name
    assert not probes[0].training
    reliability = probes[0].reliability
    assert ((reliability >= -1) & (reliability <= 1)).all() and reliability.abs().sum() > 0
    assert torch.equal(probes[0].tellable, reliability >= LEAST_RELIABILITY)


def test_it_learns_what_is_seen() -> None:
    """A short training at small size tells the kinds of fresh renders apart."""
    words = dataclasses.replace(splits.SMALL, styles=splits.SMALL.styles[:3])
    probe = train_style_probe(words, size=32, steps=40, batch_size=16)
    batch = world.sample(90, torch.Generator().manual_seed(99), vocabulary=words)
    seen = seen_style(probe, world.render(batch, 32))
    partners = world.sample(90, torch.Generator().manual_seed(98), vocabulary=words).in_style_of(batch)
    alike = seen.embedding @ seen_style(probe, world.render(partners, 32)).embedding.T
    assert (alike.argmax(1) == torch.arange(90)).float().mean() > 0.2  # chance is 1/90
    assert (seen.kind.argmax(1) == style_labels(batch, words)).float().mean() > 0.6  # chance is 1/3


def test_pairs_by_hand() -> None:
    apart = torch.eye(4)
    assert pair_loss(apart, apart).item() == pytest.approx(
        math.log(1 + 3 * math.exp(-1 / TEMPERATURE)), abs=1e-6
    )
    alike = torch.nn.functional.normalize(torch.ones(4, 4), dim=1)
    assert pair_loss(alike, alike).item() == pytest.approx(math.log(4), abs=1e-5)


def test_bad_input() -> None:
    with pytest.raises(InvalidInputError, match="1 steps of 64"):
        train_style_probe(splits.SMALL, size=16, steps=1)
