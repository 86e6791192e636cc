"""StyleWorld: pictures and clips of which content, style and caption are all known, drawn on any torch device."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits, wording
from stylecrafter.styleworld.cameras import CAMERA_NAMES, MOTIONS_UNDER_CAMERA, View, views
from stylecrafter.styleworld.canvas import STYLE_PARAMETERS
from stylecrafter.styleworld.fields import column, grid, luminance
from stylecrafter.styleworld.motions import MOTION_NAMES, Pose, poses
from stylecrafter.styleworld.objects import PACKS, SPRITE_SIZE, gather_sprites, object_index
from stylecrafter.styleworld.palettes import OBJECT_COLOURS, draw_palettes, map_tones, object_palettes
from stylecrafter.styleworld.scenes import SCENE_NAMES, draw_scenes
from stylecrafter.styleworld.styles import STYLE_NAMES, paint

Split = Literal["train", "held_out"]
#: Part of the clips of a world with moving cameras in which the camera moves.
CAMERA_RATIO = 0.4
#: Times of a motion from its begin to its end.
WHOLE_MOTION = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class WorldBatch:
    """n things to draw, with everything known about them; all tensors have n rows.

    `thing`, `pack`, `scene`, `motion`, `camera`, `style` and `family` are indices into the lists of this package; so is
    `colour`, the object's own (`palettes.OBJECT_COLOURS`), which is -1 where it looks as it always does;
    `palette` is (n, 5, 3), `style_parameters` and `scene_parameters` are (n, 4) in [0, 1], `place` is (n, 3): centre
    x, y and size of the object in units of the picture; `rich` (bool) says how a row is spoken of (`captions`). All
    tensors are on the CPU: drawing takes them to the device in two copies.
    """

    thing: torch.Tensor
    pack: torch.Tensor
    scene: torch.Tensor
    motion: torch.Tensor
    camera: torch.Tensor
    style: torch.Tensor
    family: torch.Tensor
    colour: torch.Tensor
    palette: torch.Tensor
    style_parameters: torch.Tensor
    scene_parameters: torch.Tensor
    place: torch.Tensor
    rich: torch.Tensor

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
        """Captions of the content alone; `moving` says whether motions are named."""
        return [
            wording.content_caption(content, rng, rich=rich)
            for content, rich in zip(self._contents(moving), self.rich.tolist(), strict=True)
        ]

    def full_captions(self, rng: random.Random, moving: bool) -> list[str]:
        """Captions of content and style."""
        told = zip(
            self._contents(moving), self.style.tolist(), self.family.tolist(), self.rich.tolist(), strict=True
        )
        return [
            wording.full_caption(content, style, family, rng, rich=rich)
            for content, style, family, rich in told
        ]

    def _contents(self, moving: bool) -> list[wording.Content]:
        """What is to be seen in all rows; `moving` says whether that includes the motions of object and camera.

        Numbers leave their tensors together, which is much quicker than one by one.
        """
        columns = [getattr(self, name).tolist() for name in ("thing", "scene", "motion", "camera", "colour")]
        return [
            wording.Content(
                thing=thing,
                scene=scene,
                motion=motion if moving else None,
                camera=camera if moving else None,
                colour=None if colour < 0 else colour,
            )
            for thing, scene, motion, camera, colour in zip(*columns, strict=True)
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
    families = splits.TRAIN_HARMONIES if split == "train" else splits.HELD_OUT_HARMONIES
    if vocabulary.picture_palettes:
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
    batch = WorldBatch(
        thing=thing,
        pack=_pick(tuple(PACKS.index(name) for name in vocabulary.packs), n, generator),
        scene=_pick(tuple(SCENE_NAMES.index(name) for name in vocabulary.scenes), n, generator),
        motion=motion,
        camera=torch.zeros_like(motion),
        style=style,
        family=family,
        colour=torch.full_like(family, -1),
        palette=draw_palettes(family, generator),
        style_parameters=parameters,
        scene_parameters=torch.rand(n, 4, generator=generator),
        place=place,
        rich=torch.full((n,), vocabulary.wording == "rich"),
    )
    return _move_camera(batch, vocabulary.cameras, generator, split)


def with_own_colours(batch: WorldBatch, ratio: float, generator: torch.Generator) -> WorldBatch:
    """The same, in which a part `ratio` of the rows has an object of one colour, whatever the palette around it."""
    drawn = torch.randint(len(OBJECT_COLOURS), (len(batch),), generator=generator)
    chosen = torch.rand(len(batch), generator=generator) < ratio
    return batch.replace(colour=torch.where(chosen, drawn, batch.colour))


def _move_camera(
    batch: WorldBatch, cameras: tuple[str, ...], generator: torch.Generator, split: Split
) -> WorldBatch:
    """Let the camera move in some rows; the object then moves in place or not at all.

    A vocabulary with a fixed camera draws nothing from `generator`.
    """
    moving = tuple(CAMERA_NAMES.index(name) for name in cameras if name != "fixed")
    if not moving:
        return batch
    n = len(batch)
    camera = _pick(moving, n, generator)
    held_out = splits.is_held_out_view(camera, batch.thing)
    on = torch.rand(n, generator=generator) < CAMERA_RATIO
    if split == "train":
        on &= ~held_out
    in_place = tuple(MOTION_NAMES.index(name) for name in MOTIONS_UNDER_CAMERA)
    stays = (batch.motion[:, None] == torch.tensor(in_place)).any(1)
    return batch.replace(
        camera=torch.where(on, camera, torch.zeros_like(camera)),
        motion=torch.where(on & ~stays, torch.zeros_like(batch.motion), batch.motion),
    )


def check_span(span: tuple[float, float]) -> None:
    """Refuse times of which no part of a motion can be drawn.

    Raises:
        InvalidInputError: They are not 0 <= first <= last <= 1.
    """
    if not 0 <= span[0] <= span[1] <= 1:
        raise InvalidInputError(f"span must be two times, 0 <= first <= last <= 1, got {span[0]}, {span[1]}")


def render(
    batch: WorldBatch,
    size: int,
    num_frames: int = 1,
    device: torch.device | str = "cpu",
    span: tuple[float, float] = WHOLE_MOTION,
) -> torch.Tensor:
    """Draw a batch.

    Args:
        batch: What to draw, n rows.
        size: Height and width in pixels.
        num_frames: 1 draws the still picture (the middle of the motion, or of its `span`), more draw the motion.
        device: Where to draw.
        span: Which part of the motion, as times in [0, 1].

    Returns:
        (n, f, 3, size, size) float32 in [0, 1].

    Raises:
        InvalidInputError: size < 16, num_frames < 1, or times that are not 0 <= first <= last <= 1.
    """
    check_span(span)
    if size < 16 or num_frames < 1:
        raise InvalidInputError(
            f"cannot draw {num_frames} frames of {size} pixels; at least 1 frame of 16 pixels"
        )
    device = torch.device(device)
    n, f = len(batch), num_frames
    u = torch.linspace(*span, f) if f > 1 else torch.tensor([(span[0] + span[1]) / 2])
    times = u[None].expand(n, -1)
    rows = _on_device(batch, poses(batch.motion, times), views(batch.camera, times), device)
    x, y = grid(size, size, device)
    scene_x, scene_y = rows.view.scene_coordinates(x, y)
    ground = _backgrounds(batch, rows, scene_x, scene_y, f, size)
    dx = (scene_x - column(rows.pose.x)) / column(rows.pose.size)
    dy = (scene_y - column(rows.pose.y)) / column(rows.pose.size)
    cos, sin = column(rows.pose.angle.cos()), column(rows.pose.angle.sin())
    where = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin], -1)
    # Sprites are larger than they appear: sampling a reduced copy keeps thin lines from flickering.
    shrink = max(1, round(SPRITE_SIZE / (size * 0.62)))
    sprites = gather_sprites(batch.pack, rows.thing, shrink, device)
    # The frames of a clip are sampled as one tall picture, so that its sprite is there once.
    drawn = F.grid_sample(
        sprites, where.reshape(n, f * size, size, 2), padding_mode="zeros", align_corners=False
    )
    drawn = drawn.reshape(n, 4, f, size, size).transpose(1, 2).reshape(n * f, 4, size, size)
    shadow = 0.35 * (1 - ((dx / 0.8).square() + ((dy - 0.98) / 0.14).square()).clamp(0, 1))
    ground = ground * (1 - shadow)[:, None]
    frames = drawn[:, :3] + ground * (1 - drawn[:, 3:])

    def repeated(values: torch.Tensor) -> torch.Tensor:
        return values.repeat_interleave(f, 0) if f > 1 else values

    frames, figure = frames.clamp(0, 1), drawn[:, 3].clamp(0, 1)
    style, parameters = repeated(batch.style), repeated(rows.style_parameters)
    painted = paint(frames, figure, style, repeated(rows.palette), parameters)
    coloured = repeated(batch.colour >= 0).nonzero()[:, 0]
    if len(coloured):
        at = coloured.to(device)
        own = object_palettes(repeated(batch.colour)[coloured]).to(device)
        painted[at] = _in_own_colour(
            painted[at], frames[at], figure[at], style[coloured], own, parameters[at]
        )
    return painted.reshape(n, f, 3, size, size)


def _in_own_colour(
    painted: torch.Tensor,
    frames: torch.Tensor,
    figure: torch.Tensor,
    style: torch.Tensor,
    palette: torch.Tensor,
    parameters: torch.Tensor,
) -> torch.Tensor:
    """Painted pictures whose object is painted in a palette of its own, in the manner of the rest."""
    own = paint(frames, figure, style, palette, parameters)
    plain = (style == 0).nonzero()[:, 0].to(frames.device)
    own[plain] = map_tones(luminance(frames[plain]), palette[plain])
    return torch.lerp(painted, own, figure[:, None])


class _Rows(NamedTuple):
    """What drawing needs of a batch, on the device; `pose` (absolute) and `view` have n · f rows."""

    thing: torch.Tensor
    palette: torch.Tensor
    style_parameters: torch.Tensor
    scene_parameters: torch.Tensor
    pose: Pose
    view: View


def _on_device(batch: WorldBatch, pose: Pose, view: View, device: torch.device) -> _Rows:
    """Take the numbers of a batch to the device, all of them in one copy."""
    n, f = pose.x.shape
    placed = Pose(
        batch.place[:, :1] + pose.x,
        batch.place[:, 1:2] + pose.y,
        batch.place[:, 2:] * pose.size / 2,
        pose.angle,
    )
    still = [batch.palette.flatten(1), batch.style_parameters, batch.scene_parameters]
    table = torch.cat([*still, *placed, *view], 1).to(device)
    widths = [part.shape[1] for part in still] + [f] * (len(placed) + len(view))
    palette, style_parameters, scene_parameters, *moving = table.split(widths, 1)
    flat = [part.reshape(-1) for part in moving]
    return _Rows(
        thing=batch.thing.to(device),
        palette=palette.reshape(n, -1, 3),
        style_parameters=style_parameters,
        scene_parameters=scene_parameters,
        pose=Pose(*flat[: len(placed)]),
        view=View(*flat[len(placed) :]),
    )


def _backgrounds(
    batch: WorldBatch, rows: _Rows, x: torch.Tensor, y: torch.Tensor, num_frames: int, size: int
) -> torch.Tensor:
    """The scene of every frame, (n · f, 3, h, w), from its coordinates; what a fixed camera sees is drawn once."""
    n, f = len(batch), num_frames
    if f == 1:
        return draw_scenes(batch.scene, x, y, rows.scene_parameters, size)
    fixed = (batch.camera == 0)[:, None] & (torch.arange(f) > 0)[None]
    drawn = (~fixed).flatten().nonzero()[:, 0]
    owner = drawn // f
    first = torch.full((n * f,), -1)
    first[drawn] = torch.arange(len(drawn))
    first = first.reshape(n, f)
    first = torch.where(first < 0, first[:, :1], first).flatten()
    at = torch.stack([drawn, owner]).to(x.device)
    scenes = draw_scenes(batch.scene[owner], x[at[0]], y[at[0]], rows.scene_parameters[at[1]], size)
    return scenes[first.to(x.device)]
