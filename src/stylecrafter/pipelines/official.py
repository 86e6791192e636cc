"""Published checkpoints -> our pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import CheckpointError
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.presets import load_preset
from stylecrafter.weights.formats.checkpoint_files import (
    Source,
    account,
    fill,
    filled,
    nested_tensors,
    read_checkpoint,
    shapes_of,
    tensors_only,
    with_prefix,
)
from stylecrafter.weights.formats.openclip import text_config, text_state, vision_config, vision_state
from stylecrafter.weights.formats.stylecrafter_v1 import adapter_config, adapter_state
from stylecrafter.weights.formats.videocrafter_unet import (
    cross_attention_names,
    unet_config,
    unet_modules,
    unet_state,
)
from stylecrafter.weights.formats.videocrafter_vae import vae_config, vae_state
from stylecrafter.weights.tokenizer import clip_tokenizer

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."

# Regular expressions of tensors in a model.ckpt that our models do not hold, and why.
_SCHEDULE = r"(sqrt_|log_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?|posterior_\w+"
MODEL_LEFT_OUT = {
    rf"(betas|{_SCHEDULE}|lvlb_weights|logvar)": "tables of the noise schedule, computed by the scheduler",
    r"scale_factor": "factor between autoencoder and UNet, a number of the autoencoder's config",
    r"model_ema\..+": "running average of training",
    r"first_stage_model\.loss\..+": "training loss of the autoencoder",
    r"cond_stage_model\.model\.(text_projection|logit_scale)": "used by CLIP's contrastive loss only",
    r"cond_stage_model\.model\.attn_mask": "the causal mask, computed",
    r"cond_stage_model\.model\.transformer\.resblocks\.\d+\..+": "last block: text is read before it",
    r"(adapter\.|model\.diffusion_model\..+\.processor\.).+": "copy of the adapter, which has its own file",
}
OPENCLIP_LEFT_OUT = {
    r"visual\.proj": "projection of CLIP's contrastive loss; style is read before it",
    r"(?!visual\.).+": "text tower, which is in the VideoCrafter checkpoint",
}


def from_official(
    videocrafter: Source,
    adapter: Source | None,
    temporal: Source | None = None,
    openclip: Source | None = None,
    *,
    attention_head_dim: int = 64,
    num_frames: int = 16,
    adapter_num_heads: int = 8,
    clip_text_num_heads: int = 16,
    clip_vision_num_heads: int = 16,
) -> StyleCrafterPipeline:
    """Build a pipeline from published checkpoints; every size is read off the tensors' shapes.

    Each source is a file (`.safetensors`, or a torch file, read with `weights_only=True`) or a state dict,
    with or without a `state_dict` entry around it. Every tensor is accounted for.

    Args:
        videocrafter: VideoCrafter's `model.ckpt`: UNet, autoencoder and text encoder.
        adapter: `adapter_v1.pth`; None builds a pipeline without style.
        temporal: `temporal_v1_1.pth` ({module: state dict}): replaces all temporal layers of the UNet.
        openclip: OpenCLIP's `open_clip_pytorch_model.bin`, for its image tower; without it the pipeline takes
            style tokens, but no style pictures.
        attention_head_dim: Width of the UNet's attention heads.
        num_frames: Frames of a clip by default.
        adapter_num_heads: Attention heads of the adapter's transformers.
        clip_text_num_heads: Attention heads of the text encoder.
        clip_vision_num_heads: Attention heads of the image encoder.

    Raises:
        CheckpointError: A file that cannot be read, or tensors that are missing, left over or do not fit.
        InvalidInputError: Files of models that do not go together.
    """
    copies = isinstance(videocrafter, Mapping)
    model = tensors_only(read_checkpoint(videocrafter, "VideoCrafter checkpoint"), "VideoCrafter checkpoint")
    unet, left_over = build_unet(with_prefix(model, UNET), attention_head_dim, copies)
    vae, vae_left_over = build_vae(with_prefix(model, VAE), copies)
    text_encoder, text_left_over = build_text_encoder(with_prefix(model, TEXT), clip_text_num_heads, copies)
    left_over = [UNET + key for key in left_over]
    left_over += [VAE + key for key in vae_left_over] + [TEXT + key for key in text_left_over]
    left_over += [key for key in model if not key.startswith((UNET, VAE, TEXT))]
    account(left_over, MODEL_LEFT_OUT, "VideoCrafter checkpoint")
    if temporal is not None:
        load_temporal(unet, temporal)

    style_adapter = None
    if adapter is not None:
        tensors = tensors_only(read_checkpoint(adapter, "adapter"), "adapter")
        style_adapter = build_adapter(tensors, unet, adapter_num_heads, isinstance(adapter, Mapping))
    image_encoder = None
    if openclip is not None:
        tensors = tensors_only(read_checkpoint(openclip, "OpenCLIP checkpoint"), "OpenCLIP checkpoint")
        image_encoder = build_image_encoder(tensors, clip_vision_num_heads, isinstance(openclip, Mapping))
    return StyleCrafterPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=clip_tokenizer(),
        unet=unet,
        scheduler=published_scheduler(),
        image_encoder=image_encoder,
        style_adapter=style_adapter,
        reference_size=512,
        image_tokens_half=True,
        default_frames=num_frames,
    )


def published_scheduler() -> DDIMScheduler:
    """The published noise schedule and DDIM steps; the last step goes to alphas_cumprod[0], not to 1."""
    return DDIMScheduler(**load_preset("published")["scheduler"])


def build_unet(
    tensors: Mapping[str, Tensor], attention_head_dim: int, copy: bool
) -> tuple[VideoCrafterUNet, list[str]]:
    """The UNet from its published tensors (names without prefix), and the names that have no place."""
    config = unet_config(shapes_of(tensors), attention_head_dim)
    state, left_over = unet_state(tensors, config)
    return filled(lambda: VideoCrafterUNet(**config), state, "UNet", copy), left_over


def build_vae(tensors: Mapping[str, Tensor], copy: bool) -> tuple[AutoencoderKL, list[str]]:
    """The autoencoder from its published tensors (names without prefix), and the names that have no place."""
    config = vae_config(shapes_of(tensors))
    state, left_over = vae_state(tensors)
    return filled(lambda: AutoencoderKL(**config), state, "autoencoder", copy), left_over


def build_text_encoder(
    tensors: Mapping[str, Tensor], num_heads: int, copy: bool
) -> tuple[CLIPTextModel, list[str]]:
    """The text encoder from an OpenCLIP text tower, without its last block, and the names without a place."""
    config = text_config(shapes_of(tensors), num_heads)
    layers = config["num_hidden_layers"]
    state, left_over = text_state(tensors, layers)
    last = f"transformer.resblocks.{layers}."
    foreign = [key for key in left_over if key.startswith("transformer.") and not key.startswith(last)]
    if foreign:
        raise CheckpointError(f"text encoder: {len(foreign)} tensors without a place, first: {foreign[0]}")
    return filled(lambda: CLIPTextModel(CLIPTextConfig(**config)), state, "text encoder", copy), left_over


def build_image_encoder(tensors: Mapping[str, Tensor], num_heads: int, copy: bool) -> CLIPVisionModel:
    """The image encoder from a whole OpenCLIP checkpoint."""
    tower = with_prefix(tensors, "visual.")
    config = vision_config(shapes_of(tower), num_heads)
    state, left_over = vision_state(tower, config["num_hidden_layers"])
    rest = [f"visual.{key}" for key in left_over] + [key for key in tensors if not key.startswith("visual.")]
    account(rest, OPENCLIP_LEFT_OUT, "OpenCLIP checkpoint")
    return filled(lambda: CLIPVisionModel(CLIPVisionConfig(**config)), state, "image encoder", copy)


def build_adapter(
    tensors: Mapping[str, Tensor], unet: VideoCrafterUNet, num_heads: int, copy: bool
) -> StyleAdapter:
    """The adapter for `unet` from its published tensors."""
    layers = cross_attention_names(unet.config)
    config = adapter_config(shapes_of(tensors), layers, num_heads)
    state, left_over = adapter_state(tensors, list(layers))
    account(left_over, {}, "adapter")
    return filled(lambda: StyleAdapter(**config), state, "adapter", copy)


def load_temporal(unet: VideoCrafterUNet, temporal: Source) -> None:
    """Replace all temporal layers of `unet` by those of a published temporal checkpoint.

    Raises:
        CheckpointError: Not exactly the temporal layers of this UNet.
    """
    names = {ours: published for published, ours in unet_modules(unet.config).items()}
    modules = dict(unet.temporal_modules())
    published = [names[name] for name in modules]
    tensors = nested_tensors(
        read_checkpoint(temporal, "temporal checkpoint"), published, "temporal checkpoint"
    )
    state, left_over = unet_state(tensors, unet.config)
    account(left_over, {}, "temporal checkpoint")
    for name, module in modules.items():
        what = f"temporal checkpoint, {names[name]}"
        fill(module, with_prefix(state, f"{name}."), what, isinstance(temporal, Mapping))
