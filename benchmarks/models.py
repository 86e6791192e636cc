"""Models at the published sizes, or tiny, with random weights: they cost what real ones cost."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    DDIMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
    UNetMotionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from stylecrafter import StyleAdapter, StyleCrafterPipeline, VideoCrafterUNet
from stylecrafter.weights.tokenizer import clip_tokenizer

#: Sizes by the name of a size; what is not named has the classes' defaults, which are those of Stable Diffusion.
UNET: dict[str, dict[str, Any]] = {
    "full": {},
    "tiny": {
        "block_out_channels": [8, 16],
        "attention_levels": [True, True],
        "layers_per_block": 1,
        "attention_head_dim": 8,
        "cross_attention_dim": 16,
        "norm_num_groups": 4,
        "init_temporal_heads": 1,
        "init_temporal_head_dim": 8,
    },
}
VAE: dict[str, dict[str, Any]] = {
    "full": {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
    },
    "tiny": {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [4, 4, 4, 8],
        "layers_per_block": 1,
        "norm_num_groups": 4,
    },
}
#: OpenCLIP's ViT-H towers, and those of Stable Diffusion 1.5 with its IP-Adapter.
TEXT_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
TEXT_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
VISION_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
    "projection_dim": 1024,
}
TINY_TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY_VISION = {**TINY_TOWER, "patch_size": 8, "image_size": 16, "projection_dim": 12}
SD_UNET: dict[str, dict[str, Any]] = {
    "full": {"sample_size": 64, "cross_attention_dim": 768},
    "tiny": {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
}
MOTION: dict[str, dict[str, Any]] = {
    "full": {},
    "tiny": {
        "block_out_channels": (8, 16),
        "motion_layers_per_block": 1,
        "motion_num_attention_heads": 2,
        "motion_norm_num_groups": 4,
    },
}


def videocrafter(size: str, device: torch.device, dtype: torch.dtype = torch.float32) -> StyleCrafterPipeline:
    """VideoCrafter's text-to-video model with StyleCrafter's adapter, seeded with 0."""
    torch.manual_seed(0)
    full = size == "full"
    with torch.device(device):
        unet = VideoCrafterUNet(**UNET[size])
        # Fresh ones give zeros, which would hide whether two compute the same.
        torch.nn.init.normal_(unet.conv_out.weight, std=0.02)
        for _, module in unet.temporal_modules():
            torch.nn.init.normal_(module.proj_out.weight, std=0.02)
        text_encoder = CLIPTextModel(_text_config(TEXT_H if full else TINY_TOWER))
        image_encoder = CLIPVisionModel(CLIPVisionConfig(**(VISION_H if full else TINY_VISION)))
        vae = AutoencoderKL(**VAE[size])
        width = image_encoder.config.hidden_size
        small = (
            {} if full else {"extractor_layers": 1, "extractor_heads": 2, "scale_layers": 1, "scale_heads": 2}
        )
        adapter = StyleAdapter.for_model(unet, width, **small)
    pipe = StyleCrafterPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=clip_tokenizer(),
        unet=unet.eval(),
        scheduler=ddim(),
        image_encoder=image_encoder.eval(),
        style_adapter=adapter.eval(),
        reference_size=512 if full else 16,
        default_published_guidance=True,
        default_text_guidance=15.0,
        default_style_guidance=7.5,
        default_eta=0.0,
        default_steps=50 if full else 3,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe if dtype == torch.float32 else pipe.to(dtype)


def animatediff(size: str, device: torch.device) -> AnimateDiffPipeline:
    """Stable Diffusion 1.5 with AnimateDiff's motion modules, and the image encoder of an IP-Adapter, seeded with 0."""
    torch.manual_seed(0)
    full = size == "full"
    with torch.device(device):
        unet = UNetMotionModel.from_unet2d(
            UNet2DConditionModel(**SD_UNET[size]), MotionAdapter(**MOTION[size])
        )
        text_encoder = CLIPTextModel(_text_config(TEXT_L if full else TINY_TOWER))
        vision = CLIPVisionConfig(**(VISION_H if full else TINY_VISION))
        image_encoder = CLIPVisionModelWithProjection(vision)
        vae = AutoencoderKL(**VAE[size])
    pipe = AnimateDiffPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=clip_tokenizer(),
        unet=unet.eval(),
        motion_adapter=None,
        scheduler=ddim(),
        image_encoder=image_encoder.eval(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ip_adapter(unet: Any, projection: int, tokens: int = 4) -> dict[str, dict[str, torch.Tensor]]:
    """An IP-Adapter for a UNet in the layout of its files, with random weights."""
    from stylecrafter.adapter.base_layers import cross_attention_layers

    layers = cross_attention_layers(unet)
    device = next(unet.parameters()).device
    generator = torch.Generator(device).manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device) * shape[-1] ** -0.5

    width = next(iter(layers.values())).to_k.in_features
    image_proj = {
        "proj.weight": draw(tokens * width, projection),
        "proj.bias": torch.zeros(tokens * width, device=device),
        "norm.weight": torch.ones(width, device=device),
        "norm.bias": torch.zeros(width, device=device),
    }
    attention = {
        f"{2 * i + 1}.to_{part}_ip.weight": draw(layer.to_k.out_features, width)
        for i, layer in enumerate(layers.values())
        for part in "kv"
    }
    return {"image_proj": image_proj, "ip_adapter": attention}


def ddim() -> DDIMScheduler:
    """The noise of Stable Diffusion, and DDIM's way out of it."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _text_config(sizes: dict[str, Any]) -> CLIPTextConfig:
    tokenizer = clip_tokenizer()
    return CLIPTextConfig(
        **sizes,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
