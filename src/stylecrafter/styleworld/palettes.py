"""Palettes: five colours from dark to light, drawn from families of hue harmonies."""

from __future__ import annotations

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
PALETTE_FAMILIES = len(SCHEMES) * HUE_BINS

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


def draw_palettes(family: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Palettes (n, 5, 3) in [0, 1], dark to light, of the given families (n,).

    A family is a harmony and a bin of 15 degrees for the base hue; the rest (place in the bin, saturation, how
    far it reaches into black and white) is drawn from `generator`.
    """
    n = family.shape[0]
    offsets = torch.tensor(list(SCHEMES.values()))[family // HUE_BINS]
    base = (family % HUE_BINS + torch.rand(n, generator=generator)) / HUE_BINS
    hue = base[:, None] + offsets
    dark = 0.08 + 0.24 * torch.rand(n, 1, generator=generator)
    light = 0.84 + 0.16 * torch.rand(n, 1, generator=generator)
    steps = torch.linspace(0, 1, PALETTE_SIZE)[None]
    value = dark + (light - dark) * steps.pow(0.8)
    vivid = 0.45 + 0.5 * torch.rand(n, 1, generator=generator)
    fade = 0.25 + 0.65 * torch.rand(n, 1, generator=generator)
    saturation = (vivid * (1 - fade * steps.pow(2))).clamp(0, 1)
    return hsv_to_rgb(hue, saturation, value)


def family_colours(family: int) -> tuple[str, str]:
    """Names of the two hues that stand out in a family: of its dark and of its middle colours."""
    offsets = list(SCHEMES.values())[family // HUE_BINS]
    base = (family % HUE_BINS + 0.5) / HUE_BINS
    return _hue_name(base + offsets[0]), _hue_name(base + offsets[2])


def _hue_name(hue: float) -> str:
    return min(_HUE_NAMES, key=lambda entry: abs(entry[0] - hue % 1.0))[1]


def map_tones(tone: torch.Tensor, palette: torch.Tensor, levels: torch.Tensor | None = None) -> torch.Tensor:
    """Colour a picture by its tones: (n, h, w) in [0, 1] through (n, 5, 3) -> (n, 3, h, w).

    Piecewise linear between the five colours; with `levels` (n,) the tones are first quantised to that many steps.
    """
    if levels is not None:
        count = levels[:, None, None]
        tone = (tone.clamp(0, 0.999) * count).floor() / (count - 1)
    position = tone.clamp(0, 1) * (PALETTE_SIZE - 1)
    index = position.floor().clamp(max=PALETTE_SIZE - 2).long()
    weight = (position - index)[:, None]
    n, h, w = tone.shape
    flat = index.reshape(n, 1, h * w).expand(-1, 3, -1)
    colours = palette.transpose(1, 2)
    low = colours.gather(2, flat).reshape(n, 3, h, w)
    high = colours.gather(2, flat + 1).reshape(n, 3, h, w)
    return torch.lerp(low, high, weight)
