"""The noise schedule, the DDIM steps and the timestep embedding against the published tables."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.embeddings import Timesteps

from stylecrafter.pipelines.official import published_scheduler
from tests.golden.support import expected


@pytest.fixture(scope="module")
def wanted() -> dict[str, torch.Tensor]:
    return expected("tiny/schedule")


def close(actual: torch.Tensor, wanted: torch.Tensor, atol: float = 1e-6) -> None:
    torch.testing.assert_close(actual.to(wanted.dtype), wanted, rtol=0, atol=atol)


def test_noise_schedule(wanted: dict[str, torch.Tensor]) -> None:
    scheduler = published_scheduler()
    close(scheduler.betas, wanted["betas"])
    close(scheduler.alphas_cumprod, wanted["alphas_cumprod"])


@pytest.mark.parametrize("steps", [5, 25, 50])
def test_timesteps(wanted: dict[str, torch.Tensor], steps: int) -> None:
    scheduler = published_scheduler()
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.flip(0).tolist() == wanted[f"ddim_timesteps_{steps}"].tolist()


def test_a_number_of_steps_that_does_not_divide_1000_is_kept(wanted: dict[str, torch.Tensor]) -> None:
    """The published rule takes 31 steps for 30; here 30 are 30, the first 30 of these 31."""
    scheduler = published_scheduler()
    scheduler.set_timesteps(30)
    assert scheduler.timesteps.flip(0).tolist() == wanted["ddim_timesteps_30"].tolist()[:30]


def test_ddim_tables(wanted: dict[str, torch.Tensor]) -> None:
    scheduler = published_scheduler()
    scheduler.set_timesteps(50)
    steps = scheduler.timesteps.flip(0)
    before = torch.cat([torch.zeros(1, dtype=torch.long), steps[:-1]])
    close(scheduler.alphas_cumprod[steps], wanted["ddim_alphas"])
    close((1 - scheduler.alphas_cumprod[steps]).sqrt(), wanted["ddim_sqrt_one_minus_alphas"])
    # The last step goes to alphas_cumprod[0]; it is the scheduler's final value too.
    close(scheduler.alphas_cumprod[before], wanted["ddim_alphas_prev"])
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]
    variance = torch.stack([scheduler._get_variance(int(t), int(t) - 20) for t in steps])
    close(variance.sqrt(), wanted["ddim_sigmas_eta1"])
    close(0.0 * variance.sqrt(), wanted["ddim_sigmas_eta0"])


@pytest.mark.parametrize("width", [32, 320])
def test_timestep_embedding(wanted: dict[str, torch.Tensor], width: int) -> None:
    embed = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
    # Angles go up to 981, where neighbouring float32 numbers are 6e-5 apart, and processors differ in exp's last bit.
    close(embed(torch.tensor([1, 21, 500, 981])), wanted[f"timestep_embedding_{width}"], atol=1.3e-4)
