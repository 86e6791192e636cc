"""What bases share that predict flow: straight lines from latents to noise."""

from __future__ import annotations

from torch import Tensor

from stylecrafter.backbones.protocol import Backbone


class FlowMatching(Backbone):
    """Noisy latents are (1 - σ) latents + σ noise, the prediction is noise - latents.

    Timestep t is the noise level σ = t / `num_train_timesteps`. A recipe says which levels are trained how often
    (`clip_timestep_shift`), the scheduler's config which ones sampling goes through (`shift`, `flow_shift`).
    """

    @property
    def num_train_timesteps(self) -> int:
        return int(self.component("scheduler").config.num_train_timesteps)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        levels = (timesteps.float() / self.num_train_timesteps).to(latents.dtype)
        return latents.lerp(noise, levels.view(-1, *[1] * (latents.ndim - 1)))

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise - latents
