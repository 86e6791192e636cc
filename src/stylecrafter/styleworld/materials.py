"""More ways to paint: chalk, folded and cut paper, dots, relief, overprinted inks, a spiral, toy bricks.

Painters as in `styles.py`: resolution independent, with textures that keep their place on the screen.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from stylecrafter.styleworld.canvas import Canvas
from stylecrafter.styleworld.fields import (
    TAU,
    blur,
    colour,
    column,
    hash_noise,
    length,
    mix,
    rotate,
    smoothstep,
    value_noise,
)
from stylecrafter.styleworld.palettes import map_tones


def _look_up(field: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The values of (n, h, w) at coordinates x, y (n, h, w) in units of the picture."""
    where = torch.stack([x, y], -1).expand(field.shape[0], -1, -1, -1) * 2 - 1
    return F.grid_sample(field[:, None], where, padding_mode="border", align_corners=False)[:, 0]


def paint_chalk(c: Canvas) -> torch.Tensor:
    """Broken light strokes on a dark board, smudged where the picture is light."""
    u, v = rotate(c.x, c.y, c.between(1, 0.3, 1.2))
    count = column(c.between(0, 22, 40))
    stroke = value_noise(u * count * 0.22, v * count, c.p[:, 3] * 40)
    dust = value_noise(c.x * 60, c.y * 60, c.p[:, 3] * 17)
    board = colour(c.palette[:, 0] * 0.55)
    cover = smoothstep(0.35, 0.75, stroke * 0.75 + c.tone * 0.65 - 0.2) * column(c.between(2, 0.45, 0.8))
    out = mix(board, map_tones(c.tone * 0.5 + 0.5, c.palette), cover * (0.55 + 0.45 * dust))
    line = (c.edge * 1.8).clamp(0, 1) * smoothstep(0.12, 0.5, dust * 0.7 + stroke * 0.3)
    return mix(out, c.paper, line)


def paint_facets(c: Canvas) -> torch.Tensor:
    """Triangles of one flat colour each, as in low-polygon pictures."""
    count = column(c.between(0, 13, 21).floor())
    bend = value_noise(c.x * count * 0.5, c.y * count * 0.5, c.p[:, 3] * 20) - 0.5
    reach = column(c.between(1, 0.3, 1.0))
    u, v = c.x * count + bend * reach, c.y * count + (bend * 7.3).sin() * 0.25 * reach
    i, j = u.floor(), v.floor()
    a, b = u - i, v - j
    other = hash_noise(i, j, c.p[:, 3] * 5) > 0.5
    a = torch.where(other, 1 - a, a)
    upper = (a > b).float()
    # The middle of the triangle decides its tone, a hash its turn towards the light.
    middle = torch.where(upper > 0, 2 / 3, 1 / 3)
    centre_u = i + torch.where(other, 1 - middle, middle)
    centre_v = j + torch.where(upper > 0, 1 / 3, 2 / 3)
    tone = _look_up(blur(c.tone, c.tone.shape[-1] // 40), centre_u / count, centre_v / count)
    turn = hash_noise(i, j + upper * 0.37, c.p[:, 3] * 11) - 0.5
    out = map_tones((tone + turn * column(c.between(2, 0.08, 0.2))).clamp(0, 1), c.palette)
    return mix(out, c.ink, c.edge * 0.35)


def paint_paper_cut(c: Canvas) -> torch.Tensor:
    """Sheets of coloured paper above each other, each throwing a soft shadow."""
    size = c.tone.shape[-1]
    soft = blur(c.tone, max(1, size // 64))
    levels = 4
    angle = c.between(1, 0.0, math.pi / 2) + 0.3
    reach = c.between(0, 0.02, 0.05)
    dx, dy = column(angle.cos() * reach), column(angle.sin() * reach)
    out = colour(c.palette[:, 0]).expand_as(c.rgb)
    moved = _look_up(soft, c.x - dx, c.y - dy)
    width = 1.2 / size * 4
    fibre = 0.94 + 0.12 * value_noise(c.x * 45, c.y * 45, c.p[:, 3] * 33)
    for level in range(1, levels + 1):
        limit = level / (levels + 1)
        sheet = smoothstep(limit - width, limit + width, soft)
        shade = smoothstep(limit - 0.09, limit + 0.03, moved) * column(c.between(2, 0.45, 0.8))
        out = out * (1 - shade * (1 - sheet))[:, None]
        out = mix(out, colour(c.palette[:, level]) * fibre[:, None], sheet)
    return out


def paint_pointillism(c: Canvas) -> torch.Tensor:
    """Round dabs of pure colours, side by side on a light ground, in two layers."""
    out = colour(c.palette[:, 3] * 0.35 + c.palette[:, 4] * 0.65).expand_as(c.rgb)
    soft = blur(c.tone, max(1, c.tone.shape[-1] // 64))
    for layer in range(2):
        count = column(c.between(0, 24, 36).floor()) * (1.0 + 0.23 * layer)
        u, v = c.x * count + 0.37 * layer, c.y * count + 0.61 * layer
        i, j = u.floor(), v.floor()
        seed = c.p[:, 3] * 7 + layer
        cx = i + 0.5 + 0.36 * (hash_noise(i, j, seed) - 0.5)
        cy = j + 0.5 + 0.36 * (hash_noise(i, j, seed + 3) - 0.5)
        tone = _look_up(soft, (cx - 0.37 * layer) / count, (cy - 0.61 * layer) / count)
        stray = (hash_noise(i, j, seed + 5) - 0.5) * column(c.between(1, 0.18, 0.42))
        dab = map_tones((tone + stray).clamp(0, 1), c.palette)
        distance = length(u - cx, v - cy)
        radius = column(c.between(2, 0.36, 0.46))
        out = mix(out, dab, smoothstep(radius + 0.08, radius - 0.08, distance))
    return mix(out, c.ink, c.edge * 0.4)


def paint_relief(c: Canvas) -> torch.Tensor:
    """A plate of one material, with the picture beaten into it and light from the side."""
    size = c.tone.shape[-1]
    height = blur(c.tone, max(1, size // 48)) + c.edge * 0.08
    reach = 0.018
    angle = c.between(1, 0.0, TAU)
    dx, dy = column(angle.cos() * reach), column(angle.sin() * reach)
    slope = _look_up(height, c.x + dx, c.y + dy) - _look_up(height, c.x - dx, c.y - dy)
    grain = value_noise(c.x * 50, c.y * 12, c.p[:, 3] * 21) - 0.5
    light = 0.5 + slope * column(c.between(0, 1.6, 2.8)) + grain * 0.07
    shine = smoothstep(0.75, 1.0, light) * column(c.between(2, 0.2, 0.8))
    base = map_tones((light * 0.8 + (c.tone - 0.5) * 0.12).clamp(0, 1) * 0.72 + 0.1, c.palette)
    return mix(base, c.paper, shine)


def paint_riso(c: Canvas) -> torch.Tensor:
    """Two inks printed over each other on pale paper, one of them out of register, both with speckles."""
    angle, off = c.between(1, 0.0, TAU), c.between(0, 0.012, 0.035)
    dx, dy = column(angle.cos() * off), column(angle.sin() * off)
    first = smoothstep(0.62, 0.5, c.tone)
    moved = _look_up(c.tone, c.x + dx, c.y + dy)
    second = smoothstep(0.32, 0.42, moved) * smoothstep(0.92, 0.8, moved)
    speck = hash_noise((c.x * 90).floor(), (c.y * 90).floor(), c.p[:, 3] * 3)
    drop = column(c.between(2, 0.04, 0.16))
    first = first * (0.95 - 0.9 * (speck < drop * 0.6).float())
    second = second * (0.85 - 0.6 * (speck > 1 - drop).float())
    paper = 0.82 + 0.18 * c.paper
    ink = colour(c.palette[:, 1])
    other = colour(c.palette[:, 3])
    vivid = other / other.amax(1, keepdim=True).clamp(min=0.2)
    out = paper * mix(torch.ones_like(c.rgb), vivid, second) * mix(torch.ones_like(c.rgb), ink, first)
    return mix(out, ink, c.edge * 0.45)


def paint_spiral(c: Canvas) -> torch.Tensor:
    """One line that winds outwards, broad in the shadows and thin in the lights."""
    cx, cy = 0.5 + (c.p[:, 1] - 0.5) * 0.4, 0.5 + (c.p[:, 2] - 0.5) * 0.4
    x, y = c.x - column(cx), c.y - column(cy)
    radius = length(x, y)
    turn = torch.atan2(y, x) / TAU
    line = (radius * column(c.between(0, 16, 24)) - turn + column(c.p[:, 3])) % 1
    width = 0.1 + 0.86 * (1 - c.tone).pow(1.2)
    stroke = smoothstep(width + 0.14, width - 0.14, (line - 0.5).abs() * 2)
    out = mix(c.paper.expand_as(c.rgb), map_tones(c.tone * 0.4, c.palette), stroke)
    return mix(out, c.ink, c.edge * 0.6)


def paint_bricks(c: Canvas) -> torch.Tensor:
    """Toy bricks seen from above: square plates in few colours, a round stud on each."""
    count = column(c.between(0, 20, 28).floor())
    u, v = c.x * count, c.y * count
    i, j = u.floor(), v.floor()
    soft = blur(c.tone, max(1, c.tone.shape[-1] // 48))
    tone = _look_up(soft, (i + 0.5) / count, (j + 0.5) / count)
    levels = 4 + (c.p[:, 1] * 1.99).floor()
    plate = map_tones(tone, c.palette, levels)
    a, b = u - i - 0.5, v - j - 0.5
    distance = length(a, b)
    angle = c.between(2, 0.5, 1.1) + math.pi
    towards = (a * column(angle.cos()) + b * column(angle.sin())) / distance.clamp(min=0.05)
    rim = smoothstep(0.12, 0.0, (distance - 0.32).abs()) * towards
    gap = smoothstep(0.44, 0.5, torch.maximum(a.abs(), b.abs()))
    shade = 1 + 0.45 * rim - 0.35 * gap + 0.08 * (distance < 0.32).float()
    return plate * shade[:, None]
