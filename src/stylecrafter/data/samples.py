"""One record as one row of a batch: frames, and the picture that shows the style."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from PIL import Image

from stylecrafter.data.records import Kind, Record
from stylecrafter.data.transforms import References, reference_picture, target_picture
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.clips import ClipIndex, check_sampling, choose_frames, index_clip, read_clip
from stylecrafter.media.images import decode_picture, load_picture
from stylecrafter.media.tensors import to_tensor


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """What every row looks like.

    Raises:
        InvalidInputError: A size or number out of range, several frames of a picture, or stride and fps together.
    """

    kind: Kind
    height: int
    width: int
    num_frames: int = 1
    stride: int = 1
    fps: float | None = None
    references: References = References.NONE
    reference_size: int

    def __post_init__(self) -> None:
        for name in ("height", "width", "reference_size"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        check_sampling(self.num_frames, self.stride, self.fps)
        if self.kind is Kind.PICTURE and (self.num_frames > 1 or self.stride > 1 or self.fps is not None):
            raise InvalidInputError(
                f"pictures have one frame: num_frames {self.num_frames}, stride {self.stride} and fps {self.fps} "
                "are for clips."
            )


def load_sample(
    record: Record, settings: SampleSettings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The frames (f, 3, h, w) of a record, and its own style reference (3, s, s), both float32 in [0, 1].

    The reference of a clip is cut from a random one of its frames. Two numbers are drawn from the generator for the
    clip and two for the reference, whatever the kind.

    Raises:
        ImageReadError: The record cannot be used.
    """
    start, at = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    at_frame = int(at * settings.num_frames)
    references: list[torch.Tensor] = []

    def convert(position: int, picture: Image.Image) -> torch.Tensor:
        if position == at_frame and settings.references is not References.NONE:
            references.append(_reference(picture, settings, generator))
        return to_tensor(target_picture(picture, settings.height, settings.width))

    if record.kind is Kind.PICTURE:
        frames = [convert(0, load_whole(record))]
    else:
        source, index = record.source(), clip_index(record)
        chosen = choose_frames(
            index, settings.num_frames, stride=settings.stride, fps=settings.fps, start=start
        )
        state = generator.get_state()

        def converted_again(position: int, picture: Image.Image) -> torch.Tensor:
            # A clip may be decoded a second time from its beginning: the same numbers then, and the last result.
            if position == at_frame:
                references.clear()
                generator.set_state(state)
            return convert(position, picture)

        frames = read_clip(source, record.name, index, chosen, converted_again)
    return torch.stack(frames), references[0] if references else None


def load_reference(record: Record, settings: SampleSettings, generator: torch.Generator) -> torch.Tensor:
    """A style reference (3, s, s) float32 in [0, 1] out of a record that is not the row's own.

    Raises:
        ImageReadError: The record cannot be used.
    """
    start = torch.rand(1, generator=generator, dtype=torch.float64).item()
    if record.kind is Kind.PICTURE:
        return _reference(load_whole(record), settings, generator)
    index = clip_index(record)
    chosen = choose_frames(index, 1, start=start)
    picture = read_clip(record.source(), record.name, index, chosen, lambda _, frame: frame)[0]
    return _reference(picture, settings, generator)


@functools.lru_cache(maxsize=4096)
def clip_index(record: Record) -> ClipIndex:
    """The times of a clip's frames; kept, since the same clip comes again in every epoch.

    Raises:
        ImageReadError: The clip cannot be used.
    """
    return index_clip(record.source(), record.name)


def load_whole(record: Record) -> Image.Image:
    """The picture of a record, fully decoded; of a clip its first frame.

    Raises:
        ImageReadError: It cannot be read.
    """
    source = record.source()
    if record.kind is Kind.CLIP:
        return read_clip(source, record.name, clip_index(record), [0], lambda _, frame: frame)[0]
    return decode_picture(source, record.label) if isinstance(source, bytes) else load_picture(source)


def _reference(picture: Image.Image, settings: SampleSettings, generator: torch.Generator) -> torch.Tensor:
    return to_tensor(reference_picture(picture, settings.reference_size, settings.references, generator))
