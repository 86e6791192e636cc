"""What a picture of StyleWorld is called: content alone, or content and style."""

from __future__ import annotations

import random

from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import OBJECT_NAMES
from stylecrafter.styleworld.palettes import COLOUR_NAMES, family_colours
from stylecrafter.styleworld.scenes import SCENE_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES

SCENE_PHRASES: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "on a green meadow", "in a field of grass"),
    "desert": ("in the desert", "in a sandy desert", "among desert dunes"),
    "beach": ("on the beach", "on a sandy beach", "at the seaside"),
    "night": ("at night", "under a starry night sky", "at night under the moon"),
    "city": ("in the city", "on a city street", "in front of a city skyline"),
    "mountains": ("in the mountains", "in front of snowy mountains", "in a mountain landscape"),
    "forest": ("in the forest", "in the woods", "in a dark forest"),
    "snow": ("in the snow", "on a snowy field", "in a snowy winter landscape"),
    "sea": ("on the sea", "on the ocean", "in the waves"),
    "sunset": ("at sunset", "under a sunset sky", "in the evening at sunset"),
    "space": ("in space", "in outer space", "among the stars in space"),
    "room": ("in a room", "inside a room", "at home in a room"),
}
MOTION_PHRASES: dict[str, tuple[str, ...]] = {
    "still": ("", "standing still", "resting"),
    "left": ("moving to the left", "going left", "running left"),
    "right": ("moving to the right", "going right", "running right"),
    "up": ("rising up", "floating up", "moving up"),
    "down": ("falling down", "sinking down", "moving down"),
    "jump": ("jumping", "bouncing", "jumping up and down"),
    "spin": ("spinning", "turning around", "rotating"),
    "grow": ("growing", "getting bigger", "coming closer"),
    "shrink": ("shrinking", "getting smaller", "going away"),
}
STYLE_PHRASES: dict[str, tuple[str, ...]] = {
    "plain": ("a photo of", "a picture of"),
    "poster": ("a flat poster of", "a screen print of"),
    "watercolour": ("a watercolor painting of", "a watercolor of"),
    "halftone": ("a halftone print of", "a comic halftone of"),
    "engraving": ("an engraving of", "a line engraving of"),
    "sketch": ("a pencil sketch of", "a sketch of"),
    "mosaic": ("a mosaic of", "a tile mosaic of"),
    "neon": ("a neon drawing of", "a glowing neon sign of"),
    "woodcut": ("a woodcut of", "a woodblock print of"),
    "grain": ("a grainy print of", "a stippled drawing of"),
    "stripes": ("a striped picture of", "a striped design of"),
    "gradient": ("a soft gradient picture of", "a duotone picture of"),
    "impasto": ("an oil painting of", "a thick oil painting of"),
    "crosshatch": ("a crosshatched drawing of",),
    "stained glass": ("a stained glass window of",),
    "cross stitch": ("a cross stitch of",),
    "contours": ("a contour map drawing of",),
}


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def content_caption(thing: int, scene: int, motion: int | None, rng: random.Random) -> str:
    """A sentence on what is to be seen. `motion` None is a still picture: nothing is said of movement."""
    move = rng.choice(MOTION_PHRASES[MOTION_NAMES[motion]]) if motion is not None else ""
    place = rng.choice(SCENE_PHRASES[SCENE_NAMES[scene]])
    sentence = " ".join(word for word in (_article(OBJECT_NAMES[thing]), move, place) if word)
    return sentence[0].upper() + sentence[1:] + "." if rng.random() < 0.3 else sentence


def full_caption(
    thing: int, scene: int, motion: int | None, style: int, palette_family: int, rng: random.Random
) -> str:
    """The content caption with its style: the manner, and the colours by name."""
    content = content_caption(thing, scene, motion, rng)
    content = (content[0].lower() + content[1:]).rstrip(".")
    name = STYLE_NAMES[style]
    phrase = rng.choice(STYLE_PHRASES[name])
    if name == "plain":
        return f"{phrase} {content}"
    first, second = family_colours(palette_family)
    colours = first if first == second else f"{first} and {second}"
    return f"{phrase} {content}, in {colours}"


def vocabulary_words() -> tuple[str, ...]:
    """Every word that captions can use, for a tokenizer."""
    texts = [*OBJECT_NAMES, *COLOUR_NAMES, "a an and in"]
    for phrases in (SCENE_PHRASES, MOTION_PHRASES, STYLE_PHRASES):
        texts += [phrase for variants in phrases.values() for phrase in variants]
    return tuple(sorted({word for text in texts for word in text.split()}))
