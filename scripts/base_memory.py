"""The tables of memory in docs/memory.md and docs/backbones.md: each base model at its published size, with an adapter
and ViT-H, counted for a GPU.

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
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.pipelines.footprint import estimate_peak
from stylecrafter.pipelines.memory_options import MemoryOptions, Workload
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
#: OpenCLIP's text tower without its last block.
CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
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


def videocrafter() -> Any:
    return StyleCrafterPipeline(
        vae=AutoencoderKL(**VAE),
        text_encoder=text_encoder(CLIPTextModel, CLIP_H),
        tokenizer=tokenizer(),
        unet=VideoCrafterUNet(),
        scheduler=DDIMScheduler(),
    )


CLIPS: dict[str, tuple[Callable[[], Any], Workload]] = {
    "VideoCrafter": (videocrafter, Workload(16, 512, 320, 1)),
    "VideoCrafter, windows": (videocrafter, Workload(64, 512, 320, 1, window=16)),
    "Stable Diffusion 1.5": (stable_diffusion, Workload(1, 512, 512, 1)),
    "SDXL": (sdxl, Workload(1, 1024, 1024, 1)),
    "AnimateDiff": (animatediff, Workload(16, 512, 512, 1)),
    "Wan 2.1, 1.3B": (wan, Workload(81, 832, 480, 1)),
}


#: Flags of a column -> what they stand for.
COLUMNS = {
    "as it is": MemoryOptions(),
    "`--weights fp8`": MemoryOptions(weights_as="fp8"),
    "`--low-memory`": MemoryOptions(low_memory=True),
    "`--low-memory --offload group`": MemoryOptions(low_memory=True, offload="group"),
}


def skeleton(make: Callable[[], Any], dtype: torch.dtype) -> StyleCrafterPipeline:
    """A base model with an adapter and ViT-H, without memory for its weights."""
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
    if not isinstance(base, StyleCrafterPipeline):
        return StyleCrafterPipeline.from_base(base, adapter, encoder)
    base.load_adapter(adapter, image_encoder=encoder)
    return base


def main() -> None:
    """Print a row as soon as it is counted."""
    print(f"| base model | clip | number format | {' | '.join(COLUMNS)} |")
    print(f"|{' --- |' * (3 + len(COLUMNS))}")
    for name, (make, work) in CLIPS.items():
        clip = f"{work.frames} x {work.width}x{work.height}"
        for dtype in (torch.bfloat16, torch.float32):
            pipe = skeleton(make, dtype)
            found = [estimate_peak(pipe, work, options, "cuda") for options in COLUMNS.values()]
            cells = [f"{one.weights / 2**30:.1f} + {one.working / 2**30:.1f}" for one in found]
            number = str(dtype).removeprefix("torch.")
            print(f"| {name} | {clip} | {number} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
