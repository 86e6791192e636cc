"""StyleWorld: pictures and clips of which content, style and caption are all known, drawn on any torch device."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import captions, splits
from stylecrafter.styleworld.fields import column, grid
from stylecrafter.styleworld.motions import MOTION_NAMES, poses
from stylecrafter.styleworld.objects import PACKS, load_sprites, object_index
from stylecrafter.styleworld.palettes import draw_palettes
from stylecrafter.styleworld.scenes import SCENE_NAMES, SCENES
from stylecrafter.styleworld.styles import STYLE_NAMES, STYLE_PARAMETERS, paint

Split = Literal["train", "held_out"]


@dataclass(frozen=True, kw_only=True)
class WorldBatch:
    """n things to draw, with everything known about them; all tensors have n rows.

    `thing`, `pack`, `scene`, `motion`, `style` and `family` are indices into the lists of this package; `palette` is
    (n, 5, 3), `style_parameters` and `scene_parameters` are (n, 4) in [0, 1], `place` is (n, 3): centre x, y and
    size of the object in units of the picture.
    """

    thing: torch.Tensor
    pack: torch.Tensor
    scene: torch.Tensor
    motion: torch.Tensor
    style: torch.Tensor
    family: torch.Tensor
    palette: torch.Tensor
    style_parameters: torch.Tensor
    scene_parameters: torch.Tensor
    place: torch.Tensor

    def __len__(self) -> int:
        return self.thing.shape[0]

    def __getitem__(self, rows: slice | torch.Tensor | list[int]) -> WorldBatch:
        return WorldBatch(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    def replace(self, **changes: torch.Tensor) -> WorldBatch:
        return dataclasses.replace(self, **changes)

    def in_style_of(self, other: WorldBatch) -> WorldBatch:
        """This content in the style of `other`: same kind, palette and parameters, row by row."""
        return self.replace(
            style=other.style,
            family=other.family,
            palette=other.palette,
            style_parameters=other.style_parameters,
        )

    def plain(self) -> WorldBatch:
        """This content without a style."""
        return self.replace(style=torch.zeros_like(self.style))

    def content_captions(self, rng: random.Random, moving: bool) -> list[str]:
        """Captions of the content alone; `moving` says whether the motion is named."""
        return [
            captions.content_caption(thing, scene, motion if moving else None, rng)
            for thing, scene, motion in zip(
                self.thing.tolist(), self.scene.tolist(), self.motion.tolist(), strict=True
            )
        ]

    def full_captions(self, rng: random.Random, moving: bool) -> list[str]:
        """Captions of content and style."""
        rows = zip(
            self.thing.tolist(), self.scene.tolist(), self.motion.tolist(), self.style.tolist(),
            self.family.tolist(), strict=True,
        )  # fmt: skip
        return [
            captions.full_caption(thing, scene, motion if moving else None, style, family, rng)
            for thing, scene, motion, style, family in rows
        ]


def concatenate(batches: Sequence[WorldBatch]) -> WorldBatch:
    """The rows of all `batches`, in order."""
    return WorldBatch(
        **{
            field.name: torch.cat([getattr(batch, field.name) for batch in batches])
            for field in dataclasses.fields(WorldBatch)
        }
    )


def _pick(choices: tuple[int, ...], n: int, generator: torch.Generator) -> torch.Tensor:
    return torch.tensor(choices)[torch.randint(len(choices), (n,), generator=generator)]


def sample(
    n: int,
    generator: torch.Generator,
    *,
    vocabulary: splits.Vocabulary = splits.FULL,
    styled: bool = True,
    split: Split = "train",
) -> WorldBatch:
    """Draw n things of the world at random.

    Args:
        n: How many.
        generator: Source of all randomness (a CPU generator).
        vocabulary: Which objects, drawing sets, scenes, motions and style kinds may be drawn.
        styled: Whether they are painted in a style, or plain.
        split: "train" leaves out the held-out palettes, parameter range and motion-object pairs; "held_out" draws
            palettes and the first parameter from what training never sees (kinds are those of `vocabulary`).

    Raises:
        InvalidInputError: n < 1.
        UnknownNameError: `vocabulary` names an object that the world does not have.
    """
    if n < 1:
        raise InvalidInputError(f"cannot draw {n} pictures; ask for at least 1")
    thing = _pick(tuple(object_index(name) for name in vocabulary.objects), n, generator)
    motions = tuple(MOTION_NAMES.index(name) for name in vocabulary.motions)
    motion = _pick(motions, n, generator)
    if split == "train":
        motion = torch.where(splits.is_held_out_pair(motion, thing), torch.zeros_like(motion), motion)
    kinds = tuple(STYLE_NAMES.index(name) for name in vocabulary.styles)
    style = _pick(kinds, n, generator) if styled else torch.zeros(n, dtype=torch.long)
    families = splits.TRAIN_PALETTES if split == "train" else splits.HELD_OUT_PALETTES
    family = _pick(families, n, generator)
    parameters = torch.rand(n, STYLE_PARAMETERS, generator=generator)
    low, high = splits.HELD_OUT_PARAMETER
    if split == "train":
        kept = 1 - (high - low)
        first = parameters[:, 0] * kept
        parameters[:, 0] = torch.where(first < low, first, first + (high - low))
    else:
        parameters[:, 0] = low + parameters[:, 0] * (high - low)
    spread = torch.rand(n, 3, generator=generator) - 0.5
    place = torch.tensor([0.5, 0.58, 0.56]) + spread * torch.tensor([0.2, 0.12, 0.14])
    return WorldBatch(
        thing=thing,
        pack=_pick(tuple(PACKS.index(name) for name in vocabulary.packs), n, generator),
        scene=_pick(tuple(SCENE_NAMES.index(name) for name in vocabulary.scenes), n, generator),
        motion=motion,
        style=style,
        family=family,
        palette=draw_palettes(family, generator),
        style_parameters=parameters,
        scene_parameters=torch.rand(n, 4, generator=generator),
        place=place,
    )


def _sprites(batch: WorldBatch, device: torch.device | str) -> torch.Tensor:
    """(n, 4, s, s) premultiplied sprites of a batch."""
    first = load_sprites(PACKS[0])
    out = torch.empty(len(batch), *first.shape[1:])
    for index in batch.pack.unique().tolist():
        rows = batch.pack == index
        out[rows] = load_sprites(PACKS[index])[batch.thing[rows]]
    return out.to(device)


def _backgrounds(batch: WorldBatch, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) scenes."""
    out = torch.empty(len(batch), 3, *x.shape[1:], device=x.device)
    for index in batch.scene.unique().tolist():
        rows = (batch.scene == index).nonzero()[:, 0].to(x.device)
        painter = SCENES[SCENE_NAMES[index]]
        grid_x, grid_y = (axis.expand(len(rows), -1, -1) for axis in (x, y))
        out[rows] = painter(grid_x, grid_y, batch.scene_parameters.to(x.device)[rows])
    return out.clamp(0, 1)


def render(
    batch: WorldBatch, size: int, num_frames: int = 1, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Draw a batch.

    Args:
        batch: What to draw, n rows.
        size: Height and width in pixels.
        num_frames: 1 draws the still picture (the middle of the motion), more draw the whole motion.
        device: Where to draw.

    Returns:
        (n, f, 3, size, size) float32 in [0, 1].

    Raises:
        InvalidInputError: size < 16 or num_frames < 1.
    """
    if size < 16 or num_frames < 1:
        raise InvalidInputError(
            f"cannot draw {num_frames} frames of {size} pixels; at least 1 frame of 16 pixels"
        )
    n = len(batch)
    u = torch.linspace(0, 1, num_frames) if num_frames > 1 else torch.tensor([0.5])
    pose = poses(batch.motion, u[None].expand(n, -1))
    x, y = grid(size, size, device)
    background = _backgrounds(batch, x, y)

    def per_frame(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(-1).to(device)

    centre_x = per_frame(batch.place[:, :1] + pose.x)
    centre_y = per_frame(batch.place[:, 1:2] + pose.y)
    half = per_frame(batch.place[:, 2:] * pose.size / 2)
    angle = per_frame(pose.angle)
    dx, dy = (x - column(centre_x)) / column(half), (y - column(centre_y)) / column(half)
    cos, sin = column(angle.cos()), column(angle.sin())
    where = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin], -1)
    sprites = _sprites(batch, device).repeat_interleave(num_frames, 0)
    # Sprites are larger than they appear: sampling a reduced copy keeps thin lines from flickering.
    shrink = max(1, round(sprites.shape[-1] / (size * 0.62)))
    drawn = F.grid_sample(F.avg_pool2d(sprites, shrink), where, padding_mode="zeros", align_corners=False)
    shadow = 0.35 * (1 - ((dx / 0.8).square() + ((dy - 0.98) / 0.14).square()).clamp(0, 1))
    ground = background.repeat_interleave(num_frames, 0) * (1 - shadow)[:, None]
    frames = drawn[:, :3] + ground * (1 - drawn[:, 3:])

    def repeated(values: torch.Tensor) -> torch.Tensor:
        return values.to(device).repeat_interleave(num_frames, 0)

    painted = paint(
        frames.clamp(0, 1),
        drawn[:, 3].clamp(0, 1),
        repeated(batch.style),
        repeated(batch.palette),
        repeated(batch.style_parameters),
    )
    return painted.reshape(n, num_frames, 3, size, size)
