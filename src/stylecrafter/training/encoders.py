"""Stages for the frozen parts of a model of our own: the autoencoder and CLIP, trained on StyleWorld."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPModel, CLIPTokenizer, CLIPVisionModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from stylecrafter.styleworld import splits, world


def step_generator(seed: int, step: int) -> torch.Generator:
    """The source of randomness of one step: a function of seed and step alone."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


class AutoencoderStage:
    """The autoencoder: L1 on pixels at three resolutions and on their differences, and a small KL term."""

    name = "autoencoder"

    def __init__(
        self,
        vae: AutoencoderKL,
        vocabulary: splits.Vocabulary,
        *,
        image_size: int,
        batch_size: int,
        seed: int = 0,
        kl_weight: float = 1e-5,
        plain_ratio: float = 0.35,
    ) -> None:
        self.vae, self.vocabulary = vae, vocabulary
        self.image_size, self.batch_size, self.seed = image_size, batch_size, seed
        self.kl_weight, self.plain_ratio = kl_weight, plain_ratio

    def trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.vae.named_parameters())

    def loss(self, step: int) -> torch.Tensor:
        generator = step_generator(self.seed, step)
        plain = round(self.batch_size * self.plain_ratio)
        styled = world.sample(self.batch_size - plain, generator, vocabulary=self.vocabulary)
        bare = world.sample(max(1, plain), generator, vocabulary=self.vocabulary, styled=False)
        device = self.vae.device
        pictures = torch.cat(
            [world.render(part, self.image_size, device=device)[:, 0] for part in (styled, bare)]
        )
        pictures = pictures * 2 - 1
        posterior = self.vae.encode(pictures).latent_dist
        latent = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator).to(
            device
        )
        decoded = self.vae.decode(latent).sample.float()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(decoded, pictures) + self.kl_weight * kl


def reconstruction_loss(decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """L1 on pixels (twice), at half and quarter size, and on neighbours' differences (half): (n, 3, h, w) each."""
    loss = 2 * F.l1_loss(decoded, pictures)
    for factor in (2, 4):
        loss = loss + F.l1_loss(F.avg_pool2d(decoded, factor), F.avg_pool2d(pictures, factor))
    for axis in (-1, -2):
        loss = loss + 0.5 * F.l1_loss(decoded.diff(dim=axis), pictures.diff(dim=axis))
    return loss


@torch.no_grad()
def latent_scale(stage: AutoencoderStage, samples: int = 256) -> float:
    """The factor that gives latents of StyleWorld pictures unit variance (`vae.config.scaling_factor`)."""
    batch = world.sample(samples, step_generator(stage.seed, -1), vocabulary=stage.vocabulary)
    half = samples // 2
    parts = [batch[:half], batch[half:].plain()]
    pictures = torch.cat([world.render(part, stage.image_size)[:, 0] for part in parts]).to(stage.vae.device)
    return 1.0 / float(stage.vae.encode(pictures * 2 - 1).latent_dist.mean.std())


class ClipStage:
    """CLIP from nothing: pictures and their full captions (style words included), contrastively.

    The two captions of one batch may well say the same; their similarity then counts as a match in part: targets
    are the softmax over equal captions.
    """

    name = "clip"

    def __init__(
        self,
        clip: CLIPModel,
        tokenizer: CLIPTokenizer,
        vocabulary: splits.Vocabulary,
        *,
        image_size: int,
        batch_size: int,
        seed: int = 0,
        plain_ratio: float = 0.2,
    ) -> None:
        self.clip, self.tokenizer, self.vocabulary = clip, tokenizer, vocabulary
        self.image_size, self.batch_size, self.seed = image_size, batch_size, seed
        self.plain_ratio = plain_ratio

    def trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.clip.named_parameters())

    def loss(self, step: int) -> torch.Tensor:
        generator = step_generator(self.seed, step)
        rng = random.Random(self.seed * 1_000_003 + step)
        plain = round(self.batch_size * self.plain_ratio)
        parts = [
            world.sample(self.batch_size - plain, generator, vocabulary=self.vocabulary),
            world.sample(max(1, plain), generator, vocabulary=self.vocabulary, styled=False),
        ]
        device = self.clip.device
        captions = [caption for part in parts for caption in part.full_captions(rng, moving=False)]
        pictures = torch.cat([world.render(part, self.image_size, device=device)[:, 0] for part in parts])
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").to(
            device
        )
        out = self.clip(
            input_ids=tokens.input_ids,
            pixel_values=normalise_for_clip(pictures),
        )
        logits = out.logits_per_text.float()
        same = (tokens.input_ids[:, None] == tokens.input_ids[None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def normalise_for_clip(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, h, w) in [0, 1] with CLIP's mean and standard deviation per channel taken out."""
    mean = torch.tensor(OPENAI_CLIP_MEAN, device=pictures.device)[:, None, None]
    std = torch.tensor(OPENAI_CLIP_STD, device=pictures.device)[:, None, None]
    return (pictures - mean) / std


def image_tokens(image_encoder: CLIPVisionModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """Global token (after the last norm) and raw patch tokens: (n, 1 + patches, w)."""
    out = image_encoder(pixel_values=pixel_values)
    return torch.cat([out.pooler_output[:, None], out.last_hidden_state[:, 1:]], dim=1)
