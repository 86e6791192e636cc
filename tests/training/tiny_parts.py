"""Real components at toy size for the tests of training."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter import VideoCrafter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.training.parts import Parts
from stylecrafter.weights.tokenizer import compact_tokenizer


def tiny_parts(seed: int = 0, prediction_type: str = "v_prediction") -> Parts:
    torch.manual_seed(seed)
    tokenizer = compact_tokenizer(["dog"], extra_merges=8)
    tokenizer.model_max_length = 12
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[8, 8],
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=12, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    unet = VideoCrafterUNet(
        block_out_channels=[8, 16], attention_levels=[True, True], layers_per_block=1, attention_head_dim=8,
        cross_attention_dim=16, norm_num_groups=4, init_temporal_heads=1, init_temporal_head_dim=8,
    )  # fmt: skip
    torch.nn.init.normal_(unet.conv_out.weight, std=0.1)
    for _, module in unet.temporal_modules():
        torch.nn.init.normal_(module.proj_out.weight, std=0.1)
    adapter = StyleAdapter.for_model(unet, 16, extractor_heads=2, scale_heads=2, num_style_tokens=2)
    adapter.attach(unet)
    backbone = VideoCrafter(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", prediction_type=prediction_type, clip_sample=False
        ),
    )
    image_encoder = CLIPVisionModel(vision).eval()
    return Parts(backbone=backbone, image_encoder=image_encoder, style_adapter=adapter)
