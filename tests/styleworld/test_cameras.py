"""The camera goes where it says, through drawn and photographed scenes, and takes the object along."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.cameras import CAMERA_NAMES, MOTIONS_UNDER_CAMERA, views
from stylecrafter.styleworld.fields import grid
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.photographs import PANORAMAS, draw_photographs, load_panoramas
from stylecrafter.styleworld.scenes import SCENE_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES


def scene_clip(scene: str, camera: str, frames: int = 5, size: int = 64) -> torch.Tensor:
    batch = world.sample(1, torch.Generator().manual_seed(3), vocabulary=splits.FULL).plain()
    batch = batch.replace(
        scene=torch.tensor([SCENE_NAMES.index(scene)]),
        camera=torch.tensor([CAMERA_NAMES.index(camera)]),
        motion=torch.tensor([0]),
        place=torch.tensor([[9.0, 9.0, 0.4]]),
    )
    return world.render(batch, size, frames)[0]


def best_shift(first: torch.Tensor, second: torch.Tensor) -> tuple[int, int]:
    """How far (right, down) the content of (3, s, s) moved: the shift with the least difference in the middle."""
    size, reach = first.shape[-1], 12
    middle = second[:, reach : size - reach, reach : size - reach]
    errors = {
        (x, y): (first[:, reach - y : size - reach - y, reach - x : size - reach - x] - middle)
        .abs()
        .mean()
        .item()
        for x in range(-reach, reach + 1)
        for y in range(-reach, reach + 1)
    }
    return min(errors, key=lambda shift: errors[shift])


@pytest.mark.parametrize("scene", ["city", "workshop", "pine forest"])
@pytest.mark.parametrize(
    ("camera", "axis", "sign"),
    [("pan left", 0, 1), ("pan right", 0, -1), ("tilt up", 1, 1), ("tilt down", 1, -1)],
)
def test_the_scene_moves_against_the_camera(scene: str, camera: str, axis: int, sign: int) -> None:
    clip = scene_clip(scene, camera)
    shift = best_shift(clip[1], clip[2])
    assert shift[axis] * sign >= 3 and abs(shift[1 - axis]) <= 2, shift


@pytest.mark.parametrize("scene", ["mountains", "warehouse"])
def test_zooming_in_shows_the_middle_larger(scene: str) -> None:
    clip = scene_clip(scene, "zoom in", frames=3)
    enlarged = torch.nn.functional.interpolate(
        clip[:1, :, 12:52, 12:52], size=(64, 64), mode="bilinear", align_corners=False
    )[0]
    assert (enlarged - clip[2]).abs().mean() < 0.5 * (clip[0] - clip[2]).abs().mean()
    assert torch.allclose(scene_clip(scene, "zoom out", frames=3), clip.flip(0), atol=1e-4)


@pytest.mark.parametrize("camera", CAMERA_NAMES)
def test_a_still_picture_does_not_depend_on_the_camera(camera: str) -> None:
    batch = world.sample(4, torch.Generator().manual_seed(2), vocabulary=splits.FULL)
    moved = batch.replace(camera=torch.full_like(batch.camera, CAMERA_NAMES.index(camera)))
    fixed = batch.replace(camera=torch.zeros_like(batch.camera))
    assert (world.render(moved, 32) - world.render(fixed, 32)).abs().max() < 1e-5
    middle = views(moved.camera, torch.full((4, 1), 0.5))
    assert middle.x.abs().max() == 0 and (middle.width - 1).abs().max() < 1e-6


def test_fixed_and_moving_cameras_of_one_batch_are_as_each_alone() -> None:
    batch = world.sample(6, torch.Generator().manual_seed(8), vocabulary=splits.FULL)
    batch = batch.replace(camera=torch.tensor([0, 1, 0, 5, 3, 0]), style=torch.zeros_like(batch.style))
    together = world.render(batch, 32, 3)
    alone = torch.cat([world.render(batch[i : i + 1], 32, 3) for i in range(6)])
    assert (together - alone).abs().max() < 1e-5


def test_under_a_moving_camera_objects_move_in_place() -> None:
    batch = world.sample(3000, torch.Generator().manual_seed(1), vocabulary=splits.FULL)
    moving = batch.camera > 0
    assert 0.25 < moving.float().mean() < 0.5
    assert {MOTION_NAMES[i] for i in batch.motion[moving].tolist()} == set(MOTIONS_UNDER_CAMERA)


def test_panoramas_are_there_and_the_seam_is_none() -> None:
    pictures = load_panoramas()
    assert pictures.shape == (len(PANORAMAS), 3, 256, 512) and len({p.name for p in PANORAMAS}) == len(
        PANORAMAS
    )
    assert (pictures.mean((1, 2, 3)) > 0.06).all() and (pictures.std((1, 2, 3)) > 0.05).all()
    x, y = grid(48, 48)
    hall = [p.name for p in PANORAMAS].index("ballroom")
    # Directions on both sides of the seam: a step of 1/512 of a turn must not jump.
    steps = torch.tensor(
        [[0.5 + k / 512 / (2 * PANORAMAS[hall].spread), 0.5, 0.9, 0.5] for k in range(-260, -250)]
    )
    shown = draw_photographs(
        torch.full((10,), hall), x.expand(10, -1, -1), y.expand(10, -1, -1), steps % 1, 48
    )
    change = (shown[1:] - shown[:-1]).abs().mean((1, 2, 3))
    assert change.max() < 3 * change.median()


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_styles_do_not_flicker_where_nothing_moves(style: str) -> None:
    batch = world.sample(2, torch.Generator().manual_seed(4), vocabulary=splits.FULL)
    batch = batch.replace(
        style=torch.full_like(batch.style, STYLE_NAMES.index(style)),
        motion=torch.zeros_like(batch.motion),
        camera=torch.zeros_like(batch.camera),
    )
    clip = world.render(batch, 32, 3)
    assert (clip[:, 1:] - clip[:, :1]).abs().max() < 1e-5


@pytest.mark.parametrize("style", [name for name in STYLE_NAMES if name != "plain"])
def test_a_style_looks_the_same_at_every_resolution(style: str) -> None:
    """Mean colour and contrast of a picture hold when it is drawn larger and reduced."""
    batch = world.sample(6, torch.Generator().manual_seed(9), vocabulary=splits.FULL)
    batch = batch.replace(style=torch.full_like(batch.style, STYLE_NAMES.index(style)))
    small = world.render(batch, 64)[:, 0]
    large = torch.nn.functional.avg_pool2d(world.render(batch, 128)[:, 0], 2)
    assert (small.mean((2, 3)) - large.mean((2, 3))).abs().mean() < 0.04
    assert (small - large).abs().mean() < 0.13
