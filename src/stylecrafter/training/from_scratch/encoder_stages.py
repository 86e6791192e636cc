"""Stages for the frozen parts of a model of our own: the autoencoder, its decoder alone, and CLIP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from stylecrafter.backbones.autoencoder import ShortcutAutoencoder
from stylecrafter.data.batch import BatchSource
from stylecrafter.errors import InvalidInputError
from stylecrafter.references.preprocessing import normalise_for_clip
from stylecrafter.runtime.devices import to_device
from stylecrafter.runtime.seeding import step_generator
from stylecrafter.training.batch_shares import WHOLE, Shard, gather_rows
from stylecrafter.training.from_scratch.picture_stage import PictureStage
from stylecrafter.training.from_scratch.texture_loss import texture_loss
from stylecrafter.training.parts import freeze_all_but, prefixed
from stylecrafter.training.settings import AnySeed, StageSettings, Weight

STYLE_TEMPERATURE = 0.07
#: Pictures that the linear shortcuts of an autoencoder are fitted to.
FITTED_PICTURES = 480


class AutoencoderConfig(StageSettings):
    """Loss of the autoencoder."""

    kl_weight: Weight = 1e-5
    """Weight of the KL divergence per latent value."""
    texture_weight: Weight = 0.0
    """Weight of `texture_loss`; without it fine textures come out as flat means."""
    seed: AnySeed = 0
    """Of the noise on the latents."""


class DecoderConfig(StageSettings):
    """Loss of the decoder."""

    latent_noise: Weight = 0.3
    """The most noise on the latents, as a deviation; those have unit variance as the UNet sees them."""
    texture_weight: Weight = 0.0
    """Weight of `texture_loss`."""
    seed: AnySeed = 0
    """Of the noise on the latents."""


class ClipConfig(StageSettings):
    """Loss of CLIP."""

    style_weight: Weight = 0.0
    """Weight of the term between pictures and their references."""


@dataclass(frozen=True, kw_only=True)
class CodingInputs:
    """What a step of the autoencoder or of its decoder is computed from, n rows of everything."""

    pictures: torch.Tensor
    """(n, 3, h, w) in [-1, 1]."""
    latents: torch.Tensor
    """(n, c, h, w): noise of unit variance for the autoencoder, noisy latents for the decoder."""


@dataclass(frozen=True, kw_only=True)
class ClipInputs:
    """What a step of CLIP is computed from, n rows of everything."""

    token_ids: torch.Tensor
    """The captions (n, length)."""
    pixels: torch.Tensor
    """(n, 3, h, w), normalised."""
    reference_pixels: torch.Tensor | None
    """The same of the style references, where they have a part in the loss."""


class AutoencoderStage(PictureStage):
    """The autoencoder: L1 on pixels at three resolutions and on their differences, texture, and a small KL term.

    One with linear shortcuts has them fitted to its first pictures, and learns from there.

    Args:
        vae: The model.
        pictures: What to encode; captions are not read.
        config: Its loss.
    """

    name = "autoencoder"

    def __init__(
        self, vae: AutoencoderKL, pictures: BatchSource, config: AutoencoderConfig | None = None
    ) -> None:
        self.vae, self.pictures, self.config = vae, pictures, config or AutoencoderConfig()
        freeze_all_but(self.models().values(), self.trainable())
        if isinstance(vae, ShortcutAutoencoder):
            vae.fit_shortcuts(batch * 2 - 1 for batch in some_pictures(pictures, FITTED_PICTURES))

    def models(self) -> dict[str, nn.Module]:
        return {"vae": self.vae}

    def trainable(self) -> dict[str, nn.Parameter]:
        return prefixed("vae", self.vae.named_parameters())

    def inputs(self, step: int, shard: Shard = WHOLE) -> CodingInputs:
        size, device = self.pictures.batch_size, self.vae.device
        rows = shard.rows(size)
        pictures = to_device(self.pictures.batch(step, rows).frames[:, 0], device) * 2 - 1
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        shape = (self.vae.config.latent_channels, pictures.shape[-2] // factor, pictures.shape[-1] // factor)
        generator = step_generator(self.config.seed, -2 - step, device)
        noise = torch.randn((size, *shape), generator=generator, device=device)[rows]
        return CodingInputs(pictures=pictures, latents=noise)

    def compute(self, inputs: CodingInputs) -> torch.Tensor:
        posterior = self.vae.encode(inputs.pictures).latent_dist
        decoded = self.vae.decode(posterior.mean + posterior.std * inputs.latents).sample.float()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return (
            decoding_loss(decoded, inputs.pictures, self.config.texture_weight) + self.config.kl_weight * kl
        )


class DecoderStage(PictureStage):
    """The decoder alone, on latents with noise, after everything else: latents stay what they are.

    What a denoiser gives is a little wrong everywhere, and a decoder that has only seen right latents shows every
    error, the finest channels' as a grid of patches. With noise of any deviation up to `latent_noise` it learns what a
    picture looks like whose latents are so (noise-augmented decoding as in RAE, Zheng et al. 2025, arXiv 2510.11690).

    Args:
        vae: The model; its `scaling_factor` gives latents unit variance.
        pictures: What to decode; captions are not read.
        config: Its loss.
    """

    name = "decoder"

    def __init__(
        self, vae: AutoencoderKL, pictures: BatchSource, config: DecoderConfig | None = None
    ) -> None:
        self.vae, self.pictures, self.config = vae, pictures, config or DecoderConfig()
        freeze_all_but(self.models().values(), self.trainable())

    def models(self) -> dict[str, nn.Module]:
        return {"vae": self.vae}

    def trainable(self) -> dict[str, nn.Parameter]:
        trained = prefixed("vae.decoder", self.vae.decoder.named_parameters())
        if self.vae.post_quant_conv is not None:
            trained |= prefixed("vae.post_quant_conv", self.vae.post_quant_conv.named_parameters())
        return trained

    def inputs(self, step: int, shard: Shard = WHOLE) -> CodingInputs:
        size, device = self.pictures.batch_size, self.vae.device
        rows = shard.rows(size)
        pictures = to_device(self.pictures.batch(step, rows).frames[:, 0], device) * 2 - 1
        with torch.no_grad():
            latents = self.vae.encode(pictures).latent_dist.mean
        generator = step_generator(self.config.seed, -2 - step, device)
        deviations = torch.rand(size, 1, 1, 1, generator=generator, device=device) * self.config.latent_noise
        noise = torch.randn((size, *latents.shape[1:]), generator=generator, device=device) * deviations
        noise = noise[rows].to(latents) / self.vae.config.scaling_factor
        return CodingInputs(pictures=pictures, latents=latents + noise)

    def compute(self, inputs: CodingInputs) -> torch.Tensor:
        decoded = self.vae.decode(inputs.latents).sample.float()
        return decoding_loss(decoded, inputs.pictures, self.config.texture_weight)


def decoding_loss(decoded: torch.Tensor, pictures: torch.Tensor, texture_weight: float) -> torch.Tensor:
    """`reconstruction_loss`, and `texture_loss` at its weight: (n, 3, h, w) each."""
    loss = reconstruction_loss(decoded, pictures)
    return loss + texture_weight * texture_loss(decoded, pictures) if texture_weight else loss


def reconstruction_loss(decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """L1 on pixels (twice), at half and quarter size, and on neighbours' differences (half): (n, 3, h, w) each."""
    loss = 2 * F.l1_loss(decoded, pictures)
    for factor in (2, 4):
        loss = loss + F.l1_loss(F.avg_pool2d(decoded, factor), F.avg_pool2d(pictures, factor))
    for axis in (-1, -2):
        loss = loss + 0.5 * F.l1_loss(decoded.diff(dim=axis), pictures.diff(dim=axis))
    return loss


def some_pictures(pictures: BatchSource, count: int) -> Iterator[torch.Tensor]:
    """The first frames of the first batches, at least `count` of them: (batch, 3, h, w) in [0, 1] each."""
    for step in range(-(-count // pictures.batch_size)):
        yield pictures.batch(step, slice(0, pictures.batch_size)).frames[:, 0]


@torch.no_grad()
def latent_scale(vae: AutoencoderKL, pictures: BatchSource, samples: int = 256) -> float:
    """The factor that gives latents of such pictures unit variance (`vae.config.scaling_factor`)."""
    means = []
    for part in some_pictures(pictures, samples):
        means.append(vae.encode(part.to(vae.device) * 2 - 1).latent_dist.mean.float())
    return 1.0 / float(torch.cat(means).std())


class ClipStage(PictureStage):
    """CLIP from nothing: pictures and captions that say everything (style words included), contrastively.

    The two captions of one batch may well say the same; their similarity then counts as a match in part: targets
    are the softmax over equal captions.

    Captions alone leave the image tower poor in style: among random pictures, object and place already tell whose
    caption is whose. Hence two additions. Let pictures come in groups that share their content, so that only style
    words tell them apart (`WorldSource.styles_per_content`). And pictures are pulled towards their style references,
    other pictures in the same style (`style_weight`; a contrastive term between pictures as in SLIP, Mu et al.
    2021): this teaches what no caption says, the very shades, the scale and the angle of a texture. That term has a
    head of its own, dropped after training.

    A contrast needs the whole batch: processes exchange their embeddings, and a batch is not accumulated from parts.

    Args:
        clip: The model.
        tokenizer: Its tokenizer.
        pictures: Pictures with full captions, and with style references where `style_weight` is not 0.
        config: Its loss.
    """

    name = "clip"

    def __init__(
        self,
        clip: CLIPModel,
        tokenizer: CLIPTokenizer,
        pictures: BatchSource,
        config: ClipConfig | None = None,
    ) -> None:
        self.clip, self.tokenizer, self.pictures = clip, tokenizer, pictures
        self.config = config or ClipConfig()
        width, out = clip.config.vision_config.hidden_size, clip.config.projection_dim
        self.style_head = nn.Linear(2 * width, out).to(clip.device)
        freeze_all_but(self.models().values(), self.trainable())

    def models(self) -> dict[str, nn.Module]:
        return {"clip": self.clip, "style_head": self.style_head}

    def trainable(self) -> dict[str, nn.Parameter]:
        trained = prefixed("clip", self.clip.named_parameters())
        if self.config.style_weight:
            trained |= prefixed("style_head", self.style_head.named_parameters())
        return trained

    def inputs(self, step: int, shard: Shard = WHOLE) -> ClipInputs:
        batch = self.pictures.batch(step, shard.rows(self.pictures.batch_size))
        references = None
        if self.config.style_weight:
            if batch.references is None:
                raise InvalidInputError(
                    'style_weight needs pictures with references: set references to "crop"'
                )
            references = self._pixels(batch.references)
        tokens = self.tokenizer(batch.captions, padding="max_length", truncation=True, return_tensors="pt")
        return ClipInputs(
            token_ids=to_device(tokens.input_ids, self.clip.device),
            pixels=self._pixels(batch.frames[:, 0]),
            reference_pixels=references,
        )

    def compute(self, inputs: ClipInputs) -> torch.Tensor:
        out = self.clip(input_ids=inputs.token_ids, pixel_values=inputs.pixels)
        text, image = gather_rows(out.text_embeds.float()), gather_rows(out.image_embeds.float())
        if len(text) != self.pictures.batch_size:
            raise InvalidInputError(
                f"stage clip contrasts whole batches: {self.pictures.batch_size} rows in one step, not in parts; "
                "set accumulation to 1"
            )
        logits = text @ image.T * self.clip.logit_scale.exp()
        ids = gather_rows(inputs.token_ids.float())
        same = (ids[:, None] == ids[None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        if inputs.reference_pixels is None:
            return loss
        states = out.vision_model_output.last_hidden_state
        partners = self.clip.vision_model(pixel_values=inputs.reference_pixels).last_hidden_state
        left, right = gather_rows(self._style(states)), gather_rows(self._style(partners))
        return loss + self.config.style_weight * matching_loss(left, right)

    def _pixels(self, pictures: torch.Tensor) -> torch.Tensor:
        return normalise_for_clip(to_device(pictures, self.clip.device))

    def _style(self, states: torch.Tensor) -> torch.Tensor:
        """Unit style vectors (n, d) of the tower's states (n, 1 + patches, w): global token and mean patch."""
        pooled = torch.cat([states[:, 0], states[:, 1:].mean(1)], 1)
        return F.normalize(self.style_head(pooled).float(), dim=1)


def matching_loss(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Contrastive loss of unit vectors (n, d) whose rows belong together: the mean of both directions."""
    logits = left @ right.T / STYLE_TEMPERATURE
    target = torch.arange(len(left), device=left.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
