"""gif, webp, png and avif, read frame by frame with Pillow; shown over white, as style pictures are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image

from stylecrafter.errors import ImageReadError
from stylecrafter.media.images import MAX_PIXELS, load_picture
from stylecrafter.media.streams import MAX_FRAMES, check_pixels

MAX_ANIMATED_PIXELS = 2_000_000_000
"""In all frames together: an animation can only be read from its beginning on, and a frame of 20 bytes may fill any."""

_FORMATS = ("GIF", "WEBP", "PNG", "AVIF", "JPEG")


class Animation:
    """An opened animation; frames are reached by number, quickest in ascending order.

    Attributes:
        image: What Pillow opened, at the frame that was decoded last.
        width, height: Pixels of a frame.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        # The picture that programs without animation show may be none of its frames.
        self._first = 1 if image.info.get("default_image") and getattr(image, "n_frames", 1) > 1 else 0
        self.width, self.height = image.size

    def seek(self, number: int) -> bool:
        """Decode frame `number`; False where the file says that it has no more.

        Raises:
            ImageReadError: It is damaged, or there is more in the file than can be read.
        """
        if number >= MAX_FRAMES:
            raise ImageReadError(f"too long: more than {MAX_FRAMES:,} frames")
        if (number + 1) * self.width * self.height > MAX_ANIMATED_PIXELS:
            raise ImageReadError(
                f"too large: more than {number} frames of {self.width}x{self.height}; the limit is "
                f"{MAX_ANIMATED_PIXELS:,} pixels in all frames together"
            )
        # Frames of a gif are found one by one; the others declare how many there are, and must have them.
        gif = self.image.format == "GIF"
        if not gif and self._first + number >= _declared(self.image):
            return False
        with pillow_errors():
            try:
                self.image.seek(self._first + number)
            except EOFError:
                if gif and number > 0:
                    return False
                raise
            check_pixels(*self.image.size)
            self.image.load()
        return True

    @property
    def picture(self) -> Image.Image:
        """The decoded frame as RGB."""
        return load_picture(self.image)

    @property
    def milliseconds(self) -> float:
        """How long the decoded frame is shown; 0 where the file does not say."""
        return float(self.image.info.get("duration", 0))

    def durations(self) -> Iterator[float]:
        """Decode all frames from the first on, and give how long each is shown."""
        number = 0
        while self.seek(number):
            yield self.milliseconds
            number += 1


@contextmanager
def opened_animation(file: IO[bytes]) -> Iterator[Animation]:
    """An opened file as an animation; a still picture is one of a single frame.

    Raises:
        ImageReadError: Its beginning is damaged, or its frames have more than `MAX_PIXELS` pixels.
    """
    file.seek(0)
    with pillow_errors(), warnings.catch_warnings():
        # Pillow warns below this package's limit and raises above it: the limit here is what counts.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(file, formats=_FORMATS)
    with image:
        check_pixels(*image.size)
        yield Animation(image)


def _declared(image: Image.Image) -> int:
    # A JPEG may hold other pictures than the one it shows, which are no frames.
    return 1 if image.format not in _FORMATS[:4] else int(getattr(image, "n_frames", 1))


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Pillow's decoders answer damaged files with nearly every exception there is."""
    try:
        yield
    except (ImageReadError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        raise ImageReadError(
            f"too large: {int(count.group()):,} pixels; the limit is {MAX_PIXELS:,} pixels"
            if count
            else f"too large: the limit is {MAX_PIXELS:,} pixels"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"damaged: {reason.rstrip('.')}") from error
