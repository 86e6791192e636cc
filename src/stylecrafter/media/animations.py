"""gif, webp, png and avif, read frame by frame; shown over white, as style pictures are."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any

from PIL import Image, UnidentifiedImageError

from stylecrafter.errors import ImageReadError
from stylecrafter.media.images import MAX_PIXELS, load_picture
from stylecrafter.media.opening import open_image
from stylecrafter.media.parts import Dispose, Part, Parts, find_parts
from stylecrafter.media.png_chunks import frames_of_png
from stylecrafter.media.streams import MAX_FRAMES, check_pixels, decoded, one_thread, opened_stream

MAX_ANIMATED_PIXELS = 2_000_000_000
"""In all frames together: an animation can only be read from its beginning on, and a frame of 20 bytes may fill any."""

_FORMATS = ("GIF", "WEBP", "PNG", "AVIF", "JPEG")
#: A JPEG may hold other pictures than the one it shows, which are no frames.
_MOVING = _FORMATS[:4]


#: Of what stands beside the pixels, all that changes how they look.
_SHOWN = ("icc_profile", "cicp", "srgb", "gamma", "chromaticity", "exif", "xmp", "Raw profile type exif")


class Animation(ABC):
    """An opened animation; frames are reached by number, quickest in ascending order.

    Attributes:
        image: The file as Pillow opened it, for what stands beside its frames.
        width, height: Pixels of a frame.
    """

    def __init__(self, image: Image.Image, width: int, height: int) -> None:
        self.image, self.width, self.height = image, width, height

    def seek(self, number: int) -> bool:
        """Decode frame `number`; False where there are no more.

        Raises:
            ImageReadError: It is damaged, or there is more in the file than can be read.
        """
        if number >= self.count:
            return False
        if number >= MAX_FRAMES:
            raise ImageReadError(f"too long: more than {MAX_FRAMES:,} frames")
        if (number + 1) * self.width * self.height > MAX_ANIMATED_PIXELS:
            raise ImageReadError(
                f"too large: more than {number} frames of {self.width}x{self.height} pixels; the limit is "
                f"{MAX_ANIMATED_PIXELS:,} pixels in all frames together"
            )
        with pillow_errors():
            self._decode(number)
        return True

    def durations(self) -> Iterator[float]:
        """Decode all frames from the first on, and give how many milliseconds each is shown."""
        number = 0
        while self.seek(number):
            yield self.milliseconds
            number += 1

    @property
    @abstractmethod
    def count(self) -> int:
        """Frames that there are, or that the file declares."""

    @property
    @abstractmethod
    def picture(self) -> Image.Image:
        """The decoded frame as RGB."""

    @property
    @abstractmethod
    def milliseconds(self) -> float:
        """How long the decoded frame is shown; 0 where the file does not say."""

    @abstractmethod
    def _decode(self, number: int) -> None: ...


class _Whole(Animation):
    """Frames that Pillow gives as a whole."""

    @property
    def count(self) -> int:
        return int(getattr(self.image, "n_frames", 1)) if self.image.format in _MOVING else 1

    @property
    def picture(self) -> Image.Image:
        return load_picture(self.image)

    @property
    def milliseconds(self) -> float:
        return float(self.image.info.get("duration", 0))

    def _decode(self, number: int) -> None:
        self.image.seek(number)
        check_pixels(*self.image.size)
        self.image.load()


class _Played(Animation):
    """Frames of an animated PNG, which FFmpeg lays over each other as browsers do; Pillow makes some see-through."""

    def __init__(self, image: Image.Image, file: IO[bytes]) -> None:
        super().__init__(image, *image.size)
        self._file, self._number = file, -1

    @property
    def count(self) -> int:
        return int(self.image.info["frames"])

    @property
    def picture(self) -> Image.Image:
        return _as_shown(Image.fromarray(self._frame.to_ndarray(format="rgba", **one_thread())), self.image)

    @property
    def milliseconds(self) -> float:
        return float(1000 * self._frame.duration * self._frame.time_base)

    def _decode(self, number: int) -> None:
        if self._number < 0 or number < self._number:
            self._number, self._frames = -1, self._from_start()
        while self._number < number:
            frame = next(self._frames, None)
            if frame is None:
                raise ImageReadError(
                    f"cut short: {self._number + 1} of the {self.count:,} frames that it declares"
                )
            self._frame, self._number = frame, self._number + 1

    def _from_start(self) -> Iterator[Any]:
        with opened_stream(frames_of_png(self._file)) as (container, stream):
            context = stream.codec_context
            context.options = {**context.options, "err_detect": "crccheck+explode"}
            yield from decoded(container, stream)


class _Composed(Animation):
    """Frames of a gif, drawn rectangle by rectangle as browsers do."""

    def __init__(self, image: Image.Image, file: IO[bytes], parts: Parts) -> None:
        super().__init__(image, parts.width, parts.height)
        self._file, self._parts = file, parts.frames
        self._number = -1
        self._canvas = self._before = Image.new("RGBA", (self.width, self.height))

    @property
    def count(self) -> int:
        return len(self._parts)

    @property
    def picture(self) -> Image.Image:
        return _as_shown(self._canvas.copy(), self.image)

    @property
    def milliseconds(self) -> float:
        return self._parts[self._number].milliseconds

    def _decode(self, number: int) -> None:
        if number < self._number:
            self._number = -1
            self._canvas = Image.new("RGBA", (self.width, self.height))
        while self._number < number:
            if self._number >= 0:
                self._clean_up(self._parts[self._number])
            self._number += 1
            self._draw(self._parts[self._number])

    def _draw(self, part: Part) -> None:
        rectangle = _decoded(part.picture(self._file))
        if part.dispose is Dispose.RESTORE:
            self._before = self._canvas.copy()
        self._box = (part.left, part.top, part.left + rectangle.width, part.top + rectangle.height)
        self._canvas.paste(Image.alpha_composite(self._canvas.crop(self._box), rectangle), self._box)

    def _clean_up(self, part: Part) -> None:
        if part.dispose is Dispose.CLEAR:
            self._canvas.paste((0, 0, 0, 0), self._box)
        elif part.dispose is Dispose.RESTORE:
            self._canvas = self._before


@contextmanager
def opened_animation(file: IO[bytes]) -> Iterator[Animation]:
    """An opened file as an animation; a still picture is one of a single frame.

    Raises:
        ImageReadError: Its beginning is damaged, or its frames have more than `MAX_PIXELS` pixels.
    """
    image = _open(file)
    with image:
        check_pixels(*image.size)
        if image.format == "GIF":
            yield _Composed(image, file, find_parts(file))
        elif image.info.get("frames"):
            yield _Played(image, file)
        else:
            yield _Whole(image, *image.size)


def _as_shown(frame: Image.Image, image: Image.Image) -> Image.Image:
    """A composed frame as RGB over white, by what stands beside the frames of the image."""
    frame.info = {name: value for name, value in image.info.items() if name in _SHOWN}
    return load_picture(frame)


def _decoded(data: bytes) -> Image.Image:
    """A rectangle as RGBA."""
    image = _open(BytesIO(data))
    check_pixels(*image.size)
    return image.convert("RGBA")


def _open(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    with pillow_errors():
        try:
            return open_image(file, _FORMATS)
        except ImageReadError as error:
            raise ImageReadError(f"it {error}") from error


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Pillow's decoders answer damaged files with nearly every exception there is.

    Raises:
        ImageReadError: Instead of any of them.
    """
    try:
        yield
    except (ImageReadError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        found = f"{int(count.group()):,} pixels" if count else "too many pixels"
        raise ImageReadError(f"too large: {found}; the limit is {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageReadError("damaged at its beginning") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"damaged: {reason.rstrip('.')}") from error
