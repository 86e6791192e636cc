"""Models of a preset's sizes with fresh weights, to be trained from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from stylecrafter.backbones.autoencoder import ShortcutAutoencoder
from stylecrafter.backbones.videocrafter import VideoCrafter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.weights.tokenizer import compact_tokenizer

Sizes = dict[str, Any]


def build_vae(sizes: Sizes) -> ShortcutAutoencoder:
    """A fresh autoencoder; its stage sets the shortcuts by its first pictures."""
    return ShortcutAutoencoder(**sizes["vae"])


def build_backbone(sizes: Sizes, **others: Any) -> VideoCrafter:
    """A base model with a fresh UNet, around its other components."""
    return VideoCrafter(
        **others, unet=VideoCrafterUNet(**sizes["unet"]), scheduler=DDIMScheduler(**sizes["scheduler"])
    )


def build_tokenizer(sizes: Sizes, words: Sequence[str]) -> Any:
    """A byte-pair tokenizer that holds `words` and falls back to pieces for all others."""
    tokenizer = compact_tokenizer(words)
    tokenizer.model_max_length = sizes["text"]["max_position_embeddings"]
    return tokenizer


def build_clip(sizes: Sizes, tokenizer: Any) -> CLIPModel:
    """A fresh CLIP for that tokenizer."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=sizes["projection_dim"],
        **sizes["text"],
    )
    vision = CLIPVisionConfig(projection_dim=sizes["projection_dim"], **sizes["vision"])
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=sizes["projection_dim"])
    )


def build_clip_processor(sizes: Sizes) -> CLIPImageProcessorPil:
    """What brings pictures to the size and range that the CLIP was trained with."""
    side = sizes["vision"]["image_size"]
    return CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=list(OPENAI_CLIP_MEAN),
        image_std=list(OPENAI_CLIP_STD),
    )


def split_clip(clip: CLIPModel) -> tuple[CLIPTextModel, CLIPVisionModel]:
    """The two towers as the models that a pipeline holds; projections stay behind."""
    text = CLIPTextModel(clip.config.text_config)
    vision = CLIPVisionModel(clip.config.vision_config)
    _load_tower(text, clip, "text_model.")
    _load_tower(vision, clip, "vision_model.")
    return text.eval(), vision.eval()


def _load_tower(tower: torch.nn.Module, clip: CLIPModel, prefix: str) -> None:
    state = {
        key.removeprefix(prefix): value for key, value in clip.state_dict().items() if key.startswith(prefix)
    }
    own = {key.removeprefix(prefix): key for key in tower.state_dict()}
    tower.load_state_dict({own[key]: value for key, value in state.items() if key in own}, strict=True)
