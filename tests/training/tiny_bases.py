"""Base models as users have them, folders in the layout of diffusers, and what a recipe is given for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylecrafter.media.video import write_frames
from tests.tiny import (
    motion_adapter,
    tiny_animatediff_pipeline,
    tiny_image_encoder,
    tiny_picture,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
    tiny_wan_base,
)

#: An adapter at toy size.
ADAPTER = "{num_style_tokens: 2, extractor_layers: 1, extractor_heads: 2, scale_layers: 1, scale_heads: 2}"


@dataclass(frozen=True)
class TinyBase:
    """What of a recipe is changed for a base at toy size.

    Attributes:
        side: Of pictures and clips.
        frames: Of clips; 1 on a base that makes images.
        pictures: Sources of the recipe that are replaced by tiny ones.
        clips: Likewise.
    """

    side: int
    frames: int
    pictures: tuple[str, ...]
    clips: tuple[str, ...] = ()


BASES = {
    "sdxl": TinyBase(16, 1, ("art", "art_1024")),
    "animatediff": TinyBase(16, 3, ("art", "art_stage_2"), ("video",)),
    "wan": TinyBase(32, 5, ("art", "art_stage_2"), ("video",)),
}


def save_bases(folder: Path) -> None:
    """One folder for each base, an image encoder, three pictures and a clip."""
    tiny_sd_pipeline().save_pretrained(folder / "stable_diffusion")
    tiny_sdxl_pipeline().save_pretrained(folder / "sdxl")
    tiny_animatediff_pipeline().save_pretrained(folder / "animatediff")
    motion_adapter().save_pretrained(folder / "motion_adapter")
    tiny_wan_base().save_pretrained(folder / "wan")
    tiny_image_encoder().save_pretrained(folder / "image_encoder")
    for place in ("pictures", "clips"):
        (folder / place).mkdir()
    for number, word in enumerate(("fox", "boat", "lake")):
        tiny_picture(number, 48, 48).save(folder / "pictures" / f"{word}.png")
        (folder / "pictures" / f"{word}.txt").write_text(f"a red {word}")
    frames = np.stack([np.asarray(tiny_picture(number, 48, 48)) for number in range(6)])
    write_frames(frames, folder / "clips" / "fox.mp4", fps=8)
    (folder / "clips" / "fox.txt").write_text("a fox running")


def tiny_changes(name: str, folder: Path) -> list[str]:
    """`--set` of a recipe for the base of that name in a folder of `save_bases`."""
    base = BASES[name]
    source = f"kind: files, batch_size: 2, size: {base.side}"
    pictures = f"{{{source}, path: {folder / 'pictures'}, references: crop}}"
    clips = f"{{{source}, path: {folder / 'clips'}, num_frames: {base.frames}}}"
    place = f"base: {folder / name}"
    if name == "animatediff":
        place = f"base: {folder / 'stable_diffusion'}, motion_adapter: {folder / 'motion_adapter'}"
    return [
        f"model={{{place}, image_encoder: {folder / 'image_encoder'}}}",
        f"adapter={ADAPTER}",
        "trackers=[csv]",
        "samples=null",
        *(f"data.{source}={pictures}" for source in base.pictures),
        *(f"data.{source}={clips}" for source in base.clips),
    ]
