"""Captions that lie in files of their own, beside a picture or inside a tar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import decode_text, parse_json

CAPTION_SUFFIXES = (".txt", ".caption", ".json")
"""Endings of caption files, in the order in which they are looked for."""
MAX_CAPTION_BYTES = 8 * 1024
"""Text encoders read a few hundred."""
MAX_JSON_BYTES = 2**20
"""Of a json file, which may hold much besides the caption."""
CAPTION_KEYS = ("caption", "text")
GROUP_KEYS = ("style_group", "style")


@dataclass(frozen=True)
class Sidecar:
    """What the caption files of a picture say.

    Attributes:
        left: (ending, reason) of those that are there and were not used.
    """

    caption: str | None = None
    style_group: str | None = None
    left: tuple[tuple[str, str], ...] = ()


class SidecarError(InvalidInputError):
    """A caption file that cannot be used; the message is the reason."""


@dataclass
class LeftAside:
    """Caption files that nothing was taken from, counted by their ending."""

    counts: dict[tuple[str, bool], int] = field(default_factory=dict)
    first: dict[tuple[str, bool], str] = field(default_factory=dict)

    def add(self, sidecar: Sidecar, name: str) -> None:
        """Take note of what `name`'s caption files say."""
        for suffix, reason in sidecar.left:
            key = suffix, sidecar.caption is not None
            self.counts[key] = self.counts.get(key, 0) + 1
            self.first.setdefault(key, f"{name}: {reason}")

    def notes(self) -> list[str]:
        """One line for each kind."""
        return [
            f"{count} {suffix} files "
            f"{'beside another caption, or with one, give nothing more' if served else 'give no caption'} "
            f"(first {self.first[suffix, served]})"
            for (suffix, served), count in sorted(self.counts.items())
        ]


def byte_limit(suffix: str) -> int:
    """The most bytes that a caption file of that ending may have."""
    return MAX_JSON_BYTES if suffix == ".json" else MAX_CAPTION_BYTES


def read_sidecar(suffix: str, data: bytes) -> Sidecar:
    """What a caption file of that ending says: plain text, or a json object.

    Raises:
        SidecarError: Too long, not UTF-8, empty, or json of another form.
    """
    limit = byte_limit(suffix)
    if len(data) > limit:
        raise SidecarError(f"the caption file has more than {limit:,} bytes")
    text = decode_text(data, "the caption", error=SidecarError)
    if "\x00" in text:
        raise SidecarError("the caption holds zero bytes; it is not a text")
    if suffix != ".json":
        line = " ".join(text.split())
        if not line:
            raise SidecarError("the caption file is empty")
        return Sidecar(line)
    content = parse_json(text, "the caption file", error=SidecarError)
    if not isinstance(content, dict):
        raise SidecarError('the caption must be a json object such as {"caption": "a dog"}')
    told = text_of(content, CAPTION_KEYS)
    try:
        return Sidecar(told, text_of(content, GROUP_KEYS), _without_caption(content))
    except SidecarError as error:
        if told is None:
            raise
        return Sidecar(told, left=((suffix, str(error).rstrip(".")),))


def first_sidecar(suffixes: Iterable[str], read: Callable[[str], bytes]) -> Sidecar:
    """The first of `CAPTION_SUFFIXES` among `suffixes` that gives a caption; a .json beside it may add a style group.

    What another tool has left under one of these endings costs no picture its caption: it is left aside.

    Raises:
        SidecarError: None gives one, and the first of those that are wrong cannot be used.
    """
    present = set(suffixes)
    caption = group = None
    left: list[tuple[str, str]] = []
    wrong: SidecarError | None = None
    for suffix in CAPTION_SUFFIXES:
        if suffix not in present:
            continue
        if caption is not None and suffix != ".json":
            left.append((suffix, "another one comes first"))
            continue
        try:
            found = read_sidecar(suffix, read(suffix))
        except SidecarError as error:
            wrong = wrong or error
            left.append((suffix, str(error).rstrip(".")))
            continue
        if caption is None:
            caption = found.caption
            left += found.left
        group = group if group is not None else found.style_group
    if caption is None and wrong is not None:
        raise wrong
    return Sidecar(caption, group, tuple(left))


def text_of(content: dict[str, object], keys: Iterable[str]) -> str | None:
    """The first value under `keys` with white space made single; None where there is none, or nothing in it.

    Raises:
        SidecarError: It is neither text nor a number, or nothing that a caption can be.
    """
    for key in keys:
        value = plain_text(content, key)
        text = " ".join(value.split()) if value is not None else ""
        if len(text.encode()) > MAX_CAPTION_BYTES:
            raise SidecarError(
                f"{key} has {len(text):,} characters, the limit is {MAX_CAPTION_BYTES:,} bytes"
            )
        if text:
            return text
    return None


def plain_text(content: dict[str, object], key: str) -> str | None:
    """The value of a key as text, white space as it is; None where there is none.

    Raises:
        SidecarError: It is neither text nor a number, not UTF-8, or holds zero bytes.
    """
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise SidecarError(f"{key} must be a text, not {type(value).__name__}")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SidecarError(f"{key} is not UTF-8; save the file as UTF-8") from error
    if "\x00" in text:
        raise SidecarError(f"{key} holds zero bytes; it is not a text")
    return text


def _without_caption(content: dict[str, object]) -> tuple[tuple[str, str], ...]:
    """A note on an object that has no caption, so that nobody waits for that of another key to be read."""
    if any(content.get(key) for key in (*CAPTION_KEYS, *GROUP_KEYS)):
        return ()
    found = ", ".join(str(key) for key in list(content)[:5]) or "nothing"
    return ((".json", f"no {' or '.join(CAPTION_KEYS)} in it, but {found}"),)
