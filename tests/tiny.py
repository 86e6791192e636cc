"""A whole pipeline of real components at toy size."""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_lowercase
from typing import Any

import numpy as np
import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    AutoencoderKLWan,
    ControlNetModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    MotionAdapter,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNetMotionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from stylecrafter.adapter.style_adapter import StyleAdapter, cross_attention_layers
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.weights.tokenizer import compact_tokenizer

WIDTH = 16
TEXT_LENGTH = 16
PROJECTION = 12
WORDS = ("a", "red", "fox", "boat", "running", "on", "lake", "oil", "painting", "blurry")
#: Sizes and steps of a clip where a test asks for nothing else.
DEFAULTS: dict[str, Any] = {
    "reference_size": 16,
    "default_steps": 3,
    "default_frames": 3,
    "default_height": 16,
    "default_width": 24,
    "default_fps": 4,
}
#: Sizes of an image tower.
VISION: dict[str, int] = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}


def tiny_tokenizer() -> CLIPTokenizer:
    tokenizer = compact_tokenizer(WORDS, extra_merges=8)
    tokenizer.model_max_length = TEXT_LENGTH
    return tokenizer


def tiny_clip_config(tokenizer: CLIPTokenizer, vision: dict[str, Any]) -> CLIPConfig:
    """A whole CLIP for that tokenizer, with an image tower of those sizes."""
    text = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": TEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)


def videocrafter_unet(**sizes: int) -> VideoCrafterUNet:
    unet = VideoCrafterUNet(
        block_out_channels=[8, 16],
        attention_levels=[True, True],
        layers_per_block=1,
        attention_head_dim=8,
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
        max_relative_position=4,
        init_temporal_heads=1,
        init_temporal_head_dim=8,
        **sizes,
    )
    # What starts at zero or close to it would hide mistakes.
    torch.nn.init.normal_(unet.conv_out.weight, std=0.1)
    for _, module in unet.temporal_modules():
        torch.nn.init.normal_(module.proj_out.weight, std=0.1)
    return unet


def stable_diffusion_unet(**sizes: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
        **sizes,
    )


def motion_adapter() -> MotionAdapter:
    """AnimateDiff's motion modules for `stable_diffusion_unet`, for clips of up to 8 frames."""
    return MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
        motion_max_seq_length=8,
    )


def animatediff_unet(**sizes: int) -> UNetMotionModel:
    return UNetMotionModel.from_unet2d(stable_diffusion_unet(**sizes), motion_adapter())


def tiny_components(
    seed: int = 0,
    prediction_type: str = "epsilon",
    make_unet: Callable[[], VideoCrafterUNet | UNet2DConditionModel | UNetMotionModel] = videocrafter_unet,
) -> dict[str, Any]:
    """All components, with weights that let text, style, time and neighbouring frames matter."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[4, 8],
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    image_encoder = CLIPVisionModel(CLIPVisionConfig(**VISION))
    unet = make_unet()
    for encoder in (text_encoder, image_encoder):
        _vivid(encoder)
    adapter = StyleAdapter.for_model(
        unet, WIDTH, num_style_tokens=2, extractor_layers=1, extractor_heads=2, scale_layers=1, scale_heads=2
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    models = (vae, text_encoder, image_encoder, unet, adapter)
    for model in models:
        model.eval()
    return {
        "vae": vae,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": scheduler,
        "image_encoder": image_encoder,
        "style_adapter": adapter,
    }


def tiny_pipeline(seed: int = 0, prediction_type: str = "epsilon", **numbers: Any) -> StyleCrafterPipeline:
    """A pipeline of less than 150,000 weights; `numbers` replace those of `DEFAULTS`."""
    pipe = StyleCrafterPipeline(**tiny_components(seed, prediction_type), **{**DEFAULTS, **numbers})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_image_pipeline(
    seed: int = 0, prediction_type: str = "epsilon", **numbers: Any
) -> StyleCrafterPipeline:
    """The same around Stable Diffusion's UNet."""
    components = tiny_components(seed, prediction_type, stable_diffusion_unet)
    pipe = StyleCrafterPipeline(**components, **{**DEFAULTS, "default_frames": 1, **numbers})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sdxl_unet(**sizes: Any) -> UNet2DConditionModel:
    """One that reads both text encoders of `tiny_sdxl_pipeline`, and has layers of several widths."""
    return UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "transformer_layers_per_block": (1, 2),
            "cross_attention_dim": 2 * WIDTH,
            "attention_head_dim": 2,
            "norm_num_groups": 4,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": PROJECTION + 6 * 8,
            **sizes,
        }
    )


def tiny_sd_pipeline(
    seed: int = 0, prediction_type: str = "epsilon", controlnet: bool = False
) -> StableDiffusionPipeline | StableDiffusionControlNetPipeline:
    """A Stable Diffusion in the layout of diffusers, as `from_base` takes it: 16x16, text of `TEXT_LENGTH` tokens."""
    parts = tiny_components(seed, prediction_type, stable_diffusion_unet)
    base = {name: parts[name] for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    base |= {"safety_checker": None, "feature_extractor": None}
    kind = StableDiffusionControlNetPipeline if controlnet else StableDiffusionPipeline
    if controlnet:
        base["controlnet"] = tiny_controlnet(base["unet"])
    return _quiet(kind(**base, requires_safety_checker=False))


def tiny_sdxl_pipeline(
    seed: int = 0, controlnet: bool = False, second_width: int = WIDTH
) -> StableDiffusionXLPipeline | StableDiffusionXLControlNetPipeline:
    """The same for SDXL."""
    parts = tiny_components(seed, make_unet=lambda: sdxl_unet(cross_attention_dim=WIDTH + second_width))
    tokenizer = parts["tokenizer"]
    encoders = [
        _text_encoder(CLIPTextModel, tokenizer),
        _text_encoder(CLIPTextModelWithProjection, tokenizer, second_width),
    ]
    base = {name: parts[name] for name in ("vae", "unet", "scheduler", "tokenizer")}
    base |= {"text_encoder": encoders[0], "text_encoder_2": encoders[1], "tokenizer_2": tiny_tokenizer()}
    kind = StableDiffusionXLControlNetPipeline if controlnet else StableDiffusionXLPipeline
    if controlnet:
        base["controlnet"] = tiny_controlnet(base["unet"])
    return _quiet(kind(**base, add_watermarker=False))


def tiny_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """One for that UNet whose residuals count."""
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
    zeros = [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]
    for module in (*zeros, controlnet.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(module.weight, std=0.1)
    return controlnet.eval()


def _text_encoder(kind: Any, tokenizer: CLIPTokenizer, width: int = WIDTH) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TEXT_LENGTH,
        projection_dim=PROJECTION,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _vivid(kind(config)).eval()


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_animatediff_pipeline(seed: int = 0) -> AnimateDiffPipeline:
    """A base model as users have it, a pipeline of diffusers: `save_pretrained` gives a folder in its layout."""
    parts = tiny_components(seed, make_unet=animatediff_unet)
    names = ("vae", "text_encoder", "tokenizer", "unet")
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        timestep_spacing="linspace",
        clip_sample=False,
    )
    return _quiet(
        AnimateDiffPipeline(**{name: parts[name] for name in names}, motion_adapter=None, scheduler=scheduler)
    )


def tiny_ip_adapter(unet: Any, plus: bool = False, seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    """An IP-Adapter file for a UNet and `tiny_image_encoder`, as torch files have it: module -> tensors."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, std: float = 0.3) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * std

    layers = cross_attention_layers(unet)
    (text_dim,) = {layer.to_k.in_features for layer in layers.values()}
    attention = {
        f"{2 * i + 1}.to_{part}_ip.weight": draw(layer.to_k.out_features, text_dim)
        for i, layer in enumerate(layers.values())
        for part in "kv"
    }
    if not plus:
        norm = {"norm.weight": 1 + draw(text_dim), "norm.bias": draw(text_dim)}
        proj = {"proj.weight": draw(4 * text_dim, 12), "proj.bias": draw(4 * text_dim)}
        return {"image_proj": {**proj, **norm}, "ip_adapter": attention}
    dim, heads = 8, 2
    image_proj = {
        "latents": draw(1, 3, dim),
        "proj_in.weight": draw(dim, WIDTH),
        "proj_in.bias": draw(dim),
        "proj_out.weight": draw(text_dim, dim),
        "proj_out.bias": draw(text_dim),
        "norm_out.weight": 1 + draw(text_dim),
        "norm_out.bias": draw(text_dim),
    }
    for i in range(4):  # diffusers knows no other number
        for norm in ("0.norm1", "0.norm2", "1.0"):
            image_proj |= {
                f"layers.{i}.{norm}.weight": 1 + draw(dim),
                f"layers.{i}.{norm}.bias": draw(dim),
            }
        image_proj |= {
            f"layers.{i}.0.to_q.weight": draw(64 * heads, dim),
            f"layers.{i}.0.to_kv.weight": draw(128 * heads, dim),
            f"layers.{i}.0.to_out.weight": draw(dim, 64 * heads),
            f"layers.{i}.1.1.weight": draw(4 * dim, dim),
            f"layers.{i}.1.3.weight": draw(dim, 4 * dim),
        }
    return {"image_proj": image_proj, "ip_adapter": attention}


def _vivid(model: Any) -> Any:
    """The model with weights large enough that what it reads matters."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def tiny_picture(seed: int = 0, width: int = 20, height: int = 16) -> Image.Image:
    """A picture of random pixels over a random colour."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 200, 3)
    return Image.fromarray((colour + rng.integers(0, 56, (height, width, 3))).astype(np.uint8))


def tiny_image_encoder(seed: int = 1, **sizes: int) -> CLIPVisionModelWithProjection:
    """An image tower that projects, to width 12."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(**{**VISION, "projection_dim": 12, **sizes})
    return _vivid(CLIPVisionModelWithProjection(config)).eval()


def tiny_wan_base(seed: int = 0, **sizes: Any) -> WanPipeline:
    """Wan 2.1 for text to video, as diffusers has it; `sizes` replace those of the transformer."""
    torch.manual_seed(seed)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary += [(f"▁{word}", -1.0) for word in WORDS] + [(letter, -3.0) for letter in ascii_lowercase]
    tokenizer = T5TokenizerFast(vocabulary, extra_ids=0, model_max_length=TEXT_LENGTH)
    text_encoder = UMT5EncoderModel(
        UMT5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
    )
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[-0.7, 0.1, 0.9, 0.4],
        latents_std=[2.8, 1.4, 2.3, 1.1],
    )
    transformer = WanTransformer3DModel(
        **{
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "text_dim": 32,
            "freq_dim": 16,
            "ffn_dim": 32,
            "num_layers": 2,
            "rope_max_seq_len": 32,
            **sizes,
        }
    )
    for model in (text_encoder, transformer):
        for parameter in model.parameters():
            # So that text and style matter.
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.3)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    models = (model.eval() for model in (text_encoder, vae))
    base = WanPipeline(tokenizer, *models, scheduler, transformer.eval())
    base.set_progress_bar_config(disable=True)
    return base


def tiny_wan_pipeline(seed: int = 0, **numbers: Any) -> StyleCrafterPipeline:
    """Ours around it, with an adapter; clips of 5 frames, 32 x 48."""
    base = tiny_wan_base(seed)
    image_encoder = tiny_image_encoder()
    adapter = StyleAdapter.for_model(
        base.transformer,
        WIDTH,
        text_dim=32,
        num_style_tokens=2,
        extractor_layers=1,
        extractor_heads=2,
        scale_layers=1,
        scale_heads=2,
    )
    sizes = {"default_frames": 5, "default_height": 32, "default_width": 48}
    pipe = StyleCrafterPipeline.from_base(
        base, adapter.eval(), image_encoder, **{**DEFAULTS, **sizes, **numbers}
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


#: One pipeline for each base model, ours or one of diffusers, and how many frames it makes.
TINY_BASES: dict[str, tuple[Callable[[], Any], int]] = {
    "videocrafter": (tiny_pipeline, 3),
    "sd": (tiny_sd_pipeline, 1),
    "sdxl": (tiny_sdxl_pipeline, 1),
    "animatediff": (tiny_animatediff_pipeline, 3),
    "wan": (tiny_wan_base, 5),
}
