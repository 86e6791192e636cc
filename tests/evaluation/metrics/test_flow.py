from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.flow import _divergence, _gradient, optical_flow, warp
from stylecrafter.evaluation.metrics.temporal import dynamics
from stylecrafter.styleworld import splits, world
from tests.evaluation.metrics.moving import panned, texture


def test_a_pan_is_seen_as_the_motion_that_it_is() -> None:
    flow = optical_flow(panned(2))
    assert flow.shape == (3, 2, 64, 64)
    inner = flow[:, :, 8:-8, 8:-8].median(dim=-1).values.median(dim=-1).values
    torch.testing.assert_close(inner, torch.tensor([[-2.0, 0.0]] * 3), atol=0.2, rtol=0)
    assert dynamics(panned(2)) == pytest.approx(2 / 64, rel=0.4)


def test_up_and_down_and_sides_that_halve_unevenly() -> None:
    whole = texture(2)
    clip = torch.stack([whole[:, 8 + t : 77 + t, :65] for t in range(3)])  # (69, 65): things move upwards
    flow = optical_flow(clip)
    assert flow.shape == (2, 2, 69, 65)
    inner = flow[:, :, 8:-8, 8:-8].median(dim=-1).values.median(dim=-1).values
    torch.testing.assert_close(inner, torch.tensor([[0.0, -1.0]] * 2), atol=0.15, rtol=0)


def test_a_pair_does_not_depend_on_the_others() -> None:
    clip = panned(3, frames=5)
    together = optical_flow(clip)
    for t in range(4):
        torch.testing.assert_close(optical_flow(clip[t : t + 2])[0], together[t], atol=1e-4, rtol=0)


def test_nothing_moves_in_a_still_clip() -> None:
    still = texture()[None, :, :64, :64].repeat(3, 1, 1, 1)
    # Sampling at whole pixels rounds, and nothing else.
    assert float(optical_flow(still).abs().max()) < 1e-4
    assert float(optical_flow(torch.full((2, 3, 40, 40), 0.5)).abs().max()) == 0


def test_divergence_is_minus_the_adjoint_of_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(2, 2, 5, 7, generator=generator)
    dual = torch.randn(2, 2, 2, 5, 7, generator=generator)
    dual[:, :, 0, :, -1] = 0  # as the gradient leaves them
    dual[:, :, 1, -1, :] = 0
    torch.testing.assert_close((_gradient(field) * dual).sum(), -(field * _divergence(dual)).sum())


def test_it_agrees_with_scikit_image() -> None:
    """The same method and constants; pyramids and resizing differ, so that flat places may move otherwise."""
    registration = pytest.importorskip("skimage.registration")
    batch = world.sample(3, torch.Generator().manual_seed(4), vocabulary=splits.SMALL)
    motions = torch.tensor([1, 2, 5])
    for clip in world.render(batch.replace(motion=motions).plain(), 64, 8):
        ours = optical_flow(clip)
        gray = torch.einsum("c,fchw->fhw", torch.tensor([0.299, 0.587, 0.114]), clip).numpy()
        pairs = zip(gray, gray[1:], strict=False)
        theirs = np.stack([registration.optical_flow_tvl1(a, b)[::-1] for a, b in pairs])
        apart = (ours - torch.from_numpy(theirs)).square().sum(1).sqrt()
        assert float(apart.mean()) < 0.08 and float(apart.quantile(0.9)) < 0.12
        # Where things move it is a small part of the motion.
        assert float(ours.square().sum(1).sqrt().max()) > 10 * float(apart.mean())


def test_warping_brings_the_next_frame_back() -> None:
    clip = panned(2)
    flow = torch.zeros(3, 2, 64, 64)
    flow[:, 0] = -2
    warped, inside = warp(clip[1:], flow)
    torch.testing.assert_close(warped[..., 2:], clip[:-1][..., 2:], atol=1e-5, rtol=0)
    assert not inside[..., :2].any() and inside[..., 2:].all()


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 2 frames"):
        optical_flow(torch.zeros(1, 3, 16, 16))
    with pytest.raises(InvalidInputError, match="f, 3, h, w"):
        optical_flow(torch.zeros(4, 16, 16, 3))
