"""The settings that made a clip, kept inside the clip.

They are one line of ASCII json, `{"stylecrafter": {…}}`, in the place each format has for a remark: the
comment tag of an mp4, the comment of a gif, the EXIF image description of a webp, an iTXt chunk of a png.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylecrafter.errors import ImageReadError
from stylecrafter.media.animations import opened_animation, pillow_errors
from stylecrafter.media.documents import MAX_BYTES, parse_json, shown
from stylecrafter.media.png_chunks import text_of_png
from stylecrafter.media.recognise import HEAD_BYTES, recognise
from stylecrafter.media.streams import is_animation, naming, opened_container, opened_file

METADATA_KEY = "stylecrafter"
EXIF_DESCRIPTION = 0x010E
#: Pictures that nothing of ours is ever written to.
_OTHER_PICTURES = ("a TIFF image", "a BMP image", "a JPEG 2000 image")


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """The line that is put into a file."""
    return json.dumps({METADATA_KEY: dict(metadata)}, sort_keys=True)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `write_frames` put into the file, None where there is nothing of ours.

    Raises:
        ImageReadError: The file is missing, is neither picture nor clip, or what is ours in it is damaged.
    """
    name = shown(path)
    with naming(path, "neither a picture nor a clip that can be read: "):
        text = _read_text(Path(path))
    if f'"{METADATA_KEY}"' not in text:
        return None  # a remark of another program
    if len(text) > MAX_BYTES:
        raise ImageReadError(f"the settings in {name} are too large: more than {MAX_BYTES:,} characters.")
    content = parse_json(text, f"the remark in {name}", error=ImageReadError)
    found = content.get(METADATA_KEY) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else None


def _read_text(path: Path) -> str:
    with opened_file(path) as file:
        found = recognise(file.read(HEAD_BYTES)) or ""
        file.seek(0)
        if found in _OTHER_PICTURES:
            return ""
        if not is_animation(file):
            with opened_container(file) as container:
                return str(container.metadata.get("comment", ""))
        with opened_animation(file) as animation, pillow_errors():
            image = animation.image
            if image.format == "PNG":
                image.load()  # told where it is cut short
                return text_of_png(file, METADATA_KEY.encode(), MAX_BYTES)
            if image.format == "GIF":
                return bytes(image.info.get("comment", b"")).decode("utf-8", "replace")
            if METADATA_KEY.encode() not in image.info.get("exif", b""):
                return ""  # that of others may be damaged, and is not looked at
            return str(image.getexif().get(EXIF_DESCRIPTION, ""))
