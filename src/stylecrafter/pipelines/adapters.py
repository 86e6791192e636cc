"""Adapters from anywhere: our folders, and every published format, recognised by its tensors.

A format is a module in `weights/formats/` that knows its names and sizes, and one builder here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import expand_home, is_file, is_folder, shown
from stylecrafter.weights.formats import ip_adapter, stylecrafter_sdxl, stylecrafter_v1, stylemaster
from stylecrafter.weights.formats.checkpoint_files import (
    Source,
    account,
    filled,
    flat,
    read_checkpoint,
    shapes_of,
)
from stylecrafter.weights.formats.videocrafter_unet import Shapes
from stylecrafter.weights.locate import fetch_part
from stylecrafter.weights.strict import meta_model
from stylecrafter.weights.tensor_files import listing, tensors_only

#: Names that are files, also where there are none of that name.
_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".pth", ".pt")


@dataclass(frozen=True)
class Published:
    """A published adapter as it was read.

    Attributes:
        tensors: By the names in the file; of nested state dicts, "module.key".
        heads: Attention heads of its extractor, if the caller says so.
        scale_heads: Attention heads of its scale predictor, likewise.
        copy: Whether the tensors are the caller's, who may change them later.
    """

    tensors: Mapping[str, Tensor]
    heads: int | None
    scale_heads: int | None
    copy: bool

    @property
    def shapes(self) -> Shapes:
        """Name -> shape."""
        return shapes_of(self.tensors)


@dataclass(frozen=True)
class Format:
    """A published format.

    Attributes:
        label: What messages call it.
        matches: Whether tensors of these names and shapes are of it.
        build: The adapter, every tensor accounted for.
    """

    label: str
    matches: Callable[[Shapes], bool]
    build: Callable[[Published], StyleAdapter]


def load_adapter(
    source: Source, *, num_heads: int | None = None, scale_heads: int | None = None
) -> StyleAdapter:
    """Load an adapter, whatever published it.

    Args:
        source: A folder or hub id of ours; a file (`.safetensors`, or a torch file, read with `weights_only=True`),
            also one on the hub ("owner/name/folder/file.safetensors"); or a state dict.
        num_heads: Attention heads of its extractor, which shapes do not tell; None: as published.
        scale_heads: Attention heads of its scale predictor, likewise.

    Raises:
        CheckpointError: It is of no known format, or has tensors that are missing, left over or misshapen.
        InvalidInputError: No adapter at all.
    """
    if not isinstance(source, (str, os.PathLike, Mapping)):
        raise InvalidInputError(
            f"an adapter is a StyleAdapter, a state dict, or where one lies, got {type(source).__name__}"
        )
    if not isinstance(source, Mapping):
        path = os.fspath(expand_home(os.fspath(source)))
        if _is_file_on_hub(path):
            path = str(fetch_part(path, "adapter"))
        if is_folder(path) or not (is_file(path) or Path(path).suffix in _SUFFIXES):
            return StyleAdapter.from_pretrained(path)
        source = path
    published, where = _read(source, num_heads, scale_heads)
    return _format_of(published.shapes, where).build(published)


def _is_file_on_hub(path: str) -> bool:
    """Whether that can only be "owner/name/…/file" of the hub: no path that is there, and none that begins as one."""
    here = is_file(path) or is_folder(path) or Path(path).is_absolute() or path.startswith(".")
    return not here and path.count("/") > 1 and Path(path).suffix in _SUFFIXES


def outline_adapter(source: str | os.PathLike[str]) -> StyleAdapter:
    """The adapter that `load_adapter` would load from a folder or file, without memory for its numbers: told by names
    and shapes alone.

    Raises:
        CheckpointError: See `load_adapter`.
    """
    if is_folder(source):
        adapter: StyleAdapter = meta_model(StyleAdapter, Path(source))
        return adapter
    published, where = _read(source)
    bare = {key: torch.empty_like(value, device="meta") for key, value in published.tensors.items()}
    return _format_of(published.shapes, where).build(replace(published, tensors=bare, copy=False))


def _read(source: Source, heads: int | None = None, scale_heads: int | None = None) -> tuple[Published, str]:
    """A published adapter, and what messages call where it lies."""
    tensors = tensors_only(flat(read_checkpoint(source, "adapter")), "adapter")
    published = Published(tensors, heads, scale_heads, isinstance(source, Mapping))
    return published, "the state dict" if published.copy else shown(str(source))


def _format_of(shapes: Shapes, where: str) -> Format:
    """Which format such tensors are of.

    Raises:
        CheckpointError: None that is known.
    """
    for one in FORMATS:
        if one.matches(shapes):
            return one
    looks = next(
        (text for pattern, text in _OTHERS.items() if any(re.match(pattern, key) for key in shapes)), ""
    )
    raise CheckpointError(
        f"{where} is no adapter of a known format: it holds {listing(list(shapes))}{looks and f', {looks}'}; known are "
        f"{', '.join(one.label for one in FORMATS)}, and folders that `StyleAdapter.save_pretrained` writes"
    )


def _stylecrafter_v1(file: Published) -> StyleAdapter:
    layers = stylecrafter_v1.published_layers(file.shapes)
    config = stylecrafter_v1.adapter_config(file.shapes, {name: name for name in layers}, file.heads or 8)
    # Down, mid, up: as `VideoCrafterUNet` registers them.
    config |= {"layer_names": None, "scale_heads": file.scale_heads or file.heads or 8}
    return _built(
        "StyleCrafter v1 adapter", config, stylecrafter_v1.adapter_state(file.tensors, layers), file
    )


def _stylecrafter_sdxl(file: Published) -> StyleAdapter:
    config = stylecrafter_sdxl.adapter_config(
        file.shapes,
        file.heads or stylecrafter_sdxl.EXTRACTOR_HEADS,
        file.scale_heads or stylecrafter_sdxl.SCALE_HEADS,
    )
    return _built("StyleCrafter-SDXL adapter", config, stylecrafter_sdxl.adapter_state(file.tensors), file)


def _ip_adapter(file: Published) -> StyleAdapter:
    config = ip_adapter.adapter_config(file.shapes)
    return _built("IP-Adapter", config, ip_adapter.adapter_state(file.tensors), file)


def _stylemaster(file: Published) -> StyleAdapter:
    config = stylemaster.adapter_config(file.shapes, file.heads or stylemaster.EXTRACTOR_HEADS)
    adapter = _built("StyleMaster", config, stylemaster.adapter_state(file.tensors), file)
    adapter.base_weights = stylemaster.transformer_state(file.tensors)
    return adapter


def _built(
    what: str, config: Mapping[str, Any], found: tuple[dict[str, Tensor], list[str]], file: Published
) -> StyleAdapter:
    """An adapter of that config and state, no tensor of the file left over."""
    state, left_over = found
    account(left_over, {}, what)
    return filled(lambda: StyleAdapter(**config), state, what, file.copy)


#: Every published format, the first that matches counts.
FORMATS = (
    Format("StyleCrafter v1", stylecrafter_v1.matches, _stylecrafter_v1),
    Format("StyleCrafter-SDXL", stylecrafter_sdxl.matches, _stylecrafter_sdxl),
    Format("IP-Adapter", ip_adapter.matches, _ip_adapter),
    Format("StyleMaster for Wan 2.1", stylemaster.matches, _stylemaster),
)
#: What files look like that are mistaken for adapters: pattern of a name in them -> what they are.
_OTHERS = {
    r"(extractor|scale_predictor|layers\.\d+\.to_k)\.": "the weights of one of our adapters: give its whole folder",
    r".*(lora_|\.lora\.)": "a LoRA, which `pipe.base.load_lora_weights` loads",
    r"(model\.diffusion_model|first_stage_model|conditioner)\.": "a whole base model, which `from_base` loads",
    r"(down_blocks|up_blocks|mid_block)\..*motion_modules": "motion modules, which `from_base(motion_adapter=…)` loads",
    r"(down_blocks|up_blocks|mid_block|unet)\.": "a UNet",
    r"img_emb\.": "an image-to-video model of Wan, of which there is no adapter",
    r"(patch_embedding|blocks\.\d+\.self_attn)\.": "a transformer of Wan without an adapter",
    r"(visual|vision_model|text_model|transformer\.resblocks)\.": "a CLIP, which `image_encoder=` takes",
}
