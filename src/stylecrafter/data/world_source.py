"""StyleWorld as a source of training batches: drawn on the training device, never the same picture twice."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F

from stylecrafter.data.batch import TrainingBatch
from stylecrafter.data.captions import RECIPE_NAMES_BEFORE, read_recipe_captions
from stylecrafter.data.reporting import Fingerprint
from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.runtime.seeding import step_generator
from stylecrafter.styleworld import splits, world

#: Which part of a styled picture a caption tells: the content alone (decoupled), or the style as well.
Captions = Literal["decouple", "keep"]
#: The style reference: none, a large crop of the picture itself (the paper's augmentation), or all of it.
References = Literal["none", "crop", "whole"]

#: What a batch shows; the generator after drawing that; the contents of its cross references.
Things = tuple[world.WorldBatch, torch.Generator, world.WorldBatch | None]


@dataclass(frozen=True, kw_only=True)
class WorldSource:
    """Pictures (`num_frames` = 1) or clips of StyleWorld.

    Raises:
        InvalidInputError: A size or a ratio out of range.
    """

    vocabulary: splits.Vocabulary
    size: int
    batch_size: int
    num_frames: int = 1
    styled_ratio: float = 1.0
    """Part of a batch that is styled; the rest is plain."""
    styles_per_content: int = 1
    """Styled pictures come in groups of so many that share their content and differ in style."""
    motions_per_content: int = 1
    """Rows come in groups of so many that share everything and differ in motion. A mix of rows and reused pictures
    (`DiffusionConfig.picture_reuse`) show the rows of a group apart from each other."""
    coloured_ratio: float = 0.0
    """Part of a batch whose object has a colour of its own, named in the caption ("a red car"), in plain and in styled
    pictures alike: the palette of the style is that of everything else."""
    span: tuple[float, float] = world.WHOLE_MOTION
    """Part of the motion that is shown, as times in [0, 1]. With another than the whole one, captions of pictures name
    the motion too: a picture at (1, 1) shows where it ends, which is how words like "left" are learned at all (a clip
    that passes the middle looks, on average over its frames, the same for every direction)."""
    captions: Captions = "decouple"
    unnamed_style_ratio: float = 0.0
    """With captions that are kept whole: part of them that name the content only."""
    references: References = "none"
    cross_reference_ratio: float = 0.0
    """Part of the references that show other content in the same style."""
    split: world.Split = "train"
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        world.check_span(self.span)
        object.__setattr__(self, "captions", read_recipe_captions(self.captions))
        if self.captions not in RECIPE_NAMES_BEFORE:
            raise unknown_name("choice of captions", str(self.captions), RECIPE_NAMES_BEFORE)
        for name in ("batch_size", "styles_per_content", "motions_per_content"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("styled_ratio", "coloured_ratio", "unnamed_style_ratio", "cross_reference_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.cross_reference_ratio and self.references == "none":
            raise InvalidInputError('cross_reference_ratio needs references: "crop" or "whole"')

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        """Rows of the batch of a step; all randomness is drawn for the whole batch, then cut."""
        return self.batches([step], rows)[0]

    def batches(self, steps: Sequence[int], rows: slice) -> list[TrainingBatch]:
        """The same rows of the batches of several steps, drawn together."""
        things = [self.things(step) for step in steps]
        shown = world.concatenate([chosen[rows] for chosen, _, _ in things])
        frames = world.render(shown, self.size, self.num_frames, self.device, self.span)
        references = self._references(frames, shown, things, rows)
        n = len(shown) // len(steps)
        return [
            TrainingBatch(
                frames=frames[k * n : (k + 1) * n],
                captions=self._captions(chosen, step)[rows],
                references=None if references is None else references[k * n : (k + 1) * n],
            )
            for k, (step, (chosen, _, _)) in enumerate(zip(steps, things, strict=True))
        ]

    def captions_of(self, step: int, rows: slice) -> list[str]:
        """The captions of `batch`, without drawing anything."""
        return self._captions(self.things(step)[0], step)[rows]

    def fingerprint(self) -> Fingerprint:
        """All settings that decide what a step shows; the vocabulary as a hash of all that it holds."""
        values = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("vocabulary", "device")
        }
        if not self.coloured_ratio:
            # Runs from before there were such objects go on.
            del values["coloured_ratio"]
        words = hashlib.blake2b(repr(self.vocabulary).encode(), digest_size=16).hexdigest()
        return {**values, "captions": RECIPE_NAMES_BEFORE[self.captions], "vocabulary": words}

    def things(self, step: int) -> Things:
        """What the batch of a step shows; the generator after drawing it; and the contents of cross references."""
        generator = step_generator(self.seed, step)
        styled = round(self.batch_size * self.styled_ratio)
        parts = []
        if styled:
            styles = self._sample(styled, generator, True)
            if self.styles_per_content > 1:
                contents = self._sample(-(-styled // self.styles_per_content), generator, True)
                of_row = torch.arange(len(contents)).repeat_interleave(self.styles_per_content)[:styled]
                styles = contents[of_row].in_style_of(styles)
            parts.append(styles)
        if styled < self.batch_size:
            parts.append(self._sample(self.batch_size - styled, generator, False))
        chosen = world.concatenate(parts)
        if self.motions_per_content > 1:
            chosen = self._in_groups(chosen)
        if self.coloured_ratio:
            chosen = world.with_own_colours(chosen, self.coloured_ratio, generator)
        crossed = round(self.batch_size * self.cross_reference_ratio)
        others = None
        if crossed:
            others = self._sample(crossed, generator, True).in_style_of(chosen[:crossed])
        return chosen, generator, others

    def _sample(self, n: int, generator: torch.Generator, styled: bool) -> world.WorldBatch:
        return world.sample(n, generator, vocabulary=self.vocabulary, styled=styled, split=self.split)

    def _in_groups(self, chosen: world.WorldBatch) -> world.WorldBatch:
        """The motions and cameras of all rows, with everything else from the first row of each one's group."""
        group = torch.arange(len(chosen)) // self.motions_per_content * self.motions_per_content
        motion, camera = chosen.motion, chosen.camera
        chosen = chosen[group]
        if self.split == "train":
            motion = motion.where(~splits.is_held_out_pair(motion, chosen.thing), torch.zeros_like(motion))
            camera = camera.where(~splits.is_held_out_view(camera, chosen.thing), torch.zeros_like(camera))
        return chosen.replace(motion=motion, camera=camera)

    def _captions(self, chosen: world.WorldBatch, step: int) -> list[str]:
        rng = random.Random(self.seed * 1_000_003 + step)
        moving = self.num_frames > 1 or self.span != world.WHOLE_MOTION
        content = chosen.content_captions(rng, moving)
        if self.captions == "decouple":
            return content
        full = chosen.full_captions(rng, moving)
        return [
            without if rng.random() < self.unnamed_style_ratio else named
            for named, without in zip(full, content, strict=True)
        ]

    def _references(
        self,
        frames: torch.Tensor,
        shown: world.WorldBatch,
        things: list[Things],
        rows: slice,
    ) -> torch.Tensor | None:
        """Style references of all that is shown, the rows of `things` one after the other."""
        if self.references == "none":
            return None
        # Of a clip, the picture in the middle of its motion.
        pictures = frames[:, 0] if self.num_frames == 1 else self._stills(shown)
        mine = range(self.batch_size)[rows]
        crossed = [others[mine.start : mine.stop] for _, _, others in things if others is not None]
        if crossed and len(crossed[0]):
            drawn = self._stills(world.concatenate(crossed)).unflatten(0, (len(things), -1))
            own = pictures.unflatten(0, (len(things), -1))[:, drawn.shape[1] :]
            pictures = torch.cat([drawn, own], 1).flatten(0, 1)
        if self.references == "whole":
            return pictures
        crops = [draw_crops(self.batch_size, generator)[rows] for _, generator, _ in things]
        return crop(pictures, torch.cat(crops))

    def _stills(self, things: world.WorldBatch) -> torch.Tensor:
        return world.render(things, self.size, device=self.device)[:, 0]


def draw_crops(n: int, generator: torch.Generator, least: float = 0.6) -> torch.Tensor:
    """Where to crop n pictures: (n, 3), side in `least` … 1 and the centre's offset from the middle, in half sides.

    The paper's style augmentation: a large crop keeps the style and loses the layout.
    """
    side = least + (1 - least) * torch.rand(n, generator=generator)
    offset = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    return torch.cat([side[:, None], offset], 1)


def crop(pictures: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Crops of (n, 3, s, s) in [0, 1] at `where` (n, 3, see `draw_crops`), resized back to s × s."""
    theta = torch.zeros(len(pictures), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = where[:, 0]
    theta[:, :, 2] = where[:, 1:]
    sampled = F.affine_grid(theta.to(pictures.device), list(pictures.shape), align_corners=False)
    return F.grid_sample(
        pictures, sampled, mode="bicubic", padding_mode="reflection", align_corners=False
    ).clamp(0, 1)
