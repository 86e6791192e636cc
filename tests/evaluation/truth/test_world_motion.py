from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.truth.world_motion import motion_kept, object_places, region_flow
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.motions import MOTION_NAMES


@pytest.fixture(scope="module")
def batch() -> world.WorldBatch:
    drawn = world.sample(2, torch.Generator().manual_seed(0), vocabulary=splits.find_vocabulary("small"))
    motions = torch.tensor([MOTION_NAMES.index(name) for name in ("right", "up")])
    return drawn.replace(motion=motions, camera=torch.zeros_like(motions))


def test_objects_are_where_the_world_draws_them(batch: world.WorldBatch) -> None:
    places = object_places(batch, 64, 5)
    assert places.shape == (2, 5, 64, 64)
    # Without a style and before an even ground, what changes from frame to frame is the object.
    clips = world.render(batch.plain(), 64, 5)
    change = clips.diff(dim=1).abs().mean(2)
    either = places[:, 1:] | places[:, :-1]
    assert change[either].mean() > 5 * change[~either].mean()


def test_means_over_object_and_ground(batch: world.WorldBatch) -> None:
    places = object_places(batch, 64, 5)[0]
    flow = torch.zeros(4, 2, 64, 64)
    flow[:, 0] = torch.where(places[:-1], 3.0, -1.0)
    torch.testing.assert_close(region_flow(flow, places), torch.tensor([[3.0, 0, -1, 0]]).repeat(4, 1))
    assert motion_kept(flow, flow * 2, places) == pytest.approx(1)
    assert motion_kept(flow, -flow, places) == pytest.approx(-1)
    assert motion_kept(flow, torch.zeros_like(flow), places) is None


def test_a_moving_camera_is_refused(batch: world.WorldBatch) -> None:
    with pytest.raises(InvalidInputError, match="fixed camera"):
        object_places(batch.replace(camera=torch.ones_like(batch.camera)), 64, 5)
