"""Palettes: five colours from dark to light, drawn from families of hue harmonies and from real pictures."""

from __future__ import annotations

import colorsys
import functools
import json
from importlib import resources

import torch

from stylecrafter.styleworld.fields import hsv_to_rgb

PALETTE_SIZE = 5
#: Hue of each of the five colours relative to the base hue, in turns.
SCHEMES: dict[str, tuple[float, float, float, float, float]] = {
    "monochrome": (0.0, 0.0, 0.01, 0.02, 0.02),
    "analogous": (0.0, 0.04, 0.08, 0.13, 0.17),
    "complementary": (0.0, 0.02, 0.5, 0.52, 0.5),
    "split": (0.0, 0.42, 0.04, 0.58, 0.5),
    "triad": (0.0, 0.33, 0.67, 0.35, 0.66),
}
HUE_BINS = 24
#: Families made of harmonies come first; after them each palette taken from a picture is a family of its own.
HARMONY_FAMILIES = len(SCHEMES) * HUE_BINS

#: Colours that captions can name, as hue in turns for saturated ones.
_HUE_NAMES = (
    (0.0, "red"),
    (0.07, "orange"),
    (0.15, "yellow"),
    (0.24, "lime"),
    (0.35, "green"),
    (0.48, "teal"),
    (0.54, "cyan"),
    (0.61, "blue"),
    (0.7, "indigo"),
    (0.77, "purple"),
    (0.85, "magenta"),
    (0.93, "pink"),
    (1.0, "red"),
)
COLOUR_NAMES = tuple(dict.fromkeys(name for _, name in _HUE_NAMES))
#: What colours of little saturation are called, besides orange ones that are dark or dull: brown and beige.
MUTED_NAMES = ("brown", "beige", "gray", "white", "black")

#: What an object of a colour of its own is called after, and its hue in turns; muted ones have tones of their own.
OBJECT_COLOURS = (*COLOUR_NAMES, "brown", "white", "black")
#: Saturation and value of the darkest and of the lightest tone of each.
_VIVID_TONES = ((0.95, 0.30), (0.35, 1.0))
_MUTED_TONES = {
    "brown": (0.07, (0.80, 0.14), (0.45, 0.66)),
    "white": (0.60, (0.12, 0.55), (0.0, 1.0)),
    "black": (0.65, (0.30, 0.03), (0.15, 0.34)),
}


def object_palettes(colour: torch.Tensor) -> torch.Tensor:
    """Palettes (n, 5, 3) in [0, 1], dark to light, of objects of a colour (n,) (indices into `OBJECT_COLOURS`)."""
    hues = {name: hue for hue, name in reversed(_HUE_NAMES)}
    tones = [_MUTED_TONES.get(name, (hues.get(name, 0.0), *_VIVID_TONES)) for name in OBJECT_COLOURS]
    hue = torch.tensor([tone[0] for tone in tones])[:, None].expand(-1, PALETTE_SIZE)
    dark, light = (torch.tensor([tone[place] for tone in tones])[:, None] for place in (1, 2))
    steps = torch.linspace(0, 1, PALETTE_SIZE)[None, :, None]
    saturation, value = (dark + (light - dark) * steps).unbind(-1)
    return hsv_to_rgb(hue, saturation, value)[colour]


@functools.cache
def picture_palettes() -> tuple[tuple[str, tuple[tuple[float, ...], ...]], ...]:
    """Palettes from pictures: source and five colours in [0, 1] each (`scripts/build_palettes.py`)."""
    text = (resources.files("stylecrafter.styleworld") / "atlas" / "palettes.json").read_text("utf-8")
    return tuple(
        (entry["source"], tuple(tuple(value / 255 for value in colour) for colour in entry["colours"]))
        for entry in json.loads(text)
    )


PALETTE_FAMILIES = HARMONY_FAMILIES + len(picture_palettes())


def draw_palettes(family: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Palettes (n, 5, 3) in [0, 1], dark to light, of the given families (n,).

    A family is a harmony and a bin of 15 degrees for the base hue; the rest (place in the bin, saturation, how
    far it reaches into black and white) is drawn from `generator`. A family from a picture is its palette, with
    shadows and lights drawn out by a random amount.
    """
    n = family.shape[0]
    from_picture = family >= HARMONY_FAMILIES
    scheme = torch.where(from_picture, torch.zeros_like(family), family // HUE_BINS)
    offsets = torch.tensor(list(SCHEMES.values()))[scheme]
    base = (family % HUE_BINS + torch.rand(n, generator=generator)) / HUE_BINS
    hue = base[:, None] + offsets
    dark = 0.08 + 0.24 * torch.rand(n, 1, generator=generator)
    light = 0.84 + 0.16 * torch.rand(n, 1, generator=generator)
    steps = torch.linspace(0, 1, PALETTE_SIZE)[None]
    value = dark + (light - dark) * steps.pow(0.8)
    vivid = 0.45 + 0.5 * torch.rand(n, 1, generator=generator)
    fade = 0.25 + 0.65 * torch.rand(n, 1, generator=generator)
    saturation = (vivid * (1 - fade * steps.pow(2))).clamp(0, 1)
    colours = hsv_to_rgb(hue, saturation, value)
    if not from_picture.any():
        return colours
    table = torch.tensor([palette for _, palette in picture_palettes()])
    own = table[(family - HARMONY_FAMILIES).clamp(min=0)]
    # `dark` and `vivid` are random already: 0.08 … 0.32 and 0.45 … 0.95.
    shadows = (0.35 + 2 * dark) * (1 - steps) + steps
    lights = steps.pow(2) * (vivid - 0.45)
    own = own * shadows[..., None]
    own = own + (1 - own) * lights[..., None]
    return torch.where(from_picture[:, None, None], own, colours)


def family_colours(family: int) -> tuple[str, str]:
    """Names of the two hues that stand out in a family: of its dark and of its middle colours."""
    if family >= HARMONY_FAMILIES:
        colours = [_colour_name(c) for c in picture_palettes()[family - HARMONY_FAMILIES][1][1:4]]
        return colours[0], next((name for name in colours[1:] if name != colours[0]), colours[0])
    offsets = list(SCHEMES.values())[family // HUE_BINS]
    base = (family % HUE_BINS + 0.5) / HUE_BINS
    return _hue_name(base + offsets[0]), _hue_name(base + offsets[2])


def _hue_name(hue: float) -> str:
    return min(_HUE_NAMES, key=lambda entry: abs(entry[0] - hue % 1.0))[1]


def _colour_name(colour: tuple[float, ...]) -> str:
    """What a colour (red, green, blue in [0, 1]) is called."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    if value < 0.16:
        return "black"
    if saturation < 0.16:
        return "white" if value > 0.88 else "gray"
    if 0.01 < hue < 0.17 and (value < 0.68 or saturation < 0.5):
        return "beige" if value > 0.62 else "brown"
    return _hue_name(hue)


def map_tones(tone: torch.Tensor, palette: torch.Tensor, levels: torch.Tensor | None = None) -> torch.Tensor:
    """Colour a picture by its tones: (n, h, w) in [0, 1] through (n, 5, 3) -> (n, 3, h, w).

    Piecewise linear between the five colours; with `levels` (n,) the tones are first quantised to that many steps.
    """
    if levels is not None:
        count = levels[:, None, None]
        tone = (tone.clamp(0, 0.999) * count).floor() / (count - 1)
    position = tone.clamp(0, 1) * (PALETTE_SIZE - 1)
    # A hat function per colour, added up: quicker than looking colours up, and unlike a matrix product the same in
    # every batch and under autocast.
    out = torch.zeros_like(tone)[:, None].expand(-1, 3, -1, -1)
    for k in range(PALETTE_SIZE):
        hat = (1 - (position - k).abs()).clamp_(min=0)
        out = torch.addcmul(out, hat[:, None], palette[:, k, :, None, None])
    return out
