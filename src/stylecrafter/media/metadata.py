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

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stylecrafter.errors import ImageReadError, InvalidInputError

METADATA_KEY = "stylecrafter"
EXIF_DESCRIPTION = 0x010E


class StyleReference(BaseModel):
    """One style picture: enough to find it again and to see whether it is still the same."""

    name: str
    sha256: str
    weight: float = 1.0
    path: str | None = Field(default=None, description="as seen from the folder of the output where possible")


class ModelReference(BaseModel):
    """The weights that were used."""

    name: str
    sha256: str | None = None


class GenerationRecord(BaseModel):
    """Everything that decides what a clip looks like. Holds no date, so that equal work gives equal files."""

    # A record of a later version may know more than this one; what it does not know it passes on.
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    format: int = 1
    kind: Literal["video", "image"]
    prompt: str
    negative_prompt: str = ""
    styles: list[StyleReference] = []
    seed: int
    frames: int
    width: int
    height: int
    fps: float
    steps: int
    scheduler: str
    eta: float
    text_guidance: float
    style_guidance: float
    published_guidance: bool
    guidance_stop: float = 1.0
    shared_noise: float = 0.0
    style_corners: bool = False
    style_scale: float
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
        try:
            return cls.model_validate_json(text)
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
        ImageReadError: The file is missing or is neither picture nor clip.
    """
    file = Path(path)
    if not file.is_file():
        raise ImageReadError(f"{file}: no such file.")
    try:
        text = _read_text(file)
    except Exception as error:
        # Demuxers and decoders answer damaged files with many exceptions.
        raise ImageReadError(f"{file} is neither a picture nor a clip that can be read.") from error
    try:
        content = json.loads(text)
    except ValueError:
        return None
    found = content.get(METADATA_KEY) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else None


def read_record(path: str | os.PathLike[str]) -> GenerationRecord:
    """The settings that made the file.

    Raises:
        ImageReadError: The file cannot be read.
        InvalidInputError: It holds no settings.
    """
    found = read_metadata(path)
    if found is None:
        raise InvalidInputError(
            f"{os.fspath(path)} holds no StyleCrafter settings: "
            "it was written without them, or by another program."
        )
    return GenerationRecord.from_json(json.dumps(found))


def _read_text(file: Path) -> str:
    if file.suffix.lower() not in (".gif", ".webp", ".png"):
        import av

        with av.open(str(file)) as container:
            return container.metadata.get("comment", "")
    with Image.open(file) as image:
        if image.format == "PNG":
            image.load()  # text may stand behind the pixels
            return str(image.info.get(METADATA_KEY, ""))
        if image.format == "GIF":
            return bytes(image.info.get("comment", b"")).decode("utf-8", "replace")
        return str(image.getexif().get(EXIF_DESCRIPTION, ""))


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
