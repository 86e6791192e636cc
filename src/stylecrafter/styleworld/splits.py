"""What training never sees: the one place where StyleWorld's hold-outs are written down.

Held out are whole drawing sets (`objects.HELD_OUT_PACKS`), some objects, some style kinds, some palette families
(of the palettes from pictures: all those of some pictures), a range of the first style parameter, and some pairs of
motion and object and of camera and object.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import torch

from stylecrafter.errors import unknown_name
from stylecrafter.styleworld.cameras import CAMERA_NAMES
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import HELD_OUT_PACKS, OBJECT_NAMES, TRAIN_PACKS
from stylecrafter.styleworld.palettes import HARMONY_FAMILIES, PALETTE_FAMILIES, picture_palettes
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
HELD_OUT_STYLES = ("crosshatch", "stained glass", "cross stitch", "contours", "spiral", "bricks")
#: Every fifth family of harmonies, spread over harmonies and hues.
HELD_OUT_HARMONIES = tuple(
    family for family in range(HARMONY_FAMILIES) if (family * 7 + family // 24) % 5 == 0
)
#: A picture gives palettes to one side only, so that no held-out one is the neighbour of a trained one.
HELD_OUT_PICTURES = tuple(
    sorted({source for source, _ in picture_palettes() if zlib.crc32(source.encode()) % 5 == 0})
)
HELD_OUT_PICTURE_PALETTES = tuple(
    HARMONY_FAMILIES + i for i, (source, _) in enumerate(picture_palettes()) if source in HELD_OUT_PICTURES
)
HELD_OUT_PALETTES = HELD_OUT_HARMONIES + HELD_OUT_PICTURE_PALETTES
TRAIN_HARMONIES = tuple(family for family in range(HARMONY_FAMILIES) if family not in HELD_OUT_HARMONIES)
TRAIN_PALETTES = tuple(family for family in range(PALETTE_FAMILIES) if family not in HELD_OUT_PALETTES)
#: The first style parameter never falls in this range during training.
HELD_OUT_PARAMETER = (0.4, 0.55)


def is_held_out_pair(motion: torch.Tensor, thing: torch.Tensor) -> torch.Tensor:
    """Whether a pair of motion and object (indices, both (n,)) is never shown as a clip in training: bool (n,).

    One pair in eleven is held out; "still" never is.
    """
    return ((motion * 5 + thing * 3) % 11 == 0) & (motion > 0)


def is_held_out_view(camera: torch.Tensor, thing: torch.Tensor) -> torch.Tensor:
    """Whether a pair of camera and object (indices, both (n,)) is never shown as a clip in training: bool (n,).

    One pair in eleven is held out; the fixed camera never is.
    """
    return ((camera * 4 + thing * 5) % 11 == 0) & (camera > 0)


Wording = Literal["plain", "rich"]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The part of the world that a model is trained on, by name.

    `wording` says how captions speak: "plain" in a few phrases without synonyms, "rich" in all of them (its words:
    `wording.words_of`). `picture_palettes` adds the palettes taken from pictures to those of harmonies.
    """

    objects: tuple[str, ...]
    packs: tuple[str, ...]
    scenes: tuple[str, ...]
    motions: tuple[str, ...]
    styles: tuple[str, ...]
    cameras: tuple[str, ...] = ("fixed",)
    wording: Wording = "plain"
    picture_palettes: bool = False


#: Everything that may be trained on.
FULL = Vocabulary(
    objects=tuple(name for name in OBJECT_NAMES if name not in HELD_OUT_OBJECTS),
    packs=TRAIN_PACKS,
    scenes=SCENE_NAMES,
    motions=MOTION_NAMES,
    styles=tuple(name for name in STYLE_NAMES if name not in HELD_OUT_STYLES and name != "plain"),
    cameras=CAMERA_NAMES,
    wording="rich",
    picture_palettes=True,
)

#: For training on processors, with more to say than the small world: one drawing set, drawn scenes, no camera moves.
MEDIUM = Vocabulary(
    objects=(
        "dog", "cat", "fox", "rabbit", "horse", "cow", "elephant", "lion", "bear", "monkey", "pig", "bird", "duck",
        "owl", "penguin", "turtle", "frog", "fish", "whale", "butterfly", "snail", "car", "bus", "bicycle", "train",
        "airplane", "rocket", "sailboat", "balloon", "apple", "banana", "strawberry", "pizza", "cake", "tree", "cactus",
        "sunflower", "mushroom", "house", "castle", "tent", "guitar", "umbrella", "lamp", "hat", "snowman", "telescope",
        "backpack",
    ),
    packs=("noto",),
    scenes=(
        "meadow", "desert", "beach", "night", "city", "mountains", "forest", "snow", "sunset", "space",
    ),
    motions=("still", "left", "right", "up", "down", "jump", "grow", "shrink"),
    styles=FULL.styles,
    picture_palettes=True,
)  # fmt: skip

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

#: What no training picture shows: objects, drawing sets and style kinds, in scenes and motions that are known.
HELD_OUT = Vocabulary(
    objects=HELD_OUT_OBJECTS,
    packs=HELD_OUT_PACKS,
    scenes=SCENE_NAMES,
    motions=MOTION_NAMES,
    styles=HELD_OUT_STYLES,
    cameras=CAMERA_NAMES,
    wording="rich",
    picture_palettes=True,
)

VOCABULARIES = {"small": SMALL, "medium": MEDIUM, "full": FULL, "held-out": HELD_OUT}


def find_vocabulary(name: str) -> Vocabulary:
    """A vocabulary by name: small, medium, full or held-out.

    Raises:
        UnknownNameError: No vocabulary has that name.
    """
    if name not in VOCABULARIES:
        raise unknown_name("vocabulary", name, VOCABULARIES)
    return VOCABULARIES[name]
