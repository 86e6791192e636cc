"""Base models in a single file, in the layout of their first publication, as many people share them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import expand_home, shown
from stylecrafter.pipelines.wan_file import is_wan, open_wan_file, published_place
from stylecrafter.weights.folders import OUTSIDE
from stylecrafter.weights.formats.checkpoint_files import read_checkpoint
from stylecrafter.weights.strict import finite, refusing
from stylecrafter.weights.tensor_files import listing, tensors_only

logger = logging.getLogger(__name__)

UNET, VAE = "model.diffusion_model.", "first_stage_model."
#: What tells the family by a text encoder: name of a tensor -> pipeline.
_FAMILIES = {
    "conditioner.embedders.1.model.token_embedding.weight": "StableDiffusionXLPipeline",
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": "StableDiffusionPipeline",
    "cond_stage_model.model.token_embedding.weight": "StableDiffusionPipeline",
}
#: Channels that a UNet reads, where they are not the latents' own four.
_OTHER_INPUTS = {
    9: "an inpainting model",
    8: "a model that edits or joins pictures",
    5: "a depth model",
    7: "an upscaler",
}
#: What such files hold beside the models: tables that schedulers compute, averages and losses of training.
_BESIDE = re.compile(
    r"[^.]+|denoiser\.sigmas|model_ema\..+|first_stage_model\.loss\..+|conditioner\.embedders\.[2-9]\..+"
    r"|(cond_stage_model|conditioner)\..+"
)


def open_single_file(
    path: Path, dtype: torch.dtype, config: str | os.PathLike[str] | None, options: Mapping[str, Any]
) -> Any:
    """Load the diffusers pipeline of a single file; its family is told by its tensors.

    Args:
        path: A safetensors or torch file (read with `weights_only=True`).
        dtype: Of its weights.
        config: Folder or hub id of a model whose configs, tokenizers and scheduler it shares; None: the hub's own.
            Files of Wan hold the transformer alone: there it is a model that has the other parts.
        options: Go to diffusers' `from_single_file`.

    Raises:
        CheckpointError: It cannot be read, holds another kind of model or a part of one, or tensors of its UNet or
            autoencoder are missing, unknown or not finite.
    """
    what = f"base model {shown(str(path))}"
    tensors = tensors_only(read_checkpoint(path, what), what)
    if is_wan(tensors):
        return open_wan_file(path, tensors, what, dtype, config, options)
    kind = getattr(diffusers, family_of(tensors, what))
    where = (
        {} if config is None else {"config": str(expand_home(os.fspath(config))), "local_files_only": True}
    )
    hint = (
        ""
        if config is not None
        else "; give the folder of a model of its family as config= to do without the hub"
    )
    with refusing(f"{what} cannot be loaded as a {kind.__name__}{hint}"):
        parts = {**dict.fromkeys(OUTSIDE), **where, **options}
        try:
            base = kind.from_single_file(str(path), **parts)
        except NotImplementedError as error:
            # What torch says of weights that nothing has filled, when they are to go to their device.
            raise CheckpointError(f"{what}: tensors of its UNet or autoencoder are missing") from error
    _check_filled(base, tensors, what)
    # Not before: what is missing could not be cast, and nothing would say what it is.
    return base.to(dtype)


def published_configs(path: Path) -> str:
    """Hub id of the published model whose configs a single file shares, told by its tensors.

    Raises:
        CheckpointError: See `open_single_file`.
    """
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    what = f"base model {shown(str(path))}"
    tensors = tensors_only(read_checkpoint(path, what), what)
    if is_wan(tensors):
        return published_place(tensors, what)
    family_of(tensors, what)
    return str(fetch_diffusers_config(tensors)["pretrained_model_name_or_path"])


def family_of(tensors: Mapping[str, Tensor], what: str) -> str:
    """Class name of the diffusers pipeline that such tensors are of.

    Raises:
        CheckpointError: None that is known; the message says what it looks like.
    """
    first = tensors.get(f"{UNET}input_blocks.0.0.weight")
    if first is None:
        raise CheckpointError(
            f"{what}: it holds {listing(list(tensors))}, which is no whole model of Stable Diffusion or SDXL in a "
            f"single file (these have {UNET}…){_looks(tensors)}"
        )
    if any(key.startswith(f"{UNET}init_attn.") for key in tensors):
        raise CheckpointError(
            f"{what}: it is VideoCrafter's: `stylecrafter convert` makes a model folder of it"
        )
    channels = first.shape[1]
    if channels != 4:
        kind = _OTHER_INPUTS.get(channels, "another kind of model")
        raise CheckpointError(
            f"{what}: its UNet reads {channels} channels, it is {kind}; base models read the 4 of noisy latents alone"
        )
    for key, pipeline in _FAMILIES.items():
        if key in tensors:
            return pipeline
    refiner = any(key.startswith("conditioner.embedders.0.model.") for key in tensors)
    raise CheckpointError(
        f"{what}: it is SDXL's refiner; the base model is what can be styled"
        if refiner
        else f"{what}: it has no text encoder (cond_stage_model… or conditioner…); a whole model is needed"
    )


def _looks(tensors: Mapping[str, Tensor]) -> str:
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type

    try:
        found = infer_diffusers_model_type(tensors)
    except (KeyError, IndexError, AttributeError):
        return ""
    # What it does not know either, it calls version 1 of Stable Diffusion.
    return "" if found == "v1" else f"; diffusers would call it {found!r}"


def _check_filled(base: Any, tensors: Mapping[str, Tensor], what: str) -> None:
    """Make sure that every model is filled, and that the UNet and the autoencoder took all that is theirs.

    Raises:
        CheckpointError: Something is missing, left over or not finite.
    """
    for name, model in base.components.items():
        if not isinstance(model, nn.Module):
            continue
        state = model.state_dict()
        if missing := [key for key, value in state.items() if value.is_meta]:
            raise CheckpointError(f"{what}: {listing(missing)} of its {name} missing")
        finite(state, f"{what}, {name}")
    for name, prefix in (("unet", UNET), ("vae", VAE)):
        held = [key for key in tensors if key.startswith(prefix) and not key.startswith(f"{VAE}loss.")]
        # Layouts map one to one.
        if held and len(held) != len(getattr(base, name).state_dict()):
            raise CheckpointError(
                f"{what}: it holds {len(held)} tensors under {prefix}, its {name} has "
                f"{len(getattr(base, name).state_dict())}: some are missing, or of another model"
            )
    others = [key for key in tensors if not key.startswith((UNET, VAE)) and not _BESIDE.fullmatch(key)]
    if others:
        logger.warning(
            "%s: left out %s, which no part of a %s has", what, listing(others), type(base).__name__
        )
