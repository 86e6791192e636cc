"""The ways in which StyleWorld paints: each kind turns a plain picture into one in that manner.

A kind is a function of a `Canvas` (the plain picture with its tones and edges, a palette, four parameters in
[0, 1]) that returns RGB (n, 3, h, w) in [0, 1]. Textures keep their place on the screen, and their size is a part
of the picture's height, so that a style looks the same at every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from stylecrafter.runtime.devices import constant
from stylecrafter.styleworld.canvas import Canvas, canvas
from stylecrafter.styleworld.fields import (
    TAU,
    blur,
    colour,
    column,
    hash_noise,
    length,
    mix,
    rotate,
    rows_by_value,
    smoothstep,
    value_noise,
)
from stylecrafter.styleworld.materials import (
    paint_bricks,
    paint_chalk,
    paint_facets,
    paint_paper_cut,
    paint_pointillism,
    paint_relief,
    paint_riso,
    paint_spiral,
)
from stylecrafter.styleworld.palettes import map_tones


def _poster(c: Canvas) -> torch.Tensor:
    levels = 3 + (c.p[:, 0] * 2.99).floor()
    out = map_tones(blur(c.tone, c.tone.shape[-1] // 64), c.palette, levels)
    return mix(out, c.ink, c.edge * column(c.between(1, 0.0, 1.0)))


def _watercolour(c: Canvas) -> torch.Tensor:
    scale = c.between(0, 5, 12)
    wobble = value_noise(c.x * column(scale), c.y * column(scale), c.p[:, 3] * 50) - 0.5
    pigment = blur(c.tone, max(1, c.tone.shape[-1] // 64)) + wobble * column(c.between(1, 0.12, 0.35))
    out = map_tones(pigment.clamp(0, 1) * 0.75 + 0.25, c.palette)
    grain = hash_noise((c.x * 64).floor(), (c.y * 64).floor(), c.p[:, 3]) * 0.12
    out = mix(out, c.paper, grain + 0.15)
    return mix(out, c.ink, c.edge * column(c.between(2, 0.1, 0.45)))


def _halftone(c: Canvas) -> torch.Tensor:
    u, v = rotate(c.x, c.y, c.between(1, 0.0, math.pi / 2))
    count = column(c.between(0, 13, 20))
    u, v = u * count, v * count
    distance = length(u - u.floor() - 0.5, v - v.floor() - 0.5)
    radius = (1 - c.tone).sqrt() * 0.72
    dot = smoothstep(radius + 0.1, radius - 0.1, distance)
    return mix(map_tones(c.tone * 0.3 + 0.7, c.palette), map_tones(c.tone * 0.45, c.palette), dot)


def _engraving(c: Canvas) -> torch.Tensor:
    u, _ = rotate(c.x, c.y, c.between(1, 0.0, math.pi))
    wave = torch.sin(c.y * TAU * 2 + c.x * 3) * column(c.between(2, 0.0, 0.03))
    line = ((u + wave) * column(c.between(0, 13, 20))) % 1
    width = (1 - c.tone).pow(1.3)
    stroke = smoothstep(width + 0.12, width - 0.12, (line - 0.5).abs() * 2)
    out = mix(c.paper.expand_as(c.rgb), c.ink, stroke)
    return mix(out, colour(c.palette[:, 1]), c.edge * 0.8)


def _sketch(c: Canvas) -> torch.Tensor:
    grain = hash_noise((c.x * 64).floor(), (c.y * 64).floor(), c.p[:, 3])
    shade = (0.55 - c.tone).clamp(0, 1) * column(c.between(1, 0.2, 1.2))
    out = mix(map_tones(c.tone * 0.2 + 0.8, c.palette), colour(c.palette[:, 2]), shade * (0.6 + 0.4 * grain))
    return mix(out, c.ink, (c.edge * column(c.between(0, 1.0, 2.0)) * (0.7 + 0.5 * grain)).clamp(0, 1))


def _mosaic(c: Canvas) -> torch.Tensor:
    h, w = c.tone.shape[-2:]
    pieces = []
    for step in (14, 18, 22):
        small = F.adaptive_avg_pool2d(c.tone[:, None], step)
        pieces.append(F.interpolate(small, size=(h, w), mode="nearest")[:, 0])
    choice = (c.p[:, 0] * 2.999).long()
    tone = torch.stack(pieces, 1)[torch.arange(len(choice), device=choice.device), choice]
    count = column(constant((14.0, 18.0, 22.0), choice.device)[choice])
    u, v = (c.x * count) % 1, (c.y * count) % 1
    gap = torch.minimum(torch.minimum(u, 1 - u), torch.minimum(v, 1 - v))
    jitter = hash_noise((c.x * count).floor(), (c.y * count).floor(), c.p[:, 3] * 9) - 0.5
    out = map_tones((tone + jitter * column(c.between(2, 0.03, 0.15))).clamp(0, 1), c.palette)
    return mix(out, c.ink, smoothstep(0.14, 0.06, gap) * column(c.between(1, 0.3, 1.0)))


def _neon(c: Canvas) -> torch.Tensor:
    size = c.tone.shape[-1]
    glow = blur(c.edge, max(1, size // 24)) * column(c.between(0, 0.6, 1.6))
    base = map_tones(c.tone * 0.5, c.palette) * column(c.between(1, 0.25, 0.7))[:, None]
    tint = map_tones(c.y.expand_as(c.tone) * 0.6 + 0.35, c.palette)
    return (base + tint * (glow + c.edge * 0.9)[:, None]).clamp(0, 1)


def _woodcut(c: Canvas) -> torch.Tensor:
    bands = torch.sin(
        (
            blur(c.tone, c.tone.shape[-1] // 32) * column(c.between(0, 1, 3))
            + c.y * column(c.between(3, 6, 12))
        )
        * TAU
    )
    carved = smoothstep(-0.15, 0.15, bands * 0.6 + (c.tone - 0.45) * column(c.between(1, 2.5, 4.0)))
    out = mix(c.ink.expand_as(c.rgb), map_tones(c.tone * 0.5 + 0.5, c.palette), carved)
    return mix(out, c.ink, c.edge * 0.7)


def _grain(c: Canvas) -> torch.Tensor:
    size = column((c.between(0, 24, 64)).floor())
    noise = hash_noise((c.x * size).floor(), (c.y * size).floor(), c.p[:, 3])
    levels = 2 + (c.p[:, 1] * 2.99).floor()
    return map_tones((c.tone + (noise - 0.5) * 0.7 / column(levels)).clamp(0, 1), c.palette, levels + 1)


def _stripes(c: Canvas) -> torch.Tensor:
    u, _ = rotate(c.x, c.y, torch.where(c.p[:, 1] > 0.5, math.pi / 2, 0.0) + (c.p[:, 1] - 0.5) * 0.4)
    band = ((u * column(c.between(0, 6, 14))) % 1 > 0.5).float()
    shift = column(c.between(2, 0.15, 0.3))
    return map_tones((c.tone * (1 - shift) + band * shift).clamp(0, 1), c.palette)


def _gradient(c: Canvas) -> torch.Tensor:
    soft = blur(c.tone, c.tone.shape[-1] // 48)
    ramp = (c.y - 0.5) * column(c.between(0, -0.5, 0.5)) + (c.x - 0.5) * column(c.between(1, -0.5, 0.5))
    dark = ((c.x - 0.5).square() + (c.y - 0.5).square()) * column(c.between(2, 0.0, 0.9))
    return map_tones((soft + ramp - dark).clamp(0, 1), c.palette)


def _impasto(c: Canvas) -> torch.Tensor:
    u, v = rotate(c.x, c.y, c.between(1, 0.0, math.pi))
    count = column(c.between(0, 14, 26))
    bend = torch.sin(c.x * 5 + column(c.p[:, 3] * TAU)) * 0.06
    stroke = value_noise((u + bend) * count * 0.25, (v + bend) * count, c.p[:, 3] * 30) - 0.5
    tone = (blur(c.tone, c.tone.shape[-1] // 48) + stroke * column(c.between(2, 0.2, 0.45))).clamp(0, 1)
    return mix(map_tones(tone, c.palette), c.rgb, torch.full_like(tone, 0.12))


def _crosshatch(c: Canvas) -> torch.Tensor:
    out = map_tones(c.tone * 0.25 + 0.75, c.palette)
    count = column(c.between(0, 9, 16))
    for turn, limit in ((0.0, 0.75), (math.pi / 2, 0.5), (math.pi / 4, 0.28)):
        u, _ = rotate(c.x, c.y, c.between(1, 0.2, 1.2) + turn)
        line = smoothstep(0.62, 0.42, ((u * count) % 1 - 0.5).abs() * 2 + 0.2)
        out = mix(out, c.ink, line * smoothstep(limit, limit - 0.12, c.tone))
    return mix(out, c.ink, c.edge * 0.6)


def _stained_glass(c: Canvas) -> torch.Tensor:
    count = column(c.between(0, 6, 10))
    u, v = c.x * count, c.y * count
    best = torch.full_like(c.tone, 9.0)
    second = best.clone()
    shade = torch.zeros_like(best)
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            i, j = u.floor() + du, v.floor() + dv
            cx = i + hash_noise(i, j, c.p[:, 3] * 3)
            cy = j + hash_noise(i, j, c.p[:, 3] * 3 + 1)
            distance = length(u - cx, v - cy)
            nearer = distance < best
            second = torch.where(nearer, best, torch.minimum(second, distance))
            shade = torch.where(nearer, hash_noise(i, j, c.p[:, 3] * 3 + 2), shade)
            best = torch.where(nearer, distance, best)
    tone = (blur(c.tone, c.tone.shape[-1] // 24) + (shade - 0.5) * column(c.between(2, 0.2, 0.5))).clamp(0, 1)
    lead = smoothstep(0.16, 0.06, second - best)
    return mix(map_tones(tone * 0.85 + 0.15, c.palette), c.ink, torch.maximum(lead, c.edge * 0.8))


def _cross_stitch(c: Canvas) -> torch.Tensor:
    count = column((c.between(0, 14, 22)).floor())
    u, v = (c.x * count) % 1, (c.y * count) % 1
    thread = smoothstep(0.26, 0.12, torch.minimum((u - v).abs(), (u + v - 1).abs()))
    levels = 3 + (c.p[:, 1] * 2.99).floor()
    return mix(c.paper * 0.9, map_tones(blur(c.tone, 1), c.palette, levels), thread)


def _contours(c: Canvas) -> torch.Tensor:
    soft = blur(c.tone, c.tone.shape[-1] // 16)
    height = soft * column(c.between(0, 5, 9))
    line = smoothstep(0.3, 0.1, (height % 1 - 0.5).abs())
    out = map_tones((height.floor() / column(c.between(0, 5, 9))).clamp(0, 1) * 0.5 + 0.5, c.palette)
    return mix(out, c.ink, torch.maximum(line, c.edge))


#: Style kind -> painter. The order is the order of indices in a `WorldBatch`; "plain" is no style.
STYLES: dict[str, Callable[[Canvas], torch.Tensor]] = {
    "plain": lambda c: c.rgb,
    "poster": _poster,
    "watercolour": _watercolour,
    "halftone": _halftone,
    "engraving": _engraving,
    "sketch": _sketch,
    "mosaic": _mosaic,
    "neon": _neon,
    "woodcut": _woodcut,
    "grain": _grain,
    "stripes": _stripes,
    "gradient": _gradient,
    "impasto": _impasto,
    "crosshatch": _crosshatch,
    "stained glass": _stained_glass,
    "cross stitch": _cross_stitch,
    "contours": _contours,
    "chalk": paint_chalk,
    "facets": paint_facets,
    "paper cut": paint_paper_cut,
    "pointillism": paint_pointillism,
    "relief": paint_relief,
    "riso": paint_riso,
    "spiral": paint_spiral,
    "bricks": paint_bricks,
}
STYLE_NAMES: tuple[str, ...] = tuple(STYLES)


def paint(
    rgb: torch.Tensor, figure: torch.Tensor, style: torch.Tensor, palette: torch.Tensor, p: torch.Tensor
) -> torch.Tensor:
    """Paint plain pictures each in its own style.

    Args:
        rgb: (n, 3, h, w) in [0, 1].
        figure: (n, h, w) in [0, 1], how much of a pixel belongs to the object.
        style: (n,) indices into `STYLE_NAMES`, on the CPU: which kernels run is decided there, without waiting for
            the device.
        palette: (n, 5, 3) in [0, 1].
        p: (n, 4) parameters in [0, 1].

    Returns:
        (n, 3, h, w) in [0, 1].
    """
    out = torch.empty_like(rgb)
    for index, rows in rows_by_value(style, rgb.device):
        if index == 0:
            out[rows] = rgb[rows].clamp(0, 1)
            continue
        painter = STYLES[STYLE_NAMES[index]]
        out[rows] = painter(canvas(rgb[rows], figure[rows], palette[rows], p[rows])).clamp(0, 1)
    return out
