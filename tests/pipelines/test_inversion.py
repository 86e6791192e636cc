from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from stylecrafter.backbones.videocrafter import VideoCrafter
from stylecrafter.pipelines.inversion import distinct, final_ratio, invert
from stylecrafter.pipelines.schedulers import make_scheduler
from stylecrafter.pipelines.video_to_video import noisy_latents
from tests.tiny import TEXT_LENGTH, WIDTH, tiny_components


class FlowCrafter(VideoCrafter):
    """The same denoiser, taken for one that was trained by flow matching."""

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        sigma = timesteps[:, None, None, None, None] / 1000
        return (1 - sigma) * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise - latents


def distance(scheduler, backbone: VideoCrafter, steps: int, start_at: float) -> float:
    """How far sampling from inverted latents ends from where they came, in deviations of the latents."""
    generator = torch.Generator().manual_seed(1)
    clean = torch.randn(2, 4, 3, 8, 8, generator=generator)
    text = torch.randn(2, TEXT_LENGTH, WIDTH, generator=generator)

    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        return backbone.predict(latents, timestep, text)

    scheduler.set_timesteps(steps)
    begin = round(steps * (1 - start_at))
    times = scheduler.timesteps[begin:]
    noise = invert(backbone, predict, clean, times, final_ratio(scheduler))
    latents = noisy_latents(scheduler, clean, noise, begin)
    for t in times:
        latents = scheduler.step(predict(latents, t), t, latents).prev_sample
    return float((latents - clean).square().mean().sqrt())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
@torch.no_grad()
def test_sampling_without_guidance_draws_the_clip_again(kind: str) -> None:
    flow = kind == "flow"
    parts = tiny_components(prediction_type="epsilon" if flow else kind)
    backbone = FlowCrafter(**parts) if flow else VideoCrafter(**parts)
    scheduler = (
        FlowMatchEulerDiscreteScheduler() if flow else DDIMScheduler.from_config(parts["scheduler"].config)
    )
    few, some, many = (distance(scheduler, backbone, steps, 0.6) for steps in (5, 10, 40))
    assert many < some < few < 0.5
    assert many < 0.03


@pytest.mark.parametrize("name", ["dpm++", "euler", "heun", "unipc", "deis"])
@torch.no_grad()
def test_with_samplers_of_every_kind(name: str) -> None:
    parts = tiny_components()
    scheduler = make_scheduler(name, parts["scheduler"].config)
    generator = torch.Generator().manual_seed(1)
    clean = torch.randn(1, 4, 1, 4, 4, generator=generator)
    wanted = torch.randn(1, 4, 1, 4, 4, generator=generator)
    # A model that always sees the same noise: its clips are straight lines, which any sampler follows.
    scheduler.set_timesteps(8)
    times = scheduler.timesteps[4 * scheduler.order :]
    noise = invert(VideoCrafter(**parts), lambda latents, t: wanted, clean, times, final_ratio(scheduler))
    torch.testing.assert_close(noise, wanted, rtol=0, atol=1e-4)


def test_where_samplers_end() -> None:
    config = tiny_components()["scheduler"].config
    ends_noisy = DDIMScheduler.from_config(config)
    assert 0.02 < final_ratio(ends_noisy) < 0.05
    assert final_ratio(DDIMScheduler.from_config(config, set_alpha_to_one=True)) == 0
    assert final_ratio(make_scheduler("euler", config)) == 0


def test_timesteps_that_are_taken_twice_are_asked_once() -> None:
    times = torch.tensor([900.4, 500.6, 500.6, 100.0, 100.0])
    assert [int(t) for t in distinct(list(times))] == [900, 501, 100]
