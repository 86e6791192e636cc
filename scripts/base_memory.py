"""The table of memory in docs/backbones.md: each base model at its published size, with an adapter and ViT-H, counted.

python scripts/base_memory.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    AutoencoderKLWan,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    MotionAdapter,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNetMotionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.pipelines.footprint import Workload, estimate_peak
from stylecrafter.weights.tokenizer import compact_tokenizer

VIT_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 1024,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
VAE = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
}


def tokenizer() -> Any:
    made = compact_tokenizer(("a", "red", "fox"))
    made.model_max_length = 77
    return made


def text_encoder(kind: Any, sizes: dict[str, int]) -> Any:
    words = tokenizer()
    ids = {name: getattr(words, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return kind(CLIPTextConfig(**sizes, projection_dim=sizes["hidden_size"], **ids))


def stable_diffusion() -> Any:
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    parts = {"vae": AutoencoderKL(**VAE), "text_encoder": text_encoder(CLIPTextModel, CLIP_L), "unet": unet}
    return StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer(),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    unet = UNet2DConditionModel(
        sample_size=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(320, 640, 1280),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(**VAE),
        text_encoder=text_encoder(CLIPTextModel, CLIP_L),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, CLIP_G),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(),
        add_watermarker=False,
    )


def animatediff() -> Any:
    base, motion = stable_diffusion(), MotionAdapter(use_motion_mid_block=False)
    shared = {name: getattr(base, name) for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    return AnimateDiffPipeline(
        **shared, unet=UNetMotionModel.from_unet2d(base.unet, motion), motion_adapter=motion
    )


def wan() -> Any:
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    transformer = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30)
    umt5 = UMT5Config(
        vocab_size=256_384,
        d_model=4096,
        d_kv=64,
        d_ff=10_240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    return WanPipeline(
        T5TokenizerFast(letters, extra_ids=0, model_max_length=512),
        UMT5EncoderModel(umt5),
        AutoencoderKLWan(),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        transformer,
    )


CLIPS: dict[str, tuple[Callable[[], Any], Workload]] = {
    "Stable Diffusion 1.5": (stable_diffusion, Workload(1, 512, 512, 1)),
    "SDXL": (sdxl, Workload(1, 1024, 1024, 1)),
    "AnimateDiff": (animatediff, Workload(16, 512, 512, 1)),
    "Wan 2.1, 1.3B": (wan, Workload(81, 832, 480, 1)),
}


def estimated(make: Callable[[], Any], work: Workload, dtype: torch.dtype) -> str:
    torch.set_default_dtype(dtype)
    with torch.device("meta"):
        base = make()
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_H))
        denoiser = getattr(base, "unet", None) or base.transformer
        text_dim = getattr(denoiser.config, "text_dim", None)
        adapter = StyleAdapter.for_model(
            denoiser,
            1280,
            text_dim=text_dim,
            num_style_tokens=16,
            extractor_layers=4,
            extractor_heads=20,
            scale_heads=8,
        )
    found = estimate_peak(StyleCrafterPipeline.from_base(base, adapter, encoder), work)
    return f"{found.weights / 2**30:.1f} + {found.working / 2**30:.1f}"


def main() -> None:
    print("| base model | clip | bfloat16 | float32 |\n| --- | --- | --- | --- |")
    for name, (make, work) in CLIPS.items():
        sizes = [estimated(make, work, dtype) for dtype in (torch.bfloat16, torch.float32)]
        print(
            f"| {name} | {work.frames} x {work.width}x{work.height} | {sizes[0]} | {sizes[1]} |", flush=True
        )


if __name__ == "__main__":
    main()
