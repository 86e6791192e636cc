"""The settings that made a clip, kept inside the clip.

They are one line of ASCII json, `{"stylecrafter": {…}}`, in the place each format has for a remark: the
comment tag of an mp4, the comment of a gif, the EXIF image description of a webp, an iTXt chunk of a png.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.animations import opened_animation, pillow_errors
from stylecrafter.media.documents import MAX_BYTES, parse_json, shown
from stylecrafter.media.png_chunks import METADATA_KEY
from stylecrafter.media.recognise import HEAD_BYTES, recognise
from stylecrafter.media.streams import is_animation, naming, opened_container, opened_file

EXIF_DESCRIPTION = 0x010E
#: Pictures that nothing of ours is ever written to.
_OTHER_PICTURES = ("a TIFF image", "a BMP image", "a JPEG 2000 image")


class StyleReference(BaseModel):
    """One style picture: enough to find it again and to see whether it is still the same."""

    name: str
    sha256: str
    weight: FiniteFloat = Field(default=1.0, ge=0)
    path: str | None = Field(default=None, description="as seen from the folder of the output where possible")


class ModelReference(BaseModel):
    """The weights that were used."""

    name: str
    sha256: str | None = None
    settings_sha256: str | None = Field(default=None, description="of its configs, scheduler and tokenizer")


class GenerationRecord(BaseModel):
    """Everything that decides what a clip looks like. Holds no date, so that equal work gives equal files.

    What no version could have written (no frames, sides without end, numbers that are none) is refused.
    """

    # A record of a later version may know more than this one; what it does not know it passes on.
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    format: int = 1
    kind: Literal["video", "image"]
    prompt: str
    negative_prompt: str = ""
    styles: list[StyleReference] = []
    seed: int = Field(ge=0, lt=2**64)
    frames: int = Field(ge=1, le=1_000_000)
    width: int = Field(ge=1, le=65_536)
    height: int = Field(ge=1, le=65_536)
    fps: FiniteFloat = Field(gt=0, le=1000)
    steps: int = Field(ge=1, le=100_000)
    scheduler: str
    eta: FiniteFloat
    text_guidance: FiniteFloat
    style_guidance: FiniteFloat
    published_guidance: bool
    guidance_stop: FiniteFloat = 1.0
    shared_noise: FiniteFloat = 0.0
    style_corners: bool = False
    style_scale: FiniteFloat
    device: str
    dtype: str
    model: ModelReference
    versions: dict[str, str] = {}

    def to_json(self) -> str:
        """One line of json."""
        return json.dumps(self.model_dump(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> GenerationRecord:
        """The reverse of `to_json`.

        Raises:
            InvalidInputError: Not a record.
        """
        return cls.from_values(parse_json(text, "the settings"))

    @classmethod
    def from_values(cls, values: Any) -> GenerationRecord:
        """From what json holds.

        Raises:
            InvalidInputError: Not a record, or numbers that no clip could have been made with.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidInputError(
                f"these are no StyleCrafter settings: {_first_problem(error)}."
            ) from error


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


def read_record(path: str | os.PathLike[str]) -> GenerationRecord:
    """The settings that made the file.

    Raises:
        ImageReadError: The file cannot be read.
        InvalidInputError: It holds no settings, or some that cannot be.
    """
    found = read_metadata(path)
    if found is None:
        raise InvalidInputError(
            f"{shown(path)} holds no StyleCrafter settings: "
            "it was written without them, or by another program."
        )
    return GenerationRecord.from_values(found)


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
                text = image.info.get(METADATA_KEY, "")
                if text is None:
                    raise ImageReadError("damaged: a checksum is wrong")
                return str(text)
            if image.format == "GIF":
                return bytes(image.info.get("comment", b"")).decode("utf-8", "replace")
            if METADATA_KEY.encode() not in image.info.get("exif", b""):
                return ""  # that of others may be damaged, and is not looked at
            return str(image.getexif().get(EXIF_DESCRIPTION, ""))


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
