"""Motion modules from anywhere, and what Stable Diffusion becomes with them."""

from __future__ import annotations

import logging
import os
from typing import Any

from accelerate import init_empty_weights
from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter, UNetMotionModel

from stylecrafter.backbones.stable_diffusion import StableDiffusion
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import expand_home, is_file
from stylecrafter.weights.formats.checkpoint_files import account, fill, flat, read_checkpoint, shapes_of
from stylecrafter.weights.formats.motion_modules import LEFT_OUT, motion_config, motion_state
from stylecrafter.weights.strict import refusing
from stylecrafter.weights.tensor_files import tensors_only

logger = logging.getLogger(__name__)

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
    path = expand_home(os.fspath(source))
    if not is_file(path):
        with refusing(f"{os.fspath(source)!r} is no motion adapter that can be loaded"):
            return MotionAdapter.from_pretrained(path)
    what = "motion modules"
    published = tensors_only(flat(read_checkpoint(path, what)), what)
    state, left_over = motion_state(published)
    config = motion_config(shapes_of(published), shapes_of(state))
    account(left_over, LEFT_OUT, what)
    try:
        with init_empty_weights():
            model = MotionAdapter(**config)
    except ValueError as error:
        raise CheckpointError(f"{what}: the sizes do not go together: {error}") from error
    # Places in time are no weights, and there already.
    places = {name: value for name, value in model.state_dict().items() if name.endswith(".pos_embed.pe")}
    fill(model, state | places, what, copy=False)
    return model.eval()


def with_motion(base: Any, motion_adapter: MotionAdapter) -> AnimateDiffPipeline:
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
    return AnimateDiffPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=moving.eval(),
        motion_adapter=None,
        scheduler=scheduler,
        feature_extractor=getattr(base, "feature_extractor", None),
        image_encoder=getattr(base, "image_encoder", None),
    )
