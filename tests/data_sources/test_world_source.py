"""StyleWorld as a source: a function of step and rows, with references that share the style."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from stylecrafter.data.world_source import WorldSource, crop, draw_crops
from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits

PICTURES = WorldSource(
    vocabulary=splits.SMALL,
    size=24,
    batch_size=8,
    styled_ratio=0.75,
    references="crop",
    cross_reference_ratio=0.5,
)
ALL = slice(0, 8)


def test_a_batch_is_its_slices_bit_for_bit() -> None:
    whole = PICTURES.batch(3, ALL)
    for size in (1, 2, 4):
        parts = [PICTURES.batch(3, slice(i, i + size)) for i in range(0, 8, size)]
        assert torch.equal(whole.frames, torch.cat([part.frames for part in parts]))
        assert torch.equal(whole.references, torch.cat([part.references for part in parts]))
        assert whole.captions == [caption for part in parts for caption in part.captions]


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    first, again = PICTURES.batch(3, ALL), PICTURES.batch(3, ALL)
    assert torch.equal(first.frames, again.frames) and first.captions == again.captions
    assert not torch.equal(first.frames, PICTURES.batch(4, ALL).frames)
    assert not torch.equal(first.frames, dataclasses.replace(PICTURES, seed=1).batch(3, ALL).frames)


def test_styled_rows_come_first_and_captions_tell_them_apart() -> None:
    things, _, others = PICTURES.things(0)
    assert (things.style[:6] > 0).all() and (things.style[6:] == 0).all()
    assert others is not None and len(others) == 4
    assert torch.equal(others.style, things.style[:4]) and torch.equal(others.palette, things.palette[:4])
    assert not torch.equal(others.thing, things.thing[:4])
    full = dataclasses.replace(PICTURES, captions="keep")
    named = full.batch(0, ALL).captions
    assert all(", in " in caption for caption in named[:6])
    unnamed = dataclasses.replace(full, unnamed_style_ratio=1.0).batch(0, ALL).captions
    assert not any(", in " in caption for caption in unnamed)


def test_a_part_of_the_objects_has_a_colour_of_its_own_and_the_rest_stays_as_it_was() -> None:
    plain, some = PICTURES.things(0)[0], dataclasses.replace(PICTURES, coloured_ratio=0.5).things(0)[0]
    assert (plain.colour < 0).all() and (some.colour >= 0).any() and (some.colour < 0).any()
    assert torch.equal(plain.thing, some.thing) and torch.equal(plain.palette, some.palette)
    # Runs of before, whose settings know of no colours, can be resumed.
    assert "coloured_ratio" not in PICTURES.fingerprint()
    assert dataclasses.replace(PICTURES, coloured_ratio=0.5).fingerprint()["coloured_ratio"] == 0.5


def test_groups_share_their_content_and_differ_in_style() -> None:
    grouped = dataclasses.replace(PICTURES, styles_per_content=3, batch_size=8)
    things, _, _ = grouped.things(0)
    for first in (0, 3):
        group = things[first : first + 3]
        for name in ("thing", "scene", "place", "scene_parameters"):
            values = getattr(group, name)
            assert (values == values[:1]).all(), name
    assert len({tuple(row) for row in things.palette[:6].flatten(1).tolist()}) == 6


def test_groups_share_everything_but_their_motion() -> None:
    clips = WorldSource(
        vocabulary=splits.FULL, size=24, batch_size=64, num_frames=2, motions_per_content=4, captions="keep"
    )
    things, _, _ = clips.things(0)
    for field in dataclasses.fields(things):
        rows = getattr(things, field.name).reshape(16, 4, -1)
        alike = (rows == rows[:, :1]).all()
        assert alike != (field.name in ("motion", "camera")), field.name
    assert not splits.is_held_out_pair(things.motion, things.thing).any()
    assert not splits.is_held_out_view(things.camera, things.thing).any()


def test_a_picture_of_the_end_of_a_motion_is_the_last_of_its_clip_and_says_so() -> None:
    ends = dataclasses.replace(PICTURES, references="none", cross_reference_ratio=0.0, span=(1.0, 1.0))
    batch = ends.batch(0, ALL)
    clips = dataclasses.replace(ends, span=(0.0, 1.0), num_frames=5).batch(0, ALL)
    assert torch.allclose(batch.frames[:, 0], clips.frames[:, -1], atol=1e-6)
    assert (
        batch.captions == clips.captions != dataclasses.replace(ends, span=(0.0, 1.0)).batch(0, ALL).captions
    )
    halves = dataclasses.replace(ends, span=(0.5, 1.0), num_frames=3).batch(0, ALL)
    assert torch.allclose(halves.frames, clips.frames[:, 2:], atol=1e-6)


@pytest.mark.parametrize("span", [(-0.1, 1.0), (0.6, 0.5), (0.0, 1.1), (float("nan"), 1.0)])
def test_a_span_that_is_no_part_of_a_motion_is_refused(span: tuple[float, float]) -> None:
    with pytest.raises(InvalidInputError, match=r"0 <= first <= last <= 1"):
        dataclasses.replace(PICTURES, span=span)


def test_references_are_crops_whole_pictures_or_none() -> None:
    whole = dataclasses.replace(PICTURES, references="whole", cross_reference_ratio=0.0).batch(0, ALL)
    assert torch.equal(whole.references, whole.frames[:, 0])
    cropped = dataclasses.replace(PICTURES, cross_reference_ratio=0.0).batch(0, ALL)
    assert cropped.references.shape == whole.references.shape
    assert not torch.equal(cropped.references, cropped.frames[:, 0])
    bare = dataclasses.replace(PICTURES, references="none", cross_reference_ratio=0.0)
    assert bare.batch(0, ALL).references is None


def test_clips_move_and_their_reference_is_a_picture() -> None:
    clips = WorldSource(vocabulary=splits.SMALL, size=24, batch_size=6, num_frames=4, references="crop")
    batch = clips.batch(0, slice(0, 6))
    assert batch.frames.shape == (6, 4, 3, 24, 24) and batch.references.shape == (6, 3, 24, 24)
    moved = (batch.frames[:, 0] - batch.frames[:, -1]).abs().mean((1, 2, 3))
    assert (moved > 1e-3).any()


def test_a_crop_is_a_part_of_the_picture() -> None:
    ramp = torch.linspace(0, 1, 32).expand(4, 3, 32, 32).contiguous()
    crops = crop(ramp, draw_crops(4, torch.Generator().manual_seed(0), least=0.5))
    spans = crops[:, 0, 16].amax(1) - crops[:, 0, 16].amin(1)
    assert ((spans > 0.4) & (spans < 0.99)).all()
    full = torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3)
    assert torch.allclose(crop(ramp, full), ramp, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("styles_per_content", 0),
        ("motions_per_content", 0),
        ("styled_ratio", 1.5),
        ("cross_reference_ratio", -0.1),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=name):
        dataclasses.replace(PICTURES, **{name: value})


def test_cross_references_need_references() -> None:
    with pytest.raises(InvalidInputError, match="references"):
        dataclasses.replace(PICTURES, references="none")


def test_rows_behind_the_cross_references_show_themselves() -> None:
    source = dataclasses.replace(PICTURES, references="whole")
    for batch in source.batches([3, 4], ALL):
        assert torch.equal(batch.references[4:], batch.frames[4:, 0])
        assert not any(torch.equal(batch.references[row], batch.frames[row, 0]) for row in range(4))
