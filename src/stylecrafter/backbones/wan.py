"""Wan 2.1, text to video: a diffusion transformer that predicts flow, over latents of four frames each."""

from __future__ import annotations

import os
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from torch import Tensor, nn

from stylecrafter.adapter.style_slot import GivenStyle
from stylecrafter.backbones.flow_matching import FlowMatching
from stylecrafter.backbones.inputs import attached_slot, check_places, rows_per_frame
from stylecrafter.backbones.low_rank import add_matrices, matrices, save_matrices
from stylecrafter.backbones.step_caches import FirstBlock
from stylecrafter.backbones.t5_texts import T5Texts
from stylecrafter.errors import InvalidInputError

#: Pixels per latent as published: where there is no autoencoder to ask.
PUBLISHED_PIXELS_PER_LATENT = 8
#: What stage 2 gives low-rank matrices: attention over the tokens of all frames, which is where time is.
TEMPORAL_LAYERS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")


class Wan(T5Texts, FlowMatching):
    """Components `vae`, `text_encoder`, `tokenizer`, `transformer`, `scheduler`."""

    label = "Wan 2.1"
    denoiser_name = "transformer"
    pipelines = ("WanPipeline",)
    knobs = {
        "steps": 50,
        "frames": 81,
        "height": 480,
        "width": 832,
        "fps": 16.0,
        "text_guidance": 5.0,
        "style_guidance": 4.0,
        "eta": 0.0,
    }
    #: As published for the first-block cache of diffusers and for guidance that is kept (FasterCache, arXiv
    #: 2410.19355); not measured here.
    fast = {"steps": 30, "guidance_every": 2, "skip_threshold": 0.05}
    frames_per_latent = 4
    low_rank_time = True
    style_per_frame = True

    @classmethod
    def accepts(cls, denoiser: Any) -> bool:
        return isinstance(denoiser, WanTransformer3DModel)

    @classmethod
    def objection(cls, base: Any) -> str:
        several = getattr(base, "transformer_2", None) is not None or base.config.get("expand_timesteps")
        kind = "two transformers or a timestep per token, as Wan 2.2 has"
        return f"the base model has {kind}; Wan 2.1 for text to video can be used" if several else ""

    def check(self) -> None:
        config, vae = self.denoiser.config, self.components.get("vae")
        channels = self.latent_channels
        if config.image_dim or config.added_kv_proj_dim or channels != config.out_channels:
            raise InvalidInputError(
                "the transformer reads a picture beside the text, as the image-to-video models of Wan do; only those "
                "for text to video can be used"
            )
        if config.patch_size[0] != 1:
            raise InvalidInputError(f"the transformer joins {config.patch_size[0]} latent frames into one")
        if vae is not None and (vae.config.z_dim, vae.config.scale_factor_temporal) != (channels, 4):
            raise InvalidInputError(
                f"the autoencoder has latents of {vae.config.z_dim} channels for {vae.config.scale_factor_temporal} "
                f"frames, the transformer reads {channels} channels for 4 frames"
            )
        self.check_texts()

    @property
    def text_dim(self) -> int:
        return int(self.denoiser.config.text_dim)

    @property
    def latent_channels(self) -> int:
        return int(self.denoiser.config.in_channels)

    @property
    def pixels_per_latent(self) -> int:
        vae = self.components.get("vae")
        return PUBLISHED_PIXELS_PER_LATENT if vae is None else int(vae.config.scale_factor_spatial)

    @property
    def size_multiple(self) -> int:
        return self.pixels_per_latent * int(max(self.denoiser.config.patch_size[1:]))

    def encode_frames(self, frames: Tensor, noise: Tensor | None = None) -> Tensor:
        vae = self.component("vae")
        self.latent_shape(frames.shape[1], *frames.shape[3:])
        posterior = vae.encode((frames.transpose(1, 2) * 2 - 1).to(vae.dtype)).latent_dist
        latents = posterior.mean if noise is None else posterior.mean + posterior.std * noise
        mean, std = self._moments(latents.device)
        return (latents.float() - mean) / std

    def decode_latents(self, latents: Tensor, chunk_size: int | None = None) -> Tensor:
        vae = self.component("vae")
        mean, std = self._moments(latents.device)
        # The autoencoder goes through the frames by itself; samples one by one need less memory.
        rows = (latents.float() * std + mean).to(vae.dtype).split(1)
        frames = torch.cat([vae.decode(row).sample.float() for row in rows])
        return (frames / 2 + 0.5).transpose(1, 2)

    def _moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation of what the autoencoder gives, (1, c, 1, 1, 1) each."""
        config = self.component("vae").config
        both = torch.tensor([config.latents_mean, config.latents_std], device=device)
        return both[0].view(1, -1, 1, 1, 1), both[1].view(1, -1, 1, 1, 1)

    def predict(
        self,
        latents: Tensor,
        timestep: Tensor | float | int,
        text: Tensor,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        *,
        temporal: bool | None = None,
        **base_arguments: Any,
    ) -> Tensor:
        self.check_inputs(latents, text, style_tokens, style_scales)
        n, _, frames, height, width = latents.shape
        if frames > 1 and temporal is False:
            raise InvalidInputError(f"{self.label} has no layers between frames that could be left out")
        if height % (rows := self.denoiser.config.patch_size[1]) or width % rows:
            raise InvalidInputError(f"latents must have sides that {rows} divides, got {height} x {width}")
        check_places((frames, height // rows, width // rows), self.denoiser.config.rope_max_seq_len)
        times = torch.as_tensor(timestep, device=latents.device).expand(n)
        if style_tokens is None:
            return self.denoiser(latents, times, text, **base_arguments).sample
        slot = attached_slot(self.denoiser)
        if self.denoiser.is_gradient_checkpointing:
            self.denoiser.enable_gradient_checkpointing(slot.checkpointed)
        if style_tokens.ndim == 4:
            _, style_tokens, style_scales = rows_per_frame(text, style_tokens, style_scales)
            frames = 1
        with slot.holding(GivenStyle(style_tokens, style_scales, frames)):
            return self.denoiser(latents, times, text, **base_arguments).sample

    def block_cache(self, threshold: float) -> FirstBlock:
        return FirstBlock(self.denoiser, threshold)

    def add_temporal_lora(self, rank: int) -> None:
        add_matrices(self.denoiser, TEMPORAL_LAYERS, rank)

    def temporal_parameters(self) -> dict[str, nn.Parameter]:
        return matrices(self.denoiser)

    def save_temporal_lora(self, folder: str | os.PathLike[str]) -> None:
        save_matrices(self.denoiser, WanPipeline, folder)
