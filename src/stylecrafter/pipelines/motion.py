"""Motion modules from anywhere, and what Stable Diffusion becomes with them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import (
    AnimateDiffControlNetPipeline,
    AnimateDiffPipeline,
    DDIMScheduler,
    MotionAdapter,
    UNetMotionModel,
)
from torch import Tensor

from stylecrafter.backbones.stable_diffusion import StableDiffusion
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import expand_home, is_file, is_folder
from stylecrafter.weights.formats.checkpoint_files import account, fill, flat, read_checkpoint, shapes_of
from stylecrafter.weights.formats.motion_modules import LEFT_OUT, motion_config, motion_state
from stylecrafter.weights.strict import meta_model, refusing
from stylecrafter.weights.tensor_files import tensors_only

logger = logging.getLogger(__name__)

_WHAT = "motion modules"

#: What motion modules were trained with, whatever the base was.
_TRAINED_NOISE = {
    "beta_schedule": "linear",
    "timestep_spacing": "linspace",
    "clip_sample": False,
    "steps_offset": 1,
}


def open_motion_adapter(source: Any) -> MotionAdapter:
    """AnimateDiff's motion modules, in float32.

    Args:
        source: A `MotionAdapter`; a folder or hub id of one; or a file of them, as published or as diffusers saves it.

    Raises:
        CheckpointError: It cannot be loaded, or has tensors that are missing, left over or misshapen.
    """
    if isinstance(source, MotionAdapter):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidInputError(
            f"motion modules are a MotionAdapter, or where one lies, got {type(source).__name__}"
        )
    path = expand_home(os.fspath(source))
    if not is_file(path):
        with refusing(f"{os.fspath(source)!r} is no motion adapter that can be loaded"):
            return MotionAdapter.from_pretrained(path)
    return _built(_published(path))


def outline_motion_adapter(place: Path) -> MotionAdapter:
    """What `open_motion_adapter` would load from a folder or file, without memory for its numbers.

    Raises:
        CheckpointError: See `open_motion_adapter`.
    """
    if is_folder(place):
        model: MotionAdapter = meta_model(MotionAdapter, place)
        return model
    tensors = _published(place)
    return _built({name: torch.empty_like(value, device="meta") for name, value in tensors.items()}).to(
        "meta"
    )


def _published(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    return tensors_only(flat(read_checkpoint(path, _WHAT)), _WHAT)


def _built(published: dict[str, Tensor]) -> MotionAdapter:
    state, left_over = motion_state(published)
    config = motion_config(shapes_of(published), shapes_of(state))
    account(left_over, LEFT_OUT, _WHAT)
    try:
        with init_empty_weights():
            model = MotionAdapter(**config)
    except ValueError as error:
        raise CheckpointError(f"{_WHAT}: the sizes do not go together: {error}") from error
    # Places in time are no weights, and there already.
    places = {name: value for name, value in model.state_dict().items() if name.endswith(".pos_embed.pe")}
    fill(model, state | places, _WHAT, copy=False)
    return model.eval()


def with_motion(
    base: Any, motion_adapter: MotionAdapter
) -> AnimateDiffPipeline | AnimateDiffControlNetPipeline:
    """A Stable Diffusion pipeline with motion modules: it shares all but the UNet, whose weights are copied, and the
    scheduler, which is DDIM at the noise levels that motion modules were trained with.

    Raises:
        InvalidInputError: The base is no Stable Diffusion, the modules are for another, or the UNet has a LoRA in it.
    """
    unet: Any = getattr(base, "unet", None)
    if not StableDiffusion.accepts(unet):
        raise InvalidInputError(
            f"motion modules turn a Stable Diffusion pipeline into AnimateDiff, got {type(base).__name__} with a unet "
            f"of {type(unet).__name__}"
        )
    if getattr(unet, "peft_config", None):
        raise InvalidInputError("load the LoRA into pipe.base afterwards: motion modules join a plain UNet")
    try:
        moving = UNetMotionModel.from_unet2d(unet, motion_adapter)
    except (ValueError, RuntimeError) as error:
        widths = [tuple(model.config.block_out_channels) for model in (motion_adapter, unet)]
        raise InvalidInputError(
            f"the motion modules do not fit this model: they are for a UNet of widths {widths[0]}, it has {widths[1]} "
            f"({str(error).splitlines()[0]})"
        ) from error
    scheduler = DDIMScheduler.from_config(base.scheduler.config, **_TRAINED_NOISE)
    logger.info("sampling with DDIM at linear betas, as motion modules were trained")
    shared = ("vae", "text_encoder", "tokenizer", "feature_extractor", "image_encoder", "controlnet")
    parts = {name: part for name in shared if (part := getattr(base, name, None)) is not None}
    kind = AnimateDiffControlNetPipeline if "controlnet" in parts else AnimateDiffPipeline
    return kind(
        **{"vae": None, "text_encoder": None, "tokenizer": None, **parts},
        unet=moving.eval(),
        motion_adapter=motion_adapter,
        scheduler=scheduler,
    )
