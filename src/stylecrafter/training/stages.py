"""The stages of training: what trains, on which mix, with which loss.

    autoencoder, clip   the frozen parts of a model of our own (`encoder_stages`)
    base                the base model itself, on pictures and clips with captions that say everything
    adapter             stage 1 of the paper: the style adapter alone, on styled pictures with decoupled captions
    extractor           what reads the style out of a picture alone, on a few pictures of one's own
    temporal            stage 2 of the paper: the temporal layers alone, on styled pictures (a fifth of the steps)
                        and plain clips
    joint               the paper's alternative: adapter and temporal layers in one stage, on the mix of stage 2

The denoising stages know a base model by what it answers (`backbones.protocol`) alone, and minimise the plain mean
squared error of what it predicts (noise, velocity or flow).
Whether captions are decoupled and what the style references show is the data's matter (`data/`).
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from stylecrafter.backbones.protocol import Backbone
from stylecrafter.data.batch import BatchSource, TrainingBatch
from stylecrafter.errors import InvalidInputError
from stylecrafter.runtime.devices import to_device
from stylecrafter.runtime.seeding import step_generator
from stylecrafter.training.batch_shares import WHOLE, Shard
from stylecrafter.training.diffusion import (
    clip_noise,
    clip_steps_before,
    draw_timesteps,
    scale_logits_penalty,
)
from stylecrafter.training.graphs import StageInputs
from stylecrafter.training.latent_cache import EncodedBatch, LatentCache
from stylecrafter.training.parts import Parts, freeze_all_but, prefixed, refuse_unread
from stylecrafter.training.settings import AnySeed, Count, Positive, Ratio, StageSettings, Weight


class Stage(Protocol):
    """One stage of training: which parameters move, and the loss of a step."""

    @property
    def name(self) -> str: ...

    def models(self) -> dict[str, nn.Module]:
        """Name -> model of everything that the loss runs through."""
        ...

    def trainable(self) -> dict[str, nn.Parameter]:
        """Name ("unet.…") -> parameter of everything that moves; nothing else does."""
        ...

    def sources(self) -> dict[str, BatchSource]:
        """Name -> source of everything that the stage is shown."""
        ...

    def inputs(self, step: int, shard: Shard = WHOLE) -> StageInputs:
        """What a shard of step number `step` is computed from: a function of the seed and the step, and of frozen
        weights."""
        ...

    def compute(self, inputs: Any) -> torch.Tensor:
        """The mean loss on `inputs`: the same operations for all inputs of one `graphs.kind_of`, so that they can be
        captured. What is random or depends on the host lies in the inputs."""
        ...

    def loss(self, step: int, shard: Shard = WHOLE) -> torch.Tensor:
        """The mean loss of a shard of step number `step`: a function of the seed, the step and the weights."""
        ...


@dataclass(frozen=True, kw_only=True)
class NoisyInputs:
    """What a denoising step is computed from, n rows of everything."""

    noisy: torch.Tensor
    """Latents with noise (n, c, f, h, w)."""
    timesteps: torch.Tensor
    """(n,)"""
    target: torch.Tensor
    """What is to be predicted (n, c, f, h, w)."""
    token_ids: torch.Tensor
    """The captions (n, …), as `Backbone.tokenize` gives them."""
    reference_tokens: torch.Tensor | None
    """Image tokens of the style references (n, 1 + patches, w), where there are any."""
    through_time: bool | None
    """Whether the temporal layers run; None: if there is more than one frame."""


class DiffusionConfig(StageSettings):
    """Mix and conditioning of a denoising stage."""

    clip_ratio: Ratio | None = None
    """Part of the steps that show clips; the others show pictures of one frame. None: the stage's own
    (`DiffusionStage.published_clip_ratio`)."""
    text_dropout: Ratio = 0.0
    """Part of the captions replaced by the empty one; a frozen base needs none."""
    logit_normal_ratio: Ratio = 0.0
    """Part of the timesteps drawn logit-normally (most of them in the middle, where shapes are decided); the others are
    uniform, without which the finest channels of latents stay noisy."""
    timestep_shift: Positive = 1.0
    """Moves the timesteps of pictures to noisier ones (`diffusion.draw_timesteps`): where an object is to stand is
    decided while nothing of it can be seen yet."""
    clip_timestep_shift: Positive = 1.0
    """The same for clips: where an object moves to is decided there too."""
    shared_noise: Ratio = 0.0
    """Clips: the frames of each share up to this part of their noise's variance (`diffusion.clip_noise`), a part drawn
    for every clip, so that any part up to it can be asked for when sampling."""
    train_text_encoder: bool = False
    """Whether the base stage trains the text encoder along. One that learned from a small contrastive run forgets the
    object of a caption as soon as a style is named, because the style alone tells its pictures apart."""
    noise_offset: Weight = 0.0
    """Deviation of what the noise of a channel has in common at all places, on top of its own
    (`diffusion.clip_noise`): lets a model change how bright a whole picture is."""
    picture_reuse: Count = 1
    """How many steps see each picture (`latent_cache.LatentCache`)."""
    clip_reuse: Count = 1
    """How many steps see each clip."""
    scale_penalty: Weight = 0.0
    """Weight of `diffusion.scale_logits_penalty` beside the denoising loss (ours; the paper names none). Without it the
    predicted factors of a small model all end at 2, for every picture and prompt."""
    lora_rank: Count = 32
    """Stages temporal and joint, on a base model whose whole temporal layers would be too large (Wan 2.1): the rank of
    the matrices that are trained in their place."""
    seed: AnySeed = 0


class DiffusionStage(ABC):
    """What the denoising stages share: encoding, noise, loss.

    Args:
        parts: The models. Exactly those parameters that `trainable` names get gradients afterwards.
        config: Mix and conditioning.
        pictures: Where pictures come from; not needed at clip_ratio 1.
        clips: Where clips come from; not needed at clip_ratio 0.

    Raises:
        InvalidInputError: `clip_ratio` asks for pictures or clips that nobody gives, or leaves out those that somebody
            does; or an adapter is missing.
    """

    name: ClassVar[str]
    #: `clip_ratio` where the configuration names none.
    published_clip_ratio: ClassVar[float] = 0.0
    #: Whether pictures, clips of one frame, pass through the temporal layers.
    pictures_through_time: ClassVar[bool | None] = None

    def __init__(
        self,
        parts: Parts,
        config: DiffusionConfig,
        *,
        pictures: BatchSource | None = None,
        clips: BatchSource | None = None,
    ) -> None:
        ratio = self.published_clip_ratio if config.clip_ratio is None else config.clip_ratio
        for what, given, part in (("pictures", pictures, 1 - ratio), ("clips", clips, ratio)):
            if part > 0 and given is None:
                raise InvalidInputError(f"stage {self.name!r}: clip_ratio {ratio:g} needs {what}")
            if part == 0 and given is not None:
                raise InvalidInputError(
                    f"stage {self.name!r} is given {what}, but at clip_ratio {ratio:g} it shows none of them; "
                    "set options.clip_ratio, or leave them out"
                )
        self.parts, self.config, self.pictures, self.clips = parts, config, pictures, clips
        self.clip_ratio = ratio
        if parts.style_adapter is not None:
            refuse_unread(parts.style_adapter)
        self._pictures = None if pictures is None else self._cached(pictures, config.picture_reuse)
        self._clips = None if clips is None else self._cached(clips, config.clip_reuse)
        self._no_caption: torch.Tensor | None = None
        freeze_all_but(self.models().values(), self.trainable())

    @abstractmethod
    def trainable(self) -> dict[str, nn.Parameter]: ...

    def models(self) -> dict[str, nn.Module]:
        return self.parts.models()

    def sources(self) -> dict[str, BatchSource]:
        given = {"pictures": self.pictures, "clips": self.clips}
        return {name: source for name, source in given.items() if source is not None}

    def denoisers(self) -> dict[str, nn.Module]:
        """The models that `compute` runs through; the others encode what it is given."""
        return {k: v for k, v in self.models().items() if k not in ("vae", "image_encoder")}

    def loss(self, step: int, shard: Shard = WHOLE) -> torch.Tensor:
        return self.compute(self.inputs(step, shard))

    def inputs(self, step: int, shard: Shard = WHOLE) -> NoisyInputs:
        # Sources are asked for batch 0, 1, 2 … without gaps, or they could not show every record once per epoch.
        clips_before = clip_steps_before(step, self.clip_ratio)
        if clip_steps_before(step + 1, self.clip_ratio) > clips_before and self._clips is not None:
            pool, index, through_time = self._clips, clips_before, None
        elif self._pictures is not None:
            pool, index, through_time = self._pictures, step - clips_before, self.pictures_through_time
        else:
            raise InvalidInputError(f"stage {self.name!r} has no pictures for step {step}")
        rows = shard.rows(pool.batch_size)
        return self._noisy(pool.batch(index, rows), step, rows, pool.batch_size, through_time=through_time)

    def compute(self, inputs: NoisyInputs) -> torch.Tensor:
        """Mean squared error of the prediction, and the penalty on factors where it has a weight."""
        backbone = self.parts.backbone
        text = backbone.encode_tokens(inputs.token_ids).to(backbone.dtype)
        style_tokens, style_scales = self._style(inputs, text)
        predicted = backbone.predict(
            inputs.noisy.to(backbone.dtype),
            inputs.timesteps,
            text,
            style_tokens,
            style_scales,
            temporal=inputs.through_time,
            **backbone.text_arguments(inputs.token_ids),
        )
        loss = F.mse_loss(predicted.float(), inputs.target)
        if self.config.scale_penalty and style_scales is not None:
            loss = loss + self.config.scale_penalty * scale_logits_penalty(style_scales)
        return loss

    @property
    def device(self) -> torch.device:
        return self.parts.backbone.device

    def _cached(self, source: BatchSource, reuse: int) -> LatentCache:
        return LatentCache(
            lambda index, rows: self._encode(source.batch(index, rows), index, rows, source),
            source.batch_size,
            reuse,
            self.config.seed,
        )

    @torch.no_grad()
    def _encode(self, batch: TrainingBatch, index: int, rows: slice, source: BatchSource) -> EncodedBatch:
        """Latents and image tokens of a batch; the sampling noise of the autoencoder is the whole batch's, cut."""
        backbone, frames = self.parts.backbone, to_device(batch.frames, self.device)
        c, f, h, w = backbone.latent_shape(frames.shape[1], *frames.shape[-2:])
        # Streams of randomness below zero: no step's noise is drawn from them.
        generator = step_generator(self.config.seed, -2 - index, self.device)
        noise = torch.randn((source.batch_size, f, c, h, w), generator=generator, device=self.device)[rows]
        latents = backbone.encode_frames(frames, noise.transpose(1, 2))
        tokens = None
        if batch.references is not None and self.parts.style_adapter is not None:
            tokens = self.parts.references.tokens(to_device(batch.references, self.device)).float()
        return EncodedBatch(
            latents=latents, token_ids=self._token_ids(batch.captions), reference_tokens=tokens
        )

    def _token_ids(self, captions: list[str]) -> torch.Tensor:
        return to_device(self.parts.backbone.tokenize(captions), self.device)

    def _noisy(
        self, encoded: EncodedBatch, step: int, rows: slice, total: int, *, through_time: bool | None
    ) -> NoisyInputs:
        """Fresh noise, timesteps and left out captions, drawn for all `total` rows, then cut."""
        generator, rng = step_generator(self.config.seed, step), random.Random(self.config.seed * 7919 + step)
        dropped = [rng.random() < self.config.text_dropout for _ in range(total)][rows]
        backbone, latents, token_ids = self.parts.backbone, encoded.latents, encoded.token_ids
        # Drawn where it is needed: an accelerator would wait for the copy at every step.
        device = latents.device
        if any(dropped):
            if self._no_caption is None:
                self._no_caption = self._token_ids([backbone.no_text])
            left_out = to_device(torch.tensor(dropped), device)
            # A base with several tokenizers has ids of all of them in a row of more than one axis.
            left_out = left_out.view(-1, *[1] * (token_ids.ndim - 1))
            token_ids = torch.where(left_out, self._no_caption, token_ids)
        own = generator if device.type == "cpu" else step_generator(self.config.seed, step, device)
        shape, config = (total, *latents.shape[1:]), self.config
        noise = clip_noise(shape, config.shared_noise, own, config.noise_offset)[rows]
        drawn = draw_timesteps(
            total,
            backbone.num_train_timesteps,
            self.config.logit_normal_ratio,
            generator,
            self.config.clip_timestep_shift if latents.shape[2] > 1 else self.config.timestep_shift,
        )
        timesteps = to_device(drawn[rows], device)
        return NoisyInputs(
            noisy=backbone.add_noise(latents, noise, timesteps),
            timesteps=timesteps,
            target=backbone.target(latents, noise, timesteps),
            token_ids=token_ids,
            reference_tokens=encoded.reference_tokens,
            through_time=through_time,
        )

    def _style(
        self, inputs: NoisyInputs, text: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Style tokens (n, q, d) and scales (n, L) of rows that have references; none otherwise."""
        if inputs.reference_tokens is None or self.parts.style_adapter is None:
            return None, None
        adapter = self.parts.adapter()
        tokens = adapter.encode(inputs.reference_tokens.to(text.dtype))
        return tokens, adapter.predict_scales(tokens, text)


class BaseStage(DiffusionStage):
    """Text-to-video pre-training of the whole denoiser, and of the text encoder where the configuration says so.

    It should see styled pictures too, with their style in the caption: the published base was trained on pictures of
    every style, and an adapter can only call up what its frozen base is able to draw.
    """

    name = "base"

    def trainable(self) -> dict[str, nn.Parameter]:
        backbone = self.parts.backbone
        moving = prefixed(backbone.denoiser_name, backbone.denoiser.named_parameters())
        if self.config.train_text_encoder:
            moving |= prefixed("text_encoder", backbone.component("text_encoder").named_parameters())
        return moving

    def _style(self, inputs: NoisyInputs, text: torch.Tensor) -> tuple[None, None]:
        return None, None


class AdapterStage(DiffusionStage):
    """Stage 1: the adapter alone, on styled pictures whose captions name the content only.

    The style reference is a large crop of the target picture itself, as published, or another picture in the same
    style where the data has one.
    """

    name = "adapter"
    pictures_through_time = False

    def trainable(self) -> dict[str, nn.Parameter]:
        return prefixed("style_adapter", self.parts.adapter().named_parameters())


class ExtractorStage(DiffusionStage):
    """The adapter's extractor alone, which turns a picture into style tokens: for a few pictures of one's own.

    What the tokens do in the layers of the base, and how strongly, stays as many styles have taught it. Compared with
    the whole adapter, which the paper trains, in docs/training.md. Ours.
    """

    name = "extractor"
    pictures_through_time = False

    def trainable(self) -> dict[str, nn.Parameter]:
        return prefixed("style_adapter.extractor", self.parts.adapter().extractor.named_parameters())


class TemporalStage(DiffusionStage):
    """Stage 2: the temporal layers alone, on plain clips and (1 - `clip_ratio`, published 20 %) styled pictures.

    Where whole layers are too large, low-rank matrices in them (`Backbone.add_temporal_lora`). A picture
    enters as a clip of one frame; the temporal layers run on it, so that style passes through them.
    """

    name = "temporal"
    published_clip_ratio = 0.8
    pictures_through_time = True

    def trainable(self) -> dict[str, nn.Parameter]:
        self.parts.adapter()
        return temporal_layers(self.parts.backbone)


class JointStage(DiffusionStage):
    """Adapter and temporal layers together, on the mix of stage 2: the paper's alternative to two stages."""

    name = "joint"
    published_clip_ratio = 0.8
    pictures_through_time = True

    def trainable(self) -> dict[str, nn.Parameter]:
        own = prefixed("style_adapter", self.parts.adapter().named_parameters())
        return own | temporal_layers(self.parts.backbone)


def temporal_layers(backbone: Backbone) -> dict[str, nn.Parameter]:
    """Name -> parameter of the base model's temporal layers, or of the low-rank matrices in their place, which
    `Backbone.add_temporal_lora` has put there.

    Raises:
        InvalidInputError: It has none.
    """
    found = backbone.temporal_parameters()
    if not found:
        raise InvalidInputError(
            f"{backbone.label} has no temporal layers, which stages 'temporal' and 'joint' train; on such a base "
            "model the adapter is all that there is to train: stage 'adapter'"
        )
    return prefixed(backbone.denoiser_name, found.items())


DIFFUSION_STAGES: dict[str, type[DiffusionStage]] = {
    stage.name: stage for stage in (BaseStage, AdapterStage, ExtractorStage, TemporalStage, JointStage)
}
