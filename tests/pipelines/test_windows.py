from __future__ import annotations

import pytest
import torch

from stylecrafter.pipelines.windows import over_windows, plan_windows, window_weights


@pytest.mark.parametrize(("frames", "size"), [(5, 0), (5, 5), (5, 9), (1, 1)])
def test_a_clip_that_fits_is_one_window(frames: int, size: int) -> None:
    assert plan_windows(frames, size) == (slice(0, frames),)


@pytest.mark.parametrize(("frames", "size"), [(17, 16), (40, 16), (100, 16), (7, 2), (9, 1), (33, 5)])
def test_windows_have_one_size_cover_everything_and_overlap(frames: int, size: int) -> None:
    windows = plan_windows(frames, size)
    assert {window.stop - window.start for window in windows} == {size}
    assert (windows[0].start, windows[-1].stop) == (0, frames)
    shared = [a.stop - b.start for a, b in zip(windows, windows[1:], strict=False)]
    assert min(shared) >= min(size // 4, size - 1)
    # No more of them than it takes.
    assert len(windows) <= 1 + -(-(frames - size) // max(1, size - -(-size // 4)))
    total = torch.zeros(frames)
    for window, weight in zip(windows, window_weights(windows), strict=True):
        assert bool((weight > 0).all())
        total[window] += weight
    torch.testing.assert_close(total, torch.ones(frames))


def test_weights_rise_and_fall_over_what_is_shared() -> None:
    first, second = window_weights(plan_windows(6, 4, overlap=0.5))
    torch.testing.assert_close(first, torch.tensor([1, 1, 2 / 3, 1 / 3]))
    torch.testing.assert_close(second, first.flip(0))


def test_one_window_is_the_prediction_itself() -> None:
    latents = torch.randn(1, 2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    answer = latents * 3
    assert over_windows(plan_windows(5, 0), latents, lambda part, window: answer) is answer


def test_what_does_not_differ_between_windows_is_as_without_them() -> None:
    latents = torch.randn(1, 2, 23, 3, 3, generator=torch.Generator().manual_seed(0))
    seen = []

    def predict(part: torch.Tensor, window: slice) -> torch.Tensor:
        seen.append(part.shape[2])
        assert torch.equal(part, latents[:, :, window])
        return part * 2

    torch.testing.assert_close(over_windows(plan_windows(23, 8), latents, predict), latents * 2)
    assert set(seen) == {8}
