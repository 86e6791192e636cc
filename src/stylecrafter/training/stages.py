"""The stages of a text-to-video model and its style adapter: what trains, on which mix, with which loss.

    base      text-to-video UNet, on plain pictures and clips and on styled pictures with full captions
    adapter   stage 1 of the paper: the style adapter alone, on styled pictures with decoupled captions
    temporal  stage 2 of the paper: the temporal layers alone, on styled pictures (a fifth of the steps) and
              plain clips

All of them minimise the plain mean squared error of the scheduler's prediction type (noise or velocity).
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits, world
from stylecrafter.training.encoders import image_tokens, normalise_for_clip, step_generator
from stylecrafter.training.trainer import freeze_all_but


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The models that a stage works with; which of them move is the stage's matter."""

    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    image_encoder: CLIPVisionModel
    unet: VideoCrafterUNet
    scheduler: DDIMScheduler
    style_adapter: StyleAdapter | None = None

    def modules(self) -> list[nn.Module]:
        models = [self.vae, self.text_encoder, self.image_encoder, self.unet]
        return models + ([self.style_adapter] if self.style_adapter is not None else [])


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """Sizes and mixes of a diffusion stage."""

    image_size: int
    image_batch: int
    clip_batch: int = 0
    num_frames: int = 16
    clip_ratio: float = 0.0
    """Part of the steps that show clips; the others show pictures of one frame."""
    styled_ratio: float = 0.5
    """Part of the pictures of a base batch that are styled (with full captions)."""
    text_dropout: float = 0.0
    """Part of the captions replaced by the empty one; a frozen base needs none."""
    cross_reference_ratio: float = 0.0
    """Part of the style references that show other content in the same style; the rest is a crop of the target."""
    middle_timesteps: bool = False
    """Draw timesteps logit-normally (most of them in the middle, where shapes are decided) instead of uniformly."""
    train_text_encoder: bool = False
    """Whether the base stage trains the text encoder along. One that learned from a small contrastive run forgets the
    object of a caption as soon as a style is named, because the style alone tells its pictures apart."""
    unnamed_style_ratio: float = 0.0
    """Part of the styled pictures of a base batch whose caption names the content only."""
    picture_reuse: int = 1
    """How many steps see each drawn picture, with new noise and timesteps each time. Drawing and encoding a picture
    costs as much as a third of a step on it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.image_batch < 1 or self.picture_reuse < 1:
            raise InvalidInputError(
                f"image_batch and picture_reuse must be at least 1, got {self.image_batch} and {self.picture_reuse}"
            )
        ratios = (
            "clip_ratio",
            "styled_ratio",
            "text_dropout",
            "cross_reference_ratio",
            "unnamed_style_ratio",
        )
        for name in ratios:
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.clip_ratio > 0 and self.clip_batch < 1:
            raise InvalidInputError(
                f"clip_ratio {self.clip_ratio} needs clip_batch >= 1, got {self.clip_batch}"
            )


@dataclass(frozen=True, kw_only=True)
class DrawnPictures:
    """n pictures as a stage learns from them; all fields have n rows."""

    batch: world.WorldBatch
    latents: torch.Tensor
    """Scaled latents (n, c, 1, h, w)."""
    reference_tokens: torch.Tensor | None = None
    """Image tokens of the style references (n, 1 + patches, w), where the stage has references."""

    def __getitem__(self, rows: torch.Tensor) -> DrawnPictures:
        tokens = self.reference_tokens
        return DrawnPictures(
            batch=self.batch[rows],
            latents=self.latents[rows],
            reference_tokens=None if tokens is None else tokens[rows],
        )

    def references(self) -> torch.Tensor:
        """The image tokens of the style references."""
        if self.reference_tokens is None:
            raise InvalidInputError("these pictures were drawn without style references")
        return self.reference_tokens

    @staticmethod
    def concatenate(parts: list[DrawnPictures]) -> DrawnPictures:
        """The rows of all `parts`, in order."""
        tokens = [part.reference_tokens for part in parts if part.reference_tokens is not None]
        return DrawnPictures(
            batch=world.concatenate([part.batch for part in parts]),
            latents=torch.cat([part.latents for part in parts]),
            reference_tokens=torch.cat(tokens) if tokens else None,
        )


#: What the names of the text encoder's parameters begin with in a base checkpoint; the UNet's have no prefix.
TEXT_ENCODER_PREFIX = "text_encoder."
#: Batches of pictures that are drawn at once where pictures are reused.
POOL_BATCHES = 16


def pool_rows(step: int, batch_size: int, reuse: int, seed: int) -> tuple[int, torch.Tensor]:
    """Which pool a step takes its pictures from, and which rows of it: every row of a pool is used `reuse` times.

    Returns:
        The number of the pool (pools follow one another), and `batch_size` of its rows.
    """
    if reuse == 1:
        return step, torch.arange(batch_size)
    pool, step_in_pool = divmod(step, POOL_BATCHES * reuse)
    round_of_pool, batch = divmod(step_in_pool, POOL_BATCHES)
    order = torch.randperm(
        POOL_BATCHES * batch_size, generator=step_generator(seed + 1 + round_of_pool, pool)
    )
    return pool, order[batch * batch_size : (batch + 1) * batch_size]


def prediction_target(
    scheduler: DDIMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the UNet is to predict: the noise, or the velocity of Salimans and Ho (2022)."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(latents, noise, timesteps)
    if scheduler.config.prediction_type == "epsilon":
        return noise
    raise InvalidInputError(
        f"prediction_type must be epsilon or v_prediction, got {scheduler.config.prediction_type!r}"
    )


def draw_timesteps(n: int, steps: int, middle: bool, generator: torch.Generator) -> torch.Tensor:
    """n timesteps in 0 … steps - 1, in random order, one per stratum of equal probability (which lowers the variance).

    Uniform, or logit-normal with mean 0 and deviation 1 (Esser et al., 2024).
    """
    quantiles = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    if middle:
        quantiles = torch.sigmoid(torch.special.ndtri(quantiles.clamp(1e-6, 1 - 1e-6)))
    timesteps = (quantiles * steps).long().clamp(max=steps - 1)
    return timesteps[torch.randperm(n, generator=generator)]


def random_crop(pictures: torch.Tensor, generator: torch.Generator, least: float = 0.6) -> torch.Tensor:
    """Square crops of (n, 3, s, s), each of `least` … 1 of the side, resized back to s × s.

    The paper's style augmentation: a large crop keeps the style and loses the layout.
    """
    n = pictures.shape[0]
    side = least + (1 - least) * torch.rand(n, generator=generator)
    offset = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = offset
    where = F.affine_grid(theta.to(pictures.device), list(pictures.shape), align_corners=False)
    return F.grid_sample(
        pictures, where, mode="bicubic", padding_mode="reflection", align_corners=False
    ).clamp(0, 1)


class _DiffusionStage(ABC):
    """What the three stages share: encoding, noise, loss."""

    name: str

    def __init__(self, parts: Parts, config: DiffusionConfig, vocabulary: splits.Vocabulary) -> None:
        self.parts, self.config, self.vocabulary = parts, config, vocabulary
        self._pool: tuple[int, DrawnPictures] | None = None
        freeze_all_but(parts.modules(), self.trainable())

    @abstractmethod
    def trainable(self) -> dict[str, nn.Parameter]:
        """Name -> parameter of everything that moves."""

    @abstractmethod
    def loss(self, step: int) -> torch.Tensor:
        """The loss of a step, a function of seed, step and weights."""

    @abstractmethod
    def _draw_pictures(self, n: int, generator: torch.Generator) -> DrawnPictures:
        """Draw and encode n new pictures."""

    def _pictures(self, step: int, generator: torch.Generator) -> DrawnPictures:
        """The pictures of a step: new ones, or some of a pool that lasts for several steps."""
        size, reuse = self.config.image_batch, self.config.picture_reuse
        if reuse == 1:
            return self._draw_pictures(size, generator)
        number, rows = pool_rows(step, size, reuse, self.config.seed)
        if self._pool is None or self._pool[0] != number:
            # Below zero: streams of randomness that no step uses.
            drawing = step_generator(self.config.seed, -2 - number)
            parts = [self._draw_pictures(size, drawing) for _ in range(POOL_BATCHES)]
            self._pool = number, DrawnPictures.concatenate(parts)
        return self._pool[1][rows]

    def _is_clip_step(self, step: int) -> bool:
        """Whether step shows clips: spread evenly, so that every part of a run has the same mix."""
        ratio = self.config.clip_ratio
        return int((step + 1) * ratio) > int(step * ratio)

    def _encode_text(self, captions: list[str]) -> torch.Tensor:
        """Text states (n, length, d); gradients reach the encoder where the stage trains it."""
        tokens = self.parts.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        encoder = self.parts.text_encoder
        return encoder(input_ids=tokens.input_ids.to(encoder.device)).last_hidden_state.float()

    @torch.no_grad()
    def _encode_frames(self, frames: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n, f, 3, h, w) in [0, 1] -> scaled latents (n, c, f, h/8, w/8)."""
        vae = self.parts.vae
        n, f = frames.shape[:2]
        posterior = vae.encode(frames.flatten(0, 1) * 2 - 1).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean.device)
        latents = (posterior.mean + posterior.std * noise).float() * vae.config.scaling_factor
        return latents.unflatten(0, (n, f)).transpose(1, 2)

    def _denoising_loss(
        self,
        latents: torch.Tensor,
        text: torch.Tensor,
        generator: torch.Generator,
        style_tokens: torch.Tensor | None = None,
        style_scales: torch.Tensor | None = None,
        temporal: bool | None = None,
    ) -> torch.Tensor:
        scheduler, n = self.parts.scheduler, latents.shape[0]
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        timesteps = draw_timesteps(
            n, scheduler.config.num_train_timesteps, self.config.middle_timesteps, generator
        ).to(latents.device)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        predicted = self.parts.unet(
            noisy, timesteps, text, style_tokens, style_scales, temporal=temporal
        ).sample
        return F.mse_loss(predicted.float(), prediction_target(scheduler, latents, noise, timesteps))

    def _generators(self, step: int) -> tuple[torch.Generator, random.Random]:
        return step_generator(self.config.seed, step), random.Random(self.config.seed * 1_000_003 + step)

    def _draw(self, n: int, generator: torch.Generator, *, styled: bool) -> world.WorldBatch:
        return world.sample(n, generator, vocabulary=self.vocabulary, styled=styled)

    def _render(self, batch: world.WorldBatch, num_frames: int = 1) -> torch.Tensor:
        return world.render(batch, self.config.image_size, num_frames, device=self.parts.unet.device)

    def _plain_clip_loss(self, generator: torch.Generator, rng: random.Random) -> torch.Tensor:
        batch = self._draw(self.config.clip_batch, generator, styled=False)
        captions = _drop(batch.content_captions(rng, moving=True), self.config.text_dropout, rng)
        latents = self._encode_frames(self._render(batch, self.config.num_frames), generator)
        return self._denoising_loss(latents, self._encode_text(captions), generator)


def _drop(captions: list[str], ratio: float, rng: random.Random) -> list[str]:
    return ["" if rng.random() < ratio else caption for caption in captions]


class BaseStage(_DiffusionStage):
    """Text-to-video pre-training of the whole UNet, and of the text encoder where the configuration says so.

    It sees styled pictures too, with their style in the caption: the published base was trained on pictures of
    every style, and an adapter can only call up what its frozen base is able to draw.
    """

    name = "base"

    def trainable(self) -> dict[str, nn.Parameter]:
        moving = dict(self.parts.unet.named_parameters())
        if self.config.train_text_encoder:
            for name, value in self.parts.text_encoder.named_parameters():
                moving[TEXT_ENCODER_PREFIX + name] = value
        return moving

    def loss(self, step: int) -> torch.Tensor:
        generator, rng = self._generators(step)
        if self._is_clip_step(step):
            return self._plain_clip_loss(generator, rng)
        drawn = self._pictures(step, generator)
        full = drawn.batch.full_captions(rng, moving=False)
        content = drawn.batch.content_captions(rng, moving=False)
        captions = [
            without if rng.random() < self.config.unnamed_style_ratio else named
            for named, without in zip(full, content, strict=True)
        ]
        text = self._encode_text(_drop(captions, self.config.text_dropout, rng))
        return self._denoising_loss(drawn.latents, text, generator)

    def _draw_pictures(self, n: int, generator: torch.Generator) -> DrawnPictures:
        styled = round(n * self.config.styled_ratio)
        batch = world.concatenate(
            [
                self._draw(count, generator, styled=in_style)
                for count, in_style in ((styled, True), (n - styled, False))
                if count
            ]
        )
        return DrawnPictures(batch=batch, latents=self._encode_frames(self._render(batch), generator))


class AdapterStage(_DiffusionStage):
    """Stage 1: the adapter alone, on styled pictures whose captions name the content only.

    The style reference is a large crop of the target picture itself, as published, or (`cross_reference_ratio`)
    another picture in the same style.
    """

    name = "adapter"
    #: Whether pictures, clips of one frame, pass through the temporal layers.
    pictures_through_time = False

    def trainable(self) -> dict[str, nn.Parameter]:
        if self.parts.style_adapter is None:
            raise InvalidInputError(
                "stage 'adapter' needs a style adapter; build one with StyleAdapter.for_model"
            )
        return dict(self.parts.style_adapter.named_parameters())

    def loss(self, step: int) -> torch.Tensor:
        generator, rng = self._generators(step)
        return self._styled_picture_loss(step, generator, rng)

    def _styled_picture_loss(self, step: int, generator: torch.Generator, rng: random.Random) -> torch.Tensor:
        adapter = self.parts.style_adapter
        if adapter is None:
            raise InvalidInputError(f"stage {self.name!r} needs a style adapter")
        drawn = self._pictures(step, generator)
        text = self._encode_text(drawn.batch.content_captions(rng, moving=False))
        style_tokens = adapter.encode(drawn.references())
        scales = adapter.predict_scales(style_tokens, text)
        return self._denoising_loss(
            drawn.latents, text, generator, style_tokens, scales, self.pictures_through_time
        )

    def _draw_pictures(self, n: int, generator: torch.Generator) -> DrawnPictures:
        batch = self._draw(n, generator, styled=True)
        pictures = self._render(batch)
        references = pictures[:, 0].clone()
        crossed = round(n * self.config.cross_reference_ratio)
        if crossed:
            other = self._draw(crossed, generator, styled=True).in_style_of(batch[:crossed])
            references[:crossed] = self._render(other)[:, 0]
        references = random_crop(references, generator)
        with torch.no_grad():
            tokens = image_tokens(self.parts.image_encoder, normalise_for_clip(references)).float()
        return DrawnPictures(
            batch=batch, latents=self._encode_frames(pictures, generator), reference_tokens=tokens
        )


class TemporalStage(AdapterStage):
    """Stage 2: the temporal layers alone, on plain clips and (1 - `clip_ratio`, published 20 %) styled pictures.

    A picture enters as a clip of one frame; the temporal layers run on it, so that style passes through them.
    """

    name = "temporal"
    pictures_through_time = True

    def trainable(self) -> dict[str, nn.Parameter]:
        moving = {id(value) for value in self.parts.unet.temporal_parameters()}
        return {name: value for name, value in self.parts.unet.named_parameters() if id(value) in moving}

    def loss(self, step: int) -> torch.Tensor:
        generator, rng = self._generators(step)
        if self._is_clip_step(step):
            return self._plain_clip_loss(generator, rng)
        return self._styled_picture_loss(step, generator, rng)
