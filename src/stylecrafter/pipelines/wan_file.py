"""Wan 2.1 with its transformer in a single file, as it was first published and as many people share it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import expand_home, is_folder, shown
from stylecrafter.weights.formats.checkpoint_files import shapes_of
from stylecrafter.weights.strict import Held, compare, refusing

_PREFIX = "model.diffusion_model."
#: Where the other parts are, by the width of the transformer.
PUBLISHED = {
    1536: "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    5120: "Wan-AI/Wan2.1-T2V-14B-Diffusers",
}
#: What a file for something else than text to video has: pattern of a name in it -> what it is.
_OTHERS = {
    r"img_emb\.": "an image-to-video model of Wan; only those for text to video can be used",
    r"blocks\.\d+\.cross_attn\.k_img\.": "StyleMaster, an adapter and its base model: give it as the adapter of a Wan",
    r"vace_": "VACE, which reads more than a text",
}


def is_wan(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file of such tensors holds a transformer of Wan, by its first names for them."""
    return any(f"{prefix}blocks.0.self_attn.norm_q.weight" in tensors for prefix in ("", _PREFIX))


def open_wan_file(
    path: Path,
    tensors: Mapping[str, Tensor],
    what: str,
    dtype: torch.dtype,
    config: str | os.PathLike[str] | None,
    options: Mapping[str, Any],
) -> Any:
    """The diffusers pipeline around the transformer of a file.

    Args:
        path: The file.
        tensors: What it holds (`is_wan`).
        what: For messages.
        dtype: Of its weights.
        config: Folder or hub id of a Wan 2.1 in the diffusers layout, which has the other parts; None: the published
            one of that size.
        options: Go to the loader of that.

    Raises:
        CheckpointError: The file is of another kind of Wan, or the transformer is not filled by it; or the other parts
            cannot be loaded.
    """
    own = {name.removeprefix(_PREFIX): value for name, value in tensors.items()}
    _refuse_others(own, what)
    place = published_place(own, what) if config is None else str(expand_home(os.fspath(config)))
    hint = "" if config is not None else "; give the folder of a Wan 2.1 as config= to do without the hub"
    with refusing(f"{what}: the other parts of the model cannot be loaded from {shown(place)}{hint}"):
        settings = WanTransformer3DModel.load_config(place, subfolder="transformer")
    _check(own, settings, what)
    with refusing(f"{what} cannot be loaded as a WanTransformer3DModel"):
        transformer = WanTransformer3DModel.from_single_file(
            str(path),
            config=place,
            subfolder="transformer",
            torch_dtype=dtype,
            local_files_only=is_folder(place),
        )
    Held(what, convert_wan_transformer_to_diffusers(dict(own))).verify(transformer)
    with refusing(f"{what}: the other parts of the model cannot be loaded from {shown(place)}{hint}"):
        return WanPipeline.from_pretrained(place, transformer=transformer, dtype=dtype, **options)


def published_place(tensors: Mapping[str, Tensor], what: str) -> str:
    """Hub id of the published model of that size, which has the other parts.

    Raises:
        CheckpointError: The file is of another kind of Wan, or of a size that nobody has published.
    """
    own = {name.removeprefix(_PREFIX): value for name, value in tensors.items()}
    _refuse_others(own, what)
    width = own["blocks.0.self_attn.norm_q.weight"].shape[0]
    if width not in PUBLISHED:
        raise CheckpointError(
            f"{what}: it is a transformer of width {width}, alone; give the folder of a Wan 2.1 of that size as "
            "config= (--config)"
        )
    return PUBLISHED[width]


def _refuse_others(own: Mapping[str, Tensor], what: str) -> None:
    for pattern, kind in _OTHERS.items():
        if any(re.match(pattern, name) for name in own):
            raise CheckpointError(f"{what}: it is {kind}")


def _check(own: Mapping[str, Tensor], settings: Any, what: str) -> None:
    """Refuse tensors that are missing, unknown or misshapen."""
    with torch.device("meta"):
        wanted = shapes_of(WanTransformer3DModel.from_config(settings).state_dict())
    misfit = compare(wanted, convert_wan_transformer_to_diffusers(dict(own)))
    if misfit:
        raise CheckpointError(f"{what}: {misfit.text()}.")
