"""What training never sees: the one place where StyleWorld's hold-outs are written down.

Held out are whole drawing sets (`objects.HELD_OUT_PACKS`), some objects, some style kinds, some palette families,
a range of the first style parameter, and some pairs of motion and object.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import OBJECT_NAMES, TRAIN_PACKS
from stylecrafter.styleworld.palettes import PALETTE_FAMILIES
from stylecrafter.styleworld.scenes import SCENE_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES

HELD_OUT_OBJECTS = (
    "panda",
    "violin",
    "tulip",
    "helicopter",
    "pear",
    "crab",
    "trophy",
    "church",
    "wolf",
    "cookie",
)
HELD_OUT_STYLES = ("crosshatch", "stained glass", "cross stitch", "contours")
#: Every fifth palette family, spread over harmonies and hues.
HELD_OUT_PALETTES = tuple(
    family for family in range(PALETTE_FAMILIES) if (family * 7 + family // 24) % 5 == 0
)
TRAIN_PALETTES = tuple(family for family in range(PALETTE_FAMILIES) if family not in HELD_OUT_PALETTES)
#: The first style parameter never falls in this range during training.
HELD_OUT_PARAMETER = (0.4, 0.55)


def is_held_out_pair(motion: torch.Tensor, thing: torch.Tensor) -> torch.Tensor:
    """Whether a pair of motion and object (indices, both (n,)) is never shown as a clip in training: bool (n,).

    One pair in eleven is held out; "still" never is.
    """
    return ((motion * 5 + thing * 3) % 11 == 0) & (motion > 0)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The part of the world that a model is trained on, by name."""

    objects: tuple[str, ...]
    packs: tuple[str, ...]
    scenes: tuple[str, ...]
    motions: tuple[str, ...]
    styles: tuple[str, ...]


#: Everything that may be trained on.
FULL = Vocabulary(
    objects=tuple(name for name in OBJECT_NAMES if name not in HELD_OUT_OBJECTS),
    packs=TRAIN_PACKS,
    scenes=SCENE_NAMES,
    motions=MOTION_NAMES,
    styles=tuple(name for name in STYLE_NAMES if name not in HELD_OUT_STYLES and name != "plain"),
)

#: A smaller world, for weights that are trained without an accelerator.
SMALL = Vocabulary(
    objects=(
        "dog", "cat", "fox", "horse", "elephant", "bear", "bird", "penguin", "fish", "butterfly", "car", "bus",
        "train", "airplane", "rocket", "sailboat", "balloon", "apple", "cake", "tree", "cactus", "sunflower",
        "house", "guitar",
    ),
    packs=("noto",),
    scenes=("meadow", "desert", "night", "city", "mountains", "snow", "sunset"),
    motions=("still", "left", "right", "up", "down", "jump", "grow", "shrink"),
    styles=(
        "poster", "watercolour", "halftone", "engraving", "sketch", "neon", "stripes", "gradient", "impasto", "grain",
    ),
)  # fmt: skip
