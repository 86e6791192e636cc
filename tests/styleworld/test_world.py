"""StyleWorld: what is drawn is what was asked for, and the hold-outs hold."""

from __future__ import annotations

import random

import pytest
import torch

from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.cameras import CAMERA_NAMES
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import (
    HELD_OUT_PACKS,
    OBJECT_NAMES,
    PACKS,
    load_sprites,
    object_index,
)
from stylecrafter.styleworld.palettes import (
    HARMONY_FAMILIES,
    OBJECT_COLOURS,
    PALETTE_FAMILIES,
    object_palettes,
    picture_palettes,
)
from stylecrafter.styleworld.scenes import SCENE_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES


def drawn(n: int = 8, seed: int = 0, **options) -> world.WorldBatch:
    return world.sample(n, torch.Generator().manual_seed(seed), **options)


def test_shapes_and_range() -> None:
    frames = world.render(drawn(4), 32, num_frames=3)
    assert frames.shape == (4, 3, 3, 32, 32)
    assert frames.min() >= 0 and frames.max() <= 1 and torch.isfinite(frames).all()


def test_the_same_seed_draws_the_same() -> None:
    assert torch.equal(world.render(drawn(seed=3), 32), world.render(drawn(seed=3), 32))
    assert not torch.equal(world.render(drawn(seed=3), 32), world.render(drawn(seed=4), 32))


@pytest.mark.parametrize("frames", [1, 3])
def test_a_batch_is_a_loop_of_ones_bit_for_bit(frames: int) -> None:
    """Ranks that draw their rows alone draw the same as one process that draws them all."""
    batch = drawn(40)
    together = world.render(batch, 32, frames)
    for step in (1, 7):
        parts = [world.render(batch[i : i + step], 32, frames) for i in range(0, 40, step)]
        assert torch.equal(together, torch.cat(parts))


def test_autocast_does_not_change_pictures() -> None:
    batch = drawn(24)
    with torch.autocast("cpu", torch.bfloat16):
        cast = world.render(batch, 32)
    assert cast.dtype == torch.float32 and torch.equal(cast, world.render(batch, 32))


@pytest.mark.parametrize("style", range(len(STYLE_NAMES)))
def test_every_style_paints_and_differs_from_plain(style: int) -> None:
    batch = drawn(4)
    batch = batch.replace(style=torch.full_like(batch.style, style))
    painted, plain = world.render(batch, 48), world.render(batch.plain(), 48)
    assert torch.isfinite(painted).all()
    assert ((painted - plain).abs().mean() > 0.02) == (STYLE_NAMES[style] != "plain")


@pytest.mark.parametrize("scene", range(len(SCENE_NAMES)))
def test_scenes_differ_from_each_other(scene: int) -> None:
    batch = drawn(1).plain()
    here = world.render(batch.replace(scene=torch.tensor([scene])), 32)
    for other in range(len(SCENE_NAMES)):
        there = world.render(batch.replace(scene=torch.tensor([other])), 32)
        assert ((here - there).abs().mean() > 0.01) == (other != scene)


def figure_centre(motion: str) -> torch.Tensor:
    """Centre of what changes against the empty scene, per frame: (f, 2) as x, y."""
    batch = drawn(1).plain()
    batch = batch.replace(
        motion=torch.tensor([MOTION_NAMES.index(motion)]), place=torch.tensor([[0.5, 0.5, 0.4]])
    )
    empty = world.render(batch.replace(place=torch.tensor([[9.0, 9.0, 0.4]])), 64, 5)[0]
    mask = ((world.render(batch, 64, 5)[0] - empty).abs().sum(1) > 0.15).float()
    axis = torch.arange(64.0)
    return torch.stack([(mask.sum(1) @ axis), (mask.sum(2) @ axis)], 1) / mask.sum((1, 2))[:, None]


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)]
)
def test_motions_go_where_they_say(motion: str, axis: int, sign: int) -> None:
    steps = figure_centre(motion).diff(dim=0)[:, axis] * sign
    assert (steps > 1).all()


def test_a_still_object_does_not_move() -> None:
    centre = figure_centre("still")
    assert (centre - centre[:1]).abs().max() < 1e-3


def test_training_never_draws_what_is_held_out() -> None:
    batch = drawn(6000, vocabulary=splits.FULL)
    assert not set(batch.family.tolist()) & set(splits.HELD_OUT_PALETTES)
    assert not {OBJECT_NAMES[i] for i in batch.thing.tolist()} & set(splits.HELD_OUT_OBJECTS)
    assert not {STYLE_NAMES[i] for i in batch.style.tolist()} & set(splits.HELD_OUT_STYLES)
    low, high = splits.HELD_OUT_PARAMETER
    first = batch.style_parameters[:, 0]
    assert not ((first > low) & (first < high)).any()
    assert not {PACKS[i] for i in batch.pack.tolist()} & set(HELD_OUT_PACKS)
    assert not splits.is_held_out_pair(batch.motion, batch.thing).any()
    assert not splits.is_held_out_view(batch.camera, batch.thing).any()
    shown = {
        picture_palettes()[f - HARMONY_FAMILIES][0] for f in batch.family.tolist() if f >= HARMONY_FAMILIES
    }
    assert shown and not shown & set(splits.HELD_OUT_PICTURES)


def test_training_shows_everything_else() -> None:
    batch = drawn(6000, vocabulary=splits.FULL)
    assert len(set(batch.thing.tolist())) == len(OBJECT_NAMES) - len(splits.HELD_OUT_OBJECTS)
    assert set(batch.family.tolist()) == set(splits.TRAIN_PALETTES)
    assert set(batch.scene.tolist()) == set(range(len(SCENE_NAMES)))
    assert set(batch.motion.tolist()) == set(range(len(MOTION_NAMES)))
    assert set(batch.camera.tolist()) == set(range(len(CAMERA_NAMES)))
    assert len(set(batch.style.tolist())) == len(splits.FULL.styles)


def test_the_held_out_vocabulary_shares_nothing_with_training() -> None:
    for kind in ("objects", "packs", "styles"):
        held_out, trained = getattr(splits.HELD_OUT, kind), getattr(splits.FULL, kind)
        assert held_out and not set(held_out) & set(trained)
    assert not set(splits.HELD_OUT_PALETTES) & set(splits.TRAIN_PALETTES)
    assert len(splits.HELD_OUT_PICTURES) >= 4 and len(splits.HELD_OUT_PICTURE_PALETTES) >= 8


def test_the_held_out_split_draws_only_what_training_never_sees() -> None:
    batch = drawn(500, vocabulary=splits.HELD_OUT, split="held_out")
    assert any(family >= HARMONY_FAMILIES for family in batch.family.tolist())
    assert set(batch.family.tolist()) <= set(splits.HELD_OUT_PALETTES)
    low, high = splits.HELD_OUT_PARAMETER
    assert ((batch.style_parameters[:, 0] >= low) & (batch.style_parameters[:, 0] <= high)).all()


def test_hold_outs_are_a_real_part_of_the_world() -> None:
    assert len(splits.HELD_OUT_PALETTES) > PALETTE_FAMILIES / 10
    assert len(splits.HELD_OUT_STYLES) >= 4 and len(splits.HELD_OUT_OBJECTS) >= 10
    pairs = [
        splits.is_held_out_pair(torch.tensor([m]), torch.tensor([t])).item()
        for m in range(len(MOTION_NAMES))
        for t in range(len(OBJECT_NAMES))
    ]
    assert 0.04 < sum(pairs) / len(pairs) < 0.15


def test_style_transfer_ground_truth_keeps_content_and_takes_style() -> None:
    content, style = drawn(6, seed=1), drawn(6, seed=2)
    both = content.in_style_of(style)
    assert torch.equal(both.thing, content.thing) and torch.equal(both.scene, content.scene)
    assert torch.equal(both.palette, style.palette) and torch.equal(both.style, style.style)


def test_concatenated_batches_keep_every_row() -> None:
    first, second = drawn(3, seed=1), drawn(2, seed=2)
    both = world.concatenate([first, second])
    assert len(both) == 5
    apart = torch.cat([world.render(first, 32), world.render(second, 32)])
    assert torch.equal(world.render(both, 32), apart)


def test_every_drawing_set_draws_every_object() -> None:
    for pack in PACKS:
        sprites = load_sprites(pack)
        assert sprites.shape[0] == len(OBJECT_NAMES)
        assert (sprites[:, 3].mean((1, 2)) > 0.03).all(), pack


def test_vocabularies_name_real_things() -> None:
    for vocabulary in (splits.SMALL, splits.MEDIUM, splits.FULL):
        assert all(object_index(name) >= 0 for name in vocabulary.objects)
        assert set(vocabulary.scenes) <= set(SCENE_NAMES) and set(vocabulary.styles) <= set(STYLE_NAMES)
        assert not set(vocabulary.objects) & set(splits.HELD_OUT_OBJECTS)
    assert len(splits.SMALL.objects) >= 24 and len(splits.SMALL.styles) >= 8
    assert len(splits.MEDIUM.objects) >= 40 and len(splits.MEDIUM.scenes) >= 8
    assert len(splits.FULL.objects) >= 100 and len(splits.FULL.packs) >= 4 and len(HELD_OUT_PACKS) >= 2
    assert len(splits.FULL.styles) >= 16 and len(splits.FULL.scenes) >= 24


def test_a_vocabulary_is_found_by_name() -> None:
    assert splits.find_vocabulary("medium") is splits.MEDIUM
    with pytest.raises(UnknownNameError, match="medium"):
        splits.find_vocabulary("medum")


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="0 pictures"):
        drawn(0)
    with pytest.raises(InvalidInputError, match="8 pixels"):
        world.render(drawn(1), 8)
    with pytest.raises(UnknownNameError, match="dgo.*dog"):
        object_index("dgo")
    with pytest.raises(UnknownNameError, match="noto"):
        load_sprites("apple")


def coloured(n: int = 24, ratio: float = 1.0, **options) -> world.WorldBatch:
    return world.with_own_colours(drawn(n, **options), ratio, torch.Generator().manual_seed(5))


@pytest.mark.parametrize("frames", [1, 3])
def test_objects_of_their_own_colour_are_drawn_row_by_row_too(frames: int) -> None:
    batch = coloured(ratio=0.5)
    together = world.render(batch, 32, frames)
    assert torch.equal(together, torch.cat([world.render(batch[i : i + 1], 32, frames) for i in range(24)]))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(together, world.render(batch, 32, frames))


def test_a_colour_of_its_own_changes_the_object_and_nothing_else() -> None:
    batch = drawn(24).replace(style=torch.full((24,), STYLE_NAMES.index("gradient")))
    red = batch.replace(colour=torch.full((24,), OBJECT_COLOURS.index("red")))
    blue = batch.replace(colour=torch.full((24,), OBJECT_COLOURS.index("blue")))
    before, first, second = (world.render(rows, 48)[:, 0] for rows in (batch, red, blue))
    changed = (first - second).abs().amax(1) > 1e-6
    assert 0.02 < changed.float().mean() < 0.5  # the object, smaller than the picture
    same = ~changed[:, None].expand_as(before)
    assert torch.allclose(first[same], before[same], atol=1e-4)  # faint rims are changed faintly
    inside = changed[:, None].expand_as(first)
    redness = [(rows[:, :1] - rows[:, 2:])[inside[:, :1]].mean() for rows in (first, second)]
    assert redness[0] > 0.15 and redness[1] < -0.15


def test_as_many_objects_as_asked_for_have_a_colour_and_captions_name_it() -> None:
    rng = random.Random(0)
    batch = coloured(200, 0.3)
    assert 0.2 < (batch.colour >= 0).float().mean() < 0.4
    for rich in (False, True):
        told = batch.replace(rich=torch.full((200,), rich))
        for caption, colour in zip(told.content_captions(rng, False), batch.colour.tolist(), strict=True):
            named = [name for name in OBJECT_COLOURS if f"{name} " in caption.lower()]
            assert colour < 0 or OBJECT_COLOURS[colour] in named, caption
    assert torch.equal(coloured(50, 0.0).colour, torch.full((50,), -1))


def test_palettes_of_colours_go_from_dark_to_light() -> None:
    palettes = object_palettes(torch.arange(len(OBJECT_COLOURS)))
    assert palettes.shape == (len(OBJECT_COLOURS), 5, 3)
    tones = palettes.mean(-1)
    assert (tones[:, 1:] > tones[:, :-1]).all() and palettes.min() >= 0 and palettes.max() <= 1
