"""A model from its configs alone: parts without memory for their weights, which can be asked what they take."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.families import COMPONENTS, backbone_for
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import CheckpointError
from stylecrafter.pipelines.motion import with_motion
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.folders import INDEX_NAME
from stylecrafter.weights.strict import refusing, skeleton


@dataclass(frozen=True)
class Skeleton:
    """What a model folder holds; no tokenizers, and no numbers in any weight.

    Attributes:
        backbone: The base model.
        image_encoder: CLIP image tower, where there is one.
        style_adapter: Likewise; it is not attached.
    """

    backbone: Backbone
    image_encoder: CLIPVisionModel | CLIPVisionModelWithProjection | None
    style_adapter: StyleAdapter | None


def read_skeleton(folder: Path, motion_adapter: Path | None = None) -> Skeleton:
    """The parts that the `model_index.json` of a folder names, ours or of diffusers.

    Args:
        folder: The model folder.
        motion_adapter: Folder of motion modules to go with it (`motion.with_motion`).

    Raises:
        CheckpointError: A config that is missing or makes no model.
        InvalidInputError: No family of base models has such parts, or the motion modules do not fit.
    """
    index = read_config(folder / INDEX_NAME, required=True)
    parts = {
        name: _part(folder / name, entry)
        for name in (*COMPONENTS, "image_encoder", "style_adapter")
        if not name.startswith("tokenizer") and (entry := index.get(name)) not in (None, [None, None])
    }
    image_encoder, style_adapter = parts.pop("image_encoder", None), parts.pop("style_adapter", None)
    backbone = backbone_for(**parts)
    if motion_adapter is not None:
        with refusing(f"{str(motion_adapter)!r} is no motion adapter that can be loaded"):
            modules = _model(motion_adapter, MotionAdapter)
        with torch.device("meta"):
            moving = with_motion(backbone.base_pipeline(), modules)
        backbone = backbone_for(**{name: getattr(moving, name, None) for name in COMPONENTS})
    return Skeleton(backbone, image_encoder, style_adapter)


def read_image_encoder(folder: Path) -> CLIPVisionModelWithProjection:
    """The CLIP image tower of a folder, as `from_base.open_image_encoder` loads it.

    Raises:
        CheckpointError: Its config is missing or of something else.
    """
    with refusing(f"{str(folder)!r} is not an image encoder that can be loaded"):
        return _model(folder, CLIPVisionModelWithProjection)


def _part(folder: Path, entry: Any) -> Any:
    if (
        not isinstance(entry, list)
        or len(entry) != 2
        or entry[0] not in ("diffusers", "transformers", "stylecrafter")
    ):
        raise CheckpointError(
            f"{folder.parent / INDEX_NAME}: {folder.name} is {entry}, which is of no known library"
        )
    with refusing(f"the {folder.name} in {folder} cannot be loaded"):
        kind = getattr(import_module(entry[0]), entry[1])
        return kind.from_pretrained(folder) if folder.name == "scheduler" else _model(folder, kind)


def _model(folder: Path, kind: Any) -> Any:
    return skeleton(kind, folder, read_config(folder / "config.json", required=True))
