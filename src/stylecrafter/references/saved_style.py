"""A style in a file: its tokens, a small picture of it, and the adapter that made them and can read them.

One safetensors file, in which nothing depends on when or where it was written:

    style_tokens          (q, d) float32
    adapter_fingerprint   (n, 2) float64, see `adapter.fingerprint`
    thumbnail             (bytes,) uint8, a JPEG
    metadata              "stylecrafter-style": json of the version of the format and of `About`

Reading and writing need no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError

from stylecrafter.errors import ImageReadError
from stylecrafter.media.documents import parse_json, read_bytes, shown
from stylecrafter.media.images import Picture, decode_picture
from stylecrafter.media.recognise import recognise_file
from stylecrafter.weights.headers import SAFETENSORS

FORMAT, VERSION = "stylecrafter-style", "1"
SUFFIX = ".safetensors"
MAX_BYTES = 16 * 2**20
"""Of a style file; the largest adapters have some 100 kB of style tokens."""
#: Pixels of the small picture: of each style picture a square, a few of them side by side.
THUMBNAIL_SIDE, THUMBNAIL_PICTURES = 128, 4
_TENSORS = {"style_tokens": ("float32", 2), "adapter_fingerprint": ("float64", 2), "thumbnail": ("uint8", 1)}


class Source(BaseModel):
    """A picture that the style was read off; pictures without a file have no name."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    weight: FiniteFloat = Field(default=1.0, ge=0)


class About(BaseModel):
    """What a style file says in words."""

    model_config = ConfigDict(frozen=True)

    adapter: str
    """What the adapter is called, or the model that it came with."""
    encoder: str
    """The image encoder that read the pictures."""
    corners: bool
    """Whether a single picture was read by its corners as well."""
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class SavedStyle:
    """A style that was read from its file.

    Attributes:
        path: Of the file.
        sha256: Of its bytes.
        tokens: (q, d) float32.
        fingerprint: (n, 2) float64, of the adapter.
        thumbnail: A JPEG.
    """

    path: Path
    sha256: str
    tokens: NDArray[np.float32]
    fingerprint: NDArray[np.float64]
    thumbnail: bytes
    about: About

    @property
    def name(self) -> str:
        """Name of the file, as that of a picture."""
        return self.path.name

    def picture(self) -> Image.Image:
        """The small picture, RGB.

        Raises:
            ImageReadError: It is damaged.
        """
        return decode_picture(self.thumbnail, f"the thumbnail in {shown(self.path)}")


def style_bytes(
    tokens: NDArray[np.float32],
    fingerprint: NDArray[np.float64],
    pictures: Sequence[Image.Image],
    about: About,
) -> bytes:
    """The contents of a style file; the same style gives the same bytes.

    Args:
        tokens: (q, d).
        fingerprint: Of the adapter.
        pictures: What the style was read off.
        about: All else.
    """
    tensors: dict[str, NDArray[Any]] = {
        "style_tokens": np.ascontiguousarray(tokens, np.float32),
        "adapter_fingerprint": np.ascontiguousarray(fingerprint, np.float64),
        "thumbnail": np.frombuffer(_thumbnail(pictures), np.uint8),
    }
    # Several entries would stand in the header in any order: one text holds them all.
    words = {"version": VERSION, **about.model_dump()}
    return safetensors.numpy.save(tensors, {FORMAT: json.dumps(words, sort_keys=True)})


def is_style_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file that could hold a style rather than a picture, by its first bytes."""
    return recognise_file(path) == SAFETENSORS


def read_style(path: str | os.PathLike[str]) -> SavedStyle:
    """Read a style file.

    Raises:
        ImageReadError: Missing, something else, of a later version, damaged, or holding what no style can.
    """
    name = f"style {shown(path)}"
    data = read_bytes(path, limit=MAX_BYTES, error=ImageReadError)
    try:
        tensors = safetensors.numpy.load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ImageReadError(f"{name} is no complete safetensors file: {error}.") from error
    about = _about(data, name)
    for key, (kind, axes) in _TENSORS.items():
        value = tensors.pop(key, None)
        if value is None or value.dtype != kind or value.ndim != axes or value.size == 0:
            found = "missing" if value is None else f"{value.dtype} {value.shape}"
            raise ImageReadError(f"{name}: its {key} must be {kind} with {axes} axes, not {found}.")
        if not np.isfinite(value).all():
            raise ImageReadError(f"{name}: its {key} holds numbers that are not finite.")
        tensors[key] = value
    if len(tensors) > len(_TENSORS):
        raise ImageReadError(
            f"{name} holds what no style has: {', '.join(sorted(set(tensors) - set(_TENSORS)))}."
        )
    return SavedStyle(
        path=Path(path),
        sha256=hashlib.sha256(data).hexdigest(),
        tokens=tensors["style_tokens"],
        fingerprint=tensors["adapter_fingerprint"],
        thumbnail=tensors["thumbnail"].tobytes(),
        about=about,
    )


def sources_of(pictures: Sequence[Picture], weights: Sequence[float]) -> tuple[Source, ...]:
    """Names and hashes of pictures, and how much each counts."""
    return tuple(
        Source(name=picture.name.encode("utf-8", "replace").decode(), sha256=picture.sha256, weight=weight)
        for picture, weight in zip(pictures, weights, strict=True)
    )


def _about(data: bytes, name: str) -> About:
    """What the header says, which has been found to be one."""
    header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")], name, error=ImageReadError)
    words = header.get("__metadata__", {}).get(FORMAT)
    if not isinstance(words, str):
        raise ImageReadError(
            f"{name} holds tensors, but no style: `stylecrafter style save` writes such files."
        )
    told = parse_json(words, name, error=ImageReadError)
    version = told.get("version") if isinstance(told, dict) else None
    if version != VERSION:
        raise ImageReadError(
            f"{name} is of format version {shown(str(version))}, and this version of StyleCrafter reads {VERSION}: "
            "update it, or save the style again."
        )
    try:
        return About(**{key: value for key, value in told.items() if key in About.model_fields})
    except ValidationError as error:
        wrong = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise ImageReadError(f"{name} does not say what it is of ({wrong}): save the style again.") from error


def _thumbnail(pictures: Sequence[Image.Image]) -> bytes:
    """A JPEG of the middles of the first few pictures, side by side."""
    side, some = THUMBNAIL_SIDE, list(pictures)[:THUMBNAIL_PICTURES]
    row = Image.new("RGB", (side * len(some), side))
    for i, picture in enumerate(some):
        row.paste(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS), (side * i, 0))
    file = BytesIO()
    row.save(file, "JPEG", quality=88)
    return file.getvalue()
