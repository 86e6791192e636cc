"""What VideoCrafter and Stable Diffusion share: CLIP's texts, an autoencoder of single frames, the noise of DDPM."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from stylecrafter.backbones.clip_texts import check_ids, check_tokenizer
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.texts import Texts
from stylecrafter.errors import InvalidInputError

#: Pixels per latent of all published models of these families: where there is no autoencoder to ask.
PUBLISHED_PIXELS_PER_LATENT = 8


class LatentDiffusion(Backbone):
    """Components `vae`, `text_encoder`, `tokenizer`, `unet`, `scheduler`.

    A text's states are the text encoder's `last_hidden_state`. Of the scheduler, the noise levels and the
    `prediction_type` count here: training adds noise as DDPM does, whichever sampler is chosen.
    """

    @property
    def text_dim(self) -> int:
        return int(self.denoiser.config["cross_attention_dim"])

    @property
    def latent_channels(self) -> int:
        return int(self.denoiser.config["in_channels"])

    @property
    def pixels_per_latent(self) -> int:
        vae = self.components.get("vae")
        return PUBLISHED_PIXELS_PER_LATENT if vae is None else _halvings(vae.config)

    def default_knobs(self) -> dict[str, Any]:
        size = self.denoiser.config.get("sample_size")
        if size is None:
            return super().default_knobs()
        height, width = (size, size) if isinstance(size, int) else size
        factor = self.pixels_per_latent
        return {"height": height * factor, "width": width * factor, **super().default_knobs()}

    @property
    def size_multiple(self) -> int:
        return self.pixels_per_latent * _halvings(self.denoiser.config)

    def check(self) -> None:
        channels = self.latent_channels
        if channels != self.denoiser.config["out_channels"]:
            raise InvalidInputError(
                f"the UNet reads {channels} channels and gives {self.denoiser.config['out_channels']}; models that "
                "read more than noisy latents (for inpainting, say) cannot be used"
            )
        vae = self.components.get("vae")
        if vae is not None and vae.config.latent_channels != channels:
            raise InvalidInputError(
                f"the autoencoder has latents of {vae.config.latent_channels} channels, the UNet reads {channels}"
            )
        self.check_texts()

    def check_texts(self) -> None:
        """Refuse a text encoder or tokenizer of another model.

        Raises:
            InvalidInputError: It is.
        """
        text_encoder = self.components.get("text_encoder")
        if text_encoder is not None:
            given = text_encoder.config.hidden_size
            if given != self.text_dim:
                raise InvalidInputError(
                    f"the text encoder gives width {given}, the UNet reads width {self.text_dim}"
                )
            if self.components.get("tokenizer") is not None:
                check_tokenizer(self.component("tokenizer"), text_encoder)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        ids = self.padded(texts, "tokenizer")
        if self.components.get("text_encoder") is not None:
            check_ids(ids, self.component("text_encoder"))
        return ids

    def padded(self, texts: Sequence[str], tokenizer: str) -> Tensor:
        """Token ids (n, l) of texts by the tokenizer of that name, l its `model_max_length`."""
        read = self.component(tokenizer)
        return read(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids

    def encode_tokens(self, ids: Tensor) -> Tensor:
        return self.component("text_encoder")(input_ids=ids).last_hidden_state

    def encode_texts(self, texts: Sequence[str], device: torch.device) -> Texts:
        if not self.pipelines:
            return super().encode_texts(texts, device)
        self.tokenize(texts)  # refuses a tokenizer of another text encoder
        self.component("text_encoder")
        states, _ = self.text_pipeline().encode_prompt(list(texts), device, 1, False)
        return Texts(states)

    def text_pipeline(self) -> Any:
        """The base pipeline of the text's components alone: whole ones put schedulers right to their own mind."""
        own = {k: v for k, v in self.components.items() if k.startswith(("text_encoder", "tokenizer"))}
        return type(self)(**own).base_pipeline()

    def cut_off(self, text: str) -> tuple[str, int, int]:
        tokenizer = self.component("tokenizer")
        room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return tokenizer.decode(ids[room:]) if len(ids) > room else "", len(ids), room

    @contextmanager
    def autoencoder(self) -> Iterator[Any]:
        """The autoencoder as it can compute, for as long as this lasts."""
        yield self.component("vae")

    def scaled(self, latents: Tensor) -> Tensor:
        """Latents of the autoencoder (…, c, h, w) as the denoiser sees them."""
        if (norm := self._norm_of(latents)) is not None:
            latents = (latents - norm[0]) / norm[1]
        return latents * self.component("vae").config.scaling_factor

    def unscaled(self, latents: Tensor) -> Tensor:
        """Latents (n, c, f, h, w) of the denoiser as the autoencoder sees them."""
        norm = self._norm_of(latents)
        latents = latents / self.component("vae").config.scaling_factor
        return latents if norm is None else latents * norm[1] + norm[0]

    def _norm_of(self, latents: Tensor) -> list[Tensor] | None:
        """Mean and deviation per channel that some autoencoders for SDXL come with."""
        config, ones = self.component("vae").config, [1] * (latents.ndim - 2)
        values = config.get("latents_mean"), config.get("latents_std")
        if None in values:
            return None
        return [torch.tensor(v, device=latents.device).view(1, -1, *ones).to(latents) for v in values]

    def encode_frames(self, frames: Tensor, noise: Tensor | None = None) -> Tensor:
        n, f, _, height, width = frames.shape
        self.latent_shape(f, height, width)
        with self.autoencoder() as vae:
            posterior = vae.encode((frames.flatten(0, 1) * 2 - 1).to(vae.dtype)).latent_dist
        latents = posterior.mean
        if noise is not None:
            latents = latents + posterior.std * noise.transpose(1, 2).flatten(0, 1)
        return self.scaled(latents.float()).unflatten(0, (n, f)).transpose(1, 2)

    def decode_latents(self, latents: Tensor, chunk_size: int | None = None) -> Tensor:
        n, _, f = latents.shape[:3]
        with self.autoencoder() as vae:
            flat = self.unscaled(latents).transpose(1, 2).flatten(0, 1).to(vae.dtype)
            frames = torch.cat([vae.decode(part).sample.float() for part in flat.split(chunk_size or n * f)])
        return (frames / 2 + 0.5).unflatten(0, (n, f))

    @property
    def num_train_timesteps(self) -> int:
        return int(self.component("scheduler").config.num_train_timesteps)

    @functools.cached_property
    def _noise_levels(self) -> DDPMScheduler:
        # Samplers of other kinds would add noise at the levels of their last call.
        return DDPMScheduler.from_config(self.component("scheduler").config)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return self._noise_levels.add_noise(latents, noise, timesteps)

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        predicted = self.component("scheduler").config.prediction_type
        if predicted == "v_prediction":
            return self._noise_levels.get_velocity(latents, noise, timesteps)
        if predicted == "epsilon":
            return noise
        raise InvalidInputError(f"prediction_type must be epsilon or v_prediction, got {predicted!r}")


def _halvings(config: Any) -> int:
    return int(2 ** (len(config["block_out_channels"]) - 1))
