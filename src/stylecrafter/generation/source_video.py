"""The clip that another is made from: what is asked of it, what of it is used, and how a record names it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.paths import portable_path, readable, user_path
from stylecrafter.media.images import file_hash
from stylecrafter.media.sound import Sound
from stylecrafter.media.source_clips import (
    ClipPart,
    SourceClip,
    choose_part,
    open_clip,
    read_part,
    size_within,
)
from stylecrafter.pipelines.sampling_params import DEFAULT_DENOISE, MAX_FPS


class VideoInput(BaseModel):
    """A clip, and which part of it: from `start` on, for `duration` (None: to its end), both in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: Path
    start: float = Field(0.0, ge=0)
    duration: float | None = Field(None, gt=0)


class VideoReference(BaseModel):
    """What a record says of it: enough to find it again and to see whether it is still the same."""

    name: str
    sha256: str
    path: str | None = Field(default=None, description="as seen from the folder of the output where possible")
    start: float = Field(0.0, ge=0, allow_inf_nan=False)
    duration: float | None = Field(None, gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class VideoPart:
    """A clip that was looked at, and the frames of it that are wanted; `sha256` is that of the file."""

    asked: VideoInput
    clip: SourceClip
    part: ClipPart
    sha256: str

    def frames(self, size: tuple[int, int]) -> list[Image.Image]:
        """The frames, brought to that size.

        Raises:
            ImageReadError: The file is damaged, or changed since it was looked at.
        """
        return read_part(self.clip, self.part, size)

    @property
    def sound(self) -> Sound | None:
        """What goes with the frames; None for a clip without sound."""
        return Sound(self.clip.path, self.clip.begin + self.part.start) if self.clip.has_sound else None

    def reference(self, output: str | os.PathLike[str]) -> VideoReference:
        """How the record of an output names it."""
        return VideoReference(
            name=readable(self.asked.path.name),
            sha256=self.sha256,
            path=portable_path(self.asked.path, output),
            start=self.asked.start,
            duration=self.asked.duration,
        )

    def defaults(self, model: dict[str, Any], multiple: int) -> dict[str, Any]:
        """What holds where the settings do not say, in place of the model's own values.

        Args:
            model: Those, by their names in `model_index.json`.
            multiple: Of which sides are multiples.
        """
        own: dict[str, Any] = {"default_denoise": DEFAULT_DENOISE, "default_frames": len(self.part.numbers)}
        if "default_frames" in model:
            own["default_window"] = model["default_frames"]
        width, height = model.get("default_width"), model.get("default_height")
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            size = size_within((self.clip.width, self.clip.height), width * height, multiple)
            own["default_width"], own["default_height"] = size
        if self.part.fps:
            own["default_fps"] = self.part.fps
        return model | own


def ask_for_video(
    path: str | os.PathLike[str] | None, start: float | None, duration: float | None
) -> VideoInput | None:
    """A clip and which part of it, as a user gives them; None is not given.

    Raises:
        InvalidInputError: A part of no clip, or one that cannot be.
    """
    if path is None:
        if start is not None or duration is not None:
            name = "start" if start is not None else "duration"
            raise InvalidInputError(f"{name} goes with a video, and none was given")
        return None
    for name, value, least in (("start", start, "0 or more"), ("duration", duration, "above 0")):
        fine = value is None or (math.isfinite(value) and (value > 0 or (value == 0 and name == "start")))
        if not fine:
            raise InvalidInputError(f"{name} must be seconds, {least}, not {value:g}")
    return VideoInput(path=Path(path), start=start or 0.0, duration=duration)


def look_at_video(asked: VideoInput, frames: int | None, fps: float | None) -> VideoPart:
    """Find a clip and choose its frames.

    Args:
        frames: The first so many; None: all of the part.
        fps: Frames per second; None: its own.

    Raises:
        InvalidInputError: It has not so many, or too many.
        ImageReadError: It cannot be read.
    """
    path = user_path(asked.path)
    clip = open_clip(path)
    part = choose_part(clip, start=asked.start, duration=asked.duration, frames=frames, fps=fps)
    if part.fps > MAX_FPS:
        raise InvalidInputError(
            f"{path} has {part.fps:g} frames per second, a clip at most {MAX_FPS:g}: say how many with --fps."
        )
    return VideoPart(asked.model_copy(update={"path": path}), clip, part, file_hash(path))
