"""Captions that lie in files of their own, beside a picture or inside a tar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

CAPTION_SUFFIXES = (".txt", ".caption", ".json")
"""Endings of caption files, in the order in which they are looked for."""
MAX_CAPTION_BYTES = 8 * 1024
"""Text encoders read a few hundred; some of the published patterns take quadratic time."""
CAPTION_KEYS = ("caption", "text")
GROUP_KEYS = ("style_group", "style")


@dataclass(frozen=True)
class Sidecar:
    """What a caption file says."""

    caption: str | None = None
    style_group: str | None = None


class SidecarError(ValueError):
    """A caption file that cannot be used; the message is the reason."""


def decode_text(data: bytes) -> str:
    """Bytes as UTF-8, with or without a byte order mark.

    Raises:
        SidecarError: They are not; the message names the place, and the encoding where it can be told.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SidecarError("the caption is UTF-16, not UTF-8; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SidecarError(
            f"the caption is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}; save it as UTF-8"
        ) from error
    if "\x00" in text:
        raise SidecarError("the caption holds zero bytes; it is not a text")
    return text


def read_sidecar(suffix: str, data: bytes) -> Sidecar:
    """What a caption file of that ending says: plain text, or a json object.

    Raises:
        SidecarError: Too long, not UTF-8, empty, or json of another form.
    """
    if len(data) > MAX_CAPTION_BYTES:
        raise SidecarError(f"the caption has {len(data):,} bytes, the limit is {MAX_CAPTION_BYTES:,}")
    text = decode_text(data)
    if suffix != ".json":
        caption = " ".join(text.split())
        if not caption:
            raise SidecarError("the caption file is empty")
        return Sidecar(caption)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SidecarError(f"the caption is not json: {error}") from error
    if not isinstance(content, dict):
        raise SidecarError('the caption must be a json object such as {"caption": "a dog"}')
    return Sidecar(text_of(content, CAPTION_KEYS), text_of(content, GROUP_KEYS))


def first_sidecar(suffixes: Iterable[str], read: Callable[[str], bytes]) -> Sidecar:
    """The first of `CAPTION_SUFFIXES` among `suffixes`, read; a style group is taken from a .json beside a .txt too.

    Raises:
        SidecarError: It cannot be used.
    """
    present = [suffix for suffix in CAPTION_SUFFIXES if suffix in set(suffixes)]
    caption = group = None
    for suffix in present:
        if caption is None or suffix == ".json":
            found = read_sidecar(suffix, read(suffix))
            caption = caption if caption is not None else found.caption
            group = group if group is not None else found.style_group
    return Sidecar(caption, group)


def text_of(content: dict[str, object], keys: Iterable[str]) -> str | None:
    """The first value under `keys` with white space made single; None where there is none, or nothing in it.

    Raises:
        SidecarError: It is neither text nor a number.
    """
    for key in keys:
        value = content.get(key)
        if value is None:
            continue
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            raise SidecarError(f"{key} must be a text, not {type(value).__name__}")
        text = " ".join(str(value).split())
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise SidecarError(f"{key} is not UTF-8; save the file as UTF-8") from error
        if len(text.encode()) > MAX_CAPTION_BYTES:
            raise SidecarError(
                f"{key} has {len(text):,} characters, the limit is {MAX_CAPTION_BYTES:,} bytes"
            )
        if text:
            return text
    return None
